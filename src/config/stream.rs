//! Text that comes out of a pipe or a terminal: `/dev/stdin`, `<(sops decrypt apps.yml)`.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// Between two looks at a pipe in which nothing is.
const PAUSE: Duration = Duration::from_millis(10);

/// Reads it to its end, but no more than one byte beyond `max`. What can be read only once is empty the second time.
///
/// # Errors
/// When it can't be opened or read, or does not end within the patience: nothing may hold up a reload for ever.
pub(super) fn read(path: &Path, max: u64, patience: Duration) -> io::Result<Vec<u8>> {
    // Without waiting for a writer.
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let mut stream = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    let latest = Instant::now() + patience;
    let mut bytes = Vec::new();
    let mut some = [0; 8192];
    while bytes.len() as u64 <= max {
        match stream.read(&mut some) {
            // Whoever writes may still be about to open it.
            Ok(0) if bytes.is_empty() && Instant::now() < latest => thread::sleep(PAUSE),
            Ok(0) => break,
            Ok(read) => bytes.extend_from_slice(&some[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if Instant::now() >= latest {
                    return Err(io::Error::from(io::ErrorKind::TimedOut));
                }
                thread::sleep(PAUSE);
            }
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(usize::try_from(max).map_or(usize::MAX, |max| max.saturating_add(1)));
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn fifo(directory: &Path) -> PathBuf {
        let path = directory.join("fifo");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        path
    }

    #[test]
    fn pipe_is_read_to_its_end_and_no_further_than_asked() {
        let directory = tempfile::tempdir().unwrap();
        let path = fifo(directory.path());
        for (max, read_of_it) in [(1 << 20, 100_000), (999, 1000)] {
            let writing = path.clone();
            let writer = thread::spawn(move || std::fs::write(writing, "a".repeat(100_000)));
            let bytes = read(&path, max, Duration::from_secs(30)).unwrap();
            assert_eq!(bytes.len(), read_of_it);
            // One that is left before its end is told so.
            let _ = writer.join().unwrap();
        }
    }

    #[test]
    fn pipe_without_a_writer_is_empty_and_one_that_never_ends_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = fifo(directory.path());
        let patience = Duration::from_millis(20);
        assert_eq!(read(&path, 10, patience).unwrap(), b"");
        let open = std::fs::File::options().read(true).write(true).open(&path);
        let error = read(&path, 10, patience).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(open);
    }
}
