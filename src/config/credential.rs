//! `access_token:` of the configuration file: where an app's token comes from.

use std::path::{Path, PathBuf};

use super::headers::read_headers_file;
use super::preset::{PRESETS, Preset};
use super::secret::read_secret_file;
use super::yaml::{Item, Mapping};
use super::{
    CommandLine, ConfigError, Credential, HttpTokenConfig, HttpTokenMethod, RedisTokenConfig,
    SecretSource, SecretUrl, TokenPointers,
};

/// Where WeChat Cloud Run mounts its token.
///
/// Source: <https://developers.weixin.qq.com/minigame/dev/wxcloud/guide/container/cloudcall.html>, 2026-11.
const CLOUDBASE_PATH: &str = "/.tencentcloudbase/wx/cloudbase_access_token";

/// The keys of `access_token:`, of which one is given.
pub(super) const CREDENTIAL_KINDS: [&str; 8] = [
    "stable_token",
    "token",
    "file",
    "http",
    "command",
    "redis",
    "cloudbase",
    "none",
];

const SECRET_KEYS: [&str; 3] = ["secret_file", "secret_env", "secret_credential"];

/// Reads it. Relative paths are relative to `base`.
pub(super) fn read(
    access_token: &Mapping<'_>,
    appid: &str,
    base: &Path,
) -> Result<Credential, ConfigError> {
    let (kind, item) = access_token.one_of(&CREDENTIAL_KINDS)?;
    Ok(match kind {
        "stable_token" => Credential::StableToken {
            secret: secret(&item, base)?,
        },
        "token" => Credential::Token {
            secret: secret(&item, base)?,
        },
        "file" => {
            let file = item.mapping(&["path", "token_pointer", "expires_pointer"])?;
            Credential::File {
                path: path(&file.require("path")?, base)?,
                pointers: pointers(&file)?,
            }
        }
        "http" => Credential::Http(http(&item, base)?),
        "command" => command(&item)?,
        "redis" => Credential::Redis(redis(&item, appid, base)?),
        "cloudbase" => {
            let cloudbase = item.mapping_or_nothing(&["path"])?;
            Credential::Cloudbase {
                path: match cloudbase.get("path") {
                    Some(item) => path(&item, base)?,
                    None => PathBuf::from(CLOUDBASE_PATH),
                },
            }
        }
        _ => {
            let none = item.mapping_or_nothing(&["from_appid"])?;
            Credential::None {
                from_appid: optional_text(&none, "from_appid")?,
            }
        }
    })
}

fn secret(item: &Item<'_>, base: &Path) -> Result<SecretSource, ConfigError> {
    let (key, place) = item.mapping(&SECRET_KEYS)?.one_of(&SECRET_KEYS)?;
    let source = match key {
        "secret_file" => SecretSource::File(path(&place, base)?),
        "secret_env" => SecretSource::Env(place.text()?.to_owned()),
        _ => SecretSource::Credential(place.text()?.to_owned()),
    };
    // Read again whenever it is needed; read here too, so that the start fails and not the first scrape.
    match source.read() {
        Ok(_) => Ok(source),
        Err(error) => Err(place.error(format_args!("can't be used: {error}"))),
    }
}

fn http(item: &Item<'_>, base: &Path) -> Result<HttpTokenConfig, ConfigError> {
    let http = item.mapping(&[
        "url",
        "method",
        "headers_file",
        "refresh_url",
        "token_pointer",
        "expires_pointer",
    ])?;
    let web = ["http", "https"];
    let method = match http.get("method") {
        None => HttpTokenMethod::Get,
        Some(item) if item.text()?.eq_ignore_ascii_case("GET") => HttpTokenMethod::Get,
        Some(item) if item.text()?.eq_ignore_ascii_case("POST") => HttpTokenMethod::Post,
        Some(item) => return Err(item.error("must be GET or POST")),
    };
    let refresh_url = http.get("refresh_url");
    Ok(HttpTokenConfig {
        url: secret_url(&http.require("url")?, &web)?,
        method,
        headers_file: file_that_reads(&http, "headers_file", base, read_headers_file)?,
        refresh_url: refresh_url
            .map(|item| secret_url(&item, &web))
            .transpose()?,
        pointers: pointers(&http)?,
    })
}

