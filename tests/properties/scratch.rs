//! Folders for files that are written thousands of times.

use tempfile::TempDir;

/// In memory where the system has such a place: a disk would be waited for at each file.
pub fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .expect("there is room for a folder")
}
