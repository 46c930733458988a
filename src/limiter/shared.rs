//! A limiter among replicas: what it tells the others, and what it learns from them.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::breaker::Breaker;
use super::saved::{SavedBreaker, within};
use super::{Budget, RateLimiter};
use crate::clock::{ChinaDay, Moment};

/// What a limiter has to tell the replicas that share its budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// The day of the calls.
    pub day: ChinaDay,
    /// Calls sent by all replicas, as far as known here.
    pub used: u64,
    /// Of those, the calls sent by this process.
    pub here: u64,
    /// Of those, the calls sent by each other replica.
    pub elsewhere: BTreeMap<String, u64>,
    /// The configuration was reloaded since the last telling.
    pub reloaded: bool,
}

/// What the replicas know together.
#[derive(Clone, Debug)]
pub struct SharedLimiter {
    /// The clock that they go by.
    pub clock: SystemTime,
    /// Calls sent today.
    pub used: u64,
    /// Of those, the calls sent by each other replica.
    pub elsewhere: BTreeMap<String, u64>,
    /// Calls that others may send at any moment.
    pub held: u64,
    /// The earliest time of the next fetch, by that clock; `None` where it is not known.
    pub next_fetch: Option<SystemTime>,
    /// How the last fetch left the breaker, by that clock; `None` where no fetch is known.
    pub breaker: Option<Option<SavedBreaker>>,
}

/// The calls of one day by who sent them: what replicas need to know to add up their counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) day: Option<ChinaDay>,
    pub(super) here: u64,
    pub(super) elsewhere: BTreeMap<String, u64>,
}

impl RateLimiter {
    /// What the other replicas are to be told.
    #[must_use]
    pub fn news(&self, now: Moment) -> News {
        let mut state = self.lock();
        let tally = state.tally(now).clone();
        News {
            day: state.today(now),
            used: state.used_today(now),
            here: tally.here,
            elsewhere: tally.elsewhere,
            reloaded: state.reload_untold,
        }
    }

    /// Goes by what the replicas know together, which includes what was `told` just now.
    ///
    /// Waits are cut to what the rules could have asked for, as in [`restore`](Self::restore).
    pub fn learn(&self, shared: &SharedLimiter, told: &News, budget: Budget, now: Moment) {
        let by_shared_clock = Moment {
            wall: shared.clock,
            ..now
        };
        let mut state = self.lock();
        state.shared_clock = Some(by_shared_clock);
        state.reload_untold &= !told.reloaded;
        state.held_elsewhere = shared.held;
        let tally = state.tally(now);
        tally.elsewhere.clone_from(&shared.elsewhere);
        // Calls were sent while the answer was on its way.
        let since = tally.here.saturating_sub(told.here);
        let today = state.today(now);
        state.calls.set(today, shared.used.saturating_add(since));
        if let Some(next) = shared.next_fetch {
            state.next_fetch = Some(within(next, budget.min_interval, by_shared_clock));
        }
        if let Some(breaker) = shared.breaker {
            state.breaker =
                breaker.and_then(|breaker| Breaker::restore(breaker, budget, by_shared_clock));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::limiter::Cause;
    use crate::limiter::example::{BUDGET, DAY, MINUTE, UNLIMITED, noon};
    use crate::wechat::{DailyLimitReached, Reason};

    fn told_by(limiter: &RateLimiter, clock: SystemTime, used: u64, now: Moment) {
        let shared = SharedLimiter {
            clock,
            used,
            elsewhere: BTreeMap::new(),
            held: 0,
            next_fetch: None,
            breaker: None,
        };
        limiter.learn(&shared, &limiter.news(now), BUDGET, now);
    }

    #[test]
    fn replica_with_a_wrong_clock_goes_by_the_common_calendar() {
        for wrong in [-1, 1] {
            let limiter = RateLimiter::new();
            let common = noon();
            let now = Moment {
                wall: if wrong < 0 {
                    common.wall - DAY
                } else {
                    common.wall + DAY
                },
                ..common
            };
            told_by(&limiter, common.wall, 3, now);
            assert_eq!(limiter.remaining(BUDGET, now), Some(0));
            let midnight = now.after(12 * 60 * MINUTE);
            let before = midnight.monotonic - Duration::from_secs(1);
            let before = Moment {
                monotonic: before,
                ..midnight
            };
            assert_eq!(limiter.try_acquire(BUDGET, before), Err(Cause::DailyLimit));
            assert_eq!(limiter.try_acquire(BUDGET, midnight), Ok(Duration::ZERO));
        }
    }

    #[test]
    fn calls_sent_while_the_answer_was_on_its_way_still_count() {
        let limiter = RateLimiter::new();
        let now = noon();
        limiter.spend(UNLIMITED, now).unwrap();
        let told = limiter.news(now);
        limiter.spend(UNLIMITED, now).unwrap();
        let shared = SharedLimiter {
            clock: now.wall,
            used: 11,
            elsewhere: BTreeMap::from([("other".to_owned(), 10)]),
            held: 0,
            next_fetch: None,
            breaker: None,
        };
        limiter.learn(&shared, &told, UNLIMITED, now);
        let news = limiter.news(now);
        assert_eq!((news.used, news.here), (12, 2));
        assert_eq!(news.elsewhere, shared.elsewhere);
    }

    #[test]
    fn calls_held_by_other_replicas_are_not_sent_here() {
        let limiter = RateLimiter::new();
        let now = noon();
        let shared = SharedLimiter {
            clock: now.wall,
            used: 1,
            elsewhere: BTreeMap::new(),
            held: 1,
            next_fetch: None,
            breaker: None,
        };
        limiter.learn(&shared, &limiter.news(now), BUDGET, now);
        assert_eq!(limiter.spend(BUDGET, now), Ok(()));
        assert_eq!(limiter.spend(BUDGET, now), Err(DailyLimitReached));
    }

    #[test]
    fn learnt_waits_are_cut_to_what_the_rules_could_have_asked_for() {
        let limiter = RateLimiter::new();
        let now = noon();
        let far = now.wall + 300 * DAY;
        let shared = SharedLimiter {
            clock: now.wall,
            used: 0,
            elsewhere: BTreeMap::new(),
            held: 0,
            next_fetch: Some(far),
            breaker: Some(Some(SavedBreaker {
                reason: Reason::Config,
                until: Some(far),
                day: None,
                next_backoff: 300 * DAY,
            })),
        };
        limiter.learn(&shared, &limiter.news(now), BUDGET, now);
        assert_eq!(limiter.try_acquire(BUDGET, now), Err(Cause::Breaker));
        let later = now.after(10 * MINUTE);
        assert_eq!(limiter.try_acquire(BUDGET, later), Ok(Duration::ZERO));
    }
}
