//! The settings: flags, environment and file, combined into one checked value.

mod app;
mod args;
mod credential;
mod external_url;
mod file;
mod listen;
mod secret;
#[cfg(test)]
pub(crate) mod tests;
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

use reqwest::Url;
use serde::Deserialize;

use crate::wechat::courier::{self, Network};
use crate::wechat::{CloudFunction, Delivery};
use units::read_redis_url;

/// All settings of the exporter. Those that only flags can set are parsed straight into this struct.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    // The Mini Programs, at least one, each appid once.
    #[arg(skip)]
    pub apps: Vec<AppConfig>,
    #[command(flatten)]
    pub wechat: WechatConfig,
    #[command(flatten)]
    pub scrape: ScrapeConfig,
    /// Directory that keeps limits and snapshots over a restart [default: none]
    #[arg(long = "state.dir", value_name = "DIR", help_heading = "Scrapes")]
    pub state_dir: Option<PathBuf>,
    // Where replicas share limits and snapshots; `None` if each replica is alone.
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
    /// The name that people know the app by; the appid if none is given.
    pub name: String,
    /// How the app's calls are authorised.
    pub credential: Credential,
    /// Hosts in order of preference. By default WeChat's own and its disaster-recovery hosts; without a token, Cloud
    /// Run's open-interface service.
    pub api_urls: Vec<Url>,
    /// The interval in which the exporter makes at most one account-list call.
    pub min_interval: Duration,
    /// The maximum number of calls per China day; `None` means no limit.
    pub daily_limit: Option<u64>,
    /// The cloud function to read the account list through, instead of the API itself.
    pub cloud_function: Option<CloudFunction>,
    /// Whether `remark_wrong_msg` becomes a label of `account_info`.
    pub remark_wrong_msg: bool,
    /// Whether `remark_content` becomes a label of `account_info`.
    pub remark_content: bool,
    /// The interval in which `quota_get` asks for each account's live balance at most once; `None` means never.
    pub live_quota: Option<Duration>,
    /// Whether to ask for WeChat's own daily quota figures, at most once an hour.
    pub api_quota: bool,
    /// Whether to refresh courier names from `getAllDelivery` once a day.
    pub refresh_couriers: bool,
    /// The operator's settings for couriers, which are the same for all apps.
    pub couriers: Arc<Couriers>,
    /// How long a balance must be observed before the exporter says how long it will last. Not configurable; simulated
    /// apps, whose hours are minutes, have a shorter time.
    pub days_left_after: Duration,
}

/// The server through which replicas share one budget.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub struct SharedStateConfig {
    /// `redis://` or `rediss://`.
    #[serde(deserialize_with = "read_redis_url")]
    pub redis: SecretUrl,
    /// A file with the password, if the URL holds none.
    pub password_file: Option<PathBuf>,
    /// The prefix of every key; `wechat_logistics:` by default.
    #[serde(default = "key_prefix")]
    pub key_prefix: String,
}

fn key_prefix() -> String {
    "wechat_logistics:".to_owned()
}

/// A courier that isn't in the built-in table, or that the operator describes differently.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub struct CourierConfig {
    /// The name that `delivery_name` shows.
    pub name: String,
    /// How it sells waybills.
    pub network: Network,
}

/// `couriers:` of the configuration file, by `delivery_id`. It overrides the built-in table and WeChat's own list.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct Couriers(pub(crate) BTreeMap<String, CourierConfig>);

impl Couriers {
    /// Returns a courier's name: the operator's, else that of `getAllDelivery`, else the built-in one, else the id.
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

    /// Returns how a courier sells its waybills, according to the operator, else to `getAllDelivery`, else to the
    /// built-in table.
    pub(crate) fn network(&self, delivery_id: &str, listed: Option<&Delivery>) -> Network {
        let configured = self.0.get(delivery_id).map(|courier| courier.network);
        let listed = listed.map(Delivery::network);
        configured
            .or(listed.filter(|network| *network != Network::Unknown))
            .or_else(|| courier::lookup(delivery_id).map(|courier| courier.network))
            .unwrap_or(Network::Unknown)
    }
}

/// The reason why the settings can't be used: one sentence for the operator, with the place and the fix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);
