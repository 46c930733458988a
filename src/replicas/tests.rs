//! Several exporters in one process, a real Redis server, and a mock WeChat that counts its calls.

use std::path::PathBuf;

use futures_util::future::join_all;
use serde_json::json;
use tokio::time::Instant;

use super::*;
use crate::app::App;
use crate::app::tests::{APPID, FAR, HOUR, LIST, QUOTA, STABLE_TOKEN, World, accounts, reply};
use crate::collector::{AppReading, Collector, scrape};
use crate::config::AppConfig;
use crate::limiter::Cause;
use crate::redis_server::Server;
use crate::store::Store;
use crate::wechat::{Api, Reason};

const PATIENT: Patience = Patience {
    answer: Duration::from_secs(60),
    snapshot: Duration::from_secs(60),
    away: Duration::from_millis(50),
};

/// The Redis server and the WeChat that a group of exporters shares.
struct Cluster {
    redis: Server,
    world: World,
}

impl Cluster {
    /// Creates a cluster with one app that may be fetched once an hour, and a WeChat that answers.
    async fn new() -> Self {
        let mut world = World::listing(accounts(&["YTO"; 15])).await;
        world.apps = vec![hourly(&world, APPID)];
        let redis = Server::start(&[]);
        Self { redis, world }
    }

    fn shared_state(&self) -> SharedStateConfig {
        SharedStateConfig {
            redis: SecretUrl::new(self.redis.url().parse().unwrap()),
            password_file: None,
            key_prefix: "test:".to_owned(),
        }
    }

    fn replica(&self) -> Replica {
        self.replica_with(self.shared_state())
    }

    fn replica_with(&self, shared_state: SharedStateConfig) -> Replica {
        self.replica_kept_in(None, shared_state)
    }

    /// Returns a replica that logs in to Redis as `user:password`.
    fn replica_of(&self, login: &str) -> Replica {
        let url = format!("redis://{login}@127.0.0.1:{}/", self.redis.port());
        self.replica_with(SharedStateConfig {
            redis: SecretUrl::new(url.parse().unwrap()),
            ..self.shared_state()
        })
    }

    fn replica_kept_in(
        &self,
        directory: Option<PathBuf>,
        shared_state: SharedStateConfig,
    ) -> Replica {
        let config = self.world.config();
        let limits = config.wechat.list_limits();
        let store = Store::open(directory, limits).unwrap();
        let replicas = Arc::new(Replicas::with_patience(shared_state, limits, PATIENT));
        Replica(Collector::among(Some(replicas), &config, store).unwrap())
    }

    /// Returns what this command answers about the app's state.
    async fn kept(&self, command: &str) -> Vec<u8> {
        let state = self.redis.run(&[command, &key("state")]).await;
        redis::from_redis_value(state).unwrap()
    }

    /// Changes the shared state as if the next fetch had been due for `time`.
    async fn next_fetch_was_due_for(&self, time: Duration) {
        let mut state: serde_json::Value = serde_json::from_slice(&self.kept("GET").await).unwrap();
        let due = Moment::now().wall - time;
        state["limiter"]["next_fetch_unix_ms"] = json!(unix_millis(due));
        let state = state.to_string();
        self.redis.run(&["SET", &key("state"), &state]).await;
    }

    /// Restarts Redis with a dumped state, and gives the replicas the time to notice.
    async fn comes_back_with(&mut self, state: &[u8]) {
        self.redis.start_again();
        let mut connection = self.redis.connect().await;
        let mut restore = redis::cmd("RESTORE");
        restore.arg(key("state")).arg(0).arg(state);
        restore.query_async::<()>(&mut connection).await.unwrap();
        tokio::time::sleep(2 * PATIENT.away).await;
    }

    /// Returns the day's calls in the shared state.
    async fn used(&self) -> u64 {
        let state = form::read_state(&self.kept("GET").await, APPID).unwrap();
        state.limiter.calls.values().sum()
    }
}

/// Returns an app that may be fetched once an hour.
fn hourly(world: &World, appid: &str) -> AppConfig {
    AppConfig {
        min_interval: HOUR,
        ..world.app(appid)
    }
}

/// One exporter.
struct Replica(Collector);

impl Replica {
    fn app(&self) -> Arc<App> {
        Arc::clone(&self.0.apps().list()[0])
    }

    async fn scrape(&self) -> AppReading {
        let apps = self.0.apps();
        let mut scrape = scrape(apps.list(), HOUR, Instant::now() + FAR).await;
        scrape.remove(0)
    }

