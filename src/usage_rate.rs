//! How fast balances fall, as this process has seen since it started.
//!
//! Only falls count: a top-up changes the balance, but says nothing about how fast a shop sends parcels. All times are
//! on the monotonic clock: a wall clock that is set changes nothing, and a restart begins anew.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::{Duration, Instant};

use crate::clock::Moment;
use crate::snapshot::Snapshot;
use crate::wechat::{Account, AccountKey};

const SECONDS_PER_DAY: f64 = 24.0 * 3600.0;

/// The usage of one app's balances.
#[derive(Debug)]
pub struct UsageRate {
    /// The shortest observation that gives a rate.
    shortest: Duration,
    /// When the latest snapshot was observed.
    observed: Instant,
    /// The usage of the accounts of the latest snapshot.
    accounts: HashMap<AccountKey, Usage>,
}

/// The usage of one account.
#[derive(Clone, Copy, Debug)]
struct Usage {
    since: Instant,
    /// When a snapshot last listed the account.
    observed: Instant,
    /// The last balance, and the one before it. Unit: waybills.
    balance: f64,
    before: f64,
    /// Waybills used since `since`.
    used: f64,
}

impl UsageRate {
    /// Returns a rate that has observed nothing yet. No rate is given from less time than `shortest`.
    pub(crate) fn new(shortest: Duration, now: Moment) -> Self {
        Self {
            shortest,
            observed: now.monotonic,
            accounts: HashMap::new(),
        }
    }

    pub(crate) fn observe(&mut self, snapshot: &Snapshot, now: Moment) {
        let now = now.monotonic;
        self.observed = now;
        for account in snapshot.accounts() {
            let usage = self.accounts.entry(account.key());
            match (usage, account.quota_num) {
                (Entry::Occupied(mut seen), balance) => seen.get_mut().observe(balance, now),
                (Entry::Vacant(unseen), Some(balance)) => {
                    unseen.insert(Usage::first_seen(balance, now));
                }
                (Entry::Vacant(_), None) => {}
            }
        }
        self.accounts.retain(|_, usage| usage.observed == now);
    }

    /// Returns how long the account's balance lasts at this rate. Unit: days from now, never negative.
    ///
    /// `None` if the account has no balance, was never seen to fall, or was seen for too short a time.
    pub(crate) fn days_left(&self, account: &Account, now: Moment) -> Option<f64> {
        let balance = account.quota_num?;
        let usage = self.accounts.get(&account.key())?;
        let seen_for = self.observed.saturating_duration_since(usage.since);
        if usage.used <= 0.0 || seen_for < self.shortest {
            return None;
        }
        let per_second = usage.used / seen_for.as_secs_f64();
        // The balance is as old as the snapshot; the time since then has already passed.
        let since_then = now.monotonic.saturating_duration_since(self.observed);
        let seconds = balance / per_second - since_then.as_secs_f64();
        Some((seconds / SECONDS_PER_DAY).max(0.0))
    }
}

impl Usage {
    fn first_seen(balance: f64, now: Instant) -> Self {
        Self {
            since: now,
            observed: now,
            balance,
            before: balance,
            used: 0.0,
        }
    }

    /// Observes a balance; `None` if WeChat sends none. A fall that this hides shows in the next balance.
    fn observe(&mut self, balance: Option<f64>, now: Instant) {
        self.observed = now;
        let Some(balance) = balance.filter(|balance| *balance != self.balance) else {
            return;
        };
        let fallen = self.balance - balance;
        // A fault of the courier: the balance drops to 0 and soon has its old value again.
        let was_a_fault = fallen < 0.0 && balance == self.before;
        self.used += if was_a_fault { fallen } else { fallen.max(0.0) };
        self.before = self.balance;
        self.balance = balance;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wechat::AccountList;

    const HOUR: Duration = Duration::from_secs(3600);

    fn account(quota_num: Option<f64>) -> Account {
        Account {
            biz_id: "K1".into(),
            delivery_id: "YTO".into(),
            quota_num,
            ..Account::default()
        }
    }

    /// Returns the days left after these balances, one an hour.
    fn days_left(balances: &[Option<f64>]) -> Option<f64> {
        let mut now = Moment::now();
        let mut usage = UsageRate::new(HOUR, now);
        for (hour, balance) in balances.iter().enumerate() {
            if hour > 0 {
                now = now.after(HOUR);
            }
            let list = AccountList {
                accounts: vec![account(*balance)],
                ..AccountList::default()
            };
            usage.observe(&Snapshot::fetched_now(list, now), now);
        }
        usage.days_left(&account(*balances.last()?), now)
    }

    #[test]
    fn days_left_are_the_balance_by_the_average_fall() {
        for (balances, days) in [
            (&[Some(260.0), Some(250.0), Some(240.0)][..], Some(1.0)),
            (&[Some(240.0)], None),
            (&[Some(240.0), Some(240.0)], None),
            // A top-up changes the balance, not the rate.
            (&[Some(10.0), Some(0.0), Some(240.0)], Some(2.0)),
            // A fault of the courier.
            (
                &[Some(250.0), Some(240.0), Some(0.0), Some(240.0)],
                Some(3.0),
            ),
            // A balance that is missing once.
            (&[Some(260.0), None, Some(240.0)], Some(1.0)),
            (&[Some(10.0), Some(-20.0)], Some(0.0)),
            (&[Some(f64::MAX), Some(f64::MIN)], Some(0.0)),
        ] {
            let left = days_left(balances);
            assert_eq!(left.is_some(), days.is_some(), "{balances:?}: {left:?}");
            let apart = left.unwrap_or(0.0) - days.unwrap_or(0.0);
            assert!(apart.abs() < 1e-9, "{balances:?}: {left:?}");
        }
    }
}
