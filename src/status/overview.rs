//! The content of the page, collected from the apps without calling WeChat, and sorted.

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::app::{App, Deliveries};
use crate::clock::Moment;
use crate::collector::Collector;
use crate::config::Couriers;
use crate::snapshot::Snapshot;
use crate::store::LastFetch;
use crate::wechat::courier::Network;
use crate::wechat::{Account, CredentialKind, Error};

use super::state::{AccountState, AppHealth, Severity};

/// The number of apps in the table of apps.
pub(super) const APPS: usize = 200;
/// The number of apps shown with their details and accounts, if there is more than one app.
const SECTIONS: usize = 50;

/// Accounts on a page of all apps. With [`MAX_CHARS`](super::templates::MAX_CHARS) this keeps a page within 1 MB.
const ROWS: usize = 300;
/// The number of accounts on a page of one app.
const ROWS_OF_ONE_APP: usize = 1_000;

/// Everything that the page shows of one app.
#[derive(Clone, Debug, Default)]
pub(crate) struct AppFacts {
    pub(crate) appid: String,
    pub(crate) name: String,
    /// The kind of its token source.
    pub(crate) credential: CredentialKind,
    /// The host that calls go to now.
    pub(crate) host: String,
    /// The last good snapshot, however old.
    pub(crate) snapshot: Option<Arc<Snapshot>>,
    pub(crate) snapshot_age: Option<Duration>,
    /// Whether the snapshot is too old to be exported.
    pub(crate) is_expired: bool,
    pub(crate) last_fetch: Option<LastFetch>,
    /// The number of consecutive fetches whose access token was rejected at first.
    pub(crate) token_rejections: u32,
    /// The time from which a scrape may fetch; `None` if the next one may.
    pub(crate) held_until: Option<SystemTime>,
    pub(crate) calls_used: u64,
    /// `None` if there is no limit.
    pub(crate) calls_left: Option<u64>,
    /// How long the balance of each account lasts, in the order of the snapshot. Unit: days.
    pub(crate) days_left: Vec<Option<f64>>,
    /// Whether the operator wants `remark_wrong_msg` now; a snapshot from before a reload may contain it regardless.
    pub(crate) shows_remarks: bool,
    /// The operator's settings of couriers.
    pub(crate) couriers: Arc<Couriers>,
    /// The couriers that WeChat listed.
    pub(crate) deliveries: Arc<Deliveries>,
}

impl AppFacts {
    pub(crate) fn of(app: &App, collector: &Collector, now: Moment) -> Self {
        let (snapshot, _) = app.last_reading(Duration::MAX, now);
        let snapshot_age = snapshot.as_ref().map(|snapshot| snapshot.age(now));
        let max_stale = collector.apps().scrape.max_stale;
        let shortest = app.config.days_left_after;
        let days_left = snapshot
            .iter()
            .flat_map(|snapshot| snapshot.days_left(shortest, now));
        Self {
            appid: app.config.appid.clone(),
            name: app.config.name.clone(),
            credential: app.config.credential.kind(),
            host: app.api_host().to_owned(),
            snapshot_age,
            is_expired: snapshot_age > Some(max_stale),
            last_fetch: app.last_fetch(),
            token_rejections: app.state.limiter.rejections_in_a_row(),
            held_until: app.state.limiter.held_until(app.now()),
            calls_used: app.state.limiter.used(app.now()),
            calls_left: app.daily_calls_remaining(),
            days_left: days_left.collect(),
            shows_remarks: app.config.remark_wrong_msg,
            couriers: Arc::clone(&app.config.couriers),
            deliveries: collector.shared.couriers.deliveries.load_full(),
            snapshot,
        }
    }

    /// Returns the last fetch and why it failed, or `None` if it succeeded or there was none.
    pub(crate) fn failed(&self) -> Option<(&LastFetch, &Error)> {
        let last = self.last_fetch.as_ref()?;
        Some((last, last.failure.as_ref()?))
    }
}

/// The content of the page, sorted.
pub(crate) struct Overview<'a> {
    /// The only app on the page; `None` on the page of all apps.
    pub(crate) appid: Option<&'a str>,
    /// All apps, worst first.
    pub(crate) apps: Vec<AppRows<'a>>,
    pub(crate) apps_by_health: BTreeMap<AppHealth, usize>,
    pub(crate) accounts_by_state: BTreeMap<AccountState, usize>,
    pub(crate) now: SystemTime,
}

/// One app with its accounts.
pub(crate) struct AppRows<'a> {
    pub(crate) facts: &'a AppFacts,
    pub(crate) health: AppHealth,
    /// All accounts, worst first.
    pub(crate) rows: Vec<Row<'a>>,
    /// How many of the accounts there is room for.
    pub(crate) shown: usize,
}

/// One account.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row<'a> {
    pub(crate) account: &'a Account,
    /// The courier's name, or its id if no name is known.
    pub(crate) courier: &'a str,
    pub(crate) network: Network,
    pub(crate) days_left: Option<f64>,
    pub(crate) state: AccountState,
}

