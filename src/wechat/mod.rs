//! The only place that knows WeChat's URLs, JSON and errcodes.

mod account;
mod client;
pub mod courier;
mod errcode;
mod error;
mod explanation;
mod hosts;
pub(crate) mod labels;
mod remote_text;
mod reply;

pub(crate) use account::AccountKey;
pub use account::{Account, AccountList, ApiQuota, Delivery, ListLimits, ServiceType};
pub use client::{Client, ClientError};
pub use error::Error;
pub use explanation::{Cause, Explanation, Text, address_to_whitelist, new_token};
pub use labels::{Api, CredentialKind, Reason, Symptom};
pub(crate) use remote_text::without_long_words;
pub use reply::{read_account_list, read_function_reply};

use std::time::{Duration, SystemTime};

use secrecy::SecretString;
use serde::{Deserialize, Deserializer, de};

/// A token that WeChat accepts.
#[derive(Clone, Debug)]
pub struct AccessToken {
    /// Travels in the query string, so no error or log may show a URL.
    pub secret: SecretString,
    /// When it ends, where known.
    pub expires: Option<SystemTime>,
}

/// How a call proves who it is.
#[derive(Clone, Debug)]
pub enum Authorization {
    /// `?access_token=`
    AccessToken(AccessToken),
    /// `?cloudbase_access_token=`: a token mounted into a WeChat Cloud Run container.
    CloudbaseAccessToken(AccessToken),
    /// Nothing: Cloud Run's open-interface service adds it.
    None {
        /// `?from_appid=`: the app whose resources are shared.
        from_appid: Option<String>,
    },
}

impl Authorization {
    /// The token, where it has one.
    pub(crate) fn token(&self) -> Option<&AccessToken> {
        match self {
            Self::AccessToken(token) | Self::CloudbaseAccessToken(token) => Some(token),
            Self::None { .. } => None,
        }
    }
}

/// A cloud function that returns the account list.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub struct CloudFunction {
    /// The cloud environment's id.
    pub env: String,
    /// The function's name.
    pub name: String,
    /// Where the account list is in the function's result (RFC 6901); `None`: the result is the list's object.
    #[serde(default, deserialize_with = "read_pointer")]
    pub pointer: Option<String>,
}

/// For serde: a JSON pointer of the configuration file.
pub(crate) fn read_pointer<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    let pointer = String::deserialize(deserializer)?;
    if pointer.starts_with('/') {
        Ok(Some(pointer))
    } else {
        let problem = "must be a JSON pointer that begins with /, for example /data/access_token";
        Err(de::Error::custom(problem))
    }
}

/// What every call passes before it is sent and reports to afterwards: one app's daily limit and counters.
///
/// Each try counts, also those that fail over to another host.
pub trait Meter: Send + Sync + std::fmt::Debug {
    /// Takes one call from the budget and counts it as sent.
    ///
    /// # Errors
    /// When the app's own daily limit is reached; the call must not be sent then.
    fn sending(&self, api: Api) -> Result<(), DailyLimitReached>;
    /// Counts a sent call as failed.
    fn failed(&self, api: Api, cause: Cause);
}

/// Lets every call pass.
#[cfg(test)]
impl Meter for () {
    fn sending(&self, _: Api) -> Result<(), DailyLimitReached> {
        Ok(())
    }
    fn failed(&self, _: Api, _: Cause) {}
}

/// The app's own daily limit (`--wechat.daily-limit`) leaves no call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the exporter's own daily limit of calls is reached; it ends at midnight in China")]
pub struct DailyLimitReached;

/// How a client reaches WeChat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientOptions {
    /// Hosts in order of preference, each a scheme and authority, for example `https://api.weixin.qq.com`.
    pub api_urls: Vec<String>,
    /// One call, from connecting to the reply's last byte.
    pub timeout: Duration,
    /// What is taken in of an account list.
    pub list_limits: ListLimits,
    /// Whether `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` count.
    pub proxy_from_env: bool,
}
