//! The simulated shops, their courier accounts, and the state of these at a given time.
//!
//! Everything follows from the seed and the time, so that 100,000 accounts cost nothing until they are listed, and a
//! restart changes nothing.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::wechat::courier::{self, Courier, Network};
use crate::wechat::{Account, ServiceType};

const SHOPS: [&str; 12] = [
    "山茶文创旗舰店",
    "半亩茶园",
    "云上果园",
    "阿禾手作",
    "小满母婴优选",
    "北街咖啡豆",
    "拾光书店",
    "海盐零食铺",
    "松间户外",
    "一只橘猫宠物生活",
    "青禾农场直供",
    "木白家居",
];

/// The way an account behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Waybills for a week.
    Plenty,
    /// Waybills for one to three days.
    Short,
    /// Waybills for less than a day.
    NearlyOut,
    /// Topped up every few hours, when hardly any are left.
    JustInTime,
    /// Topped up every few hours, some time after the last waybill was used.
    TooLate,
    /// Used up and not topped up.
    Empty,
    /// Its balance is two days old.
    Stale,
    /// Bound to a courier with monthly accounts.
    Monthly,
    /// Under review for days.
    Waiting,
    /// Binding failed.
    Failed,
    /// Unbound after it had worked.
    Unbound,
}

/// The first accounts of the first, the second and the third app, and so on in rotation. The first app shows every
/// state; most accounts of the others are healthy, so that trouble stands out.
const FIRST_ACCOUNTS: [&[(Role, &str)]; 3] = [
    &[
        (Role::Plenty, "YTO"),
        (Role::TooLate, "STO"),
        (Role::JustInTime, "ZTO"),
        (Role::Monthly, "SF"),
        (Role::Waiting, "JTSD"),
        (Role::Failed, "YUNDA"),
        (Role::Unbound, "BEST"),
        (Role::Plenty, "YUNDA"),
        (Role::Monthly, "JDL"),
        (Role::Stale, "HHTT"),
    ],
    &[
        (Role::Plenty, "YTO"),
        (Role::Empty, "STO"),
        (Role::NearlyOut, "ZTO"),
        (Role::Monthly, "EMS"),
        (Role::Plenty, "JTSD"),
        (Role::Plenty, "YUNDA"),
        (Role::Waiting, "UCE"),
        (Role::Monthly, "DB"),
    ],
    &[
        (Role::Short, "YTO"),
        (Role::Plenty, "STO"),
        (Role::Plenty, "ZTO"),
        (Role::Monthly, "SF"),
        (Role::Failed, "YUNDA"),
        (Role::Plenty, "JTSD"),
        (Role::Plenty, "ANE"),
        (Role::Monthly, "JDL"),
    ],
];

/// Prefixes of some couriers' account numbers.
const OUTLETS: [&str; 4] = [
    "浙江义乌公司",
    "四川成都武侯公司",
    "福建晋江公司",
    "广东广州白云公司",
];

const WRONG_PASSWORD: &str = "客户编码或密码错误，请联系网点核实";

/// A remark in the form that the API's documentation asks for; the number and the place are fictitious.
const REMARK: &str =
    "电话:13800000000 联系人:示例 服务类型:标准快递 发货地址:示例省示例市示例路1号";

/// 2024-01-01 in China. All accounts were bound in the following year.
const FIRST_DAY: i64 = 1_704_038_400;

const DAY: i64 = 24 * 3600;

/// The number of possible account numbers.
const NUMBERS: i64 = 100_000_000;

/// The world of one seed.
#[derive(Clone, Copy, Debug)]
pub(super) struct World {
    pub(super) seed: u64,
    /// Seconds of shop time per second, at least 1.
    pub(super) speed: i64,
}

/// The properties of an account that never change.
struct Profile {
    role: Role,
    courier: &'static Courier,
    biz_id: String,
    /// The account's key for further random numbers.
    key: (usize, usize),
}

impl World {
    /// Returns the appid of an app. It is the same for every seed, so that faults can name it.
    pub(super) fn appid(app: usize) -> String {
        format!("wx{:016}", app + 1)
    }

    /// Returns the number of an app, which may be beyond the simulated apps.
    pub(super) fn app(appid: &str) -> Option<usize> {
        let number: usize = appid.strip_prefix("wx")?.parse().ok()?;
        number
            .checked_sub(1)
            .filter(|app| Self::appid(*app) == appid)
    }

    pub(super) fn shop(&self, app: usize) -> String {
        let first = self.random("shop", SHOPS.len() as i64) as usize;
        let name = SHOPS[(first + app) % SHOPS.len()];
        match app / SHOPS.len() {
            0 => name.to_owned(),
            round => format!("{name}{}号店", round + 1),
        }
    }

