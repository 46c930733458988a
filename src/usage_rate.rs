//! How fast balances fall, from what this process has seen of them since it started.
//!
//! Only falls count: a top-up moves the balance a shop starts from, and says nothing of how fast it sends parcels.
//! WeChat refreshes a balance in steps of its own, so counting begins at an account's first fall: whatever fell
//! before it took an unknown time. Older falls fade with a half-life, so that a rate follows the season and not the
//! hour. All times are on the monotonic clock; a clock set wrong changes nothing, a restart begins anew.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use crate::clock::Moment;
use crate::snapshot::Snapshot;
use crate::wechat::Account;

/// After this time a fall counts half. Two days: long against the rhythm of day and night, short against a season.
const HALF_LIFE: Duration = Duration::from_secs(2 * 24 * 3600);

const SECONDS_PER_DAY: f64 = 24.0 * 3600.0;

/// The falls of one app's balances.
///
/// Holds some 60 bytes for each account of the latest snapshot and nothing for accounts that are gone.
#[derive(Debug)]
pub struct Burn {
    started: Instant,
    /// No rate is given from less than this.
    shortest: Duration,
    /// When `accounts` was brought up to date; decayed sums are as of then.
    observed: Instant,
    /// By a keyed hash of (`biz_id`, `delivery_id`). 64 bits: two of 100,000 accounts meet once in billions of runs.
    accounts: HashMap<u64, Falls>,
    hasher: RandomState,
}

/// What was seen of one account.
#[derive(Clone, Copy, Debug)]
struct Falls {
    /// The last balance. Unit: waybills.
    balance: f64,
    /// When the first fall was seen, from which on falls count.
    since: Option<Instant>,
    /// Waybills used since then, faded.
    used: f64,
    /// The last fall, until the next change of the balance.
    last: Option<LastFall>,
}

/// A fall that may turn out to be a fault of the courier's: all to 0, and a little later the old balance again.
#[derive(Clone, Copy, Debug)]
struct LastFall {
    /// The balance before it.
    from: f64,
    /// What it added to `used`, faded like it.
    counted: f64,
}

impl Burn {
    /// Nothing seen yet. `shortest`: no rate is given from falls counted for less than this.
    #[must_use]
    pub fn new(shortest: Duration, now: Moment) -> Self {
        Self {
            started: now.monotonic,
            shortest,
            observed: now.monotonic,
            accounts: HashMap::new(),
            hasher: RandomState::new(),
        }
    }

    /// Takes in a new reading. One from before the last says nothing: what fell since then was counted.
    pub fn observe(&mut self, snapshot: &Snapshot, now: Moment) {
        let Some(elapsed) = now.monotonic.checked_duration_since(self.observed) else {
            return;
        };
        let fading = fading(elapsed);
        self.observed = now.monotonic;
        let mut accounts = HashMap::with_capacity(snapshot.accounts().len());
        for account in snapshot.accounts() {
            let key = self.key(account);
            let known = self.accounts.get(&key).map(|falls| falls.faded(fading));
            let balance = account.quota_num.filter(|balance| balance.is_finite());
            let falls = match (known, balance) {
                (Some(falls), Some(balance)) => falls.moved_to(balance, self.observed),
                // A balance that is not sent for once hides a fall, which then shows at the next one.
                (Some(falls), None) => falls,
                (None, Some(balance)) => Falls::from(balance),
                (None, None) => continue,
            };
            accounts.insert(key, falls);
        }
        self.accounts = accounts;
    }

    /// The time over which falls were looked for: since the app's start in this process.
    #[must_use]
    pub fn observed_for(&self, now: Moment) -> Duration {
        now.monotonic.saturating_duration_since(self.started)
    }

    /// How long the account's balance lasts if it goes on falling as it fell. Unit: days, from now, never negative.
    ///
    /// `None`: the account has no balance, no second fall was seen yet, or falls were counted for too short a time.
    #[must_use]
    pub fn days_left(&self, account: &Account, now: Moment) -> Option<f64> {
        let balance = account.quota_num.filter(|balance| balance.is_finite())?;
        let per_day = self
            .accounts
            .get(&self.key(account))?
            .per_day(self.shortest, self.observed)?;
        // The balance is as old as the reading; what was used since then is gone.
        let since_reading = now.monotonic.saturating_duration_since(self.observed);
        let days = balance / per_day - since_reading.as_secs_f64() / SECONDS_PER_DAY;
        Some(days.max(0.0))
    }

    fn key(&self, account: &Account) -> u64 {
        self.hasher
            .hash_one((&account.biz_id, &account.delivery_id))
    }
}

impl Falls {
    fn from(balance: f64) -> Self {
        Self {
            balance,
            since: None,
            used: 0.0,
            last: None,
        }
    }

    fn faded(self, fading: f64) -> Self {
        let last = self.last.map(|last| LastFall {
            counted: last.counted * fading,
            ..last
        });
        Self {
            used: self.used * fading,
            last,
            ..self
        }
    }

