//! The language of `--demo.fault`: what goes wrong, where, for whom, and from when to when.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::wechat::Api;

/// Something that goes wrong in the simulated API. Written as
/// `[ENDPOINT=]KIND[:APPID][@START[+DURATION]]`; see the [module](super) for the kinds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// The one endpoint that it strikes; `None`: those where WeChat would show it.
    pub api: Option<Api>,
    /// The one Mini Program that it strikes; `None`: all.
    pub appid: Option<String>,
    /// How long after it was set it begins.
    pub start: Duration,
    /// How long it lasts; `None`: until it is cleared.
    pub duration: Option<Duration>,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// WeChat's own errcode, over HTTP 200.
    Errcode(i64),
    /// An HTTP status, 400 to 599, with a page of the gateway.
    Status(u16),
    /// The call is taken and never answered.
    Hang,
    /// The connection is reset without an answer.
    Reset,
    /// The right answer, which takes this long to arrive.
    Slow(Duration),
    /// A web page instead of JSON, over HTTP 200.
    Html,
    /// The connection ends in the middle of the answer.
    Truncated,
    /// HTTP 200 without a body.
    Empty,
    /// `{}`: an account list without the list.
    NoList,
    /// A good account list without an account.
    NoAccounts,
    /// Accounts that are listed twice.
    Duplicates,
    /// Balances that are no longer refreshed.
    Stale,
    /// An answer of 256 MiB.
    Huge,
    /// An encrypted answer, as an app gets it that has API encryption switched on.
    Encrypted,
}

/// A fault that can't be read: one sentence for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FaultError(String);

/// Wrong credentials: WeChat says so where tokens are given out.
const CREDENTIAL_CODES: &[i64] = &[40002, 40013, 40125, 40243, 41002, 41004];

/// What any call can meet.
const COMMON_CODES: &[i64] = &[-1, 40164, 89503];

/// How long a `slow` answer takes where nothing else is said: within the scrape's default timeout of 10 s.
const SLOW: Duration = Duration::from_secs(5);

