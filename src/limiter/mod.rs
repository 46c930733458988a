//! The exporter's own budget of API calls: one limiter per app, which every call passes.
//!
//! Three things keep a call back, the strongest first: an open breaker (WeChat said that trying again is useless now),
//! the daily limit, and the interval: a fetch is granted no earlier than one interval after the last grant, whatever
//! the outcome of that fetch.

mod breaker;
mod saved;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Mutex, MutexGuard};
use serde::{Deserialize, Serialize};

pub use breaker::Breaker;
pub use saved::SavedLimiter;

use crate::clock::{ChinaDay, DueTime, Moment};
use crate::config::AppConfig;
use crate::labels::labels;
use crate::wechat::{DailyLimitReached, Reason};

/// A scrape that is early by up to the interval divided by this waits (see [`RateLimiter::try_acquire`]).
const EARLY_SHARE: u32 = 100;
/// The upper bound of that wait for long intervals.
const EARLY_MAX: Duration = Duration::from_millis(500);
/// The longest back-off.
const BACKOFF_MAX: Duration = Duration::from_secs(600);
/// The first back-off if the operator set the interval to 0.
const ZERO_INTERVAL_BACKOFF: Duration = Duration::from_secs(1);
/// If a token has to be renewed more than once in this time, another program keeps invalidating it.
const RENEWAL_BACKOFF_MIN: Duration = Duration::from_secs(60);
/// The days whose calls are kept. More than one, so that the right day's count is found again when the clock is set.
const DAYS_KEPT: usize = 8;

labels! {
    /// Why the exporter kept a call back: the `cause` label of `calls_refused_total`.
    Cause {
        /// The last fetch was granted less than an interval ago.
        Interval = "interval",
        /// The day's calls are used up.
        DailyLimit = "daily_limit",
        /// WeChat's last answer makes trying again useless for now.
        Breaker = "breaker",
    }
}

/// What the operator allows: `--wechat.min-interval` and `--wechat.daily-limit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// At most one fetch per interval.
    pub min_interval: Duration,
    /// Calls of any kind per China day; `None`: no limit.
    pub daily_limit: Option<u64>,
}

impl Budget {
    /// Returns the budget that an app's settings allow.
    pub(crate) fn of(config: &AppConfig) -> Self {
        Self {
            min_interval: config.min_interval,
            daily_limit: config.daily_limit,
        }
    }

    /// Returns how early a scrape may come (see [`RateLimiter::try_acquire`]).
    pub(crate) fn early(self) -> Duration {
        (self.min_interval / EARLY_SHARE).min(EARLY_MAX)
    }

    /// Returns the wait after a failure with so many failures before it: doubles from the interval to [`BACKOFF_MAX`].
    fn backoff(self, failures: u32) -> Duration {
        let first = match self.min_interval {
            Duration::ZERO => ZERO_INTERVAL_BACKOFF,
            interval => interval,
        };
        let factor = 2_u32.saturating_pow(failures);
        first.saturating_mul(factor).min(self.longest_backoff())
    }

    fn longest_backoff(self) -> Duration {
        BACKOFF_MAX.max(self.min_interval)
    }
}

/// One app's limiter. Among replicas, all limiters use the common clock.
pub struct RateLimiter(Mutex<State>);

struct State {
    budget: Budget,
    saved: SavedLimiter,
    /// The last reading of the clocks, which the times in `saved` go by.
    seen: Moment,
    /// When the configuration was last reloaded.
    reloaded: Option<Instant>,
    /// Calls of a day that the shared state of replicas doesn't count; negative if it counts calls that were never
    /// sent.
    unshared: (ChinaDay, i64),
    /// The last reload that the state given out by `save` reflects, and that the shared state of replicas reflects.
    saved_reload: Option<Instant>,
    shared_reload: Option<Instant>,
}

/// Consecutive fetches whose access token was rejected at first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rejections {
    /// The number of these fetches.
    pub in_a_row: u32,
    /// When the token may be renewed again.
    #[serde(rename = "next_renewal_unix_ms")]
    pub next_renewal: DueTime,
}

