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

pub use args::{Args, LogFormat, LogLevel, MaxRequests, ScrapeConfig, WebConfig, WechatConfig};
pub use external_url::ExternalUrl;
pub(crate) use secret::{read_headers_file, read_regular};
pub(crate) use units::{display_duration, go_duration};

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use crate::wechat::courier::{self, Network};
use crate::wechat::{Api, CloudFunction, CredentialKind};
use credential::{HttpForm, RedisForm};
use units::{read_name, read_path, read_redis_url, read_text};

/// Everything the exporter does is decided here.
#[derive(Clone, Debug)]
pub struct Config {
    /// The Mini Programs, at least one, each appid once.
    pub apps: Vec<AppConfig>,
    /// How a scrape is answered.
    pub scrape: ScrapeConfig,
    /// How WeChat is called, for all apps.
    pub wechat: WechatConfig,
    /// Where limits and snapshots survive a restart; `None`: nowhere.
    pub state_dir: Option<PathBuf>,
    /// Where replicas share limits, tokens and snapshots; `None`: each replica is alone.
    pub shared_state: Option<SharedStateConfig>,
    /// The HTTP server.
    pub web: WebConfig,
}

impl Config {
    /// These apps, and all else as it is without a flag.
    #[must_use]
    pub fn new(apps: Vec<AppConfig>) -> Self {
        Self {
            apps,
            scrape: ScrapeConfig::default(),
            wechat: WechatConfig::default(),
            state_dir: None,
            shared_state: None,
            web: WebConfig::default(),
        }
    }
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

/// Where an app's token comes from. Compared to find apps that share a source.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Hash)]
#[serde(
    rename_all = "snake_case",
    deny_unknown_fields,
    expecting = "a mapping"
)]
pub enum Credential {
    /// Minted from `/cgi-bin/stable_token`, shared with every other user of it.
    #[serde(deserialize_with = "credential::read_secret")]
    StableToken {
        /// The AppSecret.
        secret: SecretSource,
    },
    /// Minted from `/cgi-bin/token`, which invalidates everybody else's token.
    #[serde(deserialize_with = "credential::read_secret")]
    Token {
        /// The AppSecret.
        secret: SecretSource,
    },
    /// Read from a file that another program keeps fresh.
    #[serde(deserialize_with = "credential::read_file")]
    File {
        /// The file: the token itself, or JSON.
        path: PathBuf,
        /// Where in a JSON document the token stands.
        pointers: TokenPointers,
    },
    /// Read from a central token server (中控服务器).
    Http(HttpTokenConfig),
    /// The standard output of a command.
    #[serde(deserialize_with = "credential::read_command")]
    Command {
        /// What is run.
        argv: CommandLine,
        /// Where in a JSON document the token stands.
        pointers: TokenPointers,
    },
    /// Read from Redis or Valkey.
    Redis(RedisTokenConfig),
    /// The `cloudbase_access_token` file mounted into a WeChat Cloud Run container.
    Cloudbase {
        /// The file; `/.tencentcloudbase/wx/cloudbase_access_token` by default.
        #[serde(default = "credential::cloudbase_path", deserialize_with = "read_path")]
        path: PathBuf,
    },
    /// No token: Cloud Run's open-interface service adds it.
    None {
        /// `from_appid=` of every call, for shared resources.
        #[serde(default, deserialize_with = "read_text")]
        from_appid: Option<String>,
    },
}

impl Credential {
    /// The call that mints its tokens; `None`: another program does.
    pub(crate) fn token_api(&self) -> Option<Api> {
        match self {
            Self::StableToken { .. } => Some(Api::StableToken),
            Self::Token { .. } => Some(Api::Token),
            _ => None,
        }
    }

    /// The key under `access_token:` that it is configured with.
    #[must_use]
    pub fn kind(&self) -> CredentialKind {
        match self {
            Self::StableToken { .. } => CredentialKind::StableToken,
            Self::Token { .. } => CredentialKind::Token,
            Self::File { .. } => CredentialKind::File,
            Self::Http(_) => CredentialKind::Http,
            Self::Command { .. } => CredentialKind::Command,
            Self::Redis(_) => CredentialKind::Redis,
            Self::Cloudbase { .. } => CredentialKind::Cloudbase,
            Self::None { .. } => CredentialKind::None,
        }
    }
}

/// Where a secret is read, afresh each time it is needed.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Hash)]
pub enum SecretSource {
    /// A file; a trailing newline does not belong to it.
    #[serde(rename = "secret_file", deserialize_with = "read_path")]
    File(PathBuf),
    /// An environment variable's name.
    #[serde(rename = "secret_env")]
    Env(String),
    /// A name under systemd's `$CREDENTIALS_DIRECTORY`.
    #[serde(rename = "secret_credential")]
    Credential(String),
    /// The one that the simulated API of `demo` takes; no secret at all.
    #[serde(skip)]
    Simulated,
}

/// A URL that may hold a password or a key: `Debug` and `Display` show scheme and host alone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SecretUrl(String);

impl SecretUrl {
    /// Takes a URL as the operator wrote it.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// The whole URL, for the one place that connects to it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((scheme, rest)) = self.0.split_once("://") else {
            return f.write_str("[not a URL]");
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        write!(f, "{scheme}://{host}")
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretUrl({self})")
    }
}

