//! The exporter's own budget of API calls: one limiter an app, passed by every call.
//!
//! Three things keep a call back, the strongest first: an open breaker (WeChat said that trying again is useless
//! now), the daily limit, the interval. The interval is GCRA with a burst of one: a fetch is granted no earlier than
//! one interval after the last grant, whatever the fetch came to.

mod breaker;
mod calls;
mod cause;
#[cfg(test)]
mod example;
mod saved;
mod shared;

pub use cause::Cause;
pub use saved::{SavedBreaker, SavedLimiter};
pub use shared::{News, SharedLimiter};

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use breaker::Breaker;
pub(crate) use breaker::MINUTE_RATE_HOLD;
use calls::Calls;
use shared::Tally;

use crate::clock::{ChinaDay, Moment};
use crate::wechat::{DailyLimitReached, Reason};

/// A scrape that comes this much too early waits instead of being turned away (see [`RateLimiter::try_acquire`]).
const EARLY_SHARE: u32 = 100;
/// Bound of that wait for long intervals.
const EARLY_MAX: Duration = Duration::from_millis(500);

/// What the operator allows: `--wechat.min-interval` and `--wechat.daily-limit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// At most one fetch per interval.
    pub min_interval: Duration,
    /// Calls of any kind per China day; `None`: no limit.
    pub daily_limit: Option<u64>,
}

impl Budget {
    /// How much too early a scrape may come (see [`RateLimiter::try_acquire`]).
    #[must_use]
    pub fn early(self) -> Duration {
        (self.min_interval / EARLY_SHARE).min(EARLY_MAX)
    }
}

/// One app's limiter.
#[derive(Debug)]
pub struct RateLimiter {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// GCRA's theoretical arrival time; `None`: never granted.
    next_fetch: Option<Instant>,
    calls: Calls,
    breaker: Option<Breaker>,
    /// The clock of the replicas' server as it was last read; its calendar counts then, not this machine's.
    shared_clock: Option<Moment>,
    /// Calls that other replicas may send at any moment.
    held_elsewhere: u64,
    /// Who has sent how many of the day's calls.
    tally: Tally,
    /// A reload that the other replicas have not been told of.
    reload_untold: bool,
}

