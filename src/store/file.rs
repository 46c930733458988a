//! Files that are whole at any instant: written beside, flushed, then renamed over the old one.

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

/// A state file is refused beyond this. Unit: bytes. Above what 100,000 accounts need.
const FILE_MAX: u64 = 256 << 20;
/// Files that may be written at one time: on a file system that hangs each write takes a thread.
const WRITERS: usize = 16;
/// Locked by the process that uses the directory; the system unlocks it when the process ends, however it ends.
const LOCK: &str = "in-use.lock";

/// The state directory.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    writers: Arc<Semaphore>,
    /// Files that are being written.
    writing: Mutex<HashSet<String>>,
    /// `None`: the directory can only be read, or another process uses it.
    _lock: Option<File>,
}

impl Directory {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        let lock = lock(path);
        if let Err(TryLockError::WouldBlock) = &lock {
            // No error, because the other one may be about to end.
            tracing::warn!(
                directory = %path.display(),
                "another process uses this state directory; together they can spend more calls than the limits allow, so \
                 give each its own or share the state through Redis"
            );
        }
        Ok(Self::locked(path, lock.ok()))
    }

    /// Opens a directory that is there and that nobody else uses now, for writing; else says why not.
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

    /// A file's content, as `read` understands it; `None` where there is none.
    ///
    /// A file that `read` refuses is set aside under another name, so that nothing is lost and the next write does
    /// not meet it.
    ///
    /// # Errors
    /// When there is one and nobody can tell what is in it; it stays where it is.
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
                // Nothing that the exporter wrote.
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

    /// Puts content in a file's place. A crash at any instant leaves the old file or the new one; whoever stops waiting
    /// leaves the write running.
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
            // On a full disk the half-written file would hold the room that the next try needs.
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

/// Whether files that root writes there would lock the exporter's own user out. Other users can't do harm: what they may
/// not write, the system keeps from them.
fn is_of_another_user(directory: &Path, metadata: &fs::Metadata) -> bool {
    // Whoever has used the directory before, else whoever it was made for.
    let owner = fs::metadata(directory.join(LOCK)).map_or(metadata.uid(), |lock| lock.uid());
    rustix::process::geteuid().is_root() && owner != 0
}

fn write_flushed(path: &Path, content: &[u8]) -> io::Result<()> {
    // For the exporter's user alone: balances are a shop's business.
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        // Where a link leads, nothing is ours to overwrite.
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)?;
    file.write_all(content)?;
    file.sync_all()
}
