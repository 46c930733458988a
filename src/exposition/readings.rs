//! The metrics of apps and accounts, from the readings of one scrape.

use std::collections::{HashMap, HashSet};

use prometheus::core::Collector as _;
use prometheus::proto::LabelPair;

use super::exporter::unix_time;
use super::family::{self, Family};
use super::series::Series;
use super::sheet::Lines;
use crate::app::Source;
use crate::collector::{AppReading, Scrape};
use crate::limiter::Cause;
use crate::wechat::courier;
use crate::wechat::{Account, Api, Reason};

/// The names that `getAllDelivery` gave, by `delivery_id`.
pub(super) type CourierNames = HashMap<Box<str>, Box<str>>;

/// The values of the `status` label, by `status_code`, and what stands for all others.
const STATUSES: [&str; 4] = ["bound", "under_review", "failed", "unbound"];
const STATUS_UNKNOWN: &str = "unknown";

/// What one account says under one family, by the account's own labels.
type AccountValue = fn(&Account) -> Option<f64>;

/// The families with one series for each account and no labels but its own.
const ACCOUNT_VALUES: [(&Family, AccountValue); 5] = [
    (&family::ACCOUNT_QUOTA, |account| account.quota_num),
    (&family::ACCOUNT_STATUS_CODE, |account| {
        account.status_code.map(number)
    }),
    (&family::ACCOUNT_QUOTA_UPDATE, |account| {
        account.quota_update_time.map(number)
    }),
    (&family::ACCOUNT_CREATE, |account| {
        account.create_time.map(number)
    }),
    (&family::ACCOUNT_UPDATE, |account| {
        account.update_time.map(number)
    }),
];

/// Account series: what changes only with a snapshot.
pub(super) fn accounts(scrape: &Scrape, courier_names: &CourierNames, series: &mut Series<'_>) {
    for (family, value) in ACCOUNT_VALUES {
        series.family(family, |series| {
            for (appid, account) in each_account(scrape) {
                if let Some(value) = value(account) {
                    series.add(&identity(appid, account), value);
                }
            }
        });
    }
    series.family(&family::ACCOUNT_STATUS, |series| {
        for (appid, account) in each_account(scrape) {
            let current = status(account.status_code);
            for status in STATUSES.into_iter().chain([STATUS_UNKNOWN]) {
                let [a, b, c] = identity(appid, account);
                series.add(&[a, b, c, ("status", status)], one_if(status == current));
            }
        }
    });
    series.family(&family::ACCOUNT_INFO, |series| {
        for reading in &scrape.readings {
            for (appid, account) in accounts_of(reading) {
                account_info(reading, appid, account, courier_names, series);
            }
        }
    });
    series.family(&family::ACCOUNT_SERVICE_INFO, |series| {
        for (appid, account) in each_account(scrape) {
            account_services(appid, account, series);
        }
    });
}

/// App series that change only with a fetch or a reload.
pub(super) fn apps(scrape: &Scrape, series: &mut Series<'_>) {
    series.family(&family::APP_INFO, |series| {
        for reading in &scrape.readings {
            let config = &reading.app.config;
            series.add(&[("appid", &config.appid), ("name", &config.name)], 1.0);
        }
    });
    each_app(scrape, series, &family::MIN_INTERVAL, |reading| {
        Some(reading.app.config.min_interval.as_secs_f64())
    });
    each_snapshot(scrape, series, &family::ACCOUNTS, |snapshot| {
        Some(count(snapshot.accounts().len() as u64))
    });
    series.family(&family::ACCOUNTS_DROPPED, |series| {
        for reading in &scrape.readings {
            let Some(snapshot) = &reading.snapshot else {
                continue;
            };
            let dropped = snapshot.dropped();
            for (reason, rows) in [
                ("duplicate", dropped.duplicate),
                ("limit", dropped.limit),
                ("invalid", dropped.invalid),
            ] {
                series.add(&[appid(reading), ("reason", reason)], count(rows));
            }
        }
    });
    each_snapshot(scrape, series, &family::SNAPSHOT_TIMESTAMP, |snapshot| {
        Some(unix_time(snapshot.fetched()))
    });
    series.family(&family::FETCH_DURATION, |series| {
        for reading in &scrape.readings {
            for family in reading.app.fetch_duration().collect() {
                for metric in family.get_metric() {
                    let mut metric = metric.clone();
                    let mut label = LabelPair::default();
                    label.set_name("appid".to_owned());
                    label.set_value(reading.app.config.appid.clone());
                    metric.set_label(vec![label]);
                    series.add_metric(&metric);
                }
            }
        }
    });
    series.family(&family::API_REQUESTS, |series| {
        for reading in &scrape.readings {
            for api in Api::ALL {
                let requests = reading.app.counters().requests(*api);
                series.add(
                    &[appid(reading), ("endpoint", api.as_str())],
                    count(requests),
                );
            }
        }
    });
    series.family(&family::API_FAILURES, |series| {
        for reading in &scrape.readings {
            for api in Api::ALL {
                for reason in Reason::ALL {
                    let failures = reading.app.counters().failures(*api, *reason);
                    let labels = [
                        appid(reading),
                        ("endpoint", api.as_str()),
                        ("reason", reason.as_str()),
                    ];
                    series.add(&labels, count(failures));
                }
            }
        }
    });
    each_app(scrape, series, &family::API_ERRCODE, |reading| {
        Some(number(reading.app.counters().errcode()))
    });
    for (family, value) in [
        (
            &family::API_DAILY_LIMIT,
            (|quota| quota.daily_limit) as fn(crate::wechat::ApiQuota) -> _,
        ),
        (&family::API_DAILY_USED, |quota| quota.used),
        (&family::API_DAILY_REMAINING, |quota| quota.remain),
    ] {
        series.family(family, |series| {
            for reading in &scrape.readings {
                if let Some((api, quota)) = reading.app.api_quota()
                    && let Some(value) = value(quota)
                {
                    series.add(&[appid(reading), ("endpoint", api.as_str())], value);
                }
            }
        });
    }
}

