//! What state apps and accounts are in, worst first: the page's order, marks and colours come from here.

use std::time::{Duration, SystemTime};

use crate::clock::unix_seconds;
use crate::wechat::Account;
use crate::wechat::courier::Network;

use super::overview::AppFacts;

/// Unit: days.
const RUNNING_OUT: f64 = 1.0;
/// Unit: days.
const LOW: f64 = 3.0;
/// A balance below this is low as long as nobody knows how fast it falls. Unit: waybills.
const FEW: f64 = 100.0;
/// A review that takes longer is stuck; shops have waited for half a year without asking. Unit: seconds.
const LONG_REVIEW: i64 = 3 * 24 * 3600;
/// A balance that WeChat has not refreshed for longer may be far from the truth. Unit: seconds.
const OLD_BALANCE: i64 = 24 * 3600;

/// The worst comes first in the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// A shop can't ship, or soon can't, or nobody can tell.
    Critical,
    /// Somebody should look at it soon.
    Warning,
    Info,
    Ok,
}

/// The worst comes first in the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum AccountState {
    /// No waybills are left.
    Empty,
    /// The balance lasts less than a day.
    RunningOut,
    /// The courier refused the binding.
    BindingFailed,
    /// The balance lasts less than three days.
    Low,
    /// Few waybills are left, and how fast they are used is not known.
    Few,
    /// Few waybills or none are left at a courier of which nobody knows whether it sells them in advance.
    UnknownCourier,
    /// The binding has been under review for more than three days.
    ReviewStuck,
    /// A binding status that the API's documentation doesn't name.
    UnknownStatus,
    /// WeChat refreshed the balance more than a day ago.
    OldBalance,
    UnderReview,
    Unbound,
    Ok,
    /// Bound to a courier that is paid by the month: there is no balance to run out.
    Monthly,
}

impl AccountState {
    /// `days_left`: how long the balance lasts, where known.
    pub(crate) fn of(
        account: &Account,
        network: Network,
        days_left: Option<f64>,
        now: SystemTime,
    ) -> Self {
        let is_older = |unix: Option<i64>, age: i64| {
            unix.is_some_and(|unix| unix_seconds(now).saturating_sub(unix) > age)
        };
        match account.status_code {
            Some(0) => {}
            Some(1) if is_older(account.update_time.or(account.create_time), LONG_REVIEW) => {
                return Self::ReviewStuck;
            }
            Some(1) => return Self::UnderReview,
            Some(2) => return Self::BindingFailed,
            Some(3) => return Self::Unbound,
            _ => return Self::UnknownStatus,
        }
        if network == Network::Direct {
            // WeChat sends some number here too; it is not a stock of waybills.
            return Self::Monthly;
        }
        match (account.quota_num, days_left) {
            // WeChat sends -1 where it knows of no balance; only one that was seen to fall is overdrawn.
            (Some(balance), None) if balance < 0.0 => Self::Ok,
            (Some(balance), None) if balance < FEW && network == Network::Unknown => {
                Self::UnknownCourier
            }
            (Some(balance), _) if balance <= 0.0 => Self::Empty,
            (_, Some(days)) if days < RUNNING_OUT => Self::RunningOut,
            (_, Some(days)) if days < LOW => Self::Low,
            (Some(balance), None) if balance < FEW => Self::Few,
            _ if is_older(account.quota_update_time, OLD_BALANCE) => Self::OldBalance,
            _ => Self::Ok,
        }
    }

    pub(crate) fn severity(self) -> Severity {
        match self {
            Self::Empty | Self::RunningOut => Severity::Critical,
            Self::BindingFailed
            | Self::Low
            | Self::Few
            | Self::UnknownCourier
            | Self::ReviewStuck
            | Self::UnknownStatus => Severity::Warning,
            Self::OldBalance | Self::UnderReview | Self::Unbound => Severity::Info,
            Self::Ok | Self::Monthly => Severity::Ok,
        }
    }
}

/// The worst comes first in the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum AppHealth {
    /// The last fetch failed.
    Failing,
    /// The exporter's own daily limit is used up.
    DailyLimitReached,
    /// Fetch after fetch finds its access token rejected and gets another one.
    TokenRejected,
    /// The snapshot is too old to be exported: nobody scrapes.
    NotScraped,
    NeverFetched,
    Up,
}

