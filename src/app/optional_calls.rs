//! What an app may be asked for beside the account list, each by the operator's leave: the couriers' names once a
//! day, WeChat's own quota figures once an hour, live balances.
//!
//! They are sent after a fetch, in its task: the list's answer never waits for them, their failure is counted and logged
//! and nothing else, and without scrapes they cost nothing. Among replicas whoever fetches sends them, and the state
//! that all share says when they are due.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::clock::{ChinaDay, Moment, unix_millis, unix_seconds};
use crate::error::chain;
use crate::limiter::{Cause, MINUTE_RATE_HOLD};
use crate::snapshot::{Balance, Snapshot};
use crate::wechat::courier::Network;
use crate::wechat::{self, Account, Api, Authorization, Delivery, Reason};

use super::{App, Fetch};

const COURIER_NAMES_INTERVAL: Duration = Duration::from_secs(24 * 3600);
const API_QUOTA_INTERVAL: Duration = Duration::from_secs(3600);
/// After a failure.
const RETRY_INTERVAL: Duration = Duration::from_secs(3600);
/// Live balances that are asked for after one fetch.
const BALANCES_MAX: usize = 10;

/// The couriers that `getAllDelivery` listed. Shared by all apps.
#[derive(Debug, Default)]
pub struct CourierNames {
    names: ArcSwap<HashMap<Box<str>, Box<str>>>,
    /// Where WeChat says whether a balance can be asked for.
    networks: ArcSwap<HashMap<Box<str>, Network>>,
    due: Mutex<Option<Instant>>,
}

impl CourierNames {
    /// The names that WeChat gave, by `delivery_id`. The same pointer as long as nothing has changed.
    pub fn names(&self) -> Arc<HashMap<Box<str>, Box<str>>> {
        self.names.load_full()
    }

    fn learn(&self, deliveries: Vec<Delivery>) {
        let networks = deliveries
            .iter()
            .map(|delivery| (delivery.delivery_id.clone(), delivery.network()))
            .filter(|(_, network)| *network != Network::Unknown);
        self.networks.store(Arc::new(networks.collect()));
        let names: HashMap<_, _> = deliveries
            .into_iter()
            .filter(|delivery| !delivery.delivery_name.is_empty())
            .map(|delivery| (delivery.delivery_id, delivery.delivery_name))
            .collect();
        if **self.names.load() != names {
            self.names.store(Arc::new(names));
        }
    }

    /// Whether the names are due; then they are not for a while.
    fn claim(&self) -> bool {
        let now = Instant::now();
        let mut due = self.due.lock();
        let is_due = due.is_none_or(|due| due <= now);
        if is_due {
            *due = Some(now + COURIER_NAMES_INTERVAL);
        }
        is_due
    }
}

/// `biz_id` and `delivery_id`.
type AccountKey = (Box<str>, Box<str>);

/// Accounts that have no live balance, and until when they are not asked for one again.
pub(super) type NoLiveBalance = Mutex<HashMap<AccountKey, Instant>>;

/// The optional calls to be sent after one fetch.
#[derive(Debug, Default)]
pub(super) struct OptionalCalls {
    couriers: bool,
    api_quota: bool,
    balances: Vec<AccountKey>,
}

impl OptionalCalls {
    /// Those that are due now, and no longer due after that.
    pub(super) fn due(app: &App, snapshot: &Snapshot) -> Self {
        if app.shared.stopping.is_cancelled() {
            return Self::default();
        }
        let now = app.state.limiter.by_common_clock(Moment::now());
        let couriers = app.config.refresh_couriers && app.shared.couriers.claim();
        let (api_quota, may_ask_for_balances) = {
            let due = &mut app.state.reading().optional_calls;
            let api_quota = app.config.api_quota
                && is_due(due.api_quota_due_unix_ms, API_QUOTA_INTERVAL, now.wall);
            if api_quota {
                due.api_quota_due_unix_ms = Some(unix_millis(now.wall + API_QUOTA_INTERVAL));
            }
            let held = due.balances_due_unix_ms;
            (api_quota, is_due(held, ChinaDay::LENGTH, now.wall))
        };
        let balances = match app.config.live_quota {
            Some(interval) if may_ask_for_balances => due_balances(app, snapshot, interval, now),
            _ => Vec::new(),
        };
        Self {
            couriers,
            api_quota,
            balances,
        }
    }

