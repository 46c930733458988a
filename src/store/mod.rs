//! What survives a restart: each app's state and last snapshot, in files under `--state.dir`.
//!
//! While the exporter runs, no error here is fatal: a file that is corrupt or another app's is set aside, a failed
//! write is counted and logged, and the exporter goes on from memory. A file that can't be read at all stops the start
//! or the reload, because the calls that it counts as sent must not be lost. No token and no secret passes through
//! here.

mod file;
pub(crate) mod form;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use file::Directory;

use crate::clock::{DueTime, Moment, as_unix_millis};
use crate::limiter::SavedLimiter;
use crate::snapshot::Snapshot;
use crate::wechat::{Api, ApiQuota, Error, ListLimits};

/// How long a fetch waits for its state to reach the disk. A hanging disk must not delay fetches for the sake of data
/// that is only kept for a restart; the write goes on meanwhile.
const WRITE_PATIENCE: Duration = Duration::from_secs(1);

/// How long WeChat's own figures are still shown after a new request for them is due; the next fetch sends it.
const API_QUOTA_GRACE: Duration = Duration::from_secs(3600);

/// One app's state, which the state directory keeps and replicas share.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SavedState {
    pub limiter: SavedLimiter,
    /// How the latest fetch ended.
    pub last_fetch: Option<LastFetch>,
    /// When optional calls are due.
    pub optional_calls: OptionalCallsState,
    /// Among replicas: whether the holder of the app's lock is fetching.
    pub fetching: bool,
    /// Among replicas: the ID of the shared snapshot.
    pub snapshot_id: Option<u64>,
}

/// When one app's optional calls are due, and WeChat's own figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OptionalCallsState {
    /// When WeChat's own figures are asked for again.
    #[serde(rename = "api_quota_due_unix_ms")]
    pub api_quota_due: DueTime,
    /// WeChat's own figures, with the API that they concern.
    pub api_quota: Option<(Api, ApiQuota)>,
    /// The time before which no live balance is asked for, because one was refused.
    #[serde(rename = "balances_due_unix_ms")]
    pub balances_due: DueTime,
}

impl OptionalCallsState {
    /// Returns WeChat's own figures, unless they are so old that they may be another day's.
    pub(crate) fn api_quota(&self, now: SystemTime) -> Option<(Api, ApiQuota)> {
        let is_recent = !self.api_quota_due.has_come(now - API_QUOTA_GRACE);
        self.api_quota.filter(|_| is_recent)
    }
}

/// How the latest fetch of an app ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastFetch {
    /// When it ended.
    #[serde(rename = "at_unix_ms", with = "as_unix_millis")]
    pub at: SystemTime,
    /// Why it failed; `None` if it brought a snapshot.
    pub failure: Option<Error>,
}

impl LastFetch {
    /// Reports whether it brought a snapshot.
    pub fn succeeded(&self) -> bool {
        self.failure.is_none()
    }

    /// Returns WeChat's errcode; 0 if it gave none.
    pub fn errcode(&self) -> i64 {
        self.failure
            .as_ref()
            .map_or(0, |failure| failure.cause.errcode)
    }
}

/// What a store has kept of one app.
#[derive(Default)]
pub struct Saved {
    /// The state; a fresh one if nothing was kept.
    pub state: SavedState,
    /// The last good snapshot.
    pub snapshot: Option<Snapshot>,
}

/// The place where states and snapshots are kept; without `--state.dir` there is none.
pub struct Store {
    directory: Option<Arc<Directory>>,
    list_limits: ListLimits,
    write_failures: AtomicU64,
    /// Files whose latest write failed.
    failing: Mutex<HashSet<String>>,
}

/// What was kept can't be loaded.
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
    /// A file exists in it and can't be read.
    #[error("the state file {} can't be read, and without it calls already sent would not count; let the exporter's user read it (chown, chmod)", path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Store {
    /// Opens the directory, and creates it if it is missing.
    ///
    /// # Errors
    /// Fails if it is missing and can't be created, or is no directory. A read-only one is good enough to start.
    pub fn open(directory: Option<PathBuf>, list_limits: ListLimits) -> Result<Self, StoreError> {
        let directory = match directory {
            None => None,
            Some(path) => match Directory::open(&path) {
                Ok(directory) => Some(directory),
                Err(source) => return Err(StoreError::Directory { path, source }),
            },
        };
        Ok(Self::new(directory, list_limits))
    }

    /// Opens the state directory of exporters while none of them is running.
    ///
    /// # Errors
    /// Returns why it can't be used, as one sentence; nothing has been changed then.
    pub fn open_unused(directory: &Path, list_limits: ListLimits) -> Result<Self, String> {
        let directory = Directory::open_unused(directory)?;
        Ok(Self::new(Some(directory), list_limits))
    }

    fn new(directory: Option<Directory>, list_limits: ListLimits) -> Self {
        Self {
            directory: directory.map(Arc::new),
            list_limits,
            write_failures: AtomicU64::new(0),
            failing: Mutex::default(),
        }
    }

    /// Returns what was kept of an app. A file that is corrupt or another app's is set aside with a warning.
    ///
    /// # Errors
    /// Fails if a file exists and can't be read.
    pub fn load(&self, appid: &str, now: Moment) -> Result<Saved, StoreError> {
        let Some(directory) = &self.directory else {
            return Ok(Saved::default());
        };
        let state = directory.read(&state_file(appid), |bytes| form::read_state(bytes, appid))?;
        let snapshot = directory.read(&snapshot_file(appid), |bytes| {
            form::read_snapshot(bytes, appid, self.list_limits, now)
        })?;
        Ok(Saved {
            state: state.unwrap_or_default(),
            snapshot,
        })
    }

    pub async fn save_state(&self, appid: &str, state: SavedState) {
        let owner = appid.to_owned();
        self.write(state_file(appid), move || form::write_state(&state, &owner))
            .await;
    }

    pub async fn save_snapshot(&self, appid: &str, snapshot: &Arc<Snapshot>) {
        let snapshot = Arc::clone(snapshot);
        let owner = appid.to_owned();
        self.write(snapshot_file(appid), move || {
            form::write_snapshot(&snapshot, &owner)
        })
        .await;
    }

    /// Returns the number of writes that have failed since the start.
    pub fn write_failures(&self) -> u64 {
        self.write_failures.load(Ordering::Relaxed)
    }

    async fn write<F>(&self, name: String, content: F)
    where
        F: FnOnce() -> Vec<u8> + Send + 'static,
    {
        let Some(directory) = &self.directory else {
            return;
        };
        let writing = directory.write(name.clone(), content);
        let error = match tokio::time::timeout(WRITE_PATIENCE, writing).await {
            Ok(Ok(())) => return self.written(&name),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("it is not written after {WRITE_PATIENCE:?}"),
        };
        self.write_failures.fetch_add(1, Ordering::Relaxed);
        let mut failing = self.failing.lock();
        if failing.is_empty() {
            tracing::warn!(
                file = name,
                error,
                "state can't be written; the exporter goes on from memory"
            );
        }
        failing.insert(name);
    }

    fn written(&self, file: &str) {
        let mut failing = self.failing.lock();
        if failing.remove(file) && failing.is_empty() {
            let failures = self.write_failures();
            tracing::info!(failures, "state is written again");
        }
    }
}

fn state_file(appid: &str) -> String {
    format!("{appid}.limiter.json")
}

fn snapshot_file(appid: &str) -> String {
    format!("{appid}.snapshot.json")
}
