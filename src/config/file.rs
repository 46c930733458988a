//! The configuration file: several apps, with a credential each.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::time::Duration;

use super::credential::{self, CREDENTIAL_KINDS};
use super::tuning::{Tuning, api_url, check_appid, check_name, repeated};
use super::yaml::{self, Item, Mapping};
use super::{AppConfig, ConfigError, SharedStateConfig, stream};
use crate::wechat::{CloudFunction, ListLimits};

/// Ten thousand apps, each with everything that can be said, fit in half of it. Unit: bytes.
const MAX_BYTES: u64 = 16 << 20;
/// How long it may take to come out of a pipe; a program that decrypts it needs a while.
const STREAM_PATIENCE: Duration = Duration::from_secs(10);
/// Begins the keys in the shared state, unless the operator says otherwise.
const KEY_PREFIX: &str = "wechat_logistics:";

const DOCUMENT_KEYS: [&str; 3] = ["apps", "defaults", "shared_state"];
const TUNING_KEYS: [&str; 9] = [
    "api_url",
    "api_urls",
    "min_interval",
    "daily_limit",
    "remark_wrong_msg",
    "remark_content",
    "live_quota",
    "api_quota",
    "refresh_couriers",
];
const APP_KEYS: [&str; 4] = ["appid", "name", "access_token", "cloud_function"];

/// What a file says.
#[derive(Debug)]
pub(super) struct FileConfig {
    pub(super) apps: Vec<AppConfig>,
    pub(super) shared_state: Option<SharedStateConfig>,
}

/// Reads a file. `flags` is what the command line says of all apps; names are labels, which `limits` bounds.
///
/// # Errors
/// The first thing that is wrong.
pub(super) fn load(
    path: &Path,
    flags: &Tuning,
    limits: ListLimits,
) -> Result<FileConfig, ConfigError> {
    let (text, kind) = read(path)?;
    let base = match kind {
        Kind::File => path.parent().unwrap_or(Path::new("")),
        // Nobody means /dev by a file's name without a folder.
        Kind::Stream => Path::new(""),
    };
    interpret(&text, path, base, flags, limits)
}

/// What a configuration is read from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    /// A pipe or a terminal, which gives its text once.
    Stream,
}

fn read(path: &Path) -> Result<(String, Kind), ConfigError> {
    let wrong = |what: String| ConfigError(format!("the file {} {what}", path.display()));
    let unreadable = |error: io::Error| wrong(format!("can't be read: {error}"));
    let found = std::fs::metadata(path).map_err(unreadable)?.file_type();
    let (bytes, kind) = if found.is_file() {
        let mut bytes = Vec::new();
        let mut file = File::open(path).map_err(unreadable)?.take(MAX_BYTES + 1);
        file.read_to_end(&mut bytes).map_err(unreadable)?;
        (bytes, Kind::File)
    } else if found.is_fifo() || found.is_char_device() {
        let bytes = stream::read(path, MAX_BYTES, STREAM_PATIENCE).map_err(unreadable)?;
        if bytes.is_empty() {
            return Err(wrong(
                "gave no text; a pipe can be read only once, so a reload needs a file".to_owned(),
            ));
        }
        (bytes, Kind::Stream)
    } else if found.is_dir() {
        return Err(wrong("is a directory; name the file in it".to_owned()));
    } else {
        return Err(wrong("is no regular file; copy it into one".to_owned()));
    };
    if bytes.len() as u64 > MAX_BYTES {
        return Err(wrong(format!(
            "is larger than {} MiB; is it the right file?",
            MAX_BYTES >> 20
        )));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
        ConfigError(format!(
            "{}, line {line}: this is no UTF-8; save the file as UTF-8",
            path.display()
        ))
    })?;
    Ok((text, kind))
}