    /// How many they are.
    pub(super) fn calls(&self) -> u64 {
        u64::from(self.couriers) + u64::from(self.api_quota) + self.balances.len() as u64
    }

    /// Sends them, with the token that the list was read with. Returns the snapshot with the live balances, where there are
    /// any.
    pub(super) async fn send(
        self,
        fetch: &Fetch,
        authorization: &Authorization,
        snapshot: &Arc<Snapshot>,
    ) -> Option<Arc<Snapshot>> {
        if self.couriers {
            ask_for_couriers(fetch, authorization).await;
        }
        if self.api_quota {
            ask_for_api_quota(fetch, authorization).await;
        }
        let live = ask_for_balances(fetch, &self.balances, authorization).await;
        if live.is_empty() {
            return None;
        }
        let revised = Arc::new(Snapshot::clone(snapshot).with_balances(&live));
        fetch.app.state.reading().snapshot = Some(Arc::clone(&revised));
        Some(revised)
    }
}

/// Whether a time has come. One that is further away than `longest` was set under a clock that was ahead.
fn is_due(due_unix_ms: Option<u64>, longest: Duration, now: SystemTime) -> bool {
    due_unix_ms.is_none_or(|due| due <= unix_millis(now) || due > unix_millis(now + longest))
}

/// The accounts whose live balance is to be asked for: bound ones of couriers that `getQuota` serves, whose balance is
/// older than the interval; those with the oldest first.
fn due_balances(
    app: &App,
    snapshot: &Snapshot,
    interval: Duration,
    now: Moment,
) -> Vec<AccountKey> {
    let latest = now.wall.checked_sub(interval).unwrap_or(UNIX_EPOCH);
    let latest = unix_seconds(latest);
    let mut without = app.state.no_live_balance.lock();
    without.retain(|_, until| *until > now.monotonic);
    let networks = app.shared.couriers.networks.load();
    // `getQuota` serves franchise couriers alone.
    let has_live_balances = |delivery_id: &str| {
        let listed = networks.get(delivery_id).copied();
        app.config.couriers.network(delivery_id, listed) == Network::Franchise
    };
    let is_due = |account: &&Account| {
        account.status_code == Some(0)
            && has_live_balances(&account.delivery_id)
            && account.quota_update_time.is_none_or(|at| at <= latest)
            && !without.contains_key(&key(account))
    };
    let mut due: Vec<_> = snapshot.accounts().iter().filter(is_due).collect();
    if due.is_empty() {
        return Vec::new();
    }
    let room = room_beside_the_list(app);
    if room == 0 {
        app.state.counters.count_refused(Cause::DailyLimit);
        hold_balances(app, next_round(interval));
        return Vec::new();
    }
    due.sort_by_key(|account| account.quota_update_time);
    due.truncate(
        usize::try_from(room)
            .unwrap_or(BALANCES_MAX)
            .min(BALANCES_MAX),
    );
    due.into_iter().map(key).collect()
}

fn key(account: &Account) -> AccountKey {
    (account.biz_id.clone(), account.delivery_id.clone())
}

/// Calls that live balances may take: half of the day's are kept for the account list.
fn room_beside_the_list(app: &App) -> u64 {
    let remaining = app.daily_calls_remaining(Moment::now());
    match (app.config.daily_limit, remaining) {
        (Some(limit), Some(remaining)) => remaining.saturating_sub(limit / 2),
        _ => u64::MAX,
    }
}

async fn ask_for_couriers(fetch: &Fetch, authorization: &Authorization) {
    let app = &fetch.app;
    match app.client.delivery_getall(authorization, fetch).await {
        Ok(deliveries) => app.shared.couriers.learn(deliveries),
        Err(error) => {
            *app.shared.couriers.due.lock() = Some(Instant::now() + RETRY_INTERVAL);
            failed(app, Api::DeliveryGetall, &error);
        }
    }
}

