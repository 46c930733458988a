//! The command line, as it was typed.
//!
//! A setting without a default here has one elsewhere ([`super::load`]): the configuration file may stand between the
//! two. Other defaults are those of the settings ([`super::Config::new`]); durations are written out as people write
//! them, and a test compares the two. Each flag's id is its name, so that the demo's options can't clash with one. No
//! flag holds a secret. An environment variable that is empty counts as not set.

#![expect(
    clippy::doc_markdown,
    reason = "clap makes --help of these docs, where backticks would be noise"
)]

use std::any::TypeId;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::iter;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, CommandFactory, FromArgMatches, Id, Parser, Subcommand, ValueEnum};

use super::{ListenAddress, WebConfig, WechatConfig, duration};
use crate::wechat::ListLimits;
use crate::{demo, version};

/// Prometheus exporter for the electronic-waybill balances (电子面单余额) that WeChat Mini Programs see in 物流助手.
///
/// Serves unless a command says otherwise. Flags may stand before or after the command.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "wechat-logistics-exporter",
    display_name = "wechat-logistics-exporter, version",
    version = version::DETAILED,
    disable_help_subcommand = true,
    after_help = AFTER_HELP,
)]
pub struct Args {
    /// What to do; `None`: serve.
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub(super) source: SourceArgs,
    #[command(flatten)]
    pub(super) wechat: WechatArgs,
    #[command(flatten)]
    pub(super) scrape: ScrapeArgs,
    #[command(flatten)]
    pub(super) web: WebArgs,
    #[command(flatten)]
    log: LogArgs,
    /// The flags that were set by their environment variables.
    #[arg(skip)]
    variables: BTreeSet<String>,
}

const AFTER_HELP: &str = "\
The AppSecret is never a flag: name a file with --wechat.secret-file, a systemd credential with
--wechat.secret-credential, or set the environment variable WECHAT_LOGISTICS_WECHAT_SECRET.
Several Mini Programs, and tokens from other places, need --config.file.";

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Serve the metrics (the default)
    Serve,
    /// Serve against a simulated WeChat: no credentials, no network
    Demo(demo::Options),
    /// Do what one scrape does for every app and say what is wrong and how to mend it
    Check(CheckArgs),
    /// Fetch once and print the metrics, for the textfile collector or cron
    Collect,
}

/// What `check` is to do.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct CheckArgs {
    /// Check the settings, the secrets and the web configuration alone; send nothing
    #[arg(
        id = "config-only",
        long = "config-only",
        env = "WECHAT_LOGISTICS_CONFIG_ONLY",
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_value = "false",
        default_missing_value = "true",
        hide_default_value = true,
        value_name = "BOOL",
        value_parser = BoolishValueParser::new()
    )]
    pub config_only: bool,
    /// Call WeChat for this app alone; may be repeated. All settings and secrets are checked as without it
    #[arg(
        long = "only",
        env = "WECHAT_LOGISTICS_ONLY",
        value_name = "APPID",
        value_delimiter = ','
    )]
    pub only: Vec<String>,
}

