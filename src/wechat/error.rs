//! Why a call failed.

use super::errcode::reason;
use super::reply::Fault;
use super::{Api, Cause, DailyLimitReached, Reason, Symptom, remote_text};

/// A call failed: which one, what is to be done about it, and what happened.
///
/// What happened is for people: it may quote WeChat's message with its `rid`, cleaned of secrets and control
/// characters, and differs from call to call, so it must not become a label.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{text}")]
pub struct Error {
    cause: Cause,
    text: Box<str>,
}

impl Error {
    /// `text` goes on after the call's name.
    pub(super) fn new(api: Api, reason: Reason, symptom: Option<Symptom>, text: &str) -> Self {
        Self {
            cause: Cause {
                reason,
                api: Some(api),
                errcode: 0,
                symptom,
            },
            text: format!("{api} {text}").into(),
        }
    }

    pub(super) fn not_sent(api: Api, reached: DailyLimitReached) -> Self {
        let text = format!("was not sent: {reached}");
        Self::new(api, Reason::DailyQuota, None, &text)
    }

    /// A reply that is not what was asked for. `secrets` are what must not be quoted of it.
    pub(super) fn from_fault(api: Api, fault: Fault, secrets: &[&str]) -> Self {
        match fault {
            Fault::Refused {
                errcode,
                errmsg,
                by_function,
            } => {
                let symptom = by_function.then_some(Symptom::FunctionRefused);
                let refused = match by_function {
                    true => "ran the cloud function, which was refused",
                    false => "was refused",
                };
                let quoted = match remote_text::clean(&errmsg, secrets) {
                    errmsg if errmsg.is_empty() => errmsg,
                    errmsg => format!(" ({errmsg})"),
                };
                let text = format!("{refused} with errcode {errcode}{quoted}");
                let mut error = Self::new(api, reason(errcode, &errmsg, api), symptom, &text);
                error.cause.errcode = errcode;
                error
            }
            Fault::Encrypted => {
                let symptom = Some(Symptom::Encrypted);
                Self::new(api, Reason::Config, symptom, "got an encrypted reply")
            }
            Fault::Unreadable { what, symptom } => {
                let text = format!("got a reply that can't be read: {what}");
                Self::new(api, Reason::Decode, symptom, &text)
            }
        }
    }

    /// What is to be done about it.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.cause.reason
    }

    /// What its explanation depends on.
    #[must_use]
    pub fn cause(&self) -> Cause {
        self.cause
    }

    /// Whether another token might help. A cloud function that ran was called with a good token; what it is refused
    /// with is not ours.
    #[must_use]
    pub fn token_rejected(&self) -> bool {
        self.cause.reason == Reason::Token && self.cause.symptom != Some(Symptom::FunctionRefused)
    }

    /// Whether WeChat refused it for one courier account alone, as 9300525 ("biz id not bind"): the codes of 物流助手
    /// about accounts and orders.
    #[must_use]
    pub fn concerns_the_account(&self) -> bool {
        let codes = 9_300_501..=9_300_599;
        codes.contains(&self.cause.errcode)
    }

    /// Whether another host might answer: this one could not be reached, was late or failed by itself. What WeChat
    /// answered, every host would.
    pub(super) fn concerns_the_host(&self) -> bool {
        use Reason::{Network, Timeout, Transient};
        self.cause.errcode == 0 && matches!(self.cause.reason, Network | Timeout | Transient)
    }
}
