//! The breaker: WeChat said that trying again is useless for now.

use std::time::{Duration, Instant};

use super::Budget;
use crate::clock::{ChinaDay, Moment};
use crate::wechat::Reason;

/// How long 45011 ("minute-quota reach limit, … retry next minute") keeps calls back.
pub(crate) const MINUTE_RATE_HOLD: Duration = Duration::from_secs(60);
/// How long 45009 keeps calls back where its message speaks of a minute and not of the day.
const QUOTA_MINUTE_HOLD: Duration = Duration::from_secs(600);
/// How long after midnight a used-up quota can still be yesterday's: WeChat says "midnight" and no second, and our clock
/// can be ahead of its. A hold for the whole new day would cost the shop that day.
const QUOTA_RESET_LAG: Duration = Duration::from_secs(300);
/// `errcode` for a used-up quota, of the day or of the minute.
const ERRCODE_QUOTA: i64 = 45009;

/// An open breaker, or one that has closed and remembers how often it was opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Breaker {
    pub(super) reason: Reason,
    /// When it allows the next try.
    pub(super) until: Instant,
    /// Failures in a row that only the operator can fix.
    pub(super) failures: u32,
}

impl Breaker {
    /// How a failure leaves the breaker; `None`: closed, as the next try may well succeed.
    pub(super) fn after(
        reason: Reason,
        errcode: Option<i64>,
        before: Option<Self>,
        budget: Budget,
        now: Moment,
    ) -> Option<Self> {
        let mut failures = 0;
        let hold = match reason {
            Reason::DailyQuota => rest_of_the_quota_day(now),
            Reason::Rate if errcode == Some(ERRCODE_QUOTA) => QUOTA_MINUTE_HOLD,
            Reason::Rate => MINUTE_RATE_HOLD,
            _ if reason.needs_operator() => {
                let before = before.map_or(0, |before| before.failures);
                failures = before.saturating_add(1);
                budget.backoff(before)
            }
            _ => return None,
        };
        Some(Self {
            reason,
            until: now.monotonic + hold,
            failures,
        })
    }

    /// The longest that a breaker of that reason can hold from now on.
    pub(super) fn longest(reason: Reason, budget: Budget, now: Moment) -> Duration {
        match reason {
            Reason::DailyQuota => left_of_day(now).max(QUOTA_MINUTE_HOLD),
            Reason::Rate => QUOTA_MINUTE_HOLD,
            _ => budget.longest_backoff(),
        }
    }
}

fn left_of_day(now: Moment) -> Duration {
    let left = ChinaDay::at(now.wall).left(now.wall);
    left.unwrap_or(ChinaDay::LENGTH)
}

fn rest_of_the_quota_day(now: Moment) -> Duration {
    let left = left_of_day(now);
    let has_just_begun = left > ChinaDay::LENGTH - QUOTA_RESET_LAG;
    if has_just_begun {
        QUOTA_MINUTE_HOLD
    } else {
        left
    }
}