impl<'a> Overview<'a> {
    pub(crate) fn new(facts: &'a [AppFacts], appid: Option<&'a str>, now: SystemTime) -> Self {
        let rows = appid.map_or(ROWS, |_| ROWS_OF_ONE_APP);
        let rows = rows / facts.len().clamp(1, SECTIONS);
        let apps = facts.iter().map(|facts| AppRows::new(facts, rows, now));
        let mut apps: Vec<_> = apps.collect();
        // The sort is stable: apps in the same state keep the order of the configuration. Of two apps in trouble, the
        // one that can't be fetched comes first, because the state of its accounts is unknown.
        apps.sort_by_key(|app| {
            let troubled = Reverse(app.rows_in_trouble());
            (app.severity(), app.health, app.worst_account(), troubled)
        });
        let mut apps_by_health = BTreeMap::new();
        let mut accounts_by_state = BTreeMap::new();
        for app in &apps {
            *apps_by_health.entry(app.health).or_default() += 1;
            for row in &app.rows {
                *accounts_by_state.entry(row.state).or_default() += 1;
            }
        }
        Self {
            appid,
            apps,
            apps_by_health,
            accounts_by_state,
            now,
        }
    }

    /// Returns the apps that are shown with their accounts.
    pub(crate) fn sections(&self) -> &[AppRows<'a>] {
        &self.apps[..self.apps.len().min(SECTIONS)]
    }

    /// Returns the worst severity of all apps.
    pub(crate) fn severity(&self) -> Severity {
        let severities = self.apps.iter().map(AppRows::severity);
        severities.min().unwrap_or(Severity::Ok)
    }
}

impl<'a> AppRows<'a> {
    fn new(facts: &'a AppFacts, rows_max: usize, now: SystemTime) -> Self {
        let couriers = &facts.couriers;
        let snapshot = facts.snapshot.iter();
        let accounts = snapshot.flat_map(|snapshot| &snapshot.accounts);
        let rows = accounts.zip(&facts.days_left).map(|(account, days_left)| {
            let delivery_id = &account.delivery_id;
            let network = couriers.network(delivery_id, None);
            let listed = facts.deliveries.get(delivery_id);
            Row {
                account,
                courier: couriers.name(delivery_id, listed),
                network,
                days_left: *days_left,
                state: AccountState::of(account, network, *days_left, now),
            }
        });
        let mut rows: Vec<_> = rows.collect();
        rows.sort_by(Row::worst_first);
        Self {
            facts,
            health: AppHealth::of(facts),
            shown: rows.len().min(rows_max),
            rows,
        }
    }

    /// Returns the number of accounts that somebody should look at.
    pub(crate) fn rows_in_trouble(&self) -> usize {
        self.rows
            .partition_point(|row| row.state.severity() <= Severity::Warning)
    }

    pub(crate) fn worst_account(&self) -> Severity {
        let worst = self.rows.first();
        worst.map_or(Severity::Ok, |row| row.state.severity())
    }

    /// Returns the worst severity of the app and its accounts.
    pub(crate) fn severity(&self) -> Severity {
        self.health.severity().min(self.worst_account())
    }
}

impl Row<'_> {
    fn worst_first(&self, other: &Self) -> Ordering {
        // Unknown values come last.
        let number = |value: Option<f64>| value.unwrap_or(f64::INFINITY);
        let days = |row: &Self| number(row.days_left);
        let balance = |row: &Self| number(row.account.quota_num);
        self.state
            .cmp(&other.state)
            .then_with(|| days(self).total_cmp(&days(other)))
            .then_with(|| balance(self).total_cmp(&balance(other)))
            .then_with(|| self.account.delivery_id.cmp(&other.account.delivery_id))
            .then_with(|| self.account.biz_id.cmp(&other.account.biz_id))
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures;
    use super::*;

    fn overview(facts: &[AppFacts]) -> Overview<'_> {
        Overview::new(facts, None, fixtures::now().wall)
    }

    #[test]
    fn worst_apps_and_accounts_come_first() {
        let mut failing = fixtures::app("wx3", "failing", Vec::new());
        failing.last_fetch = Some(fixtures::failed(crate::wechat::Reason::Network));
        let facts = [
            fixtures::app("wx1", "healthy", Vec::new()),
            fixtures::app("wx2", "shop", fixtures::accounts(200)),
            failing,
        ];
        let overview = overview(&facts);
        let order: Vec<_> = overview.apps.iter().map(|app| &*app.facts.appid).collect();
        assert_eq!(order, ["wx3", "wx2", "wx1"]);
        let app = &overview.apps[1];
        assert_eq!(app.shown, 100, "a third of 300 rows");
        let states: Vec<_> = app.rows.iter().map(|row| row.state).collect();
        assert!(states.is_sorted());
        // States are ordered by severity, so that no account in trouble is listed below a healthy one.
        assert!(states.is_sorted_by_key(|state| state.severity()));
        assert_eq!(overview.severity(), Severity::Critical);
    }
}
