//! Limiters across restarts and among replicas.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::breaker::Breaker;
use super::{Budget, RateLimiter, Rejections, State};
use crate::clock::{ChinaDay, DueTime, Moment};
use crate::wechat::Reason;

/// The part of a limiter that survives a restart. Times are by the wall clock, among replicas by their common clock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SavedLimiter {
    /// The earliest time of the next fetch.
    #[serde(rename = "next_fetch_unix_ms")]
    pub next_fetch: DueTime,
    /// Calls sent, by China day, counted from 1970-01-01.
    pub calls: BTreeMap<ChinaDay, u64>,
    /// Calls that the work under way can send. After a crash, they count as sent.
    pub reserved: u64,
    /// The breaker, open or closed.
    pub breaker: Option<Breaker>,
    pub rejections: Rejections,
}

impl SavedLimiter {
    /// Returns all times until which something is kept back, except for a quota that comes back at midnight.
    pub(super) fn waits(&mut self) -> impl Iterator<Item = &mut DueTime> {
        let breaker = self.breaker.as_mut();
        let breaker = breaker.filter(|breaker| breaker.reason != Reason::DailyQuota);
        let breaker = breaker.map(|breaker| &mut breaker.until);
        let others = [&mut self.next_fetch, &mut self.rejections.next_renewal];
        others.into_iter().chain(breaker)
    }

    /// Shortens each wait to the longest that its rule allows; reports whether one was set under a clock that was
    /// ahead.
    fn cut(&mut self, budget: Budget, now: SystemTime) -> bool {
        let longest = budget.min_interval.saturating_add(budget.early());
        let mut clock_was_ahead = self.next_fetch.cut(longest, now);
        if let Some(breaker) = &mut self.breaker {
            let longest = Breaker::longest(breaker.reason, budget, now);
            clock_was_ahead |= breaker.until.cut(longest, now);
        }
        clock_was_ahead |= (self.rejections.next_renewal).cut(budget.longest_backoff(), now);
        clock_was_ahead
    }
}

impl RateLimiter {
    /// Returns a limiter that continues from a saved one, and whether that holds a time that can only come from a clock
    /// that was ahead. Such a time keeps nothing back.
    pub fn restore(mut saved: SavedLimiter, budget: Budget, now: Moment) -> (Self, bool) {
        let clock_was_ahead = saved.cut(budget, now.wall);
        let reserved = std::mem::take(&mut saved.reserved);
        let mut state = State {
            budget,
            saved,
            seen: now,
            reloaded: None,
            unshared: Default::default(),
            saved_reload: None,
            shared_reload: None,
        };
        let today = ChinaDay::at(now.wall);
        let used = state.used_on(today).saturating_add(reserved);
        state.count(today, used);
        (Self(state.into()), clock_was_ahead)
    }

    /// Returns what must survive a restart. `reserved` counts the calls of a fetch about to begin, so that a crash
    /// during the fetch may count too many calls, but never too few.
    pub fn save(&self, reserved: u64, now: Moment) -> SavedLimiter {
        let mut state = self.at(now);
        state.saved_reload = state.reloaded;
        let saved = state.saved.clone();
        SavedLimiter { reserved, ..saved }
    }

    /// Continues from the state that replicas share: what the others spent counts here, and what was spent here without
    /// them counts on top. If `is_locked`, no other replica is at work, so calls still reserved are those of a replica
    /// that has died.
    pub(crate) fn adopt(&self, shared: &SavedLimiter, is_locked: bool, now: Moment) {
        let mut state = self.at(now);
        let today = ChinaDay::at(now.wall);
        let reserved = if is_locked { shared.reserved } else { 0 };
        let counted = shared.calls.get(&today).copied().unwrap_or(0);
        let counted = counted.saturating_add(reserved);
        let with_ours = counted.saturating_add_signed(state.unshared_on(today));
        let used = with_ours.max(state.used_on(today));
        let calls = std::mem::take(&mut state.saved.calls);
        state.saved = SavedLimiter {
            calls,
            ..shared.clone()
        };
        state.count(today, used);
        let budget = state.budget;
        state.saved.cut(budget, now.wall);
        if state.shared_reload != state.reloaded {
            state.retry_fixable();
        }
    }

    /// Records that the state last saved is shared now: it counts all calls, and `reserved` more as if they were sent.
    pub(crate) fn is_shared(&self, reserved: u64, now: Moment) {
        let mut state = self.at(now);
        let reserved = i64::try_from(reserved).unwrap_or(i64::MAX);
        state.unshared = (ChinaDay::at(now.wall), -reserved);
        state.shared_reload = state.saved_reload;
    }

    /// Records that the state may be shared or not. Calls that the shared state counts in excess are no longer
    /// subtracted, so that it may count too many calls, but never too few.
    pub(crate) fn may_be_shared(&self) {
        let mut state = self.0.lock();
        state.unshared.1 = state.unshared.1.max(0);
    }
}