/// Where the apps stand.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Mini Programs")]
pub(super) struct SourceArgs {
    /// YAML file with the Mini Programs and their credentials; not together with the flags for a single one
    #[arg(
        id = "config.file",
        long = "config.file",
        env = "WECHAT_LOGISTICS_CONFIG_FILE",
        value_name = "FILE",
        global = true
    )]
    pub(super) config_file: Option<PathBuf>,
    /// AppID of the one Mini Program
    #[arg(
        id = "wechat.appid",
        long = "wechat.appid",
        env = "WECHAT_LOGISTICS_WECHAT_APPID",
        value_name = "APPID",
        global = true
    )]
    pub(super) appid: Option<String>,
    /// Name that people know it by [default: the AppID]
    #[arg(
        id = "wechat.app-name",
        long = "wechat.app-name",
        env = "WECHAT_LOGISTICS_WECHAT_APP_NAME",
        value_name = "NAME",
        global = true
    )]
    pub(super) name: Option<String>,
    /// File that holds its AppSecret
    #[arg(
        id = "wechat.secret-file",
        long = "wechat.secret-file",
        env = "WECHAT_LOGISTICS_WECHAT_SECRET_FILE",
        value_name = "FILE",
        global = true
    )]
    pub(super) secret_file: Option<PathBuf>,
    /// Name of the systemd credential that holds its AppSecret
    #[arg(
        id = "wechat.secret-credential",
        long = "wechat.secret-credential",
        env = "WECHAT_LOGISTICS_WECHAT_SECRET_CREDENTIAL",
        value_name = "NAME",
        global = true
    )]
    pub(super) secret_credential: Option<String>,
    /// File in which another program keeps its access token fresh, instead of an AppSecret
    #[arg(
        id = "wechat.token-file",
        long = "wechat.token-file",
        env = "WECHAT_LOGISTICS_WECHAT_TOKEN_FILE",
        value_name = "FILE",
        global = true
    )]
    pub(super) token_file: Option<PathBuf>,
}

/// How WeChat is called. A key of the app itself in the configuration file is stronger than these flags.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Calls to WeChat")]
pub(super) struct WechatArgs {
    // Not a doc comment, where rustdoc would have the URL in angle brackets and `--help` would show them.
    #[arg(
        help = "Base URL of the API; may be repeated, the first that answers is used [default: \
                https://api.weixin.qq.com and WeChat's other hosts]",
        id = "wechat.api-url",
        long = "wechat.api-url",
        env = "WECHAT_LOGISTICS_WECHAT_API_URL",
        value_name = "URL",
        value_delimiter = ',',
        global = true
    )]
    pub(super) api_urls: Vec<String>,
    /// At most one account-list call per app in this time [default: 60s]
    #[arg(
        id = "wechat.min-interval",
        long = "wechat.min-interval",
        env = "WECHAT_LOGISTICS_WECHAT_MIN_INTERVAL",
        value_name = "DURATION",
        value_parser = duration::parse,
        global = true
    )]
    pub(super) min_interval: Option<Duration>,
    /// Calls per app from midnight to midnight in China; 0: no limit [default: 2000]
    #[arg(
        id = "wechat.daily-limit",
        long = "wechat.daily-limit",
        env = "WECHAT_LOGISTICS_WECHAT_DAILY_LIMIT",
        value_name = "CALLS",
        global = true
    )]
    pub(super) daily_limit: Option<u64>,
    /// The longest that one call may take
    #[arg(
        id = "wechat.timeout",
        long = "wechat.timeout",
        env = "WECHAT_LOGISTICS_WECHAT_TIMEOUT",
        value_name = "DURATION",
        value_parser = duration::parse,
        default_value = "10s",
        global = true
    )]
    pub(super) timeout: Duration,
    /// Apps that are fetched at one time
    #[arg(
        id = "wechat.max-concurrency",
        long = "wechat.max-concurrency",
        env = "WECHAT_LOGISTICS_WECHAT_MAX_CONCURRENCY",
        value_name = "APPS",
        default_value_t = WechatConfig::default().max_concurrency,
        global = true
    )]
    pub(super) max_concurrency: usize,
    /// Accounts of one app that are taken in; the rest is counted in accounts_dropped
    #[arg(
        id = "wechat.max-accounts",
        long = "wechat.max-accounts",
        env = "WECHAT_LOGISTICS_WECHAT_MAX_ACCOUNTS",
        value_name = "ACCOUNTS",
        default_value_t = ListLimits::default().accounts,
        global = true
    )]
    pub(super) max_accounts: usize,
    /// Longest label value; accounts with a longer biz_id are counted in accounts_dropped, other texts are cut
    #[arg(
        id = "wechat.max-label-length",
        long = "wechat.max-label-length",
        env = "WECHAT_LOGISTICS_WECHAT_MAX_LABEL_LENGTH",
        value_name = "BYTES",
        default_value_t = ListLimits::default().label_bytes,
        global = true
    )]
    pub(super) max_label_length: usize,
    /// Make remark_wrong_msg a label of account_info; it can hold personal data
    #[arg(
        id = "wechat.remark-wrong-msg",
        long = "wechat.remark-wrong-msg",
        env = "WECHAT_LOGISTICS_WECHAT_REMARK_WRONG_MSG",
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_name = "BOOL",
        value_parser = BoolishValueParser::new(),
        global = true
    )]
    pub(super) remark_wrong_msg: Option<bool>,
    /// Make remark_content a label of account_info; it can hold personal data
    #[arg(
        id = "wechat.remark-content",
        long = "wechat.remark-content",
        env = "WECHAT_LOGISTICS_WECHAT_REMARK_CONTENT",
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_name = "BOOL",
        value_parser = BoolishValueParser::new(),
        global = true
    )]
    pub(super) remark_content: Option<bool>,
    /// Ask franchise couriers for each account's live balance, once in this time; a call per account
    #[arg(
        id = "wechat.live-quota",
        long = "wechat.live-quota",
        env = "WECHAT_LOGISTICS_WECHAT_LIVE_QUOTA",
        value_name = "DURATION",
        value_parser = duration::parse,
        global = true
    )]
    pub(super) live_quota: Option<Duration>,
    /// Ask WeChat once an hour for its own figures of the daily quota
    #[arg(
        id = "wechat.api-quota",
        long = "wechat.api-quota",
        env = "WECHAT_LOGISTICS_WECHAT_API_QUOTA",
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_name = "BOOL",
        value_parser = BoolishValueParser::new(),
        global = true
    )]
    pub(super) api_quota: Option<bool>,
    /// Ask WeChat once a day for the couriers' names
    #[arg(
        id = "wechat.refresh-couriers",
        long = "wechat.refresh-couriers",
        env = "WECHAT_LOGISTICS_WECHAT_REFRESH_COURIERS",
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_name = "BOOL",
        value_parser = BoolishValueParser::new(),
        global = true
    )]
    pub(super) refresh_couriers: Option<bool>,
}

