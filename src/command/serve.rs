//! Serves until told to stop. SIGHUP and `POST /-/reload` put a changed configuration in force; SIGTERM and SIGINT
//! let what is under way finish, a second one doesn't.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Error;
use crate::collector::Collector;
use crate::config::{Args, Config, ConfigError, SharedStateConfig};
use crate::error::chain;
use crate::exposition::Exposition;
use crate::version;
use crate::web::{Reload, Server, Site};

/// Reads the configuration, at the start and at each reload.
pub(super) type ReadConfig = Box<dyn Fn() -> Result<Config, ConfigError> + Send + Sync>;

/// Serves the configured apps.
///
/// # Errors
/// When it can't start.
pub(super) async fn run(args: Args) -> Result<(), Error> {
    with_config(Box::new(move || Config::load(&args))).await
}

/// Serves what `read` reads.
///
/// # Errors
/// When it can't start.
pub(super) async fn with_config(read: ReadConfig) -> Result<(), Error> {
    // First of all: a signal that comes during the start must not be lost.
    let mut stops = StopSignals::new().map_err(Error::Signals)?;
    let hangup = signal(SignalKind::hangup()).map_err(Error::Signals)?;
    let config = read()?;
    tracing::info!(
        version = version::VERSION,
        revision = version::REVISION,
        rustc = version::RUSTC,
        apps = config.apps.len(),
        "Starting wechat-logistics-exporter"
    );
    warn_of_pitfalls(&config);
    let collector = Arc::new(super::collector(&config)?);
    let exposition = Arc::new(Exposition::new(Arc::clone(&collector)));
    let server = Server::bind(&config.web).await?;
    for address in server.addresses() {
        tracing::info!(%address, tls = server.serves_tls(), "Listening on");
    }

    let reloader = Reloader {
        read: Arc::new(read),
        collector: Arc::clone(&collector),
        exposition: Arc::clone(&exposition),
        shared_state: config.shared_state.clone(),
        turn: Arc::default(),
    };
    let site = Arc::new(Site {
        collector: Arc::clone(&collector),
        exposition,
        reload: Arc::new(reloader.clone()),
        config: config.web.clone(),
    });
    let hangups = tokio::spawn(reload_at_each(hangup, reloader));
    let (stop, stopping) = oneshot::channel::<()>();
    let served = async {
        // An error means that the sender is gone, and so is whoever could have told to stop.
        let stopping = async { drop(stopping.await) };
        server.run(site, stopping).await;
        hangups.abort();
        // A token that was just minted is kept for nobody if the fetch that waits for it dies with the process.
        collector
            .drain(Instant::now() + config.wechat.timeout)
            .await;
    };
    let told_twice = async {
        let signal = stops.next().await;
        tracing::info!(%signal, "Stopping; requests and fetches under way may finish");
        // An error means that the server has ended.
        let _ = stop.send(());
        stops.next().await
    };
    tokio::select! {
        () = served => {
            tracing::info!("Stopped");
            Ok(())
        }
        signal = told_twice => {
            tracing::warn!(%signal, "Stopping at once; requests and fetches under way are aborted");
            Err(Error::Interrupted(signal))
        }
    }
}

/// A signal that tells to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopSignal {
    /// SIGTERM.
    Terminate,
    /// SIGINT.
    Interrupt,
}

impl StopSignal {
    fn kind(self) -> SignalKind {
        match self {
            Self::Terminate => SignalKind::terminate(),
            Self::Interrupt => SignalKind::interrupt(),
        }
    }

    /// The exit code of a process that it ended, as shells have it.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        u8::try_from(self.kind().as_raw_value()).map_or(1, |number| 128 + number)
    }
}

impl fmt::Display for StopSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
        })
    }
}

struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(StopSignal::Terminate.kind())?,
            interrupt: signal(StopSignal::Interrupt.kind())?,
        })
    }

    async fn next(&mut self) -> StopSignal {
        tokio::select! {
            _ = self.terminate.recv() => StopSignal::Terminate,
            _ = self.interrupt.recv() => StopSignal::Interrupt,
        }
    }
}

/// Any number of signals that come during one reload make one more.
async fn reload_at_each(mut hangup: Signal, reloader: Reloader) {
    while hangup.recv().await.is_some() {
        // The reloader logs how it went.
        let _ = reloader.reload().await;
    }
}

/// Settings that are allowed and rarely meant.
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

/// Puts the configuration in force again, one reload at a time.
#[derive(Clone)]
struct Reloader {
    read: Arc<ReadConfig>,
    collector: Arc<Collector>,
    exposition: Arc<Exposition>,
    /// As it was at the start: only a restart changes it.
    shared_state: Option<SharedStateConfig>,
    turn: Arc<Mutex<()>>,
}

impl fmt::Debug for Reloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloader").finish_non_exhaustive()
    }
}

impl Reload for Reloader {
    fn reload(&self) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>> {
        let reloader = self.clone();
        // On a thread of its own: the configuration, secrets, certificates and the state of new apps may lie on slow
        // disks, and a client that leaves must not abort it half way.
        let reload = tokio::task::spawn_blocking(move || reloader.reload_now());
        Box::pin(async {
            reload
                .await
                .unwrap_or_else(|_| Err("the reload was aborted".to_owned()))
        })
    }
}

impl Reloader {
    fn reload_now(&self) -> Result<(), String> {
        let _turn = self.turn.lock();
        let exporter = self.exposition.exporter();
        let result = self.read_and_apply();
        match &result {
            Ok(()) => exporter.reload_succeeded(SystemTime::now()),
            Err(error) => {
                exporter.reload_failed();
                tracing::error!(error, "the configuration can't be used; the old one stays");
            }
        }
        result
    }

    fn read_and_apply(&self) -> Result<(), String> {
        let config = (self.read)().map_err(|error| error.to_string())?;
        self.collector
            .reconfigure(&config)
            .map_err(|error| chain(&error))?;
        if config.shared_state != self.shared_state {
            tracing::warn!("shared_state has changed; restart the exporter to put that in force");
        }
        warn_of_pitfalls(&config);
        tracing::info!(apps = config.apps.len(), "Configuration reloaded");
        Ok(())
    }
}
