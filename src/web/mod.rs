//! The HTTP server.
//!
//! | path | method | answer |
//! |---|---|---|
//! | `--web.telemetry-path` (`/metrics`) | `GET`, `HEAD` | all apps and the exporter itself; `?appid=` (repeatable) and `?name[]=` select from them, and selecting only the exporter's own metrics fetches nothing; 400 for an unknown appid |
//! | `/probe?target=APPID` | `GET`, `HEAD` | that app alone; 400 for a target that is missing, unknown or repeated |
//! | `/sd` | `GET`, `HEAD` | Prometheus HTTP service discovery, one target per app |
//! | `/` | `GET`, `HEAD` | the status page, in the language of `Accept-Language`; `?appid=` narrows it to one app |
//! | `/-/healthy`, `/-/ready` | `GET`, `HEAD` | 200; neither calls WeChat |
//! | `/-/reload` | `POST`, `PUT` | reloads the configuration; 500 and the reason if it is bad; 403 without `--web.enable-lifecycle` |
//! | any path | `OPTIONS` | 204 with `Allow` |
//! | anything else | | 404 |
//!
//! Other methods get 405 with `Allow`. If `--web.external-url` has a path, each route is also served under it, unless
//! that is a route itself. The web configuration (`--web.config.file`) applies before every route: 500 while that file
//! is bad, 429 beyond its `rate_limit`, 401 without a user's password, 503 while too many passwords wait to be checked.
//! Requests beyond `--web.max-requests` get 503, except for `/-/` paths. A panic in a handler closes its connection.

mod access;
mod connections;
mod deadline;
mod listen;
mod passwords;
mod query;
mod replies;
mod routes;
mod sd;

use std::fmt;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use access::Access;
use connections::{Connections, Limits};
use listen::Listener;
use routes::Routes;

use crate::collector::Collector;
use crate::config::{ConfigError, WebConfig};
use crate::exposition::Exposition;

/// The time that requests in progress get at shutdown, beyond the longest scrape, before they are cut off.
const GRACE: Duration = Duration::from_secs(1);

/// The pause after a connection could not be accepted.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// The parts of the exporter that the routes use.
pub(crate) struct Site {
    pub(crate) collector: Arc<Collector>,
    pub(crate) exposition: Arc<Exposition>,
    pub(crate) reloads: mpsc::Sender<ReloadRequest>,
    pub(crate) config: WebConfig,
}

/// A request to reload the configuration. On failure the old one stays in force, and the text says why.
pub(crate) type ReloadRequest = oneshot::Sender<Result<(), String>>;

/// A server whose sockets are open but not yet served.
pub(crate) struct Server {
    listeners: Vec<Listener>,
    access: Access,
    limits: Limits,
}

/// The reason why the server can't start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The server can't listen on an address.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address as configured.
        address: String,
        source: io::Error,
    },
    /// `--web.config.file` is invalid.
    #[error(transparent)]
    WebConfig(#[from] ConfigError),
}

impl Server {
    /// Opens the sockets and reads the web configuration. `apps`: their number, which fixes the limit of connections.
    pub(crate) async fn bind(config: &WebConfig, apps: usize) -> Result<Self, ServerError> {
        let access = Access::open(config.config_file.as_deref())?;
        Ok(Self {
            listeners: listen::open(config).await?,
            access,
            limits: Limits::of(config.max_requests(apps)),
        })
    }

    /// Returns the addresses that it listens on, with the actual port in place of 0, and `unix:` before a path.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = impl fmt::Display> {
        self.listeners.iter()
    }

    /// Reports whether connections speak TLS, as the web configuration says.
    pub(crate) fn serves_tls(&self) -> bool {
        self.access.tls().is_some()
    }

    /// Serves until `shutdown` is ready, then lets requests in progress finish, but no longer than a scrape may take.
    pub(crate) async fn run(self, site: Arc<Site>, shutdown: impl Future<Output = ()> + Send) {
        let routes = Routes::new(Arc::clone(&site), self.access);
        let connections = Connections::new(routes, self.limits);
        let mut accepting = JoinSet::new();
        for listener in self.listeners {
            accepting.spawn(accept(listener, Arc::clone(&connections)));
        }
        shutdown.await;

        // The sockets close first, so that a successor can bind to them.
        accepting.shutdown().await;
        let longest = site.collector.apps().scrape.timeout + GRACE;
        let finished = tokio::time::timeout(longest, connections.finish());
        if finished.await.is_err() {
            tracing::warn!("some requests did not finish in time and are cut off");
            connections.close_all();
        }
    }
}

/// Accepts connections until cancelled; errors don't end it.
async fn accept(listener: Listener, connections: Arc<Connections>) {
    let mut is_failing = false;
    loop {
        match listener.accept().await {
            Ok(socket) => {
                is_failing = false;
                connections.add(socket).await;
            }
            // The client left before it was accepted.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            // The process is out of file descriptors or memory.
            Err(error) => {
                if !std::mem::replace(&mut is_failing, true) {
                    tracing::error!(%error, "connections can't be accepted");
                }
                connections.close_longest_waiting();
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
