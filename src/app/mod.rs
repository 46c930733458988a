//! One Mini Program at run time: its limiter, its token, its last snapshot, and the fetch under way.

mod call_budget;
mod counters;
mod fetch;
mod optional_calls;
mod sharing;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use counters::{Counters, Source};
pub use fetch::Fetch;
pub(crate) use optional_calls::{Deliveries, ListedCouriers};

use crate::clock::Moment;
use crate::config::AppConfig;
use crate::limiter::{Budget, RateLimiter};
use crate::replicas::Replicas;
use crate::snapshot::Snapshot;
use crate::store::{LastFetch, OptionalCallsState, Saved, SavedState, Store};
use crate::token::TokenSource;
use crate::wechat::{AccountKey, Api, ApiQuota, Client};

/// One Mini Program with its credentials, and what is known of its accounts.
pub struct App {
    pub config: AppConfig,
    pub(crate) client: Client,
    pub(crate) tokens: Arc<TokenSource>,
    /// What all apps share.
    pub(crate) shared: Arc<Shared>,
    /// The state that survives a reload.
    pub(crate) state: Arc<AppState>,
}

/// The state of an app that survives a reload of the configuration.
pub(crate) struct AppState {
    /// The app's budget of calls, and what keeps calls back now.
    pub(crate) limiter: RateLimiter,
    pub(crate) counters: Counters,
    /// The durations of the account-list fetches, including the token call.
    pub(crate) fetch_duration: prometheus::Histogram,
    reading: Mutex<Reading>,
    /// Accounts without a live balance, and until when they are not asked for one again.
    no_live_balance: Mutex<HashMap<AccountKey, Instant>>,
    /// Held by the fetch at work, also while it saves its state and sends optional calls.
    at_work: tokio::sync::Mutex<()>,
}

/// What scrapes see.
#[derive(Default)]
struct Reading {
    snapshot: Option<Arc<Snapshot>>,
    last_fetch: Option<LastFetch>,
    /// Whether this replica's own last fetch failed for a reason that may not affect other replicas.
    failed_alone: bool,
    fetch: Option<Arc<Fetch>>,
    optional_calls: OptionalCallsState,
    /// The ID of the snapshot among replicas; `None` if only this replica has it.
    snapshot_id: Option<u64>,
}

/// The parts that apps share.
pub(crate) struct Shared {
    /// Limits the concurrent fetches of all apps whose tokens the exporter mints or that need no token.
    pub(crate) permits: Semaphore,
    /// Limits the concurrent fetches of apps whose tokens other programs keep. If one hangs, the other apps don't wait
    /// for it.
    pub(crate) permits_with_foreign_tokens: Semaphore,
    /// The couriers that WeChat listed.
    pub(crate) couriers: ListedCouriers,
    /// Where state and snapshots are kept across restarts.
    pub(crate) store: Store,
    /// The fetches at work.
    pub(crate) tasks: TaskTracker,
    /// Cancelled when the process is about to end; no optional calls are sent then.
    pub(crate) stopping: CancellationToken,
    /// The replicas that share budgets and snapshots; `None` if this exporter is alone.
    pub(crate) replicas: Option<Arc<Replicas>>,
}

impl Shared {
    /// Returns the time, among replicas by their common clock.
    pub(crate) fn now(&self) -> Moment {
        match &self.replicas {
            Some(replicas) => replicas.now(),
            None => Moment::now(),
        }
    }
}

impl App {
    /// Returns the time that the app's limits and saved state go by.
    pub(crate) fn now(&self) -> Moment {
        self.shared.now()
    }

    /// Joins the fetch under way, or starts one if the limiter grants it; `None` if the last snapshot must serve the
    /// scrape. Also returns how the scrape is served if the fetch brings a snapshot. Must run inside a runtime.
    pub(crate) fn begin(self: &Arc<Self>) -> Option<(Arc<Fetch>, Source)> {
        let mut reading = self.state.reading();
        if let Some(fetch) = &reading.fetch {
            return Some((Arc::clone(fetch), Source::Joined));
        }
        match self.state.limiter.try_acquire(self.now()) {
            Ok(wait) => {
                let fetch = Arc::new(Fetch::new(Arc::clone(self)));
                reading.fetch = Some(Arc::clone(&fetch));
                self.shared.tasks.spawn(Arc::clone(&fetch).run(wait));
                Some((fetch, Source::Fetched))
            }
            Err(cause) => {
                self.state.counters.count_refused(cause);
                None
            }
        }
    }

