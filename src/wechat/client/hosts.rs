//! Which of WeChat's hosts is asked first.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::Url;

use super::ClientError;
use crate::proxy::Proxy;

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
    /// On the way there.
    proxy: Option<Proxy>,
}

/// The hosts in order of preference, and which of them answers one app.
///
/// Each app finds that out for itself: an answer that fails or is late may be the app's own, a list that takes WeChat too
/// long or a cloud function that hangs, and must not lead other apps away from a host that answers them.
#[derive(Debug)]
pub(super) struct Hosts {
    /// At least one.
    list: Arc<[Host]>,
    current: AtomicUsize,
    /// When the preferred host may be tried again; `None` while it is in use.
    preferred_due: Mutex<Option<Instant>>,
    /// No host answered the last call: the next ones try one host each, so that an outage costs as many calls as
    /// health does. Counts them, from one of [`Lone`]'s; 0: the last call was answered.
    lone_tries: AtomicUsize,
}

/// Where the calls begin that try one host each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lone {
    /// All hosts failed: the one that answered last is the most likely to be back.
    Current = 1,
    /// There was no time for the others: now it is another one's turn.
    Other = 2,
}

/// A host that one call tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Try {
    pub(super) index: usize,
    /// It is tried to see whether it is back, while another one answers.
    pub(super) on_trial: bool,
}

impl Host {
    fn parse(position: usize, api_url: &str, proxy_from_env: bool) -> Result<Self, ClientError> {
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
        let proxy = proxy_from_env.then(|| Proxy::on_the_way_to(&url)).flatten();
        Ok(Self { url, name, proxy })
    }

