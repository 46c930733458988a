//! The exporter's own budget of API calls: one limiter an app, passed by every call.
//!
//! Three things keep a call back, the strongest first: an open breaker (WeChat said that trying again is useless
//! now), the daily limit, and the interval: a fetch is granted no earlier than one interval after the last grant,
//! whatever the fetch came to.

mod breaker;
mod saved;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use breaker::Breaker;
pub(crate) use breaker::MINUTE_RATE_HOLD;
pub use saved::{SavedBreaker, SavedLimiter, SavedRejections};

use crate::clock::{ChinaDay, Moment};
use crate::wechat::labels::labels;
use crate::wechat::{DailyLimitReached, Reason};

/// A scrape that comes this much too early waits instead of being turned away (see [`RateLimiter::try_acquire`]).
const EARLY_SHARE: u32 = 100;
/// Bound of that wait for long intervals.
const EARLY_MAX: Duration = Duration::from_millis(500);
/// The longest back-off.
const BACKOFF_MAX: Duration = Duration::from_secs(600);
/// Where the back-off begins for an operator who set the interval to 0.
const ZERO_INTERVAL_BACKOFF: Duration = Duration::from_secs(1);
/// A token that is renewed more than once in this time has somebody else who ends it.
const RENEWAL_BACKOFF_MIN: Duration = Duration::from_secs(60);
/// Days whose calls are kept. More than one, so that a clock that is set finds its day's count again.
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
    /// How much too early a scrape may come (see [`RateLimiter::try_acquire`]).
    pub(crate) fn early(self) -> Duration {
        (self.min_interval / EARLY_SHARE).min(EARLY_MAX)
    }

    /// The wait after so many failures before this one: doubles from the interval to [`BACKOFF_MAX`].
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

/// One app's limiter.
#[derive(Debug, Default)]
pub struct RateLimiter(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The earliest time of the next fetch; `None`: any time.
    next_fetch: Option<Instant>,
    calls: BTreeMap<ChinaDay, u64>,
    breaker: Option<Breaker>,
    rejections: Rejections,
    /// The replicas' common clock as it was last read; its calendar counts then, not this machine's.
    common_clock: Option<Moment>,
    /// Calls of a day that the state shared by replicas doesn't count; negative where it counts calls never sent.
    unshared: (ChinaDay, i64),
    /// A reload that the state shared by replicas has not seen.
    reload_unshared: bool,
}

/// Fetches in a row whose access token was rejected.
#[derive(Clone, Copy, Debug, Default)]
struct Rejections {
    in_a_row: u32,
    /// When the token may be renewed again; `None`: any time.
    next_renewal: Option<Instant>,
}

/// What follows from a rejected token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rejected {
    /// Fetches in a row whose token was rejected, this one included.
    pub(crate) in_a_row: u32,
    /// Whether the token may be renewed now.
    pub(crate) may_renew: bool,
}

