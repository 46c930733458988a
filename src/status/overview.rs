//! What the page shows, taken from the apps without a call to WeChat, and put in order.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::app::App;
use crate::clock::Moment;
use crate::config::Couriers;
use crate::snapshot::Snapshot;
use crate::store::{Failure, LastFetch};
use crate::wechat::courier::Network;
use crate::wechat::{Account, CredentialKind, Explanation, Reason};

use super::state::{AccountState, AppHealth, Severity};

/// Apps in the table of apps.
const APPS: usize = 200;
/// Apps with their details and accounts, where there are more apps than one.
const SECTIONS: usize = 50;

/// Which accounts the page is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    AllApps,
    OneApp,
}

impl Scope {
    /// How many accounts are shown. With [`MAX_CHARS`](super::templates::MAX_CHARS) this keeps a page within 1 MB.
    fn rows(self) -> usize {
        match self {
            Self::AllApps => 300,
            Self::OneApp => 1_000,
        }
    }
}

/// Everything that is shown of one app.
#[derive(Clone, Debug, Default)]
pub(crate) struct AppFacts {
    pub(crate) appid: String,
    pub(crate) name: String,
    /// Where its token comes from.
    pub(crate) credential: CredentialKind,
    /// Where calls go now.
    pub(crate) host: String,
    /// The last good one, however old.
    pub(crate) snapshot: Option<Arc<Snapshot>>,
    pub(crate) snapshot_age: Option<Duration>,
    pub(crate) last_fetch: Option<LastFetch>,
    /// Fetches in a row whose access token was rejected at first.
    pub(crate) token_rejections: u32,
    /// Why no call is made, and until when.
    pub(crate) breaker: Option<(Reason, SystemTime)>,
    pub(crate) calls_used: u64,
    /// `None`: there is no limit.
    pub(crate) calls_left: Option<u64>,
    /// Of each account of the snapshot, in its order. Unit: days.
    pub(crate) days_left: Vec<Option<f64>>,
    /// Whether the operator asks for `remark_wrong_msg` now; a snapshot from before a reload may hold it all the same.
    pub(crate) shows_remarks: bool,
    /// What the operator says of couriers.
    pub(crate) couriers: Arc<Couriers>,
}

impl AppFacts {
    pub(crate) fn of(app: &App, now: Moment) -> Self {
        let snapshot = app.snapshot(Duration::MAX, now);
        let accounts = snapshot.iter().flat_map(|snapshot| snapshot.accounts());
        Self {
            appid: app.config.appid.clone(),
            name: app.config.name.clone(),
            credential: app.config.credential.kind(),
            host: app.api_host().to_owned(),
            snapshot_age: snapshot.as_ref().map(|snapshot| snapshot.age(now)),
            last_fetch: app.last_fetch(),
            token_rejections: app.limiter().rejections_in_a_row(),
            breaker: app.limiter().open_breaker(now),
            calls_used: app.limiter().used(now),
            calls_left: app.daily_calls_remaining(now),
            days_left: accounts
                .map(|account| app.days_left(account, now))
                .collect(),
            shows_remarks: app.config.remark_wrong_msg,
            couriers: Arc::clone(&app.config.couriers),
            snapshot,
        }
    }

    /// The last fetch where it failed, and why; `None` where it succeeded or there was none.
    pub(crate) fn failed(&self) -> Option<(&LastFetch, &Failure)> {
        let last = self.last_fetch.as_ref()?;
        Some((last, last.failure.as_ref()?))
    }

    /// What that means and how to fix it.
    pub(crate) fn explanation(&self) -> Option<Explanation> {
        let (_, failure) = self.failed()?;
        Some(failure.cause.explanation(self.credential))
    }
}

/// The couriers' names that WeChat gave.
pub(crate) type Names = HashMap<Box<str>, Box<str>>;

/// The page's content in its order.
#[derive(Debug)]
pub(crate) struct Overview<'a> {
    pub(crate) scope: Scope,
    /// All of them, worst first.
    pub(crate) apps: Vec<AppRows<'a>>,
    pub(crate) apps_by_health: BTreeMap<AppHealth, usize>,
    pub(crate) accounts_by_state: BTreeMap<AccountState, usize>,
    pub(crate) max_stale: Duration,
    pub(crate) now: Moment,
}

/// One app with its accounts.
#[derive(Debug)]
pub(crate) struct AppRows<'a> {
    pub(crate) facts: &'a AppFacts,
    pub(crate) health: AppHealth,
    /// All of them, worst first.
    rows: Vec<Row<'a>>,
    /// How many of them are shown.
    shown: usize,
}

/// One account.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row<'a> {
    pub(crate) account: &'a Account,
    /// The courier's name; its id where no name is known.
    pub(crate) courier: &'a str,
    pub(crate) network: Network,
    pub(crate) days_left: Option<f64>,
    pub(crate) state: AccountState,
}

