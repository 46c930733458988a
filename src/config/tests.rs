//! What the flags and the configuration file mean, and the sentence for each mistake in them.

use std::fs;
use std::path::Path;
use std::time::Duration;

use clap::{Args as _, FromArgMatches};

use super::app::AppSettings;
use super::file::interpret;
use super::yaml::YamlFile;
use super::*;
use crate::command::Cli;

impl Config {
    /// Creates a configuration with these apps and the default of every flag.
    pub(crate) fn new(apps: Vec<AppConfig>) -> Self {
        let command = Self::augment_args(clap::Command::new("")).no_binary_name(true);
        let matches = command.get_matches_from::<_, &str>([]);
        let config = Self::from_arg_matches(&matches).unwrap();
        Self { apps, ..config }
    }
}

fn read(text: &str) -> Result<Config, ConfigError> {
    let file = YamlFile::new(Path::new("apps.yml"), text.as_bytes().to_vec())?;
    let mut config = Config::new(Vec::new());
    let folder = Path::new("/etc/exporter");
    interpret(&file, folder, &AppSettings::default(), &mut config)?;
    Ok(config)
}

fn apps(text: &str) -> Vec<AppConfig> {
    read(text).unwrap().apps
}

/// Reads each YAML snippet in a section of `mistakes.txt` and compares the error with the sentence there.
pub(crate) fn assert_mistakes(section: &str, place: &str, read: impl Fn(&str) -> ConfigError) {
    let text = include_str!("mistakes.txt");
    let (_, section) = text.split_once(&format!("\n[{section}]\n")).unwrap();
    let section = section.split("\n[").next().unwrap();
    let mut differing = Vec::new();
    for case in section.split("\n\n") {
        let (yaml, sentence) = case.trim_matches('\n').split_once("\n=> ").unwrap();
        let error = read(yaml).0;
        if error != format!("{place}{sentence}") {
            differing.push((yaml, sentence, error));
        }
    }
    assert!(differing.is_empty(), "{differing:#?}");
}

/// Returns a file with one app and with `line` as its fourth line.
fn with_line(line: &str) -> String {
    format!("apps:\n  - appid: wx1\n    access_token: {{ none: {{}} }}\n    {line}\n")
}

/// Returns the credential of an app that has `text` in its third line.
fn credential(text: &str) -> Result<Credential, ConfigError> {
    let config = read(&format!(
        "apps:\n  - appid: wx1\n    access_token: {{ {text} }}"
    ))?;
    Ok(config.apps[0].credential.clone())
}

fn load(flags: &[&str]) -> Result<Config, String> {
    let line = [&["wechat-logistics-exporter"], flags].concat();
    let cli = Cli::read(line).map_err(|error| error.render().to_string())?;
    Config::load(&cli.args).map_err(|error| error.0)
}

const APP: [&str; 2] = ["--wechat.appid=wx1", "--wechat.token-file=/run/token"];

#[test]
fn flags_alone_make_one_app() {
    let config = load(&[
        "--wechat.appid=wx1",
        "--wechat.token-file=/run/token",
        "--wechat.app-name=shop",
        "--wechat.api-url=http://127.0.0.1:1/",
        "--wechat.min-interval=0s",
        "--wechat.daily-limit=0",
        "--wechat.api-quota",
    ])
    .unwrap();
    let expected = AppConfig {
        name: "shop".into(),
        api_urls: vec!["http://127.0.0.1:1".parse().unwrap()],
        min_interval: Duration::ZERO,
        daily_limit: None,
        api_quota: true,
        ..AppConfig::new(
            "wx1",
            Credential::File {
                path: "/run/token".into(),
                token_pointer: None,
            },
        )
    };
    assert_eq!(config.apps, [expected]);
}

#[test]
fn settings_without_a_flag_have_the_documented_defaults() {
    let config = load(&APP).unwrap();
    assert_eq!(config.scrape.timeout, Duration::from_secs(10));
    assert_eq!(config.scrape.timeout_offset, Duration::from_millis(500));
    assert_eq!(config.scrape.max_stale, Duration::from_secs(900));
    assert_eq!(config.apps[0].min_interval, Duration::from_secs(60));
    assert_eq!(config.apps[0].daily_limit, Some(2000));
    assert_eq!(config.apps[0].api_urls.len(), 5);
    for (flags, apps, limit) in [
        (&[][..], 1, Some(40)),
        (&[], 1000, Some(1000)),
        (&["--web.max-requests=1"], 1000, Some(1)),
        (&["--web.max-requests=0"], 1000, None),
    ] {
        let config = load(&[&APP, flags].concat()).unwrap();
        assert_eq!(config.web.max_requests(apps), limit);
    }
}

