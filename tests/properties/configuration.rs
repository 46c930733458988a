//! `--config.file`.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use wechat_logistics_exporter::collector::Collector;
use wechat_logistics_exporter::config::{AppConfig, Args, Config, ConfigError};
use wechat_logistics_exporter::store::Store;

use super::scratch;
use super::sentence::{self, CANARY};

/// What `--min-interval` and the like can be at most.
const YEAR: Duration = Duration::from_secs(366 * 24 * 3600);

thread_local! {
    static PLACE: Place = Place::new();
}

struct Place {
    _folder: TempDir,
    file: PathBuf,
    args: Args,
}

impl Place {
    fn new() -> Self {
        let folder = scratch::folder();
        let file = folder.path().join("apps.yml");
        let flag = format!("--config.file={}", file.display());
        Self {
            _folder: folder,
            file,
            args: Args::read(["wechat-logistics-exporter", &flag]).unwrap(),
        }
    }

    fn load(&self, text: &[u8]) -> Result<Config, ConfigError> {
        fs::write(&self.file, text).unwrap();
        Config::load(&self.args)
    }
}

/// Whatever an operator writes.
pub fn check(input: &[u8]) {
    PLACE.with(|place| {
        match place.load(input) {
            Ok(config) => is_sound(&config),
            Err(ConfigError(text)) => sentence::names_its_place(&text, &place.file, input),
        }
        if let Ok(text) = std::str::from_utf8(input)
            && !text.contains(CANARY)
        {
            let document = with_secret(text, sentence::one_of(SECRET_PLACES, input));
            match place.load(document.as_bytes()) {
                Ok(config) => sentence::keeps_the_secret(&format!("{config:?}"), &document),
                Err(ConfigError(text)) => sentence::keeps_the_secret(&text, &document),
            }
        }
    });
}

fn is_sound(config: &Config) {
    assert!(!config.apps.is_empty());
    let appids: HashSet<&str> = config.apps.iter().map(|app| app.appid.as_str()).collect();
    assert_eq!(appids.len(), config.apps.len(), "an appid twice");
    config.apps.iter().for_each(app_is_sound);

    // What is accepted can be put in force. Without https, which reads the system's root certificates each time.
    let few = config.apps.len() <= 2;
    let urls = config.apps.iter().flat_map(|app| &app.api_urls);
    if few && urls.clone().all(|url| url.starts_with("http://")) {
        let store = Store::open(None, config.wechat.list_limits).unwrap();
        Collector::new(config, store).expect("an accepted configuration can be used");
    }
}

fn app_is_sound(app: &AppConfig) {
    let of_an_appid = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    assert!((1..=64).contains(&app.appid.len()) && app.appid.bytes().all(of_an_appid));
    assert!(!app.name.trim().is_empty());
    assert!(!app.api_urls.is_empty());
    for url in &app.api_urls {
        assert!(url.starts_with("http") && !url.ends_with('/') && !url.contains('@'));
        sentence::is_one_line(url);
    }
    assert!(app.min_interval <= YEAR);
    assert!(app.live_quota.is_none_or(|interval| !interval.is_zero()));
    assert_ne!(app.daily_limit, Some(0));
    if let Some(function) = &app.cloud_function {
        assert!(!function.env.trim().is_empty() && !function.name.trim().is_empty());
        let pointer = function.pointer.as_deref();
        assert!(pointer.is_none_or(|pointer| pointer.starts_with('/')));
    }
}

/// Ways to write a secret into a document.
const SECRET_PLACES: usize = 16;

/// A document with a secret where secrets belong, or where somebody in a hurry writes one, around any other text.
fn with_secret(text: &str, place: usize) -> String {
    let before = || format!("{text}{CANARY}");
    let after = || format!("{CANARY}{text}");
    let path_and_query = || format!("https://token.internal/{text}{CANARY}?key={CANARY}{text}");
    let user = || format!("https://{CANARY}:{CANARY}@token.internal/{text}");
    let scheme = || format!("{text}://:{CANARY}@token.internal/");
    let password = || format!("redis://:{CANARY}{text}@redis.internal/0");
    let app =
        |access_token: Value| json!({"apps": [{"appid": "wx1", "access_token": access_token}]});
    let url = |url: String| app(json!({"http": {"url": url, "refresh_url": url}}));
    let redis = |url: String| app(json!({"redis": {"url": url, "key": "k"}}));
    let document = match place {
        0 => url(path_and_query()),
        1 => url(user()),
        2 => url(scheme()),
        3 => redis(scheme()),
        4 => redis(password()),
        5 => {
            json!({"apps": [{"appid": "wx1", "access_token": {"none": {}}}], "shared_state": {"redis": password()}})
        }
        6 => json!({"apps": [{"appid": "wx1", "access_token": {"none": {}}, "api_url": user()}]}),
        7 => {
            json!({"apps": [{"appid": "wx1", "access_token": {"none": {}}}], "shared_state": after()})
        }
        8 => app(json!({"stable_token": {"secret": after()}})),
        9 => app(json!({"stable_token": {"secret": [before()]}})),
        10 => app(json!({"stable_token": {"appsecret": before()}})),
        11 => app(json!({"stable_token": after()})),
        12 => app(json!({"token": [after(), before()]})),
        13 => app(json!({"redis": {"url": "redis://h", "key": "k", "password": before()}})),
        14 => app(json!(before())),
        // A fault in the line after a secret.
        _ => {
            return format!(
                "apps:\n- appid: wx1\n  access_token: {{http: {{url: 'https://u:{CANARY}@h/'}}}}\n{text}\n"
            );
        }
    };
    document.to_string()
}
