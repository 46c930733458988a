//! Several exporter processes with one real Redis.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::servers::{Authority, Redis};
use crate::support::*;

const PASSWORD: &str = "canary-redis-password-1f3870be274f6c49";

/// Settings of one app; `more`: further keys of the app and of the file.
fn settings(scratch: &Scratch, wechat: &Wechat, more: &str) -> PathBuf {
    scratch.write("password", PASSWORD);
    let url = wechat.url();
    scratch.write(
        "exporter.yml",
        &format!("apps:\n- appid: {APPID}\n  api_url: {url}\n{more}"),
    )
}

fn shared(redis: &str) -> String {
    format!(
        "  access_token: {{ stable_token: {{ secret_file: secret }} }}\nshared_state: {{ {redis} }}\n"
    )
}

/// Failures of the shared state, over all reasons.
fn failures(page: &Page) -> f64 {
    let series = page.series("exporter_shared_state_failures_total");
    assert!(!series.is_empty());
    series
        .iter()
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn four_processes_cost_what_one_does_and_show_the_same() {
    until("Redis is in time", share_and_show_the_same).await;
}

/// `false`: Redis was late.
async fn share_and_show_the_same() -> bool {
    let (scratch, wechat, redis) = (Scratch::new(), Wechat::silent().await, Redis::plain());
    wechat.gives_token(TOKEN).await;
    let reply = json(accounts()).set_delay(Duration::from_millis(300));
    wechat.lists(reply).await;
    let file = settings(
        &scratch,
        &wechat,
        &shared(&format!("redis: '{}'", redis.url())),
    );
    let exporters: Vec<_> = (0..4).map(|_| Exporter::from_file(&file, &[])).collect();
    let scrapes = exporters
        .iter()
        .flat_map(|exporter| (0..5).map(move |_| exporter.scrape()));
    for page in futures_util::future::join_all(scrapes).await {
        assert_eq!(page.up(APPID), Some(1.0));
        assert_eq!(page.series("account_quota").len(), 1);
    }
    let mut sent = 0.0;
    let mut fetched = Vec::new();
    for exporter in &exporters {
        let page = exporter.scrape().await;
        if page.redis_was_late() {
            return false;
        }
        assert_eq!(failures(&page), 0.0, "{}", exporter.log());
        for api in ["account_getall", "stable_token"] {
            sent += page.requests(api);
        }
        fetched.push(page.snapshot_time());
    }
    let (tokens, lists) = wechat.token_and_list_calls().await;
    assert_eq!(lists, 1);
    assert_eq!(
        sent,
        (tokens + lists) as f64,
        "the replicas' counters add up to what WeChat saw"
    );
    assert!(
        fetched.iter().all(|at| (at - fetched[0]).abs() < 0.5),
        "one reading: {fetched:?}"
    );
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn replica_goes_on_alone_while_redis_is_away_and_says_so() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let redis = format!("redis: 'redis://:{PASSWORD}@{}/0'", free_address());
    let file = settings(&scratch, &wechat, &shared(&redis));
    let exporter = Exporter::from_file(&file, &[]);
    let page = exporter.scrape().await;
    assert_eq!(page.up(APPID), Some(1.0), "{}", exporter.log());
    let failed = page.value("exporter_shared_state_failures_total{reason=\"network\"}");
    assert_eq!(failed, Some(1.0));
    assert!(!exporter.log().contains("canary"), "{}", exporter.log());
}

/// A Redis that speaks TLS alone, with the certificate `redis` of that authority, and asks for [`PASSWORD`].
fn redis_over_tls(authority: &Authority) -> Redis {
    let path = |name: &str| authority.path(name).display().to_string();
    Redis::start(|port| {
        let flags = [
            ("--port", "0".to_owned()),
            ("--tls-port", port.to_string()),
            ("--tls-cert-file", path("redis.pem")),
            ("--tls-key-file", path("redis.key")),
            ("--tls-ca-cert-file", path("ca.pem")),
            ("--tls-auth-clients", "no".to_owned()),
            ("--requirepass", PASSWORD.to_owned()),
        ];
        flags
            .into_iter()
            .flat_map(|(flag, value)| [flag.to_owned(), value])
            .collect()
    })
}

/// An exporter that trusts that authority alone.
fn trusting(authority: &Authority, file: &Path) -> Exporter {
    let mut command = program();
    command
        .arg("--config.file")
        .arg(file)
        .args(["--web.listen-address=127.0.0.1:0", "--log.level=trace"])
        .env("SSL_CERT_FILE", authority.path("ca.pem"))
        .env_remove("SSL_CERT_DIR");
    Exporter::spawn(command)
}

/// What Redis answers, whoever has signed its certificate.
fn ask(redis: &Redis, command: &[&str]) -> String {
    let output = Command::new("redis-cli")
        .args(["-p", &redis.port.to_string(), "--tls", "--insecure"])
        .args(["-a", PASSWORD, "--no-auth-warning"])
        .args(command)
        .output()
        .expect("redis-cli is installed (Debian package redis-tools)");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Replicas use the same client.
#[tokio::test(flavor = "multi_thread")]
async fn token_is_read_over_tls_and_a_wrong_certificate_gets_no_password() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    for (host, trusted, works) in [
        ("localhost", &authority, true),
        ("localhost", &stranger, false),
        ("elsewhere.example", &authority, false),
    ] {
        authority.issue("redis", host);
        let (scratch, wechat) = (Scratch::new(), Wechat::silent().await);
        wechat.lists_for(TOKEN, json(accounts())).await;
        let redis = redis_over_tls(&authority);
        let url = format!("rediss://localhost:{}/0", redis.port);
        let credential = format!(
            "  access_token: {{ redis: {{ url: '{url}', password_file: password, key: token }} }}\n"
        );
        let exporter = trusting(trusted, &settings(&scratch, &wechat, &credential));
        if works {
            assert!(ask(&redis, &["SET", "token", TOKEN]).starts_with("OK"));
            let page = exporter.scrape().await;
            assert_eq!(page.up(APPID), Some(1.0), "{}", exporter.log());
            assert_eq!(wechat.token_and_list_calls().await, (0, 1));
        } else {
            let page = exporter.scrape().await;
            let log = exporter.log_with("ertificate").await;
            assert_eq!(page.up(APPID), Some(0.0), "{host}: {log}");
            // The one login is that of this very question.
            let commands = ask(&redis, &["INFO", "commandstats"]);
            assert_eq!(
                commands.matches("cmdstat_").count(),
                1,
                "{host}: {commands}"
            );
        }
        let log = exporter.log();
        assert!(!log.contains("canary"), "{host}: {log}");
    }
}
