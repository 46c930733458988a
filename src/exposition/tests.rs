//! Whole pages: the golden ones, and what holds for every page.

use std::collections::HashSet;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use hyper::HeaderMap;
use hyper::header::{ACCEPT, ACCEPT_ENCODING, HeaderValue};

use super::*;
use crate::clock::Moment;
use crate::collector::{AppReading, Collector};
use crate::config::{AppConfig, Config, Credential, SecretSource};
use crate::snapshot::Snapshot;
use crate::store::Store;
use crate::wechat::{Account, AccountList, Api, ListLimits, Reason, ServiceType};

const OPENMETRICS: &str = "application/openmetrics-text;version=1.0.0";

/// Returns an app that mints its tokens.
pub(super) fn app(appid: &str, name: &str) -> AppConfig {
    let credential = Credential::StableToken {
        secret: SecretSource::Simulated,
    };
    AppConfig {
        name: name.to_owned(),
        ..AppConfig::new(appid, credential)
    }
}

/// Returns 2026-11-24 04:00 UTC.
fn noon() -> Moment {
    Moment {
        wall: UNIX_EPOCH + Duration::from_secs(1_795_492_800),
        monotonic: Instant::now(),
    }
}

/// Returns a scrape that found these lists of these apps.
pub(super) fn scraped(found: Vec<(AppConfig, AccountList)>) -> (Exposition, Vec<AppReading>) {
    let (apps, lists): (Vec<_>, Vec<_>) = found.into_iter().unzip();
    let store = Store::open(None, ListLimits::default()).unwrap();
    let collector = Arc::new(Collector::new(&Config::new(apps), store).unwrap());
    let apps = collector.apps();
    let readings = apps.list().iter().zip(lists).map(|(app, list)| AppReading {
        app: Arc::clone(app),
        snapshot: Some(Arc::new(Snapshot::fetched_now(list, noon()))),
        up: true,
    });
    (Exposition::new(collector), readings.collect())
}

pub(super) fn list(accounts: Vec<Account>) -> AccountList {
    AccountList {
        accounts,
        ..AccountList::default()
    }
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

/// Returns an account with every value.
pub(super) fn full_account(number: usize) -> Account {
    Account {
        create_time: Some(1_700_000_000),
        update_time: Some(1_795_400_000),
        quota_update_time: Some(1_795_490_000),
        alias: "仓库".into(),
        service_types: vec![ServiceType {
            service_type: 1,
            service_name: "圆准达".into(),
        }],
        ..account(&format!("四川某某公司_{number}"), "YTO", 1234.0)
    }
}

pub(super) fn form(accept: &'static str, accept_encoding: &'static str) -> Form {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static(accept));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(accept_encoding));
    Form::negotiate(&headers)
}

fn written(page: Page) -> String {
    let mut bytes = Vec::new();
    page.write_to(&mut bytes).unwrap();
    let mut text = String::new();
    let is_gzip = bytes.starts_with(b"\x1f\x8b");
    let (mut plain, mut gzip) = (&*bytes, flate2::read::GzDecoder::new(&*bytes));
    let page: &mut dyn Read = if is_gzip { &mut gzip } else { &mut plain };
    page.read_to_string(&mut text).unwrap();
    text
}

fn apps_only(exposition: &Exposition, scrape: Vec<AppReading>, form: Form) -> String {
    written(exposition.page(scrape, Scope::AppsOnly, &[], form))
}

/// Returns the sample lines.
fn samples(page: &str) -> Vec<&str> {
    page.lines().filter(|line| !line.starts_with('#')).collect()
}

fn example() -> (Exposition, Vec<AppReading>) {
    let second = AppConfig {
        daily_limit: None,
        remark_wrong_msg: true,
        ..AppConfig::new("wx0000000000000002", Credential::None { from_appid: None })
    };
    let franchise = Account {
        alias: "仓库 \"A\"\\一\n二".into(),
        service_types: vec![
            ServiceType {
                service_type: 1,
                service_name: "圆准达".into(),
            },
            // The same service; its name is then the documented one.
            ServiceType {
                service_type: 1,
                service_name: "".into(),
            },
        ],
        ..full_account(1)
    };
    let direct = Account {
        quota_num: None,
        ..account("0280000001", "SF", 0.0)
    };
    let unknown = Account {
        status_code: Some(9),
        quota_num: Some(0.5),
        ..account("1", "NEW", 0.0)
    };
    let twice = account("1", "NEW", 3.0);
    let first_list = AccountList {
        accounts: vec![franchise, direct, unknown, twice],
        count: Some(6),
        invalid: 1,
        beyond_limit: 1,
    };
    let failed = Account {
        status_code: Some(2),
        remark_wrong_msg: "密码错误".into(),
        ..account("2", "STO", 0.0)
    };
    let (exposition, scrape) = scraped(vec![
        (app("wx0000000000000001", "main shop"), first_list),
        (
            AppConfig {
                name: "第二家店".to_owned(),
                ..second
            },
            list(vec![failed]),
        ),
    ]);
    scrape[0].app.state.fetch_duration.observe(0.25);
    let counters = &scrape[1].app.state.counters;
    counters.count_request(Api::QuotaGet);
    counters.count_failure(Api::QuotaGet, Reason::Config);
    (exposition, scrape)
}

