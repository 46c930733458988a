//! Every metric: its name, help and type, and how its samples are got. Each name stands here and nowhere else in the code.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::core::Metric as _;

use super::encoder::{Encoder, Kind};
use crate::app::Source;
use crate::clock::Moment;
use crate::collector::{AppReading, Collector};
use crate::limiter::Cause;
use crate::replicas;
use crate::wechat::courier;
use crate::wechat::{Account, Api, ApiQuota, Reason, ServiceType};

/// The couriers' names that WeChat gave, by `delivery_id`.
pub(super) type CourierNames = HashMap<Box<str>, Box<str>>;

/// A metric.
#[derive(Debug)]
pub struct Family {
    /// The full name, a counter's with `_total`.
    pub name: &'static str,
    /// What it says, with the API's field where it comes from one.
    pub help: &'static str,
    pub(super) kind: Kind,
    samples: Samples,
}

/// How the samples of a family are got.
#[derive(Debug)]
enum Samples {
    /// One for each account that has a value.
    AccountValue(fn(&Account) -> Option<f64>),
    /// Any number for each account.
    Account(fn(&AppReading, &Account, &CourierNames, &mut Encoder)),
    /// One for each app that has a value.
    AppValue(fn(&AppReading, Moment) -> Option<f64>),
    /// Any number for each app.
    App(fn(&AppReading, &mut Encoder)),
    /// Counted by a part of the exporter.
    Exporter(fn(&Collector, &mut Encoder)),
    /// Kept in the exporter's registry ([`super::exporter`]).
    Registry,
}

impl Family {
    /// Whether [`Self::write_account`] writes anything.
    pub(super) fn is_of_accounts(&self) -> bool {
        matches!(self.samples, Samples::AccountValue(_) | Samples::Account(_))
    }

    /// Writes what it says of an account.
    pub(super) fn write_account(
        &self,
        reading: &AppReading,
        account: &Account,
        courier_names: &CourierNames,
        out: &mut Encoder,
    ) {
        match self.samples {
            Samples::AccountValue(value) => {
                if let Some(value) = value(account) {
                    out.sample(&identity(reading, account), value);
                }
            }
            Samples::Account(write) => write(reading, account, courier_names, out),
            _ => {}
        }
    }

    /// Writes what it says of an app itself.
    pub(super) fn write_app(&self, reading: &AppReading, now: Moment, out: &mut Encoder) {
        match self.samples {
            Samples::AppValue(value) => {
                if let Some(value) = value(reading, now) {
                    out.sample(&[appid(reading)], value);
                }
            }
            Samples::App(write) => write(reading, out),
            _ => {}
        }
    }

    /// Writes what it says of the exporter.
    pub(super) fn write_exporter(&self, collector: &Collector, out: &mut Encoder) {
        if let Samples::Exporter(write) = self.samples {
            write(collector, out);
        }
    }
}

use Kind::{Counter, Gauge, Histogram};

pub(super) const BUILD_INFO: Family = Family {
    name: "wechat_logistics_exporter_build_info",
    help: "1; the exporter's version, revision and compiler.",
    kind: Gauge,
    samples: Samples::Registry,
};
pub(super) const RELOAD_SUCCESSFUL: Family = Family {
    name: "wechat_logistics_exporter_config_last_reload_successful",
    help: "Whether the last attempt to load the configuration succeeded.",
    kind: Gauge,
    samples: Samples::Registry,
};
pub(super) const RELOAD_TIMESTAMP: Family = Family {
    name: "wechat_logistics_exporter_config_last_reload_success_timestamp_seconds",
    help: "When the configuration was last loaded successfully.",
    kind: Gauge,
    samples: Samples::Registry,
};
pub(super) const HTTP_REQUESTS: Family = Family {
    name: "wechat_logistics_exporter_http_requests_total",
    help: "HTTP requests answered.",
    kind: Counter,
    samples: Samples::Registry,
};

