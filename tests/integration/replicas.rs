//! Several exporter processes with one real Redis (Debian's packages redis-server and redis-tools), which accepts only
//! TLS and asks for a password.

use std::process::{Command, Stdio};
use std::time::Duration;

use futures_util::future::join_all;

use crate::support::*;

const PASSWORD: &str = "canary-redis-password-1f3870be274f6c49";

/// Starts a Redis with the certificate `redis` of the scratch folder and returns its port.
async fn redis(scratch: &Scratch) -> (Killed, u16) {
    let port = free_address().port();
    let path = |name: &str| scratch.path(name).display().to_string();
    let mut redis = Command::new("redis-server");
    redis
        .args(["--bind", "127.0.0.1", "--port", "0", "--save", ""])
        .args(["--requirepass", PASSWORD, "--dir", &path("")])
        .args(["--tls-port", &port.to_string(), "--tls-auth-clients", "no"])
        .args(["--tls-cert-file", &path("redis.pem")])
        .args(["--tls-key-file", &path("redis.key")])
        .args(["--tls-ca-cert-file", &path("redis.pem")])
        .stdout(Stdio::null());
    let redis = Killed(redis.spawn().expect("redis-server is installed"));
    until("Redis answers", async || ask(port, "PING").contains("PONG")).await;
    (redis, port)
}

/// Returns what Redis answers, whoever has signed its certificate.
fn ask(port: u16, command: &str) -> String {
    let mut client = Command::new("redis-cli");
    client.args(["-p", &port.to_string(), "--tls", "--insecure"]);
    client.args(["-a", PASSWORD, "--no-auth-warning"]);
    let output = client.args(command.split(' ')).output();
    text(&output.expect("redis-cli is installed").stdout)
}

/// Starts an exporter that shares its state through that Redis and trusts only the certificate `trusted`.
fn replica(scratch: &Scratch, wechat: &Wechat, redis_port: u16, trusted: &str) -> Exporter {
    scratch.write("password", PASSWORD);
    let redis = format!("redis: 'rediss://localhost:{redis_port}/0', password_file: password");
    let shared_state = format!("shared_state: {{ {redis} }}\n");
    let mut command = program();
    command.arg("--config.file");
    command.arg(scratch.app(&wechat.url(), STABLE, &shared_state));
    command.arg("--log.level=trace");
    command.env("SSL_CERT_FILE", scratch.path(trusted));
    command.env_remove("SSL_CERT_DIR");
    Exporter::spawn(command)
}

/// Returns how many exchanges with Redis failed for that reason.
fn failures(page: &Page, reason: &str) -> f64 {
    let name = "exporter_shared_state_failures_total";
    page.value(&format!("{name}{{reason=\"{reason}\"}}"))
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn four_processes_cost_what_one_does_and_show_the_same() {
    until("Redis is in time", share_and_show_the_same).await;
}

/// Returns false if an answer of Redis took longer than half a second, as on a busy machine. How replicas work together
/// shows only if none was late.
async fn share_and_show_the_same() -> bool {
    let late = ok(accounts()).set_delay(Duration::from_millis(300));
    let (scratch, wechat) = (Scratch::new(), Wechat::listing(late).await);
    scratch.certificate("redis", "localhost");
    let (_redis, port) = redis(&scratch).await;
    let replicas = [(); 4].map(|()| replica(&scratch, &wechat, port, "redis.pem"));
    let scrapes = (0..20).map(|number| replicas[number % 4].scrape());
    for page in join_all(scrapes).await {
        assert_eq!(page.up(APPID), Some(1.0));
        assert_eq!(page.series("account_quota").len(), 1);
    }
    let mut sent = 0.0;
    let mut fetched = Vec::new();
    for replica in &replicas {
        let page = replica.scrape().await;
        if failures(&page, "timeout") > 0.0 {
            return false;
        }
        assert_eq!(failures(&page, "network"), 0.0, "{}", replica.log());
        sent += page.requests("account_getall") + page.requests("stable_token");
        fetched.push(page.snapshot_time());
        assert!(!replica.log().contains("canary"), "{}", replica.log());
    }
    let (tokens, lists) = wechat.token_and_list_calls().await;
    assert_eq!(lists, 1);
    // The replicas' counters add up to what WeChat saw.
    assert_eq!(sent, (tokens + lists) as f64);
    let is_one = fetched.iter().all(|at| (at - fetched[0]).abs() < 0.5);
    assert!(is_one, "one reading: {fetched:?}");
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn replica_without_redis_goes_on_alone_and_a_wrong_certificate_gets_no_password() {
    let scratch = Scratch::new();
    scratch.certificate("stranger", "localhost");
    for (host, trusted, is_there) in [
        ("localhost", "redis.pem", false),
        ("localhost", "stranger.pem", true),
        ("elsewhere.example", "redis.pem", true),
    ] {
        let wechat = Wechat::healthy().await;
        scratch.certificate("redis", host);
        let (mut redis, port) = redis(&scratch).await;
        if !is_there {
            redis.0.kill().unwrap();
        }
        let exporter = replica(&scratch, &wechat, port, trusted);
        let page = exporter.scrape().await;
        let log = exporter.log();
        assert_eq!(page.up(APPID), Some(1.0), "{host}: {log}");
        assert_eq!(failures(&page, "network"), 1.0, "{host}: {log}");
        assert!(!log.contains("canary"), "{host}: {log}");
        if is_there {
            assert!(log.contains("ertificate"), "{host}: {log}");
            // The only logins and commands are those of this test's own questions.
            let commands = ask(port, "INFO commandstats");
            let of = |line: &&str| line.starts_with("cmdstat_") && !line.contains("_ping:");
            assert_eq!(commands.lines().filter(of).count(), 1, "{commands}");
        }
    }
}
