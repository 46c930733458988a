//! One Mini Program at run time: its limiter, its token, its last snapshot, and the fetch under way.

mod call_budget;
mod counters;
mod fetch;
mod log_throttle;
mod optional_calls;
mod sharing;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use counters::{Counters, Source};
pub use fetch::{Ended, Fetch, FetchError};
pub use log_throttle::LogThrottle;
pub use optional_calls::CourierNames;

use crate::clock::Moment;
use crate::config::AppConfig;
use crate::limiter::{Budget, RateLimiter};
use crate::replicas::Replicas;
use crate::snapshot::Snapshot;
use crate::store::{LastFetch, OptionalCallsState, Saved, SavedState, Store};
use crate::token::TokenSource;
use crate::usage_rate::UsageRate;
use crate::wechat::{Account, Api, ApiQuota, Client};

/// One Mini Program with its credentials, and what is known of its accounts.
#[derive(Debug)]
pub struct App {
    /// Its settings.
    pub config: AppConfig,
    client: Client,
    tokens: Arc<TokenSource>,
    shared: Shared,
    state: Arc<AppState>,
    /// [`AppState::reloads`] as this configuration came into force.
    reloads: u64,
}

/// What outlives a reload of the configuration.
#[derive(Debug)]
pub(crate) struct AppState {
    limiter: RateLimiter,
    counters: Counters,
    fetch_duration: prometheus::Histogram,
    reading: Mutex<Reading>,
    /// How fast balances fall, from the snapshots since the start.
    usage_rate: Mutex<UsageRate>,
    no_live_balance: optional_calls::NoLiveBalance,
    /// Held by the fetch that is at work, also while it keeps its state and sends optional calls.
    at_work: tokio::sync::Mutex<()>,
    /// Configurations that followed the first.
    reloads: AtomicU64,
}

/// What scrapes see.
#[derive(Debug, Default)]
struct Reading {
    snapshot: Option<Arc<Snapshot>>,
    last_fetch: Option<LastFetch>,
    fetch: Option<Arc<Fetch>>,
    optional_calls: OptionalCallsState,
    /// What replicas call the snapshot; `None`: it is this replica's alone.
    snapshot_id: Option<u64>,
}

/// The parts that apps share.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    /// Bounds the fetches under way over all apps.
    pub(crate) permits: Arc<Semaphore>,
    /// The couriers' names.
    pub(crate) couriers: Arc<CourierNames>,
    /// Where state and snapshots survive.
    pub(crate) store: Arc<Store>,
    /// The fetches at work.
    pub(crate) tasks: TaskTracker,
    /// Cancelled when the process is to end: optional calls are left out then.
    pub(crate) stopping: CancellationToken,
    /// Bounds the lines about failures.
    pub(crate) log: Arc<LogThrottle>,
    /// Those who share budgets and snapshots; `None`: this exporter is alone.
    pub(crate) replicas: Option<Arc<Replicas>>,
}

/// What a scrape may do for an app.
#[derive(Debug)]
pub(crate) enum FetchStart {
    /// A fetch was granted and is under way.
    Started(Arc<Fetch>),
    /// Another scrape's fetch is under way.
    Joined(Arc<Fetch>),
    /// No fetch: the last snapshot has to do.
    Throttled,
}

impl App {
    /// An app of that state under a configuration.
    pub(crate) fn new(
        config: AppConfig,
        client: Client,
        tokens: Arc<TokenSource>,
        state: Arc<AppState>,
        shared: Shared,
    ) -> Self {
        Self {
            config,
            client,
            tokens,
            shared,
            reloads: state.reloads.load(Ordering::Relaxed),
            state,
        }
    }

    /// Whether another configuration is in force by now.
    fn is_replaced(&self) -> bool {
        self.state.reloads.load(Ordering::Relaxed) != self.reloads
    }

    /// Joins the fetch under way or, where the limiter grants one, starts it. Must run inside a runtime.
    pub(crate) fn begin(self: &Arc<Self>, now: Moment) -> FetchStart {
        let mut reading = self.state.reading();
        if let Some(fetch) = &reading.fetch {
            return FetchStart::Joined(Arc::clone(fetch));
        }
        match self.state.limiter.try_acquire(self.budget(), now) {
            Ok(wait) => {
                let fetch = Arc::new(Fetch::new(Arc::clone(self)));
                reading.fetch = Some(Arc::clone(&fetch));
                self.shared.tasks.spawn(Arc::clone(&fetch).run(wait));
                FetchStart::Started(fetch)
            }
            Err(cause) => {
                self.state.counters.count_refused(cause);
                FetchStart::Throttled
            }
        }
    }

    /// The last snapshot, unless it is too old to serve, and whether the latest finished fetch succeeded: both as of
    /// the same instant.
    pub(crate) fn last_reading(
        &self,
        max_stale: Duration,
        now: Moment,
    ) -> (Option<Arc<Snapshot>>, bool) {
        let reading = self.state.reading();
        let snapshot = reading.snapshot.as_ref();
        let fresh = snapshot.filter(|snapshot| snapshot.age(now) <= max_stale);
        let last_fetch = reading.last_fetch.as_ref();
        let succeeded = last_fetch.is_some_and(LastFetch::succeeded);
        (fresh.cloned(), succeeded)
    }

    /// The last snapshot, unless it is too old to serve.
    pub(crate) fn snapshot(&self, max_stale: Duration, now: Moment) -> Option<Arc<Snapshot>> {
        self.last_reading(max_stale, now).0
    }

