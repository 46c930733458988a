//! What the page shows, taken from the apps without a call to WeChat, and put in order.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::app::App;
use crate::clock::Moment;
use crate::snapshot::Snapshot;
use crate::store::LastFetch;
use crate::wechat::courier::{self, Network};
use crate::wechat::{Account, ApiQuota, Reason};

use super::standing::{AppStanding, Level, Standing};

/// Rows shown of one app. A browser on a telephone still turns over so many.
const ROWS_PER_APP: usize = 5_000;
/// Rows shown in all: some 10 MB of page.
const ROWS: usize = 20_000;

/// Apps that get a section of their own; the others have a line each.
const SECTIONS: usize = 500;

/// Everything that is shown of one app.
#[derive(Clone, Debug, Default)]
pub(super) struct AppFacts {
    pub(super) appid: String,
    pub(super) name: String,
    /// Where calls go now.
    pub(super) host: String,
    /// The last good reading, however old.
    pub(super) snapshot: Option<Arc<Snapshot>>,
    pub(super) reading_age: Option<Duration>,
    pub(super) last_fetch: Option<LastFetch>,
    pub(super) fetching: bool,
    /// Why no call is made, and until when.
    pub(super) breaker: Option<(Reason, SystemTime)>,
    pub(super) calls_used: u64,
    /// `None`: there is no limit.
    pub(super) calls_left: Option<u64>,
    /// WeChat's own figures, where asked for.
    pub(super) api_quota: Option<ApiQuota>,
    /// Of each account of the snapshot, in its order. Unit: days.
    pub(super) days_left: Vec<Option<f64>>,
    /// How long falls of balances have been looked for.
    pub(super) burn_observed_for: Duration,
    /// How long they are before they tell how long a balance lasts.
    pub(super) days_left_after: Duration,
    /// Whether the operator asks for `remark_wrong_msg` now; a reading from before a reload may hold it all the same.
    pub(super) shows_remarks: bool,
}

impl AppFacts {
    pub(super) fn of(app: &App, now: Moment) -> Self {
        let snapshot = app.snapshot(Duration::MAX, now);
        let accounts = snapshot.iter().flat_map(|snapshot| snapshot.accounts());
        Self {
            appid: app.config.appid.clone(),
            name: app.config.name.clone(),
            host: app.api_host().to_owned(),
            reading_age: snapshot.as_ref().map(|snapshot| snapshot.age(now)),
            last_fetch: app.last_fetch(),
            fetching: app.fetch_under_way().is_some(),
            breaker: app.open_breaker(now).zip(app.breaker_until(now)),
            calls_used: app.daily_calls_used(now),
            calls_left: app.daily_calls_remaining(now),
            api_quota: app.api_quota().map(|(_, quota)| quota),
            days_left: accounts
                .map(|account| app.days_left(account, now))
                .collect(),
            burn_observed_for: app.burn_observed_for(now),
            days_left_after: app.config.days_left_after,
            shows_remarks: app.config.remark_wrong_msg,
            snapshot,
        }
    }
}

/// The couriers' names that WeChat gave.
pub(super) type Names = HashMap<Box<str>, Box<str>>;

/// The page's content in its order.
#[derive(Debug)]
pub(super) struct Overview<'a> {
    /// Worst first.
    pub(super) apps: Vec<AppRows<'a>>,
    /// Accounts by how they stand, in the order of [`Standing::ALL`].
    pub(super) counts: [usize; Standing::ALL.len()],
    pub(super) now: Moment,
    pub(super) max_stale: Duration,
}

/// One app with its accounts.
#[derive(Debug)]
pub(super) struct AppRows<'a> {
    pub(super) facts: &'a AppFacts,
    pub(super) standing: AppStanding<'a>,
    /// Worst first, and no more than are shown.
    pub(super) rows: Vec<Row<'a>>,
    /// Accounts of the reading, shown or not.
    pub(super) accounts: usize,
    /// Accounts of each level, in the order of [`Level`].
    pub(super) levels: [usize; 4],
}

/// One account.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<'a> {
    pub(super) account: &'a Account,
    /// The courier's name; its id where no name is known.
    pub(super) courier: &'a str,
    pub(super) network: Network,
    pub(super) days_left: Option<f64>,
    pub(super) standing: Standing,
    /// `remark_wrong_msg`; empty unless the configuration asks for it, as it can hold personal data.
    pub(super) remark: &'a str,
}

