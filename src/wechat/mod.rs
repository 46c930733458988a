//! The only place that knows WeChat's URLs, JSON and errcodes.

mod account;
mod api;
mod client;
pub mod courier;
mod errcode;
mod error;
pub(crate) mod labels;
mod reason;
mod remote_text;
mod reply;

pub use account::{Account, AccountList, ApiQuota, Delivery, ListLimits, ServiceType};
pub use api::Api;
pub use client::{Client, ClientError};
pub use errcode::{Explanation, address_to_whitelist, explain};
pub use error::Error;
pub use reason::Reason;
pub use reply::{read_account_list, read_function_reply};

use std::time::{Duration, SystemTime};

use secrecy::SecretString;

/// A token that WeChat accepts, with what is known of its end.
#[derive(Clone, Debug)]
pub struct AccessToken {
    /// The token. Travels in the query string, so no error or log may show a URL.
    pub secret: SecretString,
    /// When it ends, where known.
    pub expires: Option<SystemTime>,
}

/// How a call proves who it is.
#[derive(Clone, Copy, Debug)]
pub enum Authorization<'a> {
    /// `?access_token=`
    AccessToken(&'a AccessToken),
    /// `?cloudbase_access_token=`: a token mounted into a WeChat Cloud Run container.
    CloudbaseAccessToken(&'a AccessToken),
    /// Nothing: Cloud Run's open-interface service adds it. `from_appid` names the app whose resources are shared.
    None {
        /// `?from_appid=`, where resources are shared between apps.
        from_appid: Option<&'a str>,
    },
}

/// A cloud function that returns the account list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudFunction {
    /// The cloud environment's id.
    pub env: String,
    /// The function's name.
    pub name: String,
    /// Where in the function's result the account list stands (RFC 6901); `None`: the result is the list's object.
    pub pointer: Option<String>,
}

/// What every call passes before it is sent and reports to afterwards: one app's daily limit and counters.
///
/// Each attempt counts, also the ones that fail over to another host.
pub trait Meter: Send + Sync + std::fmt::Debug {
    /// Takes one call from the budget and counts it as sent.
    ///
    /// # Errors
    /// When the app's own daily limit is reached; the call must not be sent then.
    fn sending(&self, api: Api) -> Result<(), DailyLimitReached>;
    /// Counts a sent call as failed.
    fn failed(&self, api: Api, reason: Reason, errcode: Option<i64>);
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
