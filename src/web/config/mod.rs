//! `--web.config.file`: exporter-toolkit's web configuration, re-read without a restart.
//!
//! The same file works with every official exporter. As there, the file counts for each request and the certificates
//! for each handshake, so a change needs no restart; but they are read again only when they changed, which one
//! look at the file's metadata tells. What is fixed at the start, as there: whether TLS is served, HTTP/2 and
//! `rate_limit`.
//!
//! A file that turns bad while the exporter runs never opens a door: each request gets 500 and each handshake fails
//! until it is mended. The reason is logged once.

mod client;
mod document;
mod duration;
mod file;
mod kept;
mod place;
mod tls;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper::header::{HeaderName, HeaderValue};
use rustls::ServerConfig;
use secrecy::SecretString;

pub(super) use file::RateLimit;
use file::WebConfigFile;
use kept::{Kept, Stamp};

use crate::config::ConfigError;

/// Checks a web configuration file with all certificates and keys that it names.
///
/// # Errors
/// The first thing that is wrong, as one sentence with the file, the line and the cure.
pub fn check(path: &Path) -> Result<(), String> {
    ConfigFile::open(path)
        .map(drop)
        .map_err(|ConfigError(text)| text)
}

/// A web configuration file, watched.
#[derive(Debug)]
pub(super) struct ConfigFile {
    path: PathBuf,
    http2: bool,
    serves_tls: bool,
    rate_limit: Option<RateLimit>,
    rules: Kept<Rules>,
    tls: Option<Kept<ServerConfig>>,
}

/// What counts for each request.
#[derive(Debug)]
pub(super) struct Rules {
    /// Added to each answer.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// User → bcrypt hash; empty: everybody may read.
    pub(super) users: BTreeMap<String, SecretString>,
}

impl ConfigFile {
    /// Reads the file and all that it names.
    pub(super) fn open(path: &Path) -> Result<Self, ConfigError> {
        let stamps = vec![Stamp::of(path)];
        let file = read(path)?;
        let (http2, rate_limit) = (file.http2, file.rate_limit);
        let tls = if file.tls.is_some() {
            let (stamps, config) = load_tls(path, http2);
            Some(Kept::new(stamps, Arc::new(config?)))
        } else {
            None
        };
        Ok(Self {
            path: path.to_owned(),
            http2,
            serves_tls: tls.is_some(),
            rate_limit,
            rules: Kept::new(stamps, Arc::new(file.into())),
            tls,
        })
    }

    /// Whether connections speak TLS; fixed at the start.
    pub(super) fn serves_tls(&self) -> bool {
        self.serves_tls
    }

    /// Fixed at the start.
    pub(super) fn rate_limit(&self) -> Option<RateLimit> {
        self.rate_limit
    }

    /// The rules for a request.
    ///
    /// # Errors
    /// While the file is bad; the reason is logged.
    pub(super) fn rules(&self) -> Result<Arc<Rules>, ConfigError> {
        self.rules.get(|| {
            let stamps = vec![Stamp::of(&self.path)];
            let rules = read(&self.path).map(|file| {
                if file.tls.is_some() != self.serves_tls {
                    tracing::warn!(
                        file = %self.path.display(),
                        "TLS was switched on or off in the web configuration; that takes a restart"
                    );
                }
                file.into()
            });
            (stamps, rules)
        })
    }

    /// What the next TLS handshake is made with; `None`: plain HTTP is served.
    ///
    /// # Errors
    /// While the file, a certificate or the key is bad; the reason is logged.
    pub(super) fn tls(&self) -> Option<Result<Arc<ServerConfig>, ConfigError>> {
        let tls = self.tls.as_ref()?;
        Some(tls.get(|| load_tls(&self.path, self.http2)))
    }
}

impl From<WebConfigFile> for Rules {
    fn from(file: WebConfigFile) -> Self {
        Self {
            headers: file.headers,
            users: file.users,
        }
    }
}

fn read(path: &Path) -> Result<WebConfigFile, ConfigError> {
    let bytes = std::fs::read(path).map_err(|error| {
        ConfigError(format!(
            "the web configuration {} can't be read: {error}",
            path.display()
        ))
    })?;
    let text = std::str::from_utf8(&bytes).map_err(|error| {
        let good = &bytes[..error.valid_up_to()];
        let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
        ConfigError(format!(
            "{}, line {line}: this is no UTF-8; save the file as UTF-8",
            path.display()
        ))
    })?;
    WebConfigFile::parse(text, path)
}

/// The stamps are taken before the files are read: a file that changes in between is read once more.
fn load_tls(path: &Path, http2: bool) -> (Vec<Stamp>, Result<ServerConfig, ConfigError>) {
    let mut stamps = vec![Stamp::of(path)];
    let config = read(path).and_then(|file| match &file.tls {
        Some(section) => {
            stamps.extend(tls::files(section).iter().map(|path| Stamp::of(path)));
            tls::server_config(section, http2, path)
        }
        None => Err(ConfigError(format!(
            "{}: TLS was served at the start and can't be switched off without a restart",
            path.display()
        ))),
    });
    (stamps, config)
}
