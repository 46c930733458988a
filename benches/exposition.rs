//! What a page costs: encoding a series, and serving a page from a snapshot.
//!
//! `cargo bench --bench exposition`

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, main as run};
use hyper::HeaderMap;
use hyper::header::{ACCEPT, ACCEPT_ENCODING, HeaderValue};
use prometheus::{Encoder as _, GaugeVec, Opts, Registry, TextEncoder};
use prometheus_client::metrics::{family::Family, gauge::Gauge};
use wechat_logistics_exporter::app::Source;
use wechat_logistics_exporter::clock::Moment;
use wechat_logistics_exporter::collector::{AppReading, Collector, Scrape};
use wechat_logistics_exporter::config::{AppConfig, Config, Credential};
use wechat_logistics_exporter::exposition::{Exposition, Form, Scope};
use wechat_logistics_exporter::snapshot::Snapshot;
use wechat_logistics_exporter::store::Store;
use wechat_logistics_exporter::wechat::{Account, AccountList, ListLimits, ServiceType};

/// Accounts of the page, in one app.
const ACCOUNTS: [usize; 3] = [10, 1_000, 20_000];
/// For what grows with them.
const GROWING: [usize; 3] = [1_000, 20_000, 100_000];

const TEXT: &str = "text/plain";
const OPENMETRICS: &str = "application/openmetrics-text;version=1.0.0";
const PROTOBUF: &str =
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";

fn main() {
    run();
}

fn config(apps: usize) -> Config {
    let app = |number| AppConfig {
        name: "main shop".to_owned(),
        api_urls: vec!["http://127.0.0.1:9".to_owned()],
        ..AppConfig::new(
            format!("wx{number:016}"),
            Credential::None { from_appid: None },
        )
    };
    Config::new((0..apps).map(app).collect())
}

fn snapshot(accounts: usize) -> Arc<Snapshot> {
    let account = |number: usize| Account {
        biz_id: format!("某某快递公司_{number}").into(),
        delivery_id: ["YTO", "ZTO", "STO", "SF"][number % 4].into(),
        create_time: Some(1_700_000_000 + number as i64),
        update_time: Some(1_750_000_000 + number as i64),
        quota_update_time: Some(1_795_000_000 + number as i64),
        status_code: Some(0),
        quota_num: Some((number * 7919 % 10_000) as f64),
        service_types: vec![ServiceType {
            service_type: 1,
            service_name: "标准快递".into(),
        }],
        ..Account::default()
    };
    let list = AccountList {
        accounts: (0..accounts).map(account).collect(),
        ..AccountList::default()
    };
    Arc::new(Snapshot::fetched_now(list, Moment::now()))
}

/// A scrape that found so many accounts in each of so many apps.
fn scrape(apps: usize, accounts: usize) -> (Exposition, Scrape) {
    let store = Store::open(None, ListLimits::default()).expect("nowhere can be opened");
    let collector = Collector::new(&config(apps), store).expect("a client can be made");
    let collector = Arc::new(collector);
    let reading = |app: &Arc<_>| AppReading {
        app: Arc::clone(app),
        snapshot: Some(snapshot(accounts)),
        up: true,
        source: Source::Snapshot,
    };
    let scrape = Scrape {
        readings: collector.apps().list().iter().map(reading).collect(),
        now: Moment::now(),
    };
    (Exposition::new(collector), scrape)
}

fn form(accept: &'static str, accept_encoding: &'static str) -> Form {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static(accept));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(accept_encoding));
    Form::negotiate(&headers)
}

/// From one scrape to the next the snapshot stays.
#[divan::bench(args = ACCOUNTS, consts = [false, true])]
fn page_from_a_snapshot<const GZIP: bool>(bencher: Bencher<'_, '_>, accounts: usize) {
    let (exposition, scrape) = scrape(1, accounts);
    let form = form(TEXT, if GZIP { "gzip" } else { "identity" });
    let page = || exposition.page(&scrape, Scope::Everything, &[], form);
    bencher
        .counter(BytesCount::new(page().content_length()))
        .bench(page);
}

