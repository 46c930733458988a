use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::config::{CommandLine, HttpTokenConfig, HttpTokenMethod, SecretUrl, TokenPointers};
use crate::web::access::Access;
use crate::web::routes::Routes;

fn write(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("web.yml");
    fs::write(&path, text).unwrap();
    path
}

fn users() -> String {
    let hash = bcrypt::hash("secret", 4).unwrap();
    format!("basic_auth_users:\n  ann: {hash}\n")
}

fn authorization(user: &str, password: &str) -> String {
    let text = STANDARD.encode(format!("{user}:{password}"));
    format!("Authorization: Basic {text}\r\n")
}

#[tokio::test]
async fn every_path_asks_for_a_password() {
    let folder = tempfile::tempdir().unwrap();
    let server = Setup::with_web_config(write(folder.path(), &users()))
        .start()
        .await;
    for path in [
        "/metrics",
        "/",
        "/sd",
        "/probe",
        "/-/healthy",
        "/-/ready",
        "/-/reload",
        "/x",
    ] {
        for headers in [
            String::new(),
            authorization("ann", "wrong"),
            authorization("eve", "secret"),
            "Authorization: Bearer x\r\n".to_owned(),
            "Authorization: Basic %%%\r\n".to_owned(),
        ] {
            let answer = server.ask_with(&format!("GET {path}"), &headers).await;
            assert_eq!(status(&answer), 401, "{path} {headers}");
            assert_eq!(header(&answer, "www-authenticate"), Some("Basic"));
        }
    }
    let right = authorization("ann", "secret");
    assert_eq!(status(&server.ask_with("GET /-/ready", &right).await), 200);
    assert_eq!(status(&server.ask_with("GET /x", &right).await), 404);
}

#[tokio::test]
async fn configured_headers_are_on_every_answer_and_win() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "{}http_server_config:\n  headers:\n    X-Frame-Options: sameorigin\n    \
         Strict-Transport-Security: max-age=1\n    X-XSS-Protection: \"\"\n",
        users()
    );
    let server = Setup::with_web_config(write(folder.path(), &text))
        .start()
        .await;
    for (path, headers) in [("/", String::new()), ("/", authorization("ann", "secret"))] {
        let answer = server.ask_with(&format!("GET {path}"), &headers).await;
        assert_eq!(header(&answer, "x-frame-options"), Some("sameorigin"));
        assert_eq!(
            header(&answer, "strict-transport-security"),
            Some("max-age=1")
        );
        assert_eq!(header(&answer, "x-xss-protection"), None);
    }
}

#[tokio::test]
async fn rate_limit_turns_requests_away() {
    let folder = tempfile::tempdir().unwrap();
    let text = "rate_limit: {interval: 1h, burst: 2}\n";
    let server = Setup::with_web_config(write(folder.path(), text))
        .start()
        .await;
    let mut answers = Vec::new();
    for path in ["/metrics", "/-/ready", "/-/ready"] {
        answers.push(server.ask(&format!("GET {path}")).await);
    }
    // Counted from 0 on, so that the first refusal shows as an increase.
    let line = "requests_total{code=\"429\",handler=\"ready\"} 0\n";
    assert!(answers[0].contains(line), "{}", answers[0]);
    let codes: Vec<_> = answers.iter().map(|answer| status(answer)).collect();
    assert_eq!(codes, [200, 200, 429]);
}

#[tokio::test]
async fn file_that_turns_bad_or_empty_lets_nobody_in_until_it_is_corrected() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "");
    let server = Setup::with_web_config(path.clone()).start().await;
    for (text, code) in [
        (users().as_str(), 401),
        ("", 500),
        ("# to be written\n", 500),
        ("basic_auth_user: {}\n", 500),
        (users().as_str(), 401),
        ("basic_auth_users: {}\n", 200),
    ] {
        write(folder.path(), text);
        let answer = server.ask("GET /-/ready").await;
        assert_eq!(status(&answer), code, "{text}");
        // The place of the file is nobody's business.
        assert!(!answer.contains("web.yml"), "{answer}");
    }
    fs::remove_file(&path).unwrap();
    assert_eq!(status(&server.ask("GET /-/ready").await), 500);
}

#[tokio::test]
async fn file_that_can_not_be_used_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut web = Setup::new().web;
    let latin1 = folder.path().join("latin1.yml");
    fs::write(&latin1, b"# ok\n# \xe9\n").unwrap();
    for (path, sentence) in [
        (folder.path().join("absent.yml"), "absent.yml can't be read"),
        (latin1, "latin1.yml, line 2: this is not UTF-8"),
    ] {
        web.config_file = Some(path);
        let error = Server::bind(&web).await.unwrap_err().to_string();
        assert!(error.contains(sentence), "{error}");
    }
}

#[tokio::test]
async fn debug_output_of_all_that_serves_shows_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    fs::write(&token, "canary-1").unwrap();
    let pointers = TokenPointers::default;
    let credentials = [
        Credential::File {
            path: token,
            pointers: pointers(),
        },
        Credential::Http(HttpTokenConfig {
            url: SecretUrl::new("http://canary:canary@127.0.0.1:9/canary?key=canary"),
            method: HttpTokenMethod::Get,
            headers_file: None,
            refresh_url: Some(SecretUrl::new("http://127.0.0.1:9/?key=canary")),
            pointers: pointers(),
        }),
        Credential::Command {
            argv: CommandLine::new("echo", ["canary-2".to_owned()]),
            pointers: pointers(),
        },
    ];
    let mut setup = Setup::with_web_config(write(folder.path(), &users()));
    setup.apps = ["wx1", "wx2", "wx3"]
        .into_iter()
        .zip(credentials)
        .map(|(appid, credential)| AppConfig {
            credential,
            ..app(appid, "shop")
        })
        .collect();
    let server = setup.start().await;
    // Tokens and a password are in memory from here on.
    let right = authorization("ann", "secret");
    let page = server.ask_with("GET /metrics", &right).await;
    let line = "wechat_logistics_up{appid=\"wx1\"} 0\n";
    assert!(page.contains(line), "{page}");

    let access = Access::open(server.config.web.config_file.as_deref()).unwrap();
    let routes = Routes::new(Arc::clone(&server.site), access);
    let shown = format!("{routes:?} {:?}", server.config);
    assert!(shown.contains("wx3"), "{shown}");
    for secret in ["canary", "$2b$"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}
