//! Every metric: its name, help and type, and how its samples are obtained. Each name is in the code only here.

use std::borrow::Cow;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use super::encoder::Encoder;
use super::page::Exposition;
use crate::app::{Deliveries, Source};
use crate::collector::AppReading;
use crate::limiter::Cause;
use crate::replicas;
use crate::version;
use crate::wechat::courier;
use crate::wechat::{Account, Api, ApiQuota, Reason};

/// A metric.
pub struct Family {
    /// The full name. A counter's name ends in `_total`, and no other name does.
    pub name: &'static str,
    /// The help text, with the API's field if the value comes from one.
    pub help: &'static str,
    pub(super) samples: Samples,
}

/// How the samples of a family are obtained.
pub(super) enum Samples {
    /// One sample for each account that has a value.
    AccountValue(fn(&Account) -> Option<f64>),
    /// Any number of samples for each account.
    Account(fn(&AppReading, &Account, &Deliveries, &mut Encoder)),
    /// One sample for each app that has a value.
    AppValue(fn(&AppReading) -> Option<f64>),
    /// Any number of samples for each app.
    App(fn(&AppReading, &mut Encoder)),
    /// The durations of each app's fetches.
    Histogram(fn(&AppReading) -> &prometheus::Histogram),
    /// Samples of the exporter itself.
    Own(fn(&Exposition, &mut Encoder)),
}

