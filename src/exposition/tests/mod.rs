//! Whole pages: what they hold, in each format, and when their parts are made anew.

mod golden;
mod parts;
mod reading;
mod same;

use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use hyper::HeaderMap;
use hyper::header::{ACCEPT, ACCEPT_ENCODING, HeaderValue};

use super::*;
use crate::app::Source;
use crate::clock::Moment;
use crate::collector::{AppReading, Collector, Scrape};
use crate::config::{AppConfig, Config, Credential};
use crate::snapshot::Snapshot;
use crate::store::Store;
use crate::wechat::{Account, AccountList, ListLimits, ServiceType};

const OPENMETRICS: &str = "application/openmetrics-text;version=1.0.0";
const PROTOBUF: &str =
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";

pub(super) fn app(appid: &str, name: &str) -> AppConfig {
    AppConfig {
        name: name.to_owned(),
        api_urls: vec!["http://127.0.0.1:9".to_owned()],
        ..AppConfig::new(appid, Credential::None { from_appid: None })
    }
}

/// A collector that is never asked to fetch.
pub(super) fn collector(apps: Vec<AppConfig>) -> Arc<Collector> {
    let store = Store::open(None, ListLimits::default()).unwrap();
    Arc::new(Collector::new(&Config::new(apps), store).unwrap())
}

/// 2026-11-24 04:00 UTC.
fn noon() -> Moment {
    Moment {
        wall: UNIX_EPOCH + Duration::from_secs(1_795_492_800),
        monotonic: Instant::now(),
    }
}

pub(super) fn snapshot(accounts: Vec<Account>) -> Arc<Snapshot> {
    let list = AccountList {
        accounts,
        ..AccountList::default()
    };
    Arc::new(Snapshot::fetched_now(list, noon()))
}

fn account(biz_id: &str, delivery_id: &str, quota: f64) -> Account {
    Account {
        biz_id: biz_id.into(),
        delivery_id: delivery_id.into(),
        status_code: Some(0),
        quota_num: Some(quota),
        ..Account::default()
    }
}

/// A scrape that found these snapshots of the collector's apps, in order.
pub(super) fn scrape(collector: &Collector, snapshots: &[Option<Arc<Snapshot>>]) -> Scrape {
    let readings = collector
        .apps()
        .list()
        .iter()
        .zip(snapshots)
        .map(|(app, snapshot)| AppReading {
            app: Arc::clone(app),
            snapshot: snapshot.clone(),
            up: snapshot.is_some(),
            source: snapshot.as_ref().map_or(Source::None, |_| Source::Snapshot),
        })
        .collect();
    Scrape {
        readings,
        now: noon(),
    }
}

fn form(accept: &'static str, accept_encoding: &'static str) -> Form {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static(accept));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(accept_encoding));
    Form::negotiate(&headers)
}

fn text(page: &Page) -> String {
    String::from_utf8(page.body.concat()).unwrap()
}