    fn moved_to(self, balance: f64, now: Instant) -> Self {
        let fallen = self.balance - balance;
        if fallen == 0.0 {
            return self;
        }
        let mut moved = Self { balance, ..self };
        moved.last = None;
        if fallen > 0.0 {
            // Two balances near the ends of what a float holds are farther apart than it can say.
            let counted = match self.since {
                Some(_) if fallen.is_finite() => fallen,
                _ => 0.0,
            };
            moved.since = self.since.or(Some(now));
            moved.used = (moved.used + counted).min(f64::MAX);
            moved.last = Some(LastFall {
                from: self.balance,
                counted,
            });
        } else if let Some(last) = self
            .last
            .filter(|last| last.from.total_cmp(&balance).is_eq())
        {
            moved.used = (moved.used - last.counted).max(0.0);
        }
        moved
    }

    /// Waybills per day, above 0.
    fn per_day(&self, shortest: Duration, now: Instant) -> Option<f64> {
        let counted_for = now.saturating_duration_since(self.since?);
        if counted_for < shortest {
            return None;
        }
        // Time fades like the falls: the integral of the fading over the time counted.
        let lifetime = HALF_LIFE.as_secs_f64() / std::f64::consts::LN_2;
        let faded_time = lifetime * (1.0 - fading(counted_for));
        let per_day = self.used / faded_time * SECONDS_PER_DAY;
        (per_day.is_finite() && per_day > 0.0).then_some(per_day)
    }
}

