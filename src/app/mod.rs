//! One Mini Program at run time: its limiter, its token, its last reading, and the fetch under way.

mod counters;
mod fetch;
mod log;
mod meter;
mod optional_calls;
mod tasks;
mod turn;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Semaphore;

pub use counters::{Counters, Source};
pub use fetch::{Ended, Fetch, FetchError};
pub use log::FailureLog;
pub use optional_calls::{CourierNames, Extras};
pub use tasks::Tasks;
use turn::Followed;

use crate::clock::Moment;
use crate::config::AppConfig;
use crate::limiter::{Budget, RateLimiter};
use crate::replicas::Replicas;
use crate::snapshot::Snapshot;
use crate::store::{LastFetch, Saved, SavedProgress, Store};
use crate::token::TokenSource;
use crate::usage_rate::Burn;
use crate::wechat::{Account, AccountList, Api, ApiQuota, Client, Reason};

/// One Mini Program with its credentials, and what is known of its accounts.
#[derive(Debug)]
pub struct App {
    /// Its settings.
    pub config: AppConfig,
    client: Arc<Client>,
    tokens: Arc<TokenSource>,
    /// Bounds the fetches under way over all apps.
    permits: Arc<Semaphore>,
    couriers: Arc<CourierNames>,
    store: Arc<Store>,
    tasks: Arc<Tasks>,
    failures: Arc<FailureLog>,
    replicas: Option<Arc<Replicas>>,
    record: Arc<AppState>,
    /// [`AppState::reloads`] as this configuration came into force.
    reloads: u64,
}

/// What outlives a reload of the configuration, and for a while one that takes the app out.
#[derive(Debug)]
pub struct AppState {
    limiter: RateLimiter,
    counters: Counters,
    fetch_duration: prometheus::Histogram,
    extras: Extras,
    reading: Mutex<Reading>,
    /// How fast balances fall, from the readings since the start.
    burn: Mutex<Burn>,
    followed: Mutex<Followed>,
    /// Calls that the work under way may still send. A crash loses their count, so the store has them as sent.
    reserved: AtomicU64,
    /// Configurations that followed the first.
    reloads: AtomicU64,
}

#[derive(Debug, Default)]
struct Reading {
    snapshot: Option<Arc<Snapshot>>,
    last_fetch: Option<LastFetch>,
    /// When that ended, by a clock that nobody sets; `None`: in an earlier run, at a time that can't be told.
    ended: Option<Instant>,
    fetch: Option<Fetch>,
    api_quota: Option<(Api, ApiQuota)>,
}

/// The parts that apps share.
#[derive(Clone, Debug)]
pub struct Shared {
    /// Bounds the fetches under way over all apps.
    pub permits: Arc<Semaphore>,
    /// The couriers' names.
    pub couriers: Arc<CourierNames>,
    /// Where limits and snapshots survive.
    pub store: Arc<Store>,
    /// The fetches at work.
    pub tasks: Arc<Tasks>,
    /// The lines about their failures.
    pub failures: Arc<FailureLog>,
    /// Those who share budgets, tokens and snapshots; `None`: this exporter is alone.
    pub replicas: Option<Arc<Replicas>>,
}

/// What a scrape may do for an app.
#[derive(Debug)]
pub enum FetchStart {
    /// A fetch was granted and is under way.
    Started(Fetch),
    /// Another scrape's fetch is under way.
    Joined(Fetch),
    /// No fetch: the last snapshot has to do.
    Throttled,
}

impl App {
    /// An app that knows nothing yet but what the store has `saved`.
    #[must_use]
    pub fn new(
        config: AppConfig,
        client: Arc<Client>,
        tokens: Arc<TokenSource>,
        saved: Saved,
        shared: &Shared,
    ) -> Self {
        let now = Moment::now();
        let ended = |last: &LastFetch| {
            // Of an earlier run the wall clock is all there is. A time to come is none.
            let ago = now.wall.duration_since(last.at).ok()?;
            now.monotonic.checked_sub(ago)
        };
        let record = AppState {
            limiter: RateLimiter::restore(saved.limiter, budget(&config), now),
            counters: Counters::default(),
            fetch_duration: fetch_duration_histogram(),
            extras: Extras::default(),
            reading: Mutex::new(Reading {
                snapshot: saved.snapshot.map(Arc::new),
                ended: saved.last_fetch.as_ref().and_then(ended),
                last_fetch: saved.last_fetch,
                ..Reading::default()
            }),
            burn: Mutex::new(Burn::new(config.days_left_after, now)),
            followed: Mutex::default(),
            reserved: AtomicU64::new(0),
            reloads: AtomicU64::new(0),
        };
        if let Some(last) = &record.lock().last_fetch {
            record.counters.set_errcode(last.errcode);
        }
        Self::with_record(config, client, tokens, shared, Arc::new(record))
    }