/// How scrapes are answered.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Scrapes")]
pub(super) struct ScrapeArgs {
    /// The longest that a scrape may take, whatever Prometheus allows
    #[arg(
        id = "scrape.timeout",
        long = "scrape.timeout",
        env = "WECHAT_LOGISTICS_SCRAPE_TIMEOUT",
        value_name = "DURATION",
        value_parser = duration::parse,
        default_value = "10s",
        global = true
    )]
    pub(super) timeout: Duration,
    /// Taken off Prometheus's own timeout, so that the answer is there before it gives up
    #[arg(
        id = "scrape.timeout-offset",
        long = "scrape.timeout-offset",
        env = "WECHAT_LOGISTICS_SCRAPE_TIMEOUT_OFFSET",
        value_name = "DURATION",
        value_parser = duration::parse,
        default_value = "0.5s",
        global = true
    )]
    pub(super) timeout_offset: Duration,
    /// How old a reading may be and still be served, whatever kept a newer one back; keep it above
    /// --wechat.min-interval
    #[arg(
        id = "scrape.max-stale",
        long = "scrape.max-stale",
        env = "WECHAT_LOGISTICS_SCRAPE_MAX_STALE",
        value_name = "DURATION",
        value_parser = duration::parse,
        default_value = "15m",
        global = true
    )]
    pub(super) max_stale: Duration,
    /// Directory in which limits and readings survive a restart [default: none]
    #[arg(
        id = "state.dir",
        long = "state.dir",
        env = "WECHAT_LOGISTICS_STATE_DIR",
        value_name = "DIR",
        global = true
    )]
    pub(super) state_dir: Option<PathBuf>,
}

