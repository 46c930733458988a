//! What stands before every route: the rules of the web configuration.

use std::path::Path;
use std::time::Instant;

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use parking_lot::Mutex;

use crate::config::ConfigError;

use super::passwords::Passwords;
use crate::web_config::{ConfigFile, RateLimit, Rules};

/// Lets requests in, or not. Without a web configuration everybody gets in.
#[derive(Debug)]
pub(super) struct Access {
    file: Option<ConfigFile>,
    bucket: Option<Bucket>,
    passwords: Passwords,
}

/// Why a request isn't let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The web configuration is bad; nobody is let in.
    BadConfig,
    /// `rate_limit` is used up.
    TooManyRequests,
    /// `basic_auth_users` doesn't have that user and password; the client isn't told which is wrong.
    Unauthorized,
    /// Too many passwords wait to be checked.
    Busy,
}

/// A token bucket.
#[derive(Debug)]
struct Bucket {
    limit: RateLimit,
    state: Mutex<(f64, Instant)>,
}

impl Access {
    pub(super) fn open(file: Option<&Path>) -> Result<Self, ConfigError> {
        let file = file.map(ConfigFile::open).transpose()?;
        Ok(Self {
            bucket: file
                .as_ref()
                .and_then(ConfigFile::rate_limit)
                .map(|limit| Bucket::new(limit, Instant::now())),
            file,
            passwords: Passwords::new(),
        })
    }

    /// The codes that it may refuse requests with.
    pub(super) fn refuses_with(&self) -> &'static [u16] {
        match self.file {
            None => &[],
            Some(_) => &[401, 429, 500, 503],
        }
    }

    /// Whether connections speak TLS.
    pub(super) fn serves_tls(&self) -> bool {
        self.file.as_ref().is_some_and(ConfigFile::serves_tls)
    }

    /// The file that the next TLS handshake is made with; `None`: plain HTTP is served.
    pub(super) fn tls(&self) -> Option<&ConfigFile> {
        self.file.as_ref().filter(|file| file.serves_tls())
    }

    /// Lets a request in, or not, in exporter-toolkit's order. The rules hold the headers that the answer gets.
    pub(super) async fn admit(&self, headers: &HeaderMap) -> (Option<Rules>, Result<(), Refusal>) {
        let Some(file) = &self.file else {
            return (None, Ok(()));
        };
        let Ok(rules) = file.rules().await else {
            return (None, Err(Refusal::BadConfig));
        };
        if let Some(bucket) = &self.bucket
            && !bucket.take(Instant::now())
        {
            return (Some(rules), Err(Refusal::TooManyRequests));
        }
        let admitted = if rules.users.is_empty() {
            Ok(())
        } else {
            self.passwords
                .check(&rules.users, headers.get(AUTHORIZATION))
                .await
        };
        (Some(rules), admitted)
    }
}

impl Bucket {
    fn new(limit: RateLimit, now: Instant) -> Self {
        Self {
            limit,
            state: Mutex::new((f64::from(limit.burst), now)),
        }
    }

    fn take(&self, now: Instant) -> bool {
        let mut state = self.state.lock();
        let (tokens, at) = *state;
        let gained =
            now.saturating_duration_since(at).as_secs_f64() / self.limit.interval.as_secs_f64();
        let tokens = (tokens + gained).min(f64::from(self.limit.burst));
        let is_granted = tokens >= 1.0;
        *state = (if is_granted { tokens - 1.0 } else { tokens }, now.max(at));
        is_granted
    }
}
