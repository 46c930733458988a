//! Several exporters in one process, a real Redis server, and a simulated WeChat that counts what it is asked.

use std::collections::HashMap;
use std::sync::Mutex;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::*;
use crate::app::Source;
use crate::collector::{AppReading, Collector, scrape};
use crate::config::{AppConfig, Config, SecretUrl, WechatConfig};
use crate::demo::{Options, Simulation};
use crate::limiter::RateLimiter;
use crate::redis_server::Server;
use crate::store::Store;
use crate::wechat::{Api, Reason};

const APPID: &str = "wx0000000000000001";
const LIST: &str = "/cgi-bin/express/business/account/getall";
const STABLE_TOKEN: &str = "/cgi-bin/stable_token";
const HOUR: Duration = Duration::from_secs(3600);
/// Never comes: these tests run on machines under load.
const FAR: Duration = Duration::from_secs(120);
const PATIENT: Patience = Patience {
    answer: Duration::from_secs(60),
    snapshot: Duration::from_secs(60),
    away: Duration::from_millis(50),
};

/// The world around the replicas.
struct World {
    redis: Server,
    wechat: Simulation,
    app: AppConfig,
}

impl World {
    async fn new() -> Self {
        let options = Options {
            apps: 1,
            ..Options::default()
        };
        Self::with(&options).await
    }

    async fn with(options: &Options) -> Self {
        let wechat = Simulation::start(options).await.unwrap();
        let mut app = AppConfig::from(wechat.apps().remove(0));
        app.min_interval = HOUR;
        Self {
            redis: Server::start(&[]),
            wechat,
            app,
        }
    }

    fn config(&self) -> Config {
        Config {
            wechat: WechatConfig {
                timeout: Duration::from_secs(30),
                proxy_from_env: false,
                ..WechatConfig::default()
            },
            shared_state: Some(self.shared_state()),
            ..Config::new(vec![self.app.clone()])
        }
    }

    fn shared_state(&self) -> SharedStateConfig {
        SharedStateConfig {
            redis: SecretUrl::new(self.redis.url()),
            password_file: None,
            key_prefix: "test:".to_owned(),
        }
    }

    /// The same for the user `exporter`, which that rule makes.
    async fn shared_state_of_user(&self, rule: &str) -> SharedStateConfig {
        let words: Vec<&str> = rule.split_whitespace().collect();
        self.set(&words).await;
        let port = self.redis.port();
        SharedStateConfig {
            redis: SecretUrl::new(format!("redis://exporter:PASSWORD@127.0.0.1:{port}/")),
            ..self.shared_state()
        }
    }

    fn replica(&self) -> Replica {
        self.replica_with(PATIENT, self.shared_state())
    }

    fn replica_with(&self, patience: Patience, shared_state: SharedStateConfig) -> Replica {
        let limits = self.config().wechat.list_limits;
        let store = Store::open(None, limits).unwrap();
        self.replica_that_kept(store, patience, shared_state)
    }

    fn replica_that_kept(
        &self,
        store: Store,
        patience: Patience,
        shared_state: SharedStateConfig,
    ) -> Replica {
        let config = self.config();
        let limits = config.wechat.list_limits;
        let replicas = Arc::new(Replicas::with_patience(shared_state, limits, patience));
        Replica(Collector::among(Some(replicas), &config, store).unwrap())
    }

    fn replicas(&self, count: usize) -> Vec<Replica> {
        (0..count).map(|_| self.replica()).collect()
    }

    fn calls(&self) -> (u64, u64) {
        (self.wechat.calls(LIST), self.wechat.calls(STABLE_TOKEN))
    }

    fn fault(&self, fault: &str) {
        self.wechat.set_fault(fault.parse().unwrap());
    }

    async fn field(&self, name: &str, field: &str) -> Option<u64> {
        self.ask(&["HGET", &key(name), field]).await
    }

    /// The day's calls that stand on the server.
    async fn used(&self) -> u64 {
        let calls: HashMap<String, u64> = self.ask(&["HGETALL", &key("calls")]).await;
        let counts = |name: &str| name.starts_with("sent:") || name == "unnamed";
        calls
            .iter()
            .filter(|(name, _)| counts(name))
            .map(|(_, calls)| calls)
            .sum()
    }

    async fn set(&self, command: &[&str]) {
        self.redis.run(command).await;
    }

    async fn ask<T: redis::FromRedisValue>(&self, command: &[&str]) -> T {
        redis::from_redis_value(self.redis.run(command).await).unwrap()
    }
}

