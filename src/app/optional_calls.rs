//! The calls besides the account list, each enabled by the operator: the couriers' names once a day, WeChat's own quota
//! figures once an hour, live balances.
//!
//! They are sent after a fetch, in its task: its list is served before, and the next list waits for one of them at
//! most. Their failures are only counted and logged, and without scrapes they cost nothing. Among replicas, the one
//! that fetches sends them. The shared state says when quota figures and live balances are due; each replica asks for
//! the couriers by itself.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::clock::{ChinaDay, DueTime, Moment, unix_seconds};
use crate::limiter::Cause;
use crate::logging;
use crate::snapshot::{Balance, Snapshot};
use crate::wechat::courier::Network;
use crate::wechat::{self, Account, AccountKey, Api, Authorization, Delivery, Reason};

use super::{App, Fetch};

const COURIER_NAMES_INTERVAL: Duration = Duration::from_secs(24 * 3600);
const API_QUOTA_INTERVAL: Duration = Duration::from_secs(3600);
/// The interval after a failure.
const RETRY_INTERVAL: Duration = Duration::from_secs(3600);
/// The most live balances to ask for after one fetch.
const BALANCES_MAX: usize = 10;

/// Couriers by `delivery_id`.
pub(crate) type Deliveries = HashMap<Box<str>, Delivery>;

/// The couriers that `getAllDelivery` listed. Shared by all apps.
#[derive(Default)]
pub(crate) struct ListedCouriers {
    /// The couriers as WeChat last listed them; empty before that.
    pub(crate) deliveries: ArcSwap<Deliveries>,
    due: Mutex<Option<Instant>>,
}

