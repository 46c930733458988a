//! What an app may be asked for beside the account list, each by the operator's leave: the couriers' names once a
//! day, WeChat's own quota figures once an hour, live balances.
//!
//! They run after a fetch, in its task: the list's answer never waits for them, their failure is counted and logged
//! and nothing else, and without scrapes they cost nothing.

mod shared;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use crate::clock::{ChinaDay, Moment, unix_seconds};
use crate::error::chain;
use crate::limiter::{Cause, MINUTE_RATE_HOLD};
use crate::snapshot::{LiveBalance, Snapshot};
use crate::token::Held;
use crate::wechat::courier::Network;
use crate::wechat::{self, Api, Authorization, Delivery, Reason};

pub(super) use shared::follow;

use super::meter::FetchMeter;
use super::{App, Reserved};

const COURIER_NAMES_INTERVAL: Duration = Duration::from_secs(24 * 3600);
const API_QUOTA_INTERVAL: Duration = Duration::from_secs(3600);
/// After a failure of any of them.
const RETRY_INTERVAL: Duration = Duration::from_secs(3600);

/// Live balances whose calls are set aside together. Each time costs a write of the state and a word with the other
/// replicas; a crash counts all of them as sent.
const SET_ASIDE_TOGETHER: usize = 10;

/// The couriers' names: the built-in table, with what `getAllDelivery` added. Shared by all apps.
#[derive(Debug, Default)]
pub struct CourierNames {
    names: ArcSwap<HashMap<Box<str>, Box<str>>>,
    due: Mutex<Option<Instant>>,
}

impl CourierNames {
    /// The names that WeChat gave, by `delivery_id`. The same pointer as long as nothing has changed.
    #[must_use]
    pub fn names(&self) -> Arc<HashMap<Box<str>, Box<str>>> {
        self.names.load_full()
    }

    fn learn(&self, deliveries: Vec<Delivery>) {
        let learnt: HashMap<_, _> = deliveries
            .into_iter()
            .filter(|delivery| !delivery.delivery_name.is_empty())
            .map(|delivery| (delivery.delivery_id, delivery.delivery_name))
            .collect();
        self.replace(learnt);
    }
}

/// `biz_id` and `delivery_id`.
type AccountKey = (Box<str>, Box<str>);

/// When one app's extras are due, and the live balances so far.
#[derive(Debug, Default)]
pub struct Extras {
    api_quota_due: Mutex<Option<Instant>>,
    live: Mutex<HashMap<AccountKey, Live>>,
}

#[derive(Debug)]
struct Live {
    balance: Option<LiveBalance>,
    due: Instant,
}

impl Extras {
    /// Puts the live balances into a reading; `interval`: how often they are asked for, if at all. One that two rounds
    /// have not renewed is shown no longer: the list's own is as good by then, and comes with its own time.
    pub(super) fn with_balances(&self, snapshot: Snapshot, interval: Option<Duration>) -> Snapshot {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(interval) = interval.filter(|_| !live.is_empty()) else {
            return snapshot;
        };
        let longest = i64::try_from(interval.as_secs()).unwrap_or(i64::MAX);
        let oldest = unix_seconds(Moment::now().wall).saturating_sub(longest.saturating_mul(2));
        let balances = live
            .iter()
            .filter_map(|(account, live)| Some((account.clone(), live.balance?)))
            .filter(|(_, balance)| balance.asked >= oldest)
            .collect();
        snapshot.with_balances(&balances)
    }

    /// Lets no live balance be due before then.
    fn hold(&self, wait: Duration) {
        let until = Instant::now() + wait;
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        for live in live.values_mut() {
            live.due = live.due.max(until);
        }
    }
}