    /// Scrapes, and waits until the outcome is on the server.
    async fn settle(&self) -> AppReading {
        let reading = self.scrape().await;
        self.0.settled_by(Instant::now() + FAR).await;
        reading
    }

    fn failures(&self, failure: Failure) -> u64 {
        self.0.shared.replicas.as_ref().unwrap().failures(failure)
    }

    fn lists(&self) -> u64 {
        self.app().state.counters.requests(Api::AccountGetall)
    }
}

fn key(name: &str) -> String {
    format!("test:{{{APPID}}}:{name}")
}

#[tokio::test]
async fn snapshot_of_another_replica_is_kept_in_the_state_directory() {
    let cluster = Cluster::new().await;
    cluster.replica().settle().await;
    let directory = tempfile::tempdir().unwrap();
    let kept_in = Some(directory.path().to_owned());
    let follower = cluster.replica_kept_in(kept_in, cluster.shared_state());
    assert!(follower.settle().await.snapshot.is_some());
    assert_eq!(follower.lists(), 0);
    let file = format!("{APPID}.snapshot.json");
    assert!(directory.path().join(file).exists());
}

#[tokio::test]
async fn hundred_apps_on_a_slow_wechat_cost_one_list_each() {
    let mut cluster = Cluster::new().await;
    let world = &mut cluster.world;
    let slow = accounts(&["YTO"]).set_delay(Duration::from_millis(100));
    world.lists(slow).await;
    world.apps = (0..100)
        .map(|app| hourly(world, &format!("wx{app}")))
        .collect();
    let replicas = [(); 3].map(|()| cluster.replica());
    join_all(replicas.iter().map(Replica::settle)).await;
    assert_eq!(cluster.world.calls(LIST).await, 100);
    for replica in &replicas {
        let apps = replica.0.apps();
        let up = |app: &Arc<App>| app.last_reading(HOUR, Moment::now()).1;
        assert!(apps.list().iter().all(up));
    }
}

#[tokio::test]
async fn four_replicas_over_several_intervals_cost_what_one_does() {
    let mut cluster = Cluster::new().await;
    cluster.world.apps[0].min_interval = Duration::from_millis(500);
    let replicas = [(); 4].map(|()| cluster.replica());
    let began = Instant::now();
    for round in 0..4 {
        if round > 0 {
            tokio::time::sleep(cluster.world.apps[0].min_interval).await;
        }
        for reading in join_all(replicas.iter().map(Replica::settle)).await {
            assert!(reading.up);
        }
        assert!(
            cluster.world.calls(LIST).await > round,
            "an interval has passed"
        );
    }
    // At most as many as one limiter could have granted in that time.
    let intervals = began.elapsed().as_millis() / cluster.world.apps[0].min_interval.as_millis();
    let lists = cluster.world.calls(LIST).await as u128;
    assert!(lists <= intervals + 1, "{lists} in {intervals}");
}

#[tokio::test]
async fn daily_limit_is_one_for_all_replicas() {
    let mut cluster = Cluster::new().await;
    cluster.world.apps[0].min_interval = Duration::ZERO;
    cluster.world.apps[0].daily_limit = Some(8);
    let replicas = [(); 3].map(|()| cluster.replica());
    // Of replicas that are scraped at the same time, some wait for another one's fetch and send no call.
    for _ in 0..8 {
        join_all(replicas.iter().map(Replica::settle)).await;
    }
    assert_eq!(
        cluster.world.calls(LIST).await + cluster.world.calls(STABLE_TOKEN).await,
        8
    );
    assert_eq!(cluster.used().await, 8);
    // A replica that starts now learns of the limit from the shared state.
    let late = cluster.replica();
    assert!(late.settle().await.snapshot.is_some());
    assert_eq!(late.app().state.counters.refused(Cause::DailyLimit), 1);
    assert_eq!(late.lists(), 0);
}

#[tokio::test]
async fn failure_that_needs_fixing_stops_all_replicas_and_shows_on_each_until_one_is_reloaded() {
    let cluster = Cluster::new().await;
    let refused = json!({"errcode": 48001, "errmsg": "refused"});
    cluster.world.lists(reply(refused)).await;
    let (first, second) = (cluster.replica(), cluster.replica());
    assert!(!first.settle().await.up);
    let reading = second.settle().await;
    assert!(!reading.up);
    let last_fetch = reading.app.last_fetch().unwrap();
    let cause = last_fetch.failure.unwrap().cause;
    assert_eq!((cause.reason, cause.errcode), (Reason::Permission, 48001));
    let breaker = reading.app.state.limiter.open_breaker(Moment::now());
    assert_eq!(breaker.unwrap().0, Reason::Permission);
    assert_eq!(second.lists(), 0);

    cluster.world.lists(accounts(&["YTO"])).await;
    second.0.reconfigure(&cluster.world.config()).unwrap();
    assert!(second.settle().await.up);
    assert_eq!(second.lists(), 1);
}