    /// The app of that record under a new configuration: counters, limits and the last reading go on.
    #[must_use]
    pub fn reconfigured(
        record: Arc<AppState>,
        config: AppConfig,
        client: Arc<Client>,
        tokens: Arc<TokenSource>,
        shared: &Shared,
    ) -> Self {
        record.reloads.fetch_add(1, Ordering::Relaxed);
        record.limiter.reloaded(budget(&config), Moment::now());
        Self::with_record(config, client, tokens, shared, record)
    }

    fn with_record(
        config: AppConfig,
        client: Arc<Client>,
        tokens: Arc<TokenSource>,
        shared: &Shared,
        record: Arc<AppState>,
    ) -> Self {
        Self {
            config,
            client,
            tokens,
            permits: Arc::clone(&shared.permits),
            couriers: Arc::clone(&shared.couriers),
            store: Arc::clone(&shared.store),
            tasks: Arc::clone(&shared.tasks),
            failures: Arc::clone(&shared.failures),
            replicas: shared.replicas.clone(),
            reloads: record.reloads.load(Ordering::Relaxed),
            record,
        }
    }

    /// Whether another configuration is in force by now.
    fn is_replaced(&self) -> bool {
        self.record.reloads.load(Ordering::Relaxed) != self.reloads
    }

    /// Joins the fetch under way or, where the limiter grants one, starts it. Must run inside a runtime.
    pub fn begin(self: &Arc<Self>, now: Moment) -> FetchStart {
        let mut reading = self.record.lock();
        if let Some(fetch) = &reading.fetch {
            return FetchStart::Joined(fetch.clone());
        }
        match self.record.limiter.try_acquire(self.budget(), now) {
            Ok(wait) => {
                let (fetch, work) = Fetch::new(Arc::clone(self), wait);
                reading.fetch = Some(fetch.clone());
                // A runtime that is stopping drops the work at once, and its end takes the lock.
                drop(reading);
                tokio::spawn(work);
                FetchStart::Started(fetch)
            }
            Err(cause) => {
                self.record.counters.count_refused(cause);
                FetchStart::Throttled
            }
        }
    }

    /// The last snapshot, unless it is too old to serve, and whether the latest finished fetch succeeded: both as of
    /// the same instant.
    #[must_use]
    pub fn last_reading(&self, max_stale: Duration, now: Moment) -> (Option<Arc<Snapshot>>, bool) {
        let reading = self.record.lock();
        let snapshot = reading
            .snapshot
            .as_ref()
            .filter(|snapshot| snapshot.age(now) <= max_stale);
        let succeeded = reading
            .last_fetch
            .as_ref()
            .is_some_and(LastFetch::succeeded);
        (snapshot.map(Arc::clone), succeeded)
    }

    /// The last snapshot, unless it is too old to serve.
    #[must_use]
    pub fn snapshot(&self, max_stale: Duration, now: Moment) -> Option<Arc<Snapshot>> {
        self.last_reading(max_stale, now).0
    }

    /// What outlives a reload.
    #[must_use]
    pub fn record(&self) -> &Arc<AppState> {
        &self.record
    }

    /// What has counted its calls.
    #[must_use]
    pub fn limiter(&self) -> &RateLimiter {
        &self.record.limiter
    }

    /// How the latest finished fetch went; `None`: none has finished yet.
    #[must_use]
    pub fn last_fetch(&self) -> Option<LastFetch> {
        self.record.lock().last_fetch.clone()
    }

    /// The fetch under way.
    #[must_use]
    pub fn fetch_under_way(&self) -> Option<Fetch> {
        self.record.lock().fetch.clone()
    }

    /// WeChat's own figures for the account list's API, where switched on and known.
    #[must_use]
    pub fn api_quota(&self) -> Option<(Api, ApiQuota)> {
        self.record.lock().api_quota
    }

