//! Calls sent, by day.

use std::collections::BTreeMap;

use crate::clock::ChinaDay;

/// Calendar days whose counts are kept. More than one, so that a clock set back finds its day's count again.
const DAYS_KEPT: usize = 3;

/// How many calls were sent on which day in China; the day counted last comes last.
#[derive(Clone, Debug, Default)]
pub(super) struct Calls(Vec<(ChinaDay, u64)>);

impl Calls {
    pub(super) fn on(&self, day: ChinaDay) -> u64 {
        self.0
            .iter()
            .find_map(|(counted, calls)| (*counted == day).then_some(*calls))
            .unwrap_or(0)
    }

    /// Notes a day's count and forgets the days that were not counted for the longest time. Not those that are farthest
    /// from it: a clock that begins in 1970 at each boot must not cost the count of the day that it is.
    pub(super) fn set(&mut self, day: ChinaDay, calls: u64) {
        self.0.retain(|(counted, _)| *counted != day);
        self.0.push((day, calls));
        let beyond = self.0.len().saturating_sub(DAYS_KEPT);
        self.0.drain(..beyond);
    }
}

/// The order of counting is not saved; days mostly come one after the other.
impl From<BTreeMap<ChinaDay, u64>> for Calls {
    fn from(calls: BTreeMap<ChinaDay, u64>) -> Self {
        Self(calls.into_iter().collect())
    }
}

impl From<Calls> for BTreeMap<ChinaDay, u64> {
    fn from(calls: Calls) -> Self {
        calls.0.into_iter().collect()
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

    #[test]
    fn boots_in_1970_cost_no_days_count() {
        let mut calls = Calls::default();
        for day in [98, 99, 100] {
            calls.set(ChinaDay(day), 5);
        }
        for boot in 1..10 {
            calls.set(ChinaDay(0), boot);
            // As a state file hands them on.
            calls = BTreeMap::from(calls).into();
            assert_eq!(calls.on(ChinaDay(100)), 4 + boot);
            calls.set(ChinaDay(100), 5 + boot);
        }
    }
}