/// Ten years. Longer is a slip of the pen, and would overflow clocks.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Kinds that are one word.
pub(super) const WORDS: &[(&str, FaultKind)] = &[
    ("hang", FaultKind::Hang),
    // As the exporter sees it; `hang` is how it prints.
    ("timeout", FaultKind::Hang),
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

impl Fault {
    /// A fault of this kind everywhere, for all apps, at once and until it is cleared.
    #[must_use]
    pub const fn new(kind: FaultKind) -> Self {
        Self {
            kind,
            api: None,
            appid: None,
            start: Duration::ZERO,
            duration: None,
        }
    }

    /// The same at this endpoint alone.
    #[must_use]
    pub fn at(self, api: Api) -> Self {
        Self {
            api: Some(api),
            ..self
        }
    }

    /// The same for this Mini Program alone.
    #[must_use]
    pub fn of(self, appid: impl Into<String>) -> Self {
        Self {
            appid: Some(appid.into()),
            ..self
        }
    }

    /// Whether it is there so long after it was set.
    pub(super) fn lasts_at(&self, elapsed: Duration) -> bool {
        elapsed
            .checked_sub(self.start)
            .is_some_and(|since_start| self.duration.is_none_or(|duration| since_start < duration))
    }

    /// Whether it strikes a call to this endpoint by this app; `None`: a caller that nobody knows.
    pub(super) fn strikes(&self, api: Api, appid: Option<&str>) -> bool {
        let whom = self
            .appid
            .as_deref()
            .is_none_or(|struck| appid == Some(struck));
        whom && match self.api {
            Some(struck) => struck == api,
            None => self.shows_at(api),
        }
    }

    /// Whether tokens given out before are refused while it lasts: nobody sees a wrong secret otherwise before
    /// the next token is due.
    pub(super) fn refuses_tokens_of(&self, appid: &str) -> bool {
        let kind =
            matches!(self.kind, FaultKind::Errcode(code) if CREDENTIAL_CODES.contains(&code));
        kind && self.api.is_none() && self.appid.as_deref().is_none_or(|struck| struck == appid)
    }

    fn shows_at(&self, api: Api) -> bool {
        let gives_tokens = matches!(api, Api::StableToken | Api::Token);
        let lists_accounts = matches!(api, Api::AccountGetall | Api::InvokeCloudFunction);
        match self.kind {
            FaultKind::Errcode(code) if COMMON_CODES.contains(&code) => true,
            FaultKind::Errcode(code) => CREDENTIAL_CODES.contains(&code) == gives_tokens,
            FaultKind::NoList
            | FaultKind::NoAccounts
            | FaultKind::Duplicates
            | FaultKind::Stale
            | FaultKind::Encrypted => lists_accounts,
            FaultKind::Status(_)
            | FaultKind::Hang
            | FaultKind::Reset
            | FaultKind::Slow(_)
            | FaultKind::Html
            | FaultKind::Truncated
            | FaultKind::Empty
            | FaultKind::Huge => true,
        }
    }
}

impl FromStr for Fault {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        let (api, rest) = match text.split_once('=') {
            Some((label, rest)) => (Some(api(label)?), rest),
            None => (None, text),
        };
        let (what, when) = match rest.split_once('@') {
            Some((what, when)) => (what, Some(when)),
            None => (rest, None),
        };
        let (kind, appid) = match what.split_once(':') {
            Some((kind, appid)) => (kind, app(appid)?),
            None => (what, None),
        };
        let (start, duration) = match when.map(|when| when.split_once('+').ok_or(when)) {
            None => (Duration::ZERO, None),
            Some(Err(start)) => (span(start)?, None),
            Some(Ok((start, duration))) => (span(start)?, Some(span(duration)?)),
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
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        if let Some((_, kind)) = WORDS.iter().find(|(word, _)| *word == text) {
            return Ok(*kind);
        }
        if let Some(takes) = text.strip_prefix("slow-") {
            return Ok(Self::Slow(span(takes)?));
        }
        match text.parse::<i64>() {
            Ok(0) => Err(FaultError("errcode 0 is no fault".to_owned())),
            Ok(status @ 400..=599) => Ok(Self::Status(status as u16)),
            Ok(number @ 1..1000) => Err(FaultError(format!(
                "{number} is neither an HTTP status from 400 to 599 nor an errcode"
            ))),
            Ok(errcode) => Ok(Self::Errcode(errcode)),
            Err(_) => {
                let words: Vec<_> = WORDS.iter().map(|(word, _)| *word).collect();
                Err(FaultError(format!(
                    "unknown fault {text:?}: expected an errcode such as 45009, an HTTP status such as 502, or one \
                     of {}",
                    words.join(", ")
                )))
            }
        }
    }
}

fn api(label: &str) -> Result<Api, FaultError> {
    Api::from_label(label).ok_or_else(|| {
        let labels: Vec<_> = Api::ALL.iter().map(|known| known.as_str()).collect();
        FaultError(format!(
            "unknown endpoint {label:?}: expected one of {}",
            labels.join(", ")
        ))
    })
}

fn app(text: &str) -> Result<Option<String>, FaultError> {
    let named = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if text == "*" {
        Ok(None)
    } else if (1..=64).contains(&text.len()) && text.chars().all(named) {
        Ok(Some(text.to_owned()))
    } else {
        Err(FaultError(format!(
            "{text:?} is no appid: expected up to 64 of A-Z a-z 0-9 _ -, or * for all"
        )))
    }
}

/// Reads `90s`, `1m30s`, `250ms`.
fn span(text: &str) -> Result<Duration, FaultError> {
    let unreadable = || {
        FaultError(format!(
            "{text:?} is no duration: expected for example 30s, 1m30s or 250ms"
        ))
    };
    let mut sum = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() || text.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, tail) = tail.split_at(letters);
        let number: u64 = number.parse().map_err(|_| unreadable())?;
        let millis = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(unreadable()),
        };
        sum = number
            .checked_mul(millis)
            .and_then(|millis| sum.checked_add(Duration::from_millis(millis)))
            .filter(|sum| *sum <= LONGEST)
            .ok_or_else(|| FaultError(format!("{text:?} is longer than ten years")))?;
        rest = tail;
    }
    Ok(sum)
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(api) = self.api {
            write!(f, "{api}=")?;
        }
        self.kind.fmt(f)?;
        if let Some(appid) = &self.appid {
            write!(f, ":{appid}")?;
        }
        if !self.start.is_zero() || self.duration.is_some() {
            write!(f, "@{}", Span(self.start))?;
        }
        if let Some(duration) = self.duration {
            write!(f, "+{}", Span(duration))?;
        }
        Ok(())
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Errcode(code) => write!(f, "{code}"),
            Self::Status(status) => write!(f, "{status}"),
            Self::Slow(takes) if *takes != SLOW => write!(f, "slow-{}", Span(*takes)),
            kind => f.write_str(
                WORDS
                    .iter()
                    .find(|(_, known)| known == kind)
                    .map_or("", |(word, _)| word),
            ),
        }
    }
}

