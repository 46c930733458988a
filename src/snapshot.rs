//! One reading of an app's accounts: immutable, from one fetch.

use std::cell::LazyCell;
use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::clock::{Moment, unix_seconds};
use crate::usage_rate::Usage;
use crate::wechat::{Account, AccountList};

/// The accounts of one app at the time of one fetch. A snapshot never changes; the next fetch makes a new one.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The accounts in WeChat's order, each (`biz_id`, `delivery_id`) once.
    pub(crate) accounts: Vec<Account>,
    /// What each account has used; empty in a snapshot that was restored.
    usage: Vec<Option<Usage>>,
    /// How many rows were left out.
    pub(crate) dropped: Dropped,
    /// When WeChat was asked.
    pub(crate) fetched: SystemTime,
    /// The snapshot's age at `then`, when this process obtained it. The monotonic clock counts on from there.
    age_then: Duration,
    then: Moment,
}

/// Rows left out of a snapshot: the `reason` label of `accounts_dropped`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// Rows of an account that another row of the list describes too.
    pub duplicate: u64,
    /// Rows beyond `--wechat.max-accounts` or `--wechat.max-label-length`.
    pub limit: u64,
    /// Rows that name no account.
    pub invalid: u64,
}

/// The identity of an account within its app: `biz_id` and `delivery_id`.
pub(crate) type AccountId<'a> = (&'a str, &'a str);

/// A balance and the time at which it was valid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Balance {
    /// Waybills left.
    pub(crate) quota_num: f64,
    /// Unit: seconds since 1970.
    pub(crate) at: i64,
}

impl Snapshot {
    /// Makes a snapshot of a list that was just fetched.
    pub fn fetched_now(list: AccountList, now: Moment) -> Self {
        Self::new(list, Dropped::default(), now.wall, now)
    }

    /// Makes a snapshot of a list that an earlier run or another replica fetched. A time in the future was recorded
    /// under a clock that was ahead. `before` counts the rows that were left out of the list then.
    pub fn new(list: AccountList, before: Dropped, fetched: SystemTime, now: Moment) -> Self {
        let (accounts, duplicate) = newest_of_each(list.accounts);
        Self {
            accounts,
            usage: Vec::new(),
            dropped: Dropped {
                duplicate: before.duplicate.saturating_add(duplicate),
                limit: before.limit.saturating_add(list.beyond_limit),
                invalid: before.invalid.saturating_add(list.invalid),
            },
            fetched: fetched.min(now.wall),
            age_then: now.wall.duration_since(fetched).unwrap_or_default(),
            then: now,
        }
    }

    /// Returns the time since WeChat was asked, even if the wall clock was set meanwhile.
    pub fn age(&self, now: Moment) -> Duration {
        self.age_then + now.monotonic.saturating_duration_since(self.then.monotonic)
    }

    /// Adds what each account has used, continuing from the snapshot before.
    pub(crate) fn with_usage(mut self, before: Option<&Self>) -> Self {
        let (accounts, usage) = match before {
            Some(before) => (&*before.accounts, &*before.usage),
            None => Default::default(),
        };
        // WeChat lists the accounts in the same order each time, so that this is hardly ever needed.
        let by_id = LazyCell::new(|| {
            let ids = accounts.iter().map(Account::id);
            ids.zip(usage).collect::<HashMap<_, _>>()
        });
        let now = self.then.monotonic;
        let counted_on = self.accounts.iter().enumerate().map(|(place, account)| {
            let usage = match accounts.get(place) {
                Some(before) if before.id() == account.id() => usage.get(place),
                _ => by_id.get(&account.id()).copied(),
            };
            match usage.copied().flatten() {
                Some(usage) => Some(usage.after(account.quota_num)),
                None => Some(Usage::first_seen(account.quota_num?, now)),
            }
        });
        self.usage = counted_on.collect();
        self
    }

    /// Returns how long the balance of each account lasts, in the order of the accounts. Unit: days. `None` for an
    /// account without a balance, and where less than `shortest` of its use is known (see [`Usage::days_left`]).
    pub(crate) fn days_left(
        &self,
        shortest: Duration,
        now: Moment,
    ) -> impl Iterator<Item = Option<f64>> {
        let at = self.then.monotonic;
        let accounts = self.accounts.iter().enumerate();
        accounts.map(move |(place, account)| {
            let usage = (*self.usage.get(place)?)?;
            usage.days_left(account.quota_num?, at, shortest, now.monotonic)
        })
    }

    /// Returns the balances that are no older than that time.
    pub(crate) fn balances_after(&self, at: SystemTime) -> HashMap<AccountId<'_>, Balance> {
        let earliest = unix_seconds(at);
        let balance = |account: &Account| {
            let (quota_num, at) = (account.quota_num?, account.quota_update_time?);
            (at >= earliest).then_some(Balance { quota_num, at })
        };
        self.accounts
            .iter()
            .filter_map(|account| Some((account.id(), balance(account)?)))
            .collect()
    }

    /// Returns the snapshot with those of the balances that are newer than its own.
    pub(crate) fn with_balances(mut self, balances: &HashMap<AccountId<'_>, Balance>) -> Self {
        for account in &mut self.accounts {
            let Some(balance) = balances.get(&account.id()).copied() else {
                continue;
            };
            if account.quota_update_time.is_none_or(|at| at < balance.at) {
                account.quota_num = Some(balance.quota_num);
                account.quota_update_time = Some(balance.at);
            }
        }
        self
    }
}

