//! The flags. Together with the environment and the file, they make up one [`Config`].
//!
//! A flag without a default here has one elsewhere ([`AppConfig::new`]), because the file's `defaults` come between the
//! two. No flag holds a secret. [`crate::command`] adds an environment variable to each flag.

#![expect(
    clippy::doc_markdown,
    reason = "clap makes --help of these docs, where backticks would be noise"
)]

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, RangedU64ValueParser, TypedValueParser};
use tracing::Level;

use super::app::AppSettings;
use super::units::{appid, duration, duration_above_zero, telemetry_path};
use super::{
    AppConfig, Config, ConfigError, Credential, ExternalUrl, ListenAddress, SecretSource, file,
};
use crate::proxy;
use crate::wechat::ListLimits;

/// The environment variable that may hold the AppSecret of a single app.
const SECRET_VARIABLE: &str = "WECHAT_LOGISTICS_WECHAT_SECRET";

const NO_APP: &str = "no Mini Program is configured; name one with --wechat.appid and --wechat.secret-file, \
    or several with --config.file, as the README shows under quick start, or look around without any: \
    wechat-logistics-exporter demo";

/// All flags except the command's own, as they were typed.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    apps: AppSettings,
    #[command(flatten)]
    config: Config,
    #[command(flatten)]
    pub log: LogConfig,
    // If set, these replace the apps that flags and file name.
    #[arg(skip)]
    pub(crate) simulated_apps: Option<Vec<AppConfig>>,
}

/// Where the apps are configured.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Mini Programs")]
struct SourceArgs {
    /// YAML file with the Mini Programs and their credentials; can't be combined with the flags for a single one
    #[arg(long = "config.file", value_name = "FILE")]
    config_file: Option<PathBuf>,
    /// AppID of a single Mini Program
    #[arg(long = "wechat.appid", value_name = "APPID", value_parser = appid)]
    appid: Option<String>,
    /// Display name of the Mini Program [default: the AppID]
    #[arg(long = "wechat.app-name", value_name = "NAME")]
    name: Option<String>,
    /// File with its AppSecret
    #[arg(long = "wechat.secret-file", value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Name of the systemd credential with its AppSecret
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
    /// Maximum duration of one call
    #[arg(
        id = "wechat.timeout",
        long = "wechat.timeout",
        value_name = "DURATION",
        value_parser = duration_above_zero,
        default_value = "10s"
    )]
    pub timeout: Duration,
    /// Maximum number of apps fetched at one time; apps whose tokens other programs keep have as many places of their own
    #[arg(
        long = "wechat.max-concurrency",
        value_name = "APPS",
        value_parser = count(),
        default_value = "64"
    )]
    pub max_concurrency: usize,
    /// Maximum number of accounts per app; further ones are counted in accounts_dropped
    #[arg(
        long = "wechat.max-accounts",
        value_name = "ACCOUNTS",
        value_parser = count(),
        default_value_t = ListLimits::default().accounts
    )]
    pub max_accounts: usize,
    /// Maximum length of a label value; accounts with a longer biz_id are counted in accounts_dropped, other texts are
    /// cut
    #[arg(
        long = "wechat.max-label-length",
        value_name = "BYTES",
        value_parser = count(),
        default_value_t = ListLimits::default().label_bytes
    )]
    pub max_label_length: usize,
    // Whether to honour `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`; false for the simulated API.
    #[arg(skip = true)]
    pub proxy_from_env: bool,
}

impl WechatConfig {
    pub(crate) fn list_limits(&self) -> ListLimits {
        ListLimits {
            accounts: self.max_accounts,
            label_bytes: self.max_label_length,
        }
    }
}

/// Rejects numbers so large that they can only be a typo.
fn count() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=1_000_000_000)
}

/// How scrapes are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Scrapes")]
pub struct ScrapeConfig {
    /// Maximum duration of a scrape, even if Prometheus allows more
    #[arg(
        id = "scrape.timeout",
        long = "scrape.timeout",
        value_name = "DURATION",
        value_parser = duration_above_zero,
        default_value = "10s"
    )]
    pub timeout: Duration,
    /// Offset to subtract from Prometheus's own timeout, so that the answer arrives in time
    #[arg(
        long = "scrape.timeout-offset",
        value_name = "DURATION",
        value_parser = duration,
        default_value = "0.5s"
    )]
    pub timeout_offset: Duration,
    /// Maximum age of a snapshot that is served while there is no newer one; keep it above --wechat.min-interval
    #[arg(
        long = "scrape.max-stale",
        value_name = "DURATION",
        value_parser = duration_above_zero,
        default_value = "15m"
    )]
    pub max_stale: Duration,
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
        default_value = ":10086"
    )]
    pub listen_addresses: Vec<ListenAddress>,
    /// Use the sockets that systemd opened instead
    #[arg(long = "web.systemd-socket")]
    pub systemd_socket: bool,
    /// Path under which the metrics are served
    #[arg(
        long = "web.telemetry-path",
        value_name = "PATH",
        value_parser = telemetry_path,
        default_value = "/metrics"
    )]
    pub telemetry_path: String,
    /// URL under which clients reach the exporter through a reverse proxy; /sd and the links of the status page use it
    /// [default: the address in the client's request]
    #[arg(long = "web.external-url", value_name = "URL")]
    pub external_url: Option<ExternalUrl>,
    /// Web configuration file (TLS, users, headers), the same as every official exporter's
    #[arg(id = "web.config.file", long = "web.config.file", value_name = "FILE")]
    pub config_file: Option<PathBuf>,
    /// Enable reloads of the configuration by POST /-/reload
    #[arg(long = "web.enable-lifecycle")]
    pub enable_lifecycle: bool,
    /// Maximum number of requests answered at one time, others get 503; 0: no limit [default: 40, or the number of Mini
    /// Programs if that is more]
    #[arg(long = "web.max-requests", value_name = "REQUESTS")]
    pub max_requests: Option<usize>,
}