/// The HTTP server.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "HTTP server")]
pub(super) struct WebArgs {
    /// Address to listen on; may be repeated
    #[arg(
        id = "web.listen-address",
        long = "web.listen-address",
        env = "WECHAT_LOGISTICS_WEB_LISTEN_ADDRESS",
        value_name = "ADDRESS",
        value_delimiter = ',',
        default_values_t = WebConfig::default().listen_addresses,
        global = true
    )]
    pub(super) listen_addresses: Vec<ListenAddress>,
    /// Take the sockets that systemd opened instead
    #[arg(
        id = "web.systemd-socket",
        long = "web.systemd-socket",
        env = "WECHAT_LOGISTICS_WEB_SYSTEMD_SOCKET",
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_value = "false",
        default_missing_value = "true",
        hide_default_value = true,
        value_name = "BOOL",
        value_parser = BoolishValueParser::new(),
        global = true
    )]
    pub(super) systemd_socket: bool,
    /// Path of the metrics
    #[arg(
        id = "web.telemetry-path",
        long = "web.telemetry-path",
        env = "WECHAT_LOGISTICS_WEB_TELEMETRY_PATH",
        value_name = "PATH",
        default_value_t = WebConfig::default().telemetry_path,
        global = true
    )]
    pub(super) telemetry_path: String,
    /// Web configuration file (TLS, users, headers), the same as every official exporter's
    #[arg(
        id = "web.config.file",
        long = "web.config.file",
        env = "WECHAT_LOGISTICS_WEB_CONFIG_FILE",
        value_name = "FILE",
        global = true
    )]
    pub(super) config_file: Option<PathBuf>,
    /// Let POST /-/reload read the configuration again
    #[arg(
        id = "web.enable-lifecycle",
        long = "web.enable-lifecycle",
        env = "WECHAT_LOGISTICS_WEB_ENABLE_LIFECYCLE",
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_value = "false",
        default_missing_value = "true",
        hide_default_value = true,
        value_name = "BOOL",
        value_parser = BoolishValueParser::new(),
        global = true
    )]
    pub(super) enable_lifecycle: bool,
    /// Requests answered at one time, 503 beyond; 0: no limit [default: 40, or the number of Mini Programs where that is
    /// more]
    #[arg(
        id = "web.max-requests",
        long = "web.max-requests",
        env = "WECHAT_LOGISTICS_WEB_MAX_REQUESTS",
        value_name = "REQUESTS",
        global = true
    )]
    pub(super) max_requests: Option<usize>,
}

#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Log")]
struct LogArgs {
    /// Least level that is logged
    #[arg(
        id = "log.level",
        long = "log.level",
        env = "WECHAT_LOGISTICS_LOG_LEVEL",
        value_name = "LEVEL",
        default_value = "info",
        global = true
    )]
    level: LogLevel,
    /// Form of the log lines on standard error
    #[arg(
        id = "log.format",
        long = "log.format",
        env = "WECHAT_LOGISTICS_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "logfmt",
        global = true
    )]
    format: LogFormat,
}

/// The least level that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "levels need no explanation")]
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

impl Args {
    /// Reads the process's own command line and environment. Help, version and usage errors end the process, with 0
    /// or 2.
    #[must_use]
    pub fn from_command_line() -> Self {
        Self::read(std::env::args_os()).unwrap_or_else(|error| error.exit())
    }

    /// Reads a command line, the program's name first, and the process's environment.
    ///
    /// # Errors
    /// What clap has to say: help, version or a usage error.
    pub fn read(
        line: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    ) -> Result<Self, clap::Error> {
        let line: Vec<OsString> = line.into_iter().map(Into::into).collect();
        let mut command = command_line();
        let mut matches = command
            .try_get_matches_from_mut(&line)
            .map_err(|error| name_the_variable(error, &command, &line))?;
        let from_variable =
            |id: &&Id| matches.value_source(id.as_str()) == Some(ValueSource::EnvVariable);
        let variables = matches.ids().filter(from_variable);
        let variables = variables.map(|id| id.as_str().to_owned()).collect();
        Ok(Self {
            variables,
            ..Self::from_arg_matches_mut(&mut matches)?
        })
    }