/// One exporter.
struct Replica(Collector);

impl Replica {
    async fn scrape(&self) -> AppReading {
        self.scrape_within(FAR).await
    }

    async fn scrape_within(&self, limit: Duration) -> AppReading {
        let apps = self.0.apps();
        let mut scrape = scrape(apps.list(), HOUR, Instant::now() + limit).await;
        scrape.readings.remove(0)
    }

    /// Scrapes, and waits until what was found is on the server.
    async fn settle(&self) -> AppReading {
        let reading = self.scrape().await;
        self.0.settled_by(Instant::now() + FAR).await;
        reading
    }

    fn failures(&self, failure: Failure) -> u64 {
        self.0.replicas().unwrap().failures(failure)
    }

    fn requests(&self) -> u64 {
        let apps = self.0.apps();
        let counters = apps.list()[0].counters();
        Api::ALL.iter().map(|&api| counters.requests(api)).sum()
    }

    fn remaining(&self) -> Option<u64> {
        self.0.apps().list()[0].daily_calls_remaining(Moment::now())
    }
}

/// What this thread logs, which is all that happens in a test.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn of_this_thread() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    /// How many lines say that.
    fn lines(&self, said: &str) -> usize {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().filter(|line| line.contains(said)).count()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn key(name: &str) -> String {
    format!("test:{{{APPID}}}:{name}")
}

fn accounts(reading: &AppReading) -> &[crate::wechat::Account] {
    reading.snapshot.as_ref().unwrap().accounts()
}

#[tokio::test]
async fn four_replicas_scraped_ten_times_at_once_cost_one_list() {
    let world = World::new().await;
    let replicas = world.replicas(4);
    let scrapes = (0..40).map(|number| replicas[number % 4].scrape());
    let readings = join_all(scrapes).await;
    assert_eq!(world.calls(), (1, 1));
    for reading in &readings {
        assert!(reading.up);
        assert_eq!(accounts(reading), accounts(&readings[0]));
        let (one, other) = (reading.snapshot.as_ref(), readings[0].snapshot.as_ref());
        // A file of state knows milliseconds.
        let seconds = |snapshot: Option<&Arc<Snapshot>>| {
            crate::clock::unix_millis(snapshot.unwrap().fetched())
        };
        assert_eq!(seconds(one), seconds(other));
    }
    let fetched = |reading: &&AppReading| reading.source == Source::Fetched;
    assert_eq!(readings.iter().filter(fetched).count(), 1);
    assert_eq!(replicas.iter().map(Replica::requests).sum::<u64>(), 2);
}

#[tokio::test]
async fn four_replicas_over_several_intervals_cost_what_one_does() {
    const ROUNDS: u64 = 4;
    let mut world = World::new().await;
    world.app.min_interval = Duration::from_millis(500);
    let replicas = world.replicas(4);
    let began = Instant::now();
    for round in 0..ROUNDS {
        if round > 0 {
            tokio::time::sleep(world.app.min_interval).await;
        }
        for reading in join_all(replicas.iter().map(Replica::settle)).await {
            assert!(reading.up);
        }
        assert!(world.calls().0 > round, "an interval has passed");
    }
    // As many as one limiter could have granted in the time that it took.
    let intervals = began.elapsed().as_millis() / world.app.min_interval.as_millis();
    let (lists, tokens) = world.calls();
    assert!(u128::from(lists) <= intervals + 1, "{lists} in {intervals}");
    assert_eq!(tokens, 1);
}

#[tokio::test]
async fn replica_that_starts_later_shows_the_reading_without_a_call() {
    let world = World::new().await;
    world.fault("duplicates");
    let first = world.replica().settle().await;
    let reading = world.replica().scrape().await;
    assert!(reading.up);
    assert_eq!(reading.source, Source::Snapshot);
    assert_eq!(accounts(&reading), accounts(&first));
    let dropped = |reading: &AppReading| reading.snapshot.as_ref().unwrap().dropped();
    assert!(dropped(&first).duplicate > 0);
    assert_eq!(dropped(&reading), dropped(&first));
    assert_eq!(world.calls(), (1, 1));
}

#[tokio::test]
async fn daily_limit_is_one_for_all_replicas() {
    let mut world = World::new().await;
    world.app.min_interval = Duration::ZERO;
    world.app.daily_limit = Some(6);
    let replicas = world.replicas(3);
    for _ in 0..4 {
        join_all(replicas.iter().map(Replica::settle)).await;
    }
    let (lists, tokens) = world.calls();
    assert_eq!(lists + tokens, 6);
    assert_eq!(world.used().await, 6);
    for replica in &replicas {
        replica.settle().await;
        assert_eq!(replica.remaining(), Some(0));
    }
    // Who starts now knows nothing and is told.
    assert_eq!(world.replica().settle().await.source, Source::Snapshot);
    assert_eq!(world.calls().0 + tokens, 6);
}

#[tokio::test]
async fn failure_that_needs_mending_stops_all_replicas_and_shows_on_each() {
    let world = World::new().await;
    world.fault("48001");
    let (first, second) = (world.replica(), world.replica());
    assert!(!first.settle().await.up);
    let calls = world.calls();
    let reading = second.settle().await;
    assert!(!reading.up);
    let last_fetch = reading.app.last_fetch().unwrap();
    let failure = last_fetch.failure.unwrap();
    assert_eq!(failure.reason, Reason::Permission);
    assert_eq!(failure.api, Some(Api::AccountGetall));
    assert!(failure.text.contains("48001"), "{}", failure.text);
    assert_eq!(last_fetch.errcode, 48001);
    assert_eq!(
        reading.app.open_breaker(Moment::now()),
        Some(Reason::Permission)
    );
    assert_eq!(second.requests(), 0);
    assert_eq!(world.calls(), calls);

    // Mended, and one replica reloaded: that one tries at once.
    world.wechat.clear_faults();
    second.0.reconfigure(&world.config()).unwrap();
    assert!(second.settle().await.up);
    assert_eq!(world.field("limiter", "breaker_until").await, None);
    let later = world.replica().settle().await;
    assert!(later.up);
    assert_eq!(later.app.open_breaker(Moment::now()), None);
}

#[tokio::test]
async fn restart_with_a_clock_set_back_hides_no_outcome_of_another_replica() {
    let world = World::new().await;
    world.replica().settle().await;
    let limits = world.config().wechat.list_limits;
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(Some(directory.path().to_owned()), limits).unwrap();
    let at = Moment::now().wall + HOUR;
    let failed = LastFetch::failed(Reason::Permission, Some(48001), String::new(), at);
    let progress = SavedProgress {
        last_fetch: Some(failed),
        ..SavedProgress::default()
    };
    store.save_progress(APPID, move || progress).await;
    drop(store);
    let store = Store::open(Some(directory.path().to_owned()), limits).unwrap();
    let replica = world.replica_that_kept(store, PATIENT, world.shared_state());
    assert!(
        replica.0.apps().list()[0]
            .last_fetch()
            .unwrap()
            .failure
            .is_some()
    );
    let reading = replica.settle().await;
    assert!(reading.up);
    assert_eq!(reading.source, Source::Snapshot);
}

#[tokio::test]
async fn back_off_goes_on_doubling_from_replica_to_replica() {
    let mut world = World::new().await;
    world.app.min_interval = Duration::from_millis(200);
    world.fault("48001");
    let (first, second) = (world.replica(), world.replica());
    first.settle().await;
    assert_eq!(world.field("limiter", "breaker_backoff").await, Some(400));
    tokio::time::sleep(Duration::from_millis(250)).await;
    second.settle().await;
    assert_eq!(world.field("limiter", "breaker_backoff").await, Some(800));
    assert_eq!(world.calls().0, 2);
}

#[tokio::test]
async fn replica_waits_for_anothers_fetch_no_longer_than_its_scrape_may_last() {
    let world = World::new().await;
    world.fault("account_getall=slow-3s");
    let (first, second) = (Arc::new(world.replica()), world.replica());
    let fetching = tokio::spawn({
        let first = Arc::clone(&first);
        async move { first.settle().await.up }
    });
    while world.wechat.calls(LIST) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let late = second.scrape_within(Duration::from_millis(100)).await;
    assert!(!late.up && late.snapshot.is_none());
    let joined = second.scrape().await;
    assert!(joined.up);
    assert_eq!(joined.source, Source::Joined);
    assert!(fetching.await.unwrap());
    assert_eq!(world.calls(), (1, 1));
    assert_eq!(second.requests(), 0);
}

#[tokio::test]
async fn fetch_whose_replica_died_blocks_nobody_beyond_its_mark() {
    let mut world = World::new().await;
    world.app.min_interval = Duration::ZERO;
    world.replica().settle().await;
    let mark = key("fetching");
    world
        .set(&["SET", &mark, "of-a-dead-replica", "PX", "300"])
        .await;
    assert!(world.replica().settle().await.up);
    assert_eq!(world.calls(), (2, 2));
}

#[tokio::test]
async fn without_redis_each_replica_goes_on_alone_and_shares_again_when_it_is_back() {
    let mut world = World::new().await;
    world.app.min_interval = Duration::ZERO;
    let replicas = world.replicas(2);
    for replica in &replicas {
        assert!(replica.settle().await.up);
    }
    assert_eq!(world.calls(), (2, 2));
    world.redis.kill();
    for replica in &replicas {
        let reading = replica.settle().await;
        assert!(reading.up);
        assert_eq!(reading.source, Source::Fetched);
        assert!(replica.failures(Failure::Network) > 0);
    }
    assert_eq!(world.calls().0, 4);

    world.redis.start_again();
    tokio::time::sleep(PATIENT.away * 2).await;
    for replica in &replicas {
        assert!(replica.settle().await.up);
    }
    // It came back empty, and knows again what all of them have spent: what is known of before, and what each has
    // spent alone.
    let (lists, tokens) = world.calls();
    assert_eq!(world.used().await, lists + tokens);
}

#[tokio::test]
async fn flushed_server_learns_the_limits_again_from_those_who_know() {
    let world = World::new().await;
    let replicas = world.replicas(2);
    for replica in &replicas {
        replica.settle().await;
    }
    world.set(&["FLUSHALL"]).await;
    for replica in &replicas {
        assert!(replica.settle().await.up);
    }
    // Nobody fetches before the interval ends that each of them knows of.
    assert_eq!(world.calls(), (1, 1));
}

#[tokio::test]
async fn frozen_server_does_not_make_a_scrape_late() {
    let world = World::new().await;
    let replica = world.replica_with(Patience::default(), world.shared_state());
    world.redis.freeze();
    // As long as Prometheus allows by default.
    let reading = replica.scrape_within(Duration::from_secs(10)).await;
    assert!(reading.up);
    assert_eq!(reading.source, Source::Fetched);
    assert!(replica.failures(Failure::Timeout) > 0);
    world.redis.thaw();
}

#[tokio::test]
async fn server_frozen_in_the_midst_is_left_alone_for_a_while_and_taken_up_again() {
    let mut world = World::new().await;
    world.app.min_interval = Duration::ZERO;
    let patience = Patience {
        answer: Duration::from_millis(500),
        ..PATIENT
    };
    let replica = world.replica_with(patience, world.shared_state());
    replica.settle().await;
    world.redis.freeze();
    let failures = replica.failures(Failure::Timeout);
    assert!(replica.settle().await.up);
    assert!(replica.failures(Failure::Timeout) > failures);
    world.redis.thaw();
    // Under load an answer can be late again; it comes some time.
    for _ in 0..100 {
        tokio::time::sleep(PATIENT.away * 2).await;
        replica.settle().await;
        if world.used().await == world.calls().0 + world.calls().1 {
            return;
        }
    }
    panic!("the server was not taken up again");
}

#[tokio::test]
async fn nothing_secret_is_stored_and_nothing_for_ever() {
    let world = World::new().await;
    world.replica().settle().await;
    let token = world.wechat.token();
    let keys: Vec<String> = world.ask(&["KEYS", "*"]).await;
    let mut names: Vec<_> = keys
        .iter()
        .map(|key| key.rsplit_once("}:").unwrap().1)
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["calls", "limiter", "snapshot"]);
    for key in &keys {
        let kind: String = world.ask(&["TYPE", key]).await;
        let dump: Vec<u8> = match kind.as_str() {
            "hash" => world.ask::<Vec<Vec<u8>>>(&["HGETALL", key]).await.concat(),
            _ => world.ask(&["GET", key]).await,
        };
        assert!(!dump.is_empty());
        for secret in [token.as_bytes(), b"simulated-appsecret"] {
            assert!(
                !dump.windows(secret.len()).any(|bytes| bytes == secret),
                "{key}"
            );
        }
        let left: i64 = world.ask(&["PTTL", key]).await;
        assert!(left > 0, "{key}");
    }
}