    /// What was counted.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.record.counters
    }

    /// Durations of the account-list fetches, token call included.
    #[must_use]
    pub fn fetch_duration(&self) -> &prometheus::Histogram {
        &self.record.fetch_duration
    }

    /// Calls left of the exporter's own daily limit; `None` where there is none.
    #[must_use]
    pub fn daily_calls_remaining(&self, now: Moment) -> Option<u64> {
        self.record.limiter.remaining(self.budget(), now)
    }

    /// Calls sent today.
    #[must_use]
    pub fn daily_calls_used(&self, now: Moment) -> u64 {
        self.record.limiter.used(now)
    }

    /// The reason for which no call is made now, where WeChat's last answer makes trying again useless.
    #[must_use]
    pub fn open_breaker(&self, now: Moment) -> Option<Reason> {
        self.record.limiter.open_breaker(now)
    }

    /// When calls are allowed again, where WeChat's last answer makes trying again useless now.
    #[must_use]
    pub fn breaker_until(&self, now: Moment) -> Option<SystemTime> {
        self.record.limiter.open_until(now)
    }

    /// How long an account's balance lasts if it goes on falling as it did since the start. Unit: days; `None`: not
    /// known yet (see [`Burn::days_left`]).
    #[must_use]
    pub fn days_left(&self, account: &Account, now: Moment) -> Option<f64> {
        self.record.burn().days_left(account, now)
    }

    /// The time over which [`Self::days_left`] has looked on.
    #[must_use]
    pub fn burn_observed_for(&self, now: Moment) -> Duration {
        self.record.burn().observed_for(now)
    }

    /// Where its token comes from.
    pub(crate) fn tokens(&self) -> &Arc<TokenSource> {
        &self.tokens
    }

    /// When the token in use ends, where known.
    #[must_use]
    pub fn token_expiry(&self) -> Option<SystemTime> {
        self.tokens.expiry()
    }

    /// What its calls are sent through.
    #[must_use]
    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// The host that calls go to now.
    #[must_use]
    pub fn api_host(&self) -> &str {
        self.client.current_host()
    }

    /// What the account list is read through.
    #[must_use]
    pub fn list_endpoint(&self) -> Api {
        match self.config.cloud_function {
            None => Api::AccountGetall,
            Some(_) => Api::InvokeCloudFunction,
        }
    }

    fn budget(&self) -> Budget {
        budget(&self.config)
    }

    /// Drops what can hold personal data, unless the operator asked for it.
    fn forget_remarks(&self, list: &mut AccountList) {
        for account in &mut list.accounts {
            if !self.config.remark_wrong_msg {
                account.remark_wrong_msg = Box::default();
            }
            if !self.config.remark_content {
                account.remark_content = Box::default();
            }
        }
    }

    /// Reserves so many calls, until the value goes.
    fn reserve(&self, calls: u64) -> Reserved {
        let record = Arc::clone(&self.record);
        record.reserved.fetch_add(calls, Ordering::AcqRel);
        Reserved { record, calls }
    }

    /// Keeps the limiter's state in the store, with all that is reserved counted as sent beforehand.
    async fn save_progress(self: &Arc<Self>) {
        let app = Arc::clone(self);
        let progress = move || {
            let reserved = app.record.reserved.load(Ordering::Acquire);
            SavedProgress {
                limiter: app.record.limiter.save(reserved, Moment::now()),
                last_fetch: app.last_fetch(),
            }
        };
        self.store.save_progress(&self.config.appid, progress).await;
    }
}

impl fmt::Display for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.config.appid)
    }
}

/// Calls that some work may send. A fetch and the extras of the one before can be at work at the same time.
#[derive(Debug)]
struct Reserved {
    record: Arc<AppState>,
    calls: u64,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.record.reserved.fetch_sub(self.calls, Ordering::AcqRel);
    }
}

impl Reading {
    /// Puts on record how a fetch went that ended at that time, where it can be told.
    fn finish(&mut self, last_fetch: LastFetch, ended: Option<Instant>) {
        self.last_fetch = Some(last_fetch);
        self.ended = ended;
    }

