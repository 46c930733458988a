//! One Prometheus scrape: a reading of every app, or the reason why there is none, before the deadline.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::app::{App, AppState, CourierNames, Ended, Fetch, FetchStart, Shared, Source, Tasks};
use crate::clock::Moment;
use crate::config::{AppConfig, Config, ScrapeConfig};
use crate::replicas::Replicas;
use crate::snapshot::Snapshot;
use crate::store::{Saved, Store, StoreError};
use crate::token::{self, TokenSource};
use crate::wechat::{Account, Client, ClientError, ClientOptions};

/// Apps that were taken out of the configuration and whose records are kept. Far more than anyone takes out in a day.
const LEFT_MAX: usize = 10_000;

/// All apps. Its configuration can be replaced while scrapes are under way.
#[derive(Debug)]
pub struct Collector {
    apps: ArcSwap<Apps>,
    shared: Shared,
}

/// The apps of one configuration.
#[derive(Debug)]
pub struct Apps {
    list: Vec<Arc<App>>,
    by_appid: HashMap<String, usize>,
    /// Records of apps that a reload has taken out, while their limits matter: one that comes back goes on within the
    /// same budget, and so can't read its accounts at once.
    left: HashMap<String, Arc<AppState>>,
    scrape: ScrapeConfig,
}

/// What one scrape found.
#[derive(Debug)]
pub struct Scrape {
    /// One for each app asked for, in the configuration's order.
    pub readings: Vec<AppReading>,
    /// When it was answered.
    pub now: Moment,
}

/// What one scrape found of one app.
#[derive(Debug)]
pub struct AppReading {
    /// The app.
    pub app: Arc<App>,
    /// The accounts; `None` where there is no reading, or only one too old to serve.
    pub snapshot: Option<Arc<Snapshot>>,
    /// Whether the latest try to fetch succeeded, and in time for this scrape.
    pub up: bool,
    /// How the scrape was served.
    pub source: Source,
}

/// A configuration can't be put in force.
#[derive(Debug, thiserror::Error)]
pub enum CollectorError {
    /// No client for WeChat can be made.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// What was kept of an app can't be had.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Collector {
    /// A collector for a configuration.
    ///
    /// # Errors
    /// See [`CollectorError`].
    pub fn new(config: &Config, store: Store) -> Result<Self, CollectorError> {
        let replicas = config
            .shared_state
            .clone()
            .map(|shared_state| Arc::new(Replicas::new(shared_state, config.wechat.list_limits)));
        Self::among(replicas, config, store)
    }

    /// A collector that shares its budget with those replicas, whatever the configuration says.
    pub(crate) fn among(
        replicas: Option<Arc<Replicas>>,
        config: &Config,
        store: Store,
    ) -> Result<Self, CollectorError> {
        let shared = Shared {
            permits: Arc::new(Semaphore::new(config.wechat.max_concurrency)),
            couriers: Arc::new(CourierNames::default()),
            store: Arc::new(store),
            tasks: Arc::new(Tasks::default()),
            failures: Arc::default(),
            replicas,
        };
        let apps = Apps::new(config, &shared, None)?;
        Ok(Self {
            apps: ArcSwap::from_pointee(apps),
            shared,
        })
    }

    /// Puts a new configuration in the old one's place. Apps that stay keep their counters, limits and readings, and so
    /// do apps that come back on the same day. Fetches under way go on.
    ///
    /// # Errors
    /// See [`CollectorError`]; the old configuration stays.
    pub fn reconfigure(&self, config: &Config) -> Result<(), CollectorError> {
        let old = self.apps.load();
        let new = Apps::new(config, &self.shared, Some(&old))?;
        self.apps.store(Arc::new(new));
        Ok(())
    }

    /// The apps of the configuration in force.
    #[must_use]
    pub fn apps(&self) -> Arc<Apps> {
        self.apps.load_full()
    }