    /// Returns a number from 0 to `end - 1` that looks random but is always the same for the same seed and key.
    pub(super) fn random(&self, key: impl Hash, end: i64) -> i64 {
        let mut hasher = DefaultHasher::new();
        (self.seed, key).hash(&mut hasher);
        (hasher.finish() % end.unsigned_abs()) as i64
    }

    /// Returns the account at that position of the app's list. `now`: seconds since 1970.
    pub(super) fn row(&self, app: usize, place: usize, now: i64) -> Account {
        let profile = self.profile(app, place);
        let refreshed = self.refreshed(&profile, now);
        let days_ago = |days: i64| (now / DAY - days) * DAY;
        let bound = FIRST_DAY + self.random(("bound", profile.key), 360 * DAY);
        let (status_code, update_time) = match profile.role {
            Role::Waiting => (1, days_ago(4)),
            Role::Failed => (2, days_ago(8)),
            Role::Unbound => (3, days_ago(30)),
            _ => (0, bound + 2 * DAY),
        };
        let quota = match profile.role {
            // WeChat's documentation doesn't say what is sent here, so some rows hold zeros and some nothing at all.
            Role::Monthly if profile.courier.delivery_id == "JDL" => Some((0, 0)),
            Role::Unbound => Some((12, update_time)),
            _ => self
                .balance(&profile, refreshed)
                .map(|balance| (balance, refreshed)),
        };
        let services = profile.courier.services.iter();
        Account {
            biz_id: profile.biz_id.as_str().into(),
            delivery_id: profile.courier.delivery_id.into(),
            create_time: Some(bound),
            update_time: Some(update_time),
            status_code: Some(status_code),
            alias: profile.biz_id.into(),
            remark_wrong_msg: match profile.role {
                Role::Failed => WRONG_PASSWORD.into(),
                _ => Box::default(),
            },
            remark_content: match profile.role {
                Role::Waiting | Role::Failed => REMARK.into(),
                _ => Box::default(),
            },
            quota_num: quota.map(|(balance, _)| balance as f64),
            quota_update_time: quota.map(|(_, refreshed)| refreshed),
            service_types: services
                .map(|&(service_type, service_name)| ServiceType {
                    service_type,
                    service_name: service_name.into(),
                })
                .collect(),
        }
    }

    /// Returns the balance that `quota/get` reports.
    ///
    /// # Errors
    /// Returns WeChat's errcode.
    pub(super) fn live_balance(
        &self,
        app: usize,
        accounts: usize,
        delivery_id: &str,
        biz_id: &str,
        now: i64,
    ) -> Result<i64, i64> {
        let profile = (0..accounts)
            .map(|place| self.profile(app, place))
            .find(|profile| profile.biz_id == biz_id && profile.courier.delivery_id == delivery_id)
            .ok_or(9_300_530)?;
        match profile.role {
            Role::Waiting | Role::Failed | Role::Unbound => Err(9_300_525),
            _ => self.balance(&profile, now).ok_or(9_300_501),
        }
    }

    fn profile(&self, app: usize, place: usize) -> Profile {
        let key = (app, place);
        let first = FIRST_ACCOUNTS[app % FIRST_ACCOUNTS.len()].get(place);
        let (role, courier) = match first {
            Some((role, delivery_id)) => (*role, courier::lookup(delivery_id)),
            None => {
                let role = match self.random(("role", key), 15) {
                    0..8 => Role::Plenty,
                    8 => Role::Short,
                    9 => Role::NearlyOut,
                    10 | 11 => Role::Monthly,
                    12 => Role::Waiting,
                    13 => Role::Failed,
                    _ => Role::Unbound,
                };
                let network = match role {
                    Role::Monthly => Network::Direct,
                    _ => Network::Franchise,
                };
                let couriers = || courier::ALL.iter().filter(|it| it.network == network);
                let chosen = self.random(("courier", key), couriers().count() as i64);
                (role, couriers().nth(chosen as usize))
            }
        };
        let courier = courier
            .expect("the table of couriers has every id of FIRST_ACCOUNTS and both networks");
        Profile {
            role,
            courier,
            biz_id: self.biz_id(app, place, courier.delivery_id),
            key,
        }
    }

    /// Returns an account number that is unique within the app. As in reality, some couriers' contain Chinese text.
    fn biz_id(&self, app: usize, place: usize, delivery_id: &str) -> String {
        // The factor has no divisor in common with the modulus, so no two positions share a number.
        let first = self.random(("number", app), NUMBERS);
        let number = (first + place as i64 * 7_368_787) % NUMBERS;
        match delivery_id {
            "STO" | "ANE" => {
                let outlet = OUTLETS[number as usize % OUTLETS.len()];
                format!("{outlet}_{}{place}", self.shop(app))
            }
            "YTO" => format!("K{number:09}"),
            "JDL" => format!("020K{number:08}"),
            "SF" => format!("028{number:08}"),
            _ => format!("1{number:08}"),
        }
    }