/// Runs what is due, where no other replica has asked for it. `token`: what the list was read with; the source is not
/// asked again, so that nothing stands between a turn that is taken and its calls. `shared`: the fetch as replicas
/// know it.
pub(super) async fn run(
    app: &Arc<App>,
    snapshot: &Arc<Snapshot>,
    token: &Held,
    shared: Option<&str>,
    meter: &FetchMeter<'_>,
) {
    if app.tasks.in_haste() {
        return;
    }
    let live = match app.config.live_quota {
        None => Vec::new(),
        Some(interval) => {
            let due = due_accounts(app, snapshot, interval);
            app.asks_for_balances(due, interval).await
        }
    };
    let couriers = app.config.refresh_couriers
        && claim(&app.couriers.due, COURIER_NAMES_INTERVAL)
        && app.asks_for_couriers(true).await;
    let api_quota = app.config.api_quota
        && claim(&app.record.extras.api_quota_due, API_QUOTA_INTERVAL)
        && app.asks_for_api_quota(true).await;
    let others = u64::from(couriers) + u64::from(api_quota);
    if live.is_empty() && others == 0 {
        return;
    }
    let authorization = token.authorization();
    if others > 0 {
        let _set_aside = app.set_aside(others * app.calls_of_one_extra()).await;
        if couriers {
            ask_for_couriers(app, authorization, meter).await;
        }
        if api_quota {
            ask_for_api_quota(app, authorization, meter).await;
        }
    }
    if ask_for_balances(app, live, authorization, meter).await {
        let fresh = app.republish(snapshot);
        if let Some(fetch) = shared {
            app.share_revised(fetch, &fresh).await;
        }
    }
    app.save_progress().await;
    app.hold_calls(0).await;
}

async fn ask_for_couriers(app: &App, authorization: Authorization<'_>, meter: &FetchMeter<'_>) {
    match app.client.delivery_getall(authorization, meter).await {
        Ok(deliveries) => {
            app.couriers.learn(deliveries);
            app.tell_couriers().await;
        }
        Err(error) => {
            postpone(&app.couriers.due);
            app.tell_couriers_failed().await;
            failed(app, Api::DeliveryGetall, &error);
        }
    }
}

async fn ask_for_api_quota(app: &App, authorization: Authorization<'_>, meter: &FetchMeter<'_>) {
    let api = app.list_endpoint();
    let asked = app.client.api_quota_get(authorization, api, meter);
    match asked.await {
        Ok(quota) => {
            app.record.lock().api_quota = Some((api, quota));
            app.tell_api_quota(api, quota).await;
        }
        Err(error) => {
            postpone(&app.record.extras.api_quota_due);
            app.tell_api_quota_failed().await;
            failed(app, Api::ApiQuotaGet, &error);
        }
    }
}

/// Asks for one balance after the other, as long as the list's calls and the process allow; says whether any came.
async fn ask_for_balances(
    app: &Arc<App>,
    accounts: Vec<AccountKey>,
    authorization: Authorization<'_>,
    meter: &FetchMeter<'_>,
) -> bool {
    let each = app.calls_of_one_extra();
    let count = accounts.len();
    let mut set_aside = None;
    let mut changed = false;
    for (position, account) in accounts.iter().enumerate() {
        if app.tasks.in_haste() {
            app.tell_balances_due_in(next_round(app)).await;
            break;
        }
        let room = app.room_beside_the_list();
        if room == 0 {
            // Once for all that are left: they are due again together.
            app.record.counters.count_refused(Cause::DailyLimit);
            break;
        }
        if position % SET_ASIDE_TOGETHER == 0 {
            drop(set_aside.take());
            let wanted = (count - position).min(SET_ASIDE_TOGETHER) as u64 * each;
            // The last one that there is room for may try all hosts.
            let most = room.saturating_add(each - 1);
            set_aside = Some(app.set_aside(wanted.min(most)).await);
        }
        let (biz_id, delivery_id) = account;
        let asked = app
            .client
            .quota_get(authorization, delivery_id, biz_id, meter);
        match asked.await {
            Ok(Some(quota_num)) => {
                let asked = unix_seconds(Moment::now().wall);
                let balance = LiveBalance { quota_num, asked };
                let mut live = app
                    .record
                    .extras
                    .live
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                if let Some(live) = live.get_mut(account) {
                    live.balance = Some(balance);
                    changed = true;
                }
            }
            Ok(None) => {}
            Err(error) => {
                failed(app, Api::QuotaGet, &error);
                // Anything else that stops one account most likely stops all.
                if !error.concerns_the_account() {
                    let wait = hold_after(error.reason(), Moment::now()).max(next_round(app));
                    app.record.extras.hold(wait);
                    app.record.extras.postpone(&accounts[position..], wait);
                    app.tell_balances_due_in(wait).await;
                    break;
                }
            }
        }
    }
    changed
}

