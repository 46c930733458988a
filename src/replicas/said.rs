//! What a script answered.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use crate::clock::{ChinaDay, from_unix_millis};
use crate::limiter::{SavedBreaker, SharedLimiter};
use crate::wechat::Reason;

/// What a script answered: names and values. Nothing of it is trusted to be there or to be what it should be.
pub(super) struct Said(pub(super) HashMap<String, String>);

impl Said {
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }

    pub(super) fn time(&self, name: &str) -> Option<SystemTime> {
        from_unix_millis(self.number(name)?)
    }

    pub(super) fn day(&self, name: &str) -> Option<ChinaDay> {
        self.text(name)?.parse().ok().map(ChinaDay)
    }

    /// What is said of the day's calls to the replica `here`.
    pub(super) fn limiter(&self, here: &str) -> Option<SharedLimiter> {
        let elsewhere = self.0.iter().filter_map(|(name, calls)| {
            let replica = name.strip_prefix("sent:").filter(|id| *id != here)?;
            Some((replica.to_owned(), calls.parse().ok()?))
        });
        Some(SharedLimiter {
            clock: self.time("now")?,
            used: self.number("used")?,
            elsewhere: elsewhere.collect(),
            held: self.number("held")?,
            next_fetch: None,
            breaker: None,
        })
    }

    pub(super) fn breaker(&self) -> Option<SavedBreaker> {
        Some(SavedBreaker {
            reason: Reason::from_label(self.text("breaker_reason")?)?,
            until: self.time("breaker_until"),
            day: self.day("breaker_day"),
            next_backoff: Duration::from_millis(self.number("breaker_backoff")?),
        })
    }
}