    /// The couriers' names.
    #[must_use]
    pub fn couriers(&self) -> &CourierNames {
        &self.shared.couriers
    }

    /// Where limits and snapshots survive.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.shared.store
    }

    /// The exporters that share budgets with this one; `None`: it is alone.
    #[must_use]
    pub fn replicas(&self) -> Option<&Replicas> {
        self.shared.replicas.as_deref()
    }

    /// Waits until no fetch is at work, but not beyond the deadline.
    pub async fn settled_by(&self, deadline: Instant) {
        self.shared.tasks.ended_by(deadline).await;
    }

    /// Before the process ends: lets the fetches at work finish, so that no fresh token is thrown away and all state is
    /// kept, but not beyond the deadline. No more extras are asked for.
    pub async fn drain(&self, deadline: Instant) {
        self.shared.tasks.make_haste();
        self.settled_by(deadline).await;
        self.shared.failures.tell_rest();
    }
}

/// Reads every app: joins the fetch under way, else starts one where the limiter grants it, else takes the last
/// snapshot. Never fails and never outlasts the deadline.
pub async fn scrape(apps: &[Arc<App>], max_stale: Duration, deadline: Instant) -> Scrape {
    let began = Moment::now();
    let mut now = began;
    let mut steps: Vec<Step> = apps.iter().map(|app| Step::begin(app, began)).collect();
    for step in &mut steps {
        // One after the other is as fast as all at once: the fetches run in tasks of their own.
        if step.wait(deadline).await {
            now = Moment::now();
        }
    }
    let readings = steps
        .into_iter()
        .map(|step| step.read(max_stale, now))
        .collect();
    Scrape { readings, now }
}

/// What is known of an app before a configuration is put in force.
enum Known {
    /// What this process has on record.
    Here(Arc<AppState>),
    /// What the store has of it.
    Saved(Box<Saved>),
}

/// One app in the course of one scrape.
struct Step<'a> {
    app: &'a Arc<App>,
    fetch: Option<Fetch>,
    /// How the scrape is served where there is something to serve.
    source: Source,
    late: bool,
}

impl<'a> Step<'a> {
    fn begin(app: &'a Arc<App>, now: Moment) -> Self {
        let (fetch, source) = match app.begin(now) {
            FetchStart::Started(fetch) => (Some(fetch), Source::Fetched),
            FetchStart::Joined(fetch) => (Some(fetch), Source::Joined),
            FetchStart::Throttled => (None, Source::Snapshot),
        };
        Self {
            app,
            fetch,
            source,
            late: false,
        }
    }

    /// Whether there was anything to wait for.
    async fn wait(&mut self, deadline: Instant) -> bool {
        let Some(fetch) = &mut self.fetch else {
            return false;
        };
        match fetch.ended_by(deadline).await {
            Some(Ended::Published) => {}
            Some(Ended::Followed) => self.source = Source::Joined,
            Some(Ended::Failed | Ended::Throttled) => self.source = Source::Snapshot,
            None => {
                fetch.give_up(self.app);
                self.source = Source::Snapshot;
                self.late = true;
            }
        }
        true
    }

    fn read(self, max_stale: Duration, now: Moment) -> AppReading {
        let (snapshot, succeeded) = self.app.last_reading(max_stale, now);
        let up = !self.late && succeeded;
        let source = match snapshot {
            Some(_) => self.source,
            None => Source::None,
        };
        self.app.counters().count_scrape(source);
        AppReading {
            app: Arc::clone(self.app),
            snapshot,
            up,
            source,
        }
    }
}

impl AppReading {
    /// The accounts of the snapshot served; none where there is no snapshot.
    pub(crate) fn accounts(&self) -> &[Account] {
        self.snapshot
            .as_ref()
            .map_or(&[], |snapshot| snapshot.accounts())
    }
}

