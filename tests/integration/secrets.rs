//! No secret in anything the program writes: log at trace, pages, errors, help, command line, state.

use std::process::Command;

use crate::support::*;

const PAGES: [&str; 8] = [
    "/metrics",
    "/",
    "/sd",
    "/-/healthy",
    "/probe?target=wx00000000000000a1",
    "/probe",
    "/nothing",
    "/-/ready",
];

/// Everything that a reader of the exporter's output could see.
async fn everything_written(exporter: &Exporter) -> String {
    let mut written = String::new();
    for path in PAGES {
        for (name, value) in [
            ("Accept", "*/*"),
            ("Accept", "application/openmetrics-text"),
            ("Accept-Language", "zh-CN"),
        ] {
            let answer = Answer::of(
                exporter
                    .request(reqwest::Method::GET, path)
                    .header(name, value),
            )
            .await;
            written += &format!("{:?}\n{}\n", answer.headers, answer.body);
        }
    }
    written += &std::fs::read_to_string(format!("/proc/{}/cmdline", exporter.process())).unwrap();
    written + &exporter.log()
}

fn assert_no_canary(written: &str, context: &str) {
    if let Some(at) = written.find("canary") {
        let from = (0..=at.saturating_sub(200))
            .rev()
            .find(|i| written.is_char_boundary(*i))
            .unwrap_or(0);
        panic!(
            "{context}: a secret is in the output: {}",
            &written[from..at]
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secret_and_token_appear_in_no_log_page_or_error() {
    let echoed = format!("invalid credential {TOKEN} {SECRET} access_token={TOKEN}");
    let scenarios: Vec<(&str, wiremock::ResponseTemplate, wiremock::ResponseTemplate)> = vec![
        ("all is well", token_reply(), json(accounts())),
        ("wrong secret", errcode(40125, &echoed), json(accounts())),
        (
            "token reply is odd",
            json(serde_json::json!({"access_token": [TOKEN], "secret": SECRET})),
            json(accounts()),
        ),
        (
            "token with a space",
            json(serde_json::json!({"access_token": format!("{TOKEN} x"), "expires_in": 7200})),
            json(accounts()),
        ),
        (
            "token reply is html",
            wiremock::ResponseTemplate::new(200).set_body_string(echoed.clone()),
            json(accounts()),
        ),
        (
            "token call fails",
            wiremock::ResponseTemplate::new(500).set_body_string(echoed.clone()),
            json(accounts()),
        ),
        ("rejected token", token_reply(), errcode(40001, &echoed)),
        ("unknown errcode", token_reply(), errcode(987_654, &echoed)),
        (
            "list is html",
            token_reply(),
            wiremock::ResponseTemplate::new(200)
                .set_body_string(format!("<a href='?access_token={TOKEN}'>")),
        ),
        (
            "list is truncated",
            token_reply(),
            wiremock::ResponseTemplate::new(200)
                .set_body_string(format!("{{\"list\":[{{\"x\":\"{TOKEN}\"")),
        ),
        (
            "server error",
            token_reply(),
            wiremock::ResponseTemplate::new(502).set_body_string(echoed.clone()),
        ),
        (
            "redirect",
            token_reply(),
            wiremock::ResponseTemplate::new(302).insert_header(
                "location",
                format!("http://127.0.0.1:9/?t={TOKEN}").as_str(),
            ),
        ),
    ];
    for (name, token, list) in scenarios {
        for format in ["logfmt", "json"] {
            let (scratch, wechat) = (Scratch::new(), Wechat::silent().await);
            wechat.answers_token_call(token.clone()).await;
            wechat.lists(list.clone()).await;
            let state = format!("--state.dir={}", scratch.path("state").display());
            let format = format!("--log.format={format}");
            let mut exporter =
                Exporter::for_one_app(&scratch, &wechat, &["--log.level=trace", &format, &state]);
            let mut written = everything_written(&exporter).await;
            signal(exporter.process(), "TERM");
            exporter.ended();
            written += &exporter.log();
            for entry in std::fs::read_dir(scratch.path("state")).unwrap() {
                written += &String::from_utf8_lossy(&std::fs::read(entry.unwrap().path()).unwrap());
            }
            assert_no_canary(&written, name);
        }
    }
}

fn token_reply() -> wiremock::ResponseTemplate {
    json(serde_json::json!({"access_token": TOKEN, "expires_in": 7200}))
}

#[tokio::test]
async fn redirect_never_carries_the_token_away() {
    let (scratch, wechat, elsewhere) = (
        Scratch::new(),
        Wechat::silent().await,
        Wechat::healthy().await,
    );
    wechat.gives_token(TOKEN).await;
    let target = format!("{}{LIST_PATH}?access_token={TOKEN}", elsewhere.url());
    for status in [301, 302, 307, 308] {
        wechat
            .lists(
                wiremock::ResponseTemplate::new(status).insert_header("location", target.as_str()),
            )
            .await;
        let exporter = Exporter::for_one_app(&scratch, &wechat, &[]);
        let page = exporter.scrape().await;
        assert_eq!(page.up(APPID), Some(0.0));
    }
    assert!(elsewhere.calls().await.is_empty());
}

#[tokio::test]
async fn secret_from_the_environment_is_shown_nowhere() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let with_secret = |arguments: &[&str]| {
        let mut command = program();
        command
            .args(arguments)
            .env("WECHAT_LOGISTICS_WECHAT_SECRET", SECRET)
            .env("WECHAT_LOGISTICS_WECHAT_APPID", APPID)
            .env("WECHAT_LOGISTICS_WECHAT_API_URL", wechat.url());
        command
    };
    let output = |mut command: Command| {
        let output = command.output().expect("the program runs");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    for arguments in [
        &["--help"][..],
        &["check", "--help"],
        &["--no-such-flag"],
        &["--wechat.min-interval=soon"],
        &["check", "--config-only"],
    ] {
        assert_no_canary(&output(with_secret(arguments)), &format!("{arguments:?}"));
    }
    let exporter = Exporter::spawn(with_secret(&[
        "--web.listen-address=127.0.0.1:0",
        "--log.level=trace",
    ]));
    assert_eq!(exporter.scrape().await.up(APPID), Some(1.0));
    assert_no_canary(&everything_written(&exporter).await, "serve");
    drop(scratch);
}

#[tokio::test]
async fn secret_file_that_others_can_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt as _;
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    std::fs::set_permissions(
        scratch.path("secret"),
        std::fs::Permissions::from_mode(0o644),
    )
    .unwrap();
    let exporter = Exporter::for_one_app(&scratch, &wechat, &[]);
    assert_eq!(exporter.scrape().await.up(APPID), Some(1.0));
    let log = exporter.log_with("can read this secret file").await;
    assert_no_canary(&log, "warning");
}

#[tokio::test]
async fn childs_environment_holds_no_secret_of_ours() {
    let (scratch, wechat) = (Scratch::new(), Wechat::silent().await);
    wechat.lists(json(accounts())).await;
    let seen = scratch.path("seen");
    let script = scratch.write(
        "token.sh",
        &format!(
            "#!/bin/sh\nenv > {0}.part\nmv {0}.part {0}\necho {TOKEN}\n",
            seen.display()
        ),
    );
    let file = scratch.write(
        "command.yml",
        &format!(
            "apps:\n  - appid: {APPID}\n    api_url: {}\n    access_token: {{ command: {{ argv: [\"/bin/sh\", \"{}\"] }} }}\n",
            wechat.url(),
            script.display()
        ),
    );
    let mut command = program();
    command
        .args([
            "--config.file",
            &file.display().to_string(),
            "--web.listen-address=127.0.0.1:0",
        ])
        .env("WECHAT_LOGISTICS_WECHAT_SECRET", SECRET);
    let exporter = Exporter::spawn(command);
    let page = exporter.scrape().await;
    assert_eq!(page.up(APPID), Some(1.0), "{}", exporter.log());
    assert_no_canary(
        &std::fs::read_to_string(seen).unwrap(),
        "the child's environment",
    );
}