impl RateLimiter {
    /// Returns the state as of `now`. If the wall clock was set since the last look, all waits move with it: they last
    /// as long as on a clock that can't be set, except for a quota that comes back at midnight.
    fn at(&self, now: Moment) -> MutexGuard<'_, State> {
        let mut state = self.0.lock();
        // If `now` was read before the last look, the last look stands.
        if let Some(since) = now.monotonic.checked_duration_since(state.seen.monotonic) {
            let expected = state.seen.wall + since;
            for wait in state.saved.waits() {
                wait.go_along(expected, now.wall);
            }
            state.seen = now;
            state.cut_breaker(now);
        }
        state
    }

    /// Grants one fetch that begins after the returned wait, which is usually zero.
    ///
    /// If the scrape interval equals the limiter's, a few milliseconds of jitter would cost every second fetch. A
    /// scrape that is early by at most 1 % of the interval (500 ms at most) is therefore granted the fetch that begins
    /// when the interval ends. The time between two fetches is never less than the interval.
    ///
    /// # Errors
    /// Returns the cause if no fetch is granted.
    pub fn try_acquire(&self, now: Moment) -> Result<Duration, Cause> {
        let mut state = self.at(now);
        let mut holds = state.holds(now).into_iter();
        if let Some((cause, _)) = holds.find(|(_, hold)| !hold.is_zero()) {
            return Err(cause);
        }
        let wait = state.saved.next_fetch.left(now.wall);
        state.saved.next_fetch = DueTime::after(wait + state.budget.min_interval, now.wall);
        Ok(wait)
    }

    /// Counts the interval from now: the granted fetch had to wait for those of other apps and begins only now.
    pub(crate) fn begins(&self, now: Moment) {
        let mut state = self.at(now);
        let Budget { min_interval, .. } = state.budget;
        // If the fetch hardly waited, the interval still counts from the grant. Otherwise scrapes at the limiter's own
        // interval would fall out of step with it.
        if state.saved.next_fetch.left(now.wall) + state.budget.early() < min_interval {
            state.saved.next_fetch = DueTime::after(min_interval, now.wall);
        }
    }

    /// Takes one call from the day's budget.
    ///
    /// # Errors
    /// Fails if no call is left.
    pub fn spend(&self, now: Moment) -> Result<(), DailyLimitReached> {
        let mut state = self.at(now);
        if state.remaining(now) == Some(0) {
            return Err(DailyLimitReached);
        }
        let today = ChinaDay::at(now.wall);
        let used = state.used_on(today);
        state.count(today, used.saturating_add(1));
        state.unshared = (today, state.unshared_on(today) + 1);
        Ok(())
    }

    /// Returns the calls left today; `None` if there is no limit.
    pub(crate) fn remaining(&self, now: Moment) -> Option<u64> {
        self.at(now).remaining(now)
    }

    /// Returns the calls sent today.
    pub fn used(&self, now: Moment) -> u64 {
        self.at(now).used_on(ChinaDay::at(now.wall))
    }

    /// Closes the breaker after a successful fetch.
    pub(crate) fn succeeded(&self) {
        self.0.lock().saved.breaker = None;
    }

    /// Opens the breaker if the reason for a failed fetch calls for it. `began` is when that fetch began.
    pub fn failed(&self, reason: Reason, errcode: Option<i64>, began: Instant, now: Moment) {
        let mut state = self.at(now);
        let before = state.saved.breaker;
        state.saved.breaker = Breaker::after(reason, errcode, before, state.budget, now.wall);
        if state.reloaded.is_some_and(|reloaded| began < reloaded) {
            state.retry_fixable();
        }
    }

    /// Records that WeChat rejected a fetch's first token; reports whether it may be renewed now. The more fetches in a
    /// row are rejected, the more rarely a renewal is allowed: otherwise each fetch would cost a token call.
    pub(crate) fn token_rejected(&self, now: Moment) -> bool {
        let mut state = self.at(now);
        let budget = Budget {
            min_interval: state.budget.min_interval.max(RENEWAL_BACKOFF_MIN),
            ..state.budget
        };
        let rejections = &mut state.saved.rejections;
        rejections.in_a_row = rejections.in_a_row.saturating_add(1);
        let may_renew = rejections.next_renewal.has_come(now.wall);
        if may_renew {
            let backoff = budget.backoff(rejections.in_a_row);
            rejections.next_renewal = DueTime::after(backoff, now.wall);
        }
        may_renew
    }

    /// Records that WeChat accepted a fetch's first token.
    pub(crate) fn token_accepted(&self) {
        self.0.lock().saved.rejections = Rejections::default();
    }

    /// Returns the number of consecutive fetches whose token was rejected at first.
    pub(crate) fn rejections_in_a_row(&self) -> u32 {
        self.0.lock().saved.rejections.in_a_row
    }

    /// Applies a reload. The operator may have fixed what only they can fix, so the next scrape may try.
    ///
    /// In that case, both the back-off and the interval are lifted; holds that WeChat asked for stay. Otherwise the
    /// wait is shortened to the interval that is in force now, which may be a shorter one.
    pub(crate) fn reloaded(&self, budget: Budget, now: Moment) {
        let mut state = self.at(now);
        state.budget = budget;
        state.reloaded = Some(now.monotonic);
        // A granted fetch may still be waiting to begin.
        let longest = budget.early() + budget.min_interval;
        let wait = state.saved.next_fetch.left(now.wall).min(longest);
        state.saved.next_fetch = DueTime::after(wait, now.wall);
        state.retry_fixable();
    }

    /// Lifts the breaker because its cause is gone: the next scrape may try.
    pub(crate) fn lift_breaker(&self) {
        self.0.lock().lift_breaker_if(|_| true);
    }

    /// Lifts the interval, and the back-off from what only the operator can fix, for a person who asks for one fetch
    /// now. The day's limit and holds that WeChat asked for stay.
    pub(crate) fn lift_waits(&self) {
        let mut state = self.0.lock();
        state.lift_breaker_if(|breaker| breaker.reason.needs_operator());
        state.saved.next_fetch = DueTime::default();
    }

    /// Returns why the breaker keeps calls back now, and until when; `None` if it is closed.
    pub fn open_breaker(&self, now: Moment) -> Option<(Reason, SystemTime)> {
        let breaker = self.at(now).open_breaker(now)?;
        Some((breaker.reason, now.wall + breaker.until.left(now.wall)))
    }

    /// Returns the time from which a fetch is granted; `None` if one is now.
    pub(crate) fn held_until(&self, now: Moment) -> Option<SystemTime> {
        let holds = self.at(now).holds(now).map(|(_, hold)| hold);
        let longest = holds.into_iter().max()?;
        (!longest.is_zero()).then(|| now.wall + longest)
    }

    /// Reports whether a fetch is due, and has been for less than that time.
    pub(crate) fn is_newly_due(&self, time: Duration, now: Moment) -> bool {
        let state = self.at(now);
        let SavedLimiter {
            next_fetch,
            breaker,
            ..
        } = &state.saved;
        let is_new = |due: DueTime| !due.has_come(now.wall - time);
        let is_due =
            state.open_breaker(now).is_none() && next_fetch.left(now.wall) <= state.budget.early();
        is_due && (is_new(*next_fetch) || breaker.is_some_and(|breaker| is_new(breaker.until)))
    }

    /// Reports whether the interval since the last grant is over.
    pub(crate) fn interval_is_over(&self, now: Moment) -> bool {
        self.at(now).saved.next_fetch.has_come(now.wall)
    }
}

