//! Panics: what one could quote, and what one costs. `world` has the secrets.

mod world;

use std::fmt::Debug;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::super::gate::Gate;
use super::super::routes::Routes;
use super::*;
use crate::clock::Moment;
use crate::collector::scrape;
use crate::config::{LogFormat, LogLevel, SecretUrl, SharedStateConfig};
use crate::logging;
use crate::token::TokenSource;
use crate::wechat::{Client, ClientOptions};
use world::World;

const TOKEN: &str = "canary-token-7d793037a0760186574b0282f2f435e7";
const SECRET: &str = "canary-secret-5d41402abc4b2a76";
/// The environment variable of an app's secret.
const SECRET_VARIABLE: &str = "SECRET_OF_AN_APP";
/// Set in the process that a test has for itself.
const ALONE: &str = "TEST_IN_A_PROCESS_OF_ITS_OWN";

/// Runs one of these tests in a process of its own, as environment, panic hook and log belong to the whole process;
/// `None`: this is that process.
fn in_a_process_of_its_own(test: &str) -> Option<Output> {
    if std::env::var_os(ALONE).is_some() {
        return None;
    }
    let (_, module) = module_path!().split_once("::").unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", &format!("{module}::{test}"), "--nocapture"])
        .env(ALONE, "yes")
        .env("RUST_BACKTRACE", "1")
        .env(SECRET_VARIABLE, SECRET);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command
            .env(name, format!("http://canary-user:{SECRET}@127.0.0.1:9"))
            .env_remove(name.to_lowercase());
    }
    // Everything that these tests reach.
    command.env("NO_PROXY", "127.0.0.1").env_remove("no_proxy");
    let output = command.output().unwrap();
    let written = [&output.stdout[..], &output.stderr].concat();
    let written = String::from_utf8_lossy(&written);
    assert!(output.status.success(), "{written}");
    assert!(written.contains("1 passed"), "{written}");
    Some(output)
}

/// What stands before the first canary of a text, be it plain, in base64 or a list of bytes.
fn before_a_canary(text: &str) -> Option<String> {
    let text: String = text.split_whitespace().collect();
    let at = ["canary", "Y2FuYXJ5", "99,97,110,97,114,121"]
        .iter()
        .find_map(|canary| text.find(canary))?;
    let before: Vec<char> = text[..at].chars().rev().take(200).collect();
    Some(before.into_iter().rev().collect())
}

fn assert_no_canary(written: &str, what: &str) {
    if let Some(before) = before_a_canary(written) {
        panic!("a secret is in {what}, after {before}");
    }
}

fn authorization() -> String {
    format!("Basic {}", STANDARD.encode(format!("ann:{SECRET}")))
}

/// What a panic's message could quote of a value.
fn assert_quotable(value: &impl Debug, what: &str) {
    for text in [format!("{value:?}"), format!("{value:#?}")] {
        assert!(text.len() > 2, "{what} says nothing");
        assert_no_canary(&text, what);
    }
}

/// The key is random: no canary can be in it.
fn assert_no_key(text: &str, pem: &Path) {
    let pem = fs::read_to_string(pem).unwrap();
    let line = pem.lines().nth(1).unwrap();
    assert!(!text.contains(line), "{text}");
    for bytes in STANDARD.decode(line).unwrap().chunks_exact(8) {
        let list = format!("{bytes:?}");
        let list = list.trim_matches(['[', ']']);
        assert!(!text.contains(list), "{text}");
    }
}

#[test]
fn nothing_that_a_panic_could_quote_shows_a_secret() {
    if in_a_process_of_its_own("nothing_that_a_panic_could_quote_shows_a_secret").is_some() {
        return;
    }
    tokio::runtime::Runtime::new()
        .unwrap()
        .block_on(quote_everything());
}