/// Every metric but `process_*`, in the order of the page.
pub static ALL: &[Family] = &[
    Family {
        name: "wechat_logistics_account_quota",
        help: "Electronic waybills left: quota_num of getAllAccount, as WeChat last refreshed it. Absent where WeChat sends none. Cached between fetches.",
        kind: Gauge,
        samples: Samples::AccountValue(|account| account.quota_num),
    },
    Family {
        name: "wechat_logistics_account_status_code",
        help: "Binding status: status_code of getAllAccount (0 bound, 1 under review, 2 failed, 3 unbound). Cached between fetches.",
        kind: Gauge,
        samples: Samples::AccountValue(|account| account.status_code.map(float)),
    },
    Family {
        name: "wechat_logistics_account_quota_update_timestamp_seconds",
        help: "When WeChat refreshed the balance: quota_update_time of getAllAccount. Cached between fetches.",
        kind: Gauge,
        samples: Samples::AccountValue(|account| account.quota_update_time.map(float)),
    },
    Family {
        name: "wechat_logistics_account_create_timestamp_seconds",
        help: "When the account was bound: create_time of getAllAccount. Cached between fetches.",
        kind: Gauge,
        samples: Samples::AccountValue(|account| account.create_time.map(float)),
    },
    Family {
        name: "wechat_logistics_account_update_timestamp_seconds",
        help: "When the binding last changed: update_time of getAllAccount. Cached between fetches.",
        kind: Gauge,
        samples: Samples::AccountValue(|account| account.update_time.map(float)),
    },
    Family {
        name: "wechat_logistics_account_info",
        help: "1; the courier's name, its network (franchise sells waybills in advance, direct bills monthly) and the account's alias. Cached between fetches.",
        kind: Gauge,
        samples: Samples::Account(account_info),
    },
    Family {
        name: "wechat_logistics_account_service_info",
        help: "1; a service that the account can order: service_type of getAllAccount. Cached between fetches.",
        kind: Gauge,
        samples: Samples::Account(account_services),
    },
    Family {
        name: "wechat_logistics_app_info",
        help: "1; the Mini Program's configured name.",
        kind: Gauge,
        samples: Samples::App(app_info),
    },
    Family {
        name: "wechat_logistics_up",
        help: "1 when the latest try to fetch succeeded; 0 when it failed, is late for this scrape, or none has succeeded yet.",
        kind: Gauge,
        samples: Samples::AppValue(|reading, _| Some(f64::from(u8::from(reading.up)))),
    },
    Family {
        name: "wechat_logistics_min_interval_seconds",
        help: "The min_interval in force: the account list is fetched no more often than once in this time.",
        kind: Gauge,
        samples: Samples::AppValue(|reading, _| {
            Some(reading.app.config.min_interval.as_secs_f64())
        }),
    },
    Family {
        name: "wechat_logistics_accounts",
        help: "Courier accounts in the snapshot served. Cached between fetches.",
        kind: Gauge,
        samples: Samples::AppValue(|reading, _| {
            let snapshot = reading.snapshot.as_ref()?;
            Some(snapshot.accounts().len() as f64)
        }),
    },
    Family {
        name: "wechat_logistics_accounts_dropped",
        help: "Rows of WeChat's list that are left out of the snapshot served. Cached between fetches.",
        kind: Gauge,
        samples: Samples::App(accounts_dropped),
    },
    Family {
        name: "wechat_logistics_snapshot_timestamp_seconds",
        help: "When the snapshot served was fetched. Scrapes in between are served from it.",
        kind: Gauge,
        samples: Samples::AppValue(|reading, _| {
            let snapshot = reading.snapshot.as_ref()?;
            Some(unix_time(snapshot.fetched()))
        }),
    },
    Family {
        name: "wechat_logistics_fetch_duration_seconds",
        help: "Account-list fetches, token call included.",
        kind: Histogram,
        samples: Samples::App(|reading, out| {
            let metric = reading.app.fetch_duration().metric();
            out.histogram(&[appid(reading)], metric.get_histogram());
        }),
    },
    Family {
        name: "wechat_logistics_scrapes_total",
        help: "How scrapes were served: by their own fetch, by one they joined, by the last snapshot, by nothing.",
        kind: Counter,
        samples: Samples::App(|reading, out| {
            for source in Source::ALL {
                let scrapes = reading.app.counters().scrapes(*source);
                let labels = [appid(reading), ("source", source.as_str())];
                out.sample(&labels, scrapes as f64);
            }
        }),
    },
    Family {
        name: "wechat_logistics_api_requests_total",
        help: "Calls sent to WeChat.",
        kind: Counter,
        samples: Samples::App(api_requests),
    },
    Family {
        name: "wechat_logistics_api_failures_total",
        help: "Calls to WeChat that failed, came too late for a scrape, or could not be made for want of a token.",
        kind: Counter,
        samples: Samples::App(api_failures),
    },
    Family {
        name: "wechat_logistics_api_errcode",
        help: "errcode of the last failed call to WeChat, 0 after a success.",
        kind: Gauge,
        samples: Samples::AppValue(|reading, _| Some(float(reading.app.counters().errcode()))),
    },
    Family {
        name: "wechat_logistics_calls_refused_total",
        help: "Calls to WeChat that the exporter kept back.",
        kind: Counter,
        samples: Samples::App(|reading, out| {
            for cause in Cause::ALL {
                let refused = reading.app.counters().refused(*cause);
                let labels = [appid(reading), ("cause", cause.as_str())];
                out.sample(&labels, refused as f64);
            }
        }),
    },
    Family {
        name: "wechat_logistics_daily_calls_remaining",
        help: "What is left of the exporter's own daily limit of calls; it ends at midnight in China.",
        kind: Gauge,
        samples: Samples::AppValue(|reading, now| {
            let remaining = reading.app.daily_calls_remaining(now)?;
            Some(remaining as f64)
        }),
    },
    Family {
        name: "wechat_logistics_access_token_expiry_timestamp_seconds",
        help: "When the access token in use ends.",
        kind: Gauge,
        samples: Samples::AppValue(|reading, _| reading.app.tokens().expiry().map(unix_time)),
    },
    Family {
        name: "wechat_logistics_api_host_info",
        help: "1; the host of WeChat's that calls go to now.",
        kind: Gauge,
        samples: Samples::App(|reading, out| {
            if reading.app.config.api_urls.len() > 1 {
                let labels = [appid(reading), ("api_host", reading.app.api_host())];
                out.sample(&labels, 1.0);
            }
        }),
    },
    Family {
        name: "wechat_logistics_api_daily_limit",
        help: "WeChat's own daily limit of the API: quota.daily_limit of openapi/quota/get. Asked once an hour at most.",
        kind: Gauge,
        samples: Samples::App(|reading, out| api_quota(reading, |quota| quota.daily_limit, out)),
    },
    Family {
        name: "wechat_logistics_api_daily_used",
        help: "Calls that WeChat counted today: quota.used of openapi/quota/get. Asked once an hour at most.",
        kind: Gauge,
        samples: Samples::App(|reading, out| api_quota(reading, |quota| quota.used, out)),
    },
    Family {
        name: "wechat_logistics_api_daily_remaining",
        help: "Calls that WeChat leaves today: quota.remain of openapi/quota/get. Asked once an hour at most.",
        kind: Gauge,
        samples: Samples::App(|reading, out| api_quota(reading, |quota| quota.remain, out)),
    },
    Family {
        name: "wechat_logistics_exporter_state_write_failures_total",
        help: "Writes to the state directory that failed; limits and snapshots are then in memory only.",
        kind: Counter,
        samples: Samples::Exporter(|collector, out| {
            out.sample(&[], collector.store().write_failures() as f64);
        }),
    },
    Family {
        name: "wechat_logistics_exporter_shared_state_failures_total",
        help: "Exchanges with the Redis server that replicas share which failed; each replica then goes on alone.",
        kind: Counter,
        samples: Samples::Exporter(shared_state_failures),
    },
    BUILD_INFO,
    RELOAD_SUCCESSFUL,
    RELOAD_TIMESTAMP,
    HTTP_REQUESTS,
];