impl WebConfig {
    /// Returns how many requests are answered at one time; `None` means no limit. The default depends on the number of
    /// apps, because each app's `/probe` waits while WeChat is slow.
    pub(crate) fn max_requests(&self, apps: usize) -> Option<usize> {
        /// The default of official exporters.
        const FEW: usize = 40;
        match self.max_requests {
            None => Some(apps.max(FEW)),
            Some(0) => None,
            limit => limit,
        }
    }
}

/// How the log is written.
#[derive(Clone, Copy, Debug, clap::Args)]
#[command(next_help_heading = "Log")]
pub struct LogConfig {
    /// Log only messages of this level or above
    #[arg(
        long = "log.level",
        value_name = "LEVEL",
        default_value = "info",
        value_parser = PossibleValuesParser::new(["error", "warn", "info", "debug", "trace"])
            .try_map(|level| level.parse::<Level>())
    )]
    pub level: Level,
    /// Format of the log on standard error
    #[arg(long = "log.format", value_name = "FORMAT", default_value = "logfmt")]
    pub format: LogFormat,
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
    /// Combines the flags, the environment (which clap has already read) and the file that they name. If the apps are
    /// simulated, neither the file nor a credential is read.
    ///
    /// # Errors
    /// The first mistake, with the flag or the file, line and key.
    pub fn load(args: &Args) -> Result<Self, ConfigError> {
        let mut config = args.config.clone();
        if let Some(apps) = &args.simulated_apps {
            // The simulation listens on loopback, where no proxy can reach it.
            config.wechat.proxy_from_env = false;
            let flags = AppSettings {
                api_urls: None,
                ..args.apps.clone()
            };
            config.apps.clone_from(apps);
            for app in &mut config.apps {
                flags.apply(app);
            }
            return Ok(config);
        }
        proxy::check(|name| std::env::var_os(name))
            .map_err(|malformed| ConfigError(malformed.to_string()))?;
        let source = &args.source;
        let Some(path) = &source.config_file else {
            config.apps.push(source.single_app(&args.apps)?);
            return Ok(config);
        };
        if let Some(flag) = source.single_app_flags().next() {
            return Err(ConfigError(format!(
                "{flag} can't be used together with --config.file ({}); move the app into the file or leave one of \
                 the two out",
                path.display()
            )));
        }
        file::load(path, &args.apps, &mut config)?;
        Ok(config)
    }
}

impl SourceArgs {
    /// Returns the single app that flags and environment name.
    fn single_app(&self, settings: &AppSettings) -> Result<AppConfig, ConfigError> {
        let appid = self.appid.as_ref();
        let appid = appid.ok_or_else(|| ConfigError(NO_APP.to_owned()))?;
        let (name, credential) = match &self.credentials()[..] {
            [] => {
                return Err(ConfigError(format!(
                    "--wechat.appid needs a credential; add --wechat.secret-file, --wechat.token-file or the \
                     environment variable {SECRET_VARIABLE}"
                )));
            }
            [(name, credential)] => (*name, credential.clone()),
            [(first, _), (second, _), ..] => {
                return Err(ConfigError(format!(
                    "both {first} and {second} are given; keep one"
                )));
            }
        };
        credential
            .check()
            .map_err(|error| ConfigError(format!("{name} can't be used: {error}")))?;
        let mut app = AppConfig::new(appid, credential);
        let name = self.name.clone();
        AppSettings {
            name,
            ..settings.clone()
        }
        .apply(&mut app);
        Ok(app)
    }

    /// Returns the flags for a single app that are set.
    fn single_app_flags(&self) -> impl Iterator<Item = &'static str> {
        let appid = self.appid.is_some().then_some("--wechat.appid");
        let name = self.name.is_some().then_some("--wechat.app-name");
        let credentials = self.credentials().into_iter().map(|(flag, _)| flag);
        let flags = credentials.filter(|name| *name != SECRET_VARIABLE);
        appid.into_iter().chain(name).chain(flags)
    }

    /// Returns the credentials that flags and environment name, each with the name of its flag or variable.
    fn credentials(&self) -> Vec<(&'static str, Credential)> {
        let minted = |secret| Credential::StableToken { secret };
        let read = |path| Credential::File {
            path,
            token_pointer: None,
        };
        let variable = std::env::var_os(SECRET_VARIABLE).filter(|value| !value.is_empty());
        let secret_file = self.secret_file.clone().map(SecretSource::File);
        let secret_credential = self.secret_credential.clone().map(SecretSource::Credential);
        let secret_variable = variable.map(|_| SecretSource::Env(SECRET_VARIABLE.to_owned()));
        let credentials = [
            ("--wechat.secret-file", secret_file.map(minted)),
            ("--wechat.secret-credential", secret_credential.map(minted)),
            (SECRET_VARIABLE, secret_variable.map(minted)),
            ("--wechat.token-file", self.token_file.clone().map(read)),
        ];
        let given = credentials.into_iter();
        given
            .filter_map(|(name, credential)| Some((name, credential?)))
            .collect()
    }
}