    /// Returns when WeChat last asked the courier for the balance: every ten minutes of the shops' time, but only on whole
    /// minutes of the real clock.
    fn refreshed(&self, profile: &Profile, now: i64) -> i64 {
        if profile.role == Role::Stale {
            return (now / DAY - 2) * DAY;
        }
        let period = (10 / self.speed).max(1) * 60;
        now - now % period
    }

    /// Returns how many waybills are left, or `None` for accounts that have none to use up.
    ///
    /// Waybills last equally long in the viewer's time at any speed. A fast shop therefore has many more of them;
    /// otherwise it would be in trouble on every dashboard.
    fn balance(&self, profile: &Profile, now: i64) -> Option<i64> {
        let viewer_day = DAY * self.speed;
        // Short enough for a viewer to see a top-up within ten minutes at the default speed.
        let often = if self.speed > 1 { 10 * 3600 } else { DAY };
        let slow = 20 + self.random(("slow", profile.key), 80);
        let fast = 300 + self.random(("fast", profile.key), 400);
        let days = 5 + self.random(("days", profile.key), 5);
        // Waybills used per day, seconds between two purchases, seconds that the rest lasts at the next purchase.
        let (per_day, round, rest) = match profile.role {
            Role::Plenty | Role::Stale => (slow, viewer_day, days * viewer_day),
            Role::Short => (slow, viewer_day * 4 / 5, viewer_day * 7 / 5),
            Role::NearlyOut => (slow, viewer_day / 2, viewer_day / 4),
            Role::JustInTime => (fast, often, 3600),
            // Runs out when a fifth of the round is left.
            Role::TooLate => (fast, often, -often / 5),
            Role::Empty => return Some(0),
            Role::Monthly | Role::Waiting | Role::Failed | Role::Unbound => return None,
        };
        let offset = self.random(("offset", profile.key), round);
        let to_purchase = round - (now * self.speed + offset) % round;
        Some(per_day * (to_purchase + rest).max(0) / DAY)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const WORLD: World = World { seed: 1, speed: 60 };
    /// 2026-11-29.
    const NOW: i64 = 1_795_910_400;

    #[test]
    fn first_app_shows_every_status_and_network() {
        let rows: Vec<_> = (0..10).map(|place| WORLD.row(0, place, NOW)).collect();
        let statuses: HashSet<_> = rows.iter().map(|row| row.status_code).collect();
        assert_eq!(statuses, (0..4).map(Some).collect());
        let without_balance = rows.iter().find(|row| &*row.delivery_id == "SF");
        assert_eq!(without_balance.unwrap().quota_num, None);
        assert!(rows.iter().all(|row| row.create_time < row.update_time));
    }

    #[test]
    fn account_numbers_are_unique() {
        let ids: HashSet<_> = (0..10_000)
            .map(|place| WORLD.profile(0, place))
            .map(|profile| (profile.courier.delivery_id, profile.biz_id))
            .collect();
        assert_eq!(ids.len(), 10_000);
    }

    #[test]
    fn balances_fall_and_are_topped_up_and_some_run_out() {
        for world in [WORLD, World { speed: 1, ..WORLD }] {
            let round = if world.speed > 1 { 12 } else { 26 * 60 };
            let balances = |place| {
                let minutes = (0..round).map(move |minute| NOW + minute * 60);
                let rows = minutes.map(move |now| world.row(0, place, now));
                rows.map(|row| row.quota_num.unwrap()).collect::<Vec<_>>()
            };
            let (too_late, just_in_time) = (balances(1), balances(2));
            assert!(just_in_time.windows(2).any(|pair| pair[1] < pair[0]));
            assert!(just_in_time.windows(2).any(|pair| pair[1] > pair[0]));
            assert!(just_in_time.iter().all(|balance| *balance > 0.0));
            assert!(too_late.contains(&0.0) && too_late.iter().any(|balance| *balance > 0.0));
        }
    }

    #[test]
    fn balances_are_refreshed_at_whole_minutes_but_for_one_account() {
        let refreshed = |place, now| WORLD.row(0, place, now).quota_update_time.unwrap();
        assert_eq!(refreshed(0, NOW + 59), NOW);
        assert_eq!(refreshed(0, NOW + 60), NOW + 60);
        assert!(refreshed(9, NOW) <= NOW - 2 * DAY);
    }
}