/// App series that can change with each scrape.
pub(super) fn scrapes(scrape: &Scrape, series: &mut impl Lines) {
    for reading in &scrape.readings {
        series.depends_on(&reading.app.config.appid);
    }
    each_app(scrape, series, &family::UP, |reading| {
        Some(one_if(reading.up))
    });
    series.family(&family::SCRAPES, |series| {
        for reading in &scrape.readings {
            for source in Source::ALL {
                let scrapes = reading.app.counters().scrapes(*source);
                series.add(
                    &[appid(reading), ("source", source.as_str())],
                    count(scrapes),
                );
            }
        }
    });
    series.family(&family::CALLS_REFUSED, |series| {
        for reading in &scrape.readings {
            for cause in Cause::ALL {
                let refused = reading.app.counters().refused(*cause);
                series.add(&[appid(reading), ("cause", cause.as_str())], count(refused));
            }
        }
    });
    each_app(scrape, series, &family::DAILY_CALLS_REMAINING, |reading| {
        reading.app.daily_calls_remaining(scrape.now).map(count)
    });
    each_app(scrape, series, &family::TOKEN_EXPIRY, |reading| {
        reading.app.token_expiry().map(unix_time)
    });
    // Here because what is asked for after a fetch can change it too.
    series.family(&family::API_HOST_INFO, |series| {
        for reading in &scrape.readings {
            if reading.app.config.api_urls.len() > 1 {
                let host = reading.app.api_host();
                series.depends_on(&reading.app.config.appid);
                series.depends_on(host);
                series.add(&[appid(reading), ("host", host)], 1.0);
            }
        }
    });
}

/// The `status` label of a `status_code`.
fn status(status_code: Option<i64>) -> &'static str {
    status_code
        .and_then(|code| usize::try_from(code).ok())
        .and_then(|code| STATUSES.get(code))
        .map_or(STATUS_UNKNOWN, |status| *status)
}

fn account_info(
    reading: &AppReading,
    appid: &str,
    account: &Account,
    courier_names: &CourierNames,
    series: &mut Series<'_>,
) {
    let couriers = &reading.app.config.couriers;
    let network = couriers.network(&account.delivery_id);
    let listed = courier_names.get(&account.delivery_id);
    let [a, b, c] = identity(appid, account);
    let listed = listed.map(AsRef::as_ref);
    let name = ("delivery_name", couriers.name(&account.delivery_id, listed));
    let network = ("network", network.as_str());
    let alias = ("alias", &*account.alias);
    let wrong = ("remark_wrong_msg", &*account.remark_wrong_msg);
    let content = ("remark_content", &*account.remark_content);
    let config = &reading.app.config;
    match (config.remark_wrong_msg, config.remark_content) {
        (false, false) => series.add(&[a, b, c, name, network, alias], 1.0),
        (true, false) => series.add(&[a, b, c, name, network, alias, wrong], 1.0),
        (false, true) => series.add(&[a, b, c, name, network, alias, content], 1.0),
        (true, true) => series.add(&[a, b, c, name, network, alias, wrong, content], 1.0),
    }
}

/// A service named twice is one service; a second series would break the scrape.
fn account_services(appid: &str, account: &Account, series: &mut Series<'_>) {
    let mut seen = HashSet::new();
    let [a, b, c] = identity(appid, account);
    for service in &account.service_types {
        let name = courier::service_name(&account.delivery_id, service);
        if account.service_types.len() > 1 && !seen.insert((service.service_type, name)) {
            continue;
        }
        let number = service.service_type.to_string();
        let labels = [a, b, c, ("service_type", &number), ("service_name", name)];
        series.add(&labels, 1.0);
    }
}

fn each_account(scrape: &Scrape) -> impl Iterator<Item = (&str, &Account)> {
    scrape.readings.iter().flat_map(accounts_of)
}

fn accounts_of(reading: &AppReading) -> impl Iterator<Item = (&str, &Account)> {
    let accounts = reading
        .snapshot
        .iter()
        .flat_map(|snapshot| snapshot.accounts());
    accounts.map(|account| (reading.app.config.appid.as_str(), account))
}

fn each_app(
    scrape: &Scrape,
    series: &mut impl Lines,
    family: &Family,
    value: impl Fn(&AppReading) -> Option<f64>,
) {
    series.family(family, |series| {
        for reading in &scrape.readings {
            series.add_known(&[appid(reading)], value(reading));
        }
    });
}

fn each_snapshot(
    scrape: &Scrape,
    series: &mut Series<'_>,
    family: &Family,
    value: impl Fn(&crate::snapshot::Snapshot) -> Option<f64>,
) {
    each_app(scrape, series, family, |reading| {
        reading.snapshot.as_deref().and_then(&value)
    });
}

fn identity<'a>(appid: &'a str, account: &'a Account) -> [(&'static str, &'a str); 3] {
    [
        ("appid", appid),
        ("biz_id", &account.biz_id),
        ("delivery_id", &account.delivery_id),
    ]
}

fn appid(reading: &AppReading) -> (&'static str, &str) {
    ("appid", &reading.app.config.appid)
}

fn one_if(condition: bool) -> f64 {
    f64::from(u8::from(condition))
}

/// Prometheus's samples are floats; the API's integers stay far below where they lose digits.
fn number(value: i64) -> f64 {
    value as f64
}

fn count(value: u64) -> f64 {
    value as f64
}