fn command(item: &Item<'_>) -> Result<Credential, ConfigError> {
    const ARGV: &str = "a list of the program and its arguments; there is no shell";
    let (argv, pointers) = if item.is_mapping() {
        let command = item.mapping(&["argv", "token_pointer", "expires_pointer"])?;
        (command.require("argv")?, pointers(&command)?)
    } else {
        (item.clone(), TokenPointers::default())
    };
    let words = argv.list(ARGV)?;
    let Some((program, arguments)) = words.split_first() else {
        return Err(argv.error("is empty; name a program"));
    };
    let program = program.text()?;
    let arguments = arguments.iter().map(|word| word.text().map(str::to_owned));
    let arguments: Vec<_> = arguments.collect::<Result<_, _>>()?;
    Ok(Credential::Command {
        argv: CommandLine::new(program, arguments),
        pointers,
    })
}

fn redis(item: &Item<'_>, appid: &str, base: &Path) -> Result<RedisTokenConfig, ConfigError> {
    let redis = item.mapping(&[
        "url",
        "key",
        "field",
        "expire_field",
        "preset",
        "prefix",
        "token_pointer",
        "expires_pointer",
        "password_file",
    ])?;
    let url = secret_url(&redis.require("url")?, &["redis", "rediss"])?;
    let (which, place) = redis.one_of(&["key", "preset"])?;
    let prefix = redis.get("prefix");
    let mut field = optional_text(&redis, "field")?;
    let mut expire_field = optional_text(&redis, "expire_field")?;
    let mut pointers = pointers(&redis)?;
    let key = if which == "key" {
        if let Some(prefix) = prefix {
            return Err(prefix.error("belongs to a preset; write the whole key instead"));
        }
        place.text()?.to_owned()
    } else {
        let Some(preset) = Preset::named(place.text()?) else {
            let names: Vec<_> = PRESETS.iter().map(|preset| preset.name).collect();
            return Err(place.error(format_args!("must be one of {}", names.join(", "))));
        };
        let owned = |text: Option<&str>| text.map(str::to_owned);
        field = field.or_else(|| owned(preset.field));
        expire_field = expire_field.or_else(|| owned(preset.expire_field));
        pointers.token = pointers.token.or_else(|| owned(preset.token_pointer));
        preset.key(prefix.map(|item| item.text()).transpose()?, appid)
    };
    if let (Some(_), None) = (&expire_field, &field) {
        return Err(redis.error("has expire_field without field; name the token's field too"));
    }
    Ok(RedisTokenConfig {
        url,
        password_file: readable_file(&redis, "password_file", base)?,
        key,
        field,
        expire_field,
        pointers,
    })
}

fn optional_text(mapping: &Mapping<'_>, key: &str) -> Result<Option<String>, ConfigError> {
    mapping
        .get(key)
        .map(|item| item.text().map(str::to_owned))
        .transpose()
}

fn pointers(mapping: &Mapping<'_>) -> Result<TokenPointers, ConfigError> {
    Ok(TokenPointers {
        token: pointer(mapping, "token_pointer")?,
        expires: pointer(mapping, "expires_pointer")?,
    })
}

/// A JSON pointer (RFC 6901).
pub(super) fn pointer(mapping: &Mapping<'_>, key: &str) -> Result<Option<String>, ConfigError> {
    match mapping.get(key) {
        None => Ok(None),
        Some(item) => {
            let text = item.text()?;
            if !text.starts_with('/') {
                return Err(
                    item.error("must be a JSON pointer; begin it with /, as in /data/access_token")
                );
            }
            Ok(Some(text.to_owned()))
        }
    }
}

/// A URL that may hold a password: no sentence repeats it.
pub(super) fn secret_url(item: &Item<'_>, schemes: &[&str]) -> Result<SecretUrl, ConfigError> {
    let text = item.text()?.trim();
    let well_formed = reqwest::Url::parse(text).is_ok_and(|url| {
        schemes.contains(&url.scheme()) && url.host_str().is_some_and(|host| !host.is_empty())
    });
    if !well_formed {
        let schemes: Vec<_> = schemes.iter().map(|name| format!("{name}://")).collect();
        return Err(item.error(format_args!(
            "must be a URL that begins with {} and a host",
            schemes.join(" or ")
        )));
    }
    Ok(SecretUrl::new(text))
}

