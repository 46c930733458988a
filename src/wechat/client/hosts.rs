//! Which of WeChat's hosts is asked first.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::Url;

use super::ClientError;

/// How long calls stay with a host that stood in before the preferred one is tried again.
///
/// Long enough that an outage of hours costs few calls and little waiting, short enough that a hiccup is forgotten
/// before anybody asks why the disaster-recovery host is in use.
const PREFERRED_RETRY: Duration = Duration::from_secs(300);

/// One host that serves WeChat's API.
#[derive(Debug)]
pub(super) struct Host {
    url: Url,
    /// Host and port, for people and for the page.
    pub(super) name: String,
}

/// The hosts in order of preference, and which of them answers.
#[derive(Debug)]
pub(super) struct Hosts {
    /// At least one.
    list: Vec<Host>,
    current: AtomicUsize,
    /// When the preferred host may be tried again; `None` while it is in use.
    preferred_due: Mutex<Option<Instant>>,
    /// No host answered the last call: the next ones try one host each, so that an outage costs as many calls as
    /// health does.
    out_of_reach: AtomicBool,
    /// Counts the calls that try one host.
    lone_tries: AtomicUsize,
}

impl Host {
    fn parse(position: usize, api_url: &str) -> Result<Self, ClientError> {
        let fault = |cause: String| ClientError::Url {
            position: position + 1,
            cause,
        };
        let url = Url::parse(api_url).map_err(|error| fault(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(fault("it is neither http nor https".to_owned()));
        }
        let host = url
            .host_str()
            .ok_or_else(|| fault("it names no host".to_owned()))?;
        let name = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        Ok(Self { url, name })
    }

    /// The URL of an API path there, with its query.
    pub(super) fn url(&self, path: &str, query: &[(&str, &str)]) -> Url {
        let mut url = self.url.clone();
        let base = url.path().trim_end_matches('/');
        let path = format!("{base}{path}");
        url.set_path(&path);
        if query.is_empty() {
            url.set_query(None);
        } else {
            url.query_pairs_mut().clear().extend_pairs(query);
        }
        url
    }
}

impl Hosts {
    pub(super) fn parse(api_urls: &[String]) -> Result<Self, ClientError> {
        let list = api_urls.iter().enumerate();
        let list = list
            .map(|(position, url)| Host::parse(position, url))
            .collect::<Result<Vec<_>, _>>()?;
        if list.is_empty() {
            return Err(ClientError::NoUrl);
        }
        Ok(Self {
            list,
            current: AtomicUsize::new(0),
            preferred_due: Mutex::new(None),
            out_of_reach: AtomicBool::new(false),
            lone_tries: AtomicUsize::new(0),
        })
    }

    pub(super) fn need_tls(&self) -> bool {
        self.list.iter().any(|host| host.url.scheme() == "https")
    }

    pub(super) fn current(&self) -> &Host {
        // Only indexes of the list are ever stored.
        &self.list[self.current.load(Ordering::Relaxed)]
    }

    /// The order in which one call tries the hosts, each once; the next one alone while none answers.
    pub(super) fn order(&self, now: Instant) -> Vec<usize> {
        if self.out_of_reach.load(Ordering::Relaxed) {
            let tries = self.lone_tries.fetch_add(1, Ordering::Relaxed);
            return vec![tries % self.list.len()];
        }
        let current = self.current.load(Ordering::Relaxed);
        let mut order = Vec::with_capacity(self.list.len());
        if current != 0 && self.claim_preferred(now) {
            order.push(0);
        }
        order.push(current);
        order.extend((0..self.list.len()).filter(|host| *host != current && *host != 0));
        if order[0] != 0 {
            order.push(0);
        }
        order
    }

    pub(super) fn host(&self, index: usize) -> &Host {
        &self.list[index]
    }

    /// This one answered: the next calls go there.
    pub(super) fn answered(&self, index: usize, now: Instant) {
        self.out_of_reach.store(false, Ordering::Relaxed);
        if self.current.swap(index, Ordering::Relaxed) != index {
            let due = (index != 0).then(|| now + PREFERRED_RETRY);
            *self.lock() = due;
        }
    }

    /// Every host that a call tried failed.
    pub(super) fn none_answered(&self) {
        self.out_of_reach.store(true, Ordering::Relaxed);
    }

    /// Whether this call is the one that tries the preferred host again; others at the same time stay where they are.
    fn claim_preferred(&self, now: Instant) -> bool {
        let mut due = self.lock();
        let is_due = due.is_none_or(|due| due <= now);
        if is_due {
            *due = Some(now + PREFERRED_RETRY);
        }
        is_due
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.preferred_due
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Hosts {
        let urls = ["http://a", "http://b:8080/", "https://c/base/"].map(str::to_owned);
        Hosts::parse(&urls).unwrap()
    }

    #[test]
    fn preferred_host_is_asked_first() {
        let hosts = three();
        assert_eq!(hosts.order(Instant::now()), [0, 1, 2]);
        assert_eq!(hosts.current().name, "a");
    }

    #[test]
    fn host_that_stood_in_stays_until_the_preferred_one_is_due_again() {
        let hosts = three();
        let start = Instant::now();
        hosts.answered(1, start);
        assert_eq!(hosts.current().name, "b:8080");
        assert_eq!(hosts.order(start), [1, 2, 0]);
        let later = start + PREFERRED_RETRY;
        assert_eq!(hosts.order(later), [0, 1, 2]);
        assert_eq!(
            hosts.order(later),
            [1, 2, 0],
            "one call tries, the others stay"
        );
        hosts.answered(1, later);
        assert_eq!(hosts.order(later), [1, 2, 0], "it failed again");
        assert_eq!(hosts.order(later + PREFERRED_RETRY), [0, 1, 2]);
        hosts.answered(0, later + PREFERRED_RETRY);
        assert_eq!(hosts.order(later + PREFERRED_RETRY), [0, 1, 2]);
    }

    #[test]
    fn hosts_are_tried_one_at_a_time_while_none_answers() {
        let hosts = three();
        let now = Instant::now();
        hosts.none_answered();
        let tried: Vec<_> = (0..4).map(|_| hosts.order(now)).collect();
        assert_eq!(tried, [[0], [1], [2], [0]]);
        hosts.answered(2, now);
        assert_eq!(hosts.order(now), [2, 1, 0]);
    }

    #[test]
    fn query_is_percent_encoded() {
        let hosts = three();
        let query = [("access_token", "a+b/c&d=é"), ("env", "prod-1")];
        assert_eq!(
            hosts.host(1).url("/x", &query).as_str(),
            "http://b:8080/x?access_token=a%2Bb%2Fc%26d%3D%C3%A9&env=prod-1"
        );
        assert_eq!(hosts.host(2).url("/x", &[]).as_str(), "https://c/base/x");
    }

    #[test]
    fn url_that_cant_be_called_is_refused_without_being_quoted() {
        for url in [
            "",
            "api.weixin.qq.com",
            "ftp://a",
            "http://",
            "http://user:hunter2@[",
            "unix:/a",
        ] {
            let error = Hosts::parse(&[url.to_owned()]).unwrap_err();
            assert!(!error.to_string().contains("hunter2"));
        }
        assert!(matches!(Hosts::parse(&[]), Err(ClientError::NoUrl)));
    }
}