impl Apps {
    fn new(config: &Config, shared: &Shared, old: Option<&Self>) -> Result<Self, CollectorError> {
        // First all that can fail: apps that stay must not be told of a reload that comes to nothing.
        let clients = clients(config, old)?;
        let mut known = Vec::with_capacity(config.apps.len());
        for app in &config.apps {
            known.push(match old.and_then(|old| old.record(&app.appid)) {
                Some(record) => Known::Here(Arc::clone(record)),
                None => Known::Saved(Box::new(shared.store.load(&app.appid, Moment::now())?)),
            });
        }
        let mut list = Vec::with_capacity(config.apps.len());
        let secret_variables = token::secret_variables(&config.apps);
        for (app, known) in config.apps.iter().zip(known) {
            let client = &clients[app.api_urls.as_slice()];
            let old = old.and_then(|old| old.find(&app.appid));
            let tokens = match old {
                Some(old) if old.tokens().mints_for(app) => Arc::clone(old.tokens()),
                _ => Arc::new(TokenSource::new(app, Arc::clone(&secret_variables))),
            };
            let client = match old {
                // It knows which host answers this app.
                Some(old) if old.client().is_made_like(client) => Arc::clone(old.client()),
                _ => Arc::new(client.for_another_app()),
            };
            list.push(Arc::new(match known {
                Known::Here(record) => {
                    App::reconfigured(record, app.clone(), client, tokens, shared)
                }
                Known::Saved(saved) => App::new(app.clone(), client, tokens, *saved, shared),
            }));
        }
        let by_appid: HashMap<_, _> = list
            .iter()
            .enumerate()
            .map(|(index, app): (usize, &Arc<App>)| (app.config.appid.clone(), index))
            .collect();
        Ok(Self {
            left: old.map_or_else(HashMap::new, |old| old.records_without(&by_appid, config)),
            list,
            by_appid,
            scrape: config.scrape,
        })
    }

    /// The records that still matter of apps that are not among those, the latest to leave first.
    fn records_without(
        &self,
        apps: &HashMap<String, usize>,
        config: &Config,
    ) -> HashMap<String, Arc<AppState>> {
        let now = Moment::now();
        let in_force = self
            .list
            .iter()
            .map(|app| (&app.config.appid, app.record()));
        in_force
            .chain(&self.left)
            .filter(|(appid, record)| !apps.contains_key(*appid) && !record.is_as_new(now))
            .take(LEFT_MAX)
            .map(|(appid, record)| {
                record.drop_stale(config.scrape.max_stale, now);
                (appid.clone(), Arc::clone(record))
            })
            .collect()
    }

    /// What is kept of an app, in force or not.
    fn record(&self, appid: &str) -> Option<&Arc<AppState>> {
        let in_force = self.find(appid).map(|app| app.record());
        in_force.or_else(|| self.left.get(appid))
    }

    /// The apps in the configuration's order.
    #[must_use]
    pub fn list(&self) -> &[Arc<App>] {
        &self.list
    }

    /// The app of that appid.
    #[must_use]
    pub fn find(&self, appid: &str) -> Option<&Arc<App>> {
        self.by_appid.get(appid).map(|index| &self.list[*index])
    }

    /// How scrapes are answered under this configuration.
    #[must_use]
    pub fn scrape_config(&self) -> ScrapeConfig {
        self.scrape
    }
}

/// The clients of a configuration by the hosts that they reach, one for all apps with the same. One that would be made as
/// before stays, with its connections.
fn clients<'a>(
    config: &'a Config,
    old: Option<&Apps>,
) -> Result<HashMap<&'a [String], Arc<Client>>, ClientError> {
    let old: HashMap<_, _> = old
        .into_iter()
        .flat_map(|old| &old.list)
        .map(|app| (app.config.api_urls.as_slice(), app.client()))
        .collect();
    let mut clients = HashMap::new();
    for app in &config.apps {
        let urls = app.api_urls.as_slice();
        if clients.contains_key(urls) {
            continue;
        }
        let new = Client::new(client_options(config, app))?;
        let client = match old.get(urls) {
            Some(old) if old.is_made_like(&new) => Arc::clone(old),
            _ => Arc::new(new),
        };
        clients.insert(urls, client);
    }
    Ok(clients)
}

