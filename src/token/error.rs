//! Why there is no token.

use std::sync::Arc;

use crate::wechat::{self, Cause, Reason};

/// There is no token. The text names the source and what is wrong with it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{text}")]
pub struct Error {
    cause: Cause,
    text: String,
    /// What went wrong beneath.
    #[source]
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    pub(super) fn new(reason: Reason, text: impl Into<String>) -> Self {
        Self {
            cause: Cause {
                reason,
                ..Cause::unknown()
            },
            text: text.into(),
            source: None,
        }
    }

    /// The source answers, but with no token: see why the program that keeps the token doesn't.
    pub(super) fn no_token(why: impl std::fmt::Display) -> Self {
        Self::new(Reason::Token, format!("gives no token: {why}"))
    }

    /// The settings or the permissions are wrong; trying again can't help.
    pub(super) fn settings(what: impl std::fmt::Display) -> Self {
        Self::new(Reason::Config, format!("can't be used: {what}"))
    }

    pub(super) fn unreachable() -> Self {
        Self::new(Reason::Network, "can't be reached")
    }

    pub(super) fn because(self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self {
            source: Some(Arc::new(source)),
            ..self
        }
    }

    /// The error of that source: without a password or a query.
    pub(super) fn of(self, place: &str) -> Self {
        Self {
            text: format!("{place} {}", self.text),
            ..self
        }
    }

    /// WeChat gave none.
    pub(super) fn mint(error: wechat::Error) -> Self {
        Self {
            cause: error.cause(),
            ..Self::new(error.reason(), "WeChat gave no access token").because(error)
        }
    }

    /// What is to be done about it, and what its explanation depends on. Without an `api`, no call was sent to WeChat.
    ///
    /// The reason is `config` where only the operator can fix it: an AppSecret, a headers file or a password that can't be
    /// read, a login that a token server or Redis refuses, a file without permission. `token` where the program that keeps
    /// the token has put none there yet, or something else. `network` and `timeout` where a source can't be asked.
    #[must_use]
    pub fn cause(&self) -> Cause {
        self.cause
    }

    /// Whether the next try may well work, so that a token which is still good for a while can serve until then.
    pub(super) fn may_pass(&self) -> bool {
        matches!(
            self.cause.reason,
            Reason::Network | Reason::Rate | Reason::Timeout | Reason::Token | Reason::Transient
        )
    }
}
