//! The flags, and what they mean together with the environment and the file: one [`Config`].
//!
//! A flag without a default here has one elsewhere ([`AppConfig::new`]): the file may stand between the two. No flag
//! holds a secret. [`crate::command`] adds to each flag its environment variable.

#![expect(
    clippy::doc_markdown,
    reason = "clap makes --help of these docs, where backticks would be noise"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;

use super::app::{AppSettings, check_api_urls};
use super::units::{Appid, Text, at_least_one, duration, duration_above_zero, telemetry_path};
use super::{
    AppConfig, Config, ConfigError, Credential, ExternalUrl, ListenAddress, MaxRequests,
    ScrapeConfig, SecretSource, TokenPointers, WebConfig, WechatConfig, file,
};
use crate::proxy;
use crate::wechat::ListLimits;

/// The environment variable that may hold the one app's AppSecret.
const SECRET_VARIABLE: &str = "WECHAT_LOGISTICS_WECHAT_SECRET";
/// More than a semaphore can count is as good as no limit.
const MAX_CONCURRENCY: usize = 1 << 20;

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
    wechat: WechatArgs,
    #[command(flatten)]
    scrape: ScrapeArgs,
    #[command(flatten)]
    web: WebArgs,
    #[command(flatten)]
    log: LogArgs,
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
    #[arg(long = "wechat.appid", value_name = "APPID")]
    appid: Option<Appid>,
    /// Name that people know it by [default: the AppID]
    #[arg(long = "wechat.app-name", value_name = "NAME")]
    name: Option<Text>,
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
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Calls to WeChat")]
struct WechatArgs {
    /// The longest that one call may take
    #[arg(
        long = "wechat.timeout",
        value_name = "DURATION",
        value_parser = duration_above_zero,
        default_value = "10s"
    )]
    wechat_timeout: Duration,
    /// Apps that are fetched at one time
    #[arg(
        long = "wechat.max-concurrency",
        value_name = "APPS",
        value_parser = at_least_one,
        default_value_t = WechatConfig::default().max_concurrency
    )]
    max_concurrency: usize,
    /// Accounts of one app that are taken in; the rest is counted in accounts_dropped
    #[arg(
        long = "wechat.max-accounts",
        value_name = "ACCOUNTS",
        value_parser = at_least_one,
        default_value_t = ListLimits::default().accounts
    )]
    max_accounts: usize,
    /// Longest label value; accounts with a longer biz_id are counted in accounts_dropped, other texts are cut
    #[arg(
        long = "wechat.max-label-length",
        value_name = "BYTES",
        value_parser = at_least_one,
        default_value_t = ListLimits::default().label_bytes
    )]
    max_label_length: usize,
}

/// How scrapes are answered.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Scrapes")]
struct ScrapeArgs {
    /// The longest that a scrape may take, whatever Prometheus allows
    #[arg(
        long = "scrape.timeout",
        value_name = "DURATION",
        value_parser = duration_above_zero,
        default_value = "10s"
    )]
    scrape_timeout: Duration,
    /// Taken off Prometheus's own timeout, so that the answer is there before it gives up
    #[arg(
        long = "scrape.timeout-offset",
        value_name = "DURATION",
        value_parser = duration,
        default_value = "0.5s"
    )]
    timeout_offset: Duration,
    /// How old a reading may be and still be served, whatever kept a newer one back; keep it above
    /// --wechat.min-interval
    #[arg(
        long = "scrape.max-stale",
        value_name = "DURATION",
        value_parser = duration_above_zero,
        default_value = "15m"
    )]
    max_stale: Duration,
    /// Directory in which limits and readings survive a restart [default: none]
    #[arg(long = "state.dir", value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