fn path(item: &Item<'_>, base: &Path) -> Result<PathBuf, ConfigError> {
    Ok(base.join(item.text()?))
}

/// The path of a file with a secret that must be there now, where the key is given.
pub(super) fn readable_file(
    mapping: &Mapping<'_>,
    key: &str,
    base: &Path,
) -> Result<Option<PathBuf>, ConfigError> {
    file_that_reads(mapping, key, base, read_secret_file)
}

/// Read again whenever it is needed; read here too, so that the start fails and not the first scrape.
fn file_that_reads<T>(
    mapping: &Mapping<'_>,
    key: &str,
    base: &Path,
    read: fn(&Path) -> Result<T, ConfigError>,
) -> Result<Option<PathBuf>, ConfigError> {
    let Some(item) = mapping.get(key) else {
        return Ok(None);
    };
    let path = path(&item, base)?;
    match read(&path) {
        Ok(_) => Ok(Some(path)),
        Err(error) => Err(item.error(format_args!("can't be used: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::yaml;
    use super::*;

    /// Of the credential `text`, which stands in `/etc/exporter/apps.yml` for the app wx1.
    fn credential(text: &str) -> Result<Credential, ConfigError> {
        let file = Path::new("/etc/exporter/apps.yml");
        let node = yaml::parse(text, file)?;
        let mapping = node.document(file).mapping(&CREDENTIAL_KINDS)?;
        read(&mapping, "wx1", Path::new("/etc/exporter"))
    }

    fn redis(text: &str) -> RedisTokenConfig {
        match credential(&format!("redis: {{ url: 'redis://h/0', {text} }}")) {
            Ok(Credential::Redis(redis)) => redis,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn error_is_one_line_whatever_the_path_is() {
        let ConfigError(text) = credential("token: { secret_file: \"a\\nb\" }").unwrap_err();
        assert!(
            text.contains("a\u{fffd}b") && !text.contains('\n'),
            "{text}"
        );
    }

    #[test]
    fn headers_file_with_a_line_that_is_no_header_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("headers");
        std::fs::write(&file, "X-Key: canary\ncanary\n").unwrap();
        let shown = file.display();
        let text = format!("http: {{ url: 'http://h/t', headers_file: '{shown}' }}");
        let ConfigError(fault) = credential(&text).unwrap_err();
        let sentence =
            format!("http.headers_file can't be used: {shown} line 2 should be `Name: value`");
        assert!(fault.ends_with(&sentence), "{fault}");
        assert!(!fault.contains("canary"), "{fault}");
    }

    #[test]
    fn each_kind_of_credential_is_read() {
        let pointers = |token: Option<&str>| TokenPointers {
            token: token.map(str::to_owned),
            expires: None,
        };
        for (text, read) in [
            (
                "stable_token: { secret_env: PATH }",
                Credential::StableToken {
                    secret: SecretSource::Env("PATH".into()),
                },
            ),
            (
                "token: { secret_env: PATH }",
                Credential::Token {
                    secret: SecretSource::Env("PATH".into()),
                },
            ),
            (
                "file: { path: token, token_pointer: /data/access_token }",
                Credential::File {
                    path: "/etc/exporter/token".into(),
                    pointers: pointers(Some("/data/access_token")),
                },
            ),
            (
                "command: [/usr/bin/token, --fresh]",
                Credential::Command {
                    argv: CommandLine::new("/usr/bin/token", ["--fresh".into()]),
                    pointers: pointers(None),
                },
            ),
            (
                "command: { argv: [token], token_pointer: /t }",
                Credential::Command {
                    argv: CommandLine::new("token", []),
                    pointers: pointers(Some("/t")),
                },
            ),
            (
                "cloudbase: {}",
                Credential::Cloudbase {
                    path: CLOUDBASE_PATH.into(),
                },
            ),
            (
                "cloudbase:",
                Credential::Cloudbase {
                    path: CLOUDBASE_PATH.into(),
                },
            ),
            ("none: {}", Credential::None { from_appid: None }),
            (
                "none: { from_appid: wx9 }",
                Credential::None {
                    from_appid: Some("wx9".into()),
                },
            ),
        ] {
            assert_eq!(credential(text), Ok(read), "{text}");
        }
    }

    #[test]
    fn token_server_is_read_with_get_unless_told_otherwise() {
        let text =
            "http: { url: 'https://u:p@h/t?k=1', refresh_url: 'https://h/r', expires_pointer: /e }";
        let Ok(Credential::Http(http)) = credential(text) else {
            panic!("not read");
        };
        assert_eq!(http.url.expose(), "https://u:p@h/t?k=1");
        assert_eq!(http.method, HttpTokenMethod::Get);
        assert_eq!(http.pointers.expires.as_deref(), Some("/e"));
        let text = "http: { url: 'https://h/t', method: post }";
        assert!(matches!(
            credential(text),
            Ok(Credential::Http(http)) if http.method == HttpTokenMethod::Post
        ));
    }

    #[test]
    fn preset_fills_in_what_is_not_given() {
        let hash = redis("preset: wxjava-hash");
        assert_eq!(hash.key, "maConfig:accessToken");
        assert_eq!(hash.field.as_deref(), Some("value"));
        assert_eq!(hash.expire_field.as_deref(), Some("expire"));
        let json = redis("preset: wechatpy, prefix: shop");
        assert_eq!(json.key, "shop:wx1_access_token");
        assert_eq!(json.pointers.token.as_deref(), Some(""));
        let own = redis("key: 'wa:access_token:wx1'");
        assert_eq!((own.key.as_str(), own.field), ("wa:access_token:wx1", None));
    }

    #[test]
    fn faults_are_one_sentence_each() {
        for (text, sentence) in [
            (
                "{}",
                "the file needs one of stable_token, token, file, http, command, redis, cloudbase, none",
            ),
            (
                "file: { path: x }\nnone: {}",
                "the file has both file and none; keep one",
            ),
            (
                "stable_token: {}",
                "stable_token needs one of secret_file, secret_env, secret_credential",
            ),
            (
                "stable_token: canary",
                "stable_token must be a mapping with keys out of secret_file, secret_env, secret_credential",
            ),
            (
                "stable_token: { secret: canary }",
                "stable_token must not hold the secret itself in secret; use secret_file, secret_env or \
                 secret_credential",
            ),
            (
                "stable_token: { secret_file: no-such }",
                "stable_token.secret_file can't be used: secret file /etc/exporter/no-such can't be read: No such \
                 file or directory (os error 2)",
            ),
            (
                "stable_token: { secret_env: NO_SUCH_VARIABLE }",
                "stable_token.secret_env can't be used: environment variable NO_SUCH_VARIABLE is not set; it should \
                 hold the secret",
            ),
            (
                "file: { path: x, token_pointer: canary }",
                "file.token_pointer must be a JSON pointer; begin it with /, as in /data/access_token",
            ),
            (
                "http: { url: 'canary' }",
                "http.url must be a URL that begins with http:// or https:// and a host",
            ),
            (
                "http: { url: 'http://h', method: PUT }",
                "http.method must be GET or POST",
            ),
            (
                "http: { url: 'http://h', headers_file: no-such }",
                "http.headers_file can't be used: secret file /etc/exporter/no-such can't be read: No such file or \
                 directory (os error 2)",
            ),
            (
                "command: /bin/token",
                "command must be a list of the program and its arguments; there is no shell",
            ),
            ("command: []", "command is empty; name a program"),
            (
                "command: [token, 5]",
                "command[1] must be text; put it in quotes",
            ),
            (
                "redis: { url: 'http://canary', key: k }",
                "redis.url must be a URL that begins with redis:// or rediss:// and a host",
            ),
            (
                "redis: { url: 'redis://h' }",
                "redis needs one of key, preset",
            ),
            (
                "redis: { url: 'redis://h', preset: x }",
                "redis.preset must be one of wxjava, wxjava-hash, silenceper, silenceper-stable, wechatpy",
            ),
            (
                "redis: { url: 'redis://h', key: k, prefix: p }",
                "redis.prefix belongs to a preset; write the whole key instead",
            ),
            (
                "redis: { url: 'redis://h', key: k, expire_field: e }",
                "redis has expire_field without field; name the token's field too",
            ),
        ] {
            let line = text.lines().count();
            assert_eq!(
                credential(text).unwrap_err().0,
                format!("/etc/exporter/apps.yml, line {line}: {sentence}"),
                "{text}"
            );
        }
    }
}
