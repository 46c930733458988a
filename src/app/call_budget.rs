//! The daily limit, the counters, and the time-outs of late scrapes. Every call of a fetch passes through here.

use crate::limiter::Cause;
use crate::logging;
use crate::wechat::{self, Api, DailyLimitReached, Meter, Reason};

use super::Fetch;

/// The progress of a fetch, for the scrapes that wait for it.
#[derive(Default)]
pub(super) struct Stage {
    /// The call under way; `None` if there is none at the moment.
    call: Option<Api>,
    /// Whether a scrape gave up waiting at this stage, which was then counted as a time-out.
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
        // Without a readable answer there is no errcode, and WeChat's last errcode stays.
        if cause.errcode != 0 {
            self.app.state.counters.set_errcode(cause.errcode);
        }
    }
}

impl Fetch {
    /// Counts a failure, unless a scrape that gave up waiting has already counted it as a time-out.
    pub(super) fn count_failure(&self, api: Api, reason: Reason) {
        let stage = std::mem::take(&mut *self.stage.lock());
        if !stage.late {
            self.app.state.counters.count_failure(api, reason);
        }
    }

    /// Counts a time-out, once, for the call that a scrape gave up waiting for.
    pub(crate) fn give_up(&self) {
        let app = &self.app;
        let api = {
            let mut stage = self.stage.lock();
            if std::mem::replace(&mut stage.late, true) {
                return;
            }
            // No call is under way: the fetch waits for its turn or for a token that another program keeps.
            stage.call.unwrap_or(app.list_api())
        };
        let reason = Reason::Timeout;
        app.state.counters.count_failure(api, reason);
        if logging::admits(reason.as_str()) {
            tracing::warn!(
                appid = app.config.appid,
                api = api.as_str(),
                reason = reason.as_str(),
                "late for a scrape; the fetch goes on and serves the next one"
            );
        }
    }
}
