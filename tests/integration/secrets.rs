//! No secret and no token is in anything that the program writes, whatever fails: log at trace level, pages, errors,
//! help, command line, state, and what a token command sees. `properties` tests configurations with mistakes.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use tokio::task::JoinSet;

use crate::support::*;

fn assert_no_canary(written: &str, context: &str) {
    if let Some(at) = written.find("canary") {
        let line = written[..at].rsplit('\n').next().unwrap_or_default();
        panic!("{context}: a secret is in the output: {line}…");
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

/// Writes settings with an app for each way in which each kind of `access_token` can fail.
fn settings(scratch: &Scratch, api_url: &str) -> (PathBuf, usize) {
    let mut credentials = vec![
        STABLE.to_owned(),
        "{ token: { secret_file: secret } }".to_owned(),
        "{ none: {} }".to_owned(),
        "{ command: [/no/such/program] }".to_owned(),
        format!("{{ http: {{ url: 'http://canary-user:{SECRET}@127.0.0.1:9/?key={SECRET}' }} }}"),
        format!("{{ redis: {{ url: 'redis://canary-user:{SECRET}@127.0.0.1:9/0', key: token }} }}"),
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
        for (kind, more) in [
            ("file", ""),
            ("file", ", token_pointer: /data/x"),
            ("cloudbase", ""),
        ] {
            let name = format!("{kind}-{}-{number}", more.len());
            scratch.write(&name, content);
            credentials.push(format!("{{ {kind}: {{ path: {name}{more} }} }}"));
        }
    }
    for says in [
        http("401 Unauthorized", &format!("{SECRET} is wrong")),
        http("500 Internal Server Error", &format!("{TOKEN} {SECRET}")),
        http("200 OK", &format!("<b>{TOKEN}</b>")),
        http("200 OK", &json!({"data": {(TOKEN): [SECRET]}}).to_string()),
        http(
            "200 OK",
            &json!({"data": {"access_token": TOKEN}}).to_string(),
        ),
        format!(
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/{TOKEN}?{SECRET}\r\nContent-Length: 0\r\n\r\n"
        ),
        format!("{TOKEN} {SECRET}\r\n\r\n"),
    ] {
        let address = parrot(says);
        credentials.push(format!(
            "{{ http: {{ url: 'http://canary-user:{SECRET}@{address}/{TOKEN}?key={SECRET}', headers_file: headers, refresh_url: 'http://{address}/{SECRET}', token_pointer: /data/access_token }} }}"
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
            "{{ redis: {{ url: 'redis://canary-user:{SECRET}@{address}/0', key: one }} }}"
        ));
        credentials.push(format!(
            "{{ redis: {{ url: 'redis://{address}/0', key: other, password_file: password }} }}"
        ));
    }
    for (number, script) in [
        format!("echo {TOKEN}; echo {SECRET} >&2; exit 3"),
        format!("echo {TOKEN}; echo {TOKEN}"),
        format!("echo {TOKEN}; kill -9 $$"),
        format!("echo '{{\"token\":\"{TOKEN}\"'"),
        format!("echo {TOKEN}"),
    ]
    .iter()
    .enumerate()
    {
        let file = scratch.write(&format!("script-{number}"), script);
        let file = file.display();
        credentials.push(format!("{{ command: [/bin/sh, '{file}'] }}"));
    }
    let app = |(number, credential): (usize, &String)| {
        format!("- appid: wx{number}\n  api_url: {api_url}\n  access_token: {credential}\n")
    };
    let apps: String = credentials.iter().enumerate().map(app).collect();
    let file = scratch.write("exporter.yml", &format!("apps:\n{apps}"));
    (file, credentials.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_kind_of_credential_leaves_a_trace_however_it_fails() {
    let echoed =
        format!("invalid credential {TOKEN} {SECRET} access_token={TOKEN}&secret={SECRET}");
    let page = |status| ResponseTemplate::new(status).set_body_string(echoed.clone());
    let token = |token: Value| ok(json!({"access_token": token, "expires_in": 7200}));
    // A client that followed the redirect to this server would send the token along.
    let elsewhere = Wechat::silent().await;
    let location = format!("{}/?t={TOKEN}", elsewhere.url());
    let redirect = ResponseTemplate::new(307).insert_header("location", &*location);
    let cut = format!("{{\"list\":[{{\"x\":\"{TOKEN}\"");
    let cut = ResponseTemplate::new(200).set_body_string(cut);
    let odd = format!("{TOKEN} x");
    let (check, collect) = (["check", "logfmt"], ["collect", "json"]);
    let mut cases = JoinSet::new();
    // WeChat's replies to the token call and the list call, and the command that runs besides `serve`.
    for (tokens, lists, [command, format]) in [
        (token(TOKEN.into()), ok(accounts()), check),
        (errcode(40125, &echoed), errcode(40001, &echoed), collect),
        (page(200), page(502), check),
        (token(odd.into()), errcode(987_654, &echoed), collect),
        (token(vec![TOKEN].into()), cut, check),
        (page(500), redirect, collect),
    ] {
        cases.spawn(async move {
            let (scratch, wechat) = (Scratch::new(), Wechat::silent().await);
            wechat.answers_token_call(tokens.clone()).await;
            wechat.lists(lists).await;
            let old = path("/cgi-bin/token");
            wechat.answers(old, tokens.clone()).await;
            let write_secrets = |content: &str| {
                for name in ["secret", "password"] {
                    scratch.write(name, content);
                }
                scratch.write("headers", &format!("Authorization: Bearer {content}\n"));
            };
            write_secrets(SECRET);
            let (file, apps) = settings(&scratch, &wechat.url());
            let flags = [
                "--log.level=trace",
                "--wechat.timeout=500ms",
                "--scrape.timeout=2s",
                "--wechat.min-interval=50ms",
            ];
            let more = [&*scratch.state_flag(), "--web.enable-lifecycle"];
            let mut exporter = Exporter::from_file(&file, &[&flags[..], &more].concat());
            let mut written = String::new();
            for path in [
                "/metrics",
                "/",
                "/sd",
                "/probe?target=wx3",
                "/probe",
                "/nothing",
            ] {
                let answer = exporter.get(path).await;
                written += &format!("{:?}\n{}\n", answer.headers, answer.body);
            }
            assert_eq!(written.matches("\nwechat_logistics_up{").count(), apps + 1);
            // The secrets become invalid while the exporter runs.
            write_secrets(&format!("{SECRET}\n{SECRET}\0"));
            written += &exporter.reload().await.body;
            for path in ["/metrics", "/"] {
                written += &exporter.get(path).await.body;
            }
            let process = exporter.process();
            written += &fs::read_to_string(format!("/proc/{process}/cmdline")).unwrap();
            exporter.stop(Signal::TERM);
            written += &exporter.log();
            for entry in fs::read_dir(scratch.path("state")).unwrap() {
                written += &String::from_utf8_lossy(&fs::read(entry.unwrap().path()).unwrap());
            }
            let answers = format!("{tokens:?}");
            assert_no_canary(&written, &format!("serve with {answers}"));
            assert!(!written.contains("panic"), "serve with {answers}");

            write_secrets(SECRET);
            let (file, format) = (file.display().to_string(), format!("--log.format={format}"));
            let output = run(&[&[command, "--config.file", &file, &format], &flags[..]].concat());
            let written = all_output(&output);
            assert!(written.len() > 1000, "{command}: {written}");
            assert_no_canary(&written, &format!("{command} with {answers}"));
        });
    }
    cases.join_all().await;
    assert!(elsewhere.calls().await.is_empty());
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
    let other = format!(
        "- appid: {OTHER_APPID}\n  access_token: {{ command: [/bin/sh, '{}'] }}\n",
        script.display()
    );
    let credential = "{ stable_token: { secret_env: CANARY } }";
    let file = scratch.app(&wechat.url(), credential, &other);
    let mut command = program();
    command.arg("--config.file").arg(file);
    command.arg(format!("--wechat.api-url={}", wechat.url()));
    command.env("CANARY", SECRET).env(environment[0].0, SECRET);
    let exporter = Exporter::spawn(command);
    let page = exporter.scrape().await;
    assert_eq!(page.up(APPID), Some(1.0), "{}", exporter.log());
    let seen = fs::read(seen).expect("the command ran");
    let seen = String::from_utf8_lossy(&seen);
    assert_no_canary(&seen, "what the command sees");
    assert!(!seen.contains("socket:"), "{seen}");
}
