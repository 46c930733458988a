//! The states of apps and accounts, worst first. They determine the order, marks and colours of the page.

use std::time::SystemTime;

use crate::clock::unix_seconds;
use crate::wechat::courier::Network;
use crate::wechat::{Account, OWN_DAILY_LIMIT, new_token};

use super::overview::AppFacts;
use super::translations::Text;

/// Unit: days.
const RUNNING_OUT: f64 = 1.0;
/// Unit: days.
const LOW: f64 = 3.0;
/// A balance below this is low as long as its rate of use is unknown. Unit: waybills.
const FEW: f64 = 100.0;
/// A review that takes longer is stuck; shops have waited half a year without asking. Unit: seconds.
const LONG_REVIEW: i64 = 3 * 24 * 3600;
/// A balance that WeChat hasn't refreshed for longer may be far from the truth. Unit: seconds.
const OLD_BALANCE: i64 = 24 * 3600;

/// How bad a state is, ordered from worst to best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// A shop can't ship, or soon won't be able to, or nobody can tell.
    Critical,
    /// Somebody should look at it soon.
    Warning,
    Info,
    Ok,
}

/// The severity and the name of a state.
pub(crate) type Mark = (Severity, Text);

/// The state of an account, ordered from worst to best.
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
    /// Few waybills are left, and their rate of use is unknown.
    Few,
    /// Few waybills or none are left, and it is unknown whether this courier sells them in advance.
    UnknownCourier,
    /// The binding has been under review for more than three days.
    ReviewStuck,
    /// A binding status that the API's documentation doesn't name, or none.
    UnknownStatus,
    /// WeChat refreshed the balance more than a day ago.
    OldBalance,
    UnderReview,
    Unbound,
    Ok,
    /// Bound to a courier that is paid by the month, so that there is no balance to run out.
    Monthly,
}

impl AccountState {
    /// Returns the state of an account. `days_left`: how long the balance lasts, if known.
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
            // WeChat sends a number here too, but it isn't a stock of waybills.
            return Self::Monthly;
        }
        match (account.quota_num, days_left) {
            // WeChat sends -1 if it knows of no balance; only a balance that has been seen to fall is overdrawn.
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
        self.described().0
    }

    /// Returns how the state is shown.
    pub(crate) fn mark(self) -> Mark {
        let (severity, name, _) = self.described();
        (severity, name)
    }

    /// Returns the severity, the name, and the meaning for the shop.
    #[rustfmt::skip]
    pub(crate) const fn described(self) -> (Severity, Text, Text) {
        match self {
            Self::Empty => (Severity::Critical, ["Empty", "已用完"],
                ["No waybills are left, so the shop can't ship with this account. Buy waybills from the courier's outlet.",
                 "没有可用面单，该账号无法发货。请联系快递网点充值。"]),
            Self::RunningOut => (Severity::Critical, ["Under a day", "不足一天"],
                ["At the average rate of use the balance lasts less than a day. Call the outlet before it closes.",
                 "按平均用量不足一天。请在网点下班前联系充值。"]),
            Self::BindingFailed => (Severity::Warning, ["Binding failed", "绑定失败"],
                ["The courier refused the binding. Check the customer code and password with the outlet and bind again.",
                 "快递公司拒绝了绑定。请与网点核对客户编码和密码后重新绑定。"]),
            Self::Low => (Severity::Warning, ["Under 3 days", "不足三天"],
                ["At the average rate of use the balance lasts less than three days.", "按平均用量不足三天。"]),
            Self::Few => (Severity::Warning, ["Few left", "余量较少"],
                ["Fewer than 100 waybills are left, and the rate of use is not known yet.", "余额少于 100 张，用量尚不清楚。"]),
            Self::UnknownCourier => (Severity::Warning, ["Unknown courier", "未知快递公司"],
                ["Fewer than 100 waybills or none are left, and the exporter doesn't know whether this courier sells them in advance. Compare the id with WeChat's list of couriers, or set its network under “couriers” in the configuration.",
                 "面单少于 100 张或没有面单，且无法判断该快递公司是否预售面单。请与微信的快递公司列表核对编号，或在配置的“couriers”中说明其类型。"]),
            Self::ReviewStuck => (Severity::Warning, ["Review stuck", "审核过久"],
                ["The binding has been under review for more than three days. Ask the courier's outlet; WeChat doesn't.",
                 "审核已超过三天。请主动联系快递网点，微信不会催办。"]),
            Self::UnknownStatus => (Severity::Warning, ["Unknown", "未知状态"],
                ["WeChat sent a binding status that its documentation doesn't name, or none.", "微信返回了文档中没有的绑定状态，或没有返回。"]),
            Self::OldBalance => (Severity::Info, ["Old balance", "余额过期"],
                ["WeChat has not refreshed the balance for more than a day. The true balance may be lower.",
                 "微信超过一天没有更新余额，实际余额可能更低。"]),
            Self::UnderReview => (Severity::Info, ["Under review", "审核中"],
                ["The courier has not confirmed the binding yet.", "快递公司尚未确认绑定。"]),
            Self::Unbound => (Severity::Info, ["Unbound", "已解绑"],
                ["The account was unbound and can't be used to ship.", "账号已解绑，不能用于发货。"]),
            Self::Ok => (Severity::Ok, ["OK", "正常"],
                ["The account is bound and has no known problem.", "已绑定，未发现问题。"]),
            Self::Monthly => (Severity::Ok, ["Monthly", "月结"],
                ["The courier runs its own outlets and is paid by the month, so no waybills can run out.",
                 "直营快递按月结算，不存在面单用完的问题。"]),
        }
    }
}