#[test]
fn mistakes_in_flags_are_one_sentence_each() {
    assert_eq!(
        load(&[APP[0], APP[1], "--wechat.secret-file=/run/secret"]).unwrap_err(),
        "both --wechat.secret-file and --wechat.token-file are given; keep one"
    );
    for flags in [&[][..], &["--wechat.token-file=/run/token"]] {
        let sentence = load(flags).unwrap_err();
        assert!(sentence.contains("README") && sentence.contains("wechat-logistics-exporter demo"));
    }
    for (flag, problem) in [
        ("--wechat.appid=../x", "must be 1 to 64 of A-Z, a-z"),
        ("--wechat.api-url=http://canary:canary@h", "no password"),
        ("--wechat.max-concurrency=0", "0 is not in 1..="),
        ("--web.telemetry-path=metrics", "must begin with / and be"),
        ("--web.telemetry-path=/probe", "of the exporter's own"),
    ] {
        let error = load(&[flag]).unwrap_err();
        let (name, _) = flag.split_once('=').unwrap();
        assert!(error.contains(name) && error.contains(problem), "{error}");
        assert!(!error.contains("canary"), "{error}");
    }
}

#[test]
fn file_with_every_kind_of_app_is_read() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("main"), "canary\n").unwrap();
    fs::write(directory.path().join("headers"), "X-Key: canary\n").unwrap();
    let text = r#"
apps:
  - appid: wx1
    name: main shop
    access_token:
      stable_token: { secret_file: main }
  - appid: wx2
    access_token:
      file: { path: token, token_pointer: /data/token }
  - appid: wx3
    access_token:
      http: { url: "http://u:canary@token.internal/wx", headers_file: headers }
  - appid: wx4
    access_token: { redis: { url: "redis://:canary@127.0.0.1:6379/0", preset: wxjava-hash } }
  - appid: wx5
    access_token:
      cloudbase: {}
  - appid: wx6
    access_token: { none: {} }
    api_url: HTTP://API.internal:80/
  - appid: wx7
    access_token: { command: [token, --secret, canary] }
    cloud_function: { env: prod-1, name: getAllAccount, pointer: /data }
    min_interval: 5m
defaults:
  min_interval: 30s
  daily_limit: 0
couriers:
  DNWL: { name: 丹鸟, network: franchise }
"#;
    let path = directory.path().join("apps.yml");
    fs::write(&path, text).unwrap();
    let config = load(&[&format!("--config.file={}", path.display())]).unwrap();
    let shown = format!("{config:?}");
    assert!(!shown.contains("canary"), "{shown}");
    let app = |number: usize| &config.apps[number - 1];
    let secret = SecretSource::File(directory.path().join("main"));
    assert_eq!(app(1).credential, Credential::StableToken { secret });
    assert_eq!(
        (app(1).name.as_str(), app(2).name.as_str()),
        ("main shop", "wx2")
    );
    let file = Credential::File {
        path: directory.path().join("token"),
        token_pointer: Some("/data/token".into()),
    };
    assert_eq!(app(2).credential, file);
    let Credential::Http(http) = &app(3).credential else {
        panic!("{:?}", app(3));
    };
    assert_eq!(
        http.url.expose().as_str(),
        "http://u:canary@token.internal/wx"
    );
    assert_eq!(http.headers_file, Some(directory.path().join("headers")));
    let Credential::Redis(redis) = &app(4).credential else {
        panic!("{:?}", app(4));
    };
    assert_eq!(
        (redis.key.as_str(), redis.field.as_deref()),
        ("maConfig:accessToken", Some("value"))
    );
    let path = "/.tencentcloudbase/wx/cloudbase_access_token".into();
    assert_eq!(app(5).credential, Credential::Cloudbase { path });
    assert_eq!(app(6).api_urls[0].as_str(), "http://api.internal/");
    assert_eq!(app(6).min_interval, Duration::from_secs(30));
    assert_eq!(app(7).min_interval, Duration::from_secs(300));
    assert_eq!(app(7).daily_limit, None);
    let function = app(7).cloud_function.as_ref().unwrap();
    assert_eq!(function.pointer.as_deref(), Some("/data"));
    let couriers = &app(1).couriers;
    let listed = Delivery {
        delivery_name: "WeChat's name".into(),
        can_get_quota: Some(0),
        ..Delivery::default()
    };
    let network = couriers.network("DNWL", Some(&listed));
    assert_eq!(network, Network::Franchise);
    assert_eq!(couriers.name("DNWL", Some(&listed)), "丹鸟");
    assert_eq!(couriers.name("YTO", None), "圆通速递");
    assert_eq!(couriers.network("OTHER", None), Network::Unknown);
}

#[test]
fn keys_of_presets_are_those_that_the_libraries_write() {
    for (preset, key) in [
        ("preset: wxjava", "wa:access_token:wx1"),
        ("preset: wxjava, prefix: shop", "shop:access_token:wx1"),
        (
            "preset: wxjava-hash, prefix: 'maConfig:a'",
            "maConfig:a:accessToken",
        ),
        (
            "preset: silenceper",
            "gowechat_miniprogram__access_token_wx1",
        ),
        (
            "preset: silenceper-stable",
            "gowechat_miniprogram__stable_access_token_wx1",
        ),
        ("preset: wechatpy", "wechatpy:wx1_access_token"),
        ("key: 'token:{appid}'", "token:wx1"),
    ] {
        let read = credential(&format!("redis: {{ url: 'redis://h', {preset} }}"));
        assert!(matches!(read, Ok(Credential::Redis(redis)) if redis.key == key));
    }
}