    /// What a setting goes by: its flag, or the environment variable that it came from.
    pub(super) fn named(&self, flag: &str) -> String {
        if self.variables.contains(flag) {
            let name = flag.replace(['.', '-'], "_").to_uppercase();
            format!("WECHAT_LOGISTICS_{name}")
        } else {
            format!("--{flag}")
        }
    }

    /// The least level that is logged.
    #[must_use]
    pub fn log_level(&self) -> LogLevel {
        self.log.level
    }

    /// The form of the log lines.
    #[must_use]
    pub fn log_format(&self) -> LogFormat {
        self.log.format
    }
}

/// The command line as it is read here and now.
fn command_line() -> clap::Command {
    Args::command()
        .mut_args(read_variable)
        .mut_subcommands(|command| command.mut_args(read_variable))
}

/// The flag, without the value of its variable in help texts, and without its variable where that is empty.
fn read_variable(arg: Arg) -> Arg {
    // A URL in a variable can hold a password, and help texts are pasted into tickets.
    let arg = arg.hide_env_values(true);
    let name = match arg.get_env() {
        Some(name) if std::env::var_os(name).is_some_and(|value| value.is_empty()) => {
            name.to_string_lossy().into_owned()
        }
        _ => return arg,
    };
    // clap takes an empty variable for an empty value; compose files and unit files leave many empty.
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    arg.env(None).help(format!("{help} [env: {name}]"))
}

