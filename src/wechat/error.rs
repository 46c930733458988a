//! Why a call failed.

use super::reply::Fault;
use super::{Api, Cause, DailyLimitReached, Reason, Symptom, errcode, remote_text};

/// A call failed: which one, what is to be done about it, and what happened.
///
/// What happened is for people: it may quote WeChat's message with its `rid`, cleaned of secrets and control
/// characters, and differs from call to call, so it must not become a label.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{api} {text}")]
pub struct Error {
    api: Api,
    reason: Reason,
    errcode: Option<i64>,
    symptom: Option<Symptom>,
    text: Box<str>,
    kind: Kind,
}

/// What the caller does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing was sent.
    Throttled,
    /// The host could not be reached, was late or failed by itself, so another one may answer.
    HostFailed,
    /// WeChat answered; every host would.
    Answered,
}

impl Error {
    pub(super) fn new(api: Api, kind: Kind, reason: Reason, text: impl Into<Box<str>>) -> Self {
        Self {
            api,
            reason,
            errcode: None,
            symptom: None,
            text: text.into(),
            kind,
        }
    }

    pub(super) fn with_symptom(self, symptom: Option<Symptom>) -> Self {
        Self { symptom, ..self }
    }

    pub(super) fn not_sent(api: Api, reached: DailyLimitReached) -> Self {
        let text = format!("was not sent: {reached}");
        Self::new(api, Kind::Throttled, Reason::DailyQuota, text)
    }

    /// A reply that is not what was asked for. `secrets` are what must not be quoted of it.
    pub(super) fn from_fault(api: Api, fault: Fault, secrets: &[&str]) -> Self {
        let unreadable = |what: &str| format!("got a reply that can't be read: {what}");
        let (reason, symptom, text) = match fault {
            Fault::Refused { errcode, errmsg } => {
                return Self::refused(api, errcode, &errmsg, None, secrets);
            }
            Fault::FunctionRefused { errcode, errmsg } => {
                let in_function = Some(Symptom::FunctionRefused);
                return Self::refused(api, errcode, &errmsg, in_function, secrets);
            }
            Fault::Encrypted => (
                Reason::Config,
                Some(Symptom::Encrypted),
                "got an encrypted reply".to_owned(),
            ),
            Fault::WebPage => (
                Reason::Decode,
                Some(Symptom::Intercepted),
                unreadable("it is a web page and not JSON"),
            ),
            Fault::FunctionResult { what, error } => {
                let error = in_brackets(&remote_text::clean(&error, secrets));
                let text = unreadable(&format!("the cloud function's result: {what}{error}"));
                (Reason::Decode, Some(Symptom::FunctionResult), text)
            }
            Fault::Malformed(what) => (Reason::Decode, None, unreadable(&what)),
        };
        Self::new(api, Kind::Answered, reason, text).with_symptom(symptom)
    }

    fn refused(
        api: Api,
        errcode: i64,
        errmsg: &str,
        symptom: Option<Symptom>,
        secrets: &[&str],
    ) -> Self {
        let (errcode, symptom) = match errcode::in_function(errcode, errmsg) {
            Some(inner) => (inner, Some(Symptom::FunctionRefused)),
            None => (errcode, symptom),
        };
        let whose = match symptom {
            Some(_) => "ran the cloud function, which was refused",
            None => "was refused",
        };
        let quoted = in_brackets(&remote_text::clean(errmsg, secrets));
        let reason = errcode::reason(errcode, errmsg, api);
        let text = format!("{whose} with errcode {errcode}{quoted}");
        Self {
            errcode: Some(errcode),
            ..Self::new(api, Kind::Answered, reason, text)
        }
        .with_symptom(symptom)
    }

    /// The same failure for another reason, where the caller knows more than the errcode says.
    pub(super) fn because(self, reason: Reason) -> Self {
        Self { reason, ..self }
    }

    /// What is to be done about it. Where the call was [not sent](Self::throttled): [`Reason::DailyQuota`].
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// WeChat's errcode, where it gave one.
    #[must_use]
    pub fn errcode(&self) -> Option<i64> {
        self.errcode
    }

    /// The call that failed.
    #[must_use]
    pub fn api(&self) -> Api {
        self.api
    }

    /// What its explanation depends on.
    #[must_use]
    pub fn cause(&self) -> Cause {
        Cause {
            reason: self.reason,
            api: Some(self.api),
            errcode: self.errcode.unwrap_or(0),
            symptom: self.symptom,
        }
    }

    /// Whether another token might help. A cloud function that ran was called with a good token; what it is refused
    /// with is not ours.
    #[must_use]
    pub fn token_rejected(&self) -> bool {
        self.reason == Reason::Token && self.symptom != Some(Symptom::FunctionRefused)
    }

    /// Whether WeChat refused it for one courier account alone, as 9300525 ("biz id not bind"): the codes of 物流助手
    /// about accounts and orders.
    #[must_use]
    pub fn concerns_the_account(&self) -> bool {
        let codes = 9_300_501..=9_300_599;
        self.errcode.is_some_and(|errcode| codes.contains(&errcode))
    }

    /// Whether the exporter's own daily limit kept the call back, so that nothing was sent.
    #[must_use]
    pub fn throttled(&self) -> bool {
        self.kind == Kind::Throttled
    }

    /// Whether another host might answer.
    pub(super) fn concerns_the_host(&self) -> bool {
        self.kind == Kind::HostFailed
    }
}

fn in_brackets(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    format!(" ({text})")
}