/// What is left of a fall's weight after that time.
fn fading(elapsed: Duration) -> f64 {
    (-elapsed.as_secs_f64() / HALF_LIFE.as_secs_f64()).exp2()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wechat::AccountList;

    const HOUR: Duration = Duration::from_secs(3600);

    fn account(quota_num: Option<f64>) -> Account {
        Account {
            biz_id: "四川某公司_商户".into(),
            delivery_id: "STO".into(),
            quota_num,
            ..Account::default()
        }
    }

    fn reading(accounts: Vec<Account>, now: Moment) -> Snapshot {
        let list = AccountList {
            accounts,
            ..AccountList::default()
        };
        Snapshot::fetched_now(list, now)
    }

    /// A burn that saw these balances, one an hour, and the time of the last one.
    fn seen(balances: &[f64]) -> (Burn, Moment) {
        let start = Moment::now();
        let mut burn = Burn::new(HOUR, start);
        let mut now = start;
        for (hour, balance) in balances.iter().enumerate() {
            now = start.after(HOUR * u32::try_from(hour).unwrap());
            burn.observe(&reading(vec![account(Some(*balance))], now), now);
        }
        (burn, now)
    }

    fn days_left(balances: &[f64]) -> Option<f64> {
        let (burn, now) = seen(balances);
        burn.days_left(&account(balances.last().copied()), now)
    }

    #[test]
    fn steady_burn_of_ten_an_hour_leaves_240_waybills_one_day() {
        let balances: Vec<f64> = (0..=48_u32)
            .map(|hour| 720.0 - 10.0 * f64::from(hour))
            .collect();
        let days = days_left(&balances).unwrap();
        assert!((days - 1.0).abs() < 0.02, "{days}");
    }

    #[test]
    fn nothing_is_said_before_the_second_fall_and_an_hour_after_the_first() {
        assert_eq!(days_left(&[100.0]), None);
        assert_eq!(days_left(&[100.0, 90.0]), None);
        assert_eq!(days_left(&[100.0, 90.0, 90.0, 90.0]), None);
        assert!(days_left(&[100.0, 90.0, 80.0]).is_some());
    }

    #[test]
    fn balance_that_only_rises_has_no_rate() {
        assert_eq!(days_left(&[1.0, 100.0, 100.0, 900.0]), None);
    }

    #[test]
    fn fall_that_is_taken_back_whole_was_a_fault_and_no_use() {
        let steady = days_left(&[100.0, 90.0, 80.0, 80.0, 80.0]).unwrap();
        let faulty = days_left(&[100.0, 90.0, 80.0, 0.0, 80.0]).unwrap();
        assert!((steady - faulty).abs() < 1e-9, "{steady} {faulty}");
    }

    #[test]
    fn empty_account_has_no_days_left_and_an_overdrawn_one_not_less() {
        assert_eq!(days_left(&[100.0, 50.0, 0.0]), Some(0.0));
        assert_eq!(days_left(&[100.0, 50.0, -20.0]), Some(0.0));
    }

    #[test]
    fn recent_falls_count_more_than_those_of_a_week_ago() {
        let busy_then_calm = (0..24_u32 * 8).scan(1e6, |balance, hour| {
            *balance -= if hour < 24 { 100.0 } else { 1.0 };
            Some(*balance)
        });
        let balances: Vec<f64> = busy_then_calm.collect();
        let days = days_left(&balances).unwrap();
        let mean_per_day = (balances[0] - balances[balances.len() - 1]) / 8.0;
        assert!(
            days > 2.0 * balances[balances.len() - 1] / mean_per_day,
            "{days}"
        );
    }

    #[test]
    fn account_that_is_gone_is_forgotten() {
        let (mut burn, now) = seen(&[100.0, 90.0, 80.0]);
        burn.observe(&reading(Vec::new(), now), now);
        assert!(burn.accounts.is_empty());
        assert_eq!(burn.days_left(&account(Some(80.0)), now), None);
    }

    #[test]
    fn balance_that_is_not_sent_for_once_loses_no_history() {
        let (mut burn, now) = seen(&[100.0, 90.0, 80.0]);
        burn.observe(&reading(vec![account(None)], now), now);
        assert!(burn.days_left(&account(Some(80.0)), now).is_some());
        assert_eq!(burn.days_left(&account(None), now), None);
    }

    #[test]
    fn time_since_the_reading_is_taken_off() {
        let (burn, now) = seen(&[260.0, 250.0, 240.0]);
        let account = account(Some(240.0));
        let fresh = burn.days_left(&account, now).unwrap();
        let later = burn.days_left(&account, now.after(12 * HOUR)).unwrap();
        assert!((fresh - later - 0.5).abs() < 1e-9, "{fresh} {later}");
        assert_eq!(burn.days_left(&account, now.after(240 * HOUR)), Some(0.0));
    }

    #[test]
    fn wall_clock_set_wrong_changes_nothing() {
        let right = days_left(&[100.0, 90.0, 80.0]);
        let start = Moment::now();
        let mut burn = Burn::new(HOUR, start);
        for (hour, balance) in [(0_u32, 100.0), (1, 90.0), (2, 80.0)] {
            let mut now = start.after(HOUR * hour);
            now.wall = start.wall - HOUR * (1000 * hour);
            burn.observe(&reading(vec![account(Some(balance))], now), now);
        }
        let wrong = burn.days_left(&account(Some(80.0)), start.after(2 * HOUR));
        assert_eq!(wrong, right);
    }

    #[test]
    fn reading_that_comes_after_a_later_one_changes_nothing() {
        let (mut burn, now) = seen(&[100.0, 90.0, 80.0]);
        let earlier = Moment {
            monotonic: burn.started,
            ..now
        };
        let days = burn.days_left(&account(Some(80.0)), now);
        burn.observe(&reading(vec![account(Some(70.0))], earlier), earlier);
        assert!(days.is_some());
        assert_eq!(burn.days_left(&account(Some(80.0)), now), days);
    }

    fn hostile_balance() -> impl Strategy<Value = f64> {
        prop_oneof![
            -1e3..1e6_f64,
            any::<f64>(),
            Just(f64::MAX),
            Just(0.0),
            Just(-0.0)
        ]
    }

    proptest! {
        #[test]
        fn days_left_are_never_negative_and_always_a_number(
            balances in prop::collection::vec(hostile_balance(), 1..40),
            minutes in prop::collection::vec(0_u64..10_000, 40),
        ) {
            let mut now = Moment::now();
            let mut burn = Burn::new(HOUR, now);
            for (balance, minutes) in balances.iter().zip(minutes) {
                now = now.after(Duration::from_secs(60 * minutes));
                burn.observe(&reading(vec![account(Some(*balance))], now), now);
                if let Some(days) = burn.days_left(&account(Some(*balance)), now) {
                    prop_assert!(days >= 0.0 && !days.is_nan());
                }
            }
        }

        #[test]
        fn top_up_never_shortens_the_days_left(
            falls in prop::collection::vec(0..500_u32, 3..40),
            top_up in 1..1_000_000_u32,
        ) {
            let mut balances = vec![100_000.0];
            for fall in falls {
                balances.push(balances[balances.len() - 1] - f64::from(fall));
            }
            let before = days_left(&balances);
            // The same history, with one more reading at the same time that shows a top-up.
            let (mut burn, now) = seen(&balances);
            let topped_up = account(Some(balances[balances.len() - 1] + f64::from(top_up)));
            burn.observe(&reading(vec![topped_up.clone()], now), now);
            let after = burn.days_left(&topped_up, now);
            // A top-up that restores the balance of a moment before takes the fall back, and with it perhaps the rate.
            if let (Some(before), Some(after)) = (before, after) {
                prop_assert!(after >= before, "{before} {after}");
            } else {
                prop_assert!(after.is_none());
            }
        }

        #[test]
        fn top_up_in_the_past_leaves_the_rate_as_it_is(
            falls in prop::collection::vec(1..500_u32, 4..40),
            top_up in 1_000..1_000_000_u32,
            at in 0..40_usize,
        ) {
            // Hours in which nothing is used take turns with the falls; the top-up comes in one of them.
            let mut plain = vec![100_000.0];
            for fall in &falls {
                let last = plain[plain.len() - 1];
                plain.extend([last, last - f64::from(*fall)]);
            }
            let at = 2 * (at % falls.len()) + 1;
            let mut topped_up = plain.clone();
            for balance in &mut topped_up[at..] {
                *balance += f64::from(top_up);
            }
            let per_day = |balances: &[f64]| {
                let (burn, now) = seen(balances);
                burn.accounts.values().next().unwrap().per_day(HOUR, now.monotonic).unwrap()
            };
            let (plain, topped_up) = (per_day(&plain), per_day(&topped_up));
            prop_assert!((plain - topped_up).abs() <= 1e-9 * plain, "{plain} {topped_up}");
        }
    }
}