async fn quote_everything() {
    let world = World::new().await;
    let mut apps = world.apps_that_work();
    let working = apps.len();
    apps.extend(world.apps_that_fail());
    let config = Config {
        wechat: WechatConfig {
            timeout: PATIENCE,
            ..WechatConfig::default()
        },
        state_dir: Some(world.path("state")),
        shared_state: Some(SharedStateConfig {
            redis: SecretUrl::new(format!(
                "redis://canary-user:{SECRET}@127.0.0.1:{}/1",
                world.redis.port()
            )),
            password_file: Some(world.path("secret")),
            key_prefix: "wx:".to_owned(),
        }),
        web: WebConfig {
            config_file: Some(world.web_config(false)),
            ..WebConfig::default()
        },
        ..Config::new(apps)
    };
    assert_quotable(&config, "the settings");

    let store = Store::open(config.state_dir.clone(), config.wechat.list_limits).unwrap();
    let collector = Arc::new(Collector::new(&config, store).unwrap());
    let apps = collector.apps();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let scrape = scrape(apps.list(), PATIENCE, deadline).await;
    // Every secret has been read and every token used by now.
    for (number, reading) in scrape.readings.iter().enumerate() {
        assert_eq!(reading.up, number < working, "{reading:#?}");
        assert_quotable(reading, &reading.app.config.appid);
    }
    assert_quotable(&scrape, "a scrape");

    let site = Arc::new(Site {
        exposition: Arc::new(Exposition::new(Arc::clone(&collector))),
        collector: Arc::clone(&collector),
        reload: Arc::<Reloading>::default(),
        config: config.web.clone(),
    });
    let gate = Gate::open(config.web.config_file.as_deref()).unwrap();
    let routes = Routes::new(Arc::clone(&site), gate);
    for path in ["/metrics", "/"] {
        let request = hyper::Request::get(path).header("authorization", authorization());
        let (head, ()) = request.body(()).unwrap().into_parts();
        let reply = routes.answer(&head, None).await;
        assert_eq!(reply.status(), 200);
        assert_quotable(&reply.headers(), path);
    }
    assert_quotable(&*collector, "the collector");
    assert_quotable(&site.exposition, "the exposition");
    assert_quotable(&routes, "the routes");
    let gate = Gate::open(Some(&world.web_config(true))).unwrap();
    assert_quotable(&gate, "the gate with a certificate");
    assert_no_key(&format!("{gate:?}"), &world.path("server.key"));

    for app in &config.apps {
        let tokens = TokenSource::new(app, Arc::default());
        assert_quotable(&tokens, "a source of tokens");
        let saved = collector.store().load(&app.appid, Moment::now()).unwrap();
        assert_quotable(&saved, "saved state");
    }
    let files: Vec<_> = fs::read_dir(world.path("state")).unwrap().collect();
    assert!(files.len() >= working);
    for file in files {
        let bytes = fs::read(file.unwrap().path()).unwrap();
        assert_no_canary(&String::from_utf8_lossy(&bytes), "a state file");
    }
    let no_client = Client::new(ClientOptions {
        api_urls: vec![format!("nonsense://canary-user:{SECRET}@host")],
        timeout: PATIENCE,
        list_limits: ListLimits::default(),
        proxy_from_env: true,
    });
    assert_quotable(&no_client, "a client, or why there is none");
}

#[test]
fn panic_costs_one_request_and_tells_no_secret() {
    let test = "panic_costs_one_request_and_tells_no_secret";
    let Some(output) = in_a_process_of_its_own(test) else {
        tokio::runtime::Runtime::new()
            .unwrap()
            .block_on(panic_in_requests());
        return;
    };
    let log = String::from_utf8(output.stderr).unwrap();
    let faults: Vec<_> = log
        .lines()
        .filter(|line| line.contains("level=error"))
        .collect();
    assert_eq!(faults.len(), 2, "once for each panic: {log}");
    for (fault, at) in faults.iter().zip(["src/web/tests/mod.rs:", "time.rs:"]) {
        assert!(fault.contains("a fault of the exporter itself"), "{fault}");
        assert!(fault.contains(at), "{fault}");
    }
    // The words and the backtrace of the standard library's hook.
    for words in ["panicked at", "stack backtrace"] {
        assert!(!log.contains(words), "{log}");
    }
    assert_no_canary(&log, "the log");
    assert_no_canary(&String::from_utf8(output.stdout).unwrap(), "the output");
}

async fn panic_in_requests() {
    logging::init(LogLevel::Trace, LogFormat::Logfmt);
    let world = World::new().await;
    let mut setup = Setup::with_web_config(world.web_config(false));
    setup.apps = world.apps_that_work();
    let apps = setup.apps.len();
    // No flag can say so; a deadline beyond what the clock can count is a panic, unless the client names a nearer one.
    setup.scrape.timeout = Duration::MAX;
    setup.reloading = Arc::new(Reloading {
        panics: Some(format!("{SECRET} and {TOKEN} were in memory")),
        ..Reloading::default()
    });
    let server = setup.start().await;
    let mut stream = server.connect().await;
    let request = |line: &str, headers: &str| {
        format!(
            "{line} HTTP/1.1\r\nHost: x\r\nAuthorization: {}\r\n{headers}\r\n",
            authorization()
        )
    };
    let timeout = "X-Prometheus-Scrape-Timeout-Seconds: 20\r\n";
    let scrape = request("GET /metrics", timeout);

    // Tokens are in use from here on.
    stream.write_all(scrape.as_bytes()).await.unwrap();
    read_until(&mut stream, "wechat_logistics_up{appid=\"wx-well-8\"}").await;
    for line in ["POST /-/reload", "GET /metrics"] {
        let request = request(line, "");
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = read_until(&mut stream, "internal error\n").await;
        let (_, fault) = answer.split_once("HTTP/1.1 500 ").unwrap();
        assert_no_canary(fault, "a reply");
    }
    let last = request("GET /metrics", &format!("{timeout}Connection: close\r\n"));
    let page = exchange(stream, last.as_bytes()).await;
    assert_eq!(status(&page), 200);
    assert_no_canary(&page, "the page");
    for number in 0..apps {
        let up = format!("wechat_logistics_up{{appid=\"wx-well-{number}\"}} 1\n");
        assert!(page.contains(&up), "{page}");
    }
    for handler in ["metrics", "reload"] {
        let counted = format!("_http_requests_total{{code=\"500\",handler=\"{handler}\"}} 1\n");
        assert!(page.contains(&counted), "{page}");
    }
}
