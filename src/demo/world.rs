//! The simulated shops, their courier accounts, and how these stand at a time.
//!
//! All of it follows from the seed and the time, so that 100,000 accounts cost nothing until they are listed, and a
//! restart changes nothing.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Serialize;

use crate::wechat::courier::{self, Courier, Network};

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

/// How an account fares.
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
    /// Topped up every few hours, some time after the last one was used.
    TooLate,
    /// Used up, and not topped up.
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

/// The first accounts of the first app, of the second, of the third, and so on in turn. The first app shows every
/// state; most accounts of the others are well, so that trouble stands out.
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

/// The accounts after them, each as often as it stands here.
const FURTHER_ACCOUNTS: [Role; 15] = [
    Role::Plenty,
    Role::Plenty,
    Role::Plenty,
    Role::Plenty,
    Role::Plenty,
    Role::Plenty,
    Role::Plenty,
    Role::Plenty,
    Role::Short,
    Role::NearlyOut,
    Role::Monthly,
    Role::Monthly,
    Role::Waiting,
    Role::Failed,
    Role::Unbound,
];

/// The start of some couriers' account numbers.
const OUTLETS: [&str; 4] = [
    "浙江义乌公司",
    "四川成都武侯公司",
    "福建晋江公司",
    "广东广州白云公司",
];

const WRONG_PASSWORD: &str = "客户编码或密码错误，请联系网点核实";

/// In the form that the API's document asks for; the number and the place are nobody's.
const REMARK: &str =
    "电话:13800000000 联系人:示例 服务类型:标准快递 发货地址:示例省示例市示例路1号";

/// 2024-01-01 in China. All accounts were bound in the year after.
const FIRST_DAY: i64 = 1_704_038_400;

const DAY: i64 = 24 * 3600;

/// How many account numbers there are.
const NUMBERS: i64 = 100_000_000;

/// Share of a day's waybills that is used before each full hour: few at night, most before the couriers call.
/// Unit: percent.
const USED_BEFORE_HOUR: [f64; 25] = [
    0.0, 0.6, 0.8, 0.9, 1.0, 1.1, 1.4, 2.0, 4.5, 11.0, 20.0, 30.0, 38.0, 42.0, 49.0, 57.5, 66.5,
    76.0, 83.0, 87.0, 90.5, 94.0, 96.8, 98.8, 100.0,
];

/// The world of one seed.
#[derive(Clone, Copy, Debug)]
pub(super) struct World {
    pub(super) seed: u64,
    /// Seconds that pass in the shops per second, at least 1.
    pub(super) speed: i64,
}

/// One entry of `list`, as `logistics.getAllAccount` sends it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Row {
    pub(super) biz_id: String,
    pub(super) delivery_id: &'static str,
    create_time: i64,
    pub(super) update_time: i64,
    pub(super) status_code: i64,
    alias: String,
    remark_wrong_msg: &'static str,
    remark_content: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    quota_num: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) quota_update_time: Option<i64>,
    service_type: Vec<Service>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Service {
    service_type: i64,
    service_name: &'static str,
}

/// What doesn't change about an account.
struct Account {
    role: Role,
    courier: &'static Courier,
    biz_id: String,
    /// Its key for further random numbers.
    key: (usize, usize),
}

impl World {
    /// The same for every seed, so that faults can be written for it.
    pub(super) fn appid(app: usize) -> String {
        format!("wx{:016}", app + 1)
    }

    /// The number of the app, which may be beyond those that there are.
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

    /// A number from 0 to `end - 1` that looks random and is always the same for the same seed and key.
    pub(super) fn random(&self, key: impl Hash, end: i64) -> i64 {
        let mut hasher = DefaultHasher::new();
        (self.seed, key).hash(&mut hasher);
        (hasher.finish() % end.unsigned_abs()) as i64
    }

