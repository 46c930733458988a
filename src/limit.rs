//! The exporter's own budget of API calls: one limiter an app, passed by every call.
//!
//! Three things keep a call back, the strongest first: an open breaker (WeChat said that trying again is useless
//! now), the daily limit, the interval. The interval is GCRA with a burst of one: a fetch is granted no earlier than
//! one interval after the last grant, whatever the fetch came to.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::moment::{ChinaDay, Moment};
use crate::wechat::{DailyLimitReached, Reason};

/// The longest that a breaker waits between two tries at what only the operator can mend.
const MENDING_BACKOFF_MAX: Duration = Duration::from_secs(600);
/// Where the back-off begins for an operator who set the interval to 0.
const ZERO_INTERVAL_BACKOFF: Duration = Duration::from_secs(1);
/// How long 45011 ("minute-quota reach limit, … retry next minute") keeps calls back.
const MINUTE_RATE_HOLD: Duration = Duration::from_secs(60);
/// How long 45009 keeps calls back where its message speaks of a minute and not of the day.
const QUOTA_MINUTE_HOLD: Duration = Duration::from_secs(600);
/// `errcode` for a used-up quota, of the day or of the minute.
const ERRCODE_QUOTA: i64 = 45009;
/// Calendar days whose counts are kept. More than one, so that a clock set back finds its day's count again.
const DAYS_KEPT: usize = 3;
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

    /// The longest that a breaker waits between two tries.
    #[must_use]
    pub fn longest_backoff(self) -> Duration {
        MENDING_BACKOFF_MAX.max(self.min_interval)
    }
}

/// Why the exporter kept a call back: the `cause` label of `calls_refused_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The last fetch was granted less than an interval ago.
    Interval,
    /// The day's calls are used up.
    DailyLimit,
    /// WeChat's last answer makes trying again useless for now.
    Breaker,
}

impl Cause {
    /// Every value; a counter exists for each from the start.
    pub const ALL: &'static [Self] = &[Self::Interval, Self::DailyLimit, Self::Breaker];

    /// The label's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Interval => "interval",
            Self::DailyLimit => "daily_limit",
            Self::Breaker => "breaker",
        }
    }

    /// The value that a label names.
    #[must_use]
    pub fn from_label(label: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|cause| cause.as_str() == label)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
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
    /// Calls sent, by day.
    used: BTreeMap<ChinaDay, u64>,
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

