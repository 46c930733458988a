//! The record of every call that reached the simulated API.

use std::collections::{HashMap, VecDeque};
use std::time::SystemTime;

use crate::clock::ChinaDay;
use crate::wechat::Api;

/// Calls kept in full; older ones are counted only.
const KEPT: usize = 10_000;

/// Paths counted apart; whoever asks for more different ones shares the last count.
const PATHS: usize = 1_000;

/// How much of a request's body is kept. Unit: bytes.
const BODY: usize = 4 * 1024;

/// One call as it arrived, whatever the answer.
///
/// Nothing in it is secret: the simulation made the tokens itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// When, by the simulation's clock.
    pub at: SystemTime,
    /// `GET`, `POST`.
    pub method: String,
    /// The path without the query.
    pub path: String,
    /// The Mini Program that the token or the request names; `None`: nobody's.
    pub appid: Option<String>,
    /// `access_token` or `cloudbase_access_token` of the query.
    pub token: Option<String>,
    /// The body, as far as it is UTF-8, cut at 4 KiB.
    pub body: String,
}

#[derive(Debug, Default)]
pub(super) struct CallLog {
    recent: VecDeque<Call>,
    by_path: HashMap<String, u64>,
    /// What WeChat would say was used today.
    used: HashMap<(usize, Api), (ChinaDay, u64)>,
}

impl CallLog {
    pub(super) fn record(&mut self, mut call: Call, used: Option<(usize, Api)>) {
        let mut end = call.body.len().min(BODY);
        while !call.body.is_char_boundary(end) {
            end -= 1;
        }
        call.body.truncate(end);
        if self.by_path.len() < PATHS || self.by_path.contains_key(&call.path) {
            *self.by_path.entry(call.path.clone()).or_default() += 1;
        }
        if let Some(key) = used {
            let today = ChinaDay::at(call.at);
            let (day, count) = self.used.entry(key).or_insert((today, 0));
            if *day != today {
                (*day, *count) = (today, 0);
            }
            *count += 1;
        }
        if self.recent.len() == KEPT {
            self.recent.pop_front();
        }
        self.recent.push_back(call);
    }

    pub(super) fn recent(&self) -> Vec<Call> {
        self.recent.iter().cloned().collect()
    }

    pub(super) fn of_path(&self, path: &str) -> u64 {
        self.by_path.get(path).copied().unwrap_or_default()
    }

    pub(super) fn used(&self, app: usize, api: Api, at: SystemTime) -> u64 {
        match self.used.get(&(app, api)) {
            Some((day, count)) if *day == ChinaDay::at(at) => *count,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn call(path: &str, seconds: u64, body: String) -> Call {
        Call {
            at: UNIX_EPOCH + Duration::from_secs(seconds),
            method: "GET".to_owned(),
            path: path.to_owned(),
            appid: None,
            token: None,
            body,
        }
    }

    #[test]
    fn log_stays_bounded_and_counts_go_on() {
        let mut log = CallLog::default();
        for number in 0..KEPT as u64 + 5 {
            log.record(call("/a", number, String::new()), None);
        }
        assert_eq!(log.recent().len(), KEPT);
        assert_eq!(log.of_path("/a"), KEPT as u64 + 5);
        for number in 0..2 * PATHS {
            log.record(call(&format!("/{number}"), 0, String::new()), None);
        }
        assert_eq!(log.by_path.len(), PATHS);
    }

    #[test]
    fn long_body_is_cut_at_a_characters_end() {
        let mut log = CallLog::default();
        log.record(call("/a", 0, "号".repeat(BODY)), None);
        assert_eq!(log.recent()[0].body, "号".repeat(BODY / 3));
    }

    #[test]
    fn use_of_an_api_begins_anew_at_midnight_in_china() {
        let mut log = CallLog::default();
        let key = (0, Api::AccountGetall);
        let used = |log: &CallLog, s| log.used(0, key.1, UNIX_EPOCH + Duration::from_secs(s));
        log.record(call("/a", 0, String::new()), Some(key));
        log.record(call("/a", 1, String::new()), Some(key));
        assert_eq!(used(&log, 16 * 3600 - 1), 2);
        assert_eq!(used(&log, 16 * 3600), 0);
        log.record(call("/a", 16 * 3600, String::new()), Some(key));
        assert_eq!(used(&log, 16 * 3600), 1);
    }
}
