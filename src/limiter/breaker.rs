//! The breaker: WeChat said that trying again is useless for now.

use std::time::{Duration, Instant, SystemTime};

use super::Budget;
use super::saved::{SavedBreaker, within};
use crate::clock::{ChinaDay, Moment};
use crate::wechat::Reason;

/// The longest that a breaker waits between two tries at what only the operator can mend.
const MENDING_BACKOFF_MAX: Duration = Duration::from_secs(600);
/// Where the back-off begins for an operator who set the interval to 0.
const ZERO_INTERVAL_BACKOFF: Duration = Duration::from_secs(1);
/// How long 45011 ("minute-quota reach limit, … retry next minute") keeps calls back.
pub(crate) const MINUTE_RATE_HOLD: Duration = Duration::from_secs(60);
/// How long 45009 keeps calls back where its message speaks of a minute and not of the day.
const QUOTA_MINUTE_HOLD: Duration = Duration::from_secs(600);
/// How long after midnight a used-up quota can still be yesterday's: WeChat says "midnight" and no second, and our clock
/// can be ahead of its. A hold for the whole new day would cost the shop that day.
const QUOTA_RESET_LAG: Duration = Duration::from_secs(300);
/// `errcode` for a used-up quota, of the day or of the minute.
const ERRCODE_QUOTA: i64 = 45009;

/// An open breaker, or one that has just closed and remembers how long it waited.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Breaker {
    pub(super) reason: Reason,
    hold: Hold,
    /// The wait after the next failure of the same kind, where the breaker backs off.
    next_backoff: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Hold {
    Until(Instant),
    /// For the rest of this day. A clock set to another day ends it: a hold must not last for ever.
    Day(ChinaDay),
}

impl Breaker {
    /// How a failure leaves the breaker; `None`: closed, as the next try may well succeed.
    pub(super) fn after(
        reason: Reason,
        errcode: Option<i64>,
        before: Option<Self>,
        budget: Budget,
        today: ChinaDay,
        now: Moment,
    ) -> Option<Self> {
        let until = |wait| Hold::Until(now.monotonic + wait);
        let mut next_backoff = budget.min_interval;
        let hold = match reason {
            Reason::DailyQuota if has_just_begun(today, now) => until(QUOTA_MINUTE_HOLD),
            Reason::DailyQuota => Hold::Day(today),
            Reason::Rate if errcode == Some(ERRCODE_QUOTA) => until(QUOTA_MINUTE_HOLD),
            Reason::Rate => until(MINUTE_RATE_HOLD),
            _ if reason.needs_mending() => {
                let backoff = match before {
                    Some(before) if before.reason.needs_mending() => before.next_backoff,
                    _ => budget.first_backoff(),
                };
                next_backoff = (backoff * 2).min(budget.longest_backoff());
                until(backoff)
            }
            _ => return None,
        };
        Some(Self {
            reason,
            hold,
            next_backoff,
        })
    }

    pub(super) fn is_open(&self, today: ChinaDay, now: Moment) -> bool {
        match self.hold {
            Hold::Until(until) => now.monotonic < until,
            Hold::Day(day) => today == day,
        }
    }

    /// When it allows the next try; `None` where the system's clock can't say it.
    pub(super) fn until(&self, now: Moment) -> Option<SystemTime> {
        match self.hold {
            Hold::Until(until) => Some(now.wall + until.saturating_duration_since(now.monotonic)),
            Hold::Day(day) => day.end(),
        }
    }

    pub(super) fn save(&self, now: Moment) -> SavedBreaker {
        let (until, day) = match self.hold {
            Hold::Until(_) => (self.until(now), None),
            Hold::Day(day) => (None, Some(day)),
        };
        SavedBreaker {
            reason: self.reason,
            until,
            day,
            next_backoff: self.next_backoff,
        }
    }

    pub(super) fn restore(saved: SavedBreaker, budget: Budget, now: Moment) -> Option<Self> {
        let longest = budget.longest_backoff();
        let hold = match (saved.until, saved.day) {
            (Some(until), _) => Hold::Until(within(until, longest, now)),
            (None, Some(day)) if saved.reason == Reason::DailyQuota => Hold::Day(day),
            (None, _) => return None,
        };
        Some(Self {
            reason: saved.reason,
            hold,
            // A back-off of 0 would never grow.
            next_backoff: saved.next_backoff.clamp(budget.first_backoff(), longest),
        })
    }
}

fn has_just_begun(today: ChinaDay, now: Moment) -> bool {
    let left = today.left(now.wall);
    left.is_some_and(|left| left > ChinaDay::LENGTH - QUOTA_RESET_LAG)
}

impl Budget {
    /// The wait after the first failure that only the operator can mend.
    fn first_backoff(self) -> Duration {
        if self.min_interval.is_zero() {
            ZERO_INTERVAL_BACKOFF
        } else {
            self.min_interval
        }
    }