/// A program and its arguments, run without a shell. Arguments can hold a password or a key: `Debug` only counts them.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CommandLine {
    program: String,
    arguments: Vec<String>,
}

impl CommandLine {
    /// A program by its name or path, and each of its arguments.
    #[must_use]
    pub fn new(program: impl Into<String>, arguments: impl IntoIterator<Item = String>) -> Self {
        Self {
            program: program.into(),
            arguments: arguments.into_iter().collect(),
        }
    }

    /// The program alone, as sentences name it.
    #[must_use]
    pub fn program(&self) -> &str {
        &self.program
    }

    /// Its arguments, for the one place that runs it.
    #[must_use]
    pub fn expose_arguments(&self) -> &[String] {
        &self.arguments
    }
}

impl fmt::Debug for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (program, arguments) = (&self.program, self.arguments.len());
        write!(f, "CommandLine({program:?} with {arguments} arguments)")
    }
}

/// Where in a JSON document (RFC 6901) a token and its remaining seconds stand; `None`: the usual places are tried.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TokenPointers {
    /// The token. Tried otherwise: `/access_token`, `/accessToken`, `/authorizer_access_token`, `/token`, the same within
    /// `/data`, `/data` if it is a string, and the whole text where it is not JSON.
    pub token: Option<String>,
    /// The seconds left. Tried otherwise: `/expires_in`, `/data/expires_in`, `/time`. None in Redis, where nobody
    /// knows when they were stored.
    pub expires: Option<String>,
}

/// A central token server.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Hash)]
#[serde(from = "HttpForm")]
pub struct HttpTokenConfig {
    /// Where the token is read.
    pub url: SecretUrl,
    /// GET or POST.
    pub method: HttpTokenMethod,
    /// A file of `Name: value` lines, sent as headers.
    pub headers_file: Option<PathBuf>,
    /// Called once after WeChat rejected the token, before it is read again.
    pub refresh_url: Option<SecretUrl>,
    /// Where in the reply the token stands.
    pub pointers: TokenPointers,
}

/// The method that reads a token from a token server.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Hash)]
pub enum HttpTokenMethod {
    /// GET, the default.
    #[default]
    #[serde(rename = "GET")]
    Get,
    /// POST with an empty body.
    #[serde(rename = "POST")]
    Post,
}

/// A token in Redis or Valkey.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Hash)]
#[serde(try_from = "RedisForm")]
pub struct RedisTokenConfig {
    /// `redis://` or `rediss://`.
    pub url: SecretUrl,
    /// A file with the password, where the URL holds none.
    pub password_file: Option<PathBuf>,
    /// The key. `{appid}` in the configuration file is the app's own.
    pub key: String,
    /// The field, where the key is a hash.
    pub field: Option<String>,
    /// The hash field that holds the token's end in epoch milliseconds (WxJava's `expire`).
    pub expire_field: Option<String>,
    /// Where in a JSON value the token stands.
    pub pointers: TokenPointers,
}

/// Replicas that share one budget.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub struct SharedStateConfig {
    /// `redis://` or `rediss://`.
    #[serde(deserialize_with = "read_redis_url")]
    pub redis: SecretUrl,
    /// A file with the password, where the URL holds none.
    #[serde(default, deserialize_with = "credential::read_password_path")]
    pub password_file: Option<PathBuf>,
    /// Begins every key; `wechat_logistics:` by default.
    #[serde(default = "key_prefix", deserialize_with = "read_text")]
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
    #[serde(deserialize_with = "read_name")]
    pub name: String,
    /// How it sells waybills.
    pub network: Network,
}

/// `couriers:` of the configuration file, by `delivery_id`. Stronger than the built-in table and what WeChat lists.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct Couriers(pub(crate) BTreeMap<String, CourierConfig>);

impl Couriers {
    /// A courier's name: the operator's, else the one that `getAllDelivery` gave, else the built-in one, else its id.
    pub(crate) fn name<'a>(&'a self, delivery_id: &'a str, listed: Option<&'a str>) -> &'a str {
        let configured = self.0.get(delivery_id);
        configured
            .map(|courier| courier.name.as_str())
            .or(listed)
            .or_else(|| courier::lookup(delivery_id).map(|courier| courier.name))
            .unwrap_or(delivery_id)
    }

    /// How a courier sells its waybills: as the operator says, else as `getAllDelivery` gave it, else as the built-in
    /// table does.
    pub(crate) fn network(&self, delivery_id: &str, listed: Option<Network>) -> Network {
        let configured = self.0.get(delivery_id).map(|courier| courier.network);
        configured
            .or(listed)
            .or_else(|| courier::lookup(delivery_id).map(|courier| courier.network))
            .unwrap_or(Network::Unknown)
    }
}

/// One address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// `:10086`: every address of the machine, IPv6 and IPv4.
    AnyAddress(u16),
    /// `127.0.0.1:10086`, `[::1]:10086`.
    Socket(SocketAddr),
    /// `localhost:10086`: a name, resolved at start.
    Name(String, u16),
    /// `unix:/run/exporter.sock`.
    Unix(PathBuf),
}

/// Why the settings can't be used: one sentence with the place and the fix, for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);