fn client_options(config: &Config, app: &AppConfig) -> ClientOptions {
    ClientOptions {
        api_urls: app.api_urls.clone(),
        timeout: config.wechat.timeout,
        list_limits: config.wechat.list_limits,
        proxy_from_env: config.wechat.proxy_from_env,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::WechatConfig;
    use crate::demo::{Options, Simulation};

    const HOUR: Duration = Duration::from_secs(3600);

    fn config(app: AppConfig, timeout: Duration) -> Config {
        Config {
            wechat: WechatConfig {
                timeout,
                proxy_from_env: false,
                ..WechatConfig::default()
            },
            ..Config::new(vec![app])
        }
    }

    #[tokio::test]
    async fn reload_forgets_what_was_found_out_about_hosts_only_where_they_are_reached_otherwise() {
        // Nobody listens on the first host.
        const AWAY: &str = "127.0.0.1:9";
        let wechat = Simulation::start(&Options::default()).await.unwrap();
        let mut app = AppConfig::from(wechat.apps().remove(0));
        app.api_urls.insert(0, format!("http://{AWAY}"));
        let before = config(app.clone(), Duration::from_secs(30));
        let store = Store::open(None, before.wechat.list_limits).unwrap();
        let collector = Collector::new(&before, store).unwrap();
        let deadline = Instant::now() + Duration::from_secs(120);
        let scrape = scrape(collector.apps().list(), HOUR, deadline).await;
        assert!(scrape.readings[0].up);

        let host = |config: &Config| {
            collector.reconfigure(config).unwrap();
            collector.apps().list()[0].api_host().to_owned()
        };
        let another_name = AppConfig {
            name: "renamed".to_owned(),
            ..app.clone()
        };
        let stands_in = wechat.address().to_string();
        assert_eq!(host(&before), stands_in);
        assert_eq!(
            host(&config(another_name, before.wechat.timeout)),
            stands_in
        );
        assert_eq!(host(&config(app, Duration::from_secs(40))), AWAY);
    }

    #[tokio::test]
    async fn app_that_a_reload_takes_out_and_another_brings_back_shows_its_last_reading() {
        let wechat = Simulation::start(&Options::default()).await.unwrap();
        let [mut first, second] = [0, 1].map(|app| AppConfig::from(wechat.apps().remove(app)));
        first.min_interval = HOUR;
        let timeout = Duration::from_secs(30);
        let mut both = config(first, timeout);
        both.apps.push(second.clone());
        both.scrape.max_stale = HOUR;
        let store = Store::open(None, both.wechat.list_limits).unwrap();
        let collector = Collector::new(&both, store).unwrap();
        let deadline = Instant::now() + Duration::from_secs(120);
        let read = async || {
            let apps = collector.apps();
            let mut scrape = scrape(apps.list(), HOUR, deadline).await;
            collector.settled_by(deadline).await;
            scrape.readings.remove(0)
        };
        let before = read().await.snapshot.unwrap();
        let mut second_alone = config(second, timeout);
        second_alone.scrape.max_stale = HOUR;
        collector.reconfigure(&second_alone).unwrap();
        collector.reconfigure(&both).unwrap();
        let after = read().await;
        assert_eq!(
            after.source,
            Source::Snapshot,
            "its interval has not passed"
        );
        assert!(after.up && Arc::ptr_eq(&after.snapshot.unwrap(), &before));

        second_alone.scrape.max_stale = Duration::ZERO;
        collector.reconfigure(&second_alone).unwrap();
        collector.reconfigure(&both).unwrap();
        assert!(read().await.snapshot.is_none(), "it was too old to keep");
    }
}