/// Where a flag's environment variable is at fault, clap blames the flag, which nobody typed.
fn name_the_variable(
    mut error: clap::Error,
    command: &clap::Command,
    line: &[OsString],
) -> clap::Error {
    let commands = iter::once(command).chain(command.get_subcommands());
    let mut from_variables = commands
        .flat_map(clap::Command::get_arguments)
        .filter_map(|arg| {
            let (name, flag) = (arg.get_env()?.to_str()?, arg.get_long()?);
            let value = std::env::var_os(name)?;
            let typed = |word: &OsString| {
                let word = word.to_string_lossy();
                let rest = word
                    .strip_prefix("--")
                    .and_then(|word| word.strip_prefix(flag));
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
            };
            (!line.iter().any(typed)).then_some((arg, name, value))
        });
    if error.kind() == ErrorKind::InvalidUtf8 {
        let any_bytes = |arg: &Arg| arg.get_value_parser().type_id() == TypeId::of::<PathBuf>();
        let at_fault =
            from_variables.find(|(arg, _, value)| value.to_str().is_none() && !any_bytes(arg));
        return match at_fault {
            Some((_, name, _)) => {
                let fault = format!("{name} is not UTF-8 text");
                clap::Error::raw(ErrorKind::InvalidUtf8, fault).with_cmd(command)
            }
            None => error,
        };
    }
    if let Some(ContextValue::String(blamed)) = error.get(ContextKind::InvalidArg)
        && let Some((_, name, _)) = from_variables.find(|(arg, ..)| arg.to_string() == *blamed)
    {
        let name = ContextValue::String(name.to_owned());
        error.insert(ContextKind::InvalidArg, name);
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn help() -> String {
        command_line().render_long_help().to_string()
    }

    fn read(flags: &[&str]) -> Args {
        Args::read([&["wechat-logistics-exporter"], flags].concat()).unwrap()
    }

    #[test]
    fn command_line_is_well_formed() {
        command_line().debug_assert();
    }

    #[test]
    fn every_flag_has_its_variable_and_help_shows_it() {
        let root = command_line();
        let commands = root.get_subcommands().cloned().collect::<Vec<_>>();
        let mut flags = 0;
        for mut command in iter::once(root).chain(commands) {
            let help = command.render_long_help().to_string();
            for flag in command.get_arguments().filter_map(Arg::get_long) {
                if ["help", "version"].contains(&flag) {
                    continue;
                }
                flags += 1;
                let name = flag.replace(['.', '-'], "_").to_uppercase();
                let shown = format!("[env: WECHAT_LOGISTICS_{name}]");
                assert!(help.contains(&shown), "--{flag} without {shown}");
            }
        }
        assert!(flags > 30, "{flags}");
    }

    #[test]
    fn help_names_the_variable_of_the_secret() {
        assert!(help().contains("WECHAT_LOGISTICS_WECHAT_SECRET."));
    }

    #[test]
    fn documented_flags_exist() {
        let flags = [
            "config.file",
            "wechat.appid",
            "wechat.secret-file",
            "wechat.token-file",
            "wechat.api-url",
            "wechat.min-interval",
            "wechat.daily-limit",
            "scrape.timeout",
            "scrape.timeout-offset",
            "scrape.max-stale",
            "state.dir",
            "web.listen-address",
            "web.telemetry-path",
            "web.config.file",
            "web.enable-lifecycle",
            "web.max-requests",
            "web.systemd-socket",
            "log.level",
            "log.format",
        ];
        let command = command_line();
        for flag in flags {
            assert!(
                command
                    .get_arguments()
                    .any(|arg| arg.get_long() == Some(flag)),
                "{flag}"
            );
        }
    }

    #[test]
    fn flags_work_without_a_command_and_on_both_sides_of_one() {
        for line in [
            &["--web.listen-address=:1"][..],
            &["--web.listen-address", ":1"],
            &["serve", "--web.listen-address=:1"],
            &["--web.listen-address=:1", "check"],
            &["collect", "--web.listen-address", ":1"],
            &["demo", "--web.listen-address=:1"],
        ] {
            let args = read(line);
            assert_eq!(
                args.web.listen_addresses,
                [ListenAddress::AnyAddress(1)],
                "{line:?}"
            );
        }
    }

    #[test]
    fn listen_address_may_be_repeated() {
        let args = read(&["--web.listen-address=:1", "--web.listen-address=:2"]);
        assert_eq!(args.web.listen_addresses.len(), 2);
    }

    #[test]
    fn switches_need_no_value_and_take_one() {
        assert!(!read(&[]).web.enable_lifecycle);
        assert!(read(&["--web.enable-lifecycle"]).web.enable_lifecycle);
        assert!(!read(&["--web.enable-lifecycle=false"]).web.enable_lifecycle);
        assert_eq!(read(&[]).wechat.api_quota, None);
        assert_eq!(read(&["--wechat.api-quota"]).wechat.api_quota, Some(true));
        let check = read(&["--web.enable-lifecycle", "check", "--config-only"]);
        assert!(matches!(
            check.command,
            Some(Command::Check(CheckArgs {
                config_only: true,
                ..
            }))
        ));
    }

    #[test]
    fn usage_errors_end_with_2_and_help_with_0() {
        let code = |flags: &[&str]| {
            Args::read([&["wechat-logistics-exporter"], flags].concat())
                .unwrap_err()
                .exit_code()
        };
        assert_eq!(code(&["--no-such-flag"]), 2);
        assert_eq!(code(&["--wechat.min-interval=5x"]), 2);
        assert_eq!(code(&["--web.listen-address=nowhere"]), 2);
        assert_eq!(code(&["frobnicate"]), 2);
        assert_eq!(code(&["--help"]), 0);
        assert_eq!(code(&["--version"]), 0);
    }

    #[test]
    fn secret_typed_as_a_flag_is_not_repeated() {
        for line in [
            &["--wechat.secret=canary"][..],
            &["--wechat.secret", "canary"],
        ] {
            let line = [&["wechat-logistics-exporter"], line].concat();
            let error = Args::read(line).unwrap_err().render().to_string();
            assert!(!error.contains("canary"), "{error}");
            assert!(error.contains("--wechat.secret-file"), "{error}");
        }
    }

    #[test]
    fn version_names_revision_and_compiler() {
        let error = Args::read(["wechat-logistics-exporter", "--version"]).unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("wechat-logistics-exporter, version "),
            "{text}"
        );
        assert!(text.contains("(revision: "), "{text}");
        assert!(text.contains("rustc: "), "{text}");
    }
}
