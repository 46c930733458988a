//! What survives a restart: each app's limiter and last reading, in files under `--state.dir`.
//!
//! Nothing here is ever fatal while the exporter runs: a file that is corrupt or another's is set aside, one that can't
//! be written is counted and logged, and the exporter goes on from memory. A file that can't be read at all stops the
//! start or the reload: what it says of calls already sent must not be lost. No token and no secret passes through
//! here.

mod file;
pub(crate) mod form;
mod mark;
mod trouble;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use file::Directory;
use trouble::Trouble;

use crate::clock::Moment;
use crate::limiter::SavedLimiter;
use crate::snapshot::Snapshot;
use crate::wechat::{self, Api, Explanation, ListLimits, Reason};

/// How long a fetch waits for its state to reach the disk. A disk that hangs must not hold up what is only kept from
/// being lost; the write goes on meanwhile.
const WRITE_PATIENCE: Duration = Duration::from_secs(1);

/// How the latest fetch of an app ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastFetch {
    /// When it ended.
    pub at: SystemTime,
    /// Why it failed; `None`: it succeeded.
    pub failure: Option<Failure>,
    /// WeChat's errcode, 0 where it gave none.
    pub errcode: i64,
}

/// Why a fetch failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What is to be done about it.
    pub reason: Reason,
    /// The call that failed; `None` where none was sent, for want of a token.
    pub api: Option<Api>,
    /// The error with its causes, as one sentence without secrets.
    pub text: String,
}

impl Failure {
    /// What it means and what to do about it. `errcode`: WeChat's, 0 where it gave none.
    #[must_use]
    pub fn explanation(&self, errcode: i64) -> Explanation {
        match self.api {
            Some(api) => wechat::explain(errcode, self.reason, api)
                .unwrap_or_else(|| self.reason.explanation()),
            None => self.reason.explanation_without_a_call(),
        }
    }
}

impl LastFetch {
    /// A fetch that brought a reading.
    #[must_use]
    pub fn succeeded_at(at: SystemTime) -> Self {
        Self {
            at,
            failure: None,
            errcode: 0,
        }
    }

    /// A fetch that brought none.
    #[must_use]
    pub fn failed(reason: Reason, errcode: Option<i64>, text: String, at: SystemTime) -> Self {
        Self {
            at,
            failure: Some(Failure {
                reason,
                api: None,
                text,
            }),
            errcode: errcode.unwrap_or(0),
        }
    }

    /// Names the call that failed.
    #[must_use]
    pub fn at_endpoint(mut self, api: Option<Api>) -> Self {
        if let Some(failure) = &mut self.failure {
            failure.api = api;
        }
        self
    }

    /// Whether it brought a reading.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.failure.is_none()
    }
}

/// What a store knows of one app.
#[derive(Debug, Default)]
pub struct Saved {
    /// The limiter's state; fresh where nothing was kept.
    pub limiter: SavedLimiter,
    /// How the latest fetch ended.
    pub last_fetch: Option<LastFetch>,
    /// The last good reading.
    pub snapshot: Option<Snapshot>,
}

/// The part of it that changes with every call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SavedProgress {
    /// The limiter's state.
    pub limiter: SavedLimiter,
    /// How the latest fetch ended.
    pub last_fetch: Option<LastFetch>,
}

/// Where limits and snapshots are kept; nowhere without `--state.dir`.
#[derive(Debug)]
pub struct Store {
    directory: Option<Arc<Directory>>,
    list_limits: ListLimits,
    write_failures: AtomicU64,
    trouble: Trouble,
}