impl ListedCouriers {
    /// Reports whether the list is due; if so, it is not due again for a while.
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

/// The optional calls to send after one fetch.
#[derive(Default)]
pub(super) struct OptionalCalls {
    couriers: bool,
    api_quota: bool,
    balances: Vec<AccountKey>,
}

impl OptionalCalls {
    /// Claims the calls that are due now.
    pub(super) fn due(app: &App, snapshot: &Snapshot) -> Self {
        if app.shared.stopping.is_cancelled() {
            return Self::default();
        }
        let now = app.now();
        let couriers = app.config.refresh_couriers && app.shared.couriers.claim();
        let (api_quota, may_ask_for_balances) = {
            let due = &mut app.state.reading().optional_calls;
            due.api_quota_due.cut(API_QUOTA_INTERVAL, now.wall);
            due.balances_due.cut(ChinaDay::LENGTH, now.wall);
            let api_quota = app.config.api_quota && due.api_quota_due.has_come(now.wall);
            if api_quota {
                due.api_quota_due = DueTime::after(API_QUOTA_INTERVAL, now.wall);
            }
            (api_quota, due.balances_due.has_come(now.wall))
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

    /// Returns the number of calls.
    pub(super) fn calls(&self) -> u64 {
        u64::from(self.couriers) + u64::from(self.api_quota) + self.balances.len() as u64
    }

    /// Sends the calls with the token that the list was read with. Returns the snapshot with the live balances, if
    /// there are any.
    pub(super) async fn send(
        self,
        fetch: &Fetch,
        authorization: &Authorization,
        snapshot: &Arc<Snapshot>,
    ) -> Option<Arc<Snapshot>> {
        if self.couriers {
            ask_for_couriers(fetch, authorization).await;
        }
        let mut sent = self.couriers;
        if self.api_quota {
            if sent && another_fetch_waits(&fetch.app) {
                let due = DueTime::after(Duration::ZERO, fetch.app.now().wall);
                fetch.app.state.reading().optional_calls.api_quota_due = due;
                return None;
            }
            ask_for_api_quota(fetch, authorization).await;
            sent = true;
        }
        let live = ask_for_balances(fetch, &self.balances, authorization, sent).await;
        if live.is_empty() {
            return None;
        }
        let revised = Arc::new(Snapshot::clone(snapshot).with_balances(&live));
        fetch.app.state.reading().snapshot = Some(Arc::clone(&revised));
        Some(revised)
    }
}

/// Returns the accounts whose live balance to ask for: bound accounts of couriers that `getQuota` serves, whose balance
/// is older than the interval; the oldest balances first.
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
    let listed = app.shared.couriers.deliveries.load();
    // `getQuota` serves only franchise couriers.
    let has_live_balances = |delivery_id: &str| {
        let listed = listed.get(delivery_id);
        app.config.couriers.network(delivery_id, listed) == Network::Franchise
    };
    let is_due = |account: &&Account| {
        account.status_code == Some(0)
            && has_live_balances(&account.delivery_id)
            && account.quota_update_time.is_none_or(|at| at <= latest)
            && !without.contains_key(&account.key())
    };
    let mut due: Vec<_> = snapshot.accounts.iter().filter(is_due).collect();
    if due.is_empty() {
        return Vec::new();
    }
    let room = room_beside_the_list(app);
    if room == 0 {
        app.state.counters.count_refused(Cause::DailyLimit);
        hold_balances(app, RETRY_INTERVAL);
        return Vec::new();
    }
    due.sort_by_key(|account| account.quota_update_time);
    due.truncate(room);
    due.into_iter().map(Account::key).collect()
}

/// Returns how many live balances may be asked for now: half of the day's calls are kept for the account list.
fn room_beside_the_list(app: &App) -> usize {
    let room = match (app.config.daily_limit, app.daily_calls_remaining()) {
        (Some(limit), Some(remaining)) => remaining.saturating_sub(limit / 2),
        _ => u64::MAX,
    };
    usize::try_from(room).map_or(BALANCES_MAX, |room| room.min(BALANCES_MAX))
}

async fn ask_for_couriers(fetch: &Fetch, authorization: &Authorization) {
    let app = &fetch.app;
    let couriers = &app.shared.couriers;
    match app.client.delivery_getall(authorization, fetch).await {
        Ok(deliveries) => {
            let by_id = deliveries
                .into_iter()
                .map(|delivery| (delivery.delivery_id.clone(), delivery));
            couriers.deliveries.store(Arc::new(by_id.collect()));
        }
        Err(error) => {
            *couriers.due.lock() = Some(Instant::now() + RETRY_INTERVAL);
            failed(app, Api::DeliveryGetall, &error);
        }
    }
}

async fn ask_for_api_quota(fetch: &Fetch, authorization: &Authorization) {
    let app = &fetch.app;
    let api = app.list_api();
    let asked = app.client.api_quota_get(authorization, api, fetch).await;
    let quota = asked.inspect_err(|error| failed(app, Api::ApiQuotaGet, error));
    app.state.reading().optional_calls.api_quota = quota.ok().map(|quota| (api, quota));
}

/// Asks for one balance after the other, as long as no other fetch is waiting and the process is not about to end. If
/// no optional call was `sent` before, the first one is sent even if a fetch waits.
async fn ask_for_balances<'a>(
    fetch: &Fetch,
    accounts: &'a [AccountKey],
    authorization: &Authorization,
    mut sent: bool,
) -> HashMap<(&'a str, &'a str), Balance> {
    let app = &fetch.app;
    let interval = app.config.live_quota.unwrap_or(RETRY_INTERVAL);
    let mut live = HashMap::new();
    for (biz_id, delivery_id) in accounts {
        if app.shared.stopping.is_cancelled() || (sent && another_fetch_waits(app)) {
            break;
        }
        sent = true;
        let asked = app
            .client
            .quota_get(authorization, delivery_id, biz_id, fetch)
            .await;
        match asked {
            Ok(Some(quota_num)) => {
                let at = unix_seconds(app.now().wall);
                live.insert((&**biz_id, &**delivery_id), Balance { quota_num, at });
                continue;
            }
            Ok(None) => {}
            Err(error) => {
                failed(app, Api::QuotaGet, &error);
                // Any other error most likely affects all accounts.
                if !error.concerns_the_account() {
                    let wait = match error.cause.reason {
                        Reason::DailyQuota => ChinaDay::left(app.now().wall),
                        _ => RETRY_INTERVAL,
                    };
                    hold_balances(app, wait);
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

/// Reports whether the next fetch is waiting in this process, or is due in another replica.
fn another_fetch_waits(app: &App) -> bool {
    let here = app.state.reading().fetch.is_some();
    let is_alone = app.shared.replicas.is_none();
    here || (!is_alone && app.state.limiter.interval_is_over(app.now()))
}

/// Holds back all live balances for `wait`.
fn hold_balances(app: &App, wait: Duration) {
    let due = DueTime::after(wait, app.now().wall);
    app.state.reading().optional_calls.balances_due = due;
}

fn failed(app: &App, api: Api, error: &wechat::Error) {
    let reason = error.cause.reason.as_str();
    if logging::admits(reason) {
        let explanation = error.cause.explanation(app.config.credential.kind());
        let [fix, _] = explanation.fix;
        tracing::warn!(
            appid = app.config.appid,
            api = api.as_str(),
            reason,
            error = %error,
            fix,
            "call failed"
        );
    }
}

impl App {
    /// Returns the list with the live balances of the previous snapshot, where they are newer. Live balances that were
    /// not renewed in two intervals are dropped: the list's own balance is as good by then and has its own time.
    pub(super) fn with_live_balances(
        &self,
        listed: Snapshot,
        before: Option<&Snapshot>,
    ) -> Snapshot {
        let (Some(interval), Some(before)) = (self.config.live_quota, before) else {
            return listed;
        };
        let earliest = self.now().wall.checked_sub(interval.saturating_mul(2));
        listed.with_balances(&before.balances_after(earliest.unwrap_or(UNIX_EPOCH)))
    }
}
