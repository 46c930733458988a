use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;

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
async fn file_that_is_empty_for_a_while_opens_no_door() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "");
    let server = Setup::with_web_config(path).start().await;
    for (text, code) in [
        (users().as_str(), 401),
        ("", 500),
        ("# to be written\n", 500),
        (users().as_str(), 401),
        ("basic_auth_users: {}\n", 200),
    ] {
        write(folder.path(), text);
        assert_eq!(status(&server.ask("GET /-/ready").await), code, "{text}");
    }
}

#[tokio::test]
async fn file_that_turns_bad_lets_nobody_in_until_it_is_corrected() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), &users());
    let server = Setup::with_web_config(path.clone()).start().await;
    let right = authorization("ann", "secret");
    assert_eq!(status(&server.ask_with("GET /-/ready", &right).await), 200);
    write(folder.path(), "basic_auth_user: {}\n");
    let answer = server.ask_with("GET /-/ready", &right).await;
    assert_eq!(status(&answer), 500);
    assert!(
        !answer.contains("web.yml"),
        "the place of the file is nobody's business: {answer}"
    );
    fs::remove_file(&path).unwrap();
    assert_eq!(status(&server.ask_with("GET /-/ready", &right).await), 500);
    write(folder.path(), &users());
    assert_eq!(status(&server.ask_with("GET /-/ready", &right).await), 200);
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
    let mut codes = Vec::new();
    for _ in 0..3 {
        codes.push(status(&server.ask("GET /-/ready").await));
    }
    assert_eq!(codes, [200, 200, 429]);
}

#[tokio::test]
async fn refusals_are_counted_from_zero_where_there_is_a_web_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let text = "rate_limit: {interval: 1h, burst: 2}\n";
    let with = Setup::with_web_config(write(folder.path(), text));
    for (setup, lines) in [(with, 1), (Setup::new(), 0)] {
        let server = setup.start().await;
        let page = server.ask("GET /metrics").await;
        for code in [401, 429] {
            let line = format!("requests_total{{code=\"{code}\",handler=\"probe\"}} 0\n");
            assert_eq!(page.matches(&line).count(), lines, "{code}");
        }
    }
}

#[tokio::test]
async fn bad_file_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut web = Setup::new().web;
    web.config_file = Some(write(folder.path(), "http_server_config:\n  http3: true\n"));
    let error = Server::bind(&web).await.unwrap_err().to_string();
    assert!(
        error.contains("web.yml, line 2: unknown key \"http3\""),
        "{error}"
    );
    web.config_file = Some(folder.path().join("absent.yml"));
    let error = Server::bind(&web).await.unwrap_err().to_string();
    assert!(error.contains("absent.yml can't be read"), "{error}");
    std::fs::write(folder.path().join("latin1.yml"), b"# ok\n# \xe9\n").unwrap();
    web.config_file = Some(folder.path().join("latin1.yml"));
    let error = Server::bind(&web).await.unwrap_err().to_string();
    assert!(
        error.contains("latin1.yml, line 2: this is not UTF-8"),
        "{error}"
    );
}
