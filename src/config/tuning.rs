//! How one app is called, as far as somebody said so: the app's own keys, the flags and their variables, the file's
//! defaults, and what is built in, the strongest first.

use std::collections::HashSet;
use std::time::Duration;

use super::{AppConfig, ConfigError, Credential};
use crate::wechat::ListLimits;

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
    /// An app that is called as is built in: by its appid, and with nothing that costs further calls.
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
            days_left_after: DAYS_LEFT_AFTER,
        }
    }
}

/// What somebody said of how an app is called; `None`: nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Tuning {
    pub(super) api_urls: Option<Vec<String>>,
    pub(super) min_interval: Option<Duration>,
    pub(super) daily_limit: Option<u64>,
    pub(super) remark_wrong_msg: Option<bool>,
    pub(super) remark_content: Option<bool>,
    pub(super) live_quota: Option<Duration>,
    pub(super) api_quota: Option<bool>,
    pub(super) refresh_couriers: Option<bool>,
}

impl Tuning {
    /// What `self` leaves open is as `weaker` says.
    pub(super) fn or(&self, weaker: &Self) -> Self {
        Self {
            api_urls: self.api_urls.clone().or_else(|| weaker.api_urls.clone()),
            min_interval: self.min_interval.or(weaker.min_interval),
            daily_limit: self.daily_limit.or(weaker.daily_limit),
            remark_wrong_msg: self.remark_wrong_msg.or(weaker.remark_wrong_msg),
            remark_content: self.remark_content.or(weaker.remark_content),
            live_quota: self.live_quota.or(weaker.live_quota),
            api_quota: self.api_quota.or(weaker.api_quota),
            refresh_couriers: self.refresh_couriers.or(weaker.refresh_couriers),
        }
    }

    /// An app that is called so; what nobody said is built in.
    pub(super) fn app(self, appid: &str, name: Option<&str>, credential: Credential) -> AppConfig {
        let built_in = AppConfig::new(appid, credential);
        let app = self.adjust(built_in);
        AppConfig {
            name: name.unwrap_or(appid).to_owned(),
            api_urls: self.api_urls.unwrap_or(app.api_urls),
            ..app
        }
    }

    /// An app that came with settings of its own, called as the operator says all the same.
    pub(super) fn adjust(&self, app: AppConfig) -> AppConfig {
        AppConfig {
            min_interval: self.min_interval.unwrap_or(app.min_interval),
            daily_limit: match self.daily_limit {
                Some(limit) => Some(limit).filter(|limit| *limit > 0),
                None => app.daily_limit,
            },
            remark_wrong_msg: self.remark_wrong_msg.unwrap_or(app.remark_wrong_msg),
            remark_content: self.remark_content.unwrap_or(app.remark_content),
            live_quota: self.live_quota.or(app.live_quota),
            api_quota: self.api_quota.unwrap_or(app.api_quota),
            refresh_couriers: self.refresh_couriers.unwrap_or(app.refresh_couriers),
            ..app
        }
    }
}

/// A base URL of the API, as the client takes it: without a trailing slash.
///
/// # Errors
/// The second half of a sentence that doesn't repeat the URL.
pub(super) fn api_url(text: &str) -> Result<String, ConfigError> {
    const FORM: &str =
        "must be http:// or https:// and a host, for example https://api.weixin.qq.com";
    let wrong = |what: &str| ConfigError(what.to_owned());
    let url = reqwest::Url::parse(text.trim()).map_err(|_| wrong(FORM))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(wrong(FORM));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("must hold no user and no password"));
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(wrong(
            "must end after the host; the API's paths are added to it",
        ));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// Whether a name is one that can be a label.
///
/// # Errors
/// The second half of a sentence.
pub(super) fn check_name(name: &str, limits: ListLimits) -> Result<(), ConfigError> {
    let most = limits.label_bytes;
    if name.len() <= most {
        return Ok(());
    }
    Err(ConfigError(format!(
        "is longer than a label may be ({most} bytes, --wechat.max-label-length); shorten it"
    )))
}

/// The first of some base URLs, by its place, that one before it is already.
pub(super) fn repeated(urls: &[String]) -> Option<usize> {
    let mut seen = HashSet::new();
    urls.iter().position(|url| !seen.insert(url))
}

/// Whether an appid is one: it names series, files and keys.
///
/// # Errors
/// The second half of a sentence.
pub(super) fn check_appid(appid: &str) -> Result<(), ConfigError> {
    let of_an_appid = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    if (1..=64).contains(&appid.len()) && appid.bytes().all(of_an_appid) {
        return Ok(());
    }
    Err(ConfigError(
        "must be 1 to 64 of A-Z, a-z, 0-9, _ and -; the console shows it under 开发管理 → 开发设置 (AppID)"
            .to_owned(),
    ))
}