    /// What outlives a reload.
    pub(crate) fn state(&self) -> &Arc<AppState> {
        &self.state
    }

    /// Its budget of calls, and what keeps calls back now.
    pub(crate) fn limiter(&self) -> &RateLimiter {
        &self.state.limiter
    }

    /// How the latest finished fetch went; `None`: none has finished yet.
    pub(crate) fn last_fetch(&self) -> Option<LastFetch> {
        self.state.reading().last_fetch.clone()
    }

    /// WeChat's own figures for the account list's API, where switched on and known.
    pub(crate) fn api_quota(&self) -> Option<(Api, ApiQuota)> {
        let known = self.state.reading().optional_calls.api_quota;
        known.filter(|(api, _)| self.config.api_quota && *api == self.list_endpoint())
    }

    /// What was counted.
    pub(crate) fn counters(&self) -> &Counters {
        &self.state.counters
    }

    /// Durations of the account-list fetches, token call included.
    pub(crate) fn fetch_duration(&self) -> &prometheus::Histogram {
        &self.state.fetch_duration
    }

    /// Calls left of the exporter's own daily limit; `None` where there is none.
    pub(crate) fn daily_calls_remaining(&self, now: Moment) -> Option<u64> {
        self.state.limiter.remaining(self.budget(), now)
    }

    /// How long an account's balance lasts if it goes on falling as it did since the start. Unit: days; `None`: not
    /// known yet (see [`UsageRate::days_left`]).
    pub(crate) fn days_left(&self, account: &Account, now: Moment) -> Option<f64> {
        self.state.usage_rate.lock().days_left(account, now)
    }

    /// Where its token comes from.
    pub(crate) fn tokens(&self) -> &Arc<TokenSource> {
        &self.tokens
    }

    /// The host that calls go to now.
    pub(crate) fn api_host(&self) -> &str {
        self.client.current_host()
    }

    /// What the account list is read through.
    pub(crate) fn list_endpoint(&self) -> Api {
        match self.config.cloud_function {
            None => Api::AccountGetall,
            Some(_) => Api::InvokeCloudFunction,
        }
    }

    fn budget(&self) -> Budget {
        budget(&self.config)
    }

    /// Its state, with so many calls counted as sent beforehand.
    fn saved_state(&self, reserved: u64) -> SavedState {
        let reading = self.state.reading();
        SavedState {
            limiter: self.state.limiter.save(reserved, Moment::now()),
            last_fetch: reading.last_fetch.clone(),
            optional_calls: reading.optional_calls.clone(),
            fetching: false,
            snapshot_id: None,
        }
    }

    async fn save_snapshot(&self, snapshot: &Arc<Snapshot>) {
        let appid = &self.config.appid;
        self.shared.store.save_snapshot(appid, snapshot).await;
    }

    /// Keeps its state in the store, with so many calls counted as sent beforehand: a crash loses their count.
    async fn save_state(&self, reserved: u64) {
        let state = self.saved_state(reserved);
        self.shared
            .store
            .save_state(&self.config.appid, state)
            .await;
    }
}

impl AppState {
    /// The state of an app that knows nothing yet but what was `saved`. The second value says whether that holds a time that
    /// only a clock that was ahead can have given.
    pub(crate) fn restore(saved: Saved, config: &AppConfig, now: Moment) -> (Self, bool) {
        let (limiter, clock_was_ahead) =
            RateLimiter::restore(&saved.state.limiter, budget(config), now);
        let mut last_fetch = saved.state.last_fetch;
        if let Some(last) = &mut last_fetch {
            last.at = last.at.min(now.wall);
        }
        let state = Self {
            limiter,
            counters: Counters::default(),
            fetch_duration: fetch_duration_histogram(),
            usage_rate: Mutex::new(UsageRate::new(config.days_left_after, now)),
            no_live_balance: Mutex::default(),
            at_work: tokio::sync::Mutex::default(),
            reloads: AtomicU64::new(0),
            reading: Mutex::new(Reading {
                snapshot: saved.snapshot.map(Arc::new),
                last_fetch,
                optional_calls: saved.state.optional_calls,
                ..Reading::default()
            }),
        };
        if let Some(last) = &state.reading().last_fetch {
            state.counters.set_errcode(last.errcode());
        }
        (state, clock_was_ahead)
    }

    /// A new configuration is in force: counters, limits and the last snapshot go on.
    pub(crate) fn reload(&self, config: &AppConfig) {
        self.reloads.fetch_add(1, Ordering::Relaxed);
        self.limiter.reloaded(budget(config), Moment::now());
    }

    fn reading(&self) -> MutexGuard<'_, Reading> {
        self.reading.lock()
    }
}

fn budget(config: &AppConfig) -> Budget {
    Budget {
        min_interval: config.min_interval,
        daily_limit: config.daily_limit,
    }
}

/// From a fast reply, past the 10 s that Prometheus waits for a scrape by default, to what several slow calls take
/// together. Unit: seconds.
const FETCH_DURATION_BUCKETS: [f64; 9] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

fn fetch_duration_histogram() -> prometheus::Histogram {
    // The name and the appid are the page's business (`exposition::families`); this one only counts.
    let options = prometheus::HistogramOpts::new("fetch_duration_seconds", "seconds per fetch")
        .buckets(FETCH_DURATION_BUCKETS.to_vec());
    prometheus::Histogram::with_opts(options)
        .expect("a constant name and sorted buckets make a valid histogram")
}
