//! One exporter, a simulated WeChat that counts what it is asked, and where the test is of replicas a real Redis.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::Extras;
use crate::clock::{ChinaDay, Moment, unix_seconds};
use crate::collector::{Collector, scrape};
use crate::config::{
    AppConfig, Config, Credential, SecretUrl, SharedStateConfig, TokenPointers, WechatConfig,
};
use crate::demo::{Options, Simulation};
use crate::limiter::Cause;
use crate::redis_server::Server;
use crate::snapshot::Snapshot;
use crate::store::{Store, form};
use crate::wechat::{Account, AccountList, Api};

const APPID: &str = "wx0000000000000001";
const QUOTA: &str = "/cgi-bin/express/business/quota/get";
const LIST: &str = "/cgi-bin/express/business/account/getall";
const HOUR: Duration = Duration::from_secs(3600);
/// Never comes: these tests run on machines under load.
const FAR: Duration = Duration::from_secs(120);

/// A simulated WeChat with one Mini Program of so many accounts.
async fn wechat(accounts: usize) -> (Simulation, AppConfig) {
    let options = Options {
        apps: 1,
        accounts,
        ..Options::default()
    };
    let wechat = Simulation::start(&options).await.unwrap();
    let mut app = AppConfig::from(wechat.apps().remove(0));
    app.live_quota = Some(HOUR);
    (wechat, app)
}

fn config(app: AppConfig) -> Config {
    Config {
        wechat: WechatConfig {
            timeout: Duration::from_secs(30),
            proxy_from_env: false,
            ..WechatConfig::default()
        },
        ..Config::new(vec![app])
    }
}

fn sharing(redis: &Server, app: AppConfig) -> Config {
    Config {
        shared_state: Some(SharedStateConfig {
            redis: SecretUrl::new(redis.url()),
            password_file: None,
            key_prefix: "test:".to_owned(),
        }),
        ..config(app)
    }
}

fn exporter(config: &Config, state: Option<&Path>) -> Collector {
    let store = Store::open(state.map(Path::to_owned), config.wechat.list_limits);
    Collector::new(config, store.unwrap()).unwrap()
}

/// Scrapes; the extras go on behind it.
async fn fetch(exporter: &Collector) {
    let apps = exporter.apps();
    let scrape = scrape(apps.list(), HOUR, Instant::now() + FAR).await;
    assert!(scrape.readings[0].up);
}

async fn drain(exporter: &Collector) {
    exporter.drain(Instant::now() + FAR).await;
}