/// The labels that every series of an account has.
fn identity<'a>(reading: &'a AppReading, account: &'a Account) -> [(&'static str, &'a str); 3] {
    [
        appid(reading),
        ("biz_id", &account.biz_id),
        ("delivery_id", &account.delivery_id),
    ]
}

/// The label that every series of an app has.
fn appid(reading: &AppReading) -> (&'static str, &str) {
    ("appid", &reading.app.config.appid)
}

fn account_info(
    reading: &AppReading,
    account: &Account,
    courier_names: &CourierNames,
    out: &mut Encoder,
) {
    let couriers = &reading.app.config.couriers;
    let listed = courier_names.get(&account.delivery_id);
    let name = couriers.name(&account.delivery_id, listed.map(AsRef::as_ref));
    let network = couriers.network(&account.delivery_id, None);
    let [name, alias, wrong, content] = [
        name,
        &account.alias,
        &account.remark_wrong_msg,
        &account.remark_content,
    ]
    .map(on_one_line);
    let [appid, biz_id, delivery_id] = identity(reading, account);
    let mut labels = vec![
        appid,
        biz_id,
        delivery_id,
        ("delivery_name", &name),
        ("network", network.as_str()),
        ("alias", &alias),
    ];
    if reading.app.config.remark_wrong_msg {
        labels.push(("remark_wrong_msg", &wrong));
    }
    if reading.app.config.remark_content {
        labels.push(("remark_content", &content));
    }
    out.sample(&labels, 1.0);
}

