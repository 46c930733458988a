//! Counters of the exporter's own work for one app: plain atomics, turned into metrics when a page is written.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::labels::labels;
use crate::limiter::Cause;
use crate::wechat::{Api, Reason};

labels! {
    /// How a scrape was served: the `source` label of `scrapes_total`.
    Source {
        /// By the fetch that this scrape started.
        Fetched = "fetched",
        /// By a fetch that another scrape had started.
        Joined = "joined",
        /// By the last snapshot.
        Snapshot = "snapshot",
        /// By nothing: there is no snapshot, or it is too old.
        None = "none",
    }
}

/// One app's counters. They last as long as the process, across reloads.
#[derive(Default)]
pub struct Counters {
    requests: [AtomicU64; Api::ALL.len()],
    failures: [[AtomicU64; Reason::ALL.len()]; Api::ALL.len()],
    scrapes: [AtomicU64; Source::ALL.len()],
    refused: [AtomicU64; Cause::ALL.len()],
    errcode: AtomicI64,
}

// Relaxed ordering is enough: each number stands for itself, and a page is written after the fetch that it shows has
// been published under a lock.
impl Counters {
    /// Counts a call that is about to be sent.
    pub fn count_request(&self, api: Api) {
        self.requests[api as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a call that failed, or could not be sent for want of a token.
    pub fn count_failure(&self, api: Api, reason: Reason) {
        self.failures[api as usize][reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a scrape by how it was served.
    pub fn count_scrape(&self, source: Source) {
        self.scrapes[source as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a call that was kept back.
    pub fn count_refused(&self, cause: Cause) {
        self.refused[cause as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Sets the errcode of the last failed call, 0 after a success.
    pub fn set_errcode(&self, errcode: i64) {
        self.errcode.store(errcode, Ordering::Relaxed);
    }

    /// Returns the number of calls sent.
    pub fn requests(&self, api: Api) -> u64 {
        self.requests[api as usize].load(Ordering::Relaxed)
    }

    /// Returns the number of calls that failed.
    pub fn failures(&self, api: Api, reason: Reason) -> u64 {
        self.failures[api as usize][reason as usize].load(Ordering::Relaxed)
    }

    /// Returns the number of scrapes served.
    pub fn scrapes(&self, source: Source) -> u64 {
        self.scrapes[source as usize].load(Ordering::Relaxed)
    }

    /// Returns the number of calls kept back.
    pub fn refused(&self, cause: Cause) -> u64 {
        self.refused[cause as usize].load(Ordering::Relaxed)
    }

    /// Returns the errcode of the last failed call, 0 after a success.
    pub fn errcode(&self) -> i64 {
        self.errcode.load(Ordering::Relaxed)
    }
}