impl State {
    fn used_on(&self, day: ChinaDay) -> u64 {
        self.saved.calls.get(&day).copied().unwrap_or(0)
    }

    /// Records a day's calls. If too many days are kept, the earliest is dropped: a clock that begins in 1970 at each
    /// boot must not cost the current day's count.
    fn count(&mut self, day: ChinaDay, used: u64) {
        let calls = &mut self.saved.calls;
        calls.insert(day, used);
        if calls.len() > DAYS_KEPT
            && let Some(earliest) = calls.keys().copied().find(|other| *other != day)
        {
            calls.remove(&earliest);
        }
    }

    fn unshared_on(&self, day: ChinaDay) -> i64 {
        match self.unshared {
            (counted, calls) if counted == day => calls,
            _ => 0,
        }
    }

    fn remaining(&self, now: Moment) -> Option<u64> {
        let used = self.used_on(ChinaDay::at(now.wall));
        let limit = self.budget.daily_limit?;
        Some(limit.saturating_sub(used))
    }

    /// Limits a hold to what its rule allows: a used-up quota of the day comes back at midnight, even by a clock that
    /// was set back meanwhile.
    fn cut_breaker(&mut self, now: Moment) {
        if let Some(breaker) = &mut self.saved.breaker {
            let longest = Breaker::longest(breaker.reason, self.budget, now.wall);
            breaker.until.limit(longest, now.wall);
        }
    }

    /// Returns how long each cause still keeps a fetch back, the strongest first; zero if it doesn't.
    fn holds(&self, now: Moment) -> [(Cause, Duration); 3] {
        let breaker = self.open_breaker(now);
        let breaker = breaker.map(|breaker| breaker.until.left(now.wall));
        let is_used_up = self.remaining(now) == Some(0);
        let midnight = is_used_up.then(|| ChinaDay::left(now.wall));
        let interval = self.saved.next_fetch.left(now.wall);
        [
            (Cause::Breaker, breaker.unwrap_or_default()),
            (Cause::DailyLimit, midnight.unwrap_or_default()),
            (
                Cause::Interval,
                interval.saturating_sub(self.budget.early()),
            ),
        ]
    }

    fn open_breaker(&self, now: Moment) -> Option<Breaker> {
        let breaker = self.saved.breaker?;
        (!breaker.until.has_come(now.wall)).then_some(breaker)
    }

    /// Lifts what the operator may have fixed by now: the next scrape may try, and renew a rejected token.
    fn retry_fixable(&mut self) {
        self.saved.rejections.next_renewal = DueTime::default();
        self.lift_breaker_if(|breaker| breaker.reason.needs_operator());
    }

    fn lift_breaker_if(&mut self, is_lifted: impl FnOnce(&mut Breaker) -> bool) {
        if self.saved.breaker.take_if(is_lifted).is_some() {
            self.saved.next_fetch = DueTime::default();
        }
    }
}