/// The state of an app, ordered from worst to best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum AppHealth {
    /// The last fetch failed.
    Failing,
    /// The exporter's own daily limit is used up.
    DailyLimitReached,
    /// The access token was rejected in one fetch after another, and replaced each time.
    TokenRejected,
    /// The snapshot is too old to be exported, because nobody scrapes.
    NotScraped,
    NeverFetched,
    Up,
}

impl AppHealth {
    pub(crate) fn of(facts: &AppFacts) -> Self {
        if facts.failed().is_some() {
            return Self::Failing;
        }
        if facts.calls_left == Some(0) {
            return Self::DailyLimitReached;
        }
        match facts.snapshot {
            Some(_) if facts.is_expired => Self::NotScraped,
            Some(_) if facts.token_rejections > 1 => Self::TokenRejected,
            Some(_) => Self::Up,
            None => Self::NeverFetched,
        }
    }

    pub(crate) fn severity(self) -> Severity {
        self.mark().0
    }

    /// Returns how the state is shown.
    pub(crate) const fn mark(self) -> Mark {
        match self {
            Self::Failing => (Severity::Critical, ["Failing", "读取失败"]),
            Self::DailyLimitReached => (Severity::Warning, ["Daily limit reached", "已达每日上限"]),
            Self::TokenRejected => (Severity::Warning, ["Token rejected", "令牌被拒绝"]),
            Self::NotScraped => (Severity::Warning, ["Not scraped", "未被抓取"]),
            Self::NeverFetched => (Severity::Info, ["Not fetched yet", "尚未读取"]),
            Self::Up => (Severity::Ok, ["Up", "正常"]),
        }
    }

