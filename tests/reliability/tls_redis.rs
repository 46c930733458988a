//! A Redis that is reached over TLS, with a token that another program keeps there. Replicas use the same client.

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
async fn token_is_read_over_tls_and_a_wrong_certificate_gets_no_password() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    for (host, trusted, works) in [
        ("localhost", &authority, true),
        ("localhost", &stranger, false),
        ("elsewhere.example", &authority, false),
    ] {
        authority.issue("redis", host);
        let (scratch, wechat, redis) = (Scratch::new(), Wechat::silent().await, redis(&authority));
        wechat.lists_for(TOKEN, json(accounts())).await;
        scratch.write("password", &format!("{PASSWORD}\n"));
        let file = scratch.write(
            "exporter.yml",
            &format!(
                "apps:\n  - appid: {APPID}\n    api_url: {}\n    access_token:\n      redis: {{ url: \"rediss://localhost:{}/0\", password_file: password, key: token }}\n",
                wechat.url(),
                redis.port()
            ),
        );
        let exporter = exporter(&file, trusted);
        if works {
            let kept = ask(&redis, &["SET", "token", TOKEN]);
            assert!(kept.starts_with("OK"), "{kept}");
            let page = exporter.scrape().await;
            assert_eq!(page.up(APPID), Some(1.0), "{}", exporter.log());
            assert_eq!(wechat.token_and_list_calls().await, (0, 1));
        } else {
            let page = exporter.scrape().await;
            let log = exporter.log_with("ertificate").await;
            assert_eq!(page.up(APPID), Some(0.0), "{host}: {log}");
            assert_eq!(kinds_of_commands(&redis), 0, "{host}");
        }
        let log = exporter.log();
        assert!(!log.contains("canary"), "{host}: {log}");
    }
}
