//! The language of `--demo.fault`: what goes wrong, where, for which app, and when.

use std::str::FromStr;
use std::time::Duration;

use crate::config::duration;
use crate::wechat::Api;

/// The help text of `--demo.fault`.
pub(super) const HELP: &str = "\
Fault to simulate; repeatable

[API=]KIND[:APPID][@START[+DURATION]], for example 45009@30s, 40001:wx0000000000000001@10s+20s, \
stable_token=-1 or timeout@1m+30s. The first fault that applies to a call takes effect.

KIND is one of WeChat's errcodes (-1, 40001, 40164, 45009, 48001, ...), an HTTP status (400 to 599), or a word: \
timeout (never answered), reset (connection closed without an answer), slow or slow-8s (the answer takes 5s, or as \
long as given), html (a web page), truncated (ends in the middle), empty (no body), no-list ({}), no-accounts (an \
empty list), duplicates (accounts listed twice), stale (balances no longer refreshed), huge (256 MiB), encrypted (API \
encryption is on).

API is account_getall, invoke_cloud_function, stable_token, token, delivery_getall, quota_get or \
api_quota_get; without it the fault applies where WeChat would show it. Times count from the start: 30s, 1m30s, \
250ms.";

/// A fault to simulate: `[API=]KIND[:APPID][@START[+DURATION]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub(super) kind: FaultKind,
    /// `None` for every API where WeChat would show the fault.
    api: Option<Api>,
    /// `None` for every Mini Program.
    appid: Option<String>,
    /// The time from the start of the simulation to the start of the fault.
    pub(super) start: Duration,
    /// `None` if the fault never ends.
    duration: Option<Duration>,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FaultKind {
    /// An errcode over HTTP 200.
    Errcode(i64),
    /// An HTTP status from 400 to 599 with a gateway's page.
    Status(u16),
    /// The call is never answered.
    Timeout,
    /// The connection is closed without an answer.
    Reset,
    /// The correct answer after this delay.
    Slow(Duration),
    /// A portal's web page over HTTP 200.
    Html,
    /// The connection ends in the middle of the answer.
    Truncated,
    /// HTTP 200 without a body.
    Empty,
    /// `{}`, which is not an empty list.
    NoList,
    /// A list without accounts.
    NoAccounts,
    /// Three accounts are listed twice, first as they were a day earlier.
    Duplicates,
    /// Balances are no longer refreshed.
    Stale,
    /// An answer of 256 MiB.
    Huge,
    /// The answer of an app with API encryption (API 安全) switched on.
    Encrypted,
}

const WORDS: [(&str, FaultKind); 12] = [
    ("timeout", FaultKind::Timeout),
    ("reset", FaultKind::Reset),
    ("slow", FaultKind::Slow(SLOW)),
    ("html", FaultKind::Html),
    ("truncated", FaultKind::Truncated),
    ("empty", FaultKind::Empty),
    ("no-list", FaultKind::NoList),
    ("no-accounts", FaultKind::NoAccounts),
    ("duplicates", FaultKind::Duplicates),
    ("stale", FaultKind::Stale),
    ("huge", FaultKind::Huge),
    ("encrypted", FaultKind::Encrypted),
];

/// Shorter than a scrape's default timeout of 10 s.
const SLOW: Duration = Duration::from_secs(5);

/// Errcodes of wrong credentials, which WeChat returns where it issues tokens.
const CREDENTIAL_CODES: [i64; 6] = [40002, 40013, 40125, 40243, 41002, 41004];

/// Errcodes that any call may get.
const COMMON_CODES: [i64; 3] = [-1, 40164, 89503];

impl Fault {
    /// Reports whether the fault applies to a call. `appid`: the caller's, if known. `elapsed`: time since the start.
    pub(super) fn applies(&self, api: Api, appid: Option<&str>, elapsed: Duration) -> bool {
        let at_api = match self.api {
            Some(only) => only == api,
            None => self.kind.shows_at(api),
        };
        at_api && self.concerns(appid) && self.lasts_at(elapsed)
    }

    /// Reports whether tokens issued earlier are rejected too. Otherwise a wrong secret would show only when the next
    /// token is due.
    pub(super) fn rejects_tokens(&self, appid: &str, elapsed: Duration) -> bool {
        self.api.is_none()
            && self.kind.is_about_credentials()
            && self.concerns(Some(appid))
            && self.lasts_at(elapsed)
    }

    fn concerns(&self, appid: Option<&str>) -> bool {
        self.appid.is_none() || self.appid.as_deref() == appid
    }

    fn lasts_at(&self, elapsed: Duration) -> bool {
        let Some(since_start) = elapsed.checked_sub(self.start) else {
            return false;
        };
        self.duration.is_none_or(|duration| since_start < duration)
    }
}

impl FaultKind {
    fn is_about_credentials(self) -> bool {
        matches!(self, Self::Errcode(code) if CREDENTIAL_CODES.contains(&code))
    }