    /// The host and how it is reached, for sentences about a way that failed.
    pub(super) fn way(&self) -> String {
        match self.proxy {
            Some(proxy) => format!("{} {proxy}", self.name),
            None => self.name.clone(),
        }
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
    pub(super) fn parse(api_urls: &[String], proxy_from_env: bool) -> Result<Self, ClientError> {
        let list = api_urls.iter().enumerate();
        let list = list
            .map(|(position, url)| Host::parse(position, url, proxy_from_env))
            .collect::<Result<Vec<_>, _>>()?;
        if list.is_empty() {
            return Err(ClientError::NoUrl);
        }
        Ok(Self::of(list.into()))
    }

    fn of(list: Arc<[Host]>) -> Self {
        Self {
            list,
            current: AtomicUsize::new(0),
            preferred_due: Mutex::new(None),
            lone_tries: AtomicUsize::new(0),
        }
    }

    /// The same hosts, of which nothing is known yet.
    pub(super) fn untried(&self) -> Self {
        Self::of(Arc::clone(&self.list))
    }

    pub(super) fn need_tls(&self) -> bool {
        self.list.iter().any(|host| host.url.scheme() == "https")
    }

    pub(super) fn current(&self) -> &Host {
        // Only indexes of the list are ever stored.
        &self.list[self.current.load(Ordering::Relaxed)]
    }

    /// The order in which one call tries the hosts, each once. While none answers it is one alone: by turns the one that
    /// answered last and one of the others.
    pub(super) fn order(&self, now: Instant) -> Vec<Try> {
        let current = self.current.load(Ordering::Relaxed);
        let chosen = |index| Try {
            index,
            on_trial: false,
        };
        if let Some(lone) = self.next_lone_try() {
            let others = self.list.len() - 1;
            if lone % 2 == Lone::Current as usize || others == 0 {
                return vec![chosen(current)];
            }
            // The nth of the others, after `current` in a ring.
            let nth = (lone / 2 - 1) % others;
            return vec![chosen((current + 1 + nth) % self.list.len())];
        }
        let preferred_is_due = current != 0 && self.claim_preferred(now);
        let trial = preferred_is_due.then_some(Try {
            index: 0,
            on_trial: true,
        });
        let others = (1..self.list.len()).chain([0]);
        let others = others.filter(|index| *index != current && !(preferred_is_due && *index == 0));
        let order = trial.into_iter().chain([current].map(chosen));
        order.chain(others.map(chosen)).collect()
    }

    /// The number of this try, if calls try one host each.
    fn next_lone_try(&self) -> Option<usize> {
        let next = |tries| (tries > 0).then(|| tries + 1);
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        self.lone_tries.fetch_update(set, fetch, next).ok()
    }

    pub(super) fn host(&self, index: usize) -> &Host {
        &self.list[index]
    }

    /// This one answered: the next calls go there.
    pub(super) fn answered(&self, index: usize, now: Instant) {
        self.lone_tries.store(0, Ordering::Relaxed);
        if self.current.swap(index, Ordering::Relaxed) != index {
            let due = (index != 0).then(|| now + PREFERRED_RETRY);
            *self.lock() = due;
        }
    }

    /// Every host that a call tried failed.
    pub(super) fn none_answered(&self, begin: Lone) {
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        // Unless they are tried one at a time already.
        let _ = self
            .lone_tries
            .compare_exchange(0, begin as usize, set, fetch);
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
        Hosts::parse(&urls, false).unwrap()
    }

    fn order(hosts: &Hosts, now: Instant) -> Vec<usize> {
        let order = hosts.order(now);
        order.iter().map(|tried| tried.index).collect()
    }

    #[test]
    fn preferred_host_is_asked_first() {
        let hosts = three();
        assert_eq!(order(&hosts, Instant::now()), [0, 1, 2]);
        assert_eq!(hosts.current().name, "a");
    }

    #[test]
    fn host_that_stood_in_stays_until_the_preferred_one_is_due_again() {
        let hosts = three();
        let start = Instant::now();
        hosts.answered(1, start);
        assert_eq!(hosts.current().name, "b:8080");
        assert_eq!(order(&hosts, start), [1, 2, 0]);
        let later = start + PREFERRED_RETRY;
        assert_eq!(order(&hosts, later), [0, 1, 2]);
        assert_eq!(
            order(&hosts, later),
            [1, 2, 0],
            "one call tries, the others stay"
        );
        hosts.answered(1, later);
        assert_eq!(order(&hosts, later), [1, 2, 0], "it failed again");
        assert_eq!(order(&hosts, later + PREFERRED_RETRY), [0, 1, 2]);
        hosts.answered(0, later + PREFERRED_RETRY);
        assert_eq!(order(&hosts, later + PREFERRED_RETRY), [0, 1, 2]);
    }

    #[test]
    fn hosts_are_tried_one_at_a_time_while_none_answers() {
        let hosts = three();
        let now = Instant::now();
        let next = |count| -> Vec<usize> { (0..count).flat_map(|_| order(&hosts, now)).collect() };
        hosts.none_answered(Lone::Current);
        assert_eq!(next(2), [0, 1]);
        hosts.none_answered(Lone::Current);
        assert_eq!(next(4), [0, 2, 0, 1], "another failure changes nothing");
        hosts.answered(2, now);
        assert_eq!(order(&hosts, now), [2, 1, 0]);
        hosts.none_answered(Lone::Other);
        assert_eq!(next(4), [0, 2, 1, 2]);
    }

    #[test]
    fn only_host_is_tried_while_none_answers() {
        let hosts = Hosts::parse(&["http://a".to_owned()], false).unwrap();
        for begin in [Lone::Current, Lone::Other] {
            hosts.none_answered(begin);
            for _ in 0..3 {
                assert_eq!(order(&hosts, Instant::now()), [0]);
            }
        }
    }

    #[test]
    fn preferred_host_is_on_trial_while_another_one_answers() {
        let hosts = three();
        let start = Instant::now();
        hosts.answered(1, start);
        let trials = |now| -> Vec<bool> {
            let order = hosts.order(now);
            order.iter().map(|tried| tried.on_trial).collect()
        };
        assert_eq!(trials(start), [false, false, false]);
        assert_eq!(trials(start + PREFERRED_RETRY), [true, false, false]);
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
            let error = Hosts::parse(&[url.to_owned()], false).unwrap_err();
            assert!(!error.to_string().contains("hunter2"));
        }
        assert!(matches!(Hosts::parse(&[], false), Err(ClientError::NoUrl)));
    }
}