/// The calls of one day by who sent them: what replicas need to know to add up their counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Tally {
    day: Option<ChinaDay>,
    here: u64,
    elsewhere: BTreeMap<String, u64>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Breaker {
    reason: Reason,
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

impl RateLimiter {
    /// A limiter that has granted nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: Mutex::default(),
        }
    }

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
            used: saved.used,
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
        let mut used = state.used.clone();
        if reserved > 0 {
            *used.entry(state.today(now)).or_default() += reserved;
        }
        SavedLimiter {
            next_fetch: state.next_fetch.map(wall),
            used,
            breaker: state.breaker.map(|breaker| SavedBreaker {
                reason: breaker.reason,
                until: match breaker.hold {
                    Hold::Until(until) => Some(wall(until)),
                    Hold::Day(_) => None,
                },
                day: match breaker.hold {
                    Hold::Until(_) => None,
                    Hold::Day(day) => Some(day),
                },
                next_backoff: breaker.next_backoff,
            }),
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
        let used = state.used_today(now) + 1;
        state.note_used(used, now);
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
        let until = |wait| Hold::Until(now.monotonic + wait);
        let hold = match reason {
            Reason::DailyQuota => Hold::Day(state.today(now)),
            Reason::Rate if errcode == Some(ERRCODE_QUOTA) => until(QUOTA_MINUTE_HOLD),
            Reason::Rate => until(MINUTE_RATE_HOLD),
            _ if reason.needs_mending() => {
                let backoff = match state.breaker {
                    Some(breaker) if breaker.reason.needs_mending() => breaker.next_backoff,
                    // Without an interval there would be no back-off at all.
                    _ if budget.min_interval.is_zero() => ZERO_INTERVAL_BACKOFF,
                    _ => budget.min_interval,
                };
                state.breaker = Some(Breaker {
                    reason,
                    hold: until(backoff),
                    next_backoff: (backoff * 2).min(budget.longest_backoff()),
                });
                return;
            }
            _ => return state.breaker = None,
        };
        state.breaker = Some(Breaker {
            reason,
            hold,
            next_backoff: budget.min_interval,
        });
    }

    /// The operator reloaded the configuration: what only they can mend may be mended, so the next scrape may try.
    ///
    /// Both the back-off and the interval are lifted then; holds that WeChat asked for stay.
    pub fn reloaded(&self) {
        let mut state = self.lock();
        state.reload_untold = true;
        if state
            .breaker
            .is_some_and(|breaker| breaker.reason.needs_mending())
        {
            state.breaker = None;
            state.next_fetch = None;
        }
    }

    /// The reason for which the breaker keeps calls back now.
    #[must_use]
    pub fn open_breaker(&self, now: Moment) -> Option<Reason> {
        self.lock().open_breaker(now).map(|breaker| breaker.reason)
    }

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
        state.note_used(shared.used.saturating_add(since), now);
        if let Some(next) = shared.next_fetch {
            state.next_fetch = Some(within(next, budget.min_interval, by_shared_clock));
        }
        if let Some(breaker) = shared.breaker {
            state.breaker =
                breaker.and_then(|breaker| Breaker::restore(breaker, budget, by_shared_clock));
        }
    }

    /// When an open breaker allows the next try; `None` where none is open.
    #[must_use]
    pub fn open_until(&self, now: Moment) -> Option<SystemTime> {
        let breaker = self.lock().open_breaker(now)?;
        match breaker.hold {
            Hold::Until(until) => Some(now.wall + until.saturating_duration_since(now.monotonic)),
            Hold::Day(day) => day.end(),
        }
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
        self.used.get(&self.today(now)).copied().unwrap_or(0)
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

    fn note_used(&mut self, used: u64, now: Moment) {
        self.used.insert(self.today(now), used);
        while self.used.len() > DAYS_KEPT {
            self.used.pop_first();
        }
    }

    fn remaining(&self, budget: Budget, now: Moment) -> Option<u64> {
        budget
            .daily_limit
            .map(|limit| limit.saturating_sub(self.used_today(now)))
    }

    fn open_breaker(&self, now: Moment) -> Option<Breaker> {
        self.breaker.filter(|breaker| match breaker.hold {
            Hold::Until(until) => now.monotonic < until,
            Hold::Day(day) => self.today(now) == day,
        })
    }
}

impl Breaker {
    fn restore(saved: SavedBreaker, budget: Budget, now: Moment) -> Option<Self> {
        let longest = budget.longest_backoff();
        let hold = match (saved.until, saved.day) {
            (Some(until), _) => Hold::Until(within(until, longest, now)),
            (None, Some(day)) => Hold::Day(day),
            (None, None) => return None,
        };
        Some(Self {
            reason: saved.reason,
            hold,
            next_backoff: saved.next_backoff.min(longest),
        })
    }
}

/// That time on the monotonic clock, at most `longest` from now.
fn within(until: SystemTime, longest: Duration, now: Moment) -> Instant {
    let wait = until.duration_since(now.wall).unwrap_or_default();
    now.monotonic + wait.min(longest)
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const DAY: Duration = Duration::from_secs(86_400);
    const BUDGET: Budget = Budget {
        min_interval: MINUTE,
        daily_limit: Some(3),
    };
    const UNLIMITED: Budget = Budget {
        min_interval: MINUTE,
        daily_limit: None,
    };

    /// 2026-11-24 12:00 in China.
    fn noon() -> Moment {
        Moment {
            wall: UNIX_EPOCH + Duration::from_secs(1_795_492_800),
            monotonic: Instant::now() + DAY,
        }
    }

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
        limiter.reloaded();
        assert_eq!(limiter.try_acquire(UNLIMITED, now), Ok(Duration::ZERO));
    }

    #[test]
    fn reload_does_not_lift_a_hold_that_wechat_asked_for() {
        let limiter = RateLimiter::new();
        let now = noon();
        limiter.failed(Reason::DailyQuota, Some(45009), UNLIMITED, now);
        limiter.reloaded();
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
}
