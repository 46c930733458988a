//! The settings, as what they mean: flags, environment and file have become one checked value.

mod app;
mod args;
mod credential;
mod external_url;
mod file;
mod listen;
mod secret;
#[cfg(test)]
mod tests;
mod units;
pub(crate) mod yaml;

pub use args::{Args, LogConfig, LogFormat, ScrapeConfig, WebConfig, WechatConfig};
pub use credential::{CommandLine, Credential, HttpTokenConfig, RedisTokenConfig, SecretUrl};
pub use external_url::ExternalUrl;
pub use listen::ListenAddress;
pub use secret::SecretSource;
pub(crate) use secret::{read_headers_file, read_regular};
pub(crate) use units::{duration, read_duration};

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use crate::wechat::courier::{self, Network};
use crate::wechat::{CloudFunction, Delivery};
use units::read_redis_url;

/// Everything the exporter does is decided here. What flags alone decide is read from them as it stands.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    // The Mini Programs, at least one, each appid once.
    #[arg(skip)]
    pub apps: Vec<AppConfig>,
    #[command(flatten)]
    pub wechat: WechatConfig,
    #[command(flatten)]
    pub scrape: ScrapeConfig,
    /// Directory in which limits and readings survive a restart [default: none]
    #[arg(long = "state.dir", value_name = "DIR", help_heading = "Scrapes")]
    pub state_dir: Option<PathBuf>,
    // Where replicas share limits and snapshots; `None`: each replica is alone.
    #[arg(skip)]
    pub shared_state: Option<SharedStateConfig>,
    #[command(flatten)]
    pub web: WebConfig,
}

/// One Mini Program with its credentials.
#[derive(Clone, Debug, PartialEq)]
pub struct AppConfig {
    /// 1 to 64 of `A-Z a-z 0-9 _ -` (it names state files).
    pub appid: String,
    /// The name people know it by; the appid where none is given.
    pub name: String,
    /// How its calls are authorised.
    pub credential: Credential,
    /// Hosts in order of preference, without a trailing slash. WeChat's own and its disaster-recovery hosts by
    /// default; one host and no other where the operator named one.
    pub api_urls: Vec<String>,
    /// At most one account-list call per interval.
    pub min_interval: Duration,
    /// Calls per China day; `None`: no limit.
    pub daily_limit: Option<u64>,
    /// Read through this cloud function instead of the API itself.
    pub cloud_function: Option<CloudFunction>,
    /// `remark_wrong_msg` becomes a label of `account_info`.
    pub remark_wrong_msg: bool,
    /// `remark_content` becomes a label of `account_info`.
    pub remark_content: bool,
    /// Balances asked live with `quota_get`, at most once per this interval and account; `None`: never.
    pub live_quota: Option<Duration>,
    /// WeChat's own daily figures are asked for, once an hour at most.
    pub api_quota: bool,
    /// Courier names are refreshed from `getAllDelivery` once a day.
    pub refresh_couriers: bool,
    /// What the operator says of couriers; the same for all apps.
    pub couriers: Arc<Couriers>,
    /// How long a balance is watched fall before it is said how long it lasts. Nobody sets it; simulated apps, whose hours
    /// are minutes, come with less.
    pub days_left_after: Duration,
}

/// Replicas that share one budget.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub struct SharedStateConfig {
    /// `redis://` or `rediss://`.
    #[serde(deserialize_with = "read_redis_url")]
    pub redis: SecretUrl,
    /// A file with the password, where the URL holds none.
    pub password_file: Option<PathBuf>,
    /// Begins every key; `wechat_logistics:` by default.
    #[serde(default = "key_prefix")]
    pub key_prefix: String,
}

fn key_prefix() -> String {
    "wechat_logistics:".to_owned()
}

/// A courier that isn't in the built-in table, or that the table describes otherwise.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub struct CourierConfig {
    /// The name, as `delivery_name` shows it.
    pub name: String,
    /// How it sells waybills.
    pub network: Network,
}

/// `couriers:` of the configuration file, by `delivery_id`. Stronger than the built-in table and what WeChat lists.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct Couriers(pub(crate) BTreeMap<String, CourierConfig>);

impl Couriers {
    /// A courier's name: the operator's, else the one that `getAllDelivery` gave, else the built-in one, else its id.
    pub(crate) fn name<'a>(
        &'a self,
        delivery_id: &'a str,
        listed: Option<&'a Delivery>,
    ) -> &'a str {
        let configured = self.0.get(delivery_id);
        let listed = listed.map(|listed| &*listed.delivery_name);
        configured
            .map(|courier| courier.name.as_str())
            .or(listed.filter(|name| !name.is_empty()))
            .or_else(|| courier::lookup(delivery_id).map(|courier| courier.name))
            .unwrap_or(delivery_id)
    }

    /// How a courier sells its waybills: as the operator says, else as `getAllDelivery` gave it, else as the built-in
    /// table does.
    pub(crate) fn network(&self, delivery_id: &str, listed: Option<&Delivery>) -> Network {
        let configured = self.0.get(delivery_id).map(|courier| courier.network);
        let listed = listed.map(Delivery::network);
        configured
            .or(listed.filter(|network| *network != Network::Unknown))
            .or_else(|| courier::lookup(delivery_id).map(|courier| courier.network))
            .unwrap_or(Network::Unknown)
    }
}

/// Why the settings can't be used: one sentence with the place and the fix, for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);
