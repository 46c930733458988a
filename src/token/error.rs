//! Why there is no token. Without an `api` in the cause, no call was sent to WeChat.
//!
//! The reason is `config` if only the operator can fix it: an AppSecret, a headers file or a password that can't be
//! read, a login that a token server or Redis refuses, a file without permission. It is `token` if the program that
//! keeps the token has written none yet or something else, and `network` or `timeout` if the source can't be asked.

use std::fmt::Display;

use crate::wechat::{Cause, Error, Reason};

/// Creates an error. `text` continues the sentence that begins with the source's name.
pub(super) fn failed(reason: Reason, text: impl Into<String>) -> Error {
    Error {
        cause: Cause {
            reason,
            ..Cause::unknown()
        },
        text: text.into(),
    }
}

/// Creates the error for a source that gives no token. The cause lies with the program that keeps the token.
pub(super) fn no_token(why: impl Display) -> Error {
    failed(Reason::Token, format!("gives no token: {why}"))
}

/// Creates the error for wrong settings or permissions. Retrying can't help.
pub(super) fn settings(what: impl Display) -> Error {
    failed(Reason::Config, format!("can't be used: {what}"))
}

pub(super) fn unreachable(why: &dyn std::error::Error) -> Error {
    failed(Reason::Network, "can't be reached").because(why)
}

/// Reports whether the next attempt may succeed. If so, a token that is still valid can be used until then.
pub(super) fn may_pass(error: &Error) -> bool {
    matches!(
        error.cause.reason,
        Reason::Network | Reason::Rate | Reason::Timeout | Reason::Token | Reason::Transient
    )
}
