//! The flags, and what they mean together with the environment and the file: one [`Config`].
//!
//! A flag without a default here has one elsewhere ([`AppConfig::new`]): the file may stand between the two. No flag
//! holds a secret. [`crate::command`] adds to each flag its environment variable.

#![expect(
    clippy::doc_markdown,
    reason = "clap makes --help of these docs, where backticks would be noise"
)]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

use super::app::AppSettings;
use super::units::{appid, count, duration, duration_above_zero, name, telemetry_path};
use super::{
    AppConfig, Config, ConfigError, Credential, ExternalUrl, ListenAddress, SecretSource,
    TokenPointers, file,
};
use crate::proxy;
use crate::wechat::ListLimits;

/// The environment variable that may hold the one app's AppSecret.
const SECRET_VARIABLE: &str = "WECHAT_LOGISTICS_WECHAT_SECRET";

const NO_APP: &str = "no Mini Program is configured; name one with --wechat.appid and --wechat.secret-file, \
    or several with --config.file, as the README shows under quick start, or look around without any: \
    wechat-logistics-exporter demo";

/// All flags but the command's own, as they were typed.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    apps: AppSettings,
    #[command(flatten)]
    wechat: WechatConfig,
    #[command(flatten)]
    list: ListArgs,
    #[command(flatten)]
    scrape: ScrapeConfig,
    /// Directory in which limits and readings survive a restart [default: none]
    #[arg(long = "state.dir", value_name = "DIR", help_heading = "Scrapes")]
    state_dir: Option<PathBuf>,
    #[command(flatten)]
    web: WebConfig,
    /// Requests answered at one time, 503 beyond; 0: no limit [default: 40, or the number of Mini Programs where that is
    /// more]
    #[arg(
        long = "web.max-requests",
        value_name = "REQUESTS",
        help_heading = "HTTP server"
    )]
    max_requests: Option<usize>,
    #[command(flatten)]
    pub(crate) log: LogArgs,
    /// The flags that were set by their environment variables.
    #[arg(skip)]
    pub(crate) from_environment: BTreeSet<String>,
}

/// Where the apps are configured.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Mini Programs")]
struct SourceArgs {
    /// YAML file with the Mini Programs and their credentials; not together with the flags for a single one
    #[arg(long = "config.file", value_name = "FILE")]
    config_file: Option<PathBuf>,
    /// AppID of the one Mini Program
    #[arg(long = "wechat.appid", value_name = "APPID", value_parser = appid)]
    appid: Option<String>,
    /// Name that people know it by [default: the AppID]
    #[arg(long = "wechat.app-name", value_name = "NAME", value_parser = name)]
    name: Option<String>,
    /// File that holds its AppSecret
    #[arg(long = "wechat.secret-file", value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Name of the systemd credential that holds its AppSecret
    #[arg(long = "wechat.secret-credential", value_name = "NAME")]
    secret_credential: Option<String>,
    /// File in which another program keeps its access token fresh, instead of an AppSecret
    #[arg(long = "wechat.token-file", value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// How WeChat is called, for all apps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Calls to WeChat")]
pub struct WechatConfig {
    /// The longest that one call may take
    #[arg(
        id = "wechat.timeout",
        long = "wechat.timeout",
        value_name = "DURATION",
        value_parser = duration_above_zero,
        default_value = "10s"
    )]
    pub timeout: Duration,
    /// Apps that are fetched at one time
    #[arg(
        long = "wechat.max-concurrency",
        value_name = "APPS",
        value_parser = count,
        default_value_t = Self::default().max_concurrency
    )]
    pub max_concurrency: usize,
    // What is taken in of an account list: see `ListArgs`.
    #[arg(skip)]
    pub list_limits: ListLimits,
    // Whether `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` count; not for the simulated API.
    #[arg(skip = true)]
    pub proxy_from_env: bool,
}

impl Default for WechatConfig {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            max_concurrency: 64,
            list_limits: ListLimits::default(),
            proxy_from_env: true,
        }
    }
}

/// [`ListLimits`] as flags.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Calls to WeChat")]
struct ListArgs {
    /// Accounts of one app that are taken in; the rest is counted in accounts_dropped
    #[arg(
        long = "wechat.max-accounts",
        value_name = "ACCOUNTS",
        value_parser = count,
        default_value_t = ListLimits::default().accounts
    )]
    max_accounts: usize,
    /// Longest label value; accounts with a longer biz_id are counted in accounts_dropped, other texts are cut
    #[arg(
        long = "wechat.max-label-length",
        value_name = "BYTES",
        value_parser = count,
        default_value_t = ListLimits::default().label_bytes
    )]
    max_label_length: usize,
}

