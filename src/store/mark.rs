//! The mark that a process sets on the state directory that it uses.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// A locked file in the directory; the system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct Mark {
    file: File,
    set: AtomicBool,
}

impl Mark {
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path(directory))?;
        Ok(Self {
            file,
            set: AtomicBool::new(false),
        })
    }

    /// Sets the mark, unless it is set already.
    ///
    /// # Errors
    /// `WouldBlock` where another process has set its own.
    pub(super) fn set(&self) -> Result<(), TryLockError> {
        if !self.set.load(Ordering::Acquire) {
            self.file.try_lock()?;
            self.set.store(true, Ordering::Release);
        }
        Ok(())
    }
}

/// Whether files that root writes there would lock the exporter's own user out.
pub(super) fn is_of_another_user(directory: &Path) -> io::Result<bool> {
    // Others can't do harm: what they may not write, the system keeps from them.
    if !rustix::process::geteuid().is_root() {
        return Ok(false);
    }
    // Whoever has used the directory before, else whoever it was made for.
    let owner = match fs::metadata(path(directory)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::metadata(directory)?,
        mark => mark?,
    };
    Ok(owner.uid() != 0)
}

fn path(directory: &Path) -> PathBuf {
    directory.join("in-use.lock")
}