impl RateLimiter {
    /// Grants one fetch, to begin after the returned wait; most often none.
    ///
    /// A scrape interval equal to the limiter's would lose every second fetch to a few milliseconds of jitter.
    /// So a scrape that comes at most 1 % of the interval (500 ms at most) early is granted the fetch that begins
    /// when the interval ends; the distance between two fetches is never less than the interval.
    ///
    /// # Errors
    /// The cause, when no fetch is granted.
    pub fn try_acquire(&self, budget: Budget, now: Moment) -> Result<Duration, Cause> {
        let mut state = self.0.lock();
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
    pub(crate) fn begins(&self, budget: Budget, now: Moment) {
        let mut state = self.0.lock();
        let next = now.monotonic + budget.min_interval;
        // Where it hardly waited the grant stands, lest scrapes at the limiter's own rhythm fall out of step with it.
        if state
            .next_fetch
            .is_none_or(|granted| granted + budget.early() < next)
        {
            state.next_fetch = Some(next);
        }
    }

    /// Takes one call from the day's budget.
    ///
    /// # Errors
    /// When none is left.
    pub fn spend(&self, budget: Budget, now: Moment) -> Result<(), DailyLimitReached> {
        let mut state = self.0.lock();
        if state.remaining(budget, now) == Some(0) {
            return Err(DailyLimitReached);
        }
        let today = state.today(now);
        let used = state.used_on(today);
        state.count(today, used.saturating_add(1));
        state.unshared = (today, state.unshared_on(today) + 1);
        Ok(())
    }

    /// Calls left today; `None` where there is no limit.
    pub(crate) fn remaining(&self, budget: Budget, now: Moment) -> Option<u64> {
        self.0.lock().remaining(budget, now)
    }

    /// Calls sent today.
    pub fn used(&self, now: Moment) -> u64 {
        let state = self.0.lock();
        state.used_on(state.today(now))
    }

    /// A fetch succeeded: nothing is wrong any more.
    pub(crate) fn succeeded(&self) {
        self.0.lock().breaker = None;
    }

    /// A fetch failed: opens the breaker where the reason asks for one.
    pub fn failed(&self, reason: Reason, errcode: Option<i64>, budget: Budget, now: Moment) {
        let mut state = self.0.lock();
        let by_common_clock = state.by_common_clock(now);
        state.breaker = Breaker::after(reason, errcode, state.breaker, budget, by_common_clock);
    }

    /// WeChat rejected the token that a fetch had at first. Fetch after fetch of these may renew it ever more rarely: else
    /// each would cost a token call.
    pub(crate) fn token_rejected(&self, budget: Budget, now: Moment) -> Rejected {
        let mut state = self.0.lock();
        let rejections = &mut state.rejections;
        rejections.in_a_row = rejections.in_a_row.saturating_add(1);
        let may_renew = rejections
            .next_renewal
            .is_none_or(|next| next <= now.monotonic);
        if may_renew {
            let interval = budget.min_interval.max(RENEWAL_BACKOFF_MIN);
            let backoff = Budget {
                min_interval: interval,
                ..budget
            };
            let backoff = backoff.backoff(rejections.in_a_row);
            rejections.next_renewal = Some(now.monotonic + backoff);
        }
        Rejected {
            in_a_row: rejections.in_a_row,
            may_renew,
        }
    }

    /// WeChat took the token that a fetch had at first.
    pub(crate) fn token_accepted(&self) {
        self.0.lock().rejections = Rejections::default();
    }

    /// Fetches in a row whose token was rejected at first.
    pub(crate) fn rejections_in_a_row(&self) -> u32 {
        self.0.lock().rejections.in_a_row
    }

    /// The operator reloaded the configuration: what only they can fix may be fixed, so the next scrape may try.
    ///
    /// Both the back-off and the interval are lifted then; holds that WeChat asked for stay. Otherwise the wait is cut
    /// to the interval that is in force now, which may be a shorter one.
    pub(crate) fn reloaded(&self, budget: Budget, now: Moment) {
        let mut state = self.0.lock();
        state.reload_unshared = true;
        state.rejections.next_renewal = None;
        // A granted fetch can still be waiting for its begin.
        let longest = now.monotonic + budget.early() + budget.min_interval;
        state.next_fetch = state.next_fetch.map(|next| next.min(longest));
        if state.close_fixable_breaker() {
            state.next_fetch = None;
        }
    }

    /// A person asks for one fetch now: neither the interval nor the back-off from what only they can fix keeps it back.
    /// The day's limit and holds that WeChat asked for stay.
    pub(crate) fn lift_waits(&self) {
        let mut state = self.0.lock();
        state.next_fetch = None;
        state.close_fixable_breaker();
    }

    /// Why the breaker keeps calls back now, and until when; `None`: it is closed.
    pub fn open_breaker(&self, now: Moment) -> Option<(Reason, SystemTime)> {
        let breaker = self.0.lock().open_breaker(now)?;
        let wait = breaker.until.saturating_duration_since(now.monotonic);
        Some((breaker.reason, now.wall + wait))
    }

    /// Whether the interval since the last grant is over.
    pub(crate) fn interval_is_over(&self, now: Moment) -> bool {
        self.0
            .lock()
            .next_fetch
            .is_none_or(|next| next <= now.monotonic)
    }

    /// The time by the replicas' common clock, where there is one.
    pub(crate) fn by_common_clock(&self, now: Moment) -> Moment {
        self.0.lock().by_common_clock(now)
    }
}

impl State {
    fn by_common_clock(&self, now: Moment) -> Moment {
        let since = |clock: Moment| now.monotonic.saturating_duration_since(clock.monotonic);
        let wall = self
            .common_clock
            .map_or(now.wall, |clock| clock.wall + since(clock));
        Moment { wall, ..now }
    }

    /// The day in China; by the replicas' common clock, where there is one.
    fn today(&self, now: Moment) -> ChinaDay {
        ChinaDay::at(self.by_common_clock(now).wall)
    }

    fn used_on(&self, day: ChinaDay) -> u64 {
        self.calls.get(&day).copied().unwrap_or(0)
    }

    /// Notes a day's calls. Of too many days the earliest goes: a clock that begins in 1970 at each boot must not cost the
    /// count of the day that it is.
    fn count(&mut self, day: ChinaDay, calls: u64) {
        self.calls.insert(day, calls);
        while self.calls.len() > DAYS_KEPT {
            let mut others = self.calls.keys().filter(|other| **other != day);
            let Some(earliest) = others.next().copied() else {
                return;
            };
            self.calls.remove(&earliest);
        }
    }

    fn unshared_on(&self, day: ChinaDay) -> i64 {
        match self.unshared {
            (counted, calls) if counted == day => calls,
            _ => 0,
        }
    }

    fn remaining(&self, budget: Budget, now: Moment) -> Option<u64> {
        let used = self.used_on(self.today(now));
        budget.daily_limit.map(|limit| limit.saturating_sub(used))
    }

    fn open_breaker(&self, now: Moment) -> Option<Breaker> {
        self.breaker.filter(|breaker| now.monotonic < breaker.until)
    }

    /// Closes a breaker that what only the operator can fix has opened; says whether there was one.
    fn close_fixable_breaker(&mut self) -> bool {
        let fixable = self
            .breaker
            .is_some_and(|breaker| breaker.reason.needs_operator());
        if fixable {
            self.breaker = None;
        }
        fixable
    }
}