#[tokio::test]
async fn what_was_spent_alone_is_added_when_redis_is_back() {
    let mut cluster = Cluster::new().await;
    cluster.world.apps[0].min_interval = Duration::ZERO;
    let replicas = [cluster.replica(), cluster.replica()];
    join_all(replicas.iter().map(Replica::settle)).await;
    let together = cluster.used().await;
    let state = cluster.kept("DUMP").await;

    cluster.redis.kill();
    for _ in 0..3 {
        for reading in join_all(replicas.iter().map(Replica::settle)).await {
            assert!(reading.up);
        }
    }
    cluster.comes_back_with(&state).await;
    for replica in &replicas {
        replica.settle().await;
        assert!(replica.failures(Failure::Network) > 0);
    }
    let spent = cluster.world.calls(LIST).await + cluster.world.calls(STABLE_TOKEN).await;
    assert_eq!(cluster.used().await, spent as u64, "{together} together");
}

#[tokio::test]
async fn flush_costs_one_fetch_at_most_and_loses_no_count() {
    let cluster = Cluster::new().await;
    let replicas = [(); 3].map(|()| cluster.replica());
    join_all(replicas.iter().map(Replica::settle)).await;
    let used = cluster.used().await;
    cluster.redis.run(&["FLUSHALL"]).await;
    join_all(replicas.iter().map(Replica::settle)).await;
    assert_eq!(
        cluster.world.calls(LIST).await,
        1,
        "each knows of the interval"
    );
    // A replica that starts now does not know of the interval.
    cluster.replica().settle().await;
    assert_eq!(cluster.world.calls(LIST).await, 2);
    assert!(used > 0);
}

#[tokio::test]
async fn replica_that_hangs_or_dies_in_a_fetch_holds_the_others_up_until_its_lock_ends() {
    let cluster = Cluster::new().await;
    let first = cluster.replica();
    first.settle().await;
    // As if the replica had died in its next fetch.
    let lock = ["SET", &key("lock"), "another", "PX", "500"];
    cluster.redis.run(&lock).await;
    cluster.redis.run(&["DEL", &key("state")]).await;
    let reading = cluster.replica().settle().await;
    assert!(reading.up);
    assert_eq!(cluster.world.calls(LIST).await, 2);

    // A replica that has lost the lock writes nothing.
    let replicas = Arc::new(Replicas::new(cluster.shared_state(), Default::default()));
    let mut lock = replicas.lock("wx9").await.unwrap().lock.unwrap();
    cluster.redis.run(&["FLUSHALL"]).await;
    assert!(!lock.write(SavedState::default(), None, false).await);
    let again = replicas.lock("wx9").await.unwrap();
    assert!(again.state.is_none() && again.lock.is_some());
}

#[tokio::test]
async fn replica_that_cannot_get_the_shared_snapshot_fetches_for_itself() {
    let cluster = Cluster::new().await;
    cluster.replica().settle().await;
    cluster.redis.run(&["DEL", &key("snapshot")]).await;
    let replica = cluster.replica();
    assert!(replica.settle().await.up);
    assert_eq!(replica.lists(), 1);
    assert_eq!(replica.failures(Failure::Content), 1);
    // The replica has shared its own snapshot.
    assert!(cluster.replica().settle().await.snapshot.is_some());
    assert_eq!(cluster.world.calls(LIST).await, 2);
}

#[tokio::test]
async fn keys_that_cannot_be_used_leave_one_app_alone_and_others_together() {
    let mut cluster = Cluster::new().await;
    let other = hourly(&cluster.world, "wx0000000000000002");
    cluster.world.apps.push(other);
    let broken = key("state");
    for (spoil, failure) in [
        (["SET", &broken, "not ours"].as_slice(), Failure::Content),
        (["LPUSH", &broken, "list"].as_slice(), Failure::Refused),
    ] {
        cluster.redis.run(&["FLUSHALL"]).await;
        cluster.redis.run(spoil).await;
        let (first, second) = (cluster.replica(), cluster.replica());
        let before = cluster.world.calls(LIST).await;
        for replica in [&first, &second] {
            assert!(replica.settle().await.up);
        }
        assert!(first.failures(failure) > 0, "{failure}");
        let other = second.0.apps().list()[1].last_reading(HOUR, Moment::now());
        assert!(other.0.is_some() && other.1, "{failure}");
        // A value that is not a state is replaced; a key of another type stays.
        let alone = usize::from(failure == Failure::Refused);
        assert_eq!(
            cluster.world.calls(LIST).await - before,
            2 + alone,
            "{failure}"
        );
    }
}

