use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

use super::*;

/// Returns a web configuration with one user, whose password is `secret`.
fn users() -> String {
    let hash = bcrypt::hash("secret", 4).unwrap();
    format!("basic_auth_users:\n  ann: {hash}\n")
}

fn authorization(user: &str, password: &str) -> String {
    let text = STANDARD.encode(format!("{user}:{password}"));
    format!("Authorization: Basic {text}\r\n")
}

/// Starts a server with that web configuration, which is `web.yml` in the folder.
async fn serving(web_config: &str) -> (TempDir, Running) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web.yml");
    fs::write(&path, web_config).unwrap();
    let server = Setup::with_web_config(path).start().await;
    (folder, server)
}

#[tokio::test]
async fn every_path_asks_for_a_password() {
    let (_folder, server) = serving(&users()).await;
    for path in [
        "/metrics",
        "/",
        "/sd",
        "/probe",
        "/-/healthy",
        "/-/reload",
        "/x",
    ] {
        let answer = server.ask(&format!("GET {path}")).await;
        assert_eq!(status(&answer), 401, "{path}");
        assert_eq!(header(&answer, "www-authenticate"), Some("Basic"));
    }
    for wrong in [
        &*authorization("ann", "wrong"),
        &authorization("eve", "secret"),
        "Authorization: Bearer x\r\n",
        "Authorization: Basic %%%\r\n",
    ] {
        let answer = server.ask_with("GET /-/ready", wrong).await;
        assert_eq!(status(&answer), 401, "{wrong}");
    }
    let right = authorization("ann", "secret");
    assert_eq!(status(&server.ask_with("GET /-/ready", &right).await), 200);
    assert_eq!(status(&server.ask_with("GET /x", &right).await), 404);
}

#[tokio::test]
async fn configured_headers_are_on_every_answer_and_win() {
    let headers = "http_server_config:\n  headers:\n    X-Frame-Options: sameorigin\n    \
                   Strict-Transport-Security: max-age=1\n    X-XSS-Protection: \"\"\n";
    let (_folder, server) = serving(&(users() + headers)).await;
    for login in [String::new(), authorization("ann", "secret")] {
        let answer = server.ask_with("GET /", &login).await;
        for (name, value) in [
            ("x-frame-options", Some("sameorigin")),
            ("strict-transport-security", Some("max-age=1")),
            ("x-xss-protection", None),
        ] {
            assert_eq!(header(&answer, name), value, "{name}");
        }
    }
}

#[tokio::test]
async fn rate_limit_turns_requests_away() {
    let (_folder, server) = serving("rate_limit: {interval: 1h, burst: 2}\n").await;
    let page = server.ask("GET /metrics").await;
    // Counted from 0, so that the first refusal shows as an increase.
    let line = "requests_total{code=\"429\",handler=\"ready\"} 0\n";
    assert!(page.contains(line), "{page}");
    for code in [200, 429] {
        assert_eq!(status(&server.ask("GET /-/ready").await), code);
    }
}

#[tokio::test]
async fn file_that_turns_bad_or_empty_lets_nobody_in_until_it_is_corrected() {
    let (folder, server) = serving("").await;
    let path = folder.path().join("web.yml");
    for (text, code) in [
        (Some(users().as_str()), 401),
        (Some(""), 500),
        (Some("# to be written\n"), 500),
        (Some("basic_auth_user: {}\n"), 500),
        (Some(users().as_str()), 401),
        (Some("basic_auth_users: {}\n"), 200),
        (None, 500),
    ] {
        match text {
            Some(text) => fs::write(&path, text).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        let answer = server.ask("GET /-/ready").await;
        assert_eq!(status(&answer), code, "{text:?}");
        // The reply must not reveal where the file is.
        assert!(!answer.contains("web.yml"), "{answer}");
    }
}
