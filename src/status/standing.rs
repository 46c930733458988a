//! How apps and accounts stand, worst first: what the page's order, marks and colours come from.

use std::time::{Duration, SystemTime};

use crate::clock::unix_seconds;
use crate::store::Failure;
use crate::wechat::courier::Network;
use crate::wechat::{Account, Reason};

use super::reading::AppFacts;

/// A balance that lasts less is running out. Unit: days.
const RUNNING_OUT: f64 = 1.0;
/// A balance that lasts less is low. Unit: days.
const LOW: f64 = 3.0;
/// As long as nobody knows how fast it falls, a balance below this is low. Unit: waybills.
const FEW: f64 = 100.0;
/// A review that takes longer is stuck; shops have waited for half a year without asking.
const LONG_REVIEW: Duration = Duration::from_secs(3 * 24 * 3600);
/// A balance that WeChat has not refreshed for longer may be far from the truth.
const OLD_BALANCE: Duration = Duration::from_secs(24 * 3600);

/// How much it matters. The worst comes first in the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// A shop can't ship, or soon can't, or nobody can tell.
    Critical,
    /// Somebody should look at it soon.
    Warning,
    /// Worth knowing.
    Note,
    /// As it should be.
    Fine,
}

/// How an account stands; the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// No waybill is left.
    Empty,
    /// The balance lasts less than a day.
    RunningOut,
    /// The courier refused the binding.
    BindingFailed,
    /// The balance lasts less than three days.
    Low,
    /// Few waybills are left, and how fast they go is not known.
    Few,
    /// The binding has been under review for more than three days.
    ReviewStuck,
    /// A status that the API's documentation doesn't name.
    UnknownStatus,
    /// The balance was last refreshed more than a day ago.
    OldBalance,
    /// The binding is under review.
    UnderReview,
    /// The account was unbound.
    Unbound,
    /// Bound, with waybills enough.
    Fine,
    /// Bound to a courier that is paid by the month: there is no stock to run out.
    Monthly,
}

impl Standing {
    /// Every one, in order.
    pub(super) const ALL: [Self; 12] = [
        Self::Empty,
        Self::RunningOut,
        Self::BindingFailed,
        Self::Low,
        Self::Few,
        Self::ReviewStuck,
        Self::UnknownStatus,
        Self::OldBalance,
        Self::UnderReview,
        Self::Unbound,
        Self::Fine,
        Self::Monthly,
    ];

    /// How an account stands. `days_left`: how long its balance lasts, where known.
    pub(super) fn of(
        account: &Account,
        network: Network,
        days_left: Option<f64>,
        now: SystemTime,
    ) -> Self {
        match account.status_code {
            Some(0) => Self::of_bound(account, network, days_left, now),
            Some(1) => {
                let since = account.update_time.or(account.create_time);
                if is_older(since, LONG_REVIEW, now) {
                    Self::ReviewStuck
                } else {
                    Self::UnderReview
                }
            }
            Some(2) => Self::BindingFailed,
            Some(3) => Self::Unbound,
            _ => Self::UnknownStatus,
        }
    }

    fn of_bound(
        account: &Account,
        network: Network,
        days_left: Option<f64>,
        now: SystemTime,
    ) -> Self {
        // A courier that is paid by the month sends some figure too; it is no stock. Of an unknown courier only a
        // balance that was seen to fall is one.
        match (network, days_left) {
            (Network::Direct, _) => return Self::Monthly,
            (Network::Unknown, None) => return Self::Fine,
            _ => {}
        }
        match (account.quota_num, days_left) {
            // WeChat sends -1 where it knows of no stock; only one that was seen to fall is overdrawn.
            (Some(balance), None) if balance < 0.0 => Self::Fine,
            (Some(balance), _) if balance <= 0.0 => Self::Empty,
            (_, Some(days)) if days < RUNNING_OUT => Self::RunningOut,
            (_, Some(days)) if days < LOW => Self::Low,
            (Some(balance), None) if balance < FEW => Self::Few,
            _ if is_older(account.quota_update_time, OLD_BALANCE, now) => Self::OldBalance,
            _ => Self::Fine,
        }
    }

    pub(super) fn level(self) -> Level {
        match self {
            Self::Empty | Self::RunningOut => Level::Critical,
            Self::BindingFailed
            | Self::Low
            | Self::Few
            | Self::ReviewStuck
            | Self::UnknownStatus => Level::Warning,
            Self::OldBalance | Self::UnderReview | Self::Unbound => Level::Note,
            Self::Fine | Self::Monthly => Level::Fine,
        }
    }
}

/// Whether a time of WeChat's lies so far back. 0 is its "never", and no time.
fn is_older(unix: Option<i64>, age: Duration, now: SystemTime) -> bool {
    let age = i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
    unix.is_some_and(|unix| unix > 0 && unix_seconds(now).saturating_sub(unix) > age)
}

