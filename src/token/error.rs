//! Why there is no token: one variant for each thing that somebody does about it.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{ConfigError, SecretUrl};
use crate::wechat::{self, Api, Reason};

/// What went wrong beneath; shared, because all who waited for one token get one error.
pub(super) type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// There is no token.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// WeChat gave none. Its own error says what to do.
    #[error("WeChat gave no access token")]
    Mint(#[source] wechat::Error),
    /// Put the AppSecret where the settings say.
    #[error("the AppSecret can't be read")]
    Secret(#[source] ConfigError),
    /// Mend the settings or the permissions: trying again can't help.
    #[error("{place} can't be used: {what}")]
    Settings {
        /// The source.
        place: Place,
        /// What is wrong and how it is mended, unless `source` says that.
        what: Cow<'static, str>,
        /// What the system said of it.
        source: Option<Cause>,
    },
    /// See why whoever keeps the token fresh doesn't: the source answers, but with no token.
    #[error("{place} gives no token: {why}")]
    Unusable {
        /// The source.
        place: Place,
        /// What it gives instead.
        why: Unusable,
    },
    /// Start the token server or mend the way to it.
    #[error("{place} can't be reached")]
    Unreachable {
        /// The source.
        place: Place,
        /// What the system said of it.
        source: Cause,
    },
    /// See why the source is slow.
    #[error("{place} gave no token within {}", Seconds(*limit))]
    Late {
        /// The source.
        place: Place,
        /// How long it had.
        limit: Duration,
    },
}

impl Error {
    /// What is to be done about it.
    ///
    /// `config` where only the operator can mend it: an AppSecret, a headers file or a password that can't be read, a
    /// login refused by a token server or Redis, a file without permission. `token` where whoever keeps the token
    /// fresh has put none there yet or something else. `network` and `timeout` where a source can't be asked.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Mint(error) => error.reason(),
            Self::Secret(_) | Self::Settings { .. } => Reason::Config,
            Self::Unusable { .. } => Reason::Token,
            Self::Unreachable { .. } => Reason::Network,
            Self::Late { .. } => Reason::Timeout,
        }
    }

    /// WeChat's errcode, where it gave one.
    ///
    /// One that a token server relays is not meant: it speaks of that server's call and stands in the text.
    #[must_use]
    pub fn errcode(&self) -> Option<i64> {
        match self {
            Self::Mint(error) => error.errcode(),
            _ => None,
        }
    }

    /// The token call that failed; `None` where none was sent to WeChat.
    #[must_use]
    pub fn api(&self) -> Option<Api> {
        match self {
            Self::Mint(error) => Some(error.api()),
            _ => None,
        }
    }

    /// The exporter's own daily limit kept the call back.
    #[must_use]
    pub fn throttled(&self) -> bool {
        matches!(self, Self::Mint(error) if error.throttled())
    }

    /// Whether the next try may well work, so that a token still good for a while can serve until then.
    pub(super) fn may_pass(&self) -> bool {
        !self.throttled()
            && matches!(
                self.reason(),
                Reason::Network
                    | Reason::Rate
                    | Reason::Timeout
                    | Reason::Token
                    | Reason::Transient
            )
    }
}

/// Where a token that others keep fresh is read, as a sentence names it: without a password or a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A file.
    File(PathBuf),
    /// A central token server.
    Server(SecretUrl),
    /// A command: its program alone, as arguments can hold secrets.
    Command(String),
    /// A value in Redis or Valkey.
    Redis {
        /// The server.
        url: SecretUrl,
        /// The key.
        key: String,
        /// The field, where the key is a hash.
        field: Option<String>,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "token file {}", path.display()),
            Self::Server(url) => write!(f, "token server {url}"),
            Self::Command(program) => write!(f, "token command {program}"),
            Self::Redis { url, key, field } => {
                write!(f, "Redis key {key} ")?;
                if let Some(field) = field {
                    write!(f, "(field {field}) ")?;
                }
                write!(f, "at {url}")
            }
        }
    }
}

/// What a source gives in a token's place. The content is never shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// No such file, key or field.
    #[error(
        "there is nothing there; whatever keeps the token fresh has written none, or elsewhere"
    )]
    Missing,
    /// Nothing but white space.
    #[error("it is empty")]
    Empty,
    /// JSON's null, or a word that programs print for it.
    #[error("it is null")]
    Null,
    /// A page for people.
    #[error("it is an HTML page")]
    Html,
    /// WeChat's own error, passed on.
    #[error("it is WeChat's error {0}, passed on by whatever keeps the token fresh")]
    Errcode(i64),
    /// JSON, but no text where the token should be.
    #[error("it is JSON without a text at {0}")]
    NoText(String),
    /// A pointer was set, but this is not JSON.
    #[error("it is not JSON, so that there is no {0} in it")]
    NotJson(String),
    /// White space, control characters, quotes or anything else that no token holds.
    #[error("it holds characters that no token has")]
    NotAToken,
    /// Longer than any token.
    #[error("it is too long for a token")]
    TooLong,
    /// An HTTP status other than success.
    #[error("it answers {0}")]
    Status(u16),
    /// A command failed.
    #[error("it ended with {0}; run it by hand to see what it says")]
    Exit(std::process::ExitStatus),
    /// The source itself says that its token has ended.
    #[error("its token ended {} ago; whatever keeps it fresh has stopped", Seconds(*.0))]
    Ended(Duration),
}

/// A duration as whole seconds, or milliseconds below one.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            0 => write!(f, "{} ms", self.0.as_millis()),
            seconds => write!(f, "{seconds} s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentence_names_the_source_without_its_secrets() {
        let server = Place::Server(SecretUrl::new(
            "https://user:canary@tokens.internal/wx?key=canary",
        ));
        let late = Error::Late {
            place: server,
            limit: Duration::from_secs(5),
        };
        assert_eq!(
            late.to_string(),
            "token server https://tokens.internal gave no token within 5 s"
        );
        let redis = Place::Redis {
            url: SecretUrl::new("redis://:canary@cache:6379/0"),
            key: "maConfig:accessToken".into(),
            field: Some("value".into()),
        };
        let error = Error::Unusable {
            place: redis,
            why: Unusable::Errcode(40013),
        };
        assert_eq!(
            error.to_string(),
            "Redis key maConfig:accessToken (field value) at redis://cache:6379 gives no token: it is WeChat's \
             error 40013, passed on by whatever keeps the token fresh"
        );
        assert!(!format!("{late:?} {error:?}").contains("canary"));
    }
}
