//! Calls sent, by day.

use std::collections::BTreeMap;

use crate::moment::ChinaDay;

/// Calendar days whose counts are kept. More than one, so that a clock set back finds its day's count again.
const DAYS_KEPT: usize = 3;

/// How many calls were sent on which day in China.
#[derive(Clone, Debug, Default)]
pub(super) struct Calls(BTreeMap<ChinaDay, u64>);

impl Calls {
    pub(super) fn on(&self, day: ChinaDay) -> u64 {
        self.0.get(&day).copied().unwrap_or(0)
    }

    /// Notes a day's count and forgets the days that are farthest from it.
    pub(super) fn set(&mut self, day: ChinaDay, calls: u64) {
        self.0.insert(day, calls);
        while self.0.len() > DAYS_KEPT {
            self.0.pop_first();
        }
    }
}

impl From<BTreeMap<ChinaDay, u64>> for Calls {
    fn from(calls: BTreeMap<ChinaDay, u64>) -> Self {
        Self(calls)
    }
}

impl From<Calls> for BTreeMap<ChinaDay, u64> {
    fn from(calls: Calls) -> Self {
        calls.0
    }
}