impl<'a> Overview<'a> {
    pub(crate) fn new(
        facts: &'a [AppFacts],
        scope: Scope,
        names: &'a Names,
        max_stale: Duration,
        now: Moment,
    ) -> Self {
        let rows_max = scope.rows() / facts.len().clamp(1, SECTIONS);
        let mut apps: Vec<_> = facts
            .iter()
            .map(|facts| AppRows::new(facts, names, max_stale, rows_max, now))
            .collect();
        // Stable: apps in the same state stay in the configuration's order. Of two in trouble the one that can't be
        // fetched comes first: nobody knows how its accounts are.
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
            scope,
            apps,
            apps_by_health,
            accounts_by_state,
            max_stale,
            now,
        }
    }

    /// The apps that have a line in the table of apps.
    pub(crate) fn listed_apps(&self) -> &[AppRows<'a>] {
        &self.apps[..self.apps.len().min(APPS)]
    }

    /// The apps that are shown with their accounts.
    pub(crate) fn sections(&self) -> &[AppRows<'a>] {
        &self.apps[..self.apps.len().min(SECTIONS)]
    }

    /// The worst of all.
    pub(crate) fn severity(&self) -> Severity {
        let severities = self.apps.iter().map(AppRows::severity);
        severities.min().unwrap_or(Severity::Ok)
    }

    /// Whether no app was fetched or failed yet.
    pub(crate) fn is_unfetched(&self) -> bool {
        self.apps_by_health.keys().eq([&AppHealth::NeverFetched])
    }
}

impl<'a> AppRows<'a> {
    fn new(
        facts: &'a AppFacts,
        names: &'a Names,
        max_stale: Duration,
        rows_max: usize,
        now: Moment,
    ) -> Self {
        let snapshot = facts.snapshot.iter();
        let accounts = snapshot.flat_map(|snapshot| snapshot.accounts());
        let mut rows: Vec<_> = accounts
            .zip(&facts.days_left)
            .map(|(account, days_left)| Row::new(facts, account, *days_left, names, now))
            .collect();
        rows.sort_by(Row::worst_first);
        Self {
            facts,
            health: AppHealth::of(facts, max_stale),
            shown: rows.len().min(rows_max),
            rows,
        }
    }

    /// The worst accounts, as many as there is room for.
    pub(crate) fn shown_rows(&self) -> &[Row<'a>] {
        &self.rows[..self.shown]
    }

    /// Accounts of the snapshot, shown or not.
    pub(crate) fn accounts(&self) -> usize {
        self.rows.len()
    }

    /// Accounts that somebody should look at.
    pub(crate) fn rows_in_trouble(&self) -> usize {
        self.rows
            .partition_point(|row| row.state.severity() <= Severity::Warning)
    }

    pub(crate) fn worst_account(&self) -> Severity {
        let worst = self.rows.first();
        worst.map_or(Severity::Ok, |row| row.state.severity())
    }

    /// The worst of the app and its accounts.
    pub(crate) fn severity(&self) -> Severity {
        self.health.severity().min(self.worst_account())
    }
}

impl<'a> Row<'a> {
    fn new(
        facts: &'a AppFacts,
        account: &'a Account,
        days_left: Option<f64>,
        names: &'a Names,
        now: Moment,
    ) -> Self {
        let couriers = &facts.couriers;
        let network = couriers.network(&account.delivery_id, None);
        let listed = names.get(&account.delivery_id).map(AsRef::as_ref);
        Self {
            account,
            courier: couriers.name(&account.delivery_id, listed),
            network,
            days_left,
            state: AccountState::of(account, network, days_left, now.wall),
        }
    }

    fn worst_first(&self, other: &Self) -> Ordering {
        // What is not known comes last.
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

    fn overview<'a>(facts: &'a [AppFacts], names: &'a Names) -> Overview<'a> {
        Overview::new(facts, Scope::AllApps, names, Duration::MAX, fixtures::now())
    }

    #[test]
    fn worst_apps_and_accounts_come_first() {
        let mut failing = fixtures::app("wx3", "failing", Vec::new());
        failing.last_fetch = Some(fixtures::failed(Reason::Network));
        let facts = [
            fixtures::app("wx1", "healthy", Vec::new()),
            fixtures::app("wx2", "shop", fixtures::accounts(200)),
            failing,
        ];
        let names = Names::new();
        let overview = overview(&facts, &names);
        let order: Vec<_> = overview.apps.iter().map(|app| &*app.facts.appid).collect();
        assert_eq!(order, ["wx3", "wx2", "wx1"]);
        let states: Vec<_> = overview.apps[1]
            .shown_rows()
            .iter()
            .map(|r| r.state)
            .collect();
        assert_eq!(states.len(), 100, "a third of 300 rows");
        assert!(states.is_sorted());
        // Each state comes with those of its severity, so that trouble is never below what is fine.
        assert!(states.is_sorted_by_key(|state| state.severity()));
        assert_eq!(overview.severity(), Severity::Critical);
    }

    #[test]
    fn of_very_many_apps_the_worst_are_shown_and_all_are_counted() {
        let mut facts: Vec<_> = (0..1_000)
            .map(|app| fixtures::app(&format!("wx{app}"), "shop", fixtures::accounts(1)))
            .collect();
        facts[999].last_fetch = Some(fixtures::failed(Reason::Config));
        let names = Names::new();
        let overview = overview(&facts, &names);
        assert_eq!(overview.sections().len(), 50);
        assert_eq!(overview.sections()[0].facts.appid, "wx999");
        assert_eq!(overview.apps_by_health[&AppHealth::Failing], 1);
        assert_eq!(overview.apps_by_health[&AppHealth::Up], 999);
    }

    #[test]
    fn name_that_wechat_gave_goes_before_the_built_in_one() {
        let facts = [fixtures::app("wx1", "shop", fixtures::accounts(1))];
        let account = &facts[0].snapshot.as_ref().unwrap().accounts()[0];
        let names = Names::from([(account.delivery_id.clone(), "新名字".into())]);
        let overview = overview(&facts, &names);
        assert_eq!(overview.apps[0].shown_rows()[0].courier, "新名字");
    }
}
