//! Access control: the rules of the web configuration, which apply before every route.

use std::path::Path;
use std::time::Instant;

use hyper::header::AUTHORIZATION;
use hyper::{HeaderMap, StatusCode};
use parking_lot::Mutex;

use crate::config::ConfigError;

use super::passwords::Passwords;
use crate::web_config::{ConfigFile, RateLimit, Rules};

/// The status codes of refused requests: the web configuration is bad, `rate_limit` is used up, no user has that
/// password, or too many passwords wait to be checked.
pub(super) const REFUSALS: [StatusCode; 4] = [
    StatusCode::INTERNAL_SERVER_ERROR,
    StatusCode::TOO_MANY_REQUESTS,
    StatusCode::UNAUTHORIZED,
    StatusCode::SERVICE_UNAVAILABLE,
];

/// The access control of the server. Without a web configuration it admits every request.
pub(super) struct Access {
    pub(super) file: Option<ConfigFile>,
    bucket: Option<Bucket>,
    passwords: Passwords,
}

/// A leaky bucket.
struct Bucket {
    limit: RateLimit,
    /// When the bucket is empty again.
    empty_at: Mutex<Instant>,
}

impl Access {
    pub(super) fn open(file: Option<&Path>) -> Result<Self, ConfigError> {
        let file = file.map(ConfigFile::open).transpose()?;
        let limit = file.as_ref().and_then(|file| file.rate_limit);
        Ok(Self {
            bucket: limit.map(|limit| Bucket {
                limit,
                empty_at: Mutex::new(Instant::now()),
            }),
            file,
            passwords: Passwords::new(),
        })
    }

    /// Returns the file that configures the next TLS handshake, or `None` if plain HTTP is served.
    pub(super) fn tls(&self) -> Option<&ConfigFile> {
        self.file.as_ref().filter(|file| file.serves_tls)
    }

    /// Decides whether to admit a request, in exporter-toolkit's order. The rules hold the headers of the reply.
    pub(super) async fn admit(
        &self,
        headers: &HeaderMap,
    ) -> (Option<Rules>, Result<(), StatusCode>) {
        let Some(file) = &self.file else {
            return (None, Ok(()));
        };
        let Ok(rules) = file.rules().await else {
            return (None, Err(StatusCode::INTERNAL_SERVER_ERROR));
        };
        let is_full = |bucket: &Bucket| !bucket.take(Instant::now());
        let admitted = if self.bucket.as_ref().is_some_and(is_full) {
            Err(StatusCode::TOO_MANY_REQUESTS)
        } else if rules.users.is_empty() {
            Ok(())
        } else {
            let login = headers.get(AUTHORIZATION);
            self.passwords.check(&rules.users, login).await
        };
        (Some(rules), admitted)
    }
}

impl Bucket {
    fn take(&self, now: Instant) -> bool {
        let RateLimit { interval, burst } = self.limit;
        let mut empty_at = self.empty_at.lock();
        let with_this_one = (*empty_at).max(now) + interval;
        let is_granted = with_this_one <= now + interval * burst;
        if is_granted {
            *empty_at = with_this_one;
        }
        is_granted
    }
}