/// Keeps one row per account: the one updated last; of several, a bound one; of several, the last. Returns the number
/// dropped.
fn newest_of_each(mut accounts: Vec<Account>) -> (Vec<Account>, u64) {
    let rank = |account: &Account| (account.update_time, account.status_code == Some(0));
    let mut newest: HashMap<AccountId<'_>, usize> = HashMap::with_capacity(accounts.len());
    for (index, account) in accounts.iter().enumerate() {
        let best = newest.entry(account.id()).or_insert(index);
        if rank(account) >= rank(&accounts[*best]) {
            *best = index;
        }
    }
    let duplicates = accounts.len() - newest.len();
    if duplicates > 0 {
        let mut stays = vec![false; accounts.len()];
        for index in newest.into_values() {
            stays[index] = true;
        }
        let mut stays = stays.into_iter();
        accounts.retain(|_| stays.next() == Some(true));
    }
    accounts.shrink_to_fit();
    (accounts, duplicates as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(biz_id: &str, update_time: Option<i64>, status_code: i64) -> Account {
        Account {
            biz_id: biz_id.into(),
            delivery_id: "YTO".into(),
            update_time,
            status_code: Some(status_code),
            ..Account::default()
        }
    }

    fn snapshot(accounts: Vec<Account>) -> Snapshot {
        let list = AccountList {
            accounts,
            ..AccountList::default()
        };
        Snapshot::fetched_now(list, Moment::now())
    }

    #[test]
    fn newest_row_of_an_account_stays_and_the_rest_are_counted() {
        let newest = account("a", Some(9), 3);
        let other = account("b", None, 0);
        let snapshot = snapshot(vec![
            account("a", Some(5), 0),
            other.clone(),
            newest.clone(),
            account("a", None, 0),
        ]);
        assert_eq!(snapshot.accounts, [other, newest]);
        assert_eq!(snapshot.dropped.duplicate, 2);
    }

    #[test]
    fn bound_row_stays_among_equally_old_ones() {
        let bound = account("a", Some(5), 0);
        let snapshot = snapshot(vec![bound.clone(), account("a", Some(5), 3)]);
        assert_eq!(snapshot.accounts, [bound]);
    }

    #[test]
    fn age_counts_on_from_the_age_that_a_restored_snapshot_had() {
        let now = Moment::now();
        let fetched = now.wall - HOUR;
        let list = AccountList::default();
        let restored = Snapshot::new(list, Dropped::default(), fetched, now);
        assert_eq!(restored.age(now.after(HOUR)), 2 * HOUR);
    }

    #[test]
    fn wall_clock_set_back_makes_no_snapshot_younger() {
        let now = Moment::now();
        let snapshot = Snapshot::fetched_now(AccountList::default(), now);
        let later = Moment {
            wall: now.wall - Duration::from_secs(86_400),
            ..now.after(Duration::from_secs(60))
        };
        assert_eq!(snapshot.age(later), Duration::from_secs(60));
    }

    #[test]
    fn live_balance_replaces_an_older_one_only() {
        let mut old = account("a", None, 0);
        old.quota_num = Some(5.0);
        old.quota_update_time = Some(100);
        let mut new = account("b", None, 0);
        new.quota_num = Some(7.0);
        new.quota_update_time = Some(300);
        let asked = Balance {
            quota_num: 1.0,
            at: 200,
        };
        let mut of_the_same_time = account("c", None, 0);
        of_the_same_time.quota_num = Some(9.0);
        of_the_same_time.quota_update_time = Some(200);
        let live = ["a", "b", "c"].map(|biz_id| ((biz_id, "YTO"), asked));
        let accounts = vec![old, new, of_the_same_time];
        let snapshot = snapshot(accounts).with_balances(&HashMap::from(live));
        let balances: Vec<_> = snapshot.accounts.iter().map(|a| a.quota_num).collect();
        assert_eq!(balances, [Some(1.0), Some(7.0), Some(9.0)]);
    }

    const HOUR: Duration = Duration::from_secs(3600);

    /// Returns the days left after these lists of accounts, one an hour.
    fn days_left(lists: impl IntoIterator<Item = Vec<Account>>) -> Vec<Option<f64>> {
        let mut now = Moment::now();
        let mut snapshot = None;
        for accounts in lists {
            let list = AccountList {
                accounts,
                ..AccountList::default()
            };
            now = now.after(HOUR);
            snapshot = Some(Snapshot::fetched_now(list, now).with_usage(snapshot.as_ref()));
        }
        snapshot.unwrap().days_left(HOUR, now).collect()
    }

    fn with_balance(biz_id: &str, quota_num: Option<f64>) -> Account {
        Account {
            quota_num,
            ..account(biz_id, None, 0)
        }
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
            let lists = balances
                .iter()
                .map(|balance| vec![with_balance("a", *balance)]);
            let left = days_left(lists)[0];
            assert_eq!(left.is_some(), days.is_some(), "{balances:?}: {left:?}");
            let apart = left.unwrap_or(0.0) - days.unwrap_or(0.0);
            assert!(apart.abs() < 1e-9, "{balances:?}: {left:?}");
        }
    }

    #[test]
    fn usage_follows_an_account_to_another_place_in_the_list() {
        let [a, b] = ["a", "b"].map(|id| move |balance| with_balance(id, Some(balance)));
        let lists = [
            vec![a(250.0), b(9.0)],
            vec![b(9.0), with_balance("new", Some(5.0)), a(240.0)],
        ];
        assert_eq!(days_left(lists), [None, None, Some(1.0)]);
        let unlisted = [vec![a(250.0)], vec![b(9.0)], vec![b(9.0), a(240.0)]];
        assert_eq!(days_left(unlisted), [None, None]);
    }
}