#[tokio::test]
async fn snapshot_and_outcome_that_were_tampered_with_are_counted_and_left_alone() {
    let world = World::new().await;
    world.replica().settle().await;
    for garbage in [
        "",
        "null",
        "{}",
        "[1",
        "\u{0}",
        r#"{"version":1,"appid":"wx2","fetched_unix_ms":1,"list":[]}"#,
    ] {
        world.set(&["SET", &key("snapshot"), garbage]).await;
        world
            .set(&["HSET", &key("limiter"), "last_fetch", garbage])
            .await;
        let replica = world.replica();
        let reading = replica.settle().await;
        assert!(!reading.up && reading.snapshot.is_none(), "{garbage}");
        // An empty text is how a field is missing.
        assert!(replica.failures(Failure::Content) >= 1, "{garbage}");
    }
    assert_eq!(world.calls(), (1, 1));
}

#[test]
fn large_reading_is_written_and_read_where_nobody_waits() {
    // With the one thread taken on which something long may be done, nothing long can end.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    runtime.block_on(async {
        let options = Options {
            apps: 1,
            accounts: 3 * LARGE_ACCOUNTS,
            ..Options::default()
        };
        let world = World::with(&options).await;
        let first = world.replica().settle().await;
        let length: usize = world.ask(&["STRLEN", &key("snapshot")]).await;
        assert!(length > blocking::LONG_TO_READ);

        let limits = world.config().wechat.list_limits;
        let replicas = Replicas::with_patience(world.shared_state(), limits, PATIENT);
        let replicas = Arc::new(replicas);
        let stored = StoredSnapshot {
            fetch: "of-the-first".to_owned(),
            age: Duration::ZERO,
        };
        let read = async || replicas.read_snapshot(APPID, &stored).await.unwrap();
        let snapshot = Arc::new(read().await);
        assert_eq!(snapshot.accounts(), accounts(&first));

        let limiter = RateLimiter::new();
        let now = Moment::now();
        let news = limiter.news(now);
        let finish = async || {
            let ending = Ending {
                news: &news,
                limiter: limiter.save(0, now),
                now,
                last_fetch: None,
                snapshot: Some(&snapshot),
            };
            let turn = replicas.turn(APPID, "of-this-one");
            replicas.finish(APPID, turn, ending).await.unwrap()
        };
        finish().await;

        let (release, taken) = std::sync::mpsc::channel::<()>();
        let taken = tokio::task::spawn_blocking(move || taken.recv());
        let (mut reading, mut finishing) = (Box::pin(read()), Box::pin(finish()));
        let a_while = Duration::from_millis(500);
        let ended = tokio::time::timeout(a_while, &mut reading).await;
        assert!(
            ended.is_err(),
            "it was read by the thread that all wait for"
        );
        let ended = tokio::time::timeout(a_while, &mut finishing).await;
        assert!(
            ended.is_err(),
            "it was written by the thread that all wait for"
        );
        drop(release);
        assert_eq!(reading.await.accounts(), accounts(&first));
        finishing.await;
        assert!(taken.await.unwrap().is_err());
    });
}