    /// Why the latest finished fetch failed, if it did.
    fn failed_for(&self) -> Option<Reason> {
        let failure = self.last_fetch.as_ref()?.failure.as_ref()?;
        Some(failure.reason)
    }

    /// Whether a fetch that ended at that time is later than the last one on record.
    fn is_before(&self, ended: Option<Instant>) -> bool {
        // The earliest of all is what ended at a time that can't be told.
        self.ended.is_none_or(|own| Some(own) < ended)
    }
}

impl AppState {
    /// Whether no limit is lost with it, see [`RateLimiter::is_as_new`].
    #[must_use]
    pub fn is_as_new(&self, now: Moment) -> bool {
        self.limiter.is_as_new(now)
    }

    /// Lets a reading go that is too old to serve.
    pub fn drop_stale(&self, max_stale: Duration, now: Moment) {
        let mut reading = self.lock();
        reading.snapshot = reading
            .snapshot
            .take()
            .filter(|snapshot| snapshot.age(now) <= max_stale);
    }

    fn lock(&self) -> MutexGuard<'_, Reading> {
        // Every change under the lock is complete in itself, so a panic elsewhere leaves nothing half done.
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn burn(&self) -> MutexGuard<'_, Burn> {
        // As above: a half observed reading is a rate a little too low.
        self.burn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was taken over from other replicas.
    fn followed(&self) -> MutexGuard<'_, Followed> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::meter::Progress;
    use super::*;
    use crate::config::{Credential, SecretSource, SecretUrl, SharedStateConfig};
    use crate::limiter::{Cause, SharedLimiter};
    use crate::replicas::{Answer, Outcome, Verdict};
    use crate::store::form;
    use crate::token;
    use crate::wechat::{ClientOptions, ListLimits};

    const HOUR: Duration = Duration::from_secs(3600);

    fn app() -> Arc<App> {
        app_among(None)
    }

    fn app_among(replicas: Option<Arc<Replicas>>) -> Arc<App> {
        let credential = Credential::StableToken {
            secret: SecretSource::Simulated,
        };
        let config = AppConfig::new("wx0000000000000001", credential);
        let list_limits = ListLimits::default();
        let client = Client::new(ClientOptions {
            // Nobody listens there, and nobody is called.
            api_urls: vec!["http://127.0.0.1:9".to_owned()],
            timeout: Duration::from_secs(1),
            list_limits,
            proxy_from_env: false,
        });
        let shared = Shared {
            permits: Arc::new(Semaphore::new(1)),
            couriers: Arc::default(),
            store: Arc::new(Store::open(None, list_limits).unwrap()),
            tasks: Arc::default(),
            failures: Arc::default(),
            replicas,
        };
        let tokens = Arc::new(TokenSource::new(&config, Arc::default()));
        let client = Arc::new(client.unwrap());
        Arc::new(App::new(config, client, tokens, Saved::default(), &shared))
    }

