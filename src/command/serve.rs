//! Serves until told to stop. SIGHUP and `POST /-/reload` reload the configuration. SIGTERM and SIGINT let requests and
//! fetches in progress finish; a second one aborts them.

use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Error;
use crate::collector::Collector;
use crate::config::{Args, Config, SharedStateConfig};
use crate::error::chain;
use crate::exposition::Exposition;
use crate::version;
use crate::web::{ReloadRequest, Server, Site};

/// Serves the configured apps.
///
/// # Errors
/// Fails if it can't start.
pub(super) async fn run(args: Args) -> Result<(), Error> {
    // Registered first, so that no signal is lost during the start.
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    let hangups = signal(SignalKind::hangup()).map_err(Error::Signals)?;
    let config = Config::load(&args)?;
    tracing::info!(
        version = version::VERSION,
        revision = version::REVISION,
        rustc = version::RUSTC,
        apps = config.apps.len(),
        "Starting wechat-logistics-exporter"
    );
    super::warn_of_pitfalls(&config);
    let collector = Arc::new(super::collector(&config)?);
    let exposition = Arc::new(Exposition::new(Arc::clone(&collector)));
    let server = Server::bind(&config.web, config.apps.len()).await?;
    for address in server.addresses() {
        tracing::info!(%address, tls = server.serves_tls(), "Listening on");
    }

    let reloader = Reloader {
        args,
        collector: Arc::clone(&collector),
        exposition: Arc::clone(&exposition),
        shared_state: config.shared_state.clone(),
    };
    let (reloads, requests) = mpsc::channel(1);
    let reloading = tokio::spawn(reloader.run(hangups, requests));
    let site = Arc::new(Site {
        collector: Arc::clone(&collector),
        exposition,
        reloads,
        config: config.web.clone(),
    });
    let stop = CancellationToken::new();
    let served = async {
        server.run(site, stop.cancelled()).await;
        reloading.abort();
        // A token that was just minted would be lost if the fetch that waits for it died with the process.
        collector
            .drain(Instant::now() + config.wechat.timeout)
            .await;
    };
    let told_twice = async {
        // Each signal comes with the exit code that shells give a process killed by it: 128 plus the signal's number.
        let mut next_signal = async || {
            tokio::select! {
                _ = terminate.recv() => ("SIGTERM", 128 + 15),
                _ = interrupt.recv() => ("SIGINT", 128 + 2),
            }
        };
        let (signal, _) = next_signal().await;
        tracing::info!(
            signal,
            "Stopping; requests and fetches under way may finish"
        );
        stop.cancel();
        next_signal().await
    };
    tokio::select! {
        () = served => {
            tracing::info!("Stopped");
            Ok(())
        }
        (signal, exit_code) = told_twice => {
            tracing::warn!(signal, "Stopping at once; requests and fetches under way are aborted");
            Err(Error::Interrupted { exit_code })
        }
    }
}

/// The task that reloads the configuration.
#[derive(Clone)]
struct Reloader {
    args: Args,
    collector: Arc<Collector>,
    exposition: Arc<Exposition>,
    /// The settings at the start; only a restart changes them.
    shared_state: Option<SharedStateConfig>,
}

impl Reloader {
    /// Runs one reload after another. Any number of signals during a reload cause one more.
    async fn run(self, mut hangups: Signal, mut requests: mpsc::Receiver<ReloadRequest>) {
        loop {
            let request = tokio::select! {
                _ = hangups.recv() => None,
                Some(request) = requests.recv() => Some(request),
            };
            let reloader = self.clone();
            // Reloads on another thread, because the configuration, secrets, certificates and the state of new apps may
            // be on slow disks.
            let reloaded = tokio::task::spawn_blocking(move || reloader.reload()).await;
            if let (Some(request), Ok(reloaded)) = (request, reloaded) {
                // An error means that the client has disconnected.
                let _ = request.send(reloaded);
            }
        }
    }

    fn reload(&self) -> Result<(), String> {
        let result = self.read_and_apply();
        self.exposition.exporter.reloaded(result.is_ok());
        if let Err(error) = &result {
            tracing::error!(error, "the configuration can't be used; the old one stays");
        }
        result
    }

    fn read_and_apply(&self) -> Result<(), String> {
        let config = Config::load(&self.args).map_err(|error| error.to_string())?;
        self.collector
            .reconfigure(&config)
            .map_err(|error| chain(&error))?;
        if config.shared_state != self.shared_state {
            tracing::warn!("shared_state has changed; restart the exporter to put that in force");
        }
        super::warn_of_pitfalls(&config);
        tracing::info!(apps = config.apps.len(), "Configuration reloaded");
        Ok(())
    }
}