    /// The longest that a breaker waits between two tries.
    #[must_use]
    pub fn longest_backoff(self) -> Duration {
        MENDING_BACKOFF_MAX.max(self.min_interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limiter::example::{MINUTE, UNLIMITED, noon};
    use crate::limiter::{Cause, RateLimiter, SavedLimiter};

    fn saved(until: Option<SystemTime>, day: Option<ChinaDay>) -> SavedLimiter {
        SavedLimiter {
            breaker: Some(SavedBreaker {
                reason: Reason::Config,
                until,
                day,
                next_backoff: Duration::ZERO,
            }),
            ..SavedLimiter::default()
        }
    }

    #[test]
    fn saved_breaker_without_a_backoff_backs_off_all_the_same() {
        let now = noon();
        let restored = RateLimiter::restore(saved(Some(now.wall), None), UNLIMITED, now);
        restored.failed(Reason::Config, None, UNLIMITED, now);
        assert_eq!(restored.open_until(now), Some(now.wall + MINUTE));
    }

    #[test]
    fn saved_breaker_holds_the_day_for_a_used_up_quota_alone() {
        let now = noon();
        let today = Some(ChinaDay::at(now.wall));
        let restored = RateLimiter::restore(saved(None, today), UNLIMITED, now);
        assert_eq!(restored.open_breaker(now), None);
    }

    #[test]
    fn what_only_the_operator_can_mend_backs_off_from_the_interval_to_ten_minutes() {
        let limiter = RateLimiter::new();
        let mut now = noon();
        for minutes in [1, 2, 4, 8, 10, 10] {
            assert_eq!(limiter.try_acquire(UNLIMITED, now), Ok(Duration::ZERO));
            limiter.failed(Reason::Config, Some(40125), UNLIMITED, now);
            now = now.after(minutes * MINUTE - Duration::from_millis(1));
            assert_eq!(
                limiter.try_acquire(UNLIMITED, now),
                Err(Cause::Breaker),
                "{minutes}"
            );
            now = now.after(Duration::from_millis(1));
        }
        limiter.failed(Reason::Config, None, UNLIMITED, now);
        assert_eq!(limiter.open_until(now), Some(now.wall + 10 * MINUTE));
        limiter.succeeded();
        assert_eq!(limiter.open_breaker(now), None);
        assert_eq!(limiter.open_until(now), None);
    }

    #[test]
    fn reload_lets_the_next_scrape_try_at_once() {
        let limiter = RateLimiter::new();
        let now = noon();
        limiter.try_acquire(UNLIMITED, now).unwrap();
        limiter.failed(Reason::IpWhitelist, Some(40164), UNLIMITED, now);
        limiter.reloaded(UNLIMITED, now);
        assert_eq!(limiter.try_acquire(UNLIMITED, now), Ok(Duration::ZERO));
    }

    #[test]
    fn reload_does_not_lift_a_hold_that_wechat_asked_for() {
        let limiter = RateLimiter::new();
        let now = noon();
        limiter.failed(Reason::DailyQuota, Some(45009), UNLIMITED, now);
        limiter.reloaded(UNLIMITED, now);
        assert_eq!(limiter.try_acquire(UNLIMITED, now), Err(Cause::Breaker));
    }

    #[test]
    fn used_up_quota_of_the_day_waits_for_midnight_in_china() {
        let limiter = RateLimiter::new();
        let now = noon();
        limiter.failed(Reason::DailyQuota, Some(45009), UNLIMITED, now);
        let before = now.after(12 * 60 * MINUTE - Duration::from_secs(1));
        assert_eq!(limiter.try_acquire(UNLIMITED, before), Err(Cause::Breaker));
        let midnight = now.wall + 12 * 60 * MINUTE;
        assert_eq!(limiter.open_until(before), Some(midnight));
        assert!(
            limiter
                .try_acquire(UNLIMITED, now.after(12 * 60 * MINUTE))
                .is_ok()
        );
    }

    #[test]
    fn quota_that_is_still_used_up_just_after_midnight_costs_minutes_and_not_the_day() {
        let limiter = RateLimiter::new();
        let midnight = noon().after(12 * 60 * MINUTE);
        limiter.failed(Reason::DailyQuota, Some(45009), UNLIMITED, midnight);
        let before = midnight.after(9 * MINUTE);
        assert_eq!(limiter.try_acquire(UNLIMITED, before), Err(Cause::Breaker));
        let later = midnight.after(10 * MINUTE);
        assert!(limiter.try_acquire(UNLIMITED, later).is_ok());
        // What WeChat says then, it says of the new day.
        limiter.failed(Reason::DailyQuota, Some(45009), UNLIMITED, later);
        assert_eq!(
            limiter.open_until(later),
            Some(midnight.wall + 24 * 60 * MINUTE)
        );
    }

    #[test]
    fn minute_rate_waits_a_minute_and_minute_quota_ten() {
        for (errcode, minutes) in [(45011, 1), (45009, 10)] {
            let limiter = RateLimiter::new();
            let now = noon();
            limiter.failed(Reason::Rate, Some(errcode), UNLIMITED, now);
            let before = now.after(minutes * MINUTE - Duration::from_millis(1));
            assert_eq!(limiter.try_acquire(UNLIMITED, before), Err(Cause::Breaker));
            assert!(
                limiter
                    .try_acquire(UNLIMITED, now.after(minutes * MINUTE))
                    .is_ok()
            );
        }
    }

    #[test]
    fn passing_failure_opens_no_breaker() {
        for reason in [
            Reason::Transient,
            Reason::Network,
            Reason::Timeout,
            Reason::Decode,
            Reason::Token,
        ] {
            let limiter = RateLimiter::new();
            let now = noon();
            limiter.failed(reason, None, UNLIMITED, now);
            assert!(limiter.try_acquire(UNLIMITED, now).is_ok(), "{reason}");
        }
    }
}
