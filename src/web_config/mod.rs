//! `--web.config.file`: exporter-toolkit's web configuration, re-read without a restart.
//!
//! The same file works with every official exporter. As there, the file counts for each request and the certificates
//! for each handshake, so a change needs no restart; but they are read again only when they changed, which one
//! look at the file's metadata tells. Looks are made aside, as the files may lie on a slow disk. What is fixed at the
//! start, as there: whether TLS is served, HTTP/2 and `rate_limit`.
//!
//! A file that turns bad while the exporter runs, or can't be looked at in time, never opens a door: each request gets
//! 500 and each handshake fails until it is mended. The reason is logged once. Where there have been users, an empty
//! file is bad too: most often somebody is writing it just then.

mod client;
mod document;
mod file;
mod kept;
mod place;
mod tls;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use hyper::header::{HeaderName, HeaderValue};
use rustls::ServerConfig;
use secrecy::SecretString;

pub(super) use file::RateLimit;
use file::WebConfigFile;
use kept::{Kept, Made, Stamp};

use crate::config::{ConfigError, read_regular};

/// No file of a web configuration is longer: a bundle of all public authorities has a quarter of a MiB. Unit: bytes.
const FILE_MAX: u64 = 4 << 20;

/// Checks a web configuration file with all certificates and keys that it names.
///
/// # Errors
/// The first thing that is wrong, as one sentence with the file, the line and the cure.
pub fn check(path: &Path) -> Result<(), ConfigError> {
    ConfigFile::open(path).map(drop)
}

/// A web configuration file, watched.
#[derive(Debug)]
pub(super) struct ConfigFile {
    path: Arc<Path>,
    serves_tls: bool,
    rate_limit: Option<RateLimit>,
    has_had_users: Arc<AtomicBool>,
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
        let began = Instant::now();
        let stamps = vec![Stamp::of(path)];
        let file = read(path)?;
        let rate_limit = file.rate_limit;
        let tls = if file.tls.is_some() {
            let made = load_tls(path);
            made.value.as_ref().map_err(Clone::clone)?;
            Some(Kept::new(made, began))
        } else {
            None
        };
        let has_had_users = Arc::new(AtomicBool::new(!file.users.is_empty()));
        let made = Made {
            stamps,
            value: Ok(Arc::new(file.into())),
        };
        Ok(Self {
            path: path.into(),
            has_had_users,
            serves_tls: tls.is_some(),
            rate_limit,
            rules: Kept::new(made, began),
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
    pub(super) async fn rules(&self) -> Result<Arc<Rules>, ConfigError> {
        let (path, serves_tls) = (Arc::clone(&self.path), self.serves_tls);
        let has_had_users = Arc::clone(&self.has_had_users);
        let load = move || load_rules(&path, serves_tls, &has_had_users);
        self.rules.get(load).await
    }

    /// What the next TLS handshake is made with; `None`: plain HTTP is served.
    ///
    /// # Errors
    /// While the file, a certificate or the key is bad; the reason is logged.
    pub(super) fn tls(
        &self,
    ) -> Option<impl Future<Output = Result<Arc<ServerConfig>, ConfigError>>> {
        let tls = self.tls.as_ref()?;
        let path = Arc::clone(&self.path);
        Some(tls.get(move || load_tls(&path)))
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
    let (bytes, _) = read_regular(path, FILE_MAX).map_err(|error| {
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

// The stamps are taken before the files are read: a file that changes in between is read once more.

fn load_rules(path: &Path, serves_tls: bool, has_had_users: &AtomicBool) -> Made<Rules> {
    let stamps = vec![Stamp::of(path)];
    let rules = read(path).and_then(|file| {
        if file.says_nothing && has_had_users.load(Ordering::Relaxed) {
            return Err(ConfigError(format!(
                "{} is empty, but there were users before; write `basic_auth_users: {{}}` if nobody is to need a password",
                path.display()
            )));
        }
        has_had_users.fetch_or(!file.users.is_empty(), Ordering::Relaxed);
        if file.tls.is_some() != serves_tls {
            tracing::warn!(
                file = %path.display(),
                "TLS was switched on or off in the web configuration; that takes a restart"
            );
        }
        Ok(Arc::new(file.into()))
    });
    Made {
        stamps,
        value: rules,
    }
}

fn load_tls(path: &Path) -> Made<ServerConfig> {
    let mut stamps = vec![Stamp::of(path)];
    let config = read(path).and_then(|file| match &file.tls {
        Some(section) => {
            stamps.extend(tls::files(section).iter().map(|path| Stamp::of(path)));
            tls::server_config(section, path).map(Arc::new)
        }
        None => Err(ConfigError(format!(
            "{}: TLS was served at the start and can't be switched off without a restart",
            path.display()
        ))),
    });
    Made {
        stamps,
        value: config,
    }
}