#[tokio::test]
async fn documented_permissions_are_enough_and_a_refused_login_shows_no_password() {
    let cluster = Cluster::new().await;
    let documented = include_str!("../../docs/replicas.md");
    let mut lines = documented.lines();
    let rule = lines.find(|line| line.starts_with("ACL SETUSER")).unwrap();
    let rule = rule.replace("wechat_logistics:", "test:");
    let words: Vec<&str> = rule.split_whitespace().collect();
    cluster.redis.run(&words).await;
    let allowed = [(); 2].map(|()| cluster.replica_of("exporter:PASSWORD"));
    for replica in &allowed {
        assert!(replica.settle().await.up);
        for failure in Failure::ALL {
            assert_eq!(replica.failures(*failure), 0, "{failure}");
        }
    }
    assert_eq!(cluster.world.calls(LIST).await, 1);

    let refused = cluster.replica_of("exporter:canary");
    assert!(refused.settle().await.up);
    assert!(refused.failures(Failure::Refused) > 0);
}

#[tokio::test]
async fn live_balance_asked_by_one_replica_is_shown_by_all_and_asked_by_no_other() {
    let mut cluster = Cluster::new().await;
    let interval = Duration::from_millis(500);
    cluster.world.apps[0].min_interval = interval;
    cluster.world.apps[0].live_quota = Some(HOUR);
    let live = reply(json!({"quota_num": 4}));
    cluster.world.answers(QUOTA, live).await;
    let replicas = [cluster.replica(), cluster.replica()];
    for round in 0..40 {
        replicas[round % 2].settle().await;
        tokio::time::sleep(interval).await;
        if round >= 4 && cluster.world.calls(QUOTA).await >= 15 {
            break;
        }
    }
    for replica in &replicas {
        let reading = replica.settle().await;
        let balance = |account: &crate::wechat::Account| account.quota_num == Some(4.0);
        assert!(reading.snapshot.unwrap().accounts.iter().all(balance));
    }
    assert_eq!(cluster.world.calls(QUOTA).await, 15, "each account once");
}

#[tokio::test]
async fn redis_that_hangs_holds_a_scrape_up_for_a_moment_and_then_nobody() {
    let cluster = Cluster::new().await;
    let replicas = Replicas::new(cluster.shared_state(), Default::default());
    let replicas = Arc::new(replicas);
    cluster.redis.freeze();
    for _ in 0..3 {
        assert!(replicas.lock(APPID).await.is_err());
    }
    cluster.redis.thaw();
    assert_eq!(
        replicas.failures(Failure::Timeout),
        1,
        "then it is left alone"
    );
}

#[tokio::test]
async fn what_one_spent_alone_is_added_where_others_fetch() {
    let mut cluster = Cluster::new().await;
    let replica = cluster.replica();
    replica.settle().await;
    let state = cluster.kept("DUMP").await;
    cluster.redis.kill();
    replica.app().state.limiter.lift_waits();
    assert!(replica.settle().await.up);
    cluster.comes_back_with(&state).await;
    replica.app().state.limiter.lift_waits();
    let shared_last = |state: Vec<u8>| form::read_state(&state, APPID).unwrap().last_fetch;
    let before = shared_last(cluster.kept("GET").await);
    replica.settle().await;
    assert_eq!(replica.lists(), 2, "the common interval is not over");
    assert_eq!(cluster.used().await, 3, "a token and two lists");
    // What the replica read alone is not in the shared snapshot.
    assert_eq!(shared_last(cluster.kept("GET").await), before);
}