impl<'a> Overview<'a> {
    pub(super) fn new(
        facts: &'a [AppFacts],
        names: &'a Names,
        max_stale: Duration,
        now: Moment,
    ) -> Self {
        let mut counts = [0; Standing::ALL.len()];
        let mut apps: Vec<_> = facts
            .iter()
            .map(|facts| AppRows::new(facts, names, max_stale, now, &mut counts))
            .collect();
        // Stable: apps that stand alike stay in the configuration's order. Of two in trouble the one that can't be
        // read comes first: nobody knows how its accounts are.
        apps.sort_by_key(|app| {
            let accounts = app.levels.map(std::cmp::Reverse);
            (app.level(), app.standing.level(), accounts)
        });
        for app in apps.iter_mut().skip(SECTIONS) {
            app.rows.clear();
        }
        let mut left = ROWS;
        for app in &mut apps {
            app.rows.truncate(left);
            left -= app.rows.len();
        }
        Self {
            apps,
            counts,
            now,
            max_stale,
        }
    }

    /// The apps that get a section of their own: the worst, and all where they are not very many.
    pub(super) fn sections(&self) -> &[AppRows<'a>] {
        &self.apps[..self.apps.len().min(SECTIONS)]
    }

    /// Accounts of the readings, shown or not.
    pub(super) fn accounts(&self) -> usize {
        self.counts.iter().sum()
    }

    pub(super) fn accounts_at(&self, level: Level) -> usize {
        let counted = Standing::ALL.iter().zip(self.counts);
        let at_level = counted.filter(|(standing, _)| standing.level() == level);
        at_level.map(|(_, count)| count).sum()
    }

    pub(super) fn apps_at(&self, level: Level) -> usize {
        let at_level = |app: &&AppRows<'_>| app.standing.level() == level;
        self.apps.iter().filter(at_level).count()
    }

    /// The worst of all.
    pub(super) fn level(&self) -> Level {
        let levels = self.apps.iter().map(AppRows::level);
        levels.min().unwrap_or(Level::Fine)
    }
}

impl<'a> AppRows<'a> {
    fn new(
        facts: &'a AppFacts,
        names: &'a Names,
        max_stale: Duration,
        now: Moment,
        counts: &mut [usize; Standing::ALL.len()],
    ) -> Self {
        let accounts = facts
            .snapshot
            .iter()
            .flat_map(|snapshot| snapshot.accounts());
        let days_left = facts
            .days_left
            .iter()
            .copied()
            .chain(std::iter::repeat(None));
        let mut rows: Vec<_> = accounts
            .zip(days_left)
            .map(|(account, days_left)| Row {
                remark: match facts.shows_remarks {
                    true => &account.remark_wrong_msg,
                    false => "",
                },
                ..Row::new(account, days_left, names, now)
            })
            .collect();
        let mut levels = [0; 4];
        for row in &rows {
            counts[row.standing as usize] += 1;
            levels[row.standing.level() as usize] += 1;
        }
        rows.sort_by(Row::worse);
        let accounts = rows.len();
        rows.truncate(ROWS_PER_APP);
        Self {
            standing: AppStanding::of(facts, max_stale),
            facts,
            rows,
            accounts,
            levels,
        }
    }

    /// The worst of the app and its accounts.
    pub(super) fn level(&self) -> Level {
        self.accounts_level().min(self.standing.level())
    }

    /// The worst of its accounts.
    pub(super) fn accounts_level(&self) -> Level {
        [Level::Critical, Level::Warning, Level::Note]
            .into_iter()
            .find(|level| self.levels[*level as usize] > 0)
            .unwrap_or(Level::Fine)
    }
}

impl<'a> Row<'a> {
    fn new(account: &'a Account, days_left: Option<f64>, names: &'a Names, now: Moment) -> Self {
        let known = courier::lookup(&account.delivery_id);
        let network = known.map_or(Network::Unknown, |courier| courier.network);
        let name = names.get(&account.delivery_id).map(AsRef::as_ref);
        Self {
            account,
            courier: name
                .or(known.map(|courier| courier.name))
                .unwrap_or(&account.delivery_id),
            network,
            days_left,
            standing: Standing::of(account, network, days_left, now.wall),
            remark: "",
        }
    }

