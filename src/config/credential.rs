//! `access_token:` of the configuration file: where an app's token comes from.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::file::Place;
use super::secret::{read_headers_file, read_secret_file};
use super::units::{Pointer, RedisUrl, Text, WebUrl};
use super::{
    CommandLine, ConfigError, Credential, HttpTokenConfig, HttpTokenMethod, RedisTokenConfig,
    SecretSource, SecretUrl, TokenPointers,
};

/// Where WeChat Cloud Run mounts its token.
///
/// Source: <https://developers.weixin.qq.com/minigame/dev/wxcloud/guide/container/cloudcall.html>, 2026-11.
const CLOUDBASE_PATH: &str = "/.tencentcloudbase/wx/cloudbase_access_token";

/// `access_token:` as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum CredentialForm {
    StableToken(Spanned<SecretSource>),
    Token(Spanned<SecretSource>),
    File(FileForm),
    Http(HttpForm),
    Command(Spanned<CommandForm>),
    Redis(Box<Spanned<RedisForm>>),
    // `cloudbase:` is as good as `cloudbase: {}`.
    Cloudbase(Option<CloudbaseForm>),
    None(Option<NoneForm>),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub(super) struct FileForm {
    path: Text,
    token_pointer: Option<Pointer>,
    expires_pointer: Option<Pointer>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub(super) struct HttpForm {
    url: WebUrl,
    method: Option<Spanned<Text>>,
    headers_file: Option<Spanned<Text>>,
    refresh_url: Option<WebUrl>,
    token_pointer: Option<Pointer>,
    expires_pointer: Option<Pointer>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "must be a list of the program and its arguments, or a mapping with the list as argv; there is no shell"
)]
pub(super) enum CommandForm {
    Argv(Vec<Text>),
    Mapping(CommandMapping),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CommandMapping {
    argv: Vec<Text>,
    token_pointer: Option<Pointer>,
    expires_pointer: Option<Pointer>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub(super) struct RedisForm {
    url: RedisUrl,
    key: Option<Text>,
    field: Option<Text>,
    expire_field: Option<Text>,
    preset: Option<Spanned<Text>>,
    prefix: Option<Text>,
    token_pointer: Option<Pointer>,
    expires_pointer: Option<Pointer>,
    password_file: Option<Spanned<Text>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub(super) struct CloudbaseForm {
    path: Option<Text>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub(super) struct NoneForm {
    from_appid: Option<Text>,
}

impl CredentialForm {
    /// What it means for that app. Relative paths are relative to `base`. Secrets are read when they are needed; they
    /// are read here too, so that the start fails and not the first scrape.
    pub(super) fn interpret(
        &self,
        place: &Place<'_>,
        appid: &str,
        base: &Path,
    ) -> Result<Credential, ConfigError> {
        Ok(match self {
            Self::StableToken(secret) => Credential::StableToken {
                secret: interpret_secret(secret, &place.key("stable_token"), base)?,
            },
            Self::Token(secret) => Credential::Token {
                secret: interpret_secret(secret, &place.key("token"), base)?,
            },
            Self::File(file) => Credential::File {
                path: base.join(&file.path.0),
                pointers: pointers(&file.token_pointer, &file.expires_pointer),
            },
            Self::Http(http) => Credential::Http(http.interpret(&place.key("http"), base)?),
            Self::Command(command) => {
                let place = place.key("command").at(command);
                command.value.interpret(&place)?
            }
            Self::Redis(redis) => {
                let place = place.key("redis").at(redis);
                Credential::Redis(redis.value.interpret(&place, appid, base)?)
            }
            Self::Cloudbase(form) => Credential::Cloudbase {
                path: match form.as_ref().and_then(|form| form.path.as_ref()) {
                    Some(Text(path)) => base.join(path),
                    None => PathBuf::from(CLOUDBASE_PATH),
                },
            },
            Self::None(form) => Credential::None {
                from_appid: form.as_ref().and_then(|form| owned(&form.from_appid)),
            },
        })
    }
}

fn interpret_secret(
    secret: &Spanned<SecretSource>,
    place: &Place<'_>,
    base: &Path,
) -> Result<SecretSource, ConfigError> {
    let (key, source) = match &secret.value {
        SecretSource::File(path) => ("secret_file", SecretSource::File(base.join(path))),
        SecretSource::Env(_) => ("secret_env", secret.value.clone()),
        _ => ("secret_credential", secret.value.clone()),
    };
    match source.read() {
        Ok(_) => Ok(source),
        Err(error) => {
            let place = place.key(key).at(secret);
            Err(place.error(format_args!("can't be used: {error}")))
        }
    }
}

impl HttpForm {
    fn interpret(&self, place: &Place<'_>, base: &Path) -> Result<HttpTokenConfig, ConfigError> {
        let method = match &self.method {
            None => HttpTokenMethod::Get,
            Some(method) => match method.value.0.to_ascii_uppercase().as_str() {
                "GET" => HttpTokenMethod::Get,
                "POST" => HttpTokenMethod::Post,
                _ => return Err(place.key("method").at(method).error("must be GET or POST")),
            },
        };
        let place = place.key("headers_file");
        Ok(HttpTokenConfig {
            url: self.url.0.clone(),
            method,
            headers_file: readable_file(&self.headers_file, &place, base, read_headers_file)?,
            refresh_url: self.refresh_url.clone().map(|WebUrl(url)| url),
            pointers: pointers(&self.token_pointer, &self.expires_pointer),
        })
    }
}

impl CommandForm {
    fn interpret(&self, place: &Place<'_>) -> Result<Credential, ConfigError> {
        let (argv, pointers) = match self {
            Self::Argv(argv) => (argv, TokenPointers::default()),
            Self::Mapping(command) => (
                &command.argv,
                pointers(&command.token_pointer, &command.expires_pointer),
            ),
        };
        let Some((Text(program), arguments)) = argv.split_first() else {
            return Err(place.error("is empty; name a program"));
        };
        let arguments = arguments.iter().map(|Text(argument)| argument.clone());
        Ok(Credential::Command {
            argv: CommandLine::new(program, arguments),
            pointers,
        })
    }
}

impl RedisForm {
    fn interpret(
        &self,
        place: &Place<'_>,
        appid: &str,
        base: &Path,
    ) -> Result<RedisTokenConfig, ConfigError> {
        let mut redis = RedisTokenConfig {
            url: self.url.0.clone(),
            password_file: readable_file(
                &self.password_file,
                &place.key("password_file"),
                base,
                read_secret_file,
            )?,
            key: String::new(),
            field: None,
            expire_field: None,
            pointers: TokenPointers::default(),
        };
        match (&self.key, &self.preset) {
            (Some(_), None) if self.prefix.is_some() => {
                return Err(
                    place.error("has a prefix without a preset; write the whole key instead")
                );
            }
            (Some(Text(key)), None) => redis.key.clone_from(key),
            (None, Some(preset)) => {
                let Text(name) = &preset.value;
                let prefix = self.prefix.as_ref().map(|Text(prefix)| prefix.as_str());
                if !fill_in_preset(&mut redis, name, prefix, appid) {
                    let problem = format!("must be one of {}", PRESETS.join(", "));
                    return Err(place.key("preset").at(preset).error(problem));
                }
            }
            (None, None) => return Err(place.error("needs one of key, preset")),
            (Some(_), Some(_)) => return Err(place.error("has both key and preset; keep one")),
        }
        redis.field = owned(&self.field).or(redis.field);
        redis.expire_field = owned(&self.expire_field).or(redis.expire_field);
        let own = pointers(&self.token_pointer, &self.expires_pointer);
        redis.pointers.token = own.token.or(redis.pointers.token);
        redis.pointers.expires = own.expires;
        if redis.expire_field.is_some() && redis.field.is_none() {
            return Err(place.error("has expire_field without field; name the token's field too"));
        }
        Ok(redis)
    }
}

const PRESETS: [&str; 5] = [
    "wxjava",
    "wxjava-hash",
    "silenceper",
    "silenceper-stable",
    "wechatpy",
];

/// Where well-known libraries keep their tokens, as their sources had it in 2026; `false`: there is no such preset.
fn fill_in_preset(
    redis: &mut RedisTokenConfig,
    name: &str,
    prefix: Option<&str>,
    appid: &str,
) -> bool {
    let or = |default| prefix.unwrap_or(default);
    redis.key = match name {
        // WxJava's WxMaRedisConfigImpl; its WxMaRedisBetterConfigImpl is the same with a prefix of one's own.
        "wxjava" => format!("{}:access_token:{appid}", or("wa")),
        // WxJava's AbstractWxMaRedisConfig. With a maId the prefix is `maConfig:{maId}`.
        "wxjava-hash" => {
            redis.field = Some("value".to_owned());
            redis.expire_field = Some("expire".to_owned());
            format!("{}:accessToken", or("maConfig"))
        }
        // The double underscore is silenceper's own.
        "silenceper" => format!("{}_access_token_{appid}", or("gowechat_miniprogram_")),
        "silenceper-stable" => {
            format!(
                "{}_stable_access_token_{appid}",
                or("gowechat_miniprogram_")
            )
        }
        // wechatpy stores a JSON string: the pointer names the whole document.
        "wechatpy" => {
            redis.pointers.token = Some(String::new());
            format!("{}:{appid}_access_token", or("wechatpy"))
        }
        _ => return false,
    };
    true
}

fn owned(text: &Option<Text>) -> Option<String> {
    text.as_ref().map(|Text(text)| text.clone())
}

fn pointers(token: &Option<Pointer>, expires: &Option<Pointer>) -> TokenPointers {
    let owned = |pointer: &Option<Pointer>| pointer.as_ref().map(|Pointer(text)| text.clone());
    TokenPointers {
        token: owned(token),
        expires: owned(expires),
    }
}

/// The path of a file with secrets that can be read now, where one is given.
pub(super) fn readable_file<T>(
    path: &Option<Spanned<Text>>,
    place: &Place<'_>,
    base: &Path,
    read: fn(&Path) -> Result<T, ConfigError>,
) -> Result<Option<PathBuf>, ConfigError> {
    let Some(written) = path else {
        return Ok(None);
    };
    let path = base.join(&written.value.0);
    match read(&path) {
        Ok(_) => Ok(Some(path)),
        Err(error) => Err(place
            .at(written)
            .error(format_args!("can't be used: {error}"))),
    }
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
            format!(
                "{:?}",
                (url(&http.url), http.method, headers, &http.pointers.token)
            )
        }
        Credential::Command { argv, pointers } => format!(
            "{:?}",
            (argv.program(), argv.expose_arguments(), &pointers.token)
        ),
        Credential::Redis(redis) => format!(
            "{:?}",
            (
                url(&redis.url),
                &redis.key,
                &redis.field,
                &redis.pointers.token
            )
        ),
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
