//! `access_token:` of the configuration file: where an app's token comes from.

use std::fmt;
use std::path::PathBuf;

use reqwest::Url;
use serde::Deserialize;

use super::ConfigError;
use super::secret::{SecretSource, read_headers_file};
use super::units::{read_redis_url, read_web_url};
use crate::wechat::{Api, CredentialKind, read_pointer};

/// Where an app's token comes from.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(
    rename_all = "snake_case",
    deny_unknown_fields,
    expecting = "a mapping"
)]
pub enum Credential {
    /// Minted from `/cgi-bin/stable_token`, shared with every other user of it.
    #[serde(deserialize_with = "SecretSource::deserialize")]
    StableToken {
        /// The AppSecret.
        secret: SecretSource,
    },
    /// Minted from `/cgi-bin/token`, which invalidates everybody else's token.
    #[serde(deserialize_with = "SecretSource::deserialize")]
    Token {
        /// The AppSecret.
        secret: SecretSource,
    },
    /// Read from a file that another program keeps fresh.
    File {
        /// The file, which holds the token itself or JSON.
        path: PathBuf,
        /// The pointer to the token in JSON; `None` to try the usual places.
        #[serde(default, deserialize_with = "read_pointer")]
        token_pointer: Option<String>,
    },
    /// Read from a central token server (中控服务器).
    Http(HttpTokenConfig),
    /// The standard output of a command.
    Command(CommandLine),
    /// Read from Redis or Valkey.
    Redis(RedisTokenConfig),
    /// The `cloudbase_access_token` file mounted into a WeChat Cloud Run container.
    Cloudbase {
        /// The file; `/.tencentcloudbase/wx/cloudbase_access_token` by default.
        #[serde(default = "cloudbase_path")]
        path: PathBuf,
    },
    /// No token: Cloud Run's open-interface service adds it.
    None {
        /// `from_appid=` of every call, for shared resources.
        from_appid: Option<String>,
    },
}

/// Where WeChat Cloud Run mounts its token.
///
/// Source: <https://developers.weixin.qq.com/minigame/dev/wxcloud/guide/container/cloudcall.html>, 2026-11.
fn cloudbase_path() -> PathBuf {
    PathBuf::from("/.tencentcloudbase/wx/cloudbase_access_token")
}

impl Credential {
    /// Returns a text that is equal for all credentials that read the same token, however a path or a URL is written;
    /// `None` if the exporter mints its own token.
    pub(super) fn source(&self) -> Option<String> {
        let real = |path: &PathBuf| path.canonicalize().unwrap_or_else(|_| path.clone());
        let file = |path, pointer: &Option<String>| format!("file {:?} {pointer:?}", real(path));
        Some(match self {
            Self::StableToken { .. } | Self::Token { .. } => return None,
            Self::File {
                path,
                token_pointer,
            } => file(path, token_pointer),
            Self::Cloudbase { path } => file(path, &None),
            Self::Http(HttpTokenConfig {
                url,
                headers_file,
                token_pointer,
                refresh_url: _,
            }) => {
                let headers_file = headers_file.as_ref().map(real);
                format!("http {} {headers_file:?} {token_pointer:?}", url.expose())
            }
            Self::Command(line) => format!("command {:?} {:?}", line.program, line.arguments),
            Self::Redis(redis) => format!(
                "redis {} {:?} {:?} {:?}",
                redis.url.redis_database(),
                redis.key,
                redis.field,
                redis.token_pointer
            ),
            Self::None { from_appid } => format!("none {from_appid:?}"),
        })
    }

    /// Returns the call that mints the tokens; `None` if another program does.
    pub(crate) fn token_api(&self) -> Option<Api> {
        match self {
            Self::StableToken { .. } => Some(Api::StableToken),
            Self::Token { .. } => Some(Api::Token),
            _ => None,
        }
    }

    /// Returns the key under `access_token:` that configures the credential.
    pub fn kind(&self) -> CredentialKind {
        match self {
            Self::StableToken { .. } => CredentialKind::StableToken,
            Self::Token { .. } => CredentialKind::Token,
            Self::File { .. } => CredentialKind::File,
            Self::Http(_) => CredentialKind::Http,
            Self::Command(_) => CredentialKind::Command,
            Self::Redis(_) => CredentialKind::Redis,
            Self::Cloudbase { .. } => CredentialKind::Cloudbase,
            Self::None { .. } => CredentialKind::None,
        }
    }

    /// Returns the path of the file that the credential names.
    pub(super) fn path_mut(&mut self) -> Option<&mut PathBuf> {
        match self {
            Self::StableToken { secret } | Self::Token { secret } => match secret {
                SecretSource::File(path) => Some(path),
                _ => None,
            },
            Self::File { path, .. } | Self::Cloudbase { path } => Some(path),
            Self::Http(http) => http.headers_file.as_mut(),
            Self::Redis(redis) => redis.password_file.as_mut(),
            Self::Command(_) | Self::None { .. } => None,
        }
    }

