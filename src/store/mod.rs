//! What survives a restart: each app's limiter and last reading, in files under `--state.dir`.
//!
//! Nothing here is ever fatal while the exporter runs: a file that can't be read is set aside, one that can't be
//! written is counted and logged, and the exporter goes on from memory. No token and no secret passes through here.

mod file;
pub(crate) mod form;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use file::Directory;

use crate::limit::SavedLimiter;
use crate::moment::Moment;
use crate::snapshot::Snapshot;
use crate::wechat::{self, Endpoint, Explanation, ListLimits, Reason};

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
    pub endpoint: Option<Endpoint>,
    /// The error with its causes, as one sentence without secrets.
    pub text: String,
}

impl Failure {
    /// What it means and what to do about it. `errcode`: WeChat's, 0 where it gave none.
    #[must_use]
    pub fn explanation(&self, errcode: i64) -> Explanation {
        self.endpoint
            .and_then(|endpoint| wechat::explain(errcode, endpoint))
            .unwrap_or_else(|| self.reason.explanation())
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
                endpoint: None,
                text,
            }),
            errcode: errcode.unwrap_or(0),
        }
    }

    /// Names the call that failed.
    #[must_use]
    pub fn at_endpoint(mut self, endpoint: Option<Endpoint>) -> Self {
        if let Some(failure) = &mut self.failure {
            failure.endpoint = endpoint;
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
}

/// The state directory can't be used at all.
#[derive(Debug, thiserror::Error)]
#[error("the state directory {} can't be used; create it, owned by the exporter's user, or leave --state.dir out", path.display())]
pub struct StoreError {
    path: PathBuf,
    source: io::Error,
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
                Err(source) => return Err(StoreError { path, source }),
            },
        };
        Ok(Self {
            directory,
            list_limits,
            write_failures: AtomicU64::new(0),
        })
    }

    /// What was kept of an app. Whatever can't be read is set aside with a warning.
    #[must_use]
    pub fn load(&self, appid: &str, now: Moment) -> Saved {
        let Some(directory) = &self.directory else {
            return Saved::default();
        };
        let progress = directory
            .read(&progress_file(appid), |bytes| {
                form::read_progress(bytes, appid)
            })
            .unwrap_or_default();
        let snapshot = directory.read(&snapshot_file(appid), |bytes| {
            form::read_snapshot(bytes, appid, self.list_limits, now)
        });
        Saved {
            limiter: progress.limiter,
            last_fetch: progress.last_fetch,
            snapshot,
        }
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
        let file = name.clone();
        let written = tokio::task::spawn_blocking(move || directory.write(&file, content)).await;
        let error = match written {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the write was broken off".to_owned(),
        };
        self.write_failures.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(
            file = name,
            error,
            "state can't be written; the exporter goes on from memory"
        );
    }
}

fn progress_file(appid: &str) -> String {
    format!("{appid}.limiter.json")
}

fn snapshot_file(appid: &str) -> String {
    format!("{appid}.snapshot.json")
}