/// Waits until WeChat was asked that often.
async fn asked(wechat: &Simulation, path: &str, times: u64) {
    while wechat.calls(path) < times {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn extras_are_asked_for_with_the_lists_token_though_its_source_fails_meanwhile() {
    let (wechat, mut app) = wechat(12).await;
    app.api_quota = true;
    app.refresh_couriers = true;
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("token");
    fs::write(&path, wechat.token()).unwrap();
    app.credential = Credential::File {
        path: path.clone(),
        pointers: TokenPointers::default(),
    };
    wechat.set_fault("account_getall=slow-500ms".parse().unwrap());
    let exporter = exporter(&config(app), None);
    let source_fails = async {
        asked(&wechat, LIST, 1).await;
        fs::remove_file(&path).unwrap();
    };
    tokio::join!(fetch(&exporter), source_fails);
    exporter.settled_by(Instant::now() + FAR).await;
    let apps = exporter.apps();
    let counters = apps.list()[0].counters();
    assert_eq!(counters.requests(Api::DeliveryGetall), 1);
    assert_eq!(counters.requests(Api::ApiQuotaGet), 1);
    assert!(wechat.calls(QUOTA) > 0);
}

/// The day's calls that stand in the state directory, which is as a crash would leave it.
fn kept(state: &Path) -> u64 {
    let file = fs::read(state.join(format!("{APPID}.limiter.json"))).unwrap();
    let progress = form::read_progress(&file, APPID).unwrap();
    let today = ChinaDay::at(Moment::now().wall);
    progress.limiter.used.get(&today).copied().unwrap_or(0)
}

fn calls(exporter: &Collector) -> u64 {
    exporter.apps().list()[0].daily_calls_used(Moment::now())
}

#[tokio::test]
async fn crash_amid_the_live_balances_costs_the_calls_of_ten_accounts_and_a_stop_costs_none() {
    const HOSTS: usize = 5;
    let (wechat, mut app) = wechat(200).await;
    app.api_urls = vec![app.api_urls[0].clone(); HOSTS];
    wechat.set_fault("quota_get=slow-200ms".parse().unwrap());
    let state = tempfile::tempdir().unwrap();
    let exporter = exporter(&config(app), Some(state.path()));
    fetch(&exporter).await;
    asked(&wechat, QUOTA, 1).await;
    let kept_midway = kept(state.path());
    let sent = calls(&exporter);
    assert!(
        kept_midway <= sent + 10 * HOSTS as u64,
        "{kept_midway} of {sent}"
    );

    drain(&exporter).await;
    assert!(wechat.calls(QUOTA) < 100, "stopped in its midst");
    assert_eq!(kept(state.path()), calls(&exporter));
}

#[tokio::test]
async fn fetch_that_ends_while_the_process_stops_asks_for_no_extras() {
    let (wechat, mut app) = wechat(12).await;
    app.api_quota = true;
    wechat.set_fault("account_getall=slow-500ms".parse().unwrap());
    let exporter = exporter(&config(app), None);
    let stop = async {
        asked(&wechat, LIST, 1).await;
        drain(&exporter).await;
    };
    tokio::join!(fetch(&exporter), stop);
    assert_eq!(calls(&exporter), 2);
}

#[tokio::test]
async fn live_balances_leave_half_of_the_days_calls_to_other_fetches_from_the_first_one_on() {
    let (wechat, mut app) = wechat(200).await;
    app.daily_limit = Some(20);
    app.min_interval = Duration::ZERO;
    let redis = Server::start(&[]);
    let config = sharing(&redis, app);
    let (first, second) = (exporter(&config, None), exporter(&config, None));
    wechat.set_fault("quota_get=slow-1s".parse().unwrap());
    fetch(&first).await;
    asked(&wechat, QUOTA, 1).await;
    fetch(&second).await;
    assert_eq!(wechat.calls(LIST), 2, "the second one was granted its own");

    wechat.clear_faults();
    drain(&first).await;
    drain(&second).await;
    let key = format!("test:{{{APPID}}}:calls");
    let held = redis.run(&["HKEYS", &key]).await;
    let held: Vec<String> = redis::from_redis_value(held).unwrap();
    assert!(
        !held.iter().any(|name| name.starts_with("held:")),
        "{held:?}"
    );
}

#[tokio::test]
async fn live_balances_that_the_daily_limit_keeps_back_are_counted_once_a_round() {
    let (wechat, mut app) = wechat(200).await;
    app.daily_limit = Some(20);
    app.min_interval = Duration::ZERO;
    let exporter = exporter(&config(app), None);
    let refused = || {
        let apps = exporter.apps();
        apps.list()[0].counters().refused(Cause::DailyLimit)
    };
    for _ in 0..2 {
        fetch(&exporter).await;
        exporter.settled_by(Instant::now() + FAR).await;
        assert_eq!(refused(), 1, "in the second one no balance is due");
    }
    assert!(wechat.calls(QUOTA) > 0);
}

#[tokio::test]
async fn live_balances_that_a_stop_broke_off_are_asked_for_again_within_the_hour() {
    let (wechat, mut app) = wechat(200).await;
    app.live_quota = Some(6 * HOUR);
    let redis = Server::start(&[]);
    let exporter = exporter(&sharing(&redis, app), None);
    wechat.set_fault("quota_get=slow-200ms".parse().unwrap());
    fetch(&exporter).await;
    asked(&wechat, QUOTA, 1).await;
    let key = format!("test:{{{APPID}}}:balances");
    let left =
        async || -> u64 { redis::from_redis_value(redis.run(&["TTL", &key]).await).unwrap() };
    assert!(left().await > 5 * HOUR.as_secs());
    drain(&exporter).await;
    assert!(left().await <= HOUR.as_secs());
}

#[tokio::test]
async fn account_that_has_no_live_balance_keeps_no_other_from_it() {
    let (wechat, mut app) = wechat(12).await;
    app.min_interval = Duration::ZERO;
    let exporter = exporter(&config(app), None);
    wechat.set_fault("quota_get=9300525".parse().unwrap());
    fetch(&exporter).await;
    exporter.settled_by(Instant::now() + FAR).await;
    assert!(wechat.calls(QUOTA) > 2, "each is asked for");
}

#[tokio::test]
async fn live_balances_that_wechat_refuses_are_left_alone_for_a_while() {
    let (wechat, mut app) = wechat(12).await;
    app.min_interval = Duration::ZERO;
    app.live_quota = Some(Duration::ZERO);
    for errcode in ["45009", "45011", "48001"] {
        let exporter = exporter(&config(app.clone()), None);
        wechat.clear_faults();
        let refusal = format!("quota_get={errcode}");
        wechat.set_fault(refusal.parse().unwrap());
        let before = wechat.calls(QUOTA);
        for _ in 0..3 {
            fetch(&exporter).await;
            exporter.settled_by(Instant::now() + FAR).await;
        }
        assert_eq!(wechat.calls(QUOTA), before + 1, "{refusal}");
    }
}

#[test]
fn replica_that_only_follows_keeps_nothing_of_accounts_that_are_gone() {
    let now = Moment::now();
    let account = |biz_id: &str, quota_num| Account {
        biz_id: biz_id.into(),
        delivery_id: "YTO".into(),
        quota_num,
        quota_update_time: Some(unix_seconds(now.wall)),
        ..Account::default()
    };
    let extras = Extras::default();
    let learn = |accounts| {
        let list = AccountList {
            accounts,
            ..AccountList::default()
        };
        extras.learn(&Snapshot::fetched_now(list, now));
        let live = extras.live.lock().unwrap();
        let mut known: Vec<_> = live
            .iter()
            .map(|((biz_id, _), live)| {
                let quota_num = live.balance.map(|balance| balance.quota_num);
                (biz_id.to_string(), quota_num)
            })
            .collect();
        known.sort_by(|a, b| a.0.cmp(&b.0));
        known
    };
    let known = |biz_id: &str, quota_num| (biz_id.to_owned(), Some(quota_num));
    let first = vec![account("a", Some(1.0)), account("b", Some(2.0))];
    assert_eq!(learn(first), [known("a", 1.0), known("b", 2.0)]);
    let second = vec![account("b", None), account("c", Some(3.0))];
    assert_eq!(
        learn(second),
        [known("b", 2.0), known("c", 3.0)],
        "what is not sent for once is not forgotten"
    );
    assert_eq!(learn(Vec::new()), []);
}

#[test]
fn live_balance_that_is_not_renewed_gives_way_to_the_lists() {
    let account = |quota_num| Account {
        biz_id: "a".into(),
        delivery_id: "YTO".into(),
        quota_num: Some(quota_num),
        ..Account::default()
    };
    let now = Moment::now();
    let listed = |account| {
        let list = AccountList {
            accounts: vec![account],
            ..AccountList::default()
        };
        Snapshot::fetched_now(list, now)
    };
    let shown = |extras: &Extras, interval| {
        let snapshot = extras.with_balances(listed(account(3.0)), interval);
        snapshot.accounts()[0].quota_num
    };
    for (hours, expected) in [(0, 77.0), (1, 77.0), (3, 3.0)] {
        let extras = Extras::default();
        extras.learn(&listed(Account {
            quota_update_time: Some(unix_seconds(now.wall) - hours * 3600),
            ..account(77.0)
        }));
        assert_eq!(shown(&extras, Some(HOUR)), Some(expected), "{hours} h");
        assert_eq!(shown(&extras, None), Some(3.0), "no longer asked for");
    }
}