/// Set `UPDATE_GOLDEN` to rewrite the golden pages.
#[test]
fn pages_are_the_golden_ones() {
    for (name, accept) in [
        ("accounts.prom", "text/plain"),
        ("accounts.openmetrics", OPENMETRICS),
    ] {
        let (exposition, scrape) = example();
        let page = apps_only(&exposition, scrape, form(accept, "identity"));
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/data")
            .join(name);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &page).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap();
        for (number, (ours, theirs)) in page.lines().zip(golden.lines()).enumerate() {
            assert_eq!(ours, theirs, "line {} of {name}", number + 1);
        }
        assert_eq!(page, golden);
    }
}

#[test]
fn app_has_at_most_55_series_and_an_account_with_one_service_7() {
    let (exposition, scrape) = scraped(vec![(app("wx1", "shop"), list(Vec::new()))]);
    let page = apps_only(&exposition, scrape, Form::TEXT);
    // The expiry of the app's token is not known here.
    let alone = samples(&page).len();
    assert!(alone < 55, "{alone} series: {page}");
    let accounts = (0..10).map(full_account).collect();
    let (exposition, scrape) = scraped(vec![(app("wx1", "shop"), list(accounts))]);
    let page = apps_only(&exposition, scrape, Form::TEXT);
    assert_eq!(samples(&page).len() - alone, 70, "{page}");
}

#[test]
fn descriptive_labels_have_no_line_break_and_ids_keep_theirs() {
    let breaks = "\n\u{b}\u{c}\r\u{1c}\u{1d}\u{1e}\u{1f}\u{85}\u{2028}\u{2029}";
    let text = format!("a{breaks}b");
    let account = Account {
        alias: text.clone().into(),
        remark_wrong_msg: text.clone().into(),
        remark_content: text.clone().into(),
        service_types: vec![ServiceType {
            service_type: 1,
            service_name: text.clone().into(),
        }],
        ..account(&text, &text, 1.0)
    };
    let config = AppConfig {
        remark_wrong_msg: true,
        remark_content: true,
        ..app("wx1", &text)
    };
    let (exposition, scrape) = scraped(vec![(config, list(vec![account]))]);
    let page = apps_only(&exposition, scrape, Form::TEXT);
    let one_line = format!("\"a{}b\"", " ".repeat(breaks.chars().count()));
    for label in [
        "alias",
        "remark_wrong_msg",
        "remark_content",
        "service_name",
        "delivery_name",
        "name",
    ] {
        assert!(page.contains(&format!("{label}={one_line}")), "{label}");
    }
    let id = text.replace('\n', "\\n");
    assert!(page.contains(&format!("biz_id=\"{id}\",delivery_id=\"{id}\"")));
}

#[test]
fn gzip_holds_the_same_page_and_no_series_is_there_twice() {
    let service = |service_name: &str| ServiceType {
        service_type: 1,
        service_name: service_name.into(),
    };
    let account = Account {
        service_types: vec![
            service("a b"),
            service("a\nb"),
            service(""),
            service("圆准达"),
        ],
        ..full_account(1)
    };
    let page = |accept_encoding| {
        let found = vec![(app("wx1", "shop"), list(vec![account.clone()]))];
        let (exposition, scrape) = scraped(found);
        apps_only(&exposition, scrape, form("text/plain", accept_encoding))
    };
    let text = page("identity");
    assert_eq!(page("gzip"), text);
    let lines = samples(&text);
    let series = lines.iter().filter_map(|line| line.rsplit_once(' '));
    let series: HashSet<_> = series.map(|(series, _)| series).collect();
    assert_eq!(series.len(), lines.len());
}