/// How an app stands; the worst first.
#[derive(Clone, Debug)]
pub(super) enum AppStanding<'a> {
    /// The last fetch failed, and no call is made before a time.
    Held {
        /// What opened the breaker.
        reason: Reason,
        /// When the next scrape may try.
        until: SystemTime,
        /// How the last fetch failed.
        failure: Option<&'a Failure>,
    },
    /// The last fetch failed; the next scrape tries again.
    Failing(&'a Failure),
    /// The exporter's own daily limit is used up.
    DailyLimit,
    /// The reading is too old to be on the metrics page: no scrape comes.
    Outdated,
    /// No scrape has read it yet.
    NeverRead,
    /// The first fetch is under way.
    Reading,
    /// The last fetch succeeded.
    Up,
}

impl<'a> AppStanding<'a> {
    pub(super) fn of(facts: &'a AppFacts, max_stale: Duration) -> Self {
        let last = facts.last_fetch.as_ref();
        let failure = last.and_then(|last| last.failure.as_ref());
        if let Some((reason, until)) = facts.breaker {
            return Self::Held {
                reason,
                until,
                failure,
            };
        }
        if let Some(failure) = failure {
            return Self::Failing(failure);
        }
        if facts.calls_left == Some(0) {
            return Self::DailyLimit;
        }
        match facts.reading_age {
            Some(age) if age > max_stale => Self::Outdated,
            Some(_) => Self::Up,
            None if facts.fetching => Self::Reading,
            None => Self::NeverRead,
        }
    }

    pub(super) fn level(&self) -> Level {
        match self {
            Self::Held { .. } | Self::Failing(_) => Level::Critical,
            Self::DailyLimit | Self::Outdated => Level::Warning,
            Self::NeverRead | Self::Reading => Level::Note,
            Self::Up => Level::Fine,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_492_800)
    }

    fn bound(quota_num: Option<f64>) -> Account {
        Account {
            status_code: Some(0),
            quota_num,
            quota_update_time: Some(unix_seconds(now()) - 60),
            ..Account::default()
        }
    }

    fn franchise(account: &Account, days_left: Option<f64>) -> Standing {
        Standing::of(account, Network::Franchise, days_left, now())
    }

    #[test]
    fn days_left_decide_where_they_are_known_and_the_balance_where_not() {
        assert_eq!(franchise(&bound(Some(50.0)), None), Standing::Few);
        assert_eq!(franchise(&bound(Some(50.0)), Some(20.0)), Standing::Fine);
        assert_eq!(
            franchise(&bound(Some(5000.0)), Some(0.9)),
            Standing::RunningOut
        );
        assert_eq!(franchise(&bound(Some(5000.0)), Some(2.9)), Standing::Low);
        assert_eq!(franchise(&bound(Some(5000.0)), None), Standing::Fine);
        assert_eq!(franchise(&bound(Some(0.0)), Some(0.0)), Standing::Empty);
        assert_eq!(franchise(&bound(Some(-1.0)), None), Standing::Fine);
        assert_eq!(franchise(&bound(Some(-3.0)), Some(0.0)), Standing::Empty);
    }

    #[test]
    fn balance_that_was_not_sent_is_not_taken_for_an_empty_one() {
        assert_eq!(franchise(&bound(None), None), Standing::Fine);
    }

    #[test]
    fn courier_paid_by_the_month_has_no_stock_to_run_out() {
        for balance in [None, Some(0.0), Some(-1.0), Some(9.0)] {
            let standing = Standing::of(&bound(balance), Network::Direct, Some(0.1), now());
            assert_eq!(standing, Standing::Monthly);
        }
    }

    #[test]
    fn unknown_courier_has_a_stock_once_it_was_seen_to_fall() {
        let account = bound(Some(0.0));
        let standing = |days| Standing::of(&account, Network::Unknown, days, now());
        assert_eq!(standing(None), Standing::Fine);
        assert_eq!(standing(Some(0.0)), Standing::Empty);
    }

    #[test]
    fn account_that_is_not_bound_has_no_stock_warning() {
        let with_status = |status_code, update_time| {
            let account = Account {
                status_code,
                update_time,
                ..bound(Some(0.0))
            };
            franchise(&account, None)
        };
        let now = unix_seconds(now());
        assert_eq!(with_status(Some(1), Some(now - DAY)), Standing::UnderReview);
        assert_eq!(
            with_status(Some(1), Some(now - 4 * DAY)),
            Standing::ReviewStuck
        );
        assert_eq!(with_status(Some(1), None), Standing::UnderReview);
        assert_eq!(with_status(Some(2), None), Standing::BindingFailed);
        assert_eq!(with_status(Some(3), None), Standing::Unbound);
        assert_eq!(with_status(Some(7), None), Standing::UnknownStatus);
        assert_eq!(with_status(None, None), Standing::UnknownStatus);
    }

    #[test]
    fn old_balance_is_told_and_a_balance_never_refreshed_is_not_old() {
        let mut account = bound(Some(5000.0));
        account.quota_update_time = Some(unix_seconds(now()) - DAY - 1);
        assert_eq!(franchise(&account, None), Standing::OldBalance);
        for odd in [0, i64::MIN, i64::MAX] {
            account.quota_update_time = Some(odd);
            assert_eq!(franchise(&account, None), Standing::Fine, "{odd}");
        }
    }

    #[test]
    fn standings_are_in_the_order_of_their_levels() {
        assert!(Standing::ALL.is_sorted());
        assert!(Standing::ALL.is_sorted_by_key(|standing| standing.level()));
    }
}
