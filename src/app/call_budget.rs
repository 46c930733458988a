//! Every call of a fetch passes here: the daily limit, the counters, and what a late scrape says of it.

use crate::limiter::Cause;
use crate::wechat::{self, Api, DailyLimitReached, Meter, Reason};

use super::Fetch;

/// How far a fetch has come, for the scrapes that wait for it.
#[derive(Debug, Default)]
pub(super) struct Stage {
    /// The call under way; `None`: none is, for now.
    call: Option<Api>,
    /// A scrape gave up waiting at this stage, which was counted as a time-out then.
    late: bool,
}

impl Meter for Fetch {
    fn sending(&self, api: Api) -> Result<(), DailyLimitReached> {
        let state = &self.app.state;
        if let Err(reached) = state.limiter.spend(self.app.now()) {
            state.counters.count_refused(Cause::DailyLimit);
            return Err(reached);
        }
        state.counters.count_request(api);
        *self.stage.lock() = Stage {
            call: Some(api),
            late: false,
        };
        Ok(())
    }

    fn failed(&self, api: Api, cause: wechat::Cause) {
        self.count_failure(api, cause.reason);
        // WeChat gave no errcode where it gave no readable answer; the last one it gave stays the last one.
        if cause.errcode != 0 {
            self.app.state.counters.set_errcode(cause.errcode);
        }
    }
}

impl Fetch {
    /// Counts a failure, unless a scrape that gave up has counted it as a time-out already.
    pub(super) fn count_failure(&self, api: Api, reason: Reason) {
        let stage = std::mem::take(&mut *self.stage.lock());
        if !stage.late {
            self.app.state.counters.count_failure(api, reason);
        }
    }

    /// A scrape gave up waiting: counts what it waited for as a time-out, once.
    pub(crate) fn give_up(&self) {
        let app = &self.app;
        let api = {
            let mut stage = self.stage.lock();
            if std::mem::replace(&mut stage.late, true) {
                return;
            }
            // No call: the fetch waits for its turn or for a token that somebody else keeps.
            stage.call.unwrap_or(app.list_api())
        };
        let reason = Reason::Timeout;
        app.state.counters.count_failure(api, reason);
        if app.shared.log.admits(reason.as_str()) {
            tracing::warn!(
                appid = app.config.appid,
                api = api.as_str(),
                reason = reason.as_str(),
                "late for a scrape; the fetch goes on and serves the next one"
            );
        }
    }
}
