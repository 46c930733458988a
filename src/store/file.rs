//! Files that are complete at any instant: written beside the old one, flushed, then renamed over it.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::fs::OFlags;
use tokio::sync::Semaphore;
use tokio::task;

use super::StoreError;
use crate::config::read_regular;

/// The size beyond which a state file is refused. Unit: bytes. More than 100,000 accounts need.
const FILE_MAX: u64 = 256 << 20;
/// How many files may be written at the same time: on a hanging file system, each write ties up a thread.
const WRITERS: usize = 16;
/// A file that a process locks while it uses the directory; the system unlocks it when the process ends, however it
/// ends.
const LOCK: &str = "in-use.lock";

/// The state directory.
pub(super) struct Directory {
    path: PathBuf,
    writers: Arc<Semaphore>,
    /// Files that are being written.
    writing: Mutex<HashSet<String>>,
    /// `None` if the directory is read-only, or another process uses it.
    _lock: Option<File>,
}

impl Directory {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        let lock = lock(path);
        if let Err(TryLockError::WouldBlock) = &lock {
            // Not an error, because the other process may be about to end.
            tracing::warn!(
                directory = %path.display(),
                "another process uses this state directory; together they can spend more calls than the limits allow, so \
                 give each its own or share the state through Redis"
            );
        }
        Ok(Self::locked(path, lock.ok()))
    }

    /// Opens an existing directory for writing if no other process uses it; otherwise returns why not.
    pub(super) fn open_unused(path: &Path) -> Result<Self, String> {
        let broken = |error: io::Error| format!("it can't be used: {error}");
        let metadata = match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err("it does not exist".to_owned());
            }
            metadata => metadata.map_err(broken)?,
        };
        if is_of_another_user(path, &metadata) {
            return Err("it belongs to another user; run this as that user".to_owned());
        }
        match lock(path) {
            Ok(lock) => Ok(Self::locked(path, Some(lock))),
            Err(TryLockError::WouldBlock) => Err("a running exporter uses it".to_owned()),
            Err(TryLockError::Error(error)) => Err(broken(error)),
        }
    }

    fn locked(path: &Path, lock: Option<File>) -> Self {
        Self {
            path: path.to_owned(),
            writers: Arc::new(Semaphore::new(WRITERS)),
            writing: Mutex::default(),
            _lock: lock,
        }
    }

    /// Returns a file's content, as parsed by `read`; `None` if there is no file.
    ///
    /// A file that `read` rejects is renamed, so that nothing is lost and the next write does not find it.
    ///
    /// # Errors
    /// Fails if the file exists but its content can't be determined; it stays where it is.
    pub(super) fn read<T>(
        &self,
        name: &str,
        read: impl FnOnce(&[u8]) -> Result<T, String>,
    ) -> Result<Option<T>, StoreError> {
        let path = self.path.join(name);
        let value = match read_regular(&path, FILE_MAX) {
            Ok((content, _)) => read(&content),
            Err(source) => match source.kind() {
                io::ErrorKind::NotFound => return Ok(None),
                // Not a file that the exporter wrote.
                io::ErrorKind::InvalidData | io::ErrorKind::FileTooLarge => Err(source.to_string()),
                _ => return Err(StoreError::File { path, source }),
            },
        };
        let error = match value {
            Ok(value) => return Ok(Some(value)),
            Err(error) => error,
        };
        let aside = self.path.join(format!("{name}.unreadable"));
        let set_aside = fs::rename(&path, &aside).is_ok();
        tracing::warn!(
            file = %path.display(),
            error,
            set_aside,
            "unreadable state file; the exporter starts without it"
        );
        Ok(None)
    }

    /// Replaces a file's content. A crash at any instant leaves the old file or the new one. If the caller stops
    /// waiting, the write goes on.
    pub(super) async fn write(
        self: &Arc<Self>,
        name: String,
        content: impl FnOnce() -> Vec<u8> + Send + 'static,
    ) -> io::Result<()> {
        let writer = Arc::clone(&self.writers).acquire_owned().await;
        if !self.writing.lock().insert(name.clone()) {
            return Err(io::Error::other("an earlier write of it still hangs"));
        }
        let directory = Arc::clone(self);
        let writing = task::spawn_blocking(move || {
            let _writer = writer;
            let written = directory.replace(&name, &content());
            directory.writing.lock().remove(&name);
            written
        });
        let broken_off = |_| io::Error::other("the write was broken off");
        writing.await.map_err(broken_off)?
    }

    fn replace(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let beside = self.path.join(format!("{name}.new"));
        let written = write_flushed(&beside, content)
            .and_then(|()| fs::rename(&beside, self.path.join(name)))
            // The rename itself must reach the disk too.
            .and_then(|()| File::open(&self.path)?.sync_all());
        if written.is_err() {
            // On a full disk, the half-written file would take the space that the next try needs.
            let _ = fs::remove_file(&beside);
        }
        written
    }
}

fn lock(directory: &Path) -> Result<File, TryLockError> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(directory.join(LOCK))
        .map_err(TryLockError::Error)?;
    file.try_lock()?;
    Ok(file)
}

/// Reports whether files that root writes there would lock out the exporter's own user. Other users can do no harm: the
/// system keeps them from writing where they may not.
fn is_of_another_user(directory: &Path, metadata: &fs::Metadata) -> bool {
    // The user who has used the directory before, else the one it was created for.
    let owner = fs::metadata(directory.join(LOCK)).map_or(metadata.uid(), |lock| lock.uid());
    rustix::process::geteuid().is_root() && owner != 0
}

fn write_flushed(path: &Path, content: &[u8]) -> io::Result<()> {
    // For the exporter's user only: balances are a shop's private data.
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        // The target of a link is not the exporter's to overwrite.
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)?;
    file.write_all(content)?;
    file.sync_all()
}