    /// Applies the app's settings after a reload. `before` is the app's old configuration, if it had one.
    pub(crate) fn reloaded(&self, before: Option<&AppConfig>) {
        let now = self.now();
        self.state.limiter.reloaded(Budget::of(&self.config), now);
        let failed_call = self.last_fetch().and_then(|last| last.failure?.cause.api);
        let token_api = self.config.credential.token_api();
        let has_changed = before.is_some_and(|before| before.credential.token_api() != token_api);
        // A hold on one API for tokens does not apply to another.
        if has_changed && failed_call.is_some_and(Api::mints_token) {
            self.state.limiter.lift_breaker();
        }
    }

    /// Returns the last snapshot, unless it is too old to serve, and whether the latest finished fetch succeeded, both
    /// as of the same instant.
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

    /// Returns how the latest finished fetch went; `None` if none has finished yet.
    pub(crate) fn last_fetch(&self) -> Option<LastFetch> {
        self.state.reading().last_fetch.clone()
    }

    /// Returns WeChat's own figures for the account list's API, if they are enabled and known.
    pub(crate) fn api_quota(&self) -> Option<(Api, ApiQuota)> {
        let now = self.now().wall;
        let known = self.state.reading().optional_calls.api_quota(now);
        known.filter(|(api, _)| self.config.api_quota && *api == self.list_api())
    }

    /// Returns the calls left of the exporter's own daily limit; `None` if there is no limit.
    pub(crate) fn daily_calls_remaining(&self) -> Option<u64> {
        self.state.limiter.remaining(self.now())
    }

    /// Returns the host that calls go to now.
    pub(crate) fn api_host(&self) -> &str {
        self.client.current_host()
    }

    /// Returns the API that the account list is read through.
    pub(crate) fn list_api(&self) -> Api {
        Api::of_account_list(self.config.cloud_function.as_ref())
    }

    /// Returns the app's state with `reserved` calls counted as sent beforehand.
    fn saved_state(&self, reserved: u64) -> SavedState {
        let reading = self.state.reading();
        SavedState {
            limiter: self.state.limiter.save(reserved, self.now()),
            last_fetch: reading.last_fetch.clone(),
            optional_calls: reading.optional_calls.clone(),
            ..SavedState::default()
        }
    }
}

impl AppState {
    /// Returns the state of an app that knows only what was `saved`, and whether `saved` holds a time that can only
    /// come from a clock that was ahead.
    pub(crate) fn restore(saved: Saved, config: &AppConfig, now: Moment) -> (Self, bool) {
        let (limiter, clock_was_ahead) =
            RateLimiter::restore(saved.state.limiter, Budget::of(config), now);
        let mut last_fetch = saved.state.last_fetch;
        if let Some(last) = &mut last_fetch {
            last.at = last.at.min(now.wall);
        }
        let state = Self {
            limiter,
            counters: Counters::default(),
            fetch_duration: fetch_duration_histogram(),
            no_live_balance: Mutex::default(),
            at_work: tokio::sync::Mutex::default(),
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

    fn reading(&self) -> MutexGuard<'_, Reading> {
        self.reading.lock()
    }
}

/// From a fast reply, past Prometheus's default scrape timeout of 10 s, to several slow calls together. Unit: seconds.
const FETCH_DURATION_BUCKETS: [f64; 9] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

fn fetch_duration_histogram() -> prometheus::Histogram {
    // The page sets the name and the appid (`exposition::families`); this histogram only counts.
    let options = prometheus::HistogramOpts::new("fetch_duration_seconds", "seconds per fetch")
        .buckets(FETCH_DURATION_BUCKETS.to_vec());
    prometheus::Histogram::with_opts(options)
        .expect("a constant name and sorted buckets make a valid histogram")
}
