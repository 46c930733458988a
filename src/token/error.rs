//! Why there is no token.

use std::sync::Arc;

use crate::wechat::{self, Cause, Reason};

/// The error when there is no token. The text names the source and what is wrong with it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{text}")]
pub struct Error {
    cause: Cause,
    text: String,
    /// The underlying error.
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

    /// Creates the error for a source that gives no token. The cause lies with the program that keeps the token.
    pub(super) fn no_token(why: impl std::fmt::Display) -> Self {
        Self::new(Reason::Token, format!("gives no token: {why}"))
    }

    /// Creates the error for wrong settings or permissions. Retrying can't help.
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

    /// Puts the source in front of the text. `place` names it without a password or a query.
    pub(super) fn of(self, place: &str) -> Self {
        Self {
            text: format!("{place} {}", self.text),
            ..self
        }
    }

    /// Wraps the error of a call that mints a token.
    pub(super) fn mint(error: wechat::Error) -> Self {
        Self {
            cause: error.cause(),
            ..Self::new(error.reason(), "WeChat gave no access token").because(error)
        }
    }

    /// Returns what to do about the failure and what explains it. Without an `api`, no call was sent to WeChat.
    ///
    /// The reason is `config` if only the operator can fix it: an AppSecret, a headers file or a password that can't be
    /// read, a login that a token server or Redis refuses, a file without permission. It is `token` if the program that
    /// keeps the token has written none yet or something else, and `network` or `timeout` if the source can't be asked.
    #[must_use]
    pub fn cause(&self) -> Cause {
        self.cause
    }

    /// Reports whether the next attempt may succeed. If so, a token that is still valid can be used until then.
    pub(super) fn may_pass(&self) -> bool {
        matches!(
            self.cause.reason,
            Reason::Network | Reason::Rate | Reason::Timeout | Reason::Token | Reason::Transient
        )
    }
}
