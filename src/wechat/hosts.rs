//! Which of WeChat's hosts is asked first.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
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

/// The hosts in order of preference, and which of them answers one app.
///
/// Each app finds that out for itself: an answer that fails or is late may be the app's own, a list that takes WeChat
/// too long or a cloud function that hangs, and must not lead other apps away from a host that answers them.
#[derive(Debug)]
pub(super) struct Hosts {
    /// At least one.
    list: Arc<[Host]>,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// An index of the list: the host that answered last, or during an outage the one whose turn it is.
    current: usize,
    /// When the preferred host may be tried again; `None` while it is in use.
    preferred_due: Option<Instant>,
    /// No host answered the last call: until one does, each call tries one, so that an outage costs as many calls as
    /// health does.
    outage: bool,
}

/// The hosts that one call tries, by index, one after the other.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) hosts: Vec<usize>,
    /// The first is tried to see whether it is back, while another one answers.
    pub(super) on_trial: bool,
}

impl Hosts {
    pub(super) fn parse(api_urls: &[String], proxy_from_env: bool) -> Result<Self, ClientError> {
        let list = api_urls.iter().enumerate();
        let list = list
            .map(|(position, url)| Host::parse(position, url, proxy_from_env))
            .collect::<Result<Arc<[_]>, _>>()?;
        if list.is_empty() {
            return Err(ClientError::NoUrl);
        }
        Ok(Self {
            list,
            state: Mutex::default(),
        })
    }

    /// The same hosts, of which nothing is known yet.
    pub(super) fn untried(&self) -> Self {
        Self {
            list: Arc::clone(&self.list),
            state: Mutex::default(),
        }
    }

    pub(super) fn need_tls(&self) -> bool {
        self.list.iter().any(|host| host.url.scheme() == "https")
    }

    pub(super) fn host(&self, index: usize) -> &Host {
        &self.list[index]
    }

    pub(super) fn current(&self) -> &Host {
        let current = self.state.lock().current;
        self.host(current)
    }

    pub(super) fn order(&self, now: Instant) -> Order {
        let mut state = self.state.lock();
        let current = state.current;
        if state.outage {
            return Order {
                hosts: vec![current],
                on_trial: false,
            };
        }
        let on_trial = state.preferred_due.is_some_and(|due| due <= now);
        let mut hosts = vec![current];
        hosts.extend((1..self.list.len()).filter(|index| *index != current));
        if on_trial {
            // This call alone tries it; others at the same time stay where they are.
            state.preferred_due = Some(now + PREFERRED_RETRY);
            hosts.insert(0, 0);
        } else if current != 0 {
            hosts.push(0);
        }
        Order { hosts, on_trial }
    }

    /// This one answered: the next calls go there.
    pub(super) fn answered(&self, index: usize, now: Instant) {
        let mut state = self.state.lock();
        if index == 0 {
            state.preferred_due = None;
        } else if state.outage || state.current != index || state.preferred_due.is_none() {
            state.preferred_due = Some(now + PREFERRED_RETRY);
        }
        state.current = index;
        state.outage = false;
    }

    /// Every host that a call tried failed. `out_of_time`: there was no time for the others.
    pub(super) fn none_answered(&self, out_of_time: bool) {
        let mut state = self.state.lock();
        if state.outage || out_of_time {
            state.current = (state.current + 1) % self.list.len();
        }
        state.outage = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Hosts {
        let urls = ["http://a", "http://b:8080/", "https://c/base/"].map(str::to_owned);
        Hosts::parse(&urls, false).unwrap()
    }

    #[test]
    fn host_that_stood_in_stays_until_the_preferred_one_is_due_again() {
        let hosts = three();
        let start = Instant::now();
        let order = |now| hosts.order(now).hosts;
        assert_eq!(order(start), [0, 1, 2]);
        hosts.answered(1, start);
        assert_eq!(hosts.current().name, "b:8080");
        assert_eq!(order(start), [1, 2, 0]);
        let later = start + PREFERRED_RETRY;
        let trial = hosts.order(later);
        assert_eq!((trial.hosts, trial.on_trial), (vec![0, 1, 2], true));
        assert_eq!(order(later), [1, 2, 0], "one call tries, the others stay");
        hosts.answered(1, later);
        assert_eq!(order(later), [1, 2, 0], "it failed again");
        assert_eq!(order(later + PREFERRED_RETRY), [0, 1, 2]);
        hosts.answered(0, later + PREFERRED_RETRY);
        assert_eq!(order(later + PREFERRED_RETRY), [0, 1, 2]);
    }

    #[test]
    fn hosts_are_tried_one_at_a_time_while_none_answers() {
        let hosts = three();
        let now = Instant::now();
        let next = |out_of_time| {
            hosts.none_answered(out_of_time);
            hosts.order(now).hosts
        };
        assert_eq!(next(false), [0], "the one that answered last comes first");
        assert_eq!([next(false), next(false), next(false)], [[1], [2], [0]]);
        hosts.answered(2, now);
        assert_eq!(hosts.order(now).hosts, [2, 1, 0]);
        assert_eq!(next(true), [0], "there was no time to try another one");
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