    /// The account at that place of the app's list. `now`: seconds since 1970.
    pub(super) fn row(&self, app: usize, place: usize, now: i64) -> Row {
        let account = self.account(app, place);
        let refreshed = self.refreshed(&account, now);
        let days_ago = |days: i64| (now / DAY - days) * DAY;
        let bound = FIRST_DAY + self.random(("bound", account.key), 360 * DAY);
        let (status_code, update_time) = match account.role {
            Role::Waiting => (1, days_ago(4)),
            Role::Failed => (2, days_ago(8)),
            Role::Unbound => (3, days_ago(30)),
            _ => (0, bound + 2 * DAY),
        };
        let quota = match account.role {
            // WeChat's document doesn't say what comes here: some rows hold zeros, some nothing at all.
            Role::Monthly if account.courier.delivery_id == "JDL" => Some((0, 0)),
            Role::Unbound => Some((12, update_time)),
            _ => self
                .balance(&account, refreshed)
                .map(|balance| (balance, refreshed)),
        };
        let services = account.courier.services.iter();
        Row {
            alias: account.biz_id.clone(),
            biz_id: account.biz_id,
            delivery_id: account.courier.delivery_id,
            create_time: bound,
            update_time,
            status_code,
            remark_wrong_msg: match account.role {
                Role::Failed => WRONG_PASSWORD,
                _ => "",
            },
            remark_content: match account.role {
                Role::Waiting | Role::Failed => REMARK,
                _ => "",
            },
            quota_num: quota.map(|(balance, _)| balance),
            quota_update_time: quota.map(|(_, refreshed)| refreshed),
            service_type: services
                .map(|&(service_type, service_name)| Service {
                    service_type,
                    service_name,
                })
                .collect(),
        }
    }

    /// The balance that `quota/get` tells.
    ///
    /// # Errors
    /// WeChat's errcode.
    pub(super) fn live_balance(
        &self,
        app: usize,
        accounts: usize,
        delivery_id: &str,
        biz_id: &str,
        now: i64,
    ) -> Result<i64, i64> {
        let account = (0..accounts)
            .map(|place| self.account(app, place))
            .find(|account| account.biz_id == biz_id && account.courier.delivery_id == delivery_id)
            .ok_or(9_300_530)?;
        match account.role {
            Role::Waiting | Role::Failed | Role::Unbound => Err(9_300_525),
            _ => self.balance(&account, now).ok_or(9_300_501),
        }
    }

