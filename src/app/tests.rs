//! One app, and a mock WeChat that counts its calls.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::json;
use tokio::time::Instant;
use wiremock::matchers::{path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::collector::{Collector, scrape};
use crate::config::{
    Config, CourierConfig, Couriers, Credential, HttpTokenConfig, SecretSource, SecretUrl,
    WechatConfig,
};
use crate::limiter::Cause;
use crate::wechat::Account;
use crate::wechat::courier::Network;

pub(crate) const APPID: &str = "wx0000000000000001";
pub(crate) const LIST: &str = "/cgi-bin/express/business/account/getall";
pub(crate) const STABLE_TOKEN: &str = "/cgi-bin/stable_token";
pub(crate) const QUOTA: &str = "/cgi-bin/express/business/quota/get";
const DELIVERIES: &str = "/cgi-bin/express/business/delivery/getall";
const API_QUOTA: &str = "/cgi-bin/openapi/quota/get";
pub(crate) const HOUR: Duration = Duration::from_secs(3600);
/// A deadline that is never reached, even on a machine under load.
pub(crate) const FAR: Duration = Duration::from_secs(120);

/// A mock WeChat, and the apps of the exporters that call it.
pub(crate) struct World {
    pub(crate) wechat: MockServer,
    pub(crate) apps: Vec<AppConfig>,
}

pub(crate) fn reply(body: serde_json::Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(body)
}

/// Returns a list of bound accounts of these couriers, with old balances.
pub(crate) fn accounts(couriers: &[&str]) -> ResponseTemplate {
    let account = |(id, courier)| json!({"biz_id": format!("K{id}"), "delivery_id": courier, "status_code": 0, "quota_num": 5});
    let accounts: Vec<_> = couriers.iter().enumerate().map(account).collect();
    reply(json!({"list": accounts}))
}

impl World {
    /// Creates a world with one app that may be fetched at any time.
    async fn new() -> Self {
        let mut world = Self::listing(accounts(&["YTO"; 25])).await;
        world.apps[0].live_quota = Some(HOUR);
        world
    }

    /// Creates a world with one app that may be fetched at any time, and a WeChat that answers with this list.
    pub(crate) async fn listing(list: ResponseTemplate) -> Self {
        let mut world = Self {
            wechat: MockServer::start().await,
            apps: Vec::new(),
        };
        world.apps.push(world.app(APPID));
        world.lists(list).await;
        world
    }

    pub(crate) fn app(&self, appid: &str) -> AppConfig {
        let credential = Credential::StableToken {
            secret: SecretSource::Simulated,
        };
        AppConfig {
            api_urls: vec![self.wechat.uri().parse().unwrap()],
            min_interval: Duration::ZERO,
            ..AppConfig::new(appid, credential)
        }
    }

    /// Returns the credential of an app whose token is at `/token` of the same server.
    fn token_server(&self) -> Credential {
        Credential::Http(HttpTokenConfig {
            url: SecretUrl::new(format!("{}/token", self.wechat.uri()).parse().unwrap()),
            headers_file: None,
            refresh_url: None,
            token_pointer: None,
        })
    }

    /// Makes WeChat give out a token, and answer every request for the account list with `list`.
    pub(crate) async fn lists(&self, list: ResponseTemplate) {
        self.wechat.reset().await;
        let token = json!({"access_token": "token-0123456789", "expires_in": 7200});
        self.answers(STABLE_TOKEN, reply(token)).await;
        self.answers(LIST, list).await;
    }

    pub(crate) async fn answers(&self, api: &str, reply: ResponseTemplate) {
        let mock = Mock::given(path(api)).respond_with(reply);
        mock.mount(&self.wechat).await;
    }

    pub(crate) async fn calls(&self, api: &str) -> usize {
        let requests = self.wechat.received_requests().await.unwrap();
        let of_api = requests.iter().filter(|request| request.url.path() == api);
        of_api.count()
    }

    pub(crate) fn config(&self) -> Config {
        Config {
            wechat: WechatConfig {
                timeout: Duration::from_secs(30),
                max_concurrency: 4,
                proxy_from_env: false,
                ..Config::new(Vec::new()).wechat
            },
            ..Config::new(self.apps.clone())
        }
    }

    fn exporter(&self, state: Option<&Path>) -> Collector {
        let config = self.config();
        let store = Store::open(state.map(Path::to_owned), config.wechat.list_limits());
        Collector::new(&config, store.unwrap()).unwrap()
    }
}

/// Scrapes once; optional calls may go on after that.
async fn fetch(exporter: &Collector) {
    let apps = exporter.apps();
    let scrape = scrape(apps.list(), HOUR, Instant::now() + FAR).await;
    assert!(scrape[0].up);
}

async fn settle(exporter: &Collector) {
    fetch(exporter).await;
    exporter.settled_by(Instant::now() + FAR).await;
}

fn app(exporter: &Collector) -> Arc<App> {
    Arc::clone(&exporter.apps().list()[0])
}

#[tokio::test]
async fn ten_live_balances_a_fetch_are_asked_for_and_shown_until_all_are_known() {
    let world = World::new().await;
    world.answers(QUOTA, reply(json!({"quota_num": 4}))).await;
    let exporter = world.exporter(None);
    for (fetches, asked) in [(1, 10), (2, 20), (3, 25), (4, 25)] {
        settle(&exporter).await;
        assert_eq!(world.calls(LIST).await, fetches);
        assert_eq!(world.calls(QUOTA).await, asked);
        let snapshot = app(&exporter).last_reading(HOUR, Moment::now()).0.unwrap();
        let live = |account: &&Account| account.quota_num == Some(4.0);
        assert_eq!(snapshot.accounts.iter().filter(live).count(), asked);
    }
}

#[tokio::test]
async fn live_balances_leave_half_of_the_days_calls_to_the_list() {
    let mut world = World::new().await;
    world.apps[0].daily_limit = Some(20);
    world.answers(QUOTA, reply(json!({"quota_num": 4}))).await;
    let exporter = world.exporter(None);
    for _ in 0..3 {
        settle(&exporter).await;
    }
    assert_eq!(
        world.calls(QUOTA).await,
        8,
        "with a token and the list, half"
    );
    let refused = app(&exporter).state.counters.refused(Cause::DailyLimit);
    assert_eq!(refused, 1, "once a round");
}

#[tokio::test]
async fn refusal_of_live_balances_holds_them_and_that_of_one_account_no_other() {
    for (errcode, asked) in [(45009, 1), (45011, 1), (48001, 1), (9_300_525, 25)] {
        let world = World::new().await;
        let refusal = json!({"errcode": errcode, "errmsg": "refused"});
        world.answers(QUOTA, reply(refusal)).await;
        let exporter = world.exporter(None);
        for _ in 0..4 {
            settle(&exporter).await;
        }
        assert_eq!(world.calls(QUOTA).await, asked, "{errcode}");
    }
}

#[tokio::test]
async fn operator_then_wechat_then_the_table_say_which_couriers_have_live_balances() {
    let couriers = ["YTO", "NEW", "OTP", "STO", "ODD"];
    let mut world = World::listing(accounts(&couriers)).await;
    world.apps[0].live_quota = Some(HOUR);
    world.apps[0].refresh_couriers = true;
    let configured = |id: &str, network| {
        let name = "configured".to_owned();
        (id.to_owned(), CourierConfig { name, network })
    };
    world.apps[0].couriers = Arc::new(Couriers(BTreeMap::from([
        configured("YTO", Network::Direct),
        configured("NEW", Network::Franchise),
    ])));
    let listed = |id, can_get_quota| json!({"delivery_id": id, "can_get_quota": can_get_quota});
    let listed = json!({"data": [listed("YTO", 1), listed("NEW", 0), listed("OTP", 1)]});
    world.answers(DELIVERIES, reply(listed)).await;
    world.answers(QUOTA, reply(json!({"quota_num": 4}))).await;
    let exporter = world.exporter(None);
    for asked in [2, 3] {
        settle(&exporter).await;
        assert_eq!(world.calls(QUOTA).await, asked);
    }
    let snapshot = app(&exporter).last_reading(HOUR, Moment::now()).0.unwrap();
    let live = snapshot.accounts.iter();
    let live = live.filter(|account| account.quota_num == Some(4.0));
    let live: Vec<&str> = live.map(|account| &*account.delivery_id).collect();
    assert_eq!(live, ["NEW", "OTP", "STO"]);
}

#[tokio::test]
async fn wechats_own_figures_are_asked_for_once_an_hour_over_restarts_too() {
    let mut world = World::listing(accounts(&["YTO"])).await;
    world.apps[0].api_quota = true;
    let figures = json!({"errcode": 0, "quota": {"daily_limit": 500, "used": 10, "remain": 490}});
    world.answers(API_QUOTA, reply(figures)).await;
    let state = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let exporter = world.exporter(Some(state.path()));
        for _ in 0..2 {
            settle(&exporter).await;
            let (_, quota) = app(&exporter).api_quota().unwrap();
            assert_eq!(quota.used, Some(10.0));
        }
    }
    assert_eq!(world.calls(API_QUOTA).await, 1);
}