/// A duration as the language writes it, in whole milliseconds.
struct Span(Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millis) = (self.0.as_secs(), self.0.subsec_millis());
        if seconds == 0 && millis == 0 {
            return f.write_str("0s");
        }
        for (number, unit) in [
            (seconds / 3600, "h"),
            (seconds / 60 % 60, "m"),
            (seconds % 60, "s"),
            (u64::from(millis), "ms"),
        ] {
            if number > 0 {
                write!(f, "{number}{unit}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fault(text: &str) -> Fault {
        text.parse().unwrap()
    }

    fn refused(text: &str) -> String {
        text.parse::<Fault>().unwrap_err().to_string()
    }

    #[test]
    fn every_part_of_a_fault_is_read() {
        let read = fault("stable_token=40125:wx0000000000000001@10s+1m30s");
        assert_eq!(
            read,
            Fault {
                kind: FaultKind::Errcode(40125),
                api: Some(Api::StableToken),
                appid: Some("wx0000000000000001".to_owned()),
                start: Duration::from_secs(10),
                duration: Some(Duration::from_secs(90)),
            }
        );
        assert_eq!(fault("45009@30s").start, Duration::from_secs(30));
        assert_eq!(fault("-604101").kind, FaultKind::Errcode(-604_101));
        assert_eq!(fault("500").kind, FaultKind::Status(500));
        assert_eq!(fault("timeout"), fault("hang:*@0s"));
        assert_eq!(
            fault("slow-250ms").kind,
            FaultKind::Slow(Duration::from_millis(250))
        );
    }

    #[test]
    fn fault_that_cannot_be_read_is_refused_in_one_sentence() {
        for (text, says) in [
            ("", "unknown fault \"\""),
            ("explode", "unknown fault \"explode\""),
            ("0", "errcode 0 is no fault"),
            ("200", "200 is neither"),
            ("getall=reset", "unknown endpoint \"getall\""),
            ("reset:", "\"\" is no appid"),
            ("reset:微信", "\"微信\" is no appid"),
            ("reset@", "\"\" is no duration"),
            ("reset@10", "\"10\" is no duration"),
            ("reset@1m+", "\"\" is no duration"),
            ("reset@-1s", "\"-1s\" is no duration"),
            ("reset@1é", "\"1é\" is no duration"),
            ("reset@99999999h", "longer than ten years"),
            ("reset@18446744073709551615h", "longer than ten years"),
            ("slow-", "\"\" is no duration"),
        ] {
            let sentence = refused(text);
            assert!(sentence.contains(says), "{text}: {sentence}");
            assert!(!sentence.contains('\n'), "{sentence}");
        }
    }

    #[test]
    fn fault_begins_at_its_start_and_ends_after_its_duration() {
        let fault = fault("reset@10s+20s");
        for (second, there) in [(0, false), (9, false), (10, true), (29, true), (30, false)] {
            assert_eq!(
                fault.lasts_at(Duration::from_secs(second)),
                there,
                "{second}"
            );
        }
        assert!(super::Fault::new(FaultKind::Reset).lasts_at(LONGEST));
    }

    #[test]
    fn errcode_strikes_where_wechat_would_say_it() {
        let app = Some("wx1");
        let strikes = |text: &str, api| fault(text).strikes(api, app);
        assert!(strikes("40001", Api::AccountGetall));
        assert!(!strikes("40001", Api::StableToken));
        assert!(strikes("40125", Api::StableToken));
        assert!(!strikes("40125", Api::AccountGetall));
        assert!(strikes("40164", Api::StableToken));
        assert!(strikes("40164", Api::AccountGetall));
        assert!(!strikes("duplicates", Api::DeliveryGetall));
        assert!(strikes("stable_token=40001", Api::StableToken));
        assert!(!strikes("stable_token=40001", Api::AccountGetall));
    }

    #[test]
    fn fault_of_one_app_leaves_the_others_alone() {
        let fault = fault("reset:wx1");
        assert!(fault.strikes(Api::AccountGetall, Some("wx1")));
        assert!(!fault.strikes(Api::AccountGetall, Some("wx2")));
        assert!(!fault.strikes(Api::AccountGetall, None));
    }

    fn any_fault() -> impl Strategy<Value = Fault> {
        let millis = 0..=LONGEST.as_millis() as u64;
        let span = millis.prop_map(Duration::from_millis).boxed();
        let errcode = prop_oneof![i64::MIN..0, 1000..=i64::MAX];
        let kind = prop_oneof![
            errcode.prop_map(FaultKind::Errcode),
            (400..600_u16).prop_map(FaultKind::Status),
            span.clone().prop_map(FaultKind::Slow),
            proptest::sample::select(WORDS).prop_map(|(_, kind)| kind),
        ];
        let api = proptest::option::of(proptest::sample::select(Api::ALL));
        let appid = proptest::option::of("[A-Za-z0-9_-]{1,64}");
        (kind, api, appid, span.clone(), proptest::option::of(span)).prop_map(
            |(kind, api, appid, start, duration)| Fault {
                kind,
                api,
                appid,
                start,
                duration,
            },
        )
    }

    proptest! {
        #[test]
        fn fault_reads_as_it_was_written(fault in any_fault()) {
            prop_assert_eq!(fault.to_string().parse(), Ok(fault));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC{0,40}") {
            let _ = text.parse::<Fault>();
        }

        #[test]
        fn nothing_nearly_right_makes_the_reader_panic(text in "[a-z0-9:=@+*é.-]{0,24}(ms|s|m|h|@|\\+)?") {
            if let Ok(fault) = text.parse::<Fault>() {
                prop_assert_eq!(fault.to_string().parse(), Ok(fault));
            }
        }
    }
}
