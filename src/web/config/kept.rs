//! A value made from files, made anew only when one of them changed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;

use crate::config::ConfigError;

/// A file younger than this when it was read may change once more without a change of its times, whose grain is a few
/// milliseconds on common file systems and a second or two on old ones.
const SETTLED: Duration = Duration::from_secs(2);

/// A file as it was at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    path: PathBuf,
    /// `None`: there was none, or it couldn't be looked at.
    state: Option<State>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    /// Whether a later change would show.
    is_settled: bool,
}

impl Stamp {
    pub(super) fn of(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            state: State::of(path),
        }
    }

    fn is_current(&self) -> bool {
        match &self.state {
            Some(state) => state.is_settled && State::of(&self.path).as_ref() == Some(state),
            None => State::of(&self.path).is_none(),
        }
    }
}

impl State {
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        let age = metadata
            .modified()
            .ok()
            .and_then(|modified| SystemTime::now().duration_since(modified).ok());
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            is_settled: age.is_some_and(|age| age > SETTLED),
        })
    }
}

/// The value, and the files as they were when it was made.
#[derive(Debug)]
pub(super) struct Kept<T> {
    current: ArcSwap<Made<T>>,
    /// Held while the value is made, so that of many requests one reads the files.
    making: Mutex<()>,
}

#[derive(Debug)]
struct Made<T> {
    stamps: Vec<Stamp>,
    value: Result<Arc<T>, ConfigError>,
}

impl<T> Made<T> {
    fn is_current(&self) -> bool {
        self.stamps.iter().all(Stamp::is_current)
    }
}

impl<T> Kept<T> {
    pub(super) fn new(stamps: Vec<Stamp>, value: Arc<T>) -> Self {
        Self {
            current: ArcSwap::from_pointee(Made {
                stamps,
                value: Ok(value),
            }),
            making: Mutex::new(()),
        }
    }

    /// The value; made anew where a file has changed. A new failure is logged, and so is its end.
    pub(super) fn get(
        &self,
        make: impl FnOnce() -> (Vec<Stamp>, Result<T, ConfigError>),
    ) -> Result<Arc<T>, ConfigError> {
        let current = self.current.load();
        if current.is_current() {
            return current.value.clone();
        }
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.current.load();
        if current.is_current() {
            return current.value.clone();
        }
        let (stamps, value) = make();
        let value = value.map(Arc::new);
        match (&current.value, &value) {
            (Err(before), Err(now)) if before == now => {}
            (_, Err(error)) => {
                tracing::error!(%error, "the web configuration can't be used any more");
            }
            (Err(_), Ok(_)) => tracing::info!("the web configuration can be used again"),
            (Ok(_), Ok(_)) => {}
        }
        self.current.store(Arc::new(Made {
            stamps,
            value: value.clone(),
        }));
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_is_made_anew_only_after_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let write = |text: &str, age: u64| {
            let file = folder.path().join("new");
            fs::write(&file, text).unwrap();
            let modified = SystemTime::now() - Duration::from_secs(age);
            fs::File::options()
                .write(true)
                .open(&file)
                .unwrap()
                .set_modified(modified)
                .unwrap();
            fs::rename(&file, &path).unwrap();
        };
        let make = || {
            let stamps = vec![Stamp::of(&path)];
            let text = fs::read_to_string(&path).map_err(|error| ConfigError(error.to_string()));
            (stamps, text)
        };
        write("one", 60);
        let kept = Kept::new(vec![Stamp::of(&path)], Arc::new("one".to_owned()));
        let unchanged = kept.get(|| panic!("the file has not changed")).unwrap();
        assert_eq!(*unchanged, "one");

        write("two", 60);
        assert_eq!(*kept.get(make).unwrap(), "two");

        fs::remove_file(&path).unwrap();
        assert!(kept.get(make).is_err());
        write("three", 60);
        assert_eq!(*kept.get(make).unwrap(), "three");
    }

    #[test]
    fn file_that_was_just_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "one").unwrap();
        assert!(!Stamp::of(&path).is_current());
    }
}
