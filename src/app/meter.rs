//! Every call of a fetch passes here: the daily limit, the counters, and what a late scrape says of it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::moment::Moment;
use crate::wechat::{DailyLimitReached, Endpoint, Meter, Reason};

use super::App;
use crate::limit::Cause;

/// How far a fetch has come, for the scrapes that wait for it.
#[derive(Debug)]
pub(super) struct Progress {
    /// Index of the call under way in [`Endpoint::ALL`], or [`Self::NO_CALL`].
    call: AtomicUsize,
    /// A scrape gave up waiting for the call under way, which was counted as a time-out then.
    late: AtomicBool,
}

impl Progress {
    const NO_CALL: usize = usize::MAX;

    pub(super) fn new() -> Self {
        Self {
            call: AtomicUsize::new(Self::NO_CALL),
            late: AtomicBool::new(false),
        }
    }

    /// The call under way, the first time that a scrape gives up waiting for it.
    pub(super) fn give_up(&self) -> Option<Endpoint> {
        let endpoint = *Endpoint::ALL.get(self.call.load(Ordering::Acquire))?;
        (!self.late.swap(true, Ordering::AcqRel)).then_some(endpoint)
    }

    fn begin(&self, endpoint: Endpoint) {
        self.call.store(endpoint as usize, Ordering::Release);
        self.late.store(false, Ordering::Release);
    }

    /// Whether the call that just ended was counted as a time-out already.
    fn counted_as_late(&self) -> bool {
        self.call.store(Self::NO_CALL, Ordering::Release);
        self.late.load(Ordering::Acquire)
    }
}

/// The budget and the counters of one app, as one fetch sees them.
#[derive(Debug)]
pub(super) struct FetchMeter<'a> {
    pub(super) app: &'a App,
    pub(super) progress: &'a Progress,
}

impl Meter for FetchMeter<'_> {
    fn sending(&self, endpoint: Endpoint) -> Result<(), DailyLimitReached> {
        let record = &self.app.record;
        if let Err(reached) = record.limiter.spend(self.app.budget(), Moment::now()) {
            record.counters.count_refused(Cause::DailyLimit);
            return Err(reached);
        }
        record.counters.count_request(endpoint);
        record.touch();
        self.progress.begin(endpoint);
        Ok(())
    }

    fn failed(&self, endpoint: Endpoint, reason: Reason, errcode: Option<i64>) {
        let record = &self.app.record;
        if !self.progress.counted_as_late() {
            record.counters.count_failure(endpoint, reason);
        }
        // WeChat gave no errcode where it gave no readable answer; the last one it gave stays the last one.
        if let Some(errcode) = errcode {
            record.counters.set_errcode(errcode);
        }
        record.touch();
    }
}