fn interpret(
    text: &str,
    path: &Path,
    base: &Path,
    flags: &Tuning,
    limits: ListLimits,
) -> Result<FileConfig, ConfigError> {
    let node = yaml::parse(text, path)?;
    let document = node.document(path).mapping(&DOCUMENT_KEYS)?;
    let defaults = match document.get("defaults") {
        Some(item) => tuning(&item.mapping(&TUNING_KEYS)?)?,
        None => Tuning::default(),
    };
    let shared_state = match document.get("shared_state") {
        Some(item) => Some(shared_state(&item, base)?),
        None => None,
    };
    let list = document.require("apps")?;
    let items = list.list("a list of apps")?;
    if items.is_empty() {
        return Err(list.error("is empty; add an app, or use the demo command to look around"));
    }
    let weaker = flags.or(&defaults);
    let mut lines: HashMap<String, u64> = HashMap::with_capacity(items.len());
    let mut apps = Vec::with_capacity(items.len());
    for item in &items {
        let keys = [&APP_KEYS[..], &TUNING_KEYS].concat();
        let mapping = item.mapping(&keys)?;
        let app = app(&mapping, &weaker, base, limits)?;
        let appid = mapping.require("appid")?;
        if let Some(first) = lines.insert(app.appid.clone(), appid.line()) {
            return Err(appid.error(format_args!(
                "is {}, which line {first} has already; keep one",
                app.appid
            )));
        }
        apps.push(app);
    }
    Ok(FileConfig { apps, shared_state })
}

fn app(
    app: &Mapping<'_>,
    weaker: &Tuning,
    base: &Path,
    limits: ListLimits,
) -> Result<AppConfig, ConfigError> {
    let item = app.require("appid")?;
    let appid = item.text()?;
    check_appid(appid).map_err(|what| item.error(what))?;
    let name = match app.get("name") {
        Some(item) => {
            let name = item.text()?;
            check_name(name, limits).map_err(|what| item.error(what))?;
            Some(name)
        }
        None => None,
    };
    let tuning = tuning(app)?;
    let access_token = app.require("access_token")?;
    let credential = credential::read(&access_token.mapping(&CREDENTIAL_KINDS)?, appid, base)?;
    let cloud_function = match app.get("cloud_function") {
        Some(item) => Some(cloud_function(&item)?),
        None => None,
    };
    Ok(AppConfig {
        cloud_function,
        ..tuning.or(weaker).app(appid, name, credential)
    })
}

fn tuning(mapping: &Mapping<'_>) -> Result<Tuning, ConfigError> {
    let flag = |key| mapping.get(key).map(|item| item.flag()).transpose();
    let duration = |key| mapping.get(key).map(|item| item.duration()).transpose();
    Ok(Tuning {
        api_urls: api_urls(mapping)?,
        min_interval: duration("min_interval")?,
        daily_limit: mapping
            .get("daily_limit")
            .map(|item| item.whole_number())
            .transpose()?,
        remark_wrong_msg: flag("remark_wrong_msg")?,
        remark_content: flag("remark_content")?,
        live_quota: match mapping.get("live_quota") {
            Some(item) if item.duration()?.is_zero() => {
                return Err(item.error("must be longer than 0; leave it out to ask for none"));
            }
            _ => duration("live_quota")?,
        },
        api_quota: flag("api_quota")?,
        refresh_couriers: flag("refresh_couriers")?,
    })
}

fn api_urls(mapping: &Mapping<'_>) -> Result<Option<Vec<String>>, ConfigError> {
    let (one, many) = (mapping.get("api_url"), mapping.get("api_urls"));
    if one.is_none() && many.is_none() {
        return Ok(None);
    }
    let url = |item: &Item<'_>| api_url(item.text()?).map_err(|what| item.error(what));
    let (key, item) = mapping.one_of(&["api_url", "api_urls"])?;
    if key == "api_url" {
        return Ok(Some(vec![url(&item)?]));
    }
    let items = item.list("a list of URLs")?;
    if items.is_empty() {
        return Err(item.error("is empty; name a URL or leave the key out"));
    }
    let urls: Vec<_> = items.iter().map(url).collect::<Result<_, _>>()?;
    match repeated(&urls) {
        // Each host is tried once, and a second try there would be a call of the budget for nothing.
        Some(index) => Err(items[index].error("stands in the list already; keep one")),
        None => Ok(Some(urls)),
    }
}

fn cloud_function(item: &Item<'_>) -> Result<CloudFunction, ConfigError> {
    let function = item.mapping(&["env", "name", "pointer"])?;
    Ok(CloudFunction {
        env: function.require("env")?.text()?.to_owned(),
        name: function.require("name")?.text()?.to_owned(),
        pointer: credential::pointer(&function, "pointer")?,
    })
}

