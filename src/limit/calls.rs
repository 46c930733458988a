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
            let farther = |a: ChinaDay, b: ChinaDay| a.0.abs_diff(day.0) >= b.0.abs_diff(day.0);
            match (self.0.first_key_value(), self.0.last_key_value()) {
                (Some((first, _)), Some((last, _))) if farther(*first, *last) => self.0.pop_first(),
                _ => self.0.pop_last(),
            };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn count_of_the_day_stays_however_often_the_clock_was_set_forward() {
        let mut calls = Calls::default();
        for later in [100, 200, 300, 400] {
            calls.set(ChinaDay(later), 1);
        }
        calls.set(ChinaDay(7), 5);
        assert_eq!(calls.on(ChinaDay(7)), 5);
        calls.set(ChinaDay(8), 1);
        calls.set(ChinaDay(9), 1);
        assert_eq!(calls.on(ChinaDay(7)), 5);
        assert_eq!(calls.0.len(), DAYS_KEPT);
    }
}