/// Ways in which the reading of a fetch that went well can be lost, each with how often it counts.
const LOST: [(&str, [u64; 2]); 4] = [
    ("redis.call('DEL', KEYS[2])", [1, 0]),
    ("redis.call('SET', KEYS[2], '{}')", [1, 0]),
    ("redis.call('HDEL', KEYS[1], 'snapshot')", [1, 0]),
    (
        "redis.call('DEL', KEYS[2]) redis.call('RPUSH', KEYS[2], 'a list')",
        [0, 1],
    ),
];

impl World {
    async fn lose_reading(&self, way: &str) {
        let keys = [key("limiter"), key("snapshot")];
        self.set(&["EVAL", way, "2", &keys[0], &keys[1]]).await;
    }

    /// Another replica will have been the first in each interval.
    async fn let_others_be_first(&self) {
        let far = "999999999999999";
        self.set(&["HSET", &key("limiter"), "next_fetch", far])
            .await;
    }
}

#[tokio::test]
async fn replica_that_cannot_get_the_shared_reading_fetches_once_for_itself() {
    for (way, counted) in LOST {
        let world = World::new().await;
        world.replica().settle().await;
        world.lose_reading(way).await;
        let replica = world.replica();
        let reading = replica.settle().await;
        assert!(reading.up, "{way}");
        assert_eq!(reading.source, Source::Fetched, "{way}");
        assert!(!accounts(&reading).is_empty());
        for _ in 0..3 {
            assert_eq!(replica.settle().await.source, Source::Snapshot, "{way}");
        }
        assert_eq!(world.calls(), (2, 2), "{way}");
        let failures =
            [Failure::Content, Failure::Refused].map(|failure| replica.failures(failure));
        assert_eq!(failures, counted, "{way}");
    }
}

