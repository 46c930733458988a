//! The HTTP server.
//!
//! | path | method | answer |
//! |---|---|---|
//! | `--web.telemetry-path` (`/metrics`) | `GET`, `HEAD` | all apps and the exporter itself; `?appid=` (repeatable) and `?name[]=` narrow, the exporter's own metrics alone fetch nothing; 400 for an unknown appid |
//! | `/probe?target=APPID` | `GET`, `HEAD` | that app alone; 400 for a target that is missing, unknown or repeated |
//! | `/sd` | `GET`, `HEAD` | Prometheus HTTP service discovery, one target per app |
//! | `/` | `GET`, `HEAD` | the status page, in the language of `Accept-Language`; `?appid=` narrows it to one app |
//! | `/-/healthy`, `/-/ready` | `GET`, `HEAD` | 200; neither calls WeChat |
//! | `/-/reload` | `POST`, `PUT` | reads the configuration again; 500 and the reason when it is bad; 403 without `--web.enable-lifecycle` |
//! | any path | `OPTIONS` | 204 with `Allow` |
//! | anything else | | 404 |
//!
//! Other methods get 405 with `Allow`. Where `--web.external-url` has a path, each route is there too. Before every
//! route stands the web configuration (`--web.config.file`): 500 while that file is bad, 429 beyond its `rate_limit`,
//! 401 without a user's password. More than `--web.max-requests` at one time get 503, except for `/-/` paths; where it
//! is not given, one for each app is allowed. A request whose handler panics loses its connection.

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

/// What requests under way get beyond the longest that a scrape may take, before they are cut at the end.
const GRACE: Duration = Duration::from_secs(1);

/// The pause after a connection could not be accepted.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// What the routes work on.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) collector: Arc<Collector>,
    pub(crate) exposition: Arc<Exposition>,
    pub(crate) reloads: mpsc::Sender<ReloadRequest>,
    pub(crate) config: WebConfig,
}

/// Asks for the configuration to be read again and put in force. On failure the old one stays, and the text says why.
pub(crate) type ReloadRequest = oneshot::Sender<Result<(), String>>;

/// Listening sockets, not yet answered.
pub(crate) struct Server {
    listeners: Vec<Listener>,
    access: Access,
    limits: Limits,
}

/// The server can't start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// An address can't be had.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address as configured.
        address: String,
        source: io::Error,
    },
    /// `--web.config.file` is wrong.
    #[error(transparent)]
    WebConfig(#[from] ConfigError),
}

impl Server {
    /// Opens the sockets and reads the web configuration. `apps`: how many there are now; the limit of connections stays.
    pub(crate) async fn bind(config: &WebConfig, apps: usize) -> Result<Self, ServerError> {
        let access = Access::open(config.config_file.as_deref())?;
        Ok(Self {
            listeners: listen::open(config).await?,
            access,
            limits: Limits::of(config.max_requests(apps)),
        })
    }

    /// Where it listens; the real port where 0 was asked for, and `unix:` before a path.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = impl fmt::Display> {
        self.listeners.iter()
    }

    /// Whether connections speak TLS, as the web configuration says.
    pub(crate) fn serves_tls(&self) -> bool {
        self.access.tls().is_some()
    }

    /// Answers until `shutdown` is ready, then lets requests under way finish, but not longer than a scrape may take.
    pub(crate) async fn run(self, site: Arc<Site>, shutdown: impl Future<Output = ()> + Send) {
        let routes = Routes::new(Arc::clone(&site), self.access);
        let connections = Connections::new(routes, self.limits);
        let mut accepting = JoinSet::new();
        for listener in self.listeners {
            accepting.spawn(accept(listener, Arc::clone(&connections)));
        }
        shutdown.await;

        // The sockets close first, so that a successor can have them.
        accepting.shutdown().await;
        let longest = site.collector.apps().scrape_config().timeout + GRACE;
        let finished = tokio::time::timeout(longest, connections.finish());
        if finished.await.is_err() {
            tracing::warn!("some requests did not finish in time and are cut off");
            connections.close_all();
        }
    }
}

/// Accepts connections until cancelled; no error ends it.
async fn accept(listener: Listener, connections: Arc<Connections>) {
    let mut is_failing = false;
    loop {
        match listener.accept().await {
            Ok(socket) => {
                is_failing = false;
                connections.add(socket).await;
            }
            // Out of file descriptors or memory.
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