    fn account(&self, app: usize, place: usize) -> Account {
        let key = (app, place);
        let first = FIRST_ACCOUNTS[app % FIRST_ACCOUNTS.len()].get(place);
        let (role, courier) = match first {
            Some((role, delivery_id)) => (*role, courier::lookup(delivery_id)),
            None => {
                let role = self.random(("role", key), FURTHER_ACCOUNTS.len() as i64);
                let role = FURTHER_ACCOUNTS[role as usize];
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
        Account {
            role,
            courier,
            biz_id: self.biz_id(app, place, courier.delivery_id),
            key,
        }
    }

    /// Unique within the app; Chinese text at some couriers, as in reality.
    fn biz_id(&self, app: usize, place: usize, delivery_id: &str) -> String {
        // The factor has no divisor in common with the modulus, so no two places share a number.
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

    /// When WeChat last asked the courier for the balance: a whole minute, every ten minutes of the shops.
    fn refreshed(&self, account: &Account, now: i64) -> i64 {
        if account.role == Role::Stale {
            return (now / DAY - 2) * DAY;
        }
        let period = (10 / self.speed).max(1) * 60;
        now - now % period
    }

    /// Waybills left; `None` for accounts that have none to use up.
    ///
    /// How long waybills last is in the viewer's time, whatever the speed: a fast shop has many more of them, or it
    /// would be in trouble on every dashboard.
    fn balance(&self, account: &Account, now: i64) -> Option<i64> {
        let viewer_day = DAY * self.speed;
        // Short enough for a viewer to see an account being topped up within ten minutes at the default speed.
        let often = if self.speed > 1 { 10 * 3600 } else { DAY };
        let slow = 20 + self.random(("slow", account.key), 80);
        let fast = 300 + self.random(("fast", account.key), 400);
        let days = 5 + self.random(("days", account.key), 5);
        // Waybills a day, seconds between two purchases, seconds for which the rest lasts at the next purchase.
        let (per_day, round, rest) = match account.role {
            Role::Plenty | Role::Stale => (slow, viewer_day, days * viewer_day),
            Role::Short => (slow, viewer_day * 4 / 5, viewer_day * 7 / 5),
            Role::NearlyOut => (slow, viewer_day / 2, viewer_day / 4),
            Role::JustInTime => (fast, often, 3600),
            // Used up when a fifth of the round is left.
            Role::TooLate => (fast, often, -often / 5),
            Role::Empty => return Some(0),
            Role::Monthly | Role::Waiting | Role::Failed | Role::Unbound => return None,
        };
        // In the shops' time, China's calendar.
        let now = now * self.speed + 8 * 3600;
        let offset = self.random(("offset", account.key), round);
        let next_purchase = now + round - (now + offset) % round;
        let days =
            self.working_days(next_purchase) - self.working_days(now) + rest as f64 / DAY as f64;
        Some((per_day as f64 * days).max(0.0) as i64)
    }

    /// Days' worth of waybills used since 1970. Faster shops sleep less, so that there is always something to see.
    fn working_days(&self, time: i64) -> f64 {
        let even = time as f64 / DAY as f64;
        let hours = even.fract() * 24.0;
        let hour = hours as usize;
        let (before, after) = (USED_BEFORE_HOUR[hour], USED_BEFORE_HOUR[hour + 1]);
        let uneven = even.floor() + (before + (after - before) * hours.fract()) / 100.0;
        if self.speed == 1 {
            uneven
        } else {
            0.25 * uneven + 0.75 * even
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const WORLD: World = World { seed: 1, speed: 60 };
    /// 2026-11-29.
    const NOW: i64 = 1_795_910_400;

    fn row(world: World, place: usize, now: i64) -> Row {
        world.row(0, place, now)
    }

    #[test]
    fn first_app_shows_every_status_and_network() {
        let rows: Vec<_> = (0..10).map(|place| row(WORLD, place, NOW)).collect();
        let statuses: HashSet<_> = rows.iter().map(|row| row.status_code).collect();
        assert_eq!(statuses, (0..4).collect());
        let without_balance = rows.iter().find(|row| row.delivery_id == "SF");
        assert_eq!(without_balance.unwrap().quota_num, None);
        assert!(rows.iter().all(|row| row.create_time < row.update_time));
    }

    #[test]
    fn account_numbers_are_unique() {
        let ids: HashSet<_> = (0..10_000)
            .map(|place| WORLD.account(0, place))
            .map(|account| (account.courier.delivery_id, account.biz_id))
            .collect();
        assert_eq!(ids.len(), 10_000);
    }

    #[test]
    fn balances_fall_and_are_topped_up_and_some_run_out() {
        for world in [WORLD, World { speed: 1, ..WORLD }] {
            let round = if world.speed > 1 { 12 } else { 26 * 60 };
            let balances = |place| {
                let minutes = (0..round).map(move |minute| NOW + minute * 60);
                let rows = minutes.map(move |now| row(world, place, now));
                rows.map(|row| row.quota_num.unwrap()).collect::<Vec<_>>()
            };
            let (too_late, just_in_time) = (balances(1), balances(2));
            assert!(just_in_time.windows(2).any(|pair| pair[1] < pair[0]));
            assert!(just_in_time.windows(2).any(|pair| pair[1] > pair[0]));
            assert!(just_in_time.iter().all(|balance| *balance > 0));
            assert!(too_late.contains(&0) && too_late.iter().any(|balance| *balance > 0));
        }
    }

    #[test]
    fn balances_are_refreshed_at_whole_minutes_but_for_one_account() {
        let refreshed = |place, now| row(WORLD, place, now).quota_update_time.unwrap();
        assert_eq!(refreshed(0, NOW + 59), NOW);
        assert_eq!(refreshed(0, NOW + 60), NOW + 60);
        assert!(refreshed(9, NOW) <= NOW - 2 * DAY);
    }
}
