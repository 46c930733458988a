//! The settings of one app. Flags, the file's `defaults` and each app's own keys use the same struct.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use serde::Deserialize;

use super::units::{api_url, duration, read_api_url, read_duration};
use super::{AppConfig, Credential};
use crate::wechat::CloudFunction;

/// The default interval between account-list calls.
const MIN_INTERVAL: Duration = Duration::from_secs(60);
/// The default daily limit. Unit: calls per China day.
const DAILY_LIMIT: u64 = 2000;
/// Couriers and WeChat refresh a balance in steps, so its fall within less than an hour gives no rate.
const DAYS_LEFT_AFTER: Duration = Duration::from_secs(3600);
/// WeChat's hosts, the nearest first, then those for disaster recovery.
///
/// Source: <https://developers.weixin.qq.com/doc/service/Basic_Information/Interface_field_description.html>, 2026-11.
const API_URLS: [&str; 5] = [
    "https://api.weixin.qq.com",
    "https://api2.weixin.qq.com",
    "https://sh.api.weixin.qq.com",
    "https://sz.api.weixin.qq.com",
    "https://hk.api.weixin.qq.com",
];
/// Cloud Run's open-interface service accepts calls to this host only, in plain HTTP, and adds the token to them.
const OPEN_INTERFACE_URL: &str = "http://api.weixin.qq.com";

impl AppConfig {
    /// Creates an app with the default settings.
    pub fn new(appid: impl Into<String>, credential: Credential) -> Self {
        let appid = appid.into();
        let api_urls: &[&str] = match credential {
            Credential::None { .. } => &[OPEN_INTERFACE_URL],
            _ => &API_URLS,
        };
        let parsed = api_urls.iter().map(|url| url.parse().expect("it is a URL"));
        Self {
            name: appid.clone(),
            appid,
            api_urls: parsed.collect(),
            credential,
            min_interval: MIN_INTERVAL,
            daily_limit: Some(DAILY_LIMIT),
            cloud_function: None,
            remark_wrong_msg: false,
            remark_content: false,
            live_quota: None,
            api_quota: false,
            refresh_couriers: false,
            couriers: Arc::default(),
            days_left_after: DAYS_LEFT_AFTER,
        }
    }
}

/// Settings for the calls of an app; `None` if not set. The docs of the flags are their help texts.
#[expect(
    clippy::doc_markdown,
    reason = "clap makes --help of these docs, where backticks would be noise"
)]
#[derive(Clone, Debug, Default, clap::Args, Deserialize)]
#[command(next_help_heading = "Calls to WeChat")]
#[serde(default, deny_unknown_fields, expecting = "a mapping")]
pub(super) struct AppSettings {
    // These four belong to one app. Neither a flag nor `defaults` can set them.
    #[arg(skip)]
    pub(super) appid: Option<String>,
    #[arg(skip)]
    pub(super) name: Option<String>,
    #[arg(skip)]
    pub(super) access_token: Option<Credential>,
    #[arg(skip)]
    pub(super) cloud_function: Option<CloudFunction>,

    // Not a doc comment: rustdoc wants the URL in angle brackets, and `--help` would show them.
    #[arg(
        help = "Base URL of the API; may be repeated, the first host that answers is used [default: \
                https://api.weixin.qq.com and WeChat's other hosts]",
        long = "wechat.api-url",
        value_name = "URL",
        value_delimiter = ',',
        value_parser = api_url
    )]
    #[serde(rename = "api_url", deserialize_with = "read_api_url")]
    pub(super) api_urls: Option<Vec<Url>>,
    /// Minimum interval between the account-list calls of an app [default: 60s]
    #[arg(long = "wechat.min-interval", value_name = "DURATION", value_parser = duration)]
    #[serde(deserialize_with = "read_duration")]
    pub(super) min_interval: Option<Duration>,
    /// Maximum number of calls per app and day (midnight to midnight in China); 0: no limit [default: 2000]
    #[arg(long = "wechat.daily-limit", value_name = "CALLS")]
    pub(super) daily_limit: Option<u64>,
    /// Make remark_wrong_msg a label of account_info; it can contain personal data
    #[arg(long = "wechat.remark-wrong-msg")]
    pub(super) remark_wrong_msg: Option<bool>,
    /// Make remark_content a label of account_info; it can contain personal data
    #[arg(long = "wechat.remark-content")]
    pub(super) remark_content: Option<bool>,
    /// Interval in which to ask for the live balance of each franchise courier's account, one call each; 0: never
    #[arg(long = "wechat.live-quota", value_name = "DURATION", value_parser = duration)]
    #[serde(deserialize_with = "read_duration")]
    pub(super) live_quota: Option<Duration>,
    /// Ask WeChat once an hour for its own figures of the API's daily quota
    #[arg(long = "wechat.api-quota")]
    pub(super) api_quota: Option<bool>,
    /// Ask WeChat once a day for the couriers' names
    #[arg(long = "wechat.refresh-couriers")]
    pub(super) refresh_couriers: Option<bool>,
}

impl AppSettings {
    /// Applies these settings to `app`, overriding weaker ones.
    pub(super) fn apply(&self, app: &mut AppConfig) {
        if let Some(name) = self.name.as_ref().filter(|name| !name.is_empty()) {
            app.name.clone_from(name);
        }
        if let Some(function) = &self.cloud_function {
            app.cloud_function = Some(function.clone());
        }
        if let Some(urls) = &self.api_urls {
            app.api_urls.clone_from(urls);
        }
        if let Some(limit) = self.daily_limit {
            app.daily_limit = Some(limit).filter(|limit| *limit > 0);
        }
        if let Some(interval) = self.live_quota {
            app.live_quota = Some(interval).filter(|interval| !interval.is_zero());
        }
        app.min_interval = self.min_interval.unwrap_or(app.min_interval);
        app.remark_wrong_msg = self.remark_wrong_msg.unwrap_or(app.remark_wrong_msg);
        app.remark_content = self.remark_content.unwrap_or(app.remark_content);
        app.api_quota = self.api_quota.unwrap_or(app.api_quota);
        app.refresh_couriers = self.refresh_couriers.unwrap_or(app.refresh_couriers);
    }

    /// Reports whether a setting that belongs to one app is set.
    pub(super) fn belongs_to_one_app(&self) -> bool {
        self.appid.is_some()
            || self.name.is_some()
            || self.access_token.is_some()
            || self.cloud_function.is_some()
    }
}