#[tokio::test]
async fn replica_that_does_not_get_the_shared_reading_in_time_fetches_for_itself() {
    let world = World::new().await;
    world.replica().settle().await;
    let patience = Patience {
        snapshot: Duration::from_millis(20),
        ..PATIENT
    };
    let replica = world.replica_with(patience, world.shared_state());
    let _held_up = replica.0.replicas().unwrap().link.hold_snapshots_up().await;
    let reading = replica.settle().await;
    assert!(reading.up);
    assert_eq!(reading.source, Source::Fetched);
    // All else is shared.
    assert_eq!(world.calls(), (2, 2));
    assert_eq!(world.used().await, 4);
    assert_eq!(replica.failures(Failure::Content), 0);
    assert_eq!(replica.failures(Failure::Timeout), 1);
}

#[tokio::test]
async fn reading_that_is_not_stored_in_time_keeps_no_outcome_from_the_others() {
    let world = World::new().await;
    let patience = Patience {
        snapshot: Duration::from_millis(20),
        away: FAR,
        ..PATIENT
    };
    let first = world.replica_with(patience, world.shared_state());
    let _held_up = first.0.replicas().unwrap().link.hold_snapshots_up().await;
    assert!(first.settle().await.up);
    assert_eq!(first.failures(Failure::Timeout), 1);
    let marked: bool = world.ask(&["EXISTS", &key("fetching")]).await;
    assert!(!marked);
    let reading = world.replica().settle().await;
    assert!(reading.up);
    assert_eq!(reading.source, Source::Fetched);
    assert_eq!(world.calls(), (2, 2));
}