/// How scrapes are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Scrapes")]
pub struct ScrapeConfig {
    /// The longest that a scrape may take, whatever Prometheus allows
    #[arg(
        id = "scrape.timeout",
        long = "scrape.timeout",
        value_name = "DURATION",
        value_parser = duration_above_zero,
        default_value = "10s"
    )]
    pub timeout: Duration,
    /// Taken off Prometheus's own timeout, so that the answer is there before it gives up
    #[arg(
        long = "scrape.timeout-offset",
        value_name = "DURATION",
        value_parser = duration,
        default_value = "0.5s"
    )]
    pub timeout_offset: Duration,
    /// How old a reading may be and still be served, whatever kept a newer one back; keep it above
    /// --wechat.min-interval
    #[arg(
        long = "scrape.max-stale",
        value_name = "DURATION",
        value_parser = duration_above_zero,
        default_value = "15m"
    )]
    pub max_stale: Duration,
}

impl Default for ScrapeConfig {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            timeout_offset: Duration::from_millis(500),
            max_stale: Duration::from_secs(15 * 60),
        }
    }
}

/// The HTTP server.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "HTTP server")]
pub struct WebConfig {
    /// Address to listen on; may be repeated
    #[arg(
        long = "web.listen-address",
        value_name = "ADDRESS",
        value_delimiter = ',',
        default_values_t = Self::default().listen_addresses
    )]
    pub listen_addresses: Vec<ListenAddress>,
    /// Take the sockets that systemd opened instead
    #[arg(
        long = "web.systemd-socket",
        default_value_t = false,
        hide_default_value = true
    )]
    pub systemd_socket: bool,
    /// Path of the metrics
    #[arg(
        long = "web.telemetry-path",
        value_name = "PATH",
        value_parser = telemetry_path,
        default_value_t = Self::default().telemetry_path
    )]
    pub telemetry_path: String,
    /// URL under which clients reach the exporter where a proxy stands in front; /sd and the links of the status page
    /// lead there [default: the address that the client asked]
    #[arg(long = "web.external-url", value_name = "URL")]
    pub external_url: Option<ExternalUrl>,
    /// Web configuration file (TLS, users, headers), the same as every official exporter's
    #[arg(id = "web.config.file", long = "web.config.file", value_name = "FILE")]
    pub config_file: Option<PathBuf>,
    /// Let POST /-/reload read the configuration again
    #[arg(
        long = "web.enable-lifecycle",
        default_value_t = false,
        hide_default_value = true
    )]
    pub enable_lifecycle: bool,
    // `--web.max-requests`
    #[arg(skip)]
    pub max_requests: MaxRequests,
}

impl Default for WebConfig {
    fn default() -> Self {
        Self {
            listen_addresses: vec![ListenAddress::AnyAddress(10086)],
            systemd_socket: false,
            telemetry_path: "/metrics".to_owned(),
            external_url: None,
            config_file: None,
            enable_lifecycle: false,
            max_requests: MaxRequests::ByApps,
        }
    }
}

/// How many requests are answered at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MaxRequests {
    /// A few, or one for each app where that is more: while WeChat is slow, each app's `/probe` waits.
    #[default]
    ByApps,
    /// So many, whatever the number of apps.
    Fixed(usize),
    /// No limit.
    Unlimited,
}

impl MaxRequests {
    /// As many as official exporters answer by default.
    const FEW: usize = 40;

    /// The number for so many apps; `None`: no limit.
    #[must_use]
    pub fn for_apps(self, apps: usize) -> Option<usize> {
        match self {
            Self::ByApps => Some(apps.max(Self::FEW)),
            Self::Fixed(requests) => Some(requests),
            Self::Unlimited => None,
        }
    }
}

/// How the log is written.
#[derive(Clone, Copy, Debug, clap::Args)]
#[command(next_help_heading = "Log")]
pub(crate) struct LogArgs {
    /// Least level that is logged
    #[arg(long = "log.level", value_name = "LEVEL", default_value = "info")]
    pub(crate) level: LogLevel,
    /// Form of the log lines on standard error
    #[arg(long = "log.format", value_name = "FORMAT", default_value = "logfmt")]
    pub(crate) format: LogFormat,
}

/// The least level that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// The form of the log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// `key=value`, as Prometheus itself logs.
    Logfmt,
    /// One JSON object per line.
    Json,
}

impl Config {
    /// Reads the flags' meaning, the environment (clap has read it already) and the file they name.
    ///
    /// # Errors
    /// The first thing that is wrong, with the flag or the file, line and key.
    pub fn load(args: &Args) -> Result<Self, ConfigError> {
        proxy::check(|name| std::env::var_os(name))
            .map_err(|malformed| ConfigError(malformed.to_string()))?;
        let Some(path) = &args.source.config_file else {
            return Ok(args.config(vec![args.single_app()?]));
        };
        if let Some(flag) = args.single_app_flags().next() {
            return Err(ConfigError(format!(
                "{flag} can't be used together with {} ({}); move the app into the file or leave one of the two out",
                args.named("config.file"),
                path.display()
            )));
        }
        let file = file::load(path, &args.apps)?;
        Ok(Self {
            shared_state: file.shared_state,
            ..args.config(file.apps)
        })
    }