/// Returns the calls that would count as sent after a crash.
fn kept(state: &Path) -> u64 {
    let file = fs::read(state.join(format!("{APPID}.limiter.json"))).unwrap();
    let state = crate::store::form::read_state(&file, APPID).unwrap();
    let sent: u64 = state.limiter.calls.values().sum();
    sent + state.limiter.reserved
}

#[tokio::test]
async fn crash_in_a_fetch_costs_four_calls_and_a_stop_costs_none() {
    let mut world = World::new().await;
    // The number of calls that a fetch can send doesn't grow with the number of hosts.
    world.apps[0].api_urls = vec![world.wechat.uri().parse().unwrap(); 5];
    let slow = reply(json!({"quota_num": 4})).set_delay(Duration::from_secs(1));
    world.answers(QUOTA, slow).await;
    let state = tempfile::tempdir().unwrap();
    let asked = async |api, calls| {
        while world.calls(api).await < calls {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let exporter = world.exporter(Some(state.path()));
    tokio::join!(fetch(&exporter), async {
        asked(STABLE_TOKEN, 1).await;
        assert_eq!(kept(state.path()), 4);
    });
    asked(QUOTA, 1).await;
    assert_eq!(kept(state.path()), 2 + 10);
    exporter.drain(Instant::now() + FAR).await;
    assert!(world.calls(QUOTA).await < 10, "stopped in its midst");
    let sent = app(&exporter).state.limiter.used(Moment::now());
    assert_eq!(kept(state.path()), sent);
}

#[tokio::test]
async fn live_balances_that_fail_hold_up_no_fetch() {
    let world = World::new().await;
    let failed = json!({"errcode": 9_300_501, "errmsg": "delivery logic fail"});
    let slow = reply(failed).set_delay(Duration::from_millis(200));
    world.answers(QUOTA, slow).await;
    let exporter = world.exporter(None);
    fetch(&exporter).await;
    fetch(&exporter).await;
    let requests = world.wechat.received_requests().await.unwrap();
    let mut paths = requests.iter().map(|request| request.url.path());
    paths.find(|path| *path == LIST);
    let between = paths.take_while(|path| *path != LIST).count();
    assert!(between < 10, "{between}");
}

#[tokio::test]
async fn next_list_waits_for_one_optional_call_and_the_others_are_sent_after_it() {
    let mut world = World::new().await;
    world.apps[0].refresh_couriers = true;
    world.apps[0].api_quota = true;
    let slow = reply(json!({"data": []})).set_delay(Duration::from_secs(1));
    world.answers(DELIVERIES, slow).await;
    let exporter = world.exporter(None);
    fetch(&exporter).await;
    settle(&exporter).await;
    let requests = world.wechat.received_requests().await.unwrap();
    let paths: Vec<&str> = requests.iter().map(|request| request.url.path()).collect();
    let expected = [STABLE_TOKEN, LIST, DELIVERIES, LIST, API_QUOTA, QUOTA];
    assert_eq!(paths[..6], expected);
}

#[tokio::test]
async fn app_that_leaves_the_configuration_and_comes_back_has_the_same_budget() {
    let mut world = World::listing(accounts(&["YTO"])).await;
    world.apps[0].min_interval = HOUR;
    let exporter = world.exporter(None);
    fetch(&exporter).await;
    let apps = std::mem::take(&mut world.apps);
    world.apps = vec![world.app("wx2")];
    exporter.reconfigure(&world.config()).unwrap();
    world.apps = apps;
    exporter.reconfigure(&world.config()).unwrap();
    fetch(&exporter).await;
    assert_eq!(world.calls(LIST).await, 1);
}

#[tokio::test]
async fn another_call_for_tokens_ends_the_hold_of_the_first_one() {
    let mut world = World::listing(accounts(&["YTO"])).await;
    let used_up = json!({"errcode": 45009, "errmsg": "reach max api daily quota limit"});
    world.answers("/cgi-bin/token", reply(used_up)).await;
    let secret = SecretSource::Simulated;
    world.apps[0].credential = Credential::Token { secret };
    let exporter = world.exporter(None);
    let apps = exporter.apps();
    let scrape = scrape(apps.list(), HOUR, Instant::now() + FAR).await;
    assert!(!scrape[0].up);
    let held = app(&exporter).state.limiter.open_breaker(Moment::now());
    assert_eq!(held.unwrap().0, crate::wechat::Reason::DailyQuota);
    let secret = SecretSource::Simulated;
    world.apps[0].credential = Credential::StableToken { secret };
    exporter.reconfigure(&world.config()).unwrap();
    fetch(&exporter).await;
}

#[tokio::test]
async fn source_of_a_rejected_token_is_asked_by_each_fetch() {
    let mut world = World::listing(accounts(&["YTO"])).await;
    world.wechat.reset().await;
    let rejected = json!({"errcode": 40001, "errmsg": "invalid credential"});
    for (token, list) in [
        ("old-0123456789", reply(rejected)),
        ("new-0123456789", accounts(&["YTO"])),
    ] {
        let mock = Mock::given(path(LIST)).and(query_param("access_token", token));
        mock.respond_with(list).mount(&world.wechat).await;
    }
    // The first fetch asks twice; the second one asks once, as it may not renew the token so soon.
    for (token, times) in [("old-0123456789", 3), ("new-0123456789", 9)] {
        let token = reply(json!({"access_token": token, "expires_in": 7200}));
        let mock = Mock::given(path("/token")).respond_with(token);
        mock.up_to_n_times(times).mount(&world.wechat).await;
    }
    world.apps[0].credential = world.token_server();
    let exporter = world.exporter(None);
    for up in [false, false, true] {
        let apps = exporter.apps();
        let scrape = scrape(apps.list(), HOUR, Instant::now() + FAR).await;
        assert_eq!(scrape[0].up, up);
    }
}

#[tokio::test]
async fn token_server_that_hangs_holds_up_no_app_with_a_secret_of_its_own() {
    let mut world = World::listing(accounts(&["YTO"])).await;
    let hangs = reply(json!({})).set_delay(FAR);
    world.answers("/token", hangs).await;
    let asking = |appid| AppConfig {
        credential: world.token_server(),
        ..world.app(appid)
    };
    let apps = ["wx2", "wx3", "wx4", "wx5", "wx6"].map(asking);
    world.apps.splice(0..0, apps);
    let exporter = world.exporter(None);
    let apps = exporter.apps();
    let scrape = scrape(apps.list(), HOUR, Instant::now() + Duration::from_secs(4)).await;
    let up: Vec<bool> = scrape.iter().map(|reading| reading.up).collect();
    assert_eq!(up, [false, false, false, false, false, true]);
}
