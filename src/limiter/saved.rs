//! A limiter over a restart, on the wall clock.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use super::breaker::Breaker;
use super::calls::Calls;
use super::{Budget, RateLimiter, State};
use crate::clock::{ChinaDay, Moment};
use crate::wechat::Reason;

/// What of a limiter survives a restart, on the wall clock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SavedLimiter {
    /// The earliest time of the next fetch.
    pub next_fetch: Option<SystemTime>,
    /// Calls sent, by day.
    pub used: BTreeMap<ChinaDay, u64>,
    /// The open breaker.
    pub breaker: Option<SavedBreaker>,
}

/// An open breaker on the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavedBreaker {
    /// What opened it.
    pub reason: Reason,
    /// When it allows the next try; `None`: not before another day.
    pub until: Option<SystemTime>,
    /// The day it holds, where it holds a day.
    pub day: Option<ChinaDay>,
    /// The wait after the next failure.
    pub next_backoff: Duration,
}

impl RateLimiter {
    /// A limiter that goes on where a saved one ended.
    ///
    /// Waits are cut to what the rules could have asked for, so that a clock that was set back between two runs
    /// can't hold calls for days.
    #[must_use]
    pub fn restore(saved: SavedLimiter, budget: Budget, now: Moment) -> Self {
        let state = State {
            next_fetch: saved
                .next_fetch
                .map(|next| within(next, budget.min_interval, now)),
            calls: Calls::from(saved.used),
            breaker: saved
                .breaker
                .and_then(|breaker| Breaker::restore(breaker, budget, now)),
            ..State::default()
        };
        Self {
            state: Mutex::new(state),
        }
    }

    /// What must survive a restart. `reserved` calls of a fetch about to begin count as sent: a crash in its midst
    /// may then count too many, never too few.
    #[must_use]
    pub fn save(&self, reserved: u64, now: Moment) -> SavedLimiter {
        let state = self.lock();
        let wall = |at: Instant| now.wall + at.saturating_duration_since(now.monotonic);
        let mut calls = state.calls.clone();
        if reserved > 0 {
            let today = state.today(now);
            calls.set(today, calls.on(today).saturating_add(reserved));
        }
        SavedLimiter {
            next_fetch: state.next_fetch.map(wall),
            used: calls.into(),
            breaker: state.breaker.map(|breaker| breaker.save(now)),
        }
    }
}

/// That time on the monotonic clock, at most `longest` from now.
pub(super) fn within(until: SystemTime, longest: Duration, now: Moment) -> Instant {
    let wait = until.duration_since(now.wall).unwrap_or_default();
    now.monotonic + wait.min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limiter::Cause;
    use crate::limiter::example::{BUDGET, DAY, MINUTE, UNLIMITED, noon};

    #[test]
    fn restored_limiter_goes_on_where_the_saved_one_ended() {
        let limiter = RateLimiter::new();
        let now = noon();
        limiter.try_acquire(BUDGET, now).unwrap();
        limiter.spend(BUDGET, now).unwrap();
        let restored = RateLimiter::restore(limiter.save(0, now), BUDGET, now);
        assert_eq!(restored.try_acquire(BUDGET, now), Err(Cause::Interval));
        assert_eq!(restored.remaining(BUDGET, now), Some(2));
        assert!(restored.try_acquire(BUDGET, now.after(MINUTE)).is_ok());

        limiter.failed(Reason::Permission, Some(48001), BUDGET, now);
        let restored = RateLimiter::restore(limiter.save(0, now), BUDGET, now);
        assert_eq!(restored.open_breaker(now), Some(Reason::Permission));
    }

    #[test]
    fn calls_reserved_for_a_fetch_count_as_sent_after_a_crash() {
        let limiter = RateLimiter::new();
        let now = noon();
        let restored = RateLimiter::restore(limiter.save(2, now), BUDGET, now);
        assert_eq!(restored.remaining(BUDGET, now), Some(1));
    }

    #[test]
    fn clock_set_back_between_two_runs_holds_no_longer_than_the_interval() {
        let limiter = RateLimiter::new();
        let now = noon();
        limiter.try_acquire(UNLIMITED, now).unwrap();
        limiter.failed(Reason::Config, None, UNLIMITED, now);
        let yesterday = Moment {
            wall: now.wall - DAY,
            ..now
        };
        let restored = RateLimiter::restore(limiter.save(0, now), UNLIMITED, yesterday);
        assert!(
            restored
                .try_acquire(UNLIMITED, yesterday.after(10 * MINUTE))
                .is_ok()
        );
    }
}
