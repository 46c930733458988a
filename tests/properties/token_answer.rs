//! What a token file holds; token servers, commands and Redis answer in the same forms.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use secrecy::ExposeSecret;
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use wechat_logistics_exporter::config::{AppConfig, Credential, TokenPointers};
use wechat_logistics_exporter::token::{Error, Held, TokenSource, TokenSources};
use wechat_logistics_exporter::wechat::{
    Api, Authorization, Client, ClientOptions, DailyLimitReached, ListLimits, Meter, Reason,
};

use super::scratch;

/// Runs of token characters at least this long are looked for in what must not hold them.
const RUN: usize = 20;

thread_local! {
    static PLACE: Place = Place::new();
}

struct Place {
    folder: TempDir,
    file: PathBuf,
    runtime: Runtime,
    client: Client,
}

/// A file costs no call.
#[derive(Debug)]
struct Uncalled;

impl Meter for Uncalled {
    fn sending(&self, _: Api) -> Result<(), DailyLimitReached> {
        panic!("a token file costs a call");
    }

    fn failed(&self, _: Api, _: Reason, _: Option<i64>) {}
}

impl Place {
    fn new() -> Self {
        let folder = scratch::folder();
        let file = folder.path().join("token");
        Self {
            folder,
            file,
            runtime: Builder::new_current_thread().enable_time().build().unwrap(),
            client: Client::new(ClientOptions {
                api_urls: vec!["http://127.0.0.1:9".to_owned()],
                timeout: Duration::from_secs(1),
                list_limits: ListLimits::default(),
                proxy_from_env: false,
            })
            .unwrap(),
        }
    }

    fn read(&self, pointers: TokenPointers) -> Result<Held, Error> {
        let source = self.source(pointers);
        self.runtime.block_on(source.token(&self.client, &Uncalled))
    }

    fn source(&self, pointers: TokenPointers) -> Arc<TokenSource> {
        let credential = Credential::File {
            path: self.file.clone(),
            pointers,
        };
        let app = AppConfig::new("wx1", credential);
        TokenSources::default().for_apps(&[app]).remove(0)
    }
}

/// Whatever somebody's token service writes.
pub fn check(input: &[u8]) {
    PLACE.with(|place| {
        fs::write(&place.file, input).unwrap();
        let at_a_pointer = TokenPointers {
            token: Some("/data/0/t".to_owned()),
            expires: Some("/data/0/e".to_owned()),
        };
        for pointers in [TokenPointers::default(), at_a_pointer] {
            match place.read(pointers) {
                Ok(held) => is_a_token_of(&held, input),
                Err(error) => quotes_nothing_of(&error, input, place),
            }
        }
    });
}

fn is_a_token_of(held: &Held, input: &[u8]) {
    let Authorization::AccessToken(token) = held.authorization() else {
        panic!("a token file gives an access token: {held:?}");
    };
    let text = token.secret.expose_secret();
    assert!((1..=4096).contains(&text.len()));
    assert!(text.bytes().all(|byte| byte.is_ascii_graphic()));
    let answer = std::str::from_utf8(input).expect("a token stands in text");
    match serde_json::from_str::<Value>(answer.trim_start_matches('\u{feff}').trim()) {
        Ok(document) => assert!(has_text(&document, text), "not in the answer"),
        Err(_) => assert!(answer.contains(text), "not in the answer"),
    }
    if text.len() >= RUN {
        assert!(!format!("{held:?} {token:?}").contains(text));
    }
    let latest = SystemTime::now() + Duration::from_secs(24 * 3600 + 60);
    assert!(token.expires.is_none_or(|expires| expires < latest));
}

fn has_text(document: &Value, wanted: &str) -> bool {
    match document {
        Value::String(text) => text.trim() == wanted,
        Value::Array(values) => values.iter().any(|value| has_text(value, wanted)),
        Value::Object(values) => values.values().any(|value| has_text(value, wanted)),
        _ => false,
    }
}

/// The answer may be a token, whatever is wrong with it.
fn quotes_nothing_of(error: &Error, input: &[u8], place: &Place) {
    let mut said = format!("{error:?}");
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        assert!(
            !error.to_string().contains('\n'),
            "more than one line: {error}"
        );
        said.push_str(&error.to_string());
        cause = error.source();
    }
    let said = said.replace(&*place.folder.path().to_string_lossy(), "");
    let answer = String::from_utf8_lossy(input);
    let of_a_token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    for run in answer.split(|c| !of_a_token(c)) {
        assert!(
            run.len() < RUN || !said.contains(run),
            "{run} of the answer is in: {said}"
        );
    }
}
