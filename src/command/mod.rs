//! The commands serve, demo, check and collect, and the exit code of each.

mod check;
mod cli;
mod collect;
mod demo;
mod serve;

use std::io;
use std::time::Duration;

pub use cli::{CheckArgs, Cli, Command, command_line};

use crate::collector::{Collector, CollectorError};
use crate::config::{Config, ConfigError};
use crate::error::chain;
use crate::store::{Store, StoreError};
use crate::web::ServerError;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings can't be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// `--state.dir` can't be used at all.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The apps can't be set up.
    #[error(transparent)]
    Collector(#[from] CollectorError),
    /// The server can't start.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The async runtime can't be started.
    #[error("the runtime can't be started")]
    Runtime(#[source] io::Error),
    /// The simulated WeChat can't start.
    #[error("the simulated WeChat API can't start")]
    Simulation(#[source] io::Error),
    /// Signals to stop or to reload can't be received.
    #[error("signals can't be received")]
    Signals(#[source] io::Error),
    /// Standard output can't be written.
    #[error("standard output can't be written")]
    Output(#[source] io::Error),
    /// A second signal stopped the process before everything was finished; the log says so.
    #[error("stopped at once by a second signal")]
    Interrupted { exit_code: u8 },
    /// An app failed; the command has already reported it.
    #[error("an app failed")]
    AppsFailing,
}

impl Error {
    /// Returns the exit code of the process: 2 if the command line, the configuration or the state can't be used, 128
    /// plus the signal's number if a second signal stopped it at once, and otherwise 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_)
            | Self::Store(_)
            | Self::Collector(CollectorError::Store(_))
            | Self::Server(ServerError::WebConfig(_)) => 2,
            Self::Interrupted { exit_code } => *exit_code,
            _ => 1,
        }
    }

    /// Returns the message that is still to be printed for the user, if any.
    pub fn sentence(&self) -> Option<String> {
        match self {
            Self::AppsFailing | Self::Interrupted { .. } => None,
            // `… | head` closes the pipe on purpose.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => None,
            error => Some(chain(error)),
        }
    }
}

/// Runs the command that the command line names.
///
/// # Errors
/// See [`Error`].
pub fn run(cli: Cli) -> Result<(), Error> {
    let Cli { command, args } = cli;
    rustls::crypto::ring::default_provider()
        .install_default()
        .expect("the process has one TLS stack");
    // Like node_exporter's default, a single thread: one core of the host is enough, and a scrape costs less without
    // threads that wake each other. Work that takes long or can hang runs on threads of its own (`blocking`).
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Runtime)?;
    let result = runtime.block_on(async {
        match command {
            None | Some(Command::Serve) => serve::run(args).await,
            Some(Command::Demo(options)) => demo::run(args, &options).await,
            Some(Command::Check(options)) => check::run(&args, &options).await,
            Some(Command::Collect) => collect::run(&args).await,
        }
    });
    // A read or write that hangs on a disk must not keep the process from exiting.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

/// Warns of settings that are allowed but rarely intended.
fn warn_of_pitfalls(config: &Config) {
    for app in &config.apps {
        if app.min_interval >= config.scrape.max_stale {
            tracing::warn!(
                appid = app.appid,
                min_interval = ?app.min_interval,
                max_stale = ?config.scrape.max_stale,
                "readings grow too old to serve before the next one may be fetched; raise --scrape.max-stale"
            );
        }
    }
}

/// Returns a collector that keeps its state where the configuration says.
fn collector(config: &Config) -> Result<Collector, Error> {
    let store = Store::open(config.state_dir.clone(), config.wechat.list_limits())?;
    Ok(Collector::new(config, store)?)
}