    #[test]
    fn fetch_that_begins_while_the_runtime_stops_fails_and_locks_nobody_out() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let handle = runtime.handle().clone();
        drop(runtime);
        let (ended, end) = mpsc::channel();
        std::thread::spawn(move || {
            let _guard = handle.enter();
            let app = app();
            let begun = app.begin(Moment::now());
            let started = matches!(begun, FetchStart::Started(_));
            ended.send((started, app.fetch_under_way().is_none()))
        });
        let ended = end.recv_timeout(Duration::from_secs(30));
        assert_eq!(ended.expect("begin returns"), (true, true));
    }

    #[test]
    fn failure_of_a_fetch_begun_before_a_reload_keeps_nothing_back_after_it() {
        let old = app();
        let now = Moment::now();
        let fail = |app: &App| {
            let error = FetchError::Token(token::Error::settings("it can't be read"));
            fetch::publish(app, Err(error), &Progress::default());
            app.limiter().try_acquire(app.budget(), now)
        };
        assert_eq!(fail(&old), Err(Cause::Breaker));
        let shared = Shared {
            permits: Arc::clone(&old.permits),
            couriers: Arc::clone(&old.couriers),
            store: Arc::clone(&old.store),
            tasks: Arc::clone(&old.tasks),
            failures: Arc::clone(&old.failures),
            replicas: None,
        };
        let (client, tokens) = (Arc::clone(&old.client), Arc::clone(&old.tokens));
        let record = Arc::clone(&old.record);
        let new = App::reconfigured(record, old.config.clone(), client, tokens, &shared);
        assert_eq!(fail(&old), Ok(Duration::ZERO), "it may be mended by now");
        assert_eq!(fail(&new), Err(Cause::Breaker));
    }

    #[tokio::test]
    async fn later_outcome_of_another_replica_counts_though_the_clock_was_set() {
        let config = SharedStateConfig {
            // Nobody listens there, and nobody is asked.
            redis: SecretUrl::new("redis://127.0.0.1:9/0".to_owned()),
            password_file: None,
            key_prefix: "test:".to_owned(),
        };
        let replicas = Arc::new(Replicas::new(config, ListLimits::default()));
        let app = app_among(Some(Arc::clone(&replicas)));
        let now = Moment::now();
        let ago = |seconds| Duration::from_secs(seconds);
        let failed =
            |errcode, at| LastFetch::failed(Reason::Permission, Some(errcode), String::new(), at);
        // When the fetches ended the clock was an hour ahead of now, or behind.
        for (own_at, other_at) in [(now.wall + HOUR, now.wall), (now.wall - HOUR, now.wall)] {
            for (age, newer) in [(ago(15), false), (ago(5), true)] {
                let own = failed(1, own_at);
                let ended = now.monotonic.checked_sub(ago(10));
                app.record.lock().finish(own, ended);
                let progress = SavedProgress {
                    last_fetch: Some(failed(2, other_at)),
                    ..SavedProgress::default()
                };
                let form = form::write_progress(&progress, &app.config.appid);
                let answer = Answer {
                    verdict: Verdict::Refused(Cause::Interval),
                    limiter: SharedLimiter {
                        clock: now.wall,
                        used: 0,
                        elsewhere: std::collections::BTreeMap::new(),
                        held: 0,
                        next_fetch: None,
                        breaker: None,
                    },
                    outcome: Some(Outcome {
                        fetch: format!("{own_at:?} {newer}"),
                        age,
                        form: String::from_utf8(form).unwrap(),
                    }),
                    snapshot: None,
                };
                app.follow(&replicas, &answer, now, false).await;
                let last_fetch = app.last_fetch().unwrap();
                assert_eq!(last_fetch.errcode == 2, newer, "{own_at:?} {age:?}");
                if newer {
                    assert_eq!(last_fetch.at, now.wall - age);
                }
            }
        }
    }

    /// One account's balance, read so long ago.
    fn reading(quota_num: f64, age: Duration) -> Snapshot {
        let account = Account {
            quota_num: Some(quota_num),
            ..Account::default()
        };
        let list = AccountList {
            accounts: vec![account],
            ..AccountList::default()
        };
        Snapshot::fetched_now(list, Moment::now()).aged(age)
    }

    #[tokio::test]
    async fn outdated_reading_of_another_replica_takes_no_part_in_the_burn_rate() {
        let app = app();
        let mut start = Moment::now();
        start.monotonic -= Duration::from_secs(10);
        let burn = || Burn::new(Duration::ZERO, start);
        *app.record.burn() = burn();
        let mut expected = burn();
        let mut read = |quota_num, now| {
            let reading = reading(quota_num, Duration::ZERO);
            app.record.burn().observe(&reading, now);
            expected.observe(&reading, now);
            let account = reading.accounts()[0].clone();
            app.record.lock().snapshot = Some(Arc::new(reading));
            (
                app.days_left(&account, now),
                expected.days_left(&account, now),
            )
        };
        for (seconds, quota_num) in [(1, 100.0), (2, 90.0), (3, 80.0)] {
            read(quota_num, start.after(Duration::from_secs(seconds)));
        }
        let outdated = reading(100.0, Duration::from_secs(60));
        app.take_over(outdated).await;
        let (days, expected) = read(70.0, Moment::now());
        assert!(expected.is_some());
        assert_eq!(days, expected);
    }

    #[test]
    fn reservation_of_one_piece_of_work_outlives_that_of_another() {
        let app = app();
        let of_extras = app.reserve(3);
        let of_next_fetch = app.reserve(4);
        drop(of_extras);
        assert_eq!(app.record.reserved.load(Ordering::Acquire), 4);
        drop(of_next_fetch);
        assert_eq!(app.record.reserved.load(Ordering::Acquire), 0);
    }
}
