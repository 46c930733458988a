//! The only place that knows WeChat's URLs, JSON and errcodes.

mod account;
mod client;
pub mod courier;
mod errcode;
mod error;
mod explanation;
mod hosts;
mod labels;
mod remote_text;
mod reply;

pub(crate) use account::AccountKey;
pub use account::{Account, AccountList, ApiQuota, Delivery, ListLimits, ServiceType};
pub use client::Client;
pub use error::Error;
pub use explanation::{Cause, Explanation, OWN_DAILY_LIMIT, Text, address_to_whitelist, new_token};
pub use labels::{Api, CredentialKind, Reason, Symptom};
pub(crate) use remote_text::without_long_words;
pub use reply::read_account_list;

use std::time::{Duration, SystemTime};

use reqwest::Url;
use secrecy::SecretString;
use serde::{Deserialize, Deserializer, de};

/// A token that WeChat accepts.
#[derive(Clone, Debug)]
pub struct AccessToken {
    /// The token itself. It is sent in the query string, so no error or log may show a URL.
    pub secret: SecretString,
    /// When the token expires, if known.
    pub expires: Option<SystemTime>,
}

/// How a call is authorised.
#[derive(Clone, Debug)]
pub enum Authorization {
    /// `?access_token=`
    AccessToken(AccessToken),
    /// `?cloudbase_access_token=`: a token mounted into a WeChat Cloud Run container.
    CloudbaseAccessToken(AccessToken),
    /// No token: Cloud Run's open-interface service adds it.
    None {
        /// `?from_appid=`: the app whose resources are shared.
        from_appid: Option<String>,
    },
}

impl Authorization {
    /// Returns the token, if there is one.
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
    pub name: String,
    /// The account list's JSON pointer (RFC 6901) in the function's result; `None` if the result is the list itself.
    #[serde(default, deserialize_with = "read_pointer")]
    pub pointer: Option<String>,
}

/// Deserializes a JSON pointer from the configuration file.
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

/// One app's daily limit and counters. The client asks it before each call and reports a failure to it afterwards.
///
/// Each attempt counts, including those that fail over to another host.
pub trait Meter: Send + Sync {
    /// Takes one call from the budget and counts it as sent.
    ///
    /// # Errors
    /// When the app's own daily limit is reached; the call must not be sent then.
    fn sending(&self, api: Api) -> Result<(), DailyLimitReached>;
    /// Counts a sent call as failed.
    fn failed(&self, api: Api, cause: Cause);
}

/// A meter that allows every call.
#[cfg(test)]
impl Meter for () {
    fn sending(&self, _: Api) -> Result<(), DailyLimitReached> {
        Ok(())
    }
    fn failed(&self, _: Api, _: Cause) {}
}

/// The error when the app's own daily limit (`--wechat.daily-limit`) allows no more calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the exporter's own daily limit of calls is reached; it ends at midnight in China")]
pub struct DailyLimitReached;

/// How a client reaches WeChat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientOptions {
    /// Hosts in order of preference, at least one. Only the scheme, the host and the port of a URL count.
    pub api_urls: Vec<Url>,
    /// The time limit of one call, from connecting to the last byte of the reply.
    pub timeout: Duration,
    /// The limits on what is kept of an account list.
    pub list_limits: ListLimits,
    /// Whether to honour `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`.
    pub proxy_from_env: bool,
}