fn account_services(reading: &AppReading, account: &Account, _: &CourierNames, out: &mut Encoder) {
    let [appid, biz_id, delivery_id] = identity(reading, account);
    let services = &account.service_types;
    fn name_of<'a>(account: &Account, service: &'a ServiceType) -> Cow<'a, str> {
        on_one_line(courier::service_name(&account.delivery_id, service))
    }
    for (index, service) in services.iter().enumerate() {
        let name = name_of(account, service);
        let is_same = |earlier: &ServiceType| {
            earlier.service_type == service.service_type && name_of(account, earlier) == name
        };
        // WeChat can name a service twice; a series that is there twice breaks the scrape.
        if services[..index].iter().any(is_same) {
            continue;
        }
        let mut number = itoa::Buffer::new();
        let labels = [
            appid,
            biz_id,
            delivery_id,
            ("service_type", number.format(service.service_type)),
            ("service_name", &name),
        ];
        out.sample(&labels, 1.0);
    }
}

fn app_info(reading: &AppReading, out: &mut Encoder) {
    let name = on_one_line(&reading.app.config.name);
    out.sample(&[appid(reading), ("name", &name)], 1.0);
}

fn accounts_dropped(reading: &AppReading, out: &mut Encoder) {
    let Some(snapshot) = &reading.snapshot else {
        return;
    };
    let dropped = snapshot.dropped();
    for (reason, rows) in [
        ("duplicate", dropped.duplicate),
        ("limit", dropped.limit),
        ("invalid", dropped.invalid),
    ] {
        out.sample(&[appid(reading), ("reason", reason)], rows as f64);
    }
}

/// Whether the app's settings bring this call at every fetch: it counts from 0, others from their first count.
fn is_expected(reading: &AppReading, api: Api) -> bool {
    let app = &reading.app;
    api == app.list_endpoint() || app.config.credential.token_api() == Some(api)
}

fn api_requests(reading: &AppReading, out: &mut Encoder) {
    for api in Api::ALL {
        let requests = reading.app.counters().requests(*api);
        if requests > 0 || is_expected(reading, *api) {
            out.sample(&[appid(reading), ("api", api.as_str())], requests as f64);
        }
    }
}

fn api_failures(reading: &AppReading, out: &mut Encoder) {
    for api in Api::ALL {
        let expected = is_expected(reading, *api);
        for reason in Reason::ALL {
            let failures = reading.app.counters().failures(*api, *reason);
            if failures > 0 || expected {
                let (api, reason) = (api.as_str(), reason.as_str());
                let labels = [appid(reading), ("api", api), ("reason", reason)];
                out.sample(&labels, failures as f64);
            }
        }
    }
}

fn api_quota(reading: &AppReading, value: fn(ApiQuota) -> Option<f64>, out: &mut Encoder) {
    if let Some((api, quota)) = reading.app.api_quota()
        && let Some(value) = value(quota)
    {
        out.sample(&[appid(reading), ("api", api.as_str())], value);
    }
}

fn shared_state_failures(collector: &Collector, out: &mut Encoder) {
    if let Some(replicas) = collector.replicas() {
        for reason in replicas::Failure::ALL {
            let failures = replicas.failures(*reason);
            out.sample(&[("reason", reason.as_str())], failures as f64);
        }
    }
}

/// Descriptive text without what some client takes for the end of a line. What identifies a series is never changed.
fn on_one_line(text: &str) -> Cow<'_, str> {
    let breaks_a_line = |character| {
        matches!(
            character,
            '\n'..='\r' | '\u{1c}'..='\u{1f}' | '\u{85}' | '\u{2028}' | '\u{2029}'
        )
    };
    if text.contains(breaks_a_line) {
        Cow::Owned(text.replace(breaks_a_line, " "))
    } else {
        Cow::Borrowed(text)
    }
}

/// Prometheus's samples are floats; the API's integers stay far below where those lose digits.
fn float(value: i64) -> f64 {
    value as f64
}

/// Unit: seconds since 1970, 0 before.
pub(super) fn unix_time(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}
