//! The simulated world: shops, their courier accounts and how these stand at a time.
//!
//! A pure function of the seed and the time. Nothing is stored, so that a world of 100,000 accounts costs nothing
//! until it is listed, and is the same after a restart.

mod account;
mod courier;
mod stock;

use std::time::SystemTime;

pub(super) use account::{Case, Row};

use super::dice::Dice;
use crate::clock::unix_seconds;
use account::Plan;

/// From here on simulated time is faster than the calendar's. 2026-01-01 00:00 in China.
const EPOCH: i64 = 1_767_196_800;

/// Days in the past at which the account stands that WeChat no longer refreshes.
const STALE_DAYS: i64 = 2;

const SHOPS: &[&str] = &[
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

/// The world of one seed.
#[derive(Clone, Copy, Debug)]
pub(super) struct World {
    dice: Dice,
    /// Simulated seconds per second.
    speed: i64,
}

impl World {
    pub(super) fn new(seed: u64, speed: u32) -> Self {
        Self {
            dice: Dice::new(seed),
            speed: i64::from(speed.max(1)),
        }
    }

    /// The Mini Program's appid: 16 digits behind `wx`, the same for every seed, so that faults can be written down.
    pub(super) fn appid(app: usize) -> String {
        format!("wx{:016}", app + 1)
    }

    /// The number of the Mini Program with this appid, if there are so many.
    pub(super) fn app(appid: &str, apps: usize) -> Option<usize> {
        let digits = appid.strip_prefix("wx").filter(|d| d.len() == 16)?;
        let number: usize = digits.parse().ok()?;
        number
            .checked_sub(1)
            .filter(|app| *app < apps && Self::appid(*app) == appid)
    }

    /// The shop's name.
    pub(super) fn shop(&self, app: usize) -> String {
        let first = usize::try_from(self.dice.below(SHOPS.len() as i64)).unwrap_or(0);
        let name = SHOPS[(first + app) % SHOPS.len()];
        match app / SHOPS.len() {
            0 => name.to_owned(),
            round => format!("{name}{}号店", round + 1),
        }
    }

    /// One account as it is listed at that time.
    pub(super) fn row(&self, app: usize, account: usize, wall: SystemTime) -> Row {
        let plan = self.plan(app, account);
        let refreshed = self.refreshed(&plan, wall);
        let balance = plan
            .stock(self.speed)
            .map(|stock| stock.balance(self.simulated(refreshed)));
        plan.row(&self.shop(app), balance, refreshed, unix_seconds(wall))
    }

    /// The balance as the courier knows it at that moment, for getQuota; `Err` holds WeChat's errcode.
    pub(super) fn live_balance(
        &self,
        app: usize,
        accounts: usize,
        delivery_id: &str,
        biz_id: &str,
        wall: SystemTime,
    ) -> Result<i64, i64> {
        let shop = self.shop(app);
        let plan = (0..accounts)
            .map(|account| self.plan(app, account))
            .find(|plan| plan.is(&shop, delivery_id, biz_id))
            // biz_id not found
            .ok_or(9_300_530_i64)?;
        if !plan.bound() {
            // biz id not bind
            return Err(9_300_525);
        }
        plan.stock(self.speed)
            .map(|stock| stock.balance(self.simulated(unix_seconds(wall))))
            // The courier's own system refuses: it keeps no stock of waybills.
            .ok_or(9_300_501)
    }

    /// The couriers, as getAllDelivery lists them.
    pub(super) fn deliveries() -> Vec<serde_json::Value> {
        let couriers = courier::FRANCHISE.iter().chain(courier::DIRECT);
        couriers.map(courier::Courier::delivery).collect()
    }

    /// Simulated seconds since 1970 at that second of the calendar.
    fn simulated(&self, unix_seconds: i64) -> i64 {
        let since = unix_seconds.saturating_sub(EPOCH);
        EPOCH.saturating_add(since.saturating_mul(self.speed).clamp(-1 << 52, 1 << 52))
    }

    /// When WeChat last asked the courier for the balance. Whole minutes, every few simulated ones.
    fn refreshed(&self, plan: &Plan, wall: SystemTime) -> i64 {
        let minute = unix_seconds(wall).div_euclid(60);
        if plan.refresh_stopped() {
            return (minute.div_euclid(24 * 60) - STALE_DAYS) * 24 * 3600;
        }
        let period = (5 + plan.dice.with(11).below(16)) / self.speed;
        let period = period.max(1);
        let offset = plan.dice.with(12).below(period);
        ((minute - offset).div_euclid(period) * period + offset) * 60
    }

    fn plan(&self, app: usize, account: usize) -> Plan {
        Plan::new(self.dice.with(app as u64 + 1), app, account)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// 2026-11-24 10:30 in China.
    const NOON: u64 = 1_795_487_400;

    #[test]
    fn every_status_and_both_networks_are_among_the_first_ten_accounts() {
        let world = World::new(1, 60);
        let rows: Vec<_> = (0..10).map(|n| world.row(0, n, at(NOON))).collect();
        let statuses: HashSet<_> = rows.iter().map(|row| row.status_code).collect();
        assert_eq!(statuses, HashSet::from([0, 1, 2, 3]));
        assert!(rows.iter().any(|row| row.quota.is_none()));
        assert!(rows.iter().any(|row| !row.biz_id.is_ascii()));
        assert!(rows.iter().any(|row| !row.remark_wrong_msg.is_empty()));
    }

    /// What a viewer sees of one account within ten minutes: its balances, minute by minute.
    fn ten_minutes(world: World, app: usize, account: usize, from: u64) -> Vec<i64> {
        (0..=10)
            .filter_map(|minute| world.row(app, account, at(from + 60 * minute)).quota)
            .map(|(balance, _)| balance)
            .collect()
    }

    /// Days that the last balance lasts at the speed of these ten minutes; top-ups don't count.
    fn days_left(balances: &[i64]) -> f64 {
        let used: i64 = balances.windows(2).map(|w| (w[0] - w[1]).max(0)).sum();
        balances[balances.len() - 1] as f64 / (used as f64 * 144.0)
    }

    #[test]
    fn viewer_of_any_ten_minutes_sees_waybills_run_out_and_arrive_and_accounts_that_are_well() {
        for seed in 1..4 {
            let world = World::new(seed, 60);
            for from in (NOON..NOON + 7 * 24 * 3600).step_by(2 * 3600 + 420) {
                let watch = |app, account| ten_minutes(world, app, account, from);
                let (late, last_moment) = (watch(0, 1), watch(0, 2));
                assert!(late.contains(&0), "runs out: {late:?}");
                assert!(last_moment.iter().all(|left| *left > 0), "{last_moment:?}");
                for balances in [&late, &last_moment] {
                    let arrives = balances.windows(2).any(|w| w[1] >= w[0] + 20);
                    assert!(arrives, "topped up: {balances:?}");
                }
                assert_eq!(watch(1, 1), [0; 11], "empty");
                let (today, soon) = (days_left(&watch(1, 2)), days_left(&watch(2, 0)));
                assert!((0.05..1.0).contains(&today), "nearly out: {today}");
                assert!((1.0..3.0).contains(&soon), "short: {soon}");
                for (app, account) in [(0, 0), (1, 0), (1, 5), (2, 1)] {
                    let left = days_left(&watch(app, account));
                    assert!((3.0..20.0).contains(&left), "well: {left}");
                }
            }
        }
    }

    #[test]
    fn review_and_failed_binding_are_days_old_whatever_the_date() {
        let world = World::new(1, 60);
        for day in 0..100 {
            let now = NOON + day * 24 * 3600;
            for (account, days) in [(4, 4..=14), (5, 4..=24), (6, 4..=64)] {
                let age = now as i64 - world.row(0, account, at(now)).update_time;
                assert!(days.contains(&(age / (24 * 3600))), "{account}: {age}");
            }
        }
    }

    #[test]
    fn identities_are_unique_among_a_hundred_thousand_accounts() {
        let world = World::new(3, 60);
        let mut seen = HashSet::new();
        for account in 0..100_000 {
            let row = world.row(0, account, at(NOON));
            assert!(
                seen.insert((row.delivery_id, row.biz_id)),
                "account {account}"
            );
        }
    }

    #[test]
    fn balances_move_within_minutes_at_the_default_speed() {
        let world = World::new(1, 60);
        let balance = |minute: u64| world.row(0, 0, at(NOON + 60 * minute)).quota.unwrap().0;
        let seen: HashSet<_> = (0..10_u64).map(balance).collect();
        assert!(seen.len() > 3, "{seen:?}");
    }

    #[test]
    fn balance_and_its_time_stand_still_between_refreshes() {
        let world = World::new(1, 1);
        let quotas: Vec<_> = (0..3600)
            .map(|s| world.row(0, 0, at(NOON + s)).quota.unwrap())
            .collect();
        let times: HashSet<_> = quotas.iter().map(|quota| quota.1).collect();
        let pairs: HashSet<_> = quotas.iter().collect();
        assert_eq!(times.len(), pairs.len(), "one balance for each refresh");
        assert!((3..=13).contains(&times.len()), "{}", times.len());
        for (second, (_, refreshed)) in quotas.iter().enumerate() {
            assert_eq!(refreshed % 60, 0);
            let age = NOON as i64 + second as i64 - refreshed;
            assert!((0..21 * 60).contains(&age), "{age}");
        }
    }

    #[test]
    fn appids_are_numbers_behind_wx_and_no_other_text_is_one() {
        assert_eq!(World::appid(0), "wx0000000000000001");
        assert_eq!(World::app("wx0000000000000003", 3), Some(2));
        for text in [
            "wx0000000000000004",
            "wx0000000000000000",
            "wx+000000000000001",
            "wx1",
            "",
            "wx000000000000000１",
        ] {
            assert_eq!(World::app(text, 3), None, "{text}");
        }
    }

    #[test]
    fn clock_that_is_wrong_by_decades_does_no_harm() {
        for speed in [1, 60, 86_400] {
            let world = World::new(1, speed);
            for seconds in [0, 1, 4_000_000_000, 253_402_300_799] {
                world.row(0, 0, at(seconds));
            }
        }
    }

    #[test]
    fn live_balance_is_asked_of_bound_franchise_accounts_alone() {
        let world = World::new(1, 60);
        let mut codes = HashSet::new();
        for account in 0..10 {
            let row = world.row(0, account, at(NOON));
            let answer = world.live_balance(0, 10, row.delivery_id, &row.biz_id, at(NOON));
            match (row.status_code, row.quota) {
                (0, Some((balance, 1..))) => assert!(answer.is_ok(), "{balance} {answer:?}"),
                _ => drop(codes.insert(answer.unwrap_err())),
            }
        }
        assert_eq!(codes, HashSet::from([9_300_525, 9_300_501]));
        assert_eq!(
            world.live_balance(0, 10, "YTO", "nobody", at(NOON)),
            Err(9_300_530)
        );
    }
}