/// What was kept can't be had.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The state directory can't be used at all.
    #[error("the state directory {} can't be used; create it, owned by the exporter's user, or leave --state.dir out", path.display())]
    Directory {
        /// Where it should be.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file in it is there and can't be read.
    #[error("the state file {} can't be read, and without it calls already sent would not count; let the exporter's user read it (chown, chmod)", path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Why nothing can be kept in a state directory beside what an exporter keeps there.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// No exporter has made it yet.
    #[error("it does not exist")]
    Missing,
    /// Two processes would overwrite each other's counts.
    #[error("a running exporter uses it")]
    InUse,
    /// Root's files there could not be read by the exporter's user.
    #[error("it belongs to another user; run this as that user")]
    OfAnotherUser,
    /// It can't be written, or is no directory.
    #[error("it can't be used")]
    Broken(#[source] io::Error),
}

impl Store {
    /// Opens the directory, which is made where it is missing.
    ///
    /// # Errors
    /// When it is missing and can't be made, or is no directory. One that can only be read is good enough to start.
    pub fn open(directory: Option<PathBuf>, list_limits: ListLimits) -> Result<Self, StoreError> {
        let directory = match directory {
            None => None,
            Some(path) => match Directory::open(&path) {
                Ok(directory) => Some(Arc::new(directory)),
                Err(source) => return Err(StoreError::Directory { path, source }),
            },
        };
        Ok(Self {
            directory,
            list_limits,
            write_failures: AtomicU64::new(0),
            trouble: Trouble::default(),
        })
    }

    /// Opens a directory that exporters keep their state in, while none of them is running.
    ///
    /// # Errors
    /// See [`Unusable`]; nothing has been changed then.
    pub fn open_unused(directory: &Path, list_limits: ListLimits) -> Result<Self, Unusable> {
        Ok(Self {
            directory: Some(Arc::new(Directory::open_unused(directory)?)),
            list_limits,
            write_failures: AtomicU64::new(0),
            trouble: Trouble::default(),
        })
    }

    /// What was kept of an app. What is corrupt or another's is set aside with a warning.
    ///
    /// # Errors
    /// When a file is there and can't be read.
    pub fn load(&self, appid: &str, now: Moment) -> Result<Saved, StoreError> {
        let Some(directory) = &self.directory else {
            return Ok(Saved::default());
        };
        let progress = directory
            .read(&progress_file(appid), |bytes| {
                form::read_progress(bytes, appid)
            })?
            .unwrap_or_default();
        let snapshot = directory.read(&snapshot_file(appid), |bytes| {
            form::read_snapshot(bytes, appid, self.list_limits, now)
        })?;
        Ok(Saved {
            limiter: progress.limiter,
            last_fetch: progress.last_fetch,
            snapshot,
        })
    }

    /// Keeps the limiter's state. `progress` is called when the file's turn has come, so that of two writers the
    /// later one writes the later state.
    pub async fn save_progress<F>(&self, appid: &str, progress: F)
    where
        F: FnOnce() -> SavedProgress + Send + 'static,
    {
        let owner = appid.to_owned();
        self.write(progress_file(appid), move || {
            form::write_progress(&progress(), &owner)
        })
        .await;
    }

    /// Keeps a reading.
    pub async fn save_snapshot(&self, appid: &str, snapshot: &Arc<Snapshot>) {
        let snapshot = Arc::clone(snapshot);
        let owner = appid.to_owned();
        self.write(snapshot_file(appid), move || {
            form::write_snapshot(&snapshot, &owner)
        })
        .await;
    }

    /// Writes that failed since the start.
    #[must_use]
    pub fn write_failures(&self) -> u64 {
        self.write_failures.load(Ordering::Relaxed)
    }

    async fn write<F>(&self, name: String, content: F)
    where
        F: FnOnce() -> Vec<u8> + Send + 'static,
    {
        let Some(directory) = self.directory.clone() else {
            return;
        };
        let writing = directory.write(name.clone(), content);
        let error = match tokio::time::timeout(WRITE_PATIENCE, writing).await {
            Ok(Ok(())) => return self.trouble.written(&name),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("it is not written after {WRITE_PATIENCE:?}"),
        };
        self.write_failures.fetch_add(1, Ordering::Relaxed);
        self.trouble.failed(&name, &error, Instant::now());
    }
}

fn progress_file(appid: &str) -> String {
    format!("{appid}.limiter.json")
}

fn snapshot_file(appid: &str) -> String {
    format!("{appid}.snapshot.json")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;
    use crate::limiter::{Budget, Cause, RateLimiter};
    use crate::wechat::{Account, AccountList};

    const APPID: &str = "wx0000000000000001";
    const BUDGET: Budget = Budget {
        min_interval: Duration::from_secs(60),
        daily_limit: Some(10),
    };

    fn store(directory: &Path) -> Store {
        Store::open(Some(directory.to_owned()), ListLimits::default()).unwrap()
    }

    fn progress(limiter: &RateLimiter, reserved: u64) -> impl FnOnce() -> SavedProgress + use<> {
        let limiter = limiter.save(reserved, Moment::now());
        move || SavedProgress {
            limiter,
            last_fetch: None,
        }
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "in-use.lock")
            .collect();
        names.sort();
        names
    }

    #[test]
    fn failure_without_a_call_is_not_mended_at_wechats() {
        for reason in [Reason::Config, Reason::Network] {
            let failed = LastFetch::failed(reason, None, String::new(), SystemTime::now());
            let said = failed.failure.unwrap().explanation(0);
            for phrase in [said.cure, said.cure_zh] {
                assert!(!phrase.contains("weixin.qq.com"), "{phrase}");
            }
        }
    }

    #[tokio::test]
    async fn next_start_goes_on_with_the_limits_and_the_reading_of_the_last() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("made/when/missing");
        let limiter = RateLimiter::new();
        limiter.try_acquire(BUDGET, Moment::now()).unwrap();
        limiter.spend(BUDGET, Moment::now()).unwrap();
        let account = Account {
            biz_id: "四川成都某某公司".into(),
            delivery_id: "STO".into(),
            quota_num: Some(2.0),
            ..Account::default()
        };
        let list = AccountList {
            accounts: vec![account.clone()],
            ..AccountList::default()
        };
        let snapshot = Arc::new(Snapshot::fetched_now(list, Moment::now()));
        {
            let store = store(&state);
            store.save_progress(APPID, progress(&limiter, 3)).await;
            store.save_snapshot(APPID, &snapshot).await;
            assert_eq!(store.write_failures(), 0);
        }
        let now = Moment::now();
        let saved = store(&state).load(APPID, now).unwrap();
        let restored = RateLimiter::restore(saved.limiter, BUDGET, now);
        assert_eq!(restored.try_acquire(BUDGET, now), Err(Cause::Interval));
        assert_eq!(restored.remaining(BUDGET, now), Some(10 - 1 - 3));
        assert_eq!(saved.snapshot.unwrap().accounts(), [account]);
        for name in names(&state) {
            let mode = fs::metadata(state.join(&name))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[tokio::test]
    async fn half_written_file_of_a_crash_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let limiter = RateLimiter::new();
        let store = store(directory.path());
        store.save_progress(APPID, progress(&limiter, 2)).await;
        let beside = directory
            .path()
            .join(format!("{}.new", progress_file(APPID)));
        fs::write(&beside, "{\"version\":1,\"app").unwrap();
        let now = Moment::now();
        let used = || -> u64 {
            let saved = store.load(APPID, now).unwrap();
            saved.limiter.used.values().sum()
        };
        assert_eq!(used(), 2);
        store.save_progress(APPID, progress(&limiter, 5)).await;
        assert_eq!(used(), 5);
        assert_eq!(names(directory.path()), [progress_file(APPID)]);
    }

    #[tokio::test]
    async fn file_of_another_app_or_version_is_set_aside_and_not_lost() {
        let other = "{\"version\":1,\"appid\":\"wx0000000000000002\"}";
        let newer = "{\"version\":2,\"appid\":\"wx0000000000000001\"}";
        for content in [other, newer, "", "null"] {
            let directory = tempfile::tempdir().unwrap();
            let name = progress_file(APPID);
            fs::write(directory.path().join(&name), content).unwrap();
            let store = store(directory.path());
            let saved = store.load(APPID, Moment::now()).unwrap();
            assert_eq!(saved.limiter, SavedLimiter::default(), "{content}");
            let aside = directory.path().join(format!("{name}.unreadable"));
            assert_eq!(fs::read_to_string(aside).unwrap(), content);
            store
                .save_progress(APPID, progress(&RateLimiter::new(), 1))
                .await;
            assert_eq!(store.write_failures(), 0);
        }
    }

    #[test]
    fn file_that_can_not_be_read_stays_where_it_is_and_is_named() {
        for name in [progress_file(APPID), snapshot_file(APPID)] {
            let directory = tempfile::tempdir().unwrap();
            let file = directory.path().join(&name);
            // Whatever a link to itself holds, not even root can tell.
            std::os::unix::fs::symlink(&file, &file).unwrap();
            let loaded = store(directory.path()).load(APPID, Moment::now());
            let sentence = loaded.unwrap_err().to_string();
            assert!(sentence.contains(&*file.to_string_lossy()), "{sentence}");
            assert_eq!(names(directory.path()), [name]);
        }
    }

    #[tokio::test]
    async fn write_that_fails_is_counted_and_leaves_nothing_beside() {
        let directory = tempfile::tempdir().unwrap();
        // A file can't take a folder's place.
        fs::create_dir(directory.path().join(progress_file(APPID))).unwrap();
        let store = store(directory.path());
        store
            .save_progress(APPID, progress(&RateLimiter::new(), 1))
            .await;
        assert_eq!(store.write_failures(), 1);
        assert_eq!(names(directory.path()), [progress_file(APPID)]);
    }

    #[tokio::test]
    async fn link_in_the_place_of_a_file_to_be_written_is_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::NamedTempFile::new().unwrap();
        fs::write(&elsewhere, "of another").unwrap();
        let beside = format!("{}.new", progress_file(APPID));
        std::os::unix::fs::symlink(&elsewhere, directory.path().join(beside)).unwrap();
        let store = store(directory.path());
        for failures in [1, 1] {
            store
                .save_progress(APPID, progress(&RateLimiter::new(), 1))
                .await;
            assert_eq!(store.write_failures(), failures);
        }
        assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "of another");
        assert_eq!(names(directory.path()), [progress_file(APPID)]);
    }

    #[tokio::test]
    async fn disk_that_hangs_is_left_alone_after_a_while() {
        let directory = tempfile::tempdir().unwrap();
        // Opening a FIFO for writing waits for a reader.
        let fifo = directory
            .path()
            .join(format!("{}.new", progress_file(APPID)));
        let made = std::process::Command::new("mkfifo").arg(&fifo).status();
        assert!(made.unwrap().success());
        let store = store(directory.path());
        for failures in [1, 2] {
            store
                .save_progress(APPID, progress(&RateLimiter::new(), 1))
                .await;
            assert_eq!(store.write_failures(), failures);
        }
        // The first write goes on; the second one never came to its turn.
        let reader = fs::File::open(&fifo).unwrap();
        drop(reader);
    }

    #[tokio::test]
    async fn directory_is_marked_as_soon_as_whoever_used_it_has_ended() {
        let directory = tempfile::tempdir().unwrap();
        let open_unused = || Store::open_unused(directory.path(), ListLimits::default());
        let first = open_unused().unwrap();
        assert!(matches!(open_unused(), Err(Unusable::InUse)));
        let second = store(directory.path());
        drop(first);
        let limiter = RateLimiter::new();
        second.save_progress(APPID, progress(&limiter, 1)).await;
        assert!(matches!(open_unused(), Err(Unusable::InUse)));
        drop(second);
        assert!(open_unused().is_ok());
    }

    #[test]
    fn directory_that_is_missing_is_not_made_for_a_moments_use() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("missing");
        let opened = Store::open_unused(&missing, ListLimits::default());
        assert!(matches!(opened, Err(Unusable::Missing)));
        assert!(!missing.exists());
    }

    #[test]
    fn place_that_is_no_directory_stops_the_start() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let opened = Store::open(Some(file.path().to_owned()), ListLimits::default());
        let sentence = opened.unwrap_err().to_string();
        assert!(
            sentence.contains(&*file.path().to_string_lossy()),
            "{sentence}"
        );
    }
}
