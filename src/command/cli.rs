//! The command line as clap reads it.
//!
//! Each flag has an environment variable; an empty one counts as not set. Each switch also takes a value
//! (`--web.enable-lifecycle=false`).

use std::any::TypeId;
use std::env;
use std::ffi::OsString;

use clap::builder::BoolishValueParser;
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config::Args;
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
pub struct Cli {
    /// What to do; `None`: serve.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The settings.
    #[command(flatten)]
    pub args: Args,
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
    /// Do what one scrape does for every app, and report what is wrong and how to fix it
    Check(CheckArgs),
    /// Fetch once and print the metrics, for the textfile collector or cron
    Collect,
}

/// What `check` is to do.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct CheckArgs {
    /// Check only the settings, the secrets and the web configuration, without any call
    #[arg(long = "config-only")]
    pub(super) config_only: bool,
    /// Call WeChat only for this app; may be repeated. The settings and secrets of all apps are checked anyway
    #[arg(long = "only", value_name = "APPID", value_delimiter = ',')]
    pub(super) only: Vec<String>,
}

impl Cli {
    /// Parses a command line, beginning with the program's name, and the environment of the process.
    ///
    /// # Errors
    /// Returns clap's message: help, version or a usage error.
    pub fn read(
        line: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    ) -> Result<Self, clap::Error> {
        let matches = command_line().try_get_matches_from(line);
        Self::from_arg_matches(&matches.map_err(name_the_variable)?)
    }
}

/// Returns the environment variable of a flag: `WECHAT_LOGISTICS_WEB_LISTEN_ADDRESS` for `--web.listen-address`.
fn variable(flag: &str) -> String {
    let name = flag.replace(['.', '-'], "_").to_uppercase();
    format!("WECHAT_LOGISTICS_{name}")
}

/// Returns the definition of the command line for the current environment.
pub fn command_line() -> clap::Command {
    Cli::command()
        .mut_args(|arg| complete(arg).global(true))
        .mut_subcommands(|command| command.mut_args(complete))
}

/// Adds what all flags have in common.
fn complete(arg: Arg) -> Arg {
    let Some(variable) = arg.get_long().map(variable) else {
        return arg;
    };
    let arg = match arg.get_action() {
        ArgAction::SetTrue => arg.default_value("false").hide_default_value(true),
        _ => arg,
    };
    let is_switch = arg.get_value_parser().type_id() == TypeId::of::<bool>();
    let arg = if is_switch {
        arg.action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .value_name("BOOL")
            .value_parser(BoolishValueParser::new())
    } else {
        arg
    };
    if env::var_os(&variable).is_some_and(|value| value.is_empty()) {
        // clap takes an empty variable for an empty value, but compose files and unit files leave many empty.
        return arg;
    }
    // A URL in a variable can contain a password, and help texts are pasted into tickets.
    arg.env(variable).hide_env_values(true)
}

/// Adds the environment variable to an error about a flag's value, because the value may come from there.
fn name_the_variable(mut error: clap::Error) -> clap::Error {
    let blamed = error.get(ContextKind::InvalidArg);
    let value = error.get(ContextKind::InvalidValue);
    let (Some(ContextValue::String(blamed)), Some(_)) = (blamed, value) else {
        return error;
    };
    // `--log.level <LEVEL>`, `--web.enable-lifecycle[=<BOOL>]`
    let flag = blamed.split([' ', '[']).next().unwrap_or_default();
    let Some(name) = flag.strip_prefix("--") else {
        return error;
    };
    let is_secret = matches!(name, "wechat.api-url" | "web.external-url");
    let both = format!("{blamed} [env: {}]", variable(name));
    error.insert(ContextKind::InvalidArg, ContextValue::String(both));
    if is_secret {
        // The URL can contain a password.
        let hidden = ContextValue::String("[hidden]".to_owned());
        error.insert(ContextKind::InvalidValue, hidden);
    }
    error
}

#[cfg(test)]
mod tests {
    use std::iter;

    use super::*;

    fn read(flags: &[&str]) -> Cli {
        Cli::read([&["wechat-logistics-exporter"], flags].concat()).unwrap()
    }

    #[test]
    fn every_flag_has_its_variable_and_help_shows_it() {
        let root = command_line();
        root.clone().debug_assert();
        let commands: Vec<_> = root.get_subcommands().cloned().collect();
        let mut flags = 0;
        for mut command in iter::once(root).chain(commands) {
            let help = command.render_long_help().to_string();
            for flag in command.get_arguments().filter_map(Arg::get_long) {
                if ["help", "version"].contains(&flag) {
                    continue;
                }
                flags += 1;
                let shown = format!("[env: {}]", variable(flag));
                assert!(help.contains(&shown), "--{flag} without {shown}");
            }
        }
        assert!(flags > 30, "{flags}");
    }

    #[test]
    fn flags_stand_on_both_sides_of_a_command_and_switches_take_a_value() {
        for line in [
            &["check", "--config-only", "--log.level=warn"][..],
            &["--log.level=warn", "check", "--config-only=true"],
        ] {
            let cli = read(line);
            assert_eq!(cli.args.log.level, tracing::Level::WARN);
            let Some(Command::Check(check)) = cli.command else {
                panic!("{line:?}");
            };
            assert!(check.config_only);
        }
        let Some(Command::Check(check)) = read(&["check", "--config-only=no"]).command else {
            panic!("not the command check");
        };
        assert!(!check.config_only);
    }

    #[test]
    fn secret_typed_as_a_flag_is_not_repeated() {
        for line in [
            &["--wechat.secret=canary"][..],
            &["--wechat.secret", "canary"],
        ] {
            let line = [&["wechat-logistics-exporter"], line].concat();
            let error = Cli::read(line).unwrap_err().render().to_string();
            assert!(!error.contains("canary"), "{error}");
            assert!(error.contains("--wechat.secret-file"), "{error}");
        }
    }
}
