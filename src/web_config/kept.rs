//! A value made from files, made anew only when one of them changed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::blocking::BlockingReads;
use crate::config::ConfigError;

/// A file younger than this when it was read may change once more without a change of its times, whose grain is a few
/// milliseconds on common file systems and a second or two on old ones.
const SETTLED: Duration = Duration::from_secs(2);

/// The longest that anybody waits for a look at the files: a disk that is busy refuses nobody, and one that hangs keeps
/// a scraper for half of its usual time.
const PATIENCE: Duration = Duration::from_secs(5);

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
///
/// A change counts for whoever asks after it: each waits for a look at the files that began no earlier than that. Those
/// who ask at the same time share one look.
#[derive(Debug)]
pub(super) struct Kept<T> {
    latest: Arc<Mutex<Latest<T>>>,
    /// Looks, one at a time.
    aside: BlockingReads,
    /// [`PATIENCE`], but for tests.
    patience: Duration,
}

#[derive(Debug)]
struct Latest<T> {
    made: Arc<Made<T>>,
    /// When the last look began that has come back.
    looked: Instant,
    /// Whether a look has been waited for in vain since.
    hangs: bool,
}

#[derive(Debug)]
pub(super) struct Made<T> {
    pub(super) stamps: Vec<Stamp>,
    pub(super) value: Result<Arc<T>, ConfigError>,
}

impl<T> Made<T> {
    fn is_current(&self) -> bool {
        self.stamps.iter().all(Stamp::is_current)
    }
}

impl<T: Send + Sync + 'static> Kept<T> {
    /// `began`: before the files were read.
    pub(super) fn new(made: Made<T>, began: Instant) -> Self {
        Self {
            latest: Arc::new(Mutex::new(Latest {
                made: Arc::new(made),
                looked: began,
                hangs: false,
            })),
            aside: BlockingReads::default(),
            patience: PATIENCE,
        }
    }

    /// The value; made anew where a file has changed. A new failure is logged, and so is its end.
    ///
    /// # Errors
    /// As `make`, and when the files can't be looked at in time: what they say now is not known then.
    pub(super) async fn get(
        &self,
        make: impl FnOnce() -> Made<T> + Send + 'static,
    ) -> Result<Arc<T>, ConfigError> {
        let asked = Instant::now();
        let look = self.look_since(asked, make);
        let is_in_time = tokio::time::timeout(self.patience, look).await.is_ok();
        let mut latest = lock(&self.latest);
        if is_in_time {
            return latest.made.value.clone();
        }
        let error = ConfigError("looking at its files hangs".to_owned());
        if !std::mem::replace(&mut latest.hangs, true) {
            tracing::error!(%error, "the web configuration can't be used any more");
        }
        Err(error)
    }

    /// Ends with a look that began no earlier than `asked`.
    async fn look_since(&self, asked: Instant, make: impl FnOnce() -> Made<T> + Send + 'static) {
        let turn = self.aside.turn().await;
        if lock(&self.latest).looked < asked {
            let latest = Arc::clone(&self.latest);
            // What it finds serves also when nobody waits for it any more.
            turn.run(move || look(&latest, make)).await;
        }
    }
}

fn look<T>(latest: &Mutex<Latest<T>>, make: impl FnOnce() -> Made<T>) {
    let began = Instant::now();
    let old = Arc::clone(&lock(latest).made);
    let new = if old.is_current() {
        Arc::clone(&old)
    } else {
        Arc::new(make())
    };
    let mut latest = lock(latest);
    match (&old.value, &new.value) {
        (Err(before), Err(now)) if before == now => {}
        (_, Err(error)) => {
            tracing::error!(%error, "the web configuration can't be used any more");
        }
        (before, Ok(_)) if latest.hangs || before.is_err() => {
            tracing::info!("the web configuration can be used again");
        }
        (_, Ok(_)) => {}
    }
    *latest = Latest {
        made: new,
        looked: began,
        hangs: false,
    };
}