/// Every metric except `process_*`, in the order of the page.
pub static ALL: &[Family] = &[
    Family {
        name: "wechat_logistics_account_quota",
        help: "Electronic waybills left: quota_num of getAllAccount, as WeChat last refreshed it. Absent where WeChat sends none. Cached between fetches.",
        samples: Samples::AccountValue(|account| account.quota_num),
    },
    Family {
        name: "wechat_logistics_account_status_code",
        help: "Binding status: status_code of getAllAccount (0 bound, 1 under review, 2 failed, 3 unbound). Cached between fetches.",
        samples: Samples::AccountValue(|account| account.status_code.map(float)),
    },
    Family {
        name: "wechat_logistics_account_quota_update_timestamp_seconds",
        help: "When WeChat refreshed the balance: quota_update_time of getAllAccount. Cached between fetches.",
        samples: Samples::AccountValue(|account| account.quota_update_time.map(float)),
    },
    Family {
        name: "wechat_logistics_account_create_timestamp_seconds",
        help: "When the account was bound: create_time of getAllAccount. Cached between fetches.",
        samples: Samples::AccountValue(|account| account.create_time.map(float)),
    },
    Family {
        name: "wechat_logistics_account_update_timestamp_seconds",
        help: "When the binding last changed: update_time of getAllAccount. Cached between fetches.",
        samples: Samples::AccountValue(|account| account.update_time.map(float)),
    },
    Family {
        name: "wechat_logistics_account_info",
        help: "1; the courier's name, its network (franchise sells waybills in advance, direct bills monthly) and the account's alias. Cached between fetches.",
        samples: Samples::Account(account_info),
    },
    Family {
        name: "wechat_logistics_account_service_info",
        help: "1; a service that the account can order: service_type of getAllAccount. Cached between fetches.",
        samples: Samples::Account(account_services),
    },
    Family {
        name: "wechat_logistics_app_info",
        help: "1; the Mini Program's configured name.",
        samples: Samples::App(app_info),
    },
    Family {
        name: "wechat_logistics_up",
        help: "1 when the latest try to fetch succeeded; 0 when it failed, is late for this scrape, or none has succeeded yet.",
        samples: Samples::AppValue(|reading| Some(f64::from(reading.up))),
    },
    Family {
        name: "wechat_logistics_min_interval_seconds",
        help: "The min_interval in force: the account list is fetched no more often than once in this time.",
        samples: Samples::AppValue(|reading| Some(reading.app.config.min_interval.as_secs_f64())),
    },
    Family {
        name: "wechat_logistics_accounts",
        help: "Courier accounts in the snapshot served. Cached between fetches.",
        samples: Samples::AppValue(|reading| {
            let snapshot = reading.snapshot.as_ref()?;
            Some(snapshot.accounts.len() as f64)
        }),
    },
    Family {
        name: "wechat_logistics_accounts_dropped",
        help: "Rows of WeChat's list that are left out of the snapshot served. Cached between fetches.",
        samples: Samples::App(accounts_dropped),
    },
    Family {
        name: "wechat_logistics_snapshot_timestamp_seconds",
        help: "When the snapshot served was fetched. Scrapes in between are served from it.",
        samples: Samples::AppValue(|reading| {
            let snapshot = reading.snapshot.as_ref()?;
            Some(unix_time(snapshot.fetched))
        }),
    },
    Family {
        name: "wechat_logistics_fetch_duration_seconds",
        help: "Account-list fetches, token call included.",
        samples: Samples::Histogram(|reading| &reading.app.state.fetch_duration),
    },
    Family {
        name: "wechat_logistics_scrapes_total",
        help: "How scrapes were served: by their own fetch, by one they joined, by the last snapshot, by nothing.",
        samples: Samples::App(|reading, out| {
            for source in Source::ALL {
                let scrapes = reading.app.state.counters.scrapes(*source);
                let labels = [appid(reading), ("source", source.as_str())];
                out.sample(&labels, scrapes as f64);
            }
        }),
    },
    Family {
        name: "wechat_logistics_api_requests_total",
        help: "Calls sent to WeChat.",
        samples: Samples::App(api_requests),
    },
    Family {
        name: "wechat_logistics_api_failures_total",
        help: "Calls to WeChat that failed, came too late for a scrape, or could not be made for want of a token.",
        samples: Samples::App(api_failures),
    },
    Family {
        name: "wechat_logistics_api_errcode",
        help: "errcode of the last failed call to WeChat, 0 after a success.",
        samples: Samples::AppValue(|reading| Some(float(reading.app.state.counters.errcode()))),
    },
    Family {
        name: "wechat_logistics_calls_refused_total",
        help: "Calls to WeChat that the exporter kept back.",
        samples: Samples::App(|reading, out| {
            for cause in Cause::ALL {
                let refused = reading.app.state.counters.refused(*cause);
                let labels = [appid(reading), ("cause", cause.as_str())];
                out.sample(&labels, refused as f64);
            }
        }),
    },
    Family {
        name: "wechat_logistics_daily_calls_remaining",
        help: "What is left of the exporter's own daily limit of calls; it ends at midnight in China.",
        samples: Samples::AppValue(|reading| {
            let remaining = reading.app.daily_calls_remaining()?;
            Some(remaining as f64)
        }),
    },
    Family {
        name: "wechat_logistics_access_token_expiry_timestamp_seconds",
        help: "When the access token in use ends.",
        samples: Samples::AppValue(|reading| reading.app.tokens.expiry().map(unix_time)),
    },
    Family {
        name: "wechat_logistics_api_host_info",
        help: "1; the host of WeChat's that calls go to now.",
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
        samples: Samples::App(|reading, out| api_quota(reading, |quota| quota.daily_limit, out)),
    },
    Family {
        name: "wechat_logistics_api_daily_used",
        help: "Calls that WeChat counted today: quota.used of openapi/quota/get. Asked once an hour at most.",
        samples: Samples::App(|reading, out| api_quota(reading, |quota| quota.used, out)),
    },
    Family {
        name: "wechat_logistics_api_daily_remaining",
        help: "Calls that WeChat leaves today: quota.remain of openapi/quota/get. Asked once an hour at most.",
        samples: Samples::App(|reading, out| api_quota(reading, |quota| quota.remain, out)),
    },
    Family {
        name: "wechat_logistics_exporter_state_write_failures_total",
        help: "Writes to the state directory that failed; limits and snapshots are then in memory only.",
        samples: Samples::Own(|exposition, out| {
            out.sample(
                &[],
                exposition.collector.shared.store.write_failures() as f64,
            );
        }),
    },
    Family {
        name: "wechat_logistics_exporter_shared_state_failures_total",
        help: "Exchanges with the Redis server that replicas share which failed; each replica then goes on alone.",
        samples: Samples::Own(shared_state_failures),
    },
    Family {
        name: "wechat_logistics_exporter_build_info",
        help: "1; the exporter's version, revision and compiler.",
        samples: Samples::Own(|_, out| {
            let labels = [
                ("revision", version::REVISION),
                ("rustversion", version::RUSTC),
                ("version", version::VERSION),
            ];
            out.sample(&labels, 1.0);
        }),
    },
    Family {
        name: "wechat_logistics_exporter_config_last_reload_success_timestamp_seconds",
        help: "When the configuration was last loaded successfully.",
        samples: Samples::Own(|exposition, out| {
            out.sample(&[], unix_time(*exposition.exporter.last_reload.lock()));
        }),
    },
    Family {
        name: "wechat_logistics_exporter_config_last_reload_successful",
        help: "Whether the last attempt to load the configuration succeeded.",
        samples: Samples::Own(|exposition, out| {
            let is_successful = exposition
                .exporter
                .reload_successful
                .load(Ordering::Relaxed);
            out.sample(&[], f64::from(is_successful));
        }),
    },
    Family {
        name: "wechat_logistics_exporter_http_requests_total",
        help: "HTTP requests answered.",
        samples: Samples::Own(|exposition, out| {
            for ((code, handler), requests) in &*exposition.exporter.http_requests.lock() {
                let labels = [("code", &*code.to_string()), ("handler", handler)];
                out.sample(&labels, *requests as f64);
            }
        }),
    },
];