#[tokio::test]
async fn replica_that_can_never_get_the_shared_reading_keeps_its_own_fresh() {
    let mut world = World::new().await;
    world.app.min_interval = Duration::from_millis(400);
    let (first, second) = (world.replica(), world.replica());
    first.settle().await;
    world.let_others_be_first().await;
    let mut last = second.settle().await.snapshot.unwrap().fetched();
    assert_eq!(second.requests(), 0);
    let (log, _guard) = Log::of_this_thread();
    for round in 1..=3 {
        tokio::time::sleep(world.app.min_interval).await;
        first.settle().await;
        world.lose_reading(LOST[0].0).await;
        world.let_others_be_first().await;
        let reading = second.settle().await;
        assert!(reading.up, "{round}");
        let fetched = reading.snapshot.unwrap().fetched();
        assert!(fetched > last, "{round}");
        last = fetched;
        // And once the token.
        assert_eq!(second.requests(), round + 1);
        assert_eq!(second.failures(Failure::Content), round);
    }
    assert_eq!(log.lines("fetches for itself"), 1);
    // It is there again, and so there is no need.
    tokio::time::sleep(world.app.min_interval).await;
    let fetched = first.settle().await.snapshot.unwrap().fetched();
    world.let_others_be_first().await;
    let reading = second.settle().await;
    assert!(reading.up);
    assert_eq!(
        crate::clock::unix_millis(reading.snapshot.unwrap().fetched()),
        crate::clock::unix_millis(fetched)
    );
    assert_eq!(second.requests(), 4);
}

#[tokio::test]
async fn replicas_that_cannot_get_the_shared_reading_stay_within_the_daily_limit() {
    let mut world = World::new().await;
    world.app.daily_limit = Some(4);
    world.replica().settle().await;
    for _ in 0..4 {
        world.lose_reading(LOST[0].0).await;
        world.replica().settle().await;
    }
    assert_eq!(world.calls(), (2, 2));
    let late = world.replica().settle().await;
    assert!(!late.up && late.snapshot.is_none());
}

#[tokio::test]
async fn replica_that_fails_where_others_succeed_backs_off_though_it_cannot_get_their_reading() {
    let mut world = World::new().await;
    world.app.min_interval = Duration::from_millis(200);
    world.replica().settle().await;
    world.lose_reading(LOST[0].0).await;
    world.fault("48001");
    let replica = world.replica();
    let mut back_offs = Vec::new();
    for _ in 0..2 {
        world.let_others_be_first().await;
        let reading = replica.settle().await;
        assert!(!reading.up);
        let now = Moment::now();
        let saved = reading.app.limiter().save(0, now);
        back_offs.push(saved.breaker.unwrap().next_backoff);
        tokio::time::sleep(back_offs[0]).await;
    }
    assert_eq!(back_offs[1], 2 * back_offs[0]);
    assert_eq!(replica.failures(Failure::Content), 1);
}

