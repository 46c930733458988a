//! Properties that hold for any input, checked on good and odd inputs with a few random changes, the same in every run.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config as Settings, RngAlgorithm, TestRng, TestRunner};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tempfile::TempDir;
use wechat_logistics_exporter::command::Cli;
use wechat_logistics_exporter::config::{AppConfig, Config, Credential};
use wechat_logistics_exporter::token::TokenSource;
use wechat_logistics_exporter::web_config;
use wechat_logistics_exporter::wechat::{
    AccountList, Api, Authorization, Cause, Client, ClientOptions, CloudFunction,
    DailyLimitReached, Error, ListLimits, Meter, read_account_list,
};

/// Words that trip up parsers, besides line breaks and invalid UTF-8.
const WORDS: &str =
    r#"0 -1 1e999 9223372036854775807 18446744073709551615 NaN null " \ \ud83d , [[ {}"#;

/// Odd documents, one on each line, in which `;` stands for a line break.
const ODD_YAML: &str = r#"
---
{}
apps: 1
a: &a [*a]
x: !!binary aGk=
a;---;b
? [a];: b
apps: {a: [b, c}
"a;b": 1
[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"#;

/// The text that stands for a secret.
const CANARY: &str = "canary-3b1f0e";

/// The length from which a run of these characters looks like a token, whoever wrote it.
const TOKEN_LENGTH: usize = 32;

/// Checks each input, and `cases` of them after one to seven changes.
fn holds(cases: u32, inputs: Vec<Vec<u8>>, check: impl Fn(&[u8])) {
    inputs.iter().for_each(|input| check(input));
    let mut words: Vec<&[u8]> = vec![b"", b"\n", b"\r\n", b"\t", b": ", b"\xff"];
    words.extend(WORDS.split(' ').map(str::as_bytes));
    let change = (any::<Index>(), 0..12_usize, select(words));
    let changed = (select(inputs), vec(change, 1..8)).prop_map(|(mut input, changes)| {
        for (at, length, word) in changes {
            let at = at.index(input.len() + 1);
            let end = (at + length).min(input.len());
            input.splice(at..end, word.iter().copied());
        }
        input
    });
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let settings = Settings {
        failure_persistence: None,
        ..Settings::with_cases(cases)
    };
    let result = TestRunner::new_with_rng(settings, rng).run(&changed, |input| {
        check(&input);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

fn files(folder: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// Returns a folder, in memory if possible: on a disk, each of thousands of files would have to be waited for.
fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

fn is_one_line(text: &str) {
    assert!(!text.is_empty() && text.len() < 8192, "{text:?}");
    assert!(
        !text.chars().any(char::is_control),
        "more than one plain line: {text:?}"
    );
}

fn quotes_no_token(text: &str) {
    let is_token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let longest = text.split(|c| !is_token(c)).map(str::len).max();
    assert!(longest < Some(TOKEN_LENGTH), "may quote a token: {text}");
}

/// Asserts that an error about a file is one line that begins with the file and the line in it.
fn names_its_place(text: &str, path: &Path, input: &[u8]) {
    is_one_line(text);
    let place = format!("{}, line ", path.display());
    let line = text
        .strip_prefix(&place)
        .and_then(|rest| rest.split(':').next()?.parse().ok());
    // YAML also ends lines at a carriage return, and the end of a file may count as a line of its own.
    let lines = input
        .iter()
        .filter(|byte| matches!(byte, b'\n' | b'\r'))
        .count()
        + 2;
    assert!(
        line.is_some_and(|line: usize| (1..=lines).contains(&line)),
        "names no line of {lines}: {text}"
    );
}

#[test]
fn account_list_is_within_its_limits_and_counts_every_row() {
    let low = ListLimits {
        accounts: 3,
        label_bytes: 8,
    };
    holds(2000, files("account-lists"), |input| {
        for limits in [ListLimits::default(), low] {
            match read_account_list(input, None, limits) {
                Ok(list) => {
                    is_within_limits(&list, limits);
                    counts_every_row(&list, input);
                    is_read_again_as_it_was(&list, limits);
                }
                Err(error) => fits_a_log_line(&error),
            }
        }
    });
}

#[test]
fn cloud_function_returns_the_same_list_as_the_https_call() {
    let limits = ListLimits::default();
    let through = |reply: &[u8], pointer: Option<&str>| {
        let function = CloudFunction {
            env: "prod-1".to_owned(),
            name: "getAllAccount".to_owned(),
            pointer: pointer.map(str::to_owned),
        };
        read_account_list(reply, Some(&function), limits)
    };
    let wrapped = |result: Value| {
        let reply = json!({"errcode": 0, "errmsg": "ok", "resp_data": result});
        reply.to_string().into_bytes()
    };
    holds(1000, files("account-lists"), |input| {
        if let Err(error) = through(input, None) {
            fits_a_log_line(&error);
        }
        // Without duplicate keys, which a `Value` can't hold.
        let Ok(document) = serde_json::from_slice::<Value>(input) else {
            return;
        };
        let text = document.to_string();
        let direct = read_account_list(text.as_bytes(), None, limits).ok();
        assert_eq!(through(&wrapped(json!(text)), None).ok(), direct);
        let inner = json!({"data": document}).to_string();
        assert_eq!(through(&wrapped(json!(inner)), Some("/data")).ok(), direct);
    });
}

fn is_within_limits(list: &AccountList, limits: ListLimits) {
    assert!(list.accounts.len() <= limits.accounts);
    for account in &list.accounts {
        assert!(!account.biz_id.is_empty() && !account.delivery_id.is_empty());
        for text in [
            &account.biz_id,
            &account.delivery_id,
            &account.alias,
            &account.remark_wrong_msg,
            &account.remark_content,
        ] {
            assert!(text.len() <= limits.label_bytes, "{text}");
        }
        assert!(account.quota_num.is_none_or(f64::is_finite));
        for time in [
            account.create_time,
            account.update_time,
            account.quota_update_time,
        ] {
            // A time after the year 5138 is in the wrong unit.
            assert!(time.is_none_or(|seconds| (1..=100_000_000_000).contains(&seconds)));
        }
    }
}

fn counts_every_row(list: &AccountList, input: &[u8]) {
    let document = serde_json::from_slice(input).unwrap_or(Value::Null);
    if let Some(rows) = document["list"].as_array() {
        let counted = list.accounts.len() as u64 + list.invalid + list.beyond_limit;
        assert_eq!(counted, rows.len() as u64);
    }
}

/// Asserts that a list survives the state file, which holds accounts as WeChat lists them; the same code reads them.
fn is_read_again_as_it_was(list: &AccountList, limits: ListLimits) {
    let stored = json!({"count": list.accounts.len(), "list": list.accounts}).to_string();
    let again =
        read_account_list(stored.as_bytes(), None, limits).expect("our own list is readable");
    assert_eq!(again.accounts, list.accounts);
}

fn fits_a_log_line(error: &Error) {
    is_one_line(&error.to_string());
    quotes_no_token(&error.to_string());
    quotes_no_token(&format!("{error:?}"));
}

/// A meter that allows no call, because a file costs none.
#[derive(Debug)]
struct Uncalled;

impl Meter for Uncalled {
    fn sending(&self, _: Api) -> Result<(), DailyLimitReached> {
        panic!("a token file costs a call");
    }

    fn failed(&self, _: Api, _: Cause) {}
}

#[test]
fn token_answer_gives_a_token_of_it_or_is_not_quoted() {
    const TOKEN: &str = "75_AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_AbCdEf";
    let answers = [
        format!(" {TOKEN} \r\n"),
        format!("\u{feff}{TOKEN}"),
        format!(r#"{{"access_token":"{TOKEN}","expires_in":7200}}"#),
        format!(r#"{{"data":[{{"t":"{TOKEN}","e":"2030-01-01 00:00:00"}}]}}"#),
        format!(r#"{{"errcode":40013,"errmsg":"invalid appid {TOKEN}"}}"#),
        format!("\"{TOKEN}\""),
        format!("<html>{TOKEN}</html>"),
        TOKEN.repeat(100),
        r#"{"access_token":null}"#.to_owned(),
        String::new(),
    ];
    let folder = scratch();
    let path = folder.path().join("token");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let options = ClientOptions {
        api_urls: vec!["http://127.0.0.1:9".parse().unwrap()],
        timeout: Duration::from_secs(1),
        list_limits: ListLimits::default(),
        proxy_from_env: false,
    };
    let client = Client::new(&options).unwrap();
    let read = |token_pointer| {
        let path = path.clone();
        let credential = Credential::File {
            path,
            token_pointer,
        };
        let app = AppConfig::new("wx1", credential);
        let source = TokenSource::new(&app, std::sync::Arc::default());
        runtime.block_on(source.token(&client, &Uncalled))
    };
    holds(300, answers.map(String::into_bytes).to_vec(), |input| {
        fs::write(&path, input).unwrap();
        for pointer in [None, Some("/data/0/t".to_owned())] {
            match read(pointer) {
                Ok(held) => is_a_token_of(&held, input),
                Err(error) => quotes_nothing_of(&error, input),
            }
        }
    });
}

fn is_a_token_of(held: &Authorization, input: &[u8]) {
    let Authorization::AccessToken(token) = held else {
        panic!("a token file gives an access token: {held:?}");
    };
    let text = token.secret.expose_secret();
    assert!((1..=4096).contains(&text.len()));
    assert!(text.bytes().all(|byte| byte.is_ascii_graphic()));
    let answer = std::str::from_utf8(input).expect("a token stands in text");
    // JSON may escape it.
    assert!(
        answer.contains(text) || answer.contains('\\'),
        "not in the answer: {text}"
    );
    let latest = SystemTime::now() + Duration::from_secs(24 * 3600 + 60);
    assert!(token.expires.is_none_or(|expires| expires < latest));
    assert!(text.len() < TOKEN_LENGTH || !format!("{held:?} {token:?}").contains(text));
}

fn quotes_nothing_of(error: &Error, input: &[u8]) {
    let said = format!("{error:?}");
    assert!(!error.text.contains('\n'), "more than one line: {error}");
    let answer = String::from_utf8_lossy(input);
    let is_token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    for run in answer.split(|c| !is_token(c)).filter(|run| run.len() >= 20) {
        assert!(!said.contains(run), "{run} of the answer is in: {said}");
    }
}

fn odd_yaml() -> impl Iterator<Item = Vec<u8>> {
    let documents = ODD_YAML.lines();
    documents.map(|document| document.replace(';', "\n").into_bytes())
}

/// Asserts that each refusal is one line with its place, and that `load` never quotes the secret in one of the
/// `documents`, which contain a secret and any other text.
fn refuses_well(
    inputs: Vec<Vec<u8>>,
    file: &Path,
    load: impl Fn(&Path) -> Result<String, String>,
    documents: impl Fn(&str, &str) -> Vec<String>,
) {
    let load = |text: &[u8]| {
        fs::write(file, text).unwrap();
        load(file)
    };
    holds(800, inputs, |input| {
        if let Err(error) = load(input) {
            names_its_place(&error, file, input);
        }
        let Ok(text) = std::str::from_utf8(input) else {
            return;
        };
        let documents = documents(text, &format!("{text}{CANARY}{text}"));
        // Trying all of them would take long.
        let document = &documents[input.len() % documents.len()];
        let (Ok(said) | Err(said)) = load(document.as_bytes());
        assert!(
            !said.contains(CANARY),
            "{document}\nThe secret is in: {said}"
        );
    });
}

#[test]
fn configuration_is_refused_in_one_line_with_its_place_and_without_a_secret() {
    let readme = include_str!("../../README.md");
    let mut blocks = readme.split("```yaml\n");
    let example = blocks.find(|block| block.starts_with("apps:")).unwrap();
    let example = example.split("```").next().unwrap().as_bytes().to_vec();
    let folder = scratch();
    let file = folder.path().join("apps.yml");
    let flag = format!("--config.file={}", file.display());
    let args = Cli::read(["wechat-logistics-exporter", &flag])
        .unwrap()
        .args;
    let load = |_: &Path| match Config::load(&args) {
        Ok(config) => Ok(format!("{config:?}")),
        Err(error) => Err(error.to_string()),
    };
    let documents = |text: &str, secret: &str| {
        let url = format!("https://u:{CANARY}@h/{secret}?key={secret}");
        let credentials = [
            json!({"http": {"url": url}}),
            json!({"http": {"url": format!("{secret}://:{CANARY}@h/")}}),
            json!({"redis": {"url": format!("redis://:{secret}@h/0"), "key": "k"}}),
            json!({"redis": {"url": "redis://h", "key": "k", "password": secret}}),
            json!({"command": ["echo", secret]}),
            json!({"stable_token": {"secret": secret}}),
            json!({"stable_token": [secret]}),
            json!({"token": secret}),
            json!(secret),
        ];
        let app = |credential| json!({"appid": "wx1", "access_token": credential});
        let apps = credentials.map(|credential| json!({"apps": [app(credential)]}).to_string());
        let above = format!(
            "apps:\n- appid: wx1\n  access_token: {{http: {{url: 'https://u:{CANARY}@h/'}}}}\n{text}\n"
        );
        apps.into_iter().chain([above]).collect()
    };
    refuses_well(
        odd_yaml().chain([example]).collect(),
        &file,
        load,
        documents,
    );
}

#[test]
fn web_configuration_is_refused_in_one_line_with_its_place_and_without_a_secret() {
    let folder = scratch();
    for name in ["server.pem", "server.key", "ca.pem"] {
        let from = format!(
            "{}/tests/data/web-config/{name}",
            env!("CARGO_MANIFEST_DIR")
        );
        fs::copy(from, folder.path().join(name)).unwrap();
    }
    let inputs = ["web-config/good", "web-config/bad"].map(files).concat();
    let load = |file: &Path| match web_config::check(file) {
        Ok(()) => Ok(String::new()),
        Err(error) => Err(error.to_string()),
    };
    let documents = |text: &str, secret: &str| {
        let documents = [
            json!({"basic_auth_users": {"bob": secret}}),
            json!({"basic_auth_users": {"bob": {"password": secret}}}),
            json!({"basic_auth_users": [secret]}),
            json!({"basic_auth_user": {"bob": secret}}),
            json!({"tls_server_config": {"cert_file": "server.pem", "key": secret}}),
            json!({"tls_server_config": secret}),
            json!(secret),
        ];
        let above = format!("basic_auth_users:\n  bob: {CANARY}\n{text}\n");
        documents
            .iter()
            .map(Value::to_string)
            .chain([above])
            .collect()
    };
    let file = folder.path().join("web.yml");
    refuses_well(
        inputs.into_iter().chain(odd_yaml()).collect(),
        &file,
        load,
        documents,
    );
}
