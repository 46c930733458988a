//! Why a call failed.

use super::errcode;
use super::remote_text;
use super::reply::Fault;
use super::{Api, DailyLimitReached, Reason};

/// A call failed: which one, what is to be done about it, and what happened.
///
/// What happened is for people: it may quote WeChat's message with its `rid`, cleaned of secrets and control
/// characters, and differs from call to call, so it must not become a label.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{api} {failure}")]
pub struct Error {
    api: Api,
    reason: Reason,
    failure: Failure,
}

/// What happened.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("was not sent: {0}")]
    Throttled(DailyLimitReached),
    #[error("was refused with errcode {errcode}{}", in_brackets(.errmsg))]
    Refused { errcode: i64, errmsg: Box<str> },
    #[error("ran the cloud function, which was refused with errcode {errcode}{}", in_brackets(.errmsg))]
    FunctionRefused { errcode: i64, errmsg: Box<str> },
    #[error(
        "got an encrypted reply: API encryption (API 安全) is on for this Mini Program and the exporter can't read it; \
         switch it off at mp.weixin.qq.com under 开发管理 → 开发设置 → API安全"
    )]
    Encrypted,
    #[error("got a reply that can't be read: {0}")]
    Malformed(Box<str>),
    #[error("got HTTP status {status} from {host}{}", after_colon(.meaning))]
    Status {
        status: u16,
        host: Box<str>,
        meaning: &'static str,
    },
    #[error("got no answer from {host} in time")]
    Late { host: Box<str> },
    #[error("failed on the way to {host}: {cause}")]
    Unreachable { host: Box<str>, cause: Box<str> },
}

fn in_brackets(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    format!(" ({text})")
}

fn after_colon(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    format!(": {text}")
}

impl Error {
    pub(super) fn new(api: Api, reason: Reason, failure: Failure) -> Self {
        Self {
            api,
            reason,
            failure,
        }
    }

    pub(super) fn kept_back_by(api: Api, reached: DailyLimitReached) -> Self {
        Self::new(api, Reason::DailyQuota, Failure::Throttled(reached))
    }

    /// A reply that came and is not what was asked for. `secrets` are what must not be quoted of it.
    pub(super) fn from_fault(api: Api, fault: Fault, secrets: &[&str]) -> Self {
        let told = |errcode, errmsg: &str| {
            let reason = errcode::reason(errcode, errmsg, api);
            (reason, remote_text::clean(errmsg, secrets).into())
        };
        let (reason, failure) = match fault {
            Fault::Refused { errcode, errmsg } => {
                let (reason, errmsg) = told(errcode, &errmsg);
                (reason, Failure::Refused { errcode, errmsg })
            }
            Fault::FunctionRefused { errcode, errmsg } => {
                let (reason, errmsg) = told(errcode, &errmsg);
                (reason, Failure::FunctionRefused { errcode, errmsg })
            }
            Fault::Encrypted => (Reason::Config, Failure::Encrypted),
            Fault::Malformed(what) => (Reason::Decode, Failure::Malformed(what.into())),
        };
        Self::new(api, reason, failure)
    }

    /// The same failure for another reason, where the caller knows more than the errcode says.
    pub(super) fn because(mut self, reason: Reason) -> Self {
        self.reason = reason;
        self
    }

    /// What is to be done about it. Where the call was [kept back](Self::throttled): [`Reason::DailyQuota`].
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// WeChat's errcode, where it gave one.
    #[must_use]
    pub fn errcode(&self) -> Option<i64> {
        match self.failure {
            Failure::Refused { errcode, .. } | Failure::FunctionRefused { errcode, .. } => {
                Some(errcode)
            }
            _ => None,
        }
    }

    /// The call that failed.
    #[must_use]
    pub fn api(&self) -> Api {
        self.api
    }

    /// Whether another token might help: 40001, 40014 or 42001 of anything but a token endpoint. A cloud function that
    /// ran was called with a good token; what it is refused with is not ours.
    #[must_use]
    pub fn token_rejected(&self) -> bool {
        match self.failure {
            Failure::Refused { errcode, .. } => errcode::rejects_token(errcode, self.api),
            _ => false,
        }
    }

    /// Whether WeChat said it of one courier account alone, as 9300525 ("biz id not bind"): the codes of 物流助手 about
    /// accounts and orders.
    #[must_use]
    pub fn concerns_the_account(&self) -> bool {
        self.errcode()
            .is_some_and(|errcode| (9_300_501..=9_300_599).contains(&errcode))
    }

    /// Whether the exporter's own daily limit kept the call back, so that nothing was sent.
    #[must_use]
    pub fn throttled(&self) -> bool {
        matches!(self.failure, Failure::Throttled(_))
    }

    /// Whether another host might answer: this one could not be reached, was silent, or failed by itself.
    pub(super) fn concerns_the_host(&self) -> bool {
        match self.failure {
            Failure::Late { .. } | Failure::Unreachable { .. } => true,
            Failure::Status { status, .. } => status >= 500,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(api: Api, errcode: i64, errmsg: &str) -> Error {
        let errmsg = errmsg.into();
        Error::from_fault(api, Fault::Refused { errcode, errmsg }, &["canary-secret"])
    }

    #[test]
    fn refusal_quotes_the_message_with_its_request_id() {
        let error = refused(
            Api::AccountGetall,
            48001,
            "api unauthorized rid: 60c976e4-051e6c8e-47215cd3",
        );
        assert_eq!(
            error.to_string(),
            "account_getall was refused with errcode 48001 (api unauthorized rid: 60c976e4-051e6c8e-47215cd3)"
        );
        assert_eq!(error.reason(), Reason::Permission);
        assert_eq!(error.errcode(), Some(48001));
    }

    #[test]
    fn echoed_secret_is_in_no_form_of_the_error() {
        let error = refused(Api::Token, 40125, "invalid appsecret canary-secret");
        assert!(!format!("{error} {error:?}").contains("canary"));
    }

    #[test]
    fn rejected_token_is_told_from_a_wrong_secret_by_the_endpoint() {
        for errcode in [40001, 40014, 42001] {
            let error = refused(Api::AccountGetall, errcode, "");
            assert!(error.token_rejected());
            assert_eq!(error.reason(), Reason::Token);
            assert!(!refused(Api::StableToken, errcode, "").token_rejected());
        }
        let errmsg = Box::default();
        let fault = Fault::FunctionRefused {
            errcode: 40001,
            errmsg,
        };
        let of_function = Error::from_fault(Api::InvokeCloudFunction, fault, &[]);
        assert_eq!(of_function.errcode(), Some(40001));
        assert!(!of_function.token_rejected());
        let wrong_secret = refused(Api::StableToken, 40001, "invalid credential");
        assert_eq!(wrong_secret.reason(), Reason::Config);
        assert!(!refused(Api::AccountGetall, -1, "").token_rejected());
    }

    #[test]
    fn call_that_was_kept_back_says_so() {
        let error = Error::kept_back_by(Api::QuotaGet, DailyLimitReached);
        assert!(error.throttled());
        assert_eq!(error.errcode(), None);
        assert!(error.to_string().starts_with("quota_get was not sent: "));
    }
}
