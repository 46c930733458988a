//! One exporter, and a simulated WeChat that counts what it is asked.

use std::fs;
use std::time::Duration;

use tokio::time::Instant;

use crate::collector::{Collector, scrape};
use crate::config::{AppConfig, Config, Credential, WechatConfig};
use crate::demo::{Options, Simulation};
use crate::store::Store;
use crate::wechat::Endpoint;

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

fn exporter(config: &Config) -> Collector {
    let store = Store::open(None, config.wechat.list_limits);
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
    fs::write(&path, wechat.cloudbase_token(APPID)).unwrap();
    app.credential = Credential::Cloudbase { path: path.clone() };
    wechat.set_fault("account_getall=slow-500ms".parse().unwrap());
    let exporter = exporter(&config(app));
    let source_fails = async {
        asked(&wechat, LIST, 1).await;
        fs::remove_file(&path).unwrap();
    };
    tokio::join!(fetch(&exporter), source_fails);
    drain(&exporter).await;
    let apps = exporter.apps();
    let counters = apps.list()[0].counters();
    assert_eq!(counters.requests(Endpoint::DeliveryGetall), 1);
    assert_eq!(counters.requests(Endpoint::ApiQuotaGet), 1);
    assert!(wechat.calls(QUOTA) > 0);
}
