//! Every kind of credential in every way that it fails: nothing of a secret or a token in any log line, page, error,
//! command's output, command line or state file, at trace level.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::Stdio;

use crate::support::*;

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

/// What an app's `access_token` is, by what is wrong with it.
fn credentials(scratch: &Scratch) -> Vec<(String, String)> {
    let mut credentials = Vec::new();
    let mut add = |name: &str, yaml: String| credentials.push((name.to_owned(), yaml));

    add(
        "stable_token",
        "stable_token: { secret_file: secret }".to_owned(),
    );
    add("token", "token: { secret_file: secret }".to_owned());
    for (name, content) in [
        ("good", TOKEN.to_owned()),
        ("empty", String::new()),
        ("two lines", format!("{TOKEN}\n{TOKEN}\n")),
        ("binary", format!("{TOKEN}\0\u{1}")),
        (
            "json",
            format!("{{\"access_token\":\"{TOKEN}\",\"expires_in\":7200}}"),
        ),
        ("broken json", format!("{{\"access_token\":\"{TOKEN}")),
        ("long", TOKEN.repeat(2000)),
    ] {
        let file = format!("token-{}", name.replace(' ', "-"));
        scratch.write(&file, &content);
        add(
            &format!("file, {name}"),
            format!("file: {{ path: {file} }}"),
        );
        add(
            &format!("file with a pointer, {name}"),
            format!("file: {{ path: {file}, token_pointer: /data/x }}"),
        );
        add(
            &format!("cloudbase, {name}"),
            format!("cloudbase: {{ path: {file} }}"),
        );
    }
    let headers = format!("Authorization: Bearer {SECRET}\nX-Key: {SECRET}\n");
    for name in ["headers", "odd-headers"] {
        scratch.write(name, &headers);
    }
    for (name, says) in [
        (
            "unauthorized",
            http("401 Unauthorized", &format!("{SECRET} is wrong")),
        ),
        (
            "error",
            http("500 Internal Server Error", &format!("{TOKEN} {SECRET}")),
        ),
        ("no json", http("200 OK", &format!("<b>{TOKEN}</b>"))),
        (
            "other json",
            http(
                "200 OK",
                &format!("{{\"data\":{{\"{TOKEN}\":[\"{SECRET}\"]}}}}"),
            ),
        ),
        (
            "good json",
            http(
                "200 OK",
                &format!("{{\"data\":{{\"access_token\":\"{TOKEN}\"}}}}"),
            ),
        ),
        ("no http", format!("{TOKEN} {SECRET}\r\n\r\n")),
        (
            "redirect",
            format!(
                "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/{TOKEN}?{SECRET}\r\nContent-Length: 0\r\n\r\n"
            ),
        ),
    ] {
        let address = parrot(says);
        for headers in ["headers", "odd-headers"] {
            add(
                &format!("http, {name}, {headers}"),
                format!(
                    "http: {{ url: 'http://canary-user:{SECRET}@{address}/{TOKEN}?key={SECRET}', headers_file: {headers}, refresh_url: 'http://{address}/{SECRET}', token_pointer: /data/access_token }}"
                ),
            );
        }
    }
    add(
        "http, refused",
        format!("http: {{ url: 'http://canary-user:{SECRET}@127.0.0.1:9/?key={SECRET}' }}"),
    );
    scratch.write("password", SECRET);
    for (name, says) in [
        (
            "wrong password",
            format!("-WRONGPASS invalid {SECRET} for {TOKEN}\r\n"),
        ),
        ("error", format!("-ERR {TOKEN}\r\n")),
        (
            "a value of another kind",
            "*1\r\n$6\r\ncanary\r\n".to_owned(),
        ),
        ("no redis", http("400 Bad Request", SECRET)),
    ] {
        let address = parrot(says);
        add(
            &format!("redis, {name}"),
            format!("redis: {{ url: 'redis://canary-user:{SECRET}@{address}/0', key: token }}"),
        );
        add(
            &format!("redis with a password file, {name}"),
            format!("redis: {{ url: 'redis://{address}/0', key: token, password_file: password }}"),
        );
    }
    add(
        "redis, refused",
        format!("redis: {{ url: 'redis://canary-user:{SECRET}@127.0.0.1:9/0', key: token }}"),
    );
    for (name, script) in [
        ("fails", format!("echo {TOKEN}; echo {SECRET} >&2; exit 3")),
        (
            "says much",
            format!("for i in 1 2 3; do echo {TOKEN}; done"),
        ),
        ("says nothing", format!("echo {SECRET} >&2")),
        ("is killed", format!("echo {TOKEN}; kill -9 $$")),
        ("says json", format!("echo '{{\"token\":\"{TOKEN}\"'")),
        ("is good", format!("echo {TOKEN}")),
    ] {
        let file = scratch.write(&format!("script-{}", name.replace(' ', "-")), &script);
        add(
            &format!("command, {name}"),
            format!("command: {{ argv: [/bin/sh, '{}'] }}", file.display()),
        );
    }
    add(
        "command, missing",
        "command: { argv: [/no/such/program] }".to_owned(),
    );
    add("none", "none: {}".to_owned());
    credentials
}