    fn shows_at(self, api: Api) -> bool {
        let gives_tokens = matches!(api, Api::StableToken | Api::Token);
        match self {
            Self::Errcode(code) if COMMON_CODES.contains(&code) => true,
            Self::Errcode(_) => self.is_about_credentials() == gives_tokens,
            Self::NoList | Self::NoAccounts | Self::Duplicates | Self::Stale | Self::Encrypted => {
                matches!(api, Api::AccountGetall | Api::InvokeCloudFunction)
            }
            _ => true,
        }
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (api, rest) = match text.split_once('=') {
            Some((api, rest)) => (Some(read_api(api)?), rest),
            None => (None, text),
        };
        let (rest, times) = match rest.split_once('@') {
            Some((rest, times)) => (rest, Some(times)),
            None => (rest, None),
        };
        let (kind, appid) = match rest.split_once(':') {
            Some((kind, appid)) => (kind, Some(appid.to_owned())),
            None => (rest, None),
        };
        let (start, duration) = match times.map(|times| times.split_once('+').ok_or(times)) {
            None => (Duration::ZERO, None),
            Some(Err(start)) => (read_duration(start)?, None),
            Some(Ok((start, duration))) => (read_duration(start)?, Some(read_duration(duration)?)),
        };
        Ok(Self {
            kind: kind.parse()?,
            api,
            appid,
            start,
            duration,
        })
    }
}

impl FromStr for FaultKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((_, kind)) = WORDS.iter().find(|(word, _)| *word == text) {
            return Ok(*kind);
        }
        if let Some(duration) = text.strip_prefix("slow-") {
            return Ok(Self::Slow(read_duration(duration)?));
        }
        match text.parse::<i64>() {
            Ok(status @ 400..=599) => Ok(Self::Status(status as u16)),
            Ok(number @ 0..1000) => Err(format!(
                "{number} is neither an HTTP status from 400 to 599 nor an errcode"
            )),
            Ok(errcode) => Ok(Self::Errcode(errcode)),
            Err(_) => Err(format!(
                "unknown fault {text:?}: expected an errcode such as 45009, an HTTP status such as 502, or one of {}",
                WORDS.map(|(word, _)| word).join(", ")
            )),
        }
    }
}

fn read_api(label: &str) -> Result<Api, String> {
    let known = Api::ALL.iter().find(|api| api.as_str() == label);
    known.copied().ok_or_else(|| {
        let labels: Vec<_> = Api::ALL.iter().map(|api| api.as_str()).collect();
        format!(
            "unknown API {label:?}: expected one of {}",
            labels.join(", ")
        )
    })
}

fn read_duration(text: &str) -> Result<Duration, String> {
    duration(text).map_err(|problem| format!("{text:?} {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn fault(text: &str) -> Fault {
        text.parse().unwrap()
    }

    #[test]
    fn help_names_every_word_and_api() {
        for (word, _) in WORDS {
            assert!(HELP.contains(word), "{word}");
        }
        for api in Api::ALL {
            assert!(HELP.contains(api.as_str()), "{api}");
        }
    }

    #[test]
    fn fault_applies_to_its_app_and_api_in_its_time() {
        let app = Some("wx0000000000000001");
        let tokens = fault("stable_token=-1:wx0000000000000001@1m+1m");
        assert!(tokens.applies(Api::StableToken, app, MINUTE));
        assert!(!tokens.applies(Api::AccountGetall, app, MINUTE));
        assert!(!tokens.applies(Api::StableToken, Some("wx2"), MINUTE));
        assert!(!tokens.applies(Api::StableToken, None, MINUTE));
        assert!(!tokens.applies(Api::StableToken, app, Duration::from_secs(59)));
        assert!(!tokens.applies(Api::StableToken, app, MINUTE * 2));
        assert_eq!(
            fault("slow-1m500ms").kind,
            FaultKind::Slow(MINUTE + SLOW / 10)
        );
    }

    #[test]
    fn fault_without_an_api_applies_where_wechat_would_show_it() {
        let applies = |text: &str, api| fault(text).applies(api, None, MINUTE);
        for everywhere in ["-1", "40164", "502", "reset", "html"] {
            assert!(
                Api::ALL.iter().all(|api| applies(everywhere, *api)),
                "{everywhere}"
            );
        }
        assert!(applies("40125", Api::StableToken) && !applies("40125", Api::AccountGetall));
        assert!(fault("40125").rejects_tokens("wx1", MINUTE));
        assert!(applies("45009", Api::AccountGetall) && !applies("45009", Api::StableToken));
        assert!(!fault("45009").rejects_tokens("wx1", MINUTE));
        assert!(applies("stale", Api::InvokeCloudFunction) && !applies("stale", Api::QuotaGet));
    }

    #[test]
    fn fault_that_is_not_understood_is_refused_with_what_is_wrong() {
        for (text, said) in [
            ("explode", "unknown fault \"explode\": expected an errcode"),
            ("0", "0 is neither an HTTP status"),
            (
                "list=-1",
                "unknown API \"list\": expected one of account_getall",
            ),
            ("-1@soon", "\"soon\" is not a duration"),
            ("-1@1s+", "\"\" is not a duration"),
            ("slow-99999999999s", "must be 0 or from a millisecond"),
        ] {
            let error = text.parse::<Fault>().unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
