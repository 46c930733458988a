//! A limiter over a restart and among replicas, on the wall clock.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

use super::breaker::Breaker;
use super::{Budget, RateLimiter, Rejections, State};
use crate::clock::{ChinaDay, Moment, from_unix_millis, unix_millis};
use crate::wechat::Reason;

/// How far two clocks, or two looks at one, may be apart: a wait that is longer by so much is only cut.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);

/// What of a limiter survives a restart. Times are in milliseconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SavedLimiter {
    /// The earliest time of the next fetch.
    pub next_fetch_unix_ms: Option<u64>,
    /// Calls sent, by China day, counted from 1970-01-01.
    pub calls: BTreeMap<ChinaDay, u64>,
    /// Calls that the work under way can send. Whoever goes on after a crash counts them as sent.
    pub reserved: u64,
    /// The breaker, open or closed.
    pub breaker: Option<SavedBreaker>,
    /// Rejected tokens.
    pub rejections: SavedRejections,
}

/// A breaker that survives a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedBreaker {
    /// What opened it.
    pub reason: Reason,
    /// When it allows the next try.
    pub until_unix_ms: u64,
    /// Failures in a row that only the operator can fix.
    #[serde(default)]
    pub failures: u32,
}

/// Fetches in a row whose token was rejected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SavedRejections {
    /// How many.
    pub in_a_row: u32,
    /// When the token may be renewed again.
    pub next_renewal_unix_ms: Option<u64>,
}

impl RateLimiter {
    /// A limiter that goes on where a saved one ended.
    ///
    /// A time that is later than its rule can have asked for was written under a clock that was ahead. It keeps nothing
    /// back; the second value says whether there was one.
    pub fn restore(saved: &SavedLimiter, budget: Budget, now: Moment) -> (Self, bool) {
        let mut state = State::default();
        let clock_was_ahead = state.restore(saved, budget, now);
        let today = ChinaDay::at(now.wall);
        state.calls.clone_from(&saved.calls);
        let used = state.used_on(today).saturating_add(saved.reserved);
        state.count(today, used);
        (Self(state.into()), clock_was_ahead)
    }

    /// What must survive a restart. `reserved`: calls of a fetch about to begin, so that a crash in its midst may count too
    /// many, never too few.
    pub fn save(&self, reserved: u64, now: Moment) -> SavedLimiter {
        let state = self.0.lock();
        let now = state.by_common_clock(now);
        let unix_ms =
            |at: Instant| unix_millis(now.wall + at.saturating_duration_since(now.monotonic));
        SavedLimiter {
            next_fetch_unix_ms: state.next_fetch.map(unix_ms),
            calls: state.calls.clone(),
            reserved,
            breaker: state.breaker.map(|breaker| SavedBreaker {
                reason: breaker.reason,
                until_unix_ms: unix_ms(breaker.until),
                failures: breaker.failures,
            }),
            rejections: SavedRejections {
                in_a_row: state.rejections.in_a_row,
                next_renewal_unix_ms: state.rejections.next_renewal.map(unix_ms),
            },
        }
    }

    /// Goes on from the state that replicas share, by their common clock: what the others spent counts here, and what
    /// was spent here without them counts on top. `is_locked`: nobody else is at work, so that calls still reserved are
    /// those of a replica that has died.
    pub(crate) fn adopt(
        &self,
        shared: &SavedLimiter,
        is_locked: bool,
        clock: SystemTime,
        budget: Budget,
        now: Moment,
    ) {
        let mut state = self.0.lock();
        state.read_common_clock(clock, now);
        let today = state.today(now);
        let reserved = if is_locked { shared.reserved } else { 0 };
        let counted = shared.calls.get(&today).copied().unwrap_or(0);
        let counted = counted.saturating_add(reserved);
        let with_ours = counted.saturating_add_signed(state.unshared_on(today));
        let used = with_ours.max(state.used_on(today));
        state.count(today, used);
        let now = state.by_common_clock(now);
        state.restore(shared, budget, now);
        if state.reload_unshared && state.close_fixable_breaker() {
            state.next_fetch = None;
        }
    }

    /// Takes the replicas' common clock for the calendar.
    pub(crate) fn read_common_clock(&self, clock: SystemTime, now: Moment) {
        self.0.lock().read_common_clock(clock, now);
    }

    /// The replicas' state now counts all calls, and so many more as if they were sent.
    pub(crate) fn is_shared(&self, reserved: u64, now: Moment) {
        let mut state = self.0.lock();
        let reserved = i64::try_from(reserved).unwrap_or(i64::MAX);
        state.unshared = (state.today(now), -reserved);
        state.reload_unshared = false;
    }
}

impl State {
    fn read_common_clock(&mut self, clock: SystemTime, now: Moment) {
        self.common_clock = Some(Moment { wall: clock, ..now });
    }

    /// Takes over all but the calls; says whether a time was later than its rule can have asked for.
    fn restore(&mut self, saved: &SavedLimiter, budget: Budget, now: Moment) -> bool {
        let mut clock_was_ahead = false;
        let mut time = |unix_ms: u64, longest: Duration| {
            let at = from_unix_millis(unix_ms)?;
            let wait = at.duration_since(now.wall).unwrap_or_default();
            let is_too_late = wait > longest.saturating_add(CLOCK_TOLERANCE);
            clock_was_ahead |= is_too_late;
            (!is_too_late).then(|| now.monotonic + wait.min(longest))
        };
        let next_fetch = saved.next_fetch_unix_ms;
        self.next_fetch = next_fetch
            .and_then(|next| time(next, budget.min_interval.saturating_add(budget.early())));
        self.breaker = saved.breaker.map(|breaker| {
            let longest = Breaker::longest(breaker.reason, budget, now);
            Breaker {
                reason: breaker.reason,
                until: time(breaker.until_unix_ms, longest).unwrap_or(now.monotonic),
                failures: breaker.failures,
            }
        });
        let next_renewal = saved.rejections.next_renewal_unix_ms;
        self.rejections = Rejections {
            in_a_row: saved.rejections.in_a_row,
            next_renewal: next_renewal.and_then(|next| time(next, budget.longest_backoff())),
        };
        clock_was_ahead
    }
}
