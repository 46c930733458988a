//! No secret and no token in anything the program writes, whatever fails: log at trace level, pages, errors, help,
//! command line, state, and what a token command sees.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use wiremock::ResponseTemplate;

use crate::support::*;

fn assert_no_canary(written: &str, context: &str) {
    if let Some(at) = written.find("canary") {
        let line = written[..at].rfind('\n').map_or(0, |newline| newline + 1);
        panic!(
            "{context}: a secret is in the output: {}…",
            &written[line..at]
        );
    }
}

/// Answers every read on every connection with the same bytes.
fn parrot(says: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Ends with the test's process.
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let says = says.clone();
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                while stream.read(&mut buffer).is_ok_and(|read| read > 0) {
                    if stream.write_all(says.as_bytes()).is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

fn http(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nX-Echo: {TOKEN}\r\nContent-Length: {length}\r\n\r\n{body}")
}

/// An `access_token` of every kind for each way in which it fails.
fn credentials(scratch: &Scratch) -> Vec<String> {
    let mut credentials = vec![
        "stable_token: { secret_file: secret }".to_owned(),
        "token: { secret_file: secret }".to_owned(),
        "none: {}".to_owned(),
        "command: { argv: [/no/such/program] }".to_owned(),
        format!("http: {{ url: 'http://canary-user:{SECRET}@127.0.0.1:9/?key={SECRET}' }}"),
        format!("redis: {{ url: 'redis://canary-user:{SECRET}@127.0.0.1:9/0', key: token }}"),
    ];
    let contents = [
        TOKEN.to_owned(),
        String::new(),
        format!("{TOKEN}\n{TOKEN}\n"),
        format!("{TOKEN}\0\u{1}"),
        format!("{{\"access_token\":\"{TOKEN}\",\"expires_in\":7200}}"),
        format!("{{\"access_token\":\"{TOKEN}"),
        TOKEN.repeat(2000),
    ];
    for (number, content) in contents.iter().enumerate() {
        // Two apps may not share a file.
        for kind in ["file", "pointer", "cloudbase"] {
            scratch.write(&format!("{kind}-{number}"), content);
        }
        credentials.push(format!("file: {{ path: file-{number} }}"));
        credentials.push(format!(
            "file: {{ path: pointer-{number}, token_pointer: /data/x }}"
        ));
        credentials.push(format!("cloudbase: {{ path: cloudbase-{number} }}"));
    }
    for says in [
        http("401 Unauthorized", &format!("{SECRET} is wrong")),
        http("500 Internal Server Error", &format!("{TOKEN} {SECRET}")),
        http("200 OK", &format!("<b>{TOKEN}</b>")),
        http(
            "200 OK",
            &format!("{{\"data\":{{\"{TOKEN}\":[\"{SECRET}\"]}}}}"),
        ),
        http(
            "200 OK",
            &format!("{{\"data\":{{\"access_token\":\"{TOKEN}\"}}}}"),
        ),
        format!(
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/{TOKEN}?{SECRET}\r\nContent-Length: 0\r\n\r\n"
        ),
        format!("{TOKEN} {SECRET}\r\n\r\n"),
    ] {
        let address = parrot(says);
        credentials.push(format!(
            "http: {{ url: 'http://canary-user:{SECRET}@{address}/{TOKEN}?key={SECRET}', headers_file: headers, refresh_url: 'http://{address}/{SECRET}', token_pointer: /data/access_token }}"
        ));
    }
    for says in [
        format!("-WRONGPASS invalid {SECRET} for {TOKEN}\r\n"),
        format!("-ERR {TOKEN}\r\n"),
        "*1\r\n$6\r\ncanary\r\n".to_owned(),
        http("400 Bad Request", SECRET),
    ] {
        let address = parrot(says);
        credentials.push(format!(
            "redis: {{ url: 'redis://canary-user:{SECRET}@{address}/0', key: one }}"
        ));
        credentials.push(format!(
            "redis: {{ url: 'redis://{address}/0', key: other, password_file: password }}"
        ));
    }
    for (number, script) in [
        format!("echo {TOKEN}; echo {SECRET} >&2; exit 3"),
        format!("echo {TOKEN}; echo {TOKEN}"),
        format!("echo {SECRET} >&2"),
        format!("echo {TOKEN}; kill -9 $$"),
        format!("echo '{{\"token\":\"{TOKEN}\"'"),
        format!("echo {TOKEN}"),
    ]
    .iter()
    .enumerate()
    {
        let file = scratch.write(&format!("script-{number}"), script);
        credentials.push(format!(
            "command: {{ argv: [/bin/sh, '{}'] }}",
            file.display()
        ));
    }
    credentials
}

/// One app for each credential, and one with a cloud function.
fn settings(scratch: &Scratch, credentials: &[String], api_url: &str) -> PathBuf {
    let mut text = "apps:\n".to_owned();
    for (number, credential) in credentials.iter().enumerate() {
        let app = format!(
            "- appid: wx{number}\n  api_url: {api_url}\n  access_token: {{ {credential} }}\n"
        );
        text.write_str(&app).unwrap();
    }
    scratch.write("exporter.yml", &text)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_kind_of_credential_leaves_a_trace_however_it_fails() {
    let echoed =
        format!("invalid credential {TOKEN} {SECRET} access_token={TOKEN}&secret={SECRET}");
    let page = |status| ResponseTemplate::new(status).set_body_string(echoed.clone());
    let token = |token: serde_json::Value| {
        json(serde_json::json!({"access_token": token, "expires_in": 7200}))
    };
    let redirect = ResponseTemplate::new(302)
        .insert_header("location", &*format!("http://127.0.0.1:9/?t={TOKEN}"));
    let cut = format!("{{\"list\":[{{\"x\":\"{TOKEN}\"");
    // What WeChat says to the token call and to the list call.
    for (answer, tokens, lists) in [
        ("well", token(TOKEN.into()), json(accounts())),
        (
            "with a refusal",
            errcode(40125, &echoed),
            errcode(40001, &echoed),
        ),
        ("with a page", page(200), page(502)),
        (
            "with an odd token",
            token(format!("{TOKEN} x").into()),
            errcode(987_654, &echoed),
        ),
        (
            "with a list of tokens",
            token(vec![TOKEN].into()),
            ResponseTemplate::new(200).set_body_string(cut),
        ),
        ("elsewhere", page(500), redirect),
    ] {
        let (scratch, wechat) = (Scratch::new(), Wechat::silent().await);
        wechat.answers_token_call(tokens.clone()).await;
        wechat.lists(lists).await;
        wiremock::Mock::given(wiremock::matchers::path("/cgi-bin/token"))
            .respond_with(tokens)
            .mount(&wechat.server)
            .await;
        let write_secrets = |content: &str| {
            for name in ["secret", "password"] {
                scratch.write(name, content);
            }
            scratch.write("headers", &format!("Authorization: Bearer {content}\n"));
        };
        write_secrets(SECRET);
        let credentials = credentials(&scratch);
        let file = settings(&scratch, &credentials, &wechat.url());
        let flags = [
            "--log.level=trace",
            "--wechat.timeout=500ms",
            "--scrape.timeout=2s",
            "--wechat.min-interval=50ms",
        ];
        let more = [&*scratch.state_flag(), "--web.enable-lifecycle"];
        let mut exporter = Exporter::from_file(&file, &[&flags[..], &more].concat());
        let paths = [
            "/metrics",
            "/metrics",
            "/",
            "/sd",
            "/probe?target=wx3",
            "/probe",
            "/nothing",
        ];
        let mut written = String::new();
        for path in paths {
            let answer = exporter.get(path).await;
            written += &format!("{:?}\n{}\n", answer.headers, answer.body);
        }
        let page = exporter.scrape().await;
        assert_eq!(page.series("up").len(), credentials.len());
        // Broken while it runs.
        write_secrets(&format!("{SECRET}\n{SECRET}\0"));
        written += &exporter.reload().await.body;
        for path in ["/metrics", "/"] {
            written += &exporter.get(path).await.body;
        }
        for name in ["cmdline", "comm", "status"] {
            written +=
                &std::fs::read_to_string(format!("/proc/{}/{name}", exporter.process())).unwrap();
        }
        signal(exporter.process(), "TERM");
        exporter.ended();
        written += &exporter.log();
        for entry in std::fs::read_dir(scratch.path("state")).unwrap() {
            written += &String::from_utf8_lossy(&std::fs::read(entry.unwrap().path()).unwrap());
        }
        assert_no_canary(&written, &format!("serve, WeChat answers {answer}"));
        assert!(!written.contains("panic"), "WeChat answers {answer}");

        write_secrets(SECRET);
        let file = file.display().to_string();
        for (command, format) in [("check", "logfmt"), ("collect", "json")] {
            let format = format!("--log.format={format}");
            let output = run(&[&[command, "--config.file", &file, &format], &flags[..]].concat());
            let written = all_output(&output);
            assert!(written.len() > 1000, "{command}: {written}");
            assert_no_canary(&written, &format!("{command}, WeChat answers {answer}"));
        }
    }
}

#[tokio::test]
async fn redirect_never_carries_the_token_away() {
    let (scratch, wechat) = (Scratch::new(), Wechat::silent().await);
    let elsewhere = Wechat::healthy().await;
    wechat.gives_token(TOKEN).await;
    let target = format!("{}{LIST_PATH}?access_token={TOKEN}", elsewhere.url());
    let redirect = ResponseTemplate::new(307).insert_header("location", target.as_str());
    wechat.lists(redirect).await;
    let exporter = Exporter::for_one_app(&scratch, &wechat, &[]);
    assert_eq!(exporter.scrape().await.up(APPID), Some(0.0));
    assert!(elsewhere.calls().await.is_empty());
}

#[test]
fn settings_with_mistakes_are_refused_without_a_word_of_their_secrets() {
    let scratch = Scratch::new();
    scratch.write("odd-headers", &format!("{SECRET}\n"));
    for yaml in [
        "http: { url: 'http://host/', headers_file: odd-headers }".to_owned(),
        format!("stable_token: {SECRET}"),
        format!("http: {{ url: 'ht!tp://user:{SECRET}@host/' }}"),
        format!("http: {{ url: 'ftp://user:{SECRET}@host/{SECRET}' }}"),
        format!("redis: {{ url: 'http://user:{SECRET}@host/', key: a }}"),
        format!("redis: {{ url: 'redis://user:{SECRET}@host:port/x', key: a }}"),
        format!("http: {{ url: 'http://user:{SECRET}@host/', token_pointer: a }}"),
    ] {
        let text = format!("apps:\n- appid: {APPID}\n  access_token: {{ {yaml} }}\n");
        let file = scratch.write("bad.yml", &text).display().to_string();
        for command in [&["check", "--config-only"][..], &["collect"], &["serve"]] {
            let output = run(&[command, &["--log.level=trace", "--config.file", &file]].concat());
            assert_eq!(output.status.code(), Some(2), "{yaml}, {command:?}");
            assert_no_canary(&all_output(&output), &format!("{yaml}, {command:?}"));
        }
    }
}

#[tokio::test]
async fn secret_of_the_environment_is_in_no_output_of_ours_and_in_nothing_that_a_token_command_sees()
 {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let environment = [
        ("WECHAT_LOGISTICS_WECHAT_SECRET", SECRET),
        ("WECHAT_LOGISTICS_WECHAT_APPID", APPID),
    ];
    for arguments in [
        &["--help"][..],
        &["check", "--help"],
        &["--no-such-flag"],
        &["--wechat.min-interval=soon"],
        &["check", "--config-only"],
    ] {
        let output = run_in(&environment, arguments);
        assert_no_canary(&all_output(&output), &format!("{arguments:?}"));
    }

    let seen = scratch.path("seen");
    let script = format!(
        "cat /proc/self/environ /proc/$$/environ /proc/$$/cmdline /proc/$PPID/cmdline > {0}.part\nls -l /proc/$$/fd >> {0}.part\nmv {0}.part {0}\necho not-a-token-at-all\n",
        seen.display()
    );
    let script = scratch.write("token.sh", &script);
    let file = scratch.write(
        "exporter.yml",
        &format!(
            "apps:\n- appid: {APPID}\n  api_url: {0}\n  access_token: {{ stable_token: {{ secret_env: CANARY }} }}\n- appid: {OTHER_APPID}\n  api_url: {0}\n  access_token: {{ command: {{ argv: [/bin/sh, '{1}'] }} }}\n",
            wechat.url(),
            script.display()
        ),
    );
    let mut command = program();
    command
        .arg("--config.file")
        .arg(file)
        .arg("--web.listen-address=127.0.0.1:0")
        .env("CANARY", SECRET)
        .env("WECHAT_LOGISTICS_WECHAT_SECRET", SECRET);
    let exporter = Exporter::spawn(command);
    assert_eq!(
        exporter.scrape().await.up(APPID),
        Some(1.0),
        "{}",
        exporter.log()
    );
    let seen = std::fs::read(seen).expect("the command ran");
    let seen = String::from_utf8_lossy(&seen);
    assert_no_canary(&seen, "what the command sees");
    assert!(!seen.contains("socket:"), "{seen}");
}