/// Nothing is read or waited for while it is held.
fn lock<T>(latest: &Mutex<Latest<T>>) -> MutexGuard<'_, Latest<T>> {
    latest.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn of(path: &Path) -> Made<String> {
        Made {
            stamps: vec![Stamp::of(path)],
            value: fs::read_to_string(path)
                .map(Arc::new)
                .map_err(|error| ConfigError(error.to_string())),
        }
    }

    /// Never waited for.
    const LONG: Duration = Duration::from_secs(60);

    /// A file that was just written, so that each look reads it.
    fn unsettled() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "one").unwrap();
        (folder, path)
    }

    fn kept(path: &Path, patience: Duration) -> Arc<Kept<String>> {
        let began = Instant::now();
        let kept = Kept::new(of(path), began);
        Arc::new(Kept { patience, ..kept })
    }

    /// A look that tells when it has begun and hangs until its other end says what it finds.
    struct Look {
        begun: mpsc::Receiver<()>,
        end: mpsc::Sender<Made<String>>,
        asked: tokio::task::JoinHandle<Result<Arc<String>, ConfigError>>,
    }

    impl Look {
        fn of(kept: &Arc<Kept<String>>) -> Self {
            let (begin, begun) = mpsc::channel();
            let (end, ended) = mpsc::channel();
            let kept = Arc::clone(kept);
            let asked = tokio::spawn(async move {
                kept.get(move || {
                    begin.send(()).unwrap();
                    ended.recv().unwrap()
                })
                .await
            });
            Self { begun, end, asked }
        }

        async fn has_begun(&self) {
            while self.begun.try_recv().is_err() {
                tokio::task::yield_now().await;
            }
        }
    }

    #[tokio::test]
    async fn value_is_made_anew_only_after_a_change() {
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
            let path = path.clone();
            move || of(&path)
        };
        write("one", 60);
        let kept = kept(&path, LONG);
        let unchanged = kept.get(|| panic!("the file has not changed")).await;
        assert_eq!(*unchanged.unwrap(), "one");

        write("two", 60);
        assert_eq!(*kept.get(make()).await.unwrap(), "two");

        fs::remove_file(&path).unwrap();
        assert!(kept.get(make()).await.is_err());
        write("three", 60);
        assert_eq!(*kept.get(make()).await.unwrap(), "three");
    }

    #[test]
    fn file_that_was_just_written_is_read_again() {
        let (_folder, path) = unsettled();
        assert!(!Stamp::of(&path).is_current());
    }

    #[tokio::test]
    async fn look_that_hangs_refuses_until_it_comes_back() {
        let (_folder, path) = unsettled();
        let kept = kept(&path, Duration::from_millis(50));
        let look = Look::of(&kept);
        look.has_begun().await;
        let waits = Look::of(&kept);
        look.asked.await.unwrap().unwrap_err();
        waits.asked.await.unwrap().unwrap_err();
        assert!(
            waits.begun.try_recv().is_err(),
            "one thread is lost, not two"
        );

        // What it found late is worth as much.
        let late = Look::of(&kept);
        let stamps = Vec::new();
        let value = Ok(Arc::new("two".to_owned()));
        look.end.send(Made { stamps, value }).unwrap();
        assert_eq!(*late.asked.await.unwrap().unwrap(), "two");
    }

    #[tokio::test]
    async fn look_that_takes_a_while_refuses_nobody() {
        let (_folder, path) = unsettled();
        let kept = kept(&path, LONG);
        let look = Look::of(&kept);
        look.has_begun().await;
        let waits = [Look::of(&kept), Look::of(&kept), Look::of(&kept)];
        // A client that leaves meanwhile spoils nothing for the others.
        look.asked.abort();
        assert!(look.asked.await.unwrap_err().is_cancelled());
        look.end.send(of(&path)).unwrap();

        // The first of those that waited looks once more, because the file may have changed since; the others share it.
        fs::write(&path, "two").unwrap();
        waits[0].has_begun().await;
        waits[0].end.send(of(&path)).unwrap();
        for waits in waits {
            assert_eq!(*waits.asked.await.unwrap().unwrap(), "two");
        }
    }
}
