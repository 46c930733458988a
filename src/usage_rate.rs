//! How fast balances fall, as this process has seen since it started.
//!
//! Only falls count: a top-up changes the balance, but says nothing about how fast a shop sends parcels. All times are
//! on the monotonic clock: a wall clock that is set changes nothing, and a restart begins anew.

use std::time::{Duration, Instant};

const SECONDS_PER_DAY: f64 = 24.0 * 3600.0;

/// What an account has used since this process first saw its balance.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    since: Instant,
    /// The last balance, and the one before it. Unit: waybills.
    balance: f64,
    before: f64,
    /// Waybills used since `since`.
    used: f64,
}

impl Usage {
    pub(crate) fn first_seen(balance: f64, now: Instant) -> Self {
        Self {
            since: now,
            balance,
            before: balance,
            used: 0.0,
        }
    }

    /// Returns the usage after the next balance; `None` if WeChat sends none. A fall that this hides shows in the
    /// balance after it.
    pub(crate) fn after(self, balance: Option<f64>) -> Self {
        let Some(balance) = balance.filter(|balance| *balance != self.balance) else {
            return self;
        };
        let fallen = self.balance - balance;
        // A fault of the courier: the balance drops to 0 and soon has its old value again.
        let was_a_fault = fallen < 0.0 && balance == self.before;
        Self {
            balance,
            before: self.balance,
            used: self.used + if was_a_fault { fallen } else { fallen.max(0.0) },
            ..self
        }
    }

    /// Returns how long the balance at `at` lasts at the rate seen up to then. Unit: days from `now`, never negative.
    ///
    /// `None` if the balance never fell, or was seen for less than `shortest`.
    pub(crate) fn days_left(
        self,
        balance: f64,
        at: Instant,
        shortest: Duration,
        now: Instant,
    ) -> Option<f64> {
        let seen_for = at.saturating_duration_since(self.since);
        if self.used <= 0.0 || seen_for < shortest {
            return None;
        }
        let per_second = self.used / seen_for.as_secs_f64();
        let since_then = now.saturating_duration_since(at);
        let seconds = balance / per_second - since_then.as_secs_f64();
        Some((seconds / SECONDS_PER_DAY).max(0.0))
    }
}