async fn ask_for_api_quota(fetch: &Fetch, authorization: &Authorization) {
    let app = &fetch.app;
    let api = app.list_endpoint();
    let asked = app.client.api_quota_get(authorization, api, fetch).await;
    let quota = asked.inspect_err(|error| failed(app, Api::ApiQuotaGet, error));
    // What is older than an hour is not shown: the figures may be another day's.
    app.state.reading().optional_calls.api_quota = quota.ok().map(|quota| (api, quota));
}

/// Asks for one balance after the other, as long as no other fetch and no stop is waiting.
async fn ask_for_balances<'a>(
    fetch: &Fetch,
    accounts: &'a [AccountKey],
    authorization: &Authorization,
) -> HashMap<(&'a str, &'a str), Balance> {
    let app = &fetch.app;
    let interval = app.config.live_quota.unwrap_or(RETRY_INTERVAL);
    let mut live = HashMap::new();
    for (biz_id, delivery_id) in accounts {
        let is_first = live.is_empty();
        if app.shared.stopping.is_cancelled() || (!is_first && another_fetch_waits(app)) {
            break;
        }
        let asked = app
            .client
            .quota_get(authorization, delivery_id, biz_id, fetch)
            .await;
        match asked {
            Ok(Some(quota_num)) => {
                let now = app.state.limiter.by_common_clock(Moment::now());
                let at = unix_seconds(now.wall);
                live.insert((&**biz_id, &**delivery_id), Balance { quota_num, at });
                continue;
            }
            Ok(None) => {}
            Err(error) => {
                failed(app, Api::QuotaGet, &error);
                // Anything else that stops one account most likely stops all.
                if !error.concerns_the_account() {
                    let wait = hold_after(error.reason(), Moment::now());
                    hold_balances(app, wait.max(next_round(interval)));
                    break;
                }
            }
        }
        let until = Instant::now() + interval;
        let key = (biz_id.clone(), delivery_id.clone());
        app.state.no_live_balance.lock().insert(key, until);
    }
    live
}

/// Whether the next fetch of this process or of another replica has come.
fn another_fetch_waits(app: &App) -> bool {
    let here = app.state.reading().fetch.is_some();
    let is_alone = app.shared.replicas.is_none();
    here || (!is_alone && app.state.limiter.interval_is_over(Moment::now()))
}

/// When live balances are due again after a failure of a kind that may pass.
fn next_round(interval: Duration) -> Duration {
    interval.min(RETRY_INTERVAL)
}

/// How long no live balance is asked for at least after such a failure: WeChat would refuse it.
fn hold_after(reason: Reason, now: Moment) -> Duration {
    match reason {
        Reason::DailyQuota => ChinaDay::at(now.wall)
            .left(now.wall)
            .unwrap_or(ChinaDay::LENGTH),
        Reason::Rate => MINUTE_RATE_HOLD,
        reason if reason.needs_operator() => RETRY_INTERVAL,
        _ => Duration::ZERO,
    }
}

fn hold_balances(app: &App, wait: Duration) {
    let now = app.state.limiter.by_common_clock(Moment::now());
    let until = unix_millis(now.wall + wait);
    app.state.reading().optional_calls.balances_due_unix_ms = Some(until);
}

fn failed(app: &App, api: Api, error: &wechat::Error) {
    let reason = error.reason().as_str();
    if app.shared.log.admits(reason) {
        tracing::warn!(
            appid = app.config.appid,
            api = api.as_str(),
            reason,
            error = chain(error),
            "call failed"
        );
    }
}

impl App {
    /// The list with the live balances of the snapshot before it, where they are newer. One that two rounds have not
    /// renewed is not shown any more: the list's own is as good by then, and comes with its own time.
    pub(super) fn with_live_balances(&self, listed: Snapshot) -> Snapshot {
        let Some(interval) = self.config.live_quota else {
            return listed;
        };
        let Some(before) = self.state.reading().snapshot.clone() else {
            return listed;
        };
        let now = self.state.limiter.by_common_clock(Moment::now()).wall;
        let earliest = now.checked_sub(interval.saturating_mul(2));
        listed.with_balances(&before.balances_after(earliest.unwrap_or(UNIX_EPOCH)))
    }
}
