//! The settings of one app. Flags, the file's `defaults` and each app's own keys say them with the same struct.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};
use serde_saphyr::Spanned;

use super::units::{api_url, duration, read_duration, read_name, read_pointer, read_text};
use super::{AppConfig, Credential};
use crate::wechat::CloudFunction;

/// At most one account-list call in this time, unless the operator says otherwise.
const MIN_INTERVAL: Duration = Duration::from_secs(60);
/// Calls per China day, unless the operator says otherwise.
const DAILY_LIMIT: u64 = 2000;
/// Courier and WeChat refresh a balance in steps; what fell within less than an hour is no rate.
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
/// Cloud Run's open-interface service takes calls to this one name, in plain HTTP, and adds the token to them.
const OPEN_INTERFACE_URL: &str = "http://api.weixin.qq.com";

impl AppConfig {
    /// An app with the built-in settings.
    #[must_use]
    pub fn new(appid: impl Into<String>, credential: Credential) -> Self {
        let appid = appid.into();
        Self {
            name: appid.clone(),
            appid,
            api_urls: match credential {
                Credential::None { .. } => vec![OPEN_INTERFACE_URL.to_owned()],
                _ => API_URLS.map(str::to_owned).to_vec(),
            },
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

/// What somebody said of how an app is called; `None`: nothing. The docs of the flags are their help texts.
#[expect(
    clippy::doc_markdown,
    reason = "clap makes --help of these docs, where backticks would be noise"
)]
#[derive(Clone, Debug, Default, clap::Args, Deserialize)]
#[command(next_help_heading = "Calls to WeChat")]
#[serde(default, deny_unknown_fields, expecting = "a mapping")]
pub(super) struct AppSettings {
    // These four belong to one app; no flag and no `defaults` can say them.
    #[arg(skip)]
    pub(super) appid: Option<Spanned<String>>,
    #[arg(skip)]
    #[serde(deserialize_with = "read_name")]
    pub(super) name: Option<String>,
    #[arg(skip)]
    pub(super) access_token: Option<Spanned<Credential>>,
    #[arg(skip)]
    pub(super) cloud_function: Option<CloudFunctionForm>,

    // Not a doc comment, where rustdoc would have the URL in angle brackets and `--help` would show them.
    #[arg(
        help = "Base URL of the API; may be repeated, the first that answers is used [default: \
                https://api.weixin.qq.com and WeChat's other hosts]",
        long = "wechat.api-url",
        value_name = "URL",
        value_delimiter = ',',
        value_parser = api_url
    )]
    #[serde(alias = "api_url", deserialize_with = "one_or_many")]
    pub(super) api_urls: Option<Vec<String>>,
    /// At most one account-list call per app in this time [default: 60s]
    #[arg(long = "wechat.min-interval", value_name = "DURATION", value_parser = duration)]
    #[serde(deserialize_with = "read_duration")]
    pub(super) min_interval: Option<Duration>,
    /// Calls per app from midnight to midnight in China; 0: no limit [default: 2000]
    #[arg(long = "wechat.daily-limit", value_name = "CALLS")]
    pub(super) daily_limit: Option<u64>,
    /// Make remark_wrong_msg a label of account_info; it can hold personal data
    #[arg(long = "wechat.remark-wrong-msg")]
    pub(super) remark_wrong_msg: Option<bool>,
    /// Make remark_content a label of account_info; it can hold personal data
    #[arg(long = "wechat.remark-content")]
    pub(super) remark_content: Option<bool>,
    /// Ask franchise couriers for each account's live balance, once in this time; a call per account; 0: never
    #[arg(long = "wechat.live-quota", value_name = "DURATION", value_parser = duration)]
    #[serde(deserialize_with = "read_duration")]
    pub(super) live_quota: Option<Duration>,
    /// Ask WeChat once an hour for its own figures of the daily quota
    #[arg(long = "wechat.api-quota")]
    pub(super) api_quota: Option<bool>,
    /// Ask WeChat once a day for the couriers' names
    #[arg(long = "wechat.refresh-couriers")]
    pub(super) refresh_couriers: Option<bool>,
}

impl AppSettings {
    /// Puts in force what is said here, over what weaker settings said.
    pub(super) fn apply(&self, app: &mut AppConfig) {
        if let Some(urls) = &self.api_urls {
            // A second try of the same host would be a call for nothing.
            app.api_urls.clear();
            for url in urls {
                if !app.api_urls.contains(url) {
                    app.api_urls.push(url.clone());
                }
            }
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

    /// Whether something is said that belongs to one app.
    pub(super) fn belongs_to_one_app(&self) -> bool {
        self.appid.is_some()
            || self.name.is_some()
            || self.access_token.is_some()
            || self.cloud_function.is_some()
    }
}

/// [`CloudFunction`] as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub(super) struct CloudFunctionForm {
    #[serde(deserialize_with = "read_text")]
    env: String,
    #[serde(deserialize_with = "read_text")]
    name: String,
    #[serde(default, deserialize_with = "read_pointer")]
    pointer: Option<String>,
}

impl From<CloudFunctionForm> for CloudFunction {
    fn from(form: CloudFunctionForm) -> Self {
        Self {
            env: form.env,
            name: form.name,
            pointer: form.pointer,
        }
    }
}

/// `api_url: http://a`, `api_urls: [http://a, http://b]`.
fn one_or_many<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<String>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "must be a URL or a list of URLs")]
    enum Form {
        One(String),
        Many(Vec<String>),
    }
    let texts = match Form::deserialize(deserializer)? {
        Form::One(text) => vec![text],
        Form::Many(texts) => texts,
    };
    if texts.is_empty() {
        return Err(de::Error::custom(
            "is empty; name a URL or leave the key out",
        ));
    }
    let urls: Result<_, String> = texts.iter().map(|text| api_url(text)).collect();
    urls.map(Some).map_err(de::Error::custom)
}