impl AppHealth {
    pub(crate) fn of(facts: &AppFacts, max_stale: Duration) -> Self {
        if facts.failed().is_some() {
            return Self::Failing;
        }
        if facts.calls_left == Some(0) {
            return Self::DailyLimitReached;
        }
        match facts.snapshot_age {
            Some(age) if age > max_stale => Self::NotScraped,
            Some(_) if facts.token_rejections > 1 => Self::TokenRejected,
            Some(_) => Self::Up,
            None => Self::NeverFetched,
        }
    }

    pub(crate) fn severity(self) -> Severity {
        match self {
            Self::Failing => Severity::Critical,
            Self::DailyLimitReached | Self::TokenRejected | Self::NotScraped => Severity::Warning,
            Self::NeverFetched => Severity::Info,
            Self::Up => Severity::Ok,
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

    fn state(account: &Account, network: Network, days_left: Option<f64>) -> AccountState {
        AccountState::of(account, network, days_left, now())
    }

    #[test]
    fn days_left_decide_where_they_are_known_and_the_balance_where_not() {
        for (balance, days_left, expected) in [
            (Some(50.0), None, AccountState::Few),
            (Some(50.0), Some(20.0), AccountState::Ok),
            (Some(5000.0), Some(0.9), AccountState::RunningOut),
            (Some(5000.0), Some(2.9), AccountState::Low),
            (Some(5000.0), None, AccountState::Ok),
            (Some(0.0), Some(0.0), AccountState::Empty),
            (Some(0.0), None, AccountState::Empty),
            (Some(-1.0), None, AccountState::Ok),
            (Some(-3.0), Some(0.0), AccountState::Empty),
            // Not sent is not empty.
            (None, None, AccountState::Ok),
        ] {
            let state = state(&bound(balance), Network::Franchise, days_left);
            assert_eq!(state, expected, "{balance:?} {days_left:?}");
        }
    }

    #[test]
    fn courier_paid_by_the_month_has_no_balance_to_run_out() {
        for balance in [None, Some(0.0), Some(-1.0), Some(9.0)] {
            let state = state(&bound(balance), Network::Direct, Some(0.1));
            assert_eq!(state, AccountState::Monthly);
        }
    }

    #[test]
    fn unknown_courier_without_waybills_is_not_ok() {
        for (balance, days_left, expected) in [
            (0.0, None, AccountState::UnknownCourier),
            (99.0, None, AccountState::UnknownCourier),
            (5000.0, None, AccountState::Ok),
            // A balance that was seen to fall is a stock of waybills.
            (0.0, Some(0.0), AccountState::Empty),
            (80.0, Some(2.0), AccountState::Low),
        ] {
            let state = state(&bound(Some(balance)), Network::Unknown, days_left);
            assert_eq!(state, expected, "{balance} {days_left:?}");
        }
    }

    #[test]
    fn binding_status_comes_before_the_balance() {
        let now = unix_seconds(now());
        for (status_code, update_time, expected) in [
            (Some(1), Some(now - DAY), AccountState::UnderReview),
            (Some(1), Some(now - 4 * DAY), AccountState::ReviewStuck),
            (Some(1), None, AccountState::UnderReview),
            (Some(2), None, AccountState::BindingFailed),
            (Some(3), None, AccountState::Unbound),
            (Some(7), None, AccountState::UnknownStatus),
            (None, None, AccountState::UnknownStatus),
        ] {
            let account = Account {
                status_code,
                update_time,
                ..bound(Some(0.0))
            };
            let state = state(&account, Network::Franchise, None);
            assert_eq!(state, expected, "{status_code:?}");
        }
    }

    #[test]
    fn old_balance_is_reported() {
        let mut account = bound(Some(5000.0));
        for (age, expected) in [
            (DAY + 1, AccountState::OldBalance),
            (DAY, AccountState::Ok),
            (i64::MIN + 1, AccountState::Ok),
        ] {
            account.quota_update_time = Some(unix_seconds(now()).saturating_sub(age));
            let state = state(&account, Network::Franchise, None);
            assert_eq!(state, expected, "{age}");
        }
    }
}
