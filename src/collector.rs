//! One Prometheus scrape: a reading of every app, or the reason why there is none, before the deadline.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use reqwest::Url;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::{App, AppState, Fetch, ListedCouriers, Shared, Source};
use crate::clock::Moment;
use crate::config::{AppConfig, Config, ScrapeConfig};
use crate::replicas::Replicas;
use crate::snapshot::Snapshot;
use crate::store::{Store, StoreError};
use crate::tls::NoRoots;
use crate::token::{self, TokenSource};
use crate::wechat::{Account, Client, ClientOptions};

/// All apps. The configuration can be replaced while scrapes are under way.
pub struct Collector {
    apps: ArcSwap<Apps>,
    /// What all apps share.
    pub(crate) shared: Arc<Shared>,
}

/// The apps of one configuration.
pub struct Apps {
    list: Vec<Arc<App>>,
    by_appid: HashMap<String, usize>,
    /// The states of all apps, including those of earlier configurations until the process ends: an app that comes back
    /// must not begin with a new budget.
    states: HashMap<String, Arc<AppState>>,
    /// How scrapes are answered under this configuration.
    pub(crate) scrape: ScrapeConfig,
}

/// What one scrape found for one app.
pub struct AppReading {
    pub app: Arc<App>,
    /// The accounts; `None` if there is no snapshot, or only one too old to serve.
    pub snapshot: Option<Arc<Snapshot>>,
    /// Whether the latest attempt to fetch succeeded, and in time for this scrape.
    pub up: bool,
}