#[tokio::test]
async fn replica_that_fails_by_itself_lets_another_fetch_first() {
    let mut cluster = Cluster::new().await;
    let sound = cluster.replica();
    cluster.world.apps[0].api_urls = vec!["http://127.0.0.1:9".parse().unwrap()];
    let broken = cluster.replica();
    assert!(!broken.settle().await.up);
    let tokens = || broken.app().state.counters.requests(Api::StableToken);
    // The interval is over, and both are scraped, the broken one first.
    cluster.next_fetch_was_due_for(Duration::ZERO).await;
    broken.app().state.limiter.lift_waits();
    assert!(!broken.settle().await.up);
    assert_eq!(tokens(), 1, "it has not tried again");
    // No other replica is scraped.
    cluster.next_fetch_was_due_for(HOUR).await;
    broken.app().state.limiter.lift_waits();
    assert!(!broken.settle().await.up);
    assert_eq!(tokens(), 2);
    cluster.next_fetch_was_due_for(Duration::ZERO).await;
    assert!(sound.settle().await.up);
    broken.app().state.limiter.lift_waits();
    assert!(broken.settle().await.up);
    assert_eq!(tokens(), 2);
    // What another one has read is no reason to try again, but that it fails too is one.
    cluster.next_fetch_was_due_for(Duration::ZERO).await;
    broken.app().state.limiter.lift_waits();
    assert!(broken.settle().await.up);
    assert_eq!(tokens(), 2);
    assert!(!cluster.replica().settle().await.up);
    cluster.next_fetch_was_due_for(Duration::ZERO).await;
    broken.app().state.limiter.lift_waits();
    assert!(!broken.settle().await.up);
    assert_eq!(tokens(), 3);
}

#[tokio::test]
async fn outcome_recorded_by_a_clock_that_was_ahead_gives_way_to_the_others() {
    let mut cluster = Cluster::new().await;
    let sound = cluster.replica();
    cluster.world.apps[0].api_urls = vec!["http://127.0.0.1:9".parse().unwrap()];
    let ahead = cluster.replica();
    let now = Moment::now();
    *ahead.0.shared.replicas.as_ref().unwrap().clock.lock() = Some(Moment {
        wall: now.wall + HOUR,
        ..now
    });
    cluster.redis.kill();
    assert!(!ahead.settle().await.up);
    cluster.redis.start_again();
    tokio::time::sleep(2 * PATIENT.away).await;
    assert!(sound.settle().await.up);
    ahead.app().state.limiter.lift_waits();
    assert!(ahead.settle().await.up);
}

#[tokio::test]
async fn snapshot_that_cannot_be_written_is_fetched_by_each_replica() {
    let cluster = Cluster::new().await;
    // This user stands for a server that takes no command as long as a snapshot.
    let rule = "ACL SETUSER small on >p +@all ~*:lock ~*:state";
    let words: Vec<&str> = rule.split_whitespace().collect();
    cluster.redis.run(&words).await;
    let replicas = [(); 2].map(|()| cluster.replica_of("small:p"));
    for replica in &replicas {
        let reading = replica.settle().await;
        assert!(reading.up && reading.snapshot.is_some());
        assert_eq!(replica.failures(Failure::Refused), 1);
        assert_eq!(replica.lists(), 1);
    }
}

#[tokio::test]
async fn server_that_is_no_longer_the_primary_is_looked_for_anew() {
    let cluster = Cluster::new().await;
    let replica = cluster.replica();
    replica.settle().await;
    cluster.redis.run(&["REPLICAOF", "127.0.0.1", "1"]).await;
    let connections = async || {
        let stats = cluster.redis.run(&["INFO", "stats"]).await;
        let stats: String = redis::from_redis_value(stats).unwrap();
        let line = stats
            .lines()
            .find_map(|line| line.strip_prefix("total_connections_received:"));
        line.unwrap().parse::<u32>().unwrap()
    };
    let before = connections().await;
    for _ in 0..2 {
        tokio::time::sleep(2 * PATIENT.away).await;
        replica.app().state.limiter.lift_waits();
        replica.settle().await;
    }
    // Each look at the statistics opens one connection, and the replica opens one more.
    assert!(connections().await > before + 1);
    assert!(replica.failures(Failure::Refused) > 0);
}

#[tokio::test]
async fn state_without_a_snapshot_is_no_reason_to_look_for_one() {
    let cluster = Cluster::new().await;
    let (first, second) = (cluster.replica(), cluster.replica());
    join_all([first.settle(), second.settle()]).await;
    cluster.redis.run(&["FLUSHALL"]).await;
    cluster.world.lists(reply(json!({"errcode": -1}))).await;
    for replica in [&first, &second] {
        replica.app().state.limiter.lift_waits();
        replica.settle().await;
        assert_eq!(replica.failures(Failure::Content), 0);
    }
}