/// The HTTP server.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "HTTP server")]
struct WebArgs {
    /// Address to listen on; may be repeated
    #[arg(
        long = "web.listen-address",
        value_name = "ADDRESS",
        value_delimiter = ',',
        default_values_t = WebConfig::default().listen_addresses
    )]
    listen_addresses: Vec<ListenAddress>,
    /// Take the sockets that systemd opened instead
    #[arg(long = "web.systemd-socket")]
    systemd_socket: Option<bool>,
    /// Path of the metrics
    #[arg(
        long = "web.telemetry-path",
        value_name = "PATH",
        value_parser = telemetry_path,
        default_value_t = WebConfig::default().telemetry_path
    )]
    telemetry_path: String,
    /// URL under which clients reach the exporter where a proxy stands in front; /sd and the links of the status page
    /// lead there [default: the address that the client asked]
    #[arg(long = "web.external-url", value_name = "URL")]
    external_url: Option<ExternalUrl>,
    /// Web configuration file (TLS, users, headers), the same as every official exporter's
    #[arg(long = "web.config.file", value_name = "FILE")]
    web_config_file: Option<PathBuf>,
    /// Let POST /-/reload read the configuration again
    #[arg(long = "web.enable-lifecycle")]
    enable_lifecycle: Option<bool>,
    /// Requests answered at one time, 503 beyond; 0: no limit [default: 40, or the number of Mini Programs where that is
    /// more]
    #[arg(long = "web.max-requests", value_name = "REQUESTS")]
    max_requests: Option<usize>,
}

#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Log")]
struct LogArgs {
    /// Least level that is logged
    #[arg(long = "log.level", value_name = "LEVEL", default_value = "info")]
    log_level: LogLevel,
    /// Form of the log lines on standard error
    #[arg(long = "log.format", value_name = "FORMAT", default_value = "logfmt")]
    log_format: LogFormat,
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
        args.check_api_urls()?;
        let mut config = args.config(Vec::new());
        let limits = config.wechat.list_limits;
        match &args.source.config_file {
            Some(path) => {
                args.name_no_app_beside(path)?;
                let file = file::load(path, &args.apps, limits)?;
                config.apps = file.apps;
                config.shared_state = file.shared_state;
            }
            None => config.apps = vec![args.single_app(limits)?],
        }
        Ok(config)
    }

    /// The flags' meaning for apps that are simulated: neither the file nor a credential is looked at.
    #[must_use]
    pub fn for_simulated(args: &Args, mut apps: Vec<AppConfig>) -> Self {
        for app in &mut apps {
            args.apps.adjust(app);
        }
        let mut config = args.config(apps);
        // The simulation listens on loopback, where no proxy can reach it.
        config.wechat.proxy_from_env = false;
        config
    }
}

impl Args {
    /// The least level that is logged.
    #[must_use]
    pub fn log_level(&self) -> LogLevel {
        self.log.log_level
    }

    /// The form of the log lines.
    #[must_use]
    pub fn log_format(&self) -> LogFormat {
        self.log.log_format
    }

    /// What a setting goes by: its flag, or the environment variable that it came from.
    fn named(&self, flag: &str) -> String {
        if self.from_environment.contains(flag) {
            crate::command::variable(flag)
        } else {
            format!("--{flag}")
        }
    }

    fn check_api_urls(&self) -> Result<(), ConfigError> {
        let urls = self.apps.api_urls.as_deref().unwrap_or_default();
        check_api_urls(urls)
            .map_err(|problem| ConfigError(format!("{} {problem}", self.named("wechat.api-url"))))
    }

