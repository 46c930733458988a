//! `access_token:` of the configuration file: where an app's token comes from.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, de};

use super::secret::read_headers_file;
use super::units::{read_path, read_pointer, read_redis_url, read_text, read_web_url};
use super::{
    CommandLine, ConfigError, Credential, HttpTokenConfig, HttpTokenMethod, RedisTokenConfig,
    SecretSource, SecretUrl, TokenPointers,
};

/// Where WeChat Cloud Run mounts its token.
///
/// Source: <https://developers.weixin.qq.com/minigame/dev/wxcloud/guide/container/cloudcall.html>, 2026-11.
pub(super) fn cloudbase_path() -> PathBuf {
    PathBuf::from("/.tencentcloudbase/wx/cloudbase_access_token")
}

/// Where a secret is. It is read when it is needed; it is read here too, so that the start fails and not the first
/// scrape.
pub(super) fn read_secret<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<SecretSource, D::Error> {
    let source = SecretSource::deserialize(deserializer)?;
    source.read().map_err(|error| unusable(&error))?;
    Ok(source)
}

/// A file with a password, which is read here as a secret is.
pub(super) fn read_password_path<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<PathBuf>, D::Error> {
    let path: PathBuf = read_path(deserializer)?;
    SecretSource::File(path.clone())
        .read()
        .map_err(|error| unusable(&error))?;
    Ok(Some(path))
}

fn read_headers_path<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<PathBuf>, D::Error> {
    let path: PathBuf = read_path(deserializer)?;
    read_headers_file(&path).map_err(|error| unusable(&error))?;
    Ok(Some(path))
}

