//! A Redis that is reached over TLS: the state that replicas share, and tokens that another service keeps there.

use std::path::Path;
use std::process::Command;

use crate::certificates::Authority;
use crate::redis_server::Server;
use crate::support::*;

const PASSWORD: &str = "canary-redis-password-1f3870be274f6c49";

/// A Redis that speaks TLS alone, with the certificate `redis` of that authority, and asks for [`PASSWORD`].
fn redis(authority: &Authority) -> Server {
    let path = |name: &str| authority.path(name).display().to_string();
    Server::listening(|port| {
        [
            ("--port", "0".to_owned()),
            ("--tls-port", port.to_string()),
            ("--tls-cert-file", path("redis.pem")),
            ("--tls-key-file", path("redis.key")),
            ("--tls-ca-cert-file", path("ca.pem")),
            ("--tls-auth-clients", "no".to_owned()),
            ("--requirepass", PASSWORD.to_owned()),
        ]
        .into_iter()
        .flat_map(|(flag, value)| [flag.to_owned(), value])
        .collect()
    })
}

/// An exporter that trusts that authority alone.
fn exporter(file: &Path, trusted: &Authority) -> Exporter {
    let mut command = program();
    command
        .arg("--config.file")
        .arg(file)
        .args(["--web.listen-address=127.0.0.1:0", "--log.level=trace"])
        .env("SSL_CERT_FILE", trusted.path("ca.pem"))
        .env_remove("SSL_CERT_DIR");
    Exporter::spawn(command)
}

fn shared(scratch: &Scratch, wechat: &Wechat, redis: &Server) -> std::path::PathBuf {
    scratch.write("password", &format!("{PASSWORD}\n"));
    scratch.write(
        "exporter.yml",
        &format!(
            "apps:\n  - appid: {APPID}\n    api_url: {}\n    access_token: {{ stable_token: {{ secret_file: secret }} }}\n\
             shared_state: {{ redis: \"rediss://localhost:{}/0\", password_file: password }}\n",
            wechat.url(),
            redis.port()
        ),
    )
}

/// Failures of the shared state, over all reasons.
fn failures(page: &Page) -> f64 {
    page.series("exporter_shared_state_failures_total")
        .iter()
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_share_one_budget_over_tls() {
    let authority = Authority::new();
    authority.issue("redis", "localhost");
    until("Redis is in time", async || {
        let (scratch, wechat, redis) = (Scratch::new(), Wechat::healthy().await, redis(&authority));
        let file = shared(&scratch, &wechat, &redis);
        for replica in &[exporter(&file, &authority), exporter(&file, &authority)] {
            let page = replica.scrape().await;
            let log = replica.log();
            assert_eq!(page.up(APPID), Some(1.0), "{log}");
            assert!(!log.contains("canary"), "{log}");
            if page.redis_was_late() {
                return false;
            }
            assert_eq!(failures(&page), 0.0, "{log}");
        }
        assert_eq!(wechat.token_and_list_calls().await, (1, 1));
        true
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_with_a_wrong_certificate_is_away_and_gets_no_password() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    for (host, trusted) in [("localhost", &stranger), ("elsewhere.example", &authority)] {
        authority.issue("redis", host);
        until("Redis is in time", async || {
            let (scratch, wechat, redis) =
                (Scratch::new(), Wechat::healthy().await, redis(&authority));
            let replica = exporter(&shared(&scratch, &wechat, &redis), trusted);
            let page = replica.scrape().await;
            if page.redis_was_late() {
                return false;
            }
            let log = replica.log_with("ertificate").await;
            assert_eq!(page.up(APPID), Some(1.0), "{host}: {log}");
            assert!(failures(&page) >= 1.0, "{host}: {log}");
            assert!(!log.contains("canary"), "{host}: {log}");
            assert_eq!(kinds_of_commands(&redis), 0, "{host}");
            true
        })
        .await;
    }
}

/// What that Redis answers, whoever has signed its certificate.
fn ask(redis: &Server, command: &[&str]) -> String {
    let output = Command::new("redis-cli")
        .args(["-p", &redis.port().to_string(), "--tls", "--insecure"])
        .args(["-a", PASSWORD, "--no-auth-warning"])
        .args(command)
        .output()
        .expect("redis-cli is installed (Debian package redis-tools)");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Kinds of commands that Redis was given, but for the one login that this very question takes.
fn kinds_of_commands(redis: &Server) -> usize {
    let told = ask(redis, &["INFO", "commandstats"]);
    assert!(told.contains("cmdstat_auth:calls=1,"), "{told}");
    told.lines()
        .filter(|line| line.starts_with("cmdstat_") && !line.starts_with("cmdstat_auth:calls=1,"))
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn token_is_read_over_tls() {
    let authority = Authority::new();
    authority.issue("redis", "localhost");
    let (scratch, wechat, redis) = (Scratch::new(), Wechat::silent().await, redis(&authority));
    wechat.lists_for(TOKEN, json(accounts())).await;
    scratch.write("password", PASSWORD);
    let file = scratch.write(
        "exporter.yml",
        &format!(
            "apps:\n  - appid: {APPID}\n    api_url: {}\n    access_token:\n      redis: {{ url: \"rediss://localhost:{}/0\", password_file: password, key: token }}\n",
            wechat.url(),
            redis.port()
        ),
    );
    let kept = ask(&redis, &["SET", "token", TOKEN]);
    assert!(kept.starts_with("OK"), "{kept}");
    let exporter = exporter(&file, &authority);
    let page = exporter.scrape().await;
    let log = exporter.log();
    assert_eq!(page.up(APPID), Some(1.0), "{log}");
    assert_eq!(wechat.token_and_list_calls().await, (0, 1));
    assert!(!log.contains("canary"), "{log}");
}