    /// Reads the secrets that the credential names, so that a mistake fails the start and not the first scrape. A token
    /// file may be written later.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        match self {
            // As of an empty path, which is the folder of the configuration.
            Self::File { path, .. } | Self::Cloudbase { path } if path.is_dir() => {
                let path = path.display();
                Err(ConfigError(format!("token file {path} is a directory")))
            }
            Self::StableToken { secret } | Self::Token { secret } => secret.read().map(drop),
            Self::Http(http) => match &http.headers_file {
                Some(path) => read_headers_file(path).map(drop),
                None => Ok(()),
            },
            Self::Redis(redis) => match &redis.password_file {
                Some(path) => SecretSource::File(path.clone()).read().map(drop),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }
}

/// A URL that may hold a password or a key. `Debug` and `Display` show only scheme and host.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretUrl(Url);

impl SecretUrl {
    /// Wraps a URL.
    pub fn new(url: Url) -> Self {
        Self(url)
    }

    /// Returns the whole URL, to connect to it or to compare it. It must not be shown.
    pub fn expose(&self) -> &Url {
        &self.0
    }

    /// Returns host, port and database of a Redis URL, without the login, and the same if default numbers are left out.
    fn redis_database(&self) -> String {
        let host = self.0.host_str().unwrap_or_default();
        let port = self.0.port().unwrap_or(6379);
        let database = self.0.path().trim_start_matches(['/', '0']);
        format!("{host}:{port}/{database}")
    }
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.0.host_str().unwrap_or_default();
        write!(f, "{}://{host}", self.0.scheme())?;
        match self.0.port() {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretUrl({self})")
    }
}

/// A central token server.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub struct HttpTokenConfig {
    /// The URL that the token is read from.
    #[serde(deserialize_with = "read_web_url")]
    pub url: SecretUrl,
    /// A file of `Name: value` lines, sent as headers.
    pub headers_file: Option<PathBuf>,
    /// The URL to call once after WeChat rejected the token, before the token is read again.
    #[serde(default, deserialize_with = "read_web_url")]
    pub refresh_url: Option<SecretUrl>,
    /// The pointer to the token in the reply; `None` to try the usual places.
    #[serde(default, deserialize_with = "read_pointer")]
    pub token_pointer: Option<String>,
}

/// A program and its arguments, run without a shell. `Debug` only counts the arguments, which can hold secrets.
#[derive(Clone, Deserialize, PartialEq, Eq)]
#[serde(try_from = "Vec<String>")]
pub struct CommandLine {
    pub(crate) program: String,
    pub(crate) arguments: Vec<String>,
}

impl TryFrom<Vec<String>> for CommandLine {
    type Error = &'static str;

    fn try_from(mut argv: Vec<String>) -> Result<Self, &'static str> {
        if argv.first().is_none_or(String::is_empty) {
            return Err("is empty; name a program");
        }
        Ok(Self {
            program: argv.remove(0),
            arguments: argv,
        })
    }
}

impl fmt::Debug for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (program, arguments) = (&self.program, self.arguments.len());
        write!(f, "CommandLine({program:?} with {arguments} arguments)")
    }
}

/// A token in Redis or Valkey.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "RedisForm")]
pub struct RedisTokenConfig {
    /// `redis://` or `rediss://`.
    pub url: SecretUrl,
    /// A file with the password, if the URL holds none.
    pub password_file: Option<PathBuf>,
    /// The key. In the configuration file, `{appid}` stands for the appid of the app.
    pub key: String,
    /// The field that holds the token, if the key is a hash.
    pub field: Option<String>,
    /// The hash field that holds the token's end in epoch milliseconds.
    pub expire_field: Option<String>,
    /// The pointer to the token in JSON; `None` to try the usual places.
    pub token_pointer: Option<String>,
}

/// [`RedisTokenConfig`] as it is written in the configuration file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
struct RedisForm {
    #[serde(deserialize_with = "read_redis_url")]
    url: SecretUrl,
    password_file: Option<PathBuf>,
    key: Option<String>,
    field: Option<String>,
    preset: Option<Preset>,
    prefix: Option<String>,
    #[serde(default, deserialize_with = "read_pointer")]
    token_pointer: Option<String>,
}

/// Where well-known libraries keep their tokens, according to their source code in 2026.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Preset {
    /// `WxMaRedisConfigImpl` of `WxJava`. Its `WxMaRedisBetterConfigImpl` is the same with a custom prefix.
    Wxjava,
    /// `AbstractWxMaRedisConfig` of `WxJava`. With a `maId` the prefix is `maConfig:{maId}`.
    WxjavaHash,
    Silenceper,
    SilenceperStable,
    Wechatpy,
}

impl Preset {
    /// Returns the key, with `{appid}` in place of the app's own.
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
        let key = match (form.key, form.preset, form.prefix) {
            (Some(key), None, None) => key,
            (None, Some(preset), prefix) => preset.key(prefix.as_deref()),
            (None, None, _) => return Err("needs one of key, preset"),
            (Some(_), _, _) => return Err("has a key and a preset or prefix; keep one"),
        };
        let is_hash = matches!(form.preset, Some(Preset::WxjavaHash));
        Ok(Self {
            url: form.url,
            password_file: form.password_file,
            key,
            field: form.field.or(is_hash.then(|| "value".to_owned())),
            expire_field: is_hash.then(|| "expire".to_owned()),
            token_pointer: form.token_pointer,
        })
    }
}
