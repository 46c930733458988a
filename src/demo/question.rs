//! One call on the way to its answer: what was asked, by whom, and which fault it meets.

use std::collections::HashMap;
use std::time::SystemTime;

use bytes::Bytes;
use hyper::Method;
use serde_json::Value;

use super::fault::FaultKind;
use super::tokens::Refusal;
use crate::clock::Moment;
use crate::wechat::Api;

/// One request, read to its end.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: HashMap<String, String>,
    pub(super) body: Bytes,
    /// Sent without a `Content-Length`, which WeChat's gateway refuses.
    pub(super) chunked: bool,
}

impl Question {
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        let value = self.query.get(name)?;
        Some(value.as_str()).filter(|value| !value.is_empty())
    }

    /// The body as a JSON object, or the errcode.
    pub(super) fn json(&self) -> Result<Value, i64> {
        if self.body.is_empty() {
            return Err(44002);
        }
        serde_json::from_slice::<Value>(&self.body)
            .ok()
            .filter(Value::is_object)
            .ok_or(47001)
    }
}

/// A question on record, with what is known of it before it is answered.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) question: Question,
    pub(super) now: Moment,
    /// What is asked; `None`: a path that WeChat doesn't have.
    pub(super) api: Option<Api>,
    pub(super) caller: Caller,
    pub(super) struck: Option<Struck>,
    /// The tokens of this app are refused as long as its credentials are.
    pub(super) tokens_refused: bool,
    /// How many calls came before.
    pub(super) number: u64,
}

impl Received {
    /// The fault that this call meets.
    pub(super) fn fault(&self) -> Option<FaultKind> {
        self.struck.map(|struck| struck.kind)
    }

    pub(super) fn lists_accounts(&self) -> bool {
        self.api == Some(Api::AccountGetall)
    }

    /// The app that may go on, or the errcode.
    pub(super) fn authorised(&self) -> Result<usize, i64> {
        match &self.caller {
            Caller::Nobody => Err(41001),
            Caller::Owner(_, _) if self.tokens_refused => Err(42001),
            Caller::Owner(_, Err(Refusal::Expired)) => Err(42001),
            Caller::Owner(_, Err(Refusal::NotLatest)) | Caller::Stranger => Err(40001),
            Caller::Owner(app, Ok(())) | Caller::OpenInterface(app) | Caller::Named(app) => {
                Ok(*app)
            }
        }
    }
}

/// A fault that a call meets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Struck {
    pub(super) kind: FaultKind,
    /// When it began.
    pub(super) since: SystemTime,
}

/// Who asks.
#[derive(Debug)]
pub(super) enum Caller {
    /// The app named in a request for a token.
    Named(usize),
    /// The owner of a token, and what is wrong with the token.
    Owner(usize, Result<(), Refusal>),
    /// Through Cloud Run's open-interface service.
    OpenInterface(usize),
    /// A token that nobody owns.
    Stranger,
    /// No token at all.
    Nobody,
}

impl Caller {
    pub(super) const fn app(&self) -> Option<usize> {
        match self {
            Self::Named(app) | Self::Owner(app, _) | Self::OpenInterface(app) => Some(*app),
            Self::Stranger | Self::Nobody => None,
        }
    }
}