/// When live balances that a round has left are due again.
fn next_round(app: &App) -> Duration {
    let interval = app.config.live_quota.unwrap_or(RETRY_INTERVAL);
    interval.min(RETRY_INTERVAL)
}

/// How long no live balance is asked for at least after such a failure: WeChat would refuse it.
fn hold_after(reason: Reason, now: Moment) -> Duration {
    match reason {
        Reason::DailyQuota => ChinaDay::at(now.wall)
            .left(now.wall)
            .unwrap_or(ChinaDay::LENGTH),
        Reason::Rate => MINUTE_RATE_HOLD,
        reason if reason.needs_mending() => RETRY_INTERVAL,
        _ => Duration::ZERO,
    }
}

fn failed(app: &App, api: Api, error: &wechat::Error) {
    tracing::warn!(
        appid = app.config.appid,
        api = api.as_str(),
        reason = error.reason().as_str(),
        error = chain(error),
        "call failed"
    );
}

/// The accounts whose live balance is due: bound ones of franchise couriers, the only ones that `getQuota` serves.
/// Claims them, and forgets accounts that are gone.
fn due_accounts(app: &App, snapshot: &Snapshot, interval: Duration) -> Vec<AccountKey> {
    let now = Instant::now();
    let mut live = app
        .record
        .extras
        .live
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let mut known = HashMap::with_capacity(live.len());
    let mut due = Vec::new();
    for account in snapshot.accounts() {
        let franchise = app.config.couriers.network(&account.delivery_id) == Network::Franchise;
        if account.status_code != Some(0) || !franchise {
            continue;
        }
        let key = (account.biz_id.clone(), account.delivery_id.clone());
        let mut entry = live.remove(&key).unwrap_or(Live {
            balance: None,
            due: now,
        });
        if entry.due <= now {
            entry.due = now + interval;
            due.push(key.clone());
        }
        known.insert(key, entry);
    }
    *live = known;
    due
}

/// Takes the turn of a thing that is due, for this app alone.
fn claim(due: &Mutex<Option<Instant>>, interval: Duration) -> bool {
    let now = Instant::now();
    let mut due = due.lock().unwrap_or_else(PoisonError::into_inner);
    let is_due = due.is_none_or(|due| due <= now);
    if is_due {
        *due = Some(now + interval);
    }
    is_due
}

fn postpone(due: &Mutex<Option<Instant>>) {
    *due.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + RETRY_INTERVAL);
}

impl App {
    /// Calls that live balances may take: half of the day's are kept for the account list.
    fn room_beside_the_list(&self) -> u64 {
        match (
            self.config.daily_limit,
            self.daily_calls_remaining(Moment::now()),
        ) {
            (Some(limit), Some(remaining)) => remaining.saturating_sub(limit / 2),
            _ => u64::MAX,
        }
    }

    /// At most: each host is tried once.
    fn calls_of_one_extra(&self) -> u64 {
        self.config.api_urls.len() as u64
    }

    /// Sets so many calls aside for extras, in place of those before: a crash counts them as sent, and no other replica
    /// takes them.
    async fn set_aside(self: &Arc<Self>, calls: u64) -> Reserved {
        let reserved = self.reserve(calls);
        self.save_progress().await;
        self.hold_calls(calls).await;
        reserved
    }

    /// Replaces the reading by itself with the newest live balances, unless a newer one has come.
    fn republish(&self, read: &Arc<Snapshot>) -> Arc<Snapshot> {
        let extras = &self.record.extras;
        let fresh = extras.with_balances(Snapshot::clone(read), self.config.live_quota);
        let fresh = Arc::new(fresh);
        let mut reading = self.record.lock();
        if reading
            .snapshot
            .as_ref()
            .is_some_and(|current| Arc::ptr_eq(current, read))
        {
            reading.snapshot = Some(Arc::clone(&fresh));
        }
        fresh
    }
}
