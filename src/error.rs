//! Errors as text for people. An error's own text never repeats its cause, so [`chain`] adds the causes.

use std::error::Error;

/// Returns the error with its causes, as one sentence.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text.push_str(": ");
        text.push_str(&source.to_string());
        cause = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("no access token")]
    struct NoToken(#[source] Unreachable);

    #[derive(Debug, thiserror::Error)]
    #[error("the token server can't be reached")]
    struct Unreachable(#[source] std::io::Error);

    #[test]
    fn every_cause_is_named_once_in_order() {
        let refused = std::io::Error::other("connection refused");
        assert_eq!(
            chain(&NoToken(Unreachable(refused))),
            "no access token: the token server can't be reached: connection refused"
        );
    }
}
