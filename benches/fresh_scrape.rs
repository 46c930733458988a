//! The work of one fresh scrape: reading the account list, writing the page, compressing it. For comparison,
//! `serde_json` alone and a plain copy of the page.
//!
//! `cargo bench`

use std::fmt::Write as _;
use std::sync::Arc;

use divan::Bencher;
use hyper::HeaderMap;
use hyper::header::{ACCEPT_ENCODING, HeaderValue};
use serde::Deserialize;
use wechat_logistics_exporter::clock::Moment;
use wechat_logistics_exporter::collector::{AppReading, Collector};
use wechat_logistics_exporter::command::Cli;
use wechat_logistics_exporter::config::Config;
use wechat_logistics_exporter::exposition::{Exposition, Form, Scope};
use wechat_logistics_exporter::snapshot::Snapshot;
use wechat_logistics_exporter::store::Store;
use wechat_logistics_exporter::wechat::{ListLimits, read_account_list};

/// Accounts in one app.
const ACCOUNTS: [usize; 3] = [10, 1_000, 20_000];

fn main() {
    divan::main();
}

/// Returns the list as WeChat sends it.
fn reply(accounts: usize) -> Vec<u8> {
    let mut rows = String::new();
    for number in 0..accounts {
        let separator = if number == 0 { "" } else { "," };
        let courier = ["YTO", "ZTO", "STO", "SF"][number % 4];
        write!(
            rows,
            r#"{separator}{{"biz_id":"{}","delivery_id":"{courier}","create_time":1555482786,"update_time":1555569186,"status_code":0,"alias":"华东仓-{number:05} 主账号","remark_wrong_msg":"","remark_content":"","quota_num":{},"quota_update_time":1555655586,"service_type":[{{"service_type":0,"service_name":"标准快递"}}]}}"#,
            120_000_000_000 + 7919 * number,
            7919 * number % 20_000,
        )
        .expect("a String takes everything");
    }
    format!(r#"{{"count":{accounts},"list":[{rows}]}}"#).into_bytes()
}

/// Returns the exposition of one app, and a function that makes a scrape of it.
fn exposition(accounts: usize) -> (Exposition, impl Fn() -> Vec<AppReading>) {
    let line = [
        "wechat-logistics-exporter",
        "--wechat.appid=wx0000000000000001",
        "--wechat.token-file=/run/token",
        "--wechat.api-url=http://127.0.0.1:9",
    ];
    let cli = Cli::read(line).expect("a command line");
    let config = Config::load(&cli.args).expect("an app");
    let store = Store::open(None, ListLimits::default()).expect("nowhere can be opened");
    let collector = Collector::new(&config, store).expect("a client can be made");
    let collector = Arc::new(collector);
    let list = read_account_list(&reply(accounts), None, ListLimits::default()).expect("a list");
    let snapshot = Arc::new(Snapshot::fetched_now(list, Moment::now()));
    let app = Arc::clone(&collector.apps().list()[0]);
    let scrape = move || {
        vec![AppReading {
            app: Arc::clone(&app),
            snapshot: Some(Arc::clone(&snapshot)),
            up: true,
        }]
    };
    (Exposition::new(collector), scrape)
}

fn form(accept_encoding: &'static str) -> Form {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(accept_encoding));
    Form::negotiate(&headers)
}

fn page(exposition: &Exposition, scrape: Vec<AppReading>, form: Form) -> Vec<u8> {
    let mut page = Vec::new();
    exposition
        .page(scrape, Scope::Everything, &[], form)
        .write_to(&mut page)
        .expect("a Vec takes every byte");
    page
}

#[divan::bench(args = ACCOUNTS)]
fn read(bencher: Bencher<'_, '_>, accounts: usize) {
    let reply = reply(accounts);
    bencher.bench(|| {
        let list = read_account_list(&reply, None, ListLimits::default()).expect("a list");
        Snapshot::fetched_now(list, Moment::now())
    });
}

/// The lower bound for the cost of reading.
#[divan::bench(args = ACCOUNTS)]
fn read_serde_json_alone(bencher: Bencher<'_, '_>, accounts: usize) {
    #[derive(Deserialize)]
    struct List {
        list: Vec<Row>,
    }

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "they are read, and that is all")]
    struct Row {
        biz_id: Box<str>,
        delivery_id: Box<str>,
        create_time: i64,
        update_time: i64,
        status_code: i64,
        alias: Box<str>,
        quota_num: f64,
        quota_update_time: i64,
        service_type: Vec<Service>,
    }

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "as above")]
    struct Service {
        service_type: i64,
        service_name: Box<str>,
    }

    let reply = reply(accounts);
    bencher.bench(|| {
        let list: List = serde_json::from_slice(&reply).expect("a list");
        list.list
    });
}

#[divan::bench(args = ACCOUNTS)]
fn write(bencher: Bencher<'_, '_>, accounts: usize) {
    let (exposition, scrape) = exposition(accounts);
    bencher.bench(|| page(&exposition, scrape(), form("identity")));
}

#[divan::bench(args = ACCOUNTS)]
fn write_and_gzip(bencher: Bencher<'_, '_>, accounts: usize) {
    let (exposition, scrape) = exposition(accounts);
    bencher.bench(|| page(&exposition, scrape(), form("gzip")));
}

/// The lower bound for the cost of writing.
#[divan::bench(args = ACCOUNTS)]
fn write_plain_copy(bencher: Bencher<'_, '_>, accounts: usize) {
    let (exposition, scrape) = exposition(accounts);
    let page = page(&exposition, scrape(), form("identity"));
    bencher.bench(|| page.clone());
}