fn assert_no_canary(written: &str, context: &str) {
    if let Some(at) = written.find("canary") {
        let from = written[..at].rfind('\n').map_or(0, |newline| newline + 1);
        panic!(
            "{context}: a secret is in the output: {}…",
            &written[from..at]
        );
    }
}

/// One app for each credential, all on that API.
fn settings(
    scratch: &Scratch,
    credentials: &[(String, String)],
    api_url: &str,
) -> std::path::PathBuf {
    let mut text = "apps:\n".to_owned();
    for (number, (name, yaml)) in credentials.iter().enumerate() {
        writeln!(
            text,
            "- appid: wx{number:016}\n  name: '{name}'\n  api_url: {api_url}\n  access_token: {{ {yaml} }}"
        )
        .unwrap();
    }
    scratch.write("exporter.yml", &text)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_kind_of_credential_leaves_a_trace_however_it_fails() {
    let echoed =
        format!("invalid credential {TOKEN} {SECRET} access_token={TOKEN}&secret={SECRET}");
    let mut answers = tokio::task::JoinSet::new();
    // What WeChat does to the tokens that are got.
    for (answer, lists, tokens) in [
        (
            "well",
            json(accounts()),
            json(serde_json::json!({"access_token": TOKEN, "expires_in": 7200})),
        ),
        (
            "with a refusal",
            errcode(40001, &echoed),
            errcode(40125, &echoed),
        ),
        (
            "with a page",
            wiremock::ResponseTemplate::new(502).set_body_string(echoed.clone()),
            wiremock::ResponseTemplate::new(200).set_body_string(echoed.clone()),
        ),
    ] {
        answers.spawn(async move {
            let (scratch, wechat) = (Scratch::new(), Wechat::silent().await);
            wechat.answers_token_call(tokens.clone()).await;
            wechat.lists(lists).await;
            wiremock::Mock::given(wiremock::matchers::path("/cgi-bin/token"))
                .respond_with(tokens)
                .mount(&wechat.server)
                .await;
            let credentials = credentials(&scratch);
            let file = settings(&scratch, &credentials, &wechat.url());
            let state = format!("--state.dir={}", scratch.path("state").display());
            let flags = [
                "--log.level=trace",
                "--wechat.timeout=500ms",
                "--scrape.timeout=2s",
                "--wechat.min-interval=50ms",
            ];

            let mut exporter = Exporter::from_file(
                &file,
                &[
                    flags.as_slice(),
                    &[state.as_str(), "--web.enable-lifecycle"],
                ]
                .concat(),
            );
            // No headers any more before the first scrape.
            scratch.write("odd-headers", &format!("{SECRET}\n"));
            let mut written = String::new();
            for path in [
                "/metrics",
                "/metrics",
                "/",
                "/sd",
                "/probe?target=wx0000000000000003",
            ] {
                written += &exporter.get(path).await.body;
            }
            let page = Page(exporter.get("/metrics").await.body);
            assert_eq!(page.series("up").len(), credentials.len());
            // Broken while it runs: every secret's file holds something that is none.
            for name in ["secret", "headers", "odd-headers", "password"] {
                scratch.write(name, &format!("{SECRET}\n{SECRET}\0"));
            }
            let reload = Answer::of(exporter.request(reqwest::Method::POST, "/-/reload")).await;
            written += &reload.body;
            written += &exporter.get("/metrics").await.body;
            written += &exporter.get("/").await.body;
            for process in ["cmdline", "comm", "status"] {
                written +=
                    &std::fs::read_to_string(format!("/proc/{}/{process}", exporter.process()))
                        .unwrap();
            }
            signal(exporter.process(), "TERM");
            exporter.ended();
            written += &exporter.log();
            for entry in std::fs::read_dir(scratch.path("state")).unwrap() {
                written += &String::from_utf8_lossy(&std::fs::read(entry.unwrap().path()).unwrap());
            }
            assert_no_canary(&written, &format!("serve, WeChat answers {answer}"));
            assert!(!written.contains("panic"), "WeChat answers {answer}");

            for name in ["secret", "password"] {
                scratch.write(name, SECRET);
            }
            for name in ["headers", "odd-headers"] {
                scratch.write(name, &format!("Authorization: Bearer {SECRET}\n"));
            }
            for (command, format) in [("check", "logfmt"), ("collect", "json")] {
                let file = file.display().to_string();
                let format = format!("--log.format={format}");
                let output = run(&[
                    &[command, "--config.file", &file, &format],
                    flags.as_slice(),
                ]
                .concat());
                let written =
                    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
                assert!(written.len() > 1000, "{command}: {written}");
                assert_no_canary(&written, &format!("{command}, WeChat answers {answer}"));
            }
        });
    }
    while let Some(checked) = answers.join_next().await {
        checked.unwrap();
    }
}

#[tokio::test]
async fn settings_with_mistakes_are_refused_without_a_word_of_their_secrets() {
    let scratch = Scratch::new();
    scratch.write("odd-headers", &format!("{SECRET}\n"));
    for (name, yaml) in [
        (
            "headers that are none",
            "http: { url: 'http://host/', headers_file: odd-headers }".to_owned(),
        ),
        (
            "secret instead of its file",
            format!("stable_token: {{ secret_file: {SECRET} }}"),
        ),
        (
            "secret in place of a mapping",
            format!("stable_token: {SECRET}"),
        ),
        (
            "secret as a key",
            format!("stable_token: {{ {SECRET}: x }}"),
        ),
        (
            "url that is none",
            format!("http: {{ url: 'ht!tp://user:{SECRET}@host/' }}"),
        ),
        (
            "url with a wrong scheme",
            format!("http: {{ url: 'ftp://user:{SECRET}@host/{SECRET}' }}"),
        ),
        (
            "redis url with a wrong scheme",
            format!("redis: {{ url: 'http://user:{SECRET}@host/', key: a }}"),
        ),
        (
            "redis url that is none",
            format!("redis: {{ url: 'redis://user:{SECRET}@host:port/x', key: a }}"),
        ),
        (
            "pointer that is none",
            format!("http: {{ url: 'http://user:{SECRET}@host/', token_pointer: a }}"),
        ),
    ] {
        let text = format!("apps:\n- appid: {APPID}\n  access_token: {{ {yaml} }}\n");
        let file = scratch.write("bad.yml", &text).display().to_string();
        for command in [&["check", "--config-only"][..], &["collect"], &[]] {
            let output = run(&[
                command,
                &[
                    "--config.file",
                    &file,
                    "--log.level=trace",
                    "--web.listen-address=127.0.0.1:0",
                ],
            ]
            .concat());
            assert_eq!(output.status.code(), Some(2), "{name}, {command:?}");
            let written =
                String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            // A file's name that can't be read has to be named; whoever writes a secret there has to see where.
            if !matches!(name, "secret instead of its file" | "secret as a key") {
                assert_no_canary(&written, &format!("{name}, {command:?}"));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn child_sees_no_secret_in_any_environment_or_command_line() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let seen = scratch.path("seen");
    let script = scratch.write(
        "token.sh",
        &format!(
            "cat /proc/self/environ /proc/$$/environ /proc/$$/cmdline /proc/$PPID/cmdline > {0}.part\nls -l /proc/$$/fd >> {0}.part\nmv {0}.part {0}\necho {1}\n",
            seen.display(),
            "not-a-token-at-all"
        ),
    );
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
        .args([
            "--config.file",
            &file.display().to_string(),
            "--web.listen-address=127.0.0.1:0",
        ])
        .env("CANARY", SECRET)
        .stdin(Stdio::null());
    let exporter = Exporter::spawn(command);
    let page = exporter.scrape().await;
    assert_eq!(page.up(APPID), Some(1.0), "{}", exporter.log());
    let seen = String::from_utf8_lossy(&std::fs::read(seen).expect("the command ran")).into_owned();
    assert_no_canary(&seen, "what the child sees");
    // Standard input, output and error, and the script itself: no socket and no file of ours.
    let sockets = seen.lines().filter(|line| line.contains("socket:")).count();
    assert_eq!(sockets, 0, "{seen}");
}
