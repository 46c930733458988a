//! A day and two budgets, for tests.

use std::time::{Duration, Instant, UNIX_EPOCH};

use super::Budget;
use crate::clock::Moment;

pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const DAY: Duration = Duration::from_secs(86_400);
pub(super) const BUDGET: Budget = Budget {
    min_interval: MINUTE,
    daily_limit: Some(3),
};
pub(super) const UNLIMITED: Budget = Budget {
    min_interval: MINUTE,
    daily_limit: None,
};

/// 2026-11-24 12:00 in China.
pub(super) fn noon() -> Moment {
    Moment {
        wall: UNIX_EPOCH + Duration::from_secs(1_795_492_800),
        monotonic: Instant::now() + DAY,
    }
}