    fn worse(&self, other: &Self) -> Ordering {
        let (ours, theirs) = (self.account, other.account);
        self.standing
            .cmp(&other.standing)
            .then_with(|| least_first(self.days_left, other.days_left))
            .then_with(|| least_first(ours.quota_num, theirs.quota_num))
            .then_with(|| ours.delivery_id.cmp(&theirs.delivery_id))
            .then_with(|| ours.biz_id.cmp(&theirs.biz_id))
    }
}

/// What is not known comes last.
fn least_first(a: Option<f64>, b: Option<f64>) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        (a, b) => a.is_none().cmp(&b.is_none()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures;
    use super::*;

    #[test]
    fn worst_accounts_come_first_and_ties_are_in_a_fixed_order() {
        let facts = [fixtures::app("wx1", "shop", fixtures::accounts(500))];
        let names = Names::new();
        let overview = Overview::new(&facts, &names, Duration::MAX, fixtures::now());
        let rows = &overview.apps[0].rows;
        assert_eq!(rows.len(), 500);
        assert!(rows.is_sorted_by(|a, b| a.worse(b).is_le()));
        assert!(rows[0].standing.level() == Level::Critical);
        assert_eq!(overview.accounts(), 500);
    }

    #[test]
    fn app_in_trouble_comes_before_those_that_are_well() {
        let well = fixtures::app("wx1", "well", Vec::new());
        let mut failing = fixtures::app("wx2", "failing", Vec::new());
        failing.last_fetch = Some(fixtures::failed(Reason::Network));
        let facts = [well, failing];
        let names = Names::new();
        let overview = Overview::new(&facts, &names, Duration::MAX, fixtures::now());
        let order: Vec<_> = overview.apps.iter().map(|app| &*app.facts.appid).collect();
        assert_eq!(order, ["wx2", "wx1"]);
        assert_eq!(overview.apps_at(Level::Critical), 1);
    }

    #[test]
    fn rows_are_bounded_and_the_worst_of_the_worst_app_stay() {
        let mut accounts = fixtures::accounts(6_000);
        accounts[5_999].quota_num = Some(0.0);
        accounts[5_999].status_code = Some(0);
        accounts[5_999].delivery_id = "YTO".into();
        let facts: Vec<_> = (0..5)
            .map(|app| fixtures::app(&format!("wx{app}"), "shop", accounts.clone()))
            .collect();
        let names = Names::new();
        let overview = Overview::new(&facts, &names, Duration::MAX, fixtures::now());
        let shown: Vec<_> = overview.apps.iter().map(|app| app.rows.len()).collect();
        assert_eq!(shown, [5_000, 5_000, 5_000, 5_000, 0]);
        assert_eq!(overview.accounts(), 30_000);
        assert_eq!(overview.apps[0].rows[0].standing, Standing::Empty);
    }

    #[test]
    fn of_very_many_apps_the_worst_have_a_section() {
        let mut facts: Vec<_> = (0..1_000)
            .map(|app| fixtures::app(&format!("wx{app}"), "shop", fixtures::accounts(1)))
            .collect();
        facts[999].last_fetch = Some(fixtures::failed(Reason::Config));
        let names = Names::new();
        let overview = Overview::new(&facts, &names, Duration::MAX, fixtures::now());
        assert_eq!(overview.sections().len(), 500);
        assert_eq!(overview.sections()[0].facts.appid, "wx999");
        assert_eq!(overview.accounts(), 1_000);
    }

    #[test]
    fn name_that_wechat_gave_goes_before_the_built_in_one() {
        let facts = [fixtures::app("wx1", "shop", fixtures::accounts(1))];
        let mut names = Names::new();
        let id = facts[0].snapshot.as_ref().unwrap().accounts()[0]
            .delivery_id
            .clone();
        names.insert(id, "新名字".into());
        let overview = Overview::new(&facts, &names, Duration::MAX, fixtures::now());
        assert_eq!(overview.apps[0].rows[0].courier, "新名字");
    }
}
