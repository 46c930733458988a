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
//! | anything else | | 404 |
//!
//! Another method than these gets 405 with `Allow`. Before every route stands the web configuration
//! (`--web.config.file`): 500 while that file is bad, 429 beyond its `rate_limit`, 401 without a user's password.
//! More than `--web.max-requests` at one time get 503, but for `/-/` paths; where it is not given, each app has a place.

mod basic_auth;
mod connection;
mod crowd;
pub mod deadline;
mod gate;
mod listen;
mod pace;
mod query;
mod reply;
mod routes;
mod sd;

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use connection::{Door, Limits, Stage};
use crowd::Crowd;
use gate::Gate;
use listen::Listener;
use routes::Routes;

use crate::collector::Collector;
use crate::config::{ConfigError, WebConfig};
use crate::exposition::Exposition;

/// What requests under way get beyond the longest that a scrape may take, before they are cut at the end.
const GRACE: Duration = Duration::from_secs(1);

/// The longest pause after a connection could not be accepted.
const MAX_ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// What the routes work on.
#[derive(Debug)]
pub struct Site {
    /// The apps.
    pub collector: Arc<Collector>,
    /// Their pages.
    pub exposition: Arc<Exposition>,
    /// Puts a new configuration in force.
    pub reload: Arc<dyn Reload>,
    /// The server's settings.
    pub config: WebConfig,
}

/// Reads the configuration again and puts it in force.
pub trait Reload: fmt::Debug + Send + Sync {
    /// On failure the old configuration stays, and the text says why.
    fn reload(&self) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>>;
}

/// Listening sockets, not yet answered.
#[derive(Debug)]
pub struct Server {
    listeners: Vec<Listener>,
    gate: Gate,
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
        /// Why.
        source: io::Error,
    },
    /// `--web.config.file` is wrong.
    #[error(transparent)]
    WebConfig(#[from] ConfigError),
}

impl Server {
    /// Opens the sockets and reads the web configuration.
    ///
    /// # Errors
    /// See [`ServerError`].
    pub async fn bind(config: &WebConfig) -> Result<Self, ServerError> {
        let gate = Gate::open(config.config_file.as_deref())?;
        Ok(Self {
            listeners: listen::open(config).await?,
            gate,
            limits: Limits::default(),
        })
    }

    /// Reads the web configuration as [`Self::bind`] does, and opens nothing.
    ///
    /// # Errors
    /// When it can't be used.
    pub fn check(config: &WebConfig) -> Result<(), ServerError> {
        if let Some(file) = &config.config_file {
            crate::web_config::check(file)?;
        }
        Ok(())
    }

    /// Where it listens; the real port where 0 was asked for, and `unix:` before a path.
    pub fn addresses(&self) -> impl Iterator<Item = impl fmt::Display> {
        self.listeners.iter()
    }

    /// Whether connections speak TLS, as the web configuration says.
    #[must_use]
    pub fn serves_tls(&self) -> bool {
        self.gate.serves_tls()
    }

    /// Answers until `shutdown` is ready, then lets requests under way finish, but not longer than a scrape may take.
    pub async fn run(self, site: Arc<Site>, shutdown: impl Future<Output = ()> + Send) {
        let (stage, stages) = watch::channel(Stage::Serving);
        let crowd = Crowd::new(self.limits.connections);
        let door = Arc::new(Door {
            routes: Arc::new(Routes::new(Arc::clone(&site), self.gate)),
            limits: self.limits,
            crowd: Arc::clone(&crowd),
            stage: stages,
        });
        let mut accepting = JoinSet::new();
        for listener in self.listeners {
            accepting.spawn(accept(listener, Arc::clone(&door)));
        }
        shutdown.await;

        // The sockets close first, so that a successor can have them.
        accepting.shutdown().await;
        stage.send_replace(Stage::Finishing);
        let longest = site.collector.apps().scrape_config().timeout + GRACE;
        if tokio::time::timeout(longest, crowd.all_left())
            .await
            .is_err()
        {
            tracing::warn!("some requests did not finish in time and are cut");
            stage.send_replace(Stage::Ended);
        }
    }
}

/// Takes connections for as long as it is let; no error ends it.
async fn accept(listener: Listener, door: Arc<Door>) {
    let mut pause = Duration::ZERO;
    loop {
        match listener.accept().await {
            Ok(accepted) => {
                pause = Duration::ZERO;
                let member = door.crowd.enter().await;
                tokio::spawn(Arc::clone(&door).serve(accepted, member));
            }
            // The client left before it was taken; the next one is there or will be.
            Err(error) if is_of_the_client(&error) => {}
            // Out of file descriptors or memory: at once it would fail again, and later it may not.
            Err(error) => {
                pause = (pause * 2).clamp(Duration::from_millis(10), MAX_ACCEPT_PAUSE);
                if pause == MAX_ACCEPT_PAUSE {
                    tracing::error!(%error, "no connection can be accepted");
                }
                door.crowd.make_room();
                tokio::time::sleep(pause).await;
            }
        }
    }
}

fn is_of_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}

#[cfg(test)]
mod tests;