/// A configuration can't be applied.
#[derive(Debug, thiserror::Error)]
pub enum CollectorError {
    /// The client for WeChat can't be created.
    #[error(transparent)]
    Client(#[from] NoRoots),
    /// The saved state of an app can't be loaded.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Collector {
    /// Creates a collector for a configuration.
    ///
    /// # Errors
    /// See [`CollectorError`].
    pub fn new(config: &Config, store: Store) -> Result<Self, CollectorError> {
        let replicas = config
            .shared_state
            .clone()
            .map(|shared_state| Arc::new(Replicas::new(shared_state, config.wechat.list_limits())));
        Self::among(replicas, config, store)
    }

    /// Creates a collector that shares its budget with these replicas, whatever the configuration says.
    pub(crate) fn among(
        replicas: Option<Arc<Replicas>>,
        config: &Config,
        store: Store,
    ) -> Result<Self, CollectorError> {
        let tasks = TaskTracker::new();
        // A closed tracker still accepts tasks, and only a closed one can be waited for.
        tasks.close();
        let shared = Arc::new(Shared {
            permits: Semaphore::new(config.wechat.max_concurrency),
            permits_with_foreign_tokens: Semaphore::new(config.wechat.max_concurrency),
            couriers: ListedCouriers::default(),
            store,
            tasks,
            stopping: CancellationToken::new(),
            replicas,
        });
        let apps = Apps::new(config, &shared, None)?;
        Ok(Self {
            apps: ArcSwap::from_pointee(apps),
            shared,
        })
    }

    /// Replaces the configuration. Apps that stay keep their counters, limits and snapshots. Fetches under way go on.
    ///
    /// # Errors
    /// See [`CollectorError`]; the old configuration stays.
    pub fn reconfigure(&self, config: &Config) -> Result<(), CollectorError> {
        let old = self.apps.load_full();
        let new = Arc::new(Apps::new(config, &self.shared, Some(&old))?);
        self.apps.store(Arc::clone(&new));
        for app in &new.list {
            let before = old.find(&app.config.appid);
            app.reloaded(before.map(|before| &before.config));
        }
        Ok(())
    }

    /// Returns the apps of the configuration in force.
    pub fn apps(&self) -> Arc<Apps> {
        self.apps.load_full()
    }

    /// Waits until no fetch is at work, but not beyond the deadline.
    ///
    /// A fetch serves its scrapes before it saves its state and sends optional calls, so it can still be at work after
    /// the last scrape.
    pub async fn settled_by(&self, deadline: Instant) {
        // Late or done: either way there is nothing more to wait for.
        let _ = tokio::time::timeout_at(deadline, self.shared.tasks.wait()).await;
    }

    /// Lets the fetches at work finish before the process ends, but not beyond the deadline, so that no fresh token is
    /// lost and all state is saved. Sends no more optional calls.
    pub async fn drain(&self, deadline: Instant) {
        self.shared.stopping.cancel();
        self.settled_by(deadline).await;
    }
}

/// Reads every app: joins the fetch under way, else starts one if the limiter grants it, else takes the last snapshot.
/// Never fails and never outlasts the deadline. Returns one reading for each app, in their order.
pub async fn scrape(apps: &[Arc<App>], max_stale: Duration, deadline: Instant) -> Vec<AppReading> {
    let begun: Vec<_> = apps.iter().map(App::begin).collect();
    let mut readings = Vec::with_capacity(apps.len());
    // Waiting for one after the other is as fast as for all at once: each fetch runs in its own task.
    for (app, begun) in apps.iter().zip(begun) {
        readings.push(read(app, begun, max_stale, deadline).await);
    }
    readings
}

/// Waits for what [`App::begin`] returned and reads the app.
pub(crate) async fn read(
    app: &Arc<App>,
    begun: Option<(Arc<Fetch>, Source)>,
    max_stale: Duration,
    deadline: Instant,
) -> AppReading {
    let (mut source, mut late) = (Source::Snapshot, false);
    if let Some((fetch, if_fetched)) = begun {
        match fetch.ended_by(deadline).await {
            Some(Source::Fetched) => source = if_fetched,
            Some(other) => source = other,
            None => {
                fetch.give_up();
                late = true;
            }
        }
    }
    let (snapshot, succeeded) = app.last_reading(max_stale, Moment::now());
    if snapshot.is_none() {
        source = Source::None;
    }
    app.state.counters.count_scrape(source);
    AppReading {
        app: Arc::clone(app),
        snapshot,
        up: succeeded && !late,
    }
}

impl AppReading {
    /// Returns the accounts of the snapshot served; none if there is no snapshot.
    pub(crate) fn accounts(&self) -> &[Account] {
        self.snapshot
            .as_ref()
            .map_or(&[], |snapshot| &*snapshot.accounts)
    }
}

impl Apps {
    /// Creates the apps of a configuration. Apps that stay keep their state; others continue from their saved state.
    fn new(
        config: &Config,
        shared: &Arc<Shared>,
        old: Option<&Self>,
    ) -> Result<Self, CollectorError> {
        let now = shared.now();
        let secret_variables = token::secret_variables(&config.apps);
        let mut clients: HashMap<&[Url], Client> = HashMap::new();
        let mut clock_was_ahead = 0;
        let mut list = Vec::with_capacity(config.apps.len());
        let mut by_appid = HashMap::with_capacity(config.apps.len());
        let mut states = old.map(|old| old.states.clone()).unwrap_or_default();
        for app in &config.apps {
            // All apps with the same hosts share one client.
            let client = match clients.entry(&app.api_urls) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => entry.insert(Client::new(&client_options(config, app))?),
            };
            let before = old.and_then(|old| old.find(&app.appid));
            let state = match states.entry(app.appid.clone()) {
                Entry::Occupied(entry) => Arc::clone(entry.get()),
                Entry::Vacant(entry) => {
                    let saved = shared.store.load(&app.appid, now)?;
                    let (state, was_ahead) = AppState::restore(saved, app, now);
                    clock_was_ahead += usize::from(was_ahead);
                    Arc::clone(entry.insert(Arc::new(state)))
                }
            };
            let tokens = match before {
                Some(before) if before.tokens.mints_for(app) => Arc::clone(&before.tokens),
                _ => Arc::new(TokenSource::new(app, Arc::clone(&secret_variables))),
            };
            by_appid.insert(app.appid.clone(), list.len());
            list.push(Arc::new(App {
                config: app.clone(),
                client: client.for_another_app(),
                tokens,
                shared: Arc::clone(shared),
                state,
            }));
        }
        if clock_was_ahead > 0 {
            tracing::warn!(
                apps = clock_was_ahead,
                "the saved state holds waits that are longer than the settings allow, as from a clock that was ahead or a \
                 longer min_interval; they are ignored"
            );
        }
        Ok(Self {
            list,
            by_appid,
            states,
            scrape: config.scrape,
        })
    }

    /// Returns the apps in the configuration's order.
    pub fn list(&self) -> &[Arc<App>] {
        &self.list
    }

    /// Returns the app with that appid.
    pub fn find(&self, appid: &str) -> Option<&Arc<App>> {
        self.by_appid.get(appid).map(|index| &self.list[*index])
    }
}

fn client_options(config: &Config, app: &AppConfig) -> ClientOptions {
    ClientOptions {
        api_urls: app.api_urls.clone(),
        timeout: config.wechat.timeout,
        list_limits: config.wechat.list_limits(),
        proxy_from_env: config.wechat.proxy_from_env,
    }
}
