//! The order in which WeChat's hosts are tried.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use reqwest::Url;

use crate::proxy;

/// How long calls stay with another host before the preferred one is tried again.
///
/// Long enough that an outage of hours costs few calls and little waiting. Short enough that after a brief failure,
/// calls return before anybody asks why the disaster-recovery host is in use.
const PREFERRED_RETRY: Duration = Duration::from_secs(300);

/// One host that serves WeChat's API.
pub(super) struct Host {
    url: Url,
    /// The host and port, as messages and the status page show them.
    pub(super) name: String,
    /// The name and the proxy on the way to the host, for messages about failed connections.
    pub(super) way: String,
}

impl Host {
    fn new(url: &Url, proxy_from_env: bool) -> Self {
        let name = url.authority().to_owned();
        let way = if proxy_from_env {
            format!("{name}{}", proxy::on_the_way_to(url))
        } else {
            name.clone()
        };
        let url = url.clone();
        Self { url, name, way }
    }

    /// Returns the URL of an API path on this host, with its query.
    pub(super) fn url(&self, path: &str, query: &[(&str, &str)]) -> Url {
        let mut url = self.url.clone();
        url.set_path(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }
}

/// The hosts in order of preference, and the one that currently answers one app.
///
/// Each app finds that out for itself. A failed or late answer may be due to the app itself, such as a list that takes
/// WeChat too long or a cloud function that hangs, and must not drive other apps away from a host that answers them.
pub(super) struct Hosts {
    /// At least one.
    list: Arc<[Host]>,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// An index into `list`: the host that answered last or, during an outage, the one to try next.
    current: usize,
    /// When to try the preferred host again, while another one is in use.
    preferred_due: Option<Instant>,
    /// The host other than the preferred one that was chosen last after a failure.
    other: usize,
    /// Whether no host answered the last call. Until one does, each call tries only one host, so that an outage costs
    /// no more calls than normal operation.
    outage: bool,
}

impl Hosts {
    pub(super) fn new(api_urls: &[Url], proxy_from_env: bool) -> Self {
        let hosts = api_urls.iter().map(|url| Host::new(url, proxy_from_env));
        Self {
            list: hosts.collect(),
            state: Mutex::default(),
        }
    }

    /// Returns the same hosts in their initial state.
    pub(super) fn untried(&self) -> Self {
        Self {
            list: Arc::clone(&self.list),
            state: Mutex::default(),
        }
    }

    pub(super) fn host(&self, index: usize) -> &Host {
        &self.list[index]
    }

    pub(super) fn current(&self) -> &Host {
        let current = self.state.lock().current;
        self.host(current)
    }

    /// Returns the indexes of the hosts that a call tries, in order.
    pub(super) fn order(&self, now: Instant) -> impl Iterator<Item = usize> + use<> {
        let mut state = self.state.lock();
        let (current, count) = (state.current, self.list.len());
        let tries = if state.outage { 1 } else { count };
        let is_probe = !state.outage && state.preferred_due.is_some_and(|due| due <= now);
        if is_probe {
            // Only this call begins with the preferred host. Concurrent calls stay with the current one.
            state.preferred_due = Some(now + PREFERRED_RETRY);
        }
        let others = (current..current + tries).map(move |index| index % count);
        let others = others.filter(move |index| !is_probe || *index != 0);
        is_probe.then_some(0).into_iter().chain(others)
    }

    /// Reports whether calls go to this host because it is the preferred one. What something else answers in its place,
    /// a proxy for example, is then reported. From any other host it is as good as no answer.
    pub(super) fn is_in_normal_use(&self, index: usize) -> bool {
        let state = self.state.lock();
        index == 0 && state.current == 0 && !state.outage
    }

    /// Records that this host answered. The next calls go there.
    pub(super) fn answered(&self, index: usize, now: Instant) {
        let mut state = self.state.lock();
        state.current = index;
        state.outage = false;
        if index == 0 {
            state.preferred_due = None;
        } else {
            state.preferred_due.get_or_insert(now + PREFERRED_RETRY);
        }
    }

    /// Records that all hosts that a call tried failed, `last` as the last one. `tried` is their number.
    ///
    /// If the preferred host took all the time of a call that was to see whether it is back, the one in use stays.
    ///
    /// During an outage, every other call goes to the preferred host, because a firewall may allow no other. In
    /// between, the others take turns.
    pub(super) fn none_answered(&self, tried: usize, last: usize) {
        let mut state = self.state.lock();
        if tried == 1 && last != state.current {
            return;
        }
        let count = self.list.len();
        state.current = match last {
            // The call may have had no time for the next host.
            _ if !state.outage => (last + 1) % count,
            0 if state.other + 1 < count => state.other + 1,
            0 => 1 % count,
            _ => 0,
        };
        if state.current != 0 {
            state.other = state.current;
        }
        state.outage = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Hosts {
        let urls = ["http://a", "http://b:8080/", "https://c"];
        Hosts::new(&urls.map(|url| url.parse().unwrap()), false)
    }

    #[test]
    fn host_that_stood_in_stays_until_the_preferred_one_is_due_again() {
        let hosts = three();
        let start = Instant::now();
        let order = |now| hosts.order(now).collect::<Vec<_>>();
        assert_eq!(order(start), [0, 1, 2]);
        hosts.answered(1, start);
        assert_eq!(hosts.current().name, "b:8080");
        assert_eq!(order(start), [1, 2, 0]);
        let later = start + PREFERRED_RETRY;
        assert_eq!(order(later), [0, 1, 2]);
        assert_eq!(order(later), [1, 2, 0], "one call tries, the others stay");
        hosts.answered(1, later);
        assert_eq!(order(later), [1, 2, 0], "it failed again");
        assert_eq!(order(later + PREFERRED_RETRY), [0, 1, 2]);
        hosts.none_answered(1, 0);
        assert_eq!(order(later), [1, 2, 0], "it took all the time");
        hosts.answered(2, later);
        assert_eq!(order(later + 2 * PREFERRED_RETRY), [0, 2, 1]);
    }

    #[test]
    fn every_other_call_of_an_outage_goes_to_the_preferred_host() {
        let hosts = three();
        let now = Instant::now();
        for tried in [&[0, 1, 2][..], &[0], &[1], &[0], &[2], &[0], &[1], &[0]] {
            assert_eq!(hosts.order(now).collect::<Vec<_>>(), tried);
            hosts.none_answered(tried.len(), tried[tried.len() - 1]);
        }
        hosts.answered(0, now);
        assert_eq!(hosts.order(now).count(), 3);
    }
}