/// The scrape comes from another app each time: a Prometheus that probes them all.
#[divan::bench(args = [100, 1_000])]
fn probe_of_each_app(bencher: Bencher<'_, '_>, apps: usize) {
    let (exposition, scrape) = scrape(apps, 20);
    let now = scrape.now;
    let probes: Vec<_> = scrape
        .readings
        .into_iter()
        .map(|reading| Scrape {
            readings: vec![reading],
            now,
        })
        .collect();
    let form = form(OPENMETRICS, "gzip");
    bencher.counter(ItemsCount::new(apps)).bench(|| {
        for probe in &probes {
            black_box(exposition.page(probe, Scope::AppsOnly, &[], form));
        }
    });
}

/// The first page of a new snapshot.
#[divan::bench(args = [(TEXT, "identity"), (TEXT, "gzip"), (TEXT, "zstd"), (OPENMETRICS, "identity"), (PROTOBUF, "identity")], consts = GROWING)]
fn page_of_a_new_snapshot<const ACCOUNTS: usize>(
    bencher: Bencher<'_, '_>,
    (accept, accept_encoding): (&'static str, &'static str),
) {
    let (_, scrape) = scrape(1, ACCOUNTS);
    let form = form(accept, accept_encoding);
    let store = || Store::open(None, ListLimits::default()).expect("nowhere can be opened");
    let collector = Arc::new(Collector::new(&config(1), store()).expect("a client can be made"));
    bencher
        .counter(ItemsCount::new(ACCOUNTS * SERIES_PER_ACCOUNT))
        .with_inputs(|| Exposition::new(Arc::clone(&collector)))
        .bench_refs(|exposition| exposition.page(&scrape, Scope::AppsOnly, &[], form));
}

/// Five balances and times, five statuses, one info and one service.
const SERIES_PER_ACCOUNT: usize = 12;

/// The same kind of series through the `prometheus` crate: a registry, gathered and encoded as text.
#[divan::bench(args = ACCOUNTS)]
fn prometheus_gather_and_text_encoder(bencher: Bencher<'_, '_>, accounts: usize) {
    let registry = Registry::new();
    for metric in 0..SERIES_PER_ACCOUNT {
        let name = format!("wechat_logistics_account_number_{metric}");
        let gauges = GaugeVec::new(Opts::new(name, "help"), &["appid", "biz_id", "delivery_id"])
            .expect("the names are valid");
        for account in snapshot(accounts).accounts() {
            let labels = [
                "wx0000000000000000",
                &*account.biz_id,
                &*account.delivery_id,
            ];
            gauges
                .with_label_values(&labels)
                .set(account.quota_num.unwrap_or_default());
        }
        registry
            .register(Box::new(gauges))
            .expect("each name is registered once");
    }
    let encoder = TextEncoder::new();
    bencher
        .counter(ItemsCount::new(accounts * SERIES_PER_ACCOUNT))
        .bench(|| {
            let mut page = Vec::new();
            encoder
                .encode(&registry.gather(), &mut page)
                .expect("a Vec takes every byte");
            page
        });
}

/// The same through `prometheus-client`, which writes OpenMetrics.
#[divan::bench(args = ACCOUNTS)]
fn prometheus_client_text_encoder(bencher: Bencher<'_, '_>, accounts: usize) {
    type Labels = [(&'static str, String); 3];
    let mut registry = prometheus_client::registry::Registry::default();
    for metric in 0..SERIES_PER_ACCOUNT {
        let gauges = Family::<Labels, Gauge<f64, AtomicU64>>::default();
        for account in snapshot(accounts).accounts() {
            let labels = [
                ("appid", "wx0000000000000000".to_owned()),
                ("biz_id", account.biz_id.to_string()),
                ("delivery_id", account.delivery_id.to_string()),
            ];
            let gauge = gauges.get_or_create(&labels);
            gauge.set(account.quota_num.unwrap_or_default());
        }
        registry.register(
            format!("wechat_logistics_account_number_{metric}"),
            "help",
            gauges,
        );
    }
    bencher
        .counter(ItemsCount::new(accounts * SERIES_PER_ACCOUNT))
        .bench(|| {
            let mut page = String::new();
            prometheus_client::encoding::text::encode(&mut page, &registry)
                .expect("a String takes every byte");
            page
        });
}

/// What `Accept` of Prometheus 3 costs to read.
#[divan::bench]
fn negotiate() -> Form {
    form(
        black_box(
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
        ),
        "gzip",
    )
}