fn unusable<E: de::Error>(error: &ConfigError) -> E {
    E::custom(format_args!("can't be used: {error}"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
struct FileForm {
    #[serde(deserialize_with = "read_path")]
    path: PathBuf,
    #[serde(default, deserialize_with = "read_pointer")]
    token_pointer: Option<String>,
    #[serde(default, deserialize_with = "read_pointer")]
    expires_pointer: Option<String>,
}

pub(super) fn read_file<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<(PathBuf, TokenPointers), D::Error> {
    let form = FileForm::deserialize(deserializer)?;
    let pointers = pointers(form.token_pointer, form.expires_pointer);
    Ok((form.path, pointers))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub(super) struct HttpForm {
    #[serde(deserialize_with = "read_web_url")]
    url: SecretUrl,
    #[serde(default)]
    method: HttpTokenMethod,
    #[serde(default, deserialize_with = "read_headers_path")]
    headers_file: Option<PathBuf>,
    #[serde(default, deserialize_with = "read_web_url")]
    refresh_url: Option<SecretUrl>,
    #[serde(default, deserialize_with = "read_pointer")]
    token_pointer: Option<String>,
    #[serde(default, deserialize_with = "read_pointer")]
    expires_pointer: Option<String>,
}

impl From<HttpForm> for HttpTokenConfig {
    fn from(form: HttpForm) -> Self {
        Self {
            url: form.url,
            method: form.method,
            headers_file: form.headers_file,
            refresh_url: form.refresh_url,
            pointers: pointers(form.token_pointer, form.expires_pointer),
        }
    }
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "must be a list of the program and its arguments, or a mapping with the list as argv; there is no shell"
)]
enum CommandForm {
    Argv(Vec<String>),
    Mapping(CommandMapping),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CommandMapping {
    argv: Vec<String>,
    #[serde(default, deserialize_with = "read_pointer")]
    token_pointer: Option<String>,
    #[serde(default, deserialize_with = "read_pointer")]
    expires_pointer: Option<String>,
}

pub(super) fn read_command<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<(CommandLine, TokenPointers), D::Error> {
    let (argv, pointers) = match CommandForm::deserialize(deserializer)? {
        CommandForm::Argv(argv) => (argv, TokenPointers::default()),
        CommandForm::Mapping(form) => {
            let pointers = pointers(form.token_pointer, form.expires_pointer);
            (form.argv, pointers)
        }
    };
    match argv.split_first() {
        Some((program, arguments)) if !program.is_empty() => {
            let argv = CommandLine::new(program, arguments.iter().cloned());
            Ok((argv, pointers))
        }
        _ => Err(de::Error::custom("is empty; name a program")),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub(super) struct RedisForm {
    #[serde(deserialize_with = "read_redis_url")]
    url: SecretUrl,
    #[serde(default, deserialize_with = "read_password_path")]
    password_file: Option<PathBuf>,
    #[serde(default, deserialize_with = "read_text")]
    key: Option<String>,
    #[serde(default, deserialize_with = "read_text")]
    field: Option<String>,
    #[serde(default, deserialize_with = "read_text")]
    expire_field: Option<String>,
    preset: Option<Preset>,
    #[serde(default, deserialize_with = "read_text")]
    prefix: Option<String>,
    #[serde(default, deserialize_with = "read_pointer")]
    token_pointer: Option<String>,
    #[serde(default, deserialize_with = "read_pointer")]
    expires_pointer: Option<String>,
}

/// Where well-known libraries keep their tokens, as their sources had it in 2026.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Preset {
    /// `WxMaRedisConfigImpl` of `WxJava`; its `WxMaRedisBetterConfigImpl` is the same with a prefix of one's own.
    Wxjava,
    /// `AbstractWxMaRedisConfig` of `WxJava`. With a `maId` the prefix is `maConfig:{maId}`.
    WxjavaHash,
    Silenceper,
    SilenceperStable,
    /// It stores a JSON string.
    Wechatpy,
}

impl Preset {
    /// The key, with `{appid}` where the app's own stands.
    fn key(self, prefix: Option<&str>) -> String {
        let (prefix_of_library, rest) = match self {
            Self::Wxjava => ("wa", ":access_token:{appid}"),
            Self::WxjavaHash => ("maConfig", ":accessToken"),
            // The double underscore is silenceper's own.
            Self::Silenceper => ("gowechat_miniprogram_", "_access_token_{appid}"),
            Self::SilenceperStable => ("gowechat_miniprogram_", "_stable_access_token_{appid}"),
            Self::Wechatpy => ("wechatpy", ":{appid}_access_token"),
        };
        format!("{}{rest}", prefix.unwrap_or(prefix_of_library))
    }
}

impl TryFrom<RedisForm> for RedisTokenConfig {
    type Error = &'static str;

    fn try_from(form: RedisForm) -> Result<Self, &'static str> {
        let mut redis = Self {
            url: form.url,
            password_file: form.password_file,
            key: String::new(),
            field: form.field,
            expire_field: form.expire_field,
            pointers: pointers(form.token_pointer, form.expires_pointer),
        };
        redis.key = match (form.key, form.preset) {
            (Some(key), None) => key,
            (None, Some(preset)) => preset.key(form.prefix.as_deref()),
            (None, None) => return Err("needs one of key, preset"),
            (Some(_), Some(_)) => return Err("has both key and preset; keep one"),
        };
        match form.preset {
            Some(Preset::WxjavaHash) => {
                redis.field.get_or_insert_with(|| "value".to_owned());
                redis
                    .expire_field
                    .get_or_insert_with(|| "expire".to_owned());
            }
            // The pointer names the whole document.
            Some(Preset::Wechatpy) => {
                redis.pointers.token.get_or_insert_default();
            }
            None if form.prefix.is_some() => {
                return Err("has a prefix without a preset; write the whole key instead");
            }
            _ => {}
        }
        if redis.expire_field.is_some() && redis.field.is_none() {
            return Err("has expire_field without field; name the token's field too");
        }
        Ok(redis)
    }
}

fn pointers(token: Option<String>, expires: Option<String>) -> TokenPointers {
    TokenPointers { token, expires }
}

/// What two apps can't share: where a token is read. `None`: each app has tokens of its own.
pub(super) fn token_source(credential: &Credential) -> Option<String> {
    // Another name for the same file is the same file.
    let file = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    // Never shown: URLs and arguments can hold secrets.
    Some(match credential {
        Credential::StableToken { .. } | Credential::Token { .. } => return None,
        Credential::File { path, pointers } => format!("{:?}", (file(path), &pointers.token)),
        Credential::Cloudbase { path } => format!("{:?}", (file(path), None::<String>)),
        Credential::Http(http) => {
            let headers = http.headers_file.as_deref().map(file);
            let url = url(&http.url);
            format!("{:?}", (url, http.method, headers, &http.pointers.token))
        }
        Credential::Command { argv, pointers } => {
            let arguments = argv.expose_arguments();
            format!("{:?}", (argv.program(), arguments, &pointers.token))
        }
        Credential::Redis(redis) => {
            let (url, pointer) = (url(&redis.url), &redis.pointers.token);
            format!("{:?}", (url, &redis.key, &redis.field, pointer))
        }
        Credential::None { from_appid } => format!("none {from_appid:?}"),
    })
}

/// A URL in the one way that it can be written; of a Redis server without the login.
fn url(url: &SecretUrl) -> String {
    let Ok(url) = reqwest::Url::parse(url.expose()) else {
        return url.expose().to_owned();
    };
    if !url.scheme().starts_with("redis") {
        return url.to_string();
    }
    let database: u32 = url.path().trim_matches('/').parse().unwrap_or_default();
    let port = url.port().unwrap_or(6379);
    format!("{}:{port}/{database}", url.host_str().unwrap_or_default())
}