#[tokio::test]
async fn failure_of_another_replica_shows_though_the_reading_before_it_is_gone() {
    let world = World::new().await;
    world.replica().settle().await;
    world.lose_reading(LOST[0].0).await;
    world.fault("48001");
    // The hour is over.
    world.set(&["HDEL", &key("limiter"), "next_fetch"]).await;
    world.replica().settle().await;
    let calls = world.calls();
    let replica = world.replica();
    let reading = replica.settle().await;
    assert!(!reading.up);
    assert_eq!(reading.app.last_fetch().unwrap().errcode, 48001);
    assert_eq!(world.calls(), calls);
}

#[tokio::test]
async fn limits_that_are_no_numbers_or_out_of_all_bounds_hold_nobody_back_for_long() {
    let mut world = World::new().await;
    world.app.min_interval = Duration::from_millis(100);
    world.replica().settle().await;
    for value in [
        "nan",
        "inf",
        "-1",
        "1e300",
        "abc",
        "",
        "99999999999999",
        "0x10",
    ] {
        for field in [
            "next_fetch",
            "breaker_until",
            "breaker_day",
            "begins",
            "outcome_at",
        ] {
            world.set(&["HSET", &key("limiter"), field, value]).await;
        }
        world
            .set(&["HSET", &key("limiter"), "breaker_reason", value])
            .await;
        world
            .set(&[
                "HSET",
                &key("calls"),
                "sent:x",
                value,
                "unnamed",
                value,
                "held:x",
                value,
            ])
            .await;
        let replica = world.replica();
        replica.settle().await;
        let before = world.calls().0;
        // Nothing but the interval and what a count could have been holds it back now.
        world
            .set(&["HDEL", &key("calls"), "sent:x", "unnamed", "held:x"])
            .await;
        world.set(&["HDEL", &key("limiter"), "breaker_until"]).await;
        tokio::time::sleep(Duration::from_millis(150)).await;
        world.replica().settle().await;
        assert!(world.calls().0 > before, "{value}");
    }
}

#[tokio::test]
async fn keys_of_another_kind_are_refused_and_the_replica_is_alone() {
    let world = World::new().await;
    world.set(&["SET", &key("limiter"), "text"]).await;
    let replica = world.replica();
    assert!(replica.settle().await.up);
    assert!(replica.failures(Failure::Refused) > 0);
    assert_eq!(world.calls(), (1, 1));
}

#[tokio::test]
async fn broken_keys_of_one_app_leave_the_others_together() {
    const OTHER: &str = "wx0000000000000002";
    let world = World::new().await;
    // Whoever goes on alone would do so to the test's end.
    let patience = Patience {
        away: FAR,
        ..PATIENT
    };
    let limits = world.config().wechat.list_limits;
    let replicas = Replicas::with_patience(world.shared_state(), limits, patience);
    let replicas = Arc::new(replicas);
    let ask = async |appid| {
        let news = RateLimiter::new().news(Moment::now());
        let budget = Budget {
            min_interval: HOUR,
            daily_limit: None,
        };
        let turn = replicas.next_turn();
        replicas.ask(appid, &turn, &news, budget, 1).await.is_ok()
    };
    let failed = || [Failure::Refused, Failure::Content].map(|failure| replicas.failures(failure));
    let (log, _guard) = Log::of_this_thread();
    for (broken, counted) in [
        ("redis.call('SET', KEYS[1], 'text')", [1, 0]),
        ("redis.call('HSET', KEYS[1], 'last_fetch', '\\255')", [0, 1]),
    ] {
        world.set(&["DEL", &key("limiter"), &key("fetching")]).await;
        // Asked and answered, what was complained of before is settled.
        assert!(ask(APPID).await);
        let (before, lines) = (failed(), log.lines("can't be used"));
        world.set(&["DEL", &key("limiter")]).await;
        world.set(&["EVAL", broken, "1", &key("limiter")]).await;
        for _ in 0..3 {
            assert!(!ask(APPID).await, "{broken}");
            assert!(ask(OTHER).await, "{broken}");
        }
        let after = [0, 1].map(|failure| failed()[failure] - before[failure]);
        assert_eq!(after, counted.map(|count| 3 * count), "{broken}");
        assert_eq!(log.lines("can't be used"), lines + 1, "{broken}");
    }
    assert_eq!(log.lines("can't be reached"), 0);
}

#[tokio::test]
async fn user_that_may_not_do_what_the_scripts_do_is_refused_for_all_apps() {
    let world = World::new().await;
    let rule = "ACL SETUSER exporter on >PASSWORD ~* -@all +evalsha +eval +script +time";
    let shared_state = world.shared_state_of_user(rule).await;
    let (log, _guard) = Log::of_this_thread();
    let replica = world.replica_with(PATIENT, shared_state);
    assert!(replica.settle().await.up);
    assert!(replica.failures(Failure::Refused) > 0);
    assert_eq!(log.lines("give it the permissions"), 1);
}