    fn config(&self, apps: Vec<AppConfig>) -> Config {
        Config {
            scrape: ScrapeConfig {
                timeout: self.scrape.scrape_timeout,
                timeout_offset: self.scrape.timeout_offset,
                max_stale: self.scrape.max_stale,
            },
            wechat: WechatConfig {
                timeout: self.wechat.wechat_timeout,
                max_concurrency: self.wechat.max_concurrency.min(MAX_CONCURRENCY),
                list_limits: ListLimits {
                    accounts: self.wechat.max_accounts,
                    label_bytes: self.wechat.max_label_length,
                },
                proxy_from_env: true,
            },
            state_dir: self.scrape.state_dir.clone(),
            web: WebConfig {
                listen_addresses: self.web.listen_addresses.clone(),
                systemd_socket: self.web.systemd_socket.unwrap_or(false),
                telemetry_path: self.web.telemetry_path.clone(),
                external_url: self.web.external_url.clone(),
                config_file: self.web.web_config_file.clone(),
                enable_lifecycle: self.web.enable_lifecycle.unwrap_or(false),
                max_requests: match self.web.max_requests {
                    None => MaxRequests::ByApps,
                    Some(0) => MaxRequests::Unlimited,
                    Some(requests) => MaxRequests::Fixed(requests),
                },
            },
            ..Config::new(apps)
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

    fn name_no_app_beside(&self, file: &Path) -> Result<(), ConfigError> {
        match self.single_app_flags().next() {
            None => Ok(()),
            Some(flag) => Err(ConfigError(format!(
                "{flag} can't be used together with {} ({}); move the app into the file or leave one of the two out",
                self.named("config.file"),
                file.display()
            ))),
        }
    }

    /// The flags that say which apps there are and where they are called, which simulated ones go without.
    #[must_use]
    pub fn flags_of_real_apps(&self) -> Vec<String> {
        let others = [
            ("config.file", self.source.config_file.is_some()),
            ("wechat.api-url", self.apps.api_urls.is_some()),
        ];
        let others = others.into_iter().filter(|(_, given)| *given);
        others
            .map(|(flag, _)| self.named(flag))
            .chain(self.single_app_flags())
            .collect()
    }

    fn single_app(&self, limits: ListLimits) -> Result<AppConfig, ConfigError> {
        let credential = self.single_credential()?;
        let Some(Appid(appid)) = &self.source.appid else {
            return Err(match credential {
                None => ConfigError(NO_APP.to_owned()),
                Some((name, _)) => ConfigError(format!(
                    "{name} is given without an app; add --wechat.appid"
                )),
            });
        };
        let Some((name, credential)) = credential else {
            return Err(ConfigError(format!(
                "{} needs a credential; add --wechat.secret-file, --wechat.token-file or the environment variable \
                 {SECRET_VARIABLE}",
                self.named("wechat.appid")
            )));
        };
        if let Credential::StableToken { secret } = &credential {
            secret
                .read()
                .map_err(|error| ConfigError(format!("{name} can't be used: {error}")))?;
        }
        let mut app = self.apps.app(appid, credential);
        if let Some(Text(name)) = &self.source.name {
            file::check_name(name, limits).map_err(|problem| {
                ConfigError(format!("{} {problem}", self.named("wechat.app-name")))
            })?;
            app.name.clone_from(name);
        }
        Ok(app)
    }

    /// The one credential that flags and environment name, with the name it goes by.
    fn single_credential(&self) -> Result<Option<(String, Credential)>, ConfigError> {
        let source = &self.source;
        let mut given = Vec::new();
        if let Some(path) = &source.secret_file {
            let secret = SecretSource::File(path.clone());
            given.push((self.named("wechat.secret-file"), stable_token(secret)));
        }
        if let Some(name) = &source.secret_credential {
            let secret = SecretSource::Credential(name.clone());
            given.push((self.named("wechat.secret-credential"), stable_token(secret)));
        }
        if std::env::var_os(SECRET_VARIABLE).is_some_and(|value| !value.is_empty()) {
            let secret = SecretSource::Env(SECRET_VARIABLE.to_owned());
            given.push((SECRET_VARIABLE.to_owned(), stable_token(secret)));
        }
        if let Some(path) = source.token_file.clone() {
            let pointers = TokenPointers::default();
            let credential = Credential::File { path, pointers };
            given.push((self.named("wechat.token-file"), credential));
        }
        match given.as_slice() {
            [(first, _), (second, _), ..] => Err(ConfigError(format!(
                "both {first} and {second} are given; keep one"
            ))),
            _ => Ok(given.pop()),
        }
    }
}

fn stable_token(secret: SecretSource) -> Credential {
    Credential::StableToken { secret }
}