impl RateLimiter {
    /// A limiter that has granted nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: Mutex::default(),
        }
    }

    /// Grants one fetch, to begin after the returned wait; most often none.
    ///
    /// A scrape interval equal to the limiter's would lose every second fetch to a few milliseconds of jitter.
    /// So a scrape that comes at most 1 % of the interval (500 ms at most) early is granted the fetch that begins
    /// when the interval ends; the distance between two fetches is never less than the interval.
    ///
    /// # Errors
    /// The cause, when no fetch is granted.
    pub fn try_acquire(&self, budget: Budget, now: Moment) -> Result<Duration, Cause> {
        let mut state = self.lock();
        if state.open_breaker(now).is_some() {
            return Err(Cause::Breaker);
        }
        if state.remaining(budget, now) == Some(0) {
            return Err(Cause::DailyLimit);
        }
        let wait = state.next_fetch.map_or(Duration::ZERO, |next| {
            next.saturating_duration_since(now.monotonic)
        });
        if wait > budget.early() {
            return Err(Cause::Interval);
        }
        state.next_fetch = Some(now.monotonic + wait + budget.min_interval);
        Ok(wait)
    }

    /// A granted fetch begins only now, as it had to wait for its place among those of other apps: the interval counts
    /// from here.
    pub fn begins(&self, budget: Budget, now: Moment) {
        let mut state = self.lock();
        let next = now.monotonic + budget.min_interval;
        // Where it hardly waited the grant stands, lest scrapes at the limiter's own rhythm fall out of step with it.
        if state
            .next_fetch
            .is_some_and(|granted| granted + budget.early() < next)
        {
            state.next_fetch = Some(next);
        }
    }

    /// Takes one call from the day's budget.
    ///
    /// # Errors
    /// When none is left.
    pub fn spend(&self, budget: Budget, now: Moment) -> Result<(), DailyLimitReached> {
        let mut state = self.lock();
        let left = state.remaining(budget, now);
        if left.is_some_and(|left| left <= state.held_elsewhere) {
            return Err(DailyLimitReached);
        }
        let (today, used) = (state.today(now), state.used_today(now));
        state.calls.set(today, used.saturating_add(1));
        state.tally(now).here += 1;
        Ok(())
    }

    /// Calls left today; `None` where there is no limit.
    #[must_use]
    pub fn remaining(&self, budget: Budget, now: Moment) -> Option<u64> {
        self.lock().remaining(budget, now)
    }

    /// Calls sent today.
    #[must_use]
    pub fn used(&self, now: Moment) -> u64 {
        self.lock().used_today(now)
    }

    /// A fetch succeeded: nothing is wrong any more.
    pub fn succeeded(&self) {
        self.lock().breaker = None;
    }

    /// A fetch failed: opens the breaker where the reason asks for one.
    pub fn failed(&self, reason: Reason, errcode: Option<i64>, budget: Budget, now: Moment) {
        let mut state = self.lock();
        let today = state.today(now);
        state.breaker = Breaker::after(reason, errcode, state.breaker, budget, today, now);
    }

    /// The operator reloaded the configuration: what only they can mend may be mended, so the next scrape may try.
    ///
    /// Both the back-off and the interval are lifted then; holds that WeChat asked for stay. Otherwise the wait is cut
    /// to the interval that is in force now, which may be a shorter one.
    pub fn reloaded(&self, budget: Budget, now: Moment) {
        let mut state = self.lock();
        state.reload_untold = true;
        // A granted fetch can still be waiting for its begin.
        let longest = now.monotonic + budget.early() + budget.min_interval;
        state.next_fetch = state.next_fetch.map(|next| next.min(longest));
        if state
            .breaker
            .is_some_and(|breaker| breaker.reason.needs_mending())
        {
            state.breaker = None;
            state.next_fetch = None;
        }
    }

    /// A person asks for one fetch now: neither the interval nor the back-off from what only they can mend keeps it back.
    /// The day's limit and holds that WeChat asked for stay.
    pub fn lift_waits(&self) {
        let mut state = self.lock();
        state.next_fetch = None;
        state.breaker = state
            .breaker
            .filter(|breaker| !breaker.reason.needs_mending());
    }

    /// Whether nothing is lost with it: it keeps no call back, and has counted none today.
    #[must_use]
    pub fn is_as_new(&self, now: Moment) -> bool {
        let state = self.lock();
        state.used_today(now) == 0
            && state.open_breaker(now).is_none()
            && state.next_fetch.is_none_or(|next| next <= now.monotonic)
    }

    /// The reason for which the breaker keeps calls back now.
    #[must_use]
    pub fn open_breaker(&self, now: Moment) -> Option<Reason> {
        self.lock().open_breaker(now).map(|breaker| breaker.reason)
    }

    /// When an open breaker allows the next try; `None` where none is open.
    #[must_use]
    pub fn open_until(&self, now: Moment) -> Option<SystemTime> {
        self.lock().open_breaker(now)?.until(now)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change under the lock is complete in itself, so a panic elsewhere leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for RateLimiter {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    /// The day in China; by the replicas' common clock, where there is one.
    fn today(&self, now: Moment) -> ChinaDay {
        ChinaDay::at(self.shared_clock.map_or(now.wall, |clock| {
            clock.wall + now.monotonic.saturating_duration_since(clock.monotonic)
        }))
    }

    fn used_today(&self, now: Moment) -> u64 {
        self.calls.on(self.today(now))
    }

    fn tally(&mut self, now: Moment) -> &mut Tally {
        let today = Some(self.today(now));
        if self.tally.day != today {
            self.tally = Tally {
                day: today,
                ..Tally::default()
            };
        }
        &mut self.tally
    }

    fn remaining(&self, budget: Budget, now: Moment) -> Option<u64> {
        budget
            .daily_limit
            .map(|limit| limit.saturating_sub(self.used_today(now)))
    }

    fn open_breaker(&self, now: Moment) -> Option<Breaker> {
        let today = self.today(now);
        self.breaker.filter(|breaker| breaker.is_open(today, now))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use proptest::prelude::*;

    use super::example::{BUDGET, DAY, MINUTE, UNLIMITED, noon};
    use super::*;

    #[test]
    fn one_fetch_is_granted_per_interval() {
        let limiter = RateLimiter::new();
        let start = noon();
        assert_eq!(limiter.try_acquire(BUDGET, start), Ok(Duration::ZERO));
        assert_eq!(limiter.try_acquire(BUDGET, start), Err(Cause::Interval));
        let early = start.after(Duration::from_secs(59));
        assert_eq!(limiter.try_acquire(BUDGET, early), Err(Cause::Interval));
        assert_eq!(
            limiter.try_acquire(BUDGET, start.after(MINUTE)),
            Ok(Duration::ZERO)
        );
    }

    #[test]
    fn scrape_that_comes_a_little_early_is_granted_the_fetch_at_the_intervals_end() {
        let limiter = RateLimiter::new();
        let start = noon();
        limiter.try_acquire(BUDGET, start).unwrap();
        let early = start.after(MINUTE - Duration::from_millis(20));
        assert_eq!(
            limiter.try_acquire(BUDGET, early),
            Ok(Duration::from_millis(20))
        );
        let next = start.after(2 * MINUTE - Duration::from_secs(1));
        assert_eq!(limiter.try_acquire(BUDGET, next), Err(Cause::Interval));
    }

    #[test]
    fn interval_counts_from_the_fetch_that_had_to_wait_for_its_place() {
        let limiter = RateLimiter::new();
        let start = noon();
        limiter.try_acquire(UNLIMITED, start).unwrap();
        let began = start.after(Duration::from_secs(50));
        limiter.begins(UNLIMITED, began);
        let next = start.after(MINUTE);
        assert_eq!(limiter.try_acquire(UNLIMITED, next), Err(Cause::Interval));
        let next = began.after(MINUTE);
        assert_eq!(limiter.try_acquire(UNLIMITED, next), Ok(Duration::ZERO));
    }

    #[test]
    fn fetch_that_hardly_waited_leaves_the_rhythm_of_scrapes_alone() {
        let limiter = RateLimiter::new();
        let mut scrape = noon();
        for _ in 0..100 {
            assert_eq!(limiter.try_acquire(UNLIMITED, scrape), Ok(Duration::ZERO));
            limiter.begins(UNLIMITED, scrape.after(Duration::from_millis(100)));
            scrape = scrape.after(MINUTE);
        }
    }

    #[test]
    fn daily_limit_ends_at_midnight_in_china() {
        let limiter = RateLimiter::new();
        let start = noon();
        for _ in 0..3 {
            limiter.spend(BUDGET, start).unwrap();
        }
        assert_eq!(limiter.spend(BUDGET, start), Err(DailyLimitReached));
        assert_eq!(limiter.try_acquire(BUDGET, start), Err(Cause::DailyLimit));
        let before_midnight = start.after(12 * 60 * MINUTE - Duration::from_secs(1));
        assert_eq!(
            limiter.try_acquire(BUDGET, before_midnight),
            Err(Cause::DailyLimit)
        );
        let midnight = start.after(12 * 60 * MINUTE);
        assert_eq!(limiter.remaining(BUDGET, midnight), Some(3));
        assert_eq!(limiter.try_acquire(BUDGET, midnight), Ok(Duration::ZERO));
    }

    #[test]
    fn clock_set_forward_and_back_finds_its_days_count_again() {
        let limiter = RateLimiter::new();
        let start = noon();
        for _ in 0..3 {
            limiter.spend(BUDGET, start).unwrap();
        }
        let jumped = Moment {
            wall: start.wall + DAY,
            ..start
        };
        limiter.spend(BUDGET, jumped).unwrap();
        assert_eq!(limiter.spend(BUDGET, start), Err(DailyLimitReached));
    }

    proptest! {
        #[test]
        fn no_sequence_of_scrapes_gets_two_fetches_within_an_interval(steps in prop::collection::vec(0_u64..90_000, 1..200)) {
            let limiter = RateLimiter::new();
            let mut now = noon();
            let mut last: Option<Instant> = None;
            for step in steps {
                now = now.after(Duration::from_millis(step));
                if let Ok(wait) = limiter.try_acquire(UNLIMITED, now) {
                    let begins = now.monotonic + wait;
                    prop_assert!(last.is_none_or(|last| begins >= last + MINUTE));
                    last = Some(begins);
                }
            }
        }
    }

    #[test]
    fn limiter_is_as_new_when_interval_hold_and_day_are_over() {
        let limiter = RateLimiter::new();
        let now = noon();
        assert!(limiter.is_as_new(now));
        limiter.try_acquire(BUDGET, now).unwrap();
        assert!(!limiter.is_as_new(now));
        assert!(limiter.is_as_new(now.after(MINUTE)));
        limiter.spend(BUDGET, now).unwrap();
        assert!(!limiter.is_as_new(now.after(MINUTE)));
        let midnight = now.after(12 * 60 * MINUTE);
        assert!(limiter.is_as_new(midnight));
        limiter.failed(Reason::Rate, Some(45011), BUDGET, midnight);
        assert!(!limiter.is_as_new(midnight));
    }

    #[test]
    fn person_who_asks_waits_for_the_day_and_for_wechat_alone() {
        let limiter = RateLimiter::new();
        let now = noon();
        limiter.try_acquire(UNLIMITED, now).unwrap();
        limiter.failed(Reason::IpWhitelist, Some(40164), UNLIMITED, now);
        limiter.lift_waits();
        assert_eq!(limiter.try_acquire(UNLIMITED, now), Ok(Duration::ZERO));
        limiter.failed(Reason::DailyQuota, Some(45009), UNLIMITED, now);
        limiter.lift_waits();
        assert_eq!(limiter.try_acquire(UNLIMITED, now), Err(Cause::Breaker));
    }

    #[test]
    fn shorter_interval_holds_from_the_reload_on() {
        let limiter = RateLimiter::new();
        let now = noon();
        let daily = Budget {
            min_interval: DAY,
            ..UNLIMITED
        };
        limiter.try_acquire(daily, now).unwrap();
        limiter.reloaded(daily, now);
        let later = now.after(2 * MINUTE);
        assert_eq!(limiter.try_acquire(daily, later), Err(Cause::Interval));
        limiter.reloaded(UNLIMITED, later);
        assert_eq!(limiter.try_acquire(UNLIMITED, later), Err(Cause::Interval));
        let granted = limiter.try_acquire(UNLIMITED, later.after(MINUTE));
        assert!(granted.is_ok(), "{granted:?}");
    }
}
