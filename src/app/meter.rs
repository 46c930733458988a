//! Every call of a fetch passes here: the daily limit, the counters, and what a late scrape says of it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::clock::Moment;
use crate::wechat::{Api, DailyLimitReached, Meter, Reason};

use super::App;
use crate::limiter::Cause;

/// How far a fetch has come, for the scrapes that wait for it.
#[derive(Debug, Default)]
pub(super) struct Progress(Mutex<Stage>);

#[derive(Debug, Default)]
struct Stage {
    /// The call under way; `None`: none is, for now.
    call: Option<Api>,
    /// A scrape gave up waiting at this stage, which was counted as a time-out then.
    late: bool,
}

impl Progress {
    /// What is waited for, the first time that a scrape gives up: the call under way, or `list` where the fetch waits
    /// for its turn or for a token that somebody else keeps.
    pub(super) fn give_up(&self, list: Api) -> Option<Api> {
        let mut stage = self.lock();
        let waited_for = stage.call.unwrap_or(list);
        (!std::mem::replace(&mut stage.late, true)).then_some(waited_for)
    }

    fn begin(&self, api: Api) {
        *self.lock() = Stage {
            call: Some(api),
            late: false,
        };
    }

    /// Ends the stage; says whether it was counted as a time-out already.
    pub(super) fn end_stage(&self) -> bool {
        std::mem::take(&mut *self.lock()).late
    }

    fn lock(&self) -> MutexGuard<'_, Stage> {
        // Nothing can panic under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The budget and the counters of one app, as one fetch sees them.
#[derive(Debug)]
pub(super) struct FetchMeter<'a> {
    pub(super) app: &'a App,
    pub(super) progress: &'a Progress,
}

impl Meter for FetchMeter<'_> {
    fn sending(&self, api: Api) -> Result<(), DailyLimitReached> {
        let record = &self.app.record;
        if let Err(reached) = record.limiter.spend(self.app.budget(), Moment::now()) {
            record.counters.count_refused(Cause::DailyLimit);
            return Err(reached);
        }
        record.counters.count_request(api);
        self.progress.begin(api);
        Ok(())
    }

    fn failed(&self, api: Api, reason: Reason, errcode: Option<i64>) {
        let record = &self.app.record;
        let counted = self.progress.end_stage();
        if !counted {
            record.counters.count_failure(api, reason);
        }
        // WeChat gave no errcode where it gave no readable answer; the last one it gave stays the last one.
        if let Some(errcode) = errcode {
            record.counters.set_errcode(errcode);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_call_is_counted_once_whoever_comes_first() {
        let list = Api::AccountGetall;
        let progress = Progress::default();
        assert_eq!(progress.give_up(list), Some(list), "no call yet");
        progress.begin(Api::StableToken);
        assert_eq!(progress.give_up(list), Some(Api::StableToken));
        assert_eq!(progress.give_up(list), None, "counted already");
        assert!(progress.end_stage(), "its failure does not count again");
        progress.begin(list);
        assert!(!progress.end_stage());
    }
}