#[test]
fn own_key_is_stronger_than_a_flag_and_a_flag_than_the_default() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("apps.yml");
    let text = "apps:\n  - { appid: wx1, access_token: { none: { } }, live_quota: 0, api_quota: false }\n  \
                - { appid: wx2, access_token: { cloudbase: { } }, min_interval: 0 }\n\
                defaults: { min_interval: 3s, daily_limit: 5 }\n";
    fs::write(&path, text).unwrap();
    let file = format!("--config.file={}", path.display());
    let config = load(&[
        &file,
        "--wechat.min-interval=2s",
        "--wechat.live-quota=1h",
        "--wechat.api-quota",
    ]);
    let [first, second] = &config.unwrap().apps[..] else {
        panic!("not two apps");
    };
    assert_eq!(first.min_interval, Duration::from_secs(2));
    assert_eq!(second.min_interval, Duration::ZERO);
    assert_eq!(first.daily_limit, Some(5));
    // What a flag switches on can be switched off for one app.
    assert_eq!((first.live_quota, first.api_quota), (None, false));
    assert_eq!(second.live_quota, Some(Duration::from_secs(3600)));
    assert!(second.api_quota);
}

#[test]
fn apps_may_share_what_an_anchor_holds() {
    let text = "apps:\n  - &one\n    appid: wx1\n    access_token: { none: {} }\n    api_quota: true\n  - <<: *one\n    \
                appid: wx2\n    access_token: { cloudbase: {} }\n";
    let apps = apps(text);
    assert_eq!((apps[1].appid.as_str(), apps[1].api_quota), ("wx2", true));
}

#[test]
fn mistakes_in_the_file_are_one_sentence_each() {
    assert_mistakes("app", "apps.yml, line 4: ", |line| {
        read(&with_line(line)).unwrap_err()
    });
    assert_mistakes("credential", "apps.yml, line 3: ", |text| {
        credential(text).unwrap_err()
    });
    assert_mistakes("file", "apps.yml, ", |text| read(text).unwrap_err());
}

#[test]
fn two_apps_with_one_token_source_are_refused() {
    let two = |first: &str, second: &str| {
        read(&format!(
            "apps:\n  - appid: wx1\n    access_token: {{ {first} }}\n  - appid: wx2\n    access_token: {{ {second} }}"
        ))
    };
    assert_mistakes("same source", "apps.yml, line 5: ", |pair| {
        let (first, second) = pair.split_once('\n').unwrap();
        two(first, second).unwrap_err()
    });
    for (first, second) in [
        (
            "stable_token: { secret_env: PATH }",
            "stable_token: { secret_env: PATH }",
        ),
        ("none: {}", "none: { from_appid: wx1 }"),
        (
            "redis: { url: 'redis://h/1', key: k }",
            "redis: { url: 'redis://h/2', key: k }",
        ),
        (
            "file: { path: t, token_pointer: /one }",
            "file: { path: t, token_pointer: /two }",
        ),
        (
            "http: { url: 'http://h/t' }",
            "http: { url: 'http://h/t?appid=wx2' }",
        ),
    ] {
        assert!(two(first, second).is_ok(), "{first} {second}");
    }
}

#[test]
fn file_that_can_not_be_read_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("apps.yml");
    let shown = path.display();
    let sentence = || load(&[&format!("--config.file={shown}")]).unwrap_err();
    fs::write(&path, b"apps:\n  - appid: \xff\n").unwrap();
    assert_eq!(
        sentence(),
        format!("{shown}, line 2: the file is not valid UTF-8; save it as UTF-8")
    );
    let file = fs::File::create(&path).unwrap();
    file.set_len((16 << 20) + 1).unwrap();
    assert_eq!(
        sentence(),
        format!("the file {shown} can't be read: file too large")
    );
}

#[test]
fn simulated_apps_follow_the_flags_and_no_proxy() {
    let line = [
        "wechat-logistics-exporter",
        "demo",
        "--config.file=apps.yml",
        "--wechat.appid=wx1",
        "--wechat.api-url=http://h",
        "--wechat.min-interval=7s",
    ];
    let mut args = Cli::read(line).unwrap().args;
    args.simulated_apps = Some(load(&APP).unwrap().apps);
    let config = Config::load(&args).unwrap();
    assert_eq!(config.apps[0].min_interval, Duration::from_secs(7));
    assert_eq!(config.apps[0].api_urls.len(), 5);
    assert!(!config.wechat.proxy_from_env);
}
