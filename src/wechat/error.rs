//! Why a call failed, or why there is no token for it.

use serde::{Deserialize, Serialize};

use super::errcode::reason;
use super::reply::Fault;
use super::{Api, Cause, DailyLimitReached, Reason, Symptom, remote_text};
use crate::error::chain;

/// A failure: what explains it, and what happened. State files keep the failure of the latest fetch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{text}")]
pub struct Error {
    #[serde(flatten)]
    pub cause: Cause,
    /// One sentence for people, with all causes and without secrets. It may quote WeChat's message with its `rid`, so it
    /// differs from call to call and must not become a label.
    pub text: String,
}

impl Error {
    /// Creates an error. `text` continues the sentence that begins with the call's name.
    pub(super) fn new(api: Api, reason: Reason, symptom: Option<Symptom>, text: &str) -> Self {
        Self {
            cause: Cause {
                reason,
                api: Some(api),
                errcode: 0,
                symptom,
            },
            text: format!("{api} {text}"),
        }
    }

    /// Puts what failed with this error in front of the text.
    pub(crate) fn within(self, what: &str) -> Self {
        Self {
            text: format!("{what}: {}", self.text),
            ..self
        }
    }

    /// Adds an underlying error to the text.
    pub(crate) fn because(self, error: &dyn std::error::Error) -> Self {
        Self {
            text: format!("{}: {}", self.text, chain(error)),
            ..self
        }
    }

    pub(super) fn not_sent(api: Api, reached: DailyLimitReached) -> Self {
        let text = format!("was not sent: {reached}");
        Self::new(api, Reason::DailyQuota, None, &text)
    }

    /// Creates the error for a reply that can't be used. `secrets` must not be quoted from it.
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

    /// Reports whether another token might help. If a cloud function ran, the exporter's token was good, and a rejected
    /// token is the function's own.
    pub fn token_rejected(&self) -> bool {
        self.cause.reason == Reason::Token && self.cause.symptom != Some(Symptom::FunctionRefused)
    }

    /// Reports whether WeChat refused the call because of a single courier account, as with 9300525 ("biz id not
    /// bind"). These are the codes of 物流助手 for accounts and orders.
    pub fn concerns_the_account(&self) -> bool {
        let codes = 9_300_501..=9_300_599;
        codes.contains(&self.cause.errcode)
    }

    /// Reports whether another host might answer: this one was unreachable, late or failed itself. WeChat's own answer
    /// would be the same from every host.
    pub(super) fn concerns_the_host(&self) -> bool {
        use Reason::{Network, Timeout, Transient};
        self.cause.errcode == 0 && matches!(self.cause.reason, Network | Timeout | Transient)
    }
}
