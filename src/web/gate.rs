//! What stands before every route: the web configuration's rules.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use rustls::ServerConfig;

use crate::config::ConfigError;

use super::basic_auth::{Denied, Passwords};
use crate::web_config::{ConfigFile, RateLimit, Rules};

/// Lets requests in, or not. Without a web configuration it stands open.
#[derive(Debug)]
pub(super) struct Gate {
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
    /// `basic_auth_users` doesn't have that user and password.
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

impl Gate {
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

    /// What the next TLS handshake is made with; `None`: plain HTTP is served.
    pub(super) fn tls(
        &self,
    ) -> Option<impl Future<Output = Result<Arc<ServerConfig>, ConfigError>>> {
        self.file.as_ref()?.tls()
    }

    /// Lets a request in, or not, in exporter-toolkit's order. The rules hold the headers that the answer gets.
    pub(super) async fn admit(
        &self,
        headers: &HeaderMap,
    ) -> (Option<Arc<Rules>>, Result<(), Refusal>) {
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
                .map_err(|denied| match denied {
                    Denied::Unauthorized => Refusal::Unauthorized,
                    Denied::Busy => Refusal::Busy,
                })
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
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (tokens, at) = *state;
        let gained =
            now.saturating_duration_since(at).as_secs_f64() / self.limit.interval.as_secs_f64();
        let tokens = (tokens + gained).min(f64::from(self.limit.burst));
        let is_granted = tokens >= 1.0;
        *state = (if is_granted { tokens - 1.0 } else { tokens }, now.max(at));
        is_granted
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn bucket_saves_up_to_its_burst() {
        let begin = Instant::now();
        let limit = RateLimit {
            interval: Duration::from_secs(1),
            burst: 2,
        };
        let bucket = Bucket::new(limit, begin);
        let take = |millis| bucket.take(begin + Duration::from_millis(millis));
        assert!(take(0) && take(0));
        assert!(!take(999));
        assert!(take(1001));
        assert!(!take(1002));
        assert!(take(60_000) && take(60_000));
        assert!(!take(60_000));
    }
}