#[tokio::test]
async fn user_with_the_documented_permissions_is_enough() {
    let world = World::new().await;
    let documented = include_str!("../../docs/replicas.md");
    let rule = documented
        .lines()
        .find(|line| line.starts_with("ACL SETUSER"))
        .unwrap();
    let rule = rule.replace("wechat_logistics:", "test:");
    let shared_state = world.shared_state_of_user(&rule).await;
    let replica = |()| world.replica_with(PATIENT, shared_state.clone());
    let (first, second) = (replica(()), replica(()));
    assert!(first.settle().await.up);
    assert!(second.settle().await.up);
    assert_eq!(world.calls(), (1, 1));
    for failure in Failure::ALL {
        assert_eq!(
            first.failures(*failure) + second.failures(*failure),
            0,
            "{failure}"
        );
    }
}

#[tokio::test]
async fn refused_login_is_counted_and_shows_no_password() {
    let world = World::new().await;
    let url = format!("redis://:canary@127.0.0.1:{}/", world.redis.port());
    let shared_state = SharedStateConfig {
        redis: SecretUrl::new(url),
        ..world.shared_state()
    };
    let replica = world.replica_with(PATIENT, shared_state);
    assert!(replica.settle().await.up);
    assert!(replica.failures(Failure::Refused) > 0);
    let shown = format!("{:?}", replica.0);
    assert!(!shown.contains("canary"), "{shown}");
}

#[tokio::test]
async fn connection_that_broke_while_nobody_looked_is_made_again_without_a_failure() {
    let mut world = World::new().await;
    world.app.min_interval = Duration::ZERO;
    let replica = world.replica();
    replica.settle().await;
    world
        .set(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])
        .await;
    assert!(replica.settle().await.up);
    for failure in Failure::ALL {
        assert_eq!(replica.failures(*failure), 0, "{failure}");
    }
    assert_eq!(world.used().await, 3);
}

#[tokio::test]
async fn extras_cost_what_one_replica_asks_and_show_on_all() {
    let mut world = World::new().await;
    world.app.min_interval = Duration::ZERO;
    world.app.refresh_couriers = true;
    world.app.api_quota = true;
    world.app.live_quota = Some(HOUR);
    let first = world.replica();
    first.settle().await;
    let extras = || {
        [
            "/cgi-bin/express/business/delivery/getall",
            "/cgi-bin/openapi/quota/get",
            "/cgi-bin/express/business/quota/get",
        ]
        .map(|path| world.wechat.calls(path))
    };
    let asked = extras();
    assert_eq!(asked[..2], [1, 1]);
    assert!(asked[2] > 0);
    let others = world.replicas(2);
    for replica in &others {
        // Once as a follower's first look, once with a fetch of its own.
        for _ in 0..2 {
            let reading = replica.settle().await;
            assert!(reading.up);
            let quota = |replica: &Replica| replica.0.apps().list()[0].api_quota();
            assert!(quota(&first).is_some());
            assert_eq!(quota(replica), quota(&first));
            assert_eq!(replica.0.couriers().names(), first.0.couriers().names());
        }
    }
    assert_eq!(extras(), asked);
    assert_eq!(
        world.used().await,
        world.calls().0 + world.calls().1 + asked.iter().sum::<u64>()
    );
    let calls: HashMap<String, String> = world.ask(&["HGETALL", &key("calls")]).await;
    assert!(
        !calls.keys().any(|name| name.starts_with("held:")),
        "{calls:?}"
    );
}

#[tokio::test]
async fn balance_asked_live_by_one_replica_is_shown_by_another_that_only_lists() {
    let mut world = World::new().await;
    world.app.min_interval = Duration::ZERO;
    world.app.live_quota = Some(HOUR);
    let (first, second) = (world.replica(), world.replica());
    first.settle().await;
    let asked = first.0.apps().list()[0]
        .snapshot(HOUR, Moment::now())
        .unwrap();
    let newest = |snapshot: &Snapshot| {
        let times = snapshot
            .accounts()
            .iter()
            .map(|account| account.quota_update_time);
        times.max().flatten()
    };
    let live = newest(&asked);
    assert!(live.is_some());
    second.settle().await;
    let listed = second.0.apps().list()[0]
        .snapshot(HOUR, Moment::now())
        .unwrap();
    assert!(newest(&listed) >= live);
}