impl Family {
    /// Returns the type for `# TYPE`.
    pub(super) fn kind(&self) -> &'static str {
        match self.samples {
            Samples::Histogram(_) => "histogram",
            _ if self.name.ends_with("_total") => "counter",
            _ => "gauge",
        }
    }

    /// Writes the samples of an app itself.
    pub(super) fn write_app(&self, reading: &AppReading, out: &mut Encoder) {
        match self.samples {
            Samples::AppValue(value) => out.sample(&[appid(reading)], value(reading)),
            Samples::App(write) => write(reading, out),
            Samples::Histogram(durations) => out.histogram(&[appid(reading)], durations(reading)),
            _ => {}
        }
    }

    /// Writes the samples of an account.
    pub(super) fn write_account(
        &self,
        reading: &AppReading,
        account: &Account,
        deliveries: &Deliveries,
        out: &mut Encoder,
    ) {
        match self.samples {
            Samples::AccountValue(value) => out.sample(&ids(reading, account), value(account)),
            Samples::Account(write) => write(reading, account, deliveries, out),
            _ => {}
        }
    }
}

/// Returns the label that every series of an app has.
fn appid(reading: &AppReading) -> (&'static str, &str) {
    ("appid", &reading.app.config.appid)
}

/// Returns the labels that every series of an account has.
fn ids<'a>(reading: &'a AppReading, account: &'a Account) -> [(&'static str, &'a str); 3] {
    [
        appid(reading),
        ("biz_id", &account.biz_id),
        ("delivery_id", &account.delivery_id),
    ]
}

fn account_info(
    reading: &AppReading,
    account: &Account,
    deliveries: &Deliveries,
    out: &mut Encoder,
) {
    let config = &reading.app.config;
    let couriers = &config.couriers;
    let listed = deliveries.get(&account.delivery_id);
    let name = on_one_line(couriers.name(&account.delivery_id, listed));
    let network = couriers.network(&account.delivery_id, None);
    let alias = on_one_line(&account.alias);
    let wrong = on_one_line(&account.remark_wrong_msg);
    let content = on_one_line(&account.remark_content);
    let [appid, biz_id, delivery_id] = ids(reading, account);
    let mut labels = vec![
        appid,
        biz_id,
        delivery_id,
        ("delivery_name", &name),
        ("network", network.as_str()),
        ("alias", &alias),
    ];
    if config.remark_wrong_msg {
        labels.push(("remark_wrong_msg", &wrong));
    }
    if config.remark_content {
        labels.push(("remark_content", &content));
    }
    out.sample(&labels, 1.0);
}

fn account_services(reading: &AppReading, account: &Account, _: &Deliveries, out: &mut Encoder) {
    let mut written = Vec::new();
    for service in &account.service_types {
        let name = on_one_line(courier::service_name(&account.delivery_id, service));
        let service = (service.service_type, name);
        // WeChat can list a service twice, and a duplicate series breaks the scrape.
        if written.contains(&service) {
            continue;
        }
        let mut number = itoa::Buffer::new();
        let [appid, biz_id, delivery_id] = ids(reading, account);
        let labels = [
            appid,
            biz_id,
            delivery_id,
            ("service_type", number.format(service.0)),
            ("service_name", &service.1),
        ];
        out.sample(&labels, 1.0);
        written.push(service);
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
    let dropped = snapshot.dropped;
    for (reason, rows) in [
        ("duplicate", dropped.duplicate),
        ("limit", dropped.limit),
        ("invalid", dropped.invalid),
    ] {
        out.sample(&[appid(reading), ("reason", reason)], rows as f64);
    }
}

/// Reports whether the app's settings cause this call in every fetch: it counts from 0, others from their first count.
fn is_expected(reading: &AppReading, api: Api) -> bool {
    let app = &reading.app;
    api == app.list_api() || app.config.credential.token_api() == Some(api)
}

fn api_requests(reading: &AppReading, out: &mut Encoder) {
    for api in Api::ALL {
        let requests = reading.app.state.counters.requests(*api);
        if requests > 0 || is_expected(reading, *api) {
            out.sample(&[appid(reading), ("api", api.as_str())], requests as f64);
        }
    }
}

fn api_failures(reading: &AppReading, out: &mut Encoder) {
    for api in Api::ALL {
        let expected = is_expected(reading, *api);
        for reason in Reason::ALL {
            let failures = reading.app.state.counters.failures(*api, *reason);
            if failures > 0 || expected {
                let (api, reason) = (api.as_str(), reason.as_str());
                let labels = [appid(reading), ("api", api), ("reason", reason)];
                out.sample(&labels, failures as f64);
            }
        }
    }
}

fn api_quota(reading: &AppReading, value: fn(ApiQuota) -> Option<f64>, out: &mut Encoder) {
    if let Some((api, quota)) = reading.app.api_quota() {
        out.sample(&[appid(reading), ("api", api.as_str())], value(quota));
    }
}

fn shared_state_failures(exposition: &Exposition, out: &mut Encoder) {
    if let Some(replicas) = &exposition.collector.shared.replicas {
        for reason in replicas::Failure::ALL {
            let failures = replicas.failures(*reason);
            out.sample(&[("reason", reason.as_str())], failures as f64);
        }
    }
}

/// Replaces what some client takes for the end of a line. For descriptive text only: what identifies a series never
/// changes.
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

/// Converts an integer to a sample's float. The API's integers stay far below where floats lose digits.
fn float(value: i64) -> f64 {
    value as f64
}

/// Returns the seconds since 1970, 0 before.
pub(super) fn unix_time(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}