    /// The flags' meaning for apps that are simulated: neither the file nor a credential is looked at.
    #[must_use]
    pub fn for_simulated(args: &Args, mut apps: Vec<AppConfig>) -> Self {
        let flags = AppSettings {
            api_urls: None,
            ..args.apps.clone()
        };
        for app in &mut apps {
            flags.apply(app);
        }
        let mut config = args.config(apps);
        // The simulation listens on loopback, where no proxy can reach it.
        config.wechat.proxy_from_env = false;
        config
    }
}

impl Args {
    /// What a setting goes by: its flag, or the environment variable that it came from.
    fn named(&self, flag: &str) -> String {
        if self.from_environment.contains(flag) {
            crate::command::variable(flag)
        } else {
            format!("--{flag}")
        }
    }

    fn config(&self, apps: Vec<AppConfig>) -> Config {
        let list_limits = ListLimits {
            accounts: self.list.max_accounts,
            label_bytes: self.list.max_label_length,
        };
        let max_requests = match self.max_requests {
            None => MaxRequests::ByApps,
            Some(0) => MaxRequests::Unlimited,
            Some(requests) => MaxRequests::Fixed(requests),
        };
        Config {
            apps,
            scrape: self.scrape,
            wechat: WechatConfig {
                list_limits,
                ..self.wechat
            },
            state_dir: self.state_dir.clone(),
            shared_state: None,
            web: WebConfig {
                max_requests,
                ..self.web.clone()
            },
        }
    }

    /// The flags for a single app that were given, as they go by.
    fn single_app_flags(&self) -> impl Iterator<Item = String> {
        let source = &self.source;
        let flags = [
            ("wechat.appid", source.appid.is_some()),
            ("wechat.app-name", source.name.is_some()),
            ("wechat.secret-file", source.secret_file.is_some()),
            (
                "wechat.secret-credential",
                source.secret_credential.is_some(),
            ),
            ("wechat.token-file", source.token_file.is_some()),
        ];
        flags
            .into_iter()
            .filter(|(_, given)| *given)
            .map(|(flag, _)| self.named(flag))
    }

    /// The flags that say which apps there are and where they are called, which simulated ones go without.
    #[must_use]
    pub fn flags_of_real_apps(&self) -> Vec<String> {
        let mut flags: Vec<String> = self.single_app_flags().collect();
        if self.source.config_file.is_some() {
            flags.push(self.named("config.file"));
        }
        if self.apps.api_urls.is_some() {
            flags.push(self.named("wechat.api-url"));
        }
        flags
    }

    fn single_app(&self) -> Result<AppConfig, ConfigError> {
        let (appid, name, credential) = match (&self.source.appid, self.single_credential()?) {
            (Some(appid), Some((name, credential))) => (appid, name, credential),
            (None, None) => return Err(ConfigError(NO_APP.to_owned())),
            (None, Some((name, _))) => {
                return Err(ConfigError(format!(
                    "{name} is given without an app; add --wechat.appid"
                )));
            }
            (Some(_), None) => {
                return Err(ConfigError(format!(
                    "{} needs a credential; add --wechat.secret-file, --wechat.token-file or the environment variable \
                     {SECRET_VARIABLE}",
                    self.named("wechat.appid")
                )));
            }
        };
        if let Credential::StableToken { secret } = &credential {
            secret
                .read()
                .map_err(|error| ConfigError(format!("{name} can't be used: {error}")))?;
        }
        let mut app = AppConfig::new(appid, credential);
        self.apps.apply(&mut app);
        if let Some(name) = &self.source.name {
            app.name.clone_from(name);
        }
        Ok(app)
    }

    /// The one credential that flags and environment name, with the name it goes by.
    fn single_credential(&self) -> Result<Option<(String, Credential)>, ConfigError> {
        let source = &self.source;
        let stable_token = |secret| Credential::StableToken { secret };
        let mut given = Vec::new();
        if let Some(path) = source.secret_file.clone() {
            let name = self.named("wechat.secret-file");
            given.push((name, stable_token(SecretSource::File(path))));
        }
        if let Some(credential) = source.secret_credential.clone() {
            let name = self.named("wechat.secret-credential");
            given.push((name, stable_token(SecretSource::Credential(credential))));
        }
        if std::env::var_os(SECRET_VARIABLE).is_some_and(|value| !value.is_empty()) {
            let secret = SecretSource::Env(SECRET_VARIABLE.to_owned());
            given.push((SECRET_VARIABLE.to_owned(), stable_token(secret)));
        }
        if let Some(path) = source.token_file.clone() {
            let pointers = TokenPointers::default();
            let name = self.named("wechat.token-file");
            given.push((name, Credential::File { path, pointers }));
        }
        if let [(first, _), (second, _), ..] = given.as_slice() {
            return Err(ConfigError(format!(
                "both {first} and {second} are given; keep one"
            )));
        }
        Ok(given.pop())
    }
}
