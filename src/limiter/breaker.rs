//! The breaker, open while WeChat's answers make trying again useless.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::Budget;
use crate::clock::{ChinaDay, DueTime};
use crate::wechat::Reason;

/// How long 45011 ("minute-quota reach limit, … retry next minute") keeps calls back.
const MINUTE_RATE_HOLD: Duration = Duration::from_secs(60);
/// How long 45009 keeps calls back if its message names a minute and not the day.
const QUOTA_MINUTE_HOLD: Duration = Duration::from_secs(600);
/// How long after midnight a used-up quota can still be yesterday's: WeChat says "midnight" without a second, and the
/// exporter's clock can be ahead of WeChat's. A hold for the whole new day would cost the shop that day.
const QUOTA_RESET_LAG: Duration = Duration::from_secs(300);
/// The `errcode` for a used-up quota, of the day or of the minute.
const ERRCODE_QUOTA: i64 = 45009;

/// An open breaker, or one that has closed and remembers how often it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breaker {
    /// Why it was opened.
    pub reason: Reason,
    /// When it allows the next try.
    #[serde(rename = "until_unix_ms")]
    pub until: DueTime,
    /// Failures in a row that only the operator can fix.
    #[serde(default)]
    pub failures: u32,
}

impl Breaker {
    /// Returns the breaker after a failure; `None` if it is closed, as the next try may well succeed.
    pub(super) fn after(
        reason: Reason,
        errcode: Option<i64>,
        before: Option<Self>,
        budget: Budget,
        now: SystemTime,
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
            until: DueTime::after(hold, now),
            failures,
        })
    }

    /// Returns the longest time that a breaker of that reason can hold from now on.
    pub(super) fn longest(reason: Reason, budget: Budget, now: SystemTime) -> Duration {
        match reason {
            Reason::DailyQuota => ChinaDay::left(now).max(QUOTA_MINUTE_HOLD),
            Reason::Rate => QUOTA_MINUTE_HOLD,
            _ => budget.longest_backoff(),
        }
    }
}

fn rest_of_the_quota_day(now: SystemTime) -> Duration {
    let left = ChinaDay::left(now);
    let has_just_begun = left > ChinaDay::LENGTH - QUOTA_RESET_LAG;
    if has_just_begun {
        QUOTA_MINUTE_HOLD
    } else {
        left
    }
}