    /// Returns what is wrong and how to fix it; for a failure, its own explanation. `{span}` is the time since the last
    /// fetch, `{fetches}` the consecutive fetches with a rejected token, and `{path}` the path of the metrics.
    #[rustfmt::skip]
    pub(crate) fn explanation(self, facts: &AppFacts) -> Option<[Text; 2]> {
        Some(match self {
            Self::Up => return None,
            Self::Failing => {
                let (_, failure) = facts.failed()?;
                let explained = failure.cause.explanation(facts.credential);
                [explained.meaning, explained.fix]
            }
            Self::DailyLimitReached => [OWN_DAILY_LIMIT.meaning, OWN_DAILY_LIMIT.fix],
            Self::TokenRejected => [["WeChat rejected the access token in {fetches} fetches in a row. It is renewed less often now, so that fetches may fail.",
                "微信已连续 {fetches} 次拒绝访问令牌。导出器会降低更新令牌的频率，因此读取可能失败。"],
                new_token(facts.credential)],
            Self::NotScraped => [["The exporter has not been scraped for {span}.", "导出器已有 {span}没有被抓取。"],
                ["The numbers below are old and no longer exported. Check in Prometheus that the target is up and still configured.",
                 "下面的数字已过期，不再导出。请在 Prometheus 中检查该目标是否正常、是否仍在配置中。"]],
            Self::NeverFetched => [["This app has not been fetched yet.", "该小程序尚未读取过。"],
                ["The exporter fetches only when it is scraped. Add it to Prometheus, or open {path} once to fetch now.",
                 "导出器只在被抓取时读取。请将其加入 Prometheus，或打开一次 {path} 立即读取。"]],
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::translations::assert_chinese_punctuation;
    use super::AppHealth::{DailyLimitReached, NeverFetched, NotScraped, TokenRejected};
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

    #[test]
    fn bound_account_is_judged_by_its_balance_and_how_long_it_lasts() {
        use AccountState::*;
        use Network::{Direct, Franchise, Unknown};
        for (network, balance, days_left, expected) in [
            (Franchise, Some(50.0), None, Few),
            (Franchise, Some(50.0), Some(20.0), Ok),
            (Franchise, Some(5000.0), Some(0.9), RunningOut),
            (Franchise, Some(5000.0), Some(2.9), Low),
            (Franchise, Some(5000.0), None, Ok),
            (Franchise, Some(0.0), Some(0.0), Empty),
            (Franchise, Some(0.0), None, Empty),
            (Franchise, Some(-1.0), None, Ok),
            (Franchise, Some(-3.0), Some(0.0), Empty),
            // A missing balance is not an empty one.
            (Franchise, None, None, Ok),
            // Paid by the month: there is no balance to run out.
            (Direct, None, Some(0.1), Monthly),
            (Direct, Some(0.0), Some(0.1), Monthly),
            (Unknown, Some(0.0), None, UnknownCourier),
            (Unknown, Some(99.0), None, UnknownCourier),
            (Unknown, Some(5000.0), None, Ok),
            // A balance that has been seen to fall is a stock of waybills.
            (Unknown, Some(0.0), Some(0.0), Empty),
            (Unknown, Some(80.0), Some(2.0), Low),
        ] {
            let state = AccountState::of(&bound(balance), network, days_left, now());
            assert_eq!(state, expected, "{network:?} {balance:?} {days_left:?}");
        }
    }

    #[test]
    fn binding_status_comes_before_the_balance_and_an_old_balance_is_reported() {
        use AccountState::*;
        for (status_code, age, expected) in [
            (Some(0), DAY, Ok),
            (Some(0), DAY + 1, OldBalance),
            (Some(0), i64::MIN + 1, Ok),
            (Some(1), DAY, UnderReview),
            (Some(1), 4 * DAY, ReviewStuck),
            (Some(2), 0, BindingFailed),
            (Some(3), 0, Unbound),
            (Some(7), 0, UnknownStatus),
            (None, 0, UnknownStatus),
        ] {
            let time = Some(unix_seconds(now()).saturating_sub(age));
            let account = Account {
                status_code,
                update_time: time,
                quota_update_time: time,
                ..bound(status_code.filter(|code| *code == 0).map(|_| 5000.0))
            };
            let state = AccountState::of(&account, Network::Franchise, None, now());
            assert_eq!(state, expected, "{status_code:?} {age}");
        }
    }

    #[test]
    fn chinese_texts_have_chinese_punctuation() {
        use AccountState::*;
        let states = [
            Empty,
            RunningOut,
            BindingFailed,
            Low,
            Few,
            UnknownCourier,
            ReviewStuck,
            UnknownStatus,
            OldBalance,
            UnderReview,
            Unbound,
            Ok,
            Monthly,
        ];
        for state in states {
            let (_, name, meaning) = state.described();
            assert_chinese_punctuation(name[1]);
            assert_chinese_punctuation(meaning[1]);
        }
        for health in [DailyLimitReached, TokenRejected, NotScraped, NeverFetched] {
            let explanation = health.explanation(&AppFacts::default()).unwrap();
            explanation
                .iter()
                .for_each(|[_, chinese]| assert_chinese_punctuation(chinese));
        }
    }
}
