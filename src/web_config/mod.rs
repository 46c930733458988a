//! `--web.config.file`: exporter-toolkit's web configuration.
//!
//! The same file works with every official exporter. As in those, it is read again for each request, and together with
//! its certificates for each handshake, so that a change needs no restart. Also as in those, only `rate_limit` and
//! whether TLS is served are fixed at the start.
//!
//! While the file of a running exporter is bad, or can't be read in time, nobody is admitted: each request gets 500 and
//! each handshake fails. The reason is logged once. An empty file is bad too if there were users before, because most
//! often somebody is just writing it.

mod client_certificates;
mod file;
mod tls;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rustls::ServerConfig;

pub(super) use file::{RateLimit, Rules};

use crate::blocking::BlockingReads;
use crate::config::ConfigError;
use file::WebConfigFile;

/// How long a client may wait for the files to be read: half of a scraper's usual timeout.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// Checks a web configuration file and all certificates and keys that it names.
///
/// # Errors
/// Returns the first thing that is wrong, as one sentence with the file, the line and how to fix it.
pub fn check(path: &Path) -> Result<(), ConfigError> {
    ConfigFile::open(path).map(drop)
}

/// A web configuration file that was valid at the start.
pub(super) struct ConfigFile {
    path: Arc<Path>,
    /// Whether connections speak TLS; fixed at the start.
    pub(super) serves_tls: bool,
    /// Fixed at the start.
    pub(super) rate_limit: Option<RateLimit>,
    has_had_users: AtomicBool,
    rules: Readings,
    tls: Readings,
}

impl ConfigFile {
    /// Reads the file and everything that it names.
    pub(super) fn open(path: &Path) -> Result<Self, ConfigError> {
        let file = WebConfigFile::read(path)?;
        if let Some(section) = &file.tls {
            tls::server_config(section, &file.yaml)?;
        }
        Ok(Self {
            path: path.into(),
            serves_tls: file.tls.is_some(),
            rate_limit: file.rate_limit,
            has_had_users: AtomicBool::new(!file.rules.users.is_empty()),
            rules: Readings::default(),
            tls: Readings::default(),
        })
    }

    /// Returns the rules for a request.
    ///
    /// # Errors
    /// Fails while the file is bad; the reason is logged.
    pub(super) async fn rules(&self) -> Result<Rules, ConfigError> {
        let path = Arc::clone(&self.path);
        let must_have_keys = self.has_had_users.load(Ordering::Relaxed);
        let rules = self.rules.read(move || {
            let file = WebConfigFile::read(&path)?;
            if file.is_empty && must_have_keys {
                return Err(ConfigError(format!(
                    "{} is empty, but there were users before; write `basic_auth_users: {{}}` if nobody needs a password",
                    path.display()
                )));
            }
            Ok(file.rules)
        });
        let rules = rules.await?;
        if !rules.users.is_empty() {
            self.has_had_users.store(true, Ordering::Relaxed);
        }
        Ok(rules)
    }

    /// Returns the settings of the next TLS handshake.
    ///
    /// # Errors
    /// Fails while the file, a certificate or the key is bad; the reason is logged.
    pub(super) async fn tls(&self) -> Result<Arc<ServerConfig>, ConfigError> {
        let path = Arc::clone(&self.path);
        let read = move || {
            let file = WebConfigFile::read(&path)?;
            match &file.tls {
                Some(section) => tls::server_config(section, &file.yaml).map(Arc::new),
                None => Err(ConfigError(format!(
                    "{}: TLS was served at the start and can't be switched off without a restart",
                    path.display()
                ))),
            }
        };
        self.tls.read(read).await
    }
}

/// Reads of the same files, one at a time, and the error of the last one.
#[derive(Default)]
struct Readings {
    reads: BlockingReads,
    last_error: Mutex<Option<ConfigError>>,
}

impl Readings {
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> Result<T, ConfigError> + Send + 'static,
    ) -> Result<T, ConfigError> {
        let reading = tokio::time::timeout(READ_TIMEOUT, self.reads.run(read));
        let read = reading.await.unwrap_or_else(|_| {
            let text = format!("its files can't be read within {READ_TIMEOUT:?}");
            Err(ConfigError(text))
        });
        let error = read.as_ref().err().cloned();
        let mut last_error = self.last_error.lock();
        if *last_error != error {
            match &error {
                Some(error) => tracing::error!(%error, "the web configuration can't be used"),
                None => tracing::info!("the web configuration can be used again"),
            }
            *last_error = error;
        }
        read
    }
}