fn shared_state(item: &Item<'_>, base: &Path) -> Result<SharedStateConfig, ConfigError> {
    let state = item.mapping(&["redis", "password_file", "key_prefix"])?;
    Ok(SharedStateConfig {
        redis: credential::secret_url(&state.require("redis")?, &["redis", "rediss"])?,
        password_file: credential::readable_file(&state, "password_file", base)?,
        key_prefix: match state.get("key_prefix") {
            Some(item) => item.text()?.to_owned(),
            None => KEY_PREFIX.to_owned(),
        },
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Credential;
    use super::*;

    const FILE: &str = "apps.yml";

    fn interpreted(text: &str) -> Result<FileConfig, ConfigError> {
        interpret(
            text,
            Path::new(FILE),
            Path::new(""),
            &Tuning::default(),
            ListLimits::default(),
        )
    }

    fn apps(text: &str) -> Vec<AppConfig> {
        interpreted(text).unwrap().apps
    }

    /// A file of one app with that line more; the line is the file's fourth.
    fn with_line(line: &str) -> String {
        format!("apps:\n  - appid: wx1\n    access_token: {{ none: {{}} }}\n    {line}\n")
    }

    #[test]
    fn file_with_every_kind_of_app_is_read() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("main"), "secret\n").unwrap();
        std::fs::write(directory.path().join("h"), "X-Key: 1\n").unwrap();
        let text = r#"
apps:
  - appid: wx0000000000000001
    name: main shop
    access_token:
      stable_token: { secret_file: main }
  - appid: wx0000000000000002
    access_token:
      file: { path: /var/run/wechat/token }
  - appid: wx0000000000000003
    access_token:
      http: { url: "http://token.internal/wx?appid=wx3", headers_file: h, token_pointer: /data/access_token }
  - appid: wx0000000000000004
    access_token:
      redis: { url: "redis://127.0.0.1:6379/0", key: "wa:access_token:wx0000000000000004" }
  - appid: wx0000000000000005
    access_token:
      cloudbase: {}
  - appid: wx0000000000000006
    access_token: { none: {} }
    api_url: http://api.weixin.qq.com
  - appid: wx0000000000000007
    access_token:
      stable_token: { secret_file: main }
    cloud_function: { env: prod-1, name: getAllAccount, pointer: /data }
    min_interval: 5m
defaults:
  min_interval: 30s
  daily_limit: 0
shared_state: { redis: "rediss://:canary@redis.internal", key_prefix: "shop:" }
"#;
        let path = directory.path().join(FILE);
        std::fs::write(&path, text).unwrap();
        let config = load(&path, &Tuning::default(), ListLimits::default()).unwrap();
        assert_eq!(config.apps.len(), 7);
        assert_eq!(config.apps[0].name, "main shop");
        assert_eq!(config.apps[1].name, "wx0000000000000002");
        assert_eq!(config.apps[0].api_urls.len(), 5);
        assert_eq!(config.apps[0].min_interval, Duration::from_secs(30));
        assert_eq!(config.apps[0].daily_limit, None);
        assert_eq!(config.apps[5].api_urls, ["http://api.weixin.qq.com"]);
        assert_eq!(config.apps[6].min_interval, Duration::from_secs(300));
        let function = config.apps[6].cloud_function.as_ref().unwrap();
        assert_eq!(function.pointer.as_deref(), Some("/data"));
        let shared = config.shared_state.as_ref().unwrap();
        assert_eq!(shared.key_prefix, "shop:");
        assert!(!format!("{config:?}").contains("canary"));
    }

    #[test]
    fn built_in_settings_hold_where_nobody_says_otherwise() {
        let app = &apps(&with_line(""))[0];
        assert_eq!(app.min_interval, Duration::from_secs(60));
        assert_eq!(app.daily_limit, Some(2000));
        assert!(!app.remark_content && !app.remark_wrong_msg && !app.api_quota);
        assert_eq!(app.live_quota, None);
        let with_token = "apps:\n  - { appid: wx1, access_token: { cloudbase: {} } }";
        assert_eq!(
            apps(with_token)[0].api_urls,
            [
                "https://api.weixin.qq.com",
                "https://api2.weixin.qq.com",
                "https://sh.api.weixin.qq.com",
                "https://sz.api.weixin.qq.com",
                "https://hk.api.weixin.qq.com",
            ]
        );
    }

    #[test]
    fn own_key_is_stronger_than_flag_and_flag_than_default() {
        let flags = Tuning {
            min_interval: Some(Duration::from_secs(2)),
            ..Tuning::default()
        };
        let defaults = "\ndefaults: { min_interval: 3s, daily_limit: 7, api_url: 'http://h/' }";
        let read = |line| {
            let text = with_line(line) + defaults;
            interpret(
                &text,
                Path::new(FILE),
                Path::new(""),
                &flags,
                ListLimits::default(),
            )
            .unwrap()
            .apps
        };
        assert_eq!(
            read("min_interval: 1s")[0].min_interval,
            Duration::from_secs(1)
        );
        assert_eq!(read("")[0].min_interval, Duration::from_secs(2));
        assert_eq!(read("")[0].daily_limit, Some(7));
        assert_eq!(read("")[0].api_urls, ["http://h"]);
    }

    #[test]
    fn interval_of_zero_must_be_written() {
        assert!(
            apps(&with_line("min_interval: 0"))[0]
                .min_interval
                .is_zero()
        );
        assert!(
            apps(&with_line("min_interval: 0s"))[0]
                .min_interval
                .is_zero()
        );
    }

    #[test]
    fn apps_may_share_what_an_anchor_holds() {
        let text = "apps:\n  - &one\n    appid: wx1\n    access_token: { none: {} }\n    api_quota: true\n  - <<: *one\n    \
                    appid: wx2\n";
        let apps = apps(text);
        assert_eq!(apps[1].appid, "wx2");
        assert!(apps[1].api_quota);
        assert_eq!(apps[1].credential, Credential::None { from_appid: None });
    }

    #[test]
    fn faults_of_an_app_name_file_line_key_and_cure() {
        for (line, sentence) in [
            (
                "min_intervall: 5s",
                "apps[0] has no key min_intervall; did you mean min_interval?",
            ),
            (
                "Min-Interval: 5s",
                "apps[0] has no key Min-Interval; did you mean min_interval?",
            ),
            (
                "frobnicate: 5",
                "apps[0] has no key frobnicate; its keys are appid, name, access_token, cloud_function, api_url, \
                 api_urls, min_interval, daily_limit, remark_wrong_msg, remark_content, live_quota, api_quota, \
                 refresh_couriers",
            ),
            (
                "appid: wx2",
                "the key appid stands in one mapping twice; keep one",
            ),
            ("name: 5", "apps[0].name must be text; put it in quotes"),
            (
                "name: ''",
                "apps[0].name is empty; give it a value or leave the key out",
            ),
            (
                "name:",
                "apps[0].name has no value; give it text or leave the key out",
            ),
            ("name: [a]", "apps[0].name must be text"),
            (
                "min_interval: 60",
                "apps[0].min_interval has no unit; write a number and a unit (ms, s, m, h, d, w), for example 60s or \
                 1m30s",
            ),
            (
                "min_interval: 2y",
                "apps[0].min_interval is no duration; write a number and a unit (ms, s, m, h, d, w), for example 60s \
                 or 1m30s",
            ),
            (
                "min_interval: 9999d",
                "apps[0].min_interval is longer than a year; choose less",
            ),
            (
                "min_interval: true",
                "apps[0].min_interval must be a duration, for example 60s",
            ),
            (
                "daily_limit: '5'",
                "apps[0].daily_limit must be a whole number",
            ),
            (
                "daily_limit: -1",
                "apps[0].daily_limit must be a whole number that is not negative",
            ),
            (
                "daily_limit: 1.5",
                "apps[0].daily_limit must be a whole number",
            ),
            (
                "daily_limit: .inf",
                "apps[0].daily_limit must be a whole number",
            ),
            ("api_quota: yes", "apps[0].api_quota must be true or false"),
            (
                "live_quota: 0s",
                "apps[0].live_quota must be longer than 0; leave it out to ask for none",
            ),
            (
                "api_url: canary",
                "apps[0].api_url must be http:// or https:// and a host, for example https://api.weixin.qq.com",
            ),
            (
                "api_url: http://canary:canary@h",
                "apps[0].api_url must hold no user and no password",
            ),
            (
                "api_urls: ['http://h', 'http://h/canary']",
                "apps[0].api_urls[1] must end after the host; the API's paths are added to it",
            ),
            (
                "api_urls: ['http://h', 'http://i', 'HTTP://H:80/']",
                "apps[0].api_urls[2] stands in the list already; keep one",
            ),
            (
                "api_urls: ['http://h', ~]",
                "apps[0].api_urls[1] has no value; give it text or take it out of the list",
            ),
            (
                "min_interval: 0.0000000001s",
                "apps[0].min_interval is shorter than a nanosecond; choose more, or 0",
            ),
            (
                "name: \"a\\0b\"",
                "apps[0].name holds a NUL character; take it out",
            ),
            (
                &format!("name: {}", "名".repeat(342)),
                "apps[0].name is longer than a label may be (1024 bytes, --wechat.max-label-length); shorten it",
            ),
            (
                "api_urls: []",
                "apps[0].api_urls is empty; name a URL or leave the key out",
            ),
            (
                "cloud_function: { env: e }",
                "apps[0].cloud_function needs the key name",
            ),
            (
                "cloud_function: { env: e, name: n, pointer: data }",
                "apps[0].cloud_function.pointer must be a JSON pointer; begin it with /, as in /data/access_token",
            ),
        ] {
            let text = with_line(line);
            assert_eq!(
                interpreted(&text).unwrap_err().0,
                format!("apps.yml, line 4: {sentence}"),
                "{line}"
            );
        }
    }

    #[test]
    fn one_url_and_many_exclude_each_other() {
        let text = with_line("api_url: http://h\n    api_urls: ['http://h']");
        assert_eq!(
            interpreted(&text).unwrap_err().0,
            "apps.yml, line 5: apps[0] has both api_url and api_urls; keep one"
        );
    }

    #[test]
    fn faults_of_the_file_name_line_and_cure() {
        for (text, sentence) in [
            (
                "",
                "line 1: the file is empty; it must be a mapping with keys out of apps, defaults, shared_state",
            ),
            (
                "- a",
                "line 1: the file must be a mapping with keys out of apps, defaults, shared_state",
            ),
            ("defaults: {}", "line 1: the file needs the key apps"),
            (
                "apps: []",
                "line 1: apps is empty; add an app, or use the demo command to look around",
            ),
            ("apps: 5", "line 1: apps must be a list of apps"),
            ("apps:", "line 1: apps has no value; give it a list of apps"),
            (
                "apps:\n  - appid: ~\n    access_token: { none: {} }",
                "line 2: apps[0].appid has no value; give it text",
            ),
            (
                "apps:\n  - appid: ''\n    access_token: { none: {} }",
                "line 2: apps[0].appid is empty; give it a value",
            ),
            (
                "apps:\n  - appid: wx1\n    access_token:",
                "line 3: apps[0].access_token has no value; give it a mapping with keys out of stable_token, token, \
                 file, http, command, redis, cloudbase, none",
            ),
            (
                "apps:\n  - appid: wx1\n    access_token: { stable_token: { secret_file: } }",
                "line 3: apps[0].access_token.stable_token.secret_file has no value; give it text",
            ),
            (
                "apps:\n  - appid: wx1\n    access_token: { file: { path: \"/run/\\0token\" } }",
                "line 3: apps[0].access_token.file.path holds a NUL character; take it out",
            ),
            (
                "apps:\n  - appid: wx1\n    access_token: { command: [token, \"\\0\"] }",
                "line 3: apps[0].access_token.command[1] holds a NUL character; take it out",
            ),
            (
                "app:\n  - appid: wx1",
                "line 1: the file has no key app; did you mean apps?",
            ),
            (
                "apps:\n  - appid: wx1",
                "line 2: apps[0] needs the key access_token",
            ),
            (
                "apps:\n  - access_token: { none: {} }",
                "line 2: apps[0] needs the key appid",
            ),
            (
                "apps:\n  - appid: ../wx1\n    access_token: { none: {} }",
                "line 2: apps[0].appid must be 1 to 64 of A-Z, a-z, 0-9, _ and -; the console shows it under \
                 开发管理 → 开发设置 (AppID)",
            ),
            (
                "apps:\n  - appid: 12345\n    access_token: { none: {} }",
                "line 2: apps[0].appid must be text; put it in quotes",
            ),
            (
                "apps:\n  - { appid: wx1, access_token: { none: } }\n  - { appid: wx1, access_token: { none: } }",
                "line 3: apps[1].appid is wx1, which line 2 has already; keep one",
            ),
            (
                "apps:\n\t- appid: wx1",
                "line 2: this is no YAML (tabs disallowed within this context (block indentation)); mend it here or \
                 just above",
            ),
            (
                "a: *b",
                "line 1: this alias has no anchor above it; define the anchor first",
            ),
            (
                "apps: []\n---\napps: []",
                "line 3: a second document begins here; keep one document in the file",
            ),
            (
                "apps: !secret x",
                "line 1: this tag means nothing here; remove it",
            ),
            (
                "defaults: { min_interval: x }",
                "line 1: defaults.min_interval is no duration; write a number and a unit (ms, s, m, h, d, w), for \
                 example 60s or 1m30s",
            ),
            (
                "shared_state: { redis: 'http://canary' }",
                "line 1: shared_state.redis must be a URL that begins with redis:// or rediss:// and a host",
            ),
        ] {
            assert_eq!(
                interpreted(text).unwrap_err().0,
                format!("apps.yml, {sentence}"),
                "{text}"
            );
        }
    }

    #[test]
    fn file_of_a_quarter_million_values_is_no_bomb() {
        let text = format!("apps: [{}]", "a,".repeat(300_000));
        assert_eq!(
            interpreted(&text).unwrap_err().0,
            "apps.yml, line 1: apps[0] must be a mapping with keys out of appid, name, access_token, cloud_function, \
             api_url, api_urls, min_interval, daily_limit, remark_wrong_msg, remark_content, live_quota, api_quota, \
             refresh_couriers"
        );
    }

    #[test]
    fn aliases_can_not_unfold_to_a_bomb() {
        let mut text = "a: &a [1,1,1,1,1,1,1,1,1,1]\n".to_owned();
        for (name, of) in ["ba", "cb", "dc", "ed", "fe", "gf", "hg"].map(|pair| pair.split_at(1)) {
            let many = vec![format!("*{of}"); 10].join(",");
            text.push_str(&format!("{name}: &{name} [{many}]\n"));
        }
        for text in [
            text,
            "a: &a [*a, *a]".to_owned(),
            "[".repeat(40) + &"]".repeat(40),
        ] {
            let sentence = interpreted(&text).unwrap_err().0;
            assert!(
                sentence.ends_with(
                    ": the file unfolds to more than a configuration can be; use fewer aliases and less nesting"
                ),
                "{sentence}"
            );
        }
    }

    #[test]
    fn file_that_can_not_be_read_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let sentence = |path: &Path| {
            let loaded = load(path, &Tuning::default(), ListLimits::default());
            loaded.unwrap_err().0
        };
        let path = directory.path().join(FILE);
        assert_eq!(
            sentence(&path),
            format!(
                "the file {} can't be read: No such file or directory (os error 2)",
                path.display()
            )
        );
        assert_eq!(
            sentence(directory.path()),
            format!(
                "the file {} is a directory; name the file in it",
                directory.path().display()
            )
        );
        std::fs::write(&path, b"apps:\n  - appid: \xff\n").unwrap();
        assert_eq!(
            sentence(&path),
            format!(
                "{}, line 2: this is no UTF-8; save the file as UTF-8",
                path.display()
            )
        );
        File::create(&path).unwrap().set_len(MAX_BYTES + 1).unwrap();
        assert_eq!(
            sentence(&path),
            format!(
                "the file {} is larger than 16 MiB; is it the right file?",
                path.display()
            )
        );
    }

    proptest! {
        #[test]
        fn no_text_panics_the_reader(text in "[ \\n\\t:&*<>!|?~a-c0-9.'\"{}\\[\\],#%@`-]{0,200}") {
            let _ = interpreted(&text);
        }

        #[test]
        fn no_value_of_an_app_panics_the_reader(
            key in prop::sample::select([&APP_KEYS[..], &TUNING_KEYS, &CREDENTIAL_KINDS].concat()),
            value in "\\PC{0,40}",
        ) {
            let _ = interpreted(&with_line(&format!("{key}: {value}")));
            let _ = interpreted(&format!(
                "apps:\n  - appid: wx1\n    access_token: {{ {key}: {{ url: {value} }} }}"
            ));
        }
    }
}
