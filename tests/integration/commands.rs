//! `check`, `collect`, usage errors and exit codes.

use std::process::Output;

use crate::support::*;

/// Runs a command for one app on that API, off the runtime that the API needs.
async fn run_command(command: &str, scratch: &Scratch, url: String, more: &[&str]) -> Output {
    let flags = one_app(scratch, &url);
    let more: Vec<String> = more.iter().map(ToString::to_string).collect();
    let command = command.to_owned();
    tokio::task::spawn_blocking(move || {
        let mut arguments = vec![command.as_str()];
        arguments.extend(flags.iter().map(String::as_str));
        arguments.extend(more.iter().map(String::as_str));
        run(&arguments)
    })
    .await
    .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("the program writes UTF-8")
}

#[tokio::test]
async fn collect_prints_one_page_and_exits_0() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let output = run_command("collect", &scratch, wechat.url(), &[]).await;
    let page = Page(text(&output.stdout));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(page.up(APPID), Some(1.0));
    assert_eq!(page.series("account_quota").len(), 1);
    assert_eq!(wechat.token_and_list_calls().await, (1, 1));
}

#[tokio::test]
async fn collect_shows_wechats_own_figures_where_they_are_asked_for() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let figures = serde_json::json!({"errcode": 0, "quota": {"daily_limit": 5000, "used": 7, "remain": 4993}});
    wiremock::Mock::given(wiremock::matchers::path("/cgi-bin/openapi/quota/get"))
        .respond_with(wiremock::ResponseTemplate::new(200).set_body_json(figures))
        .mount(&wechat.server)
        .await;
    let switch = ["--wechat.api-quota"];
    let output = run_command("collect", &scratch, wechat.url(), &switch).await;
    let page = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(page.contains("wechat_logistics_api_daily_used{"), "{page}");
}

#[tokio::test]
async fn check_exits_0_only_when_all_is_well() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let output = run_command("check", &scratch, wechat.url(), &[]).await;
    let report = text(&output.stdout);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{report}{}",
        text(&output.stderr)
    );
    assert!(report.contains(APPID), "{report}");
    assert!(report.contains("2 from "), "{report}");
    assert_eq!(wechat.token_and_list_calls().await, (1, 1));
}

#[tokio::test]
async fn failure_is_told_by_check_with_its_fix_and_by_collect_with_the_page() {
    let (scratch, wechat) = (Scratch::new(), Wechat::silent().await);
    let message = "invalid ip 203.0.113.7 ipv6 ::ffff:203.0.113.7, not in whitelist rid: 60c976e4-051e6c8e-47215cd3";
    wechat.answers_token_call(errcode(40164, message)).await;
    let output = run_command("check", &scratch, wechat.url(), &[]).await;
    let report = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{report}");
    for word in ["40164", "203.0.113.7", "whitelist"] {
        assert!(report.contains(word), "{word} is not in: {report}");
    }
    let output = run_command("collect", &scratch, wechat.url(), &[]).await;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(Page(text(&output.stdout)).up(APPID), Some(0.0));
}

#[tokio::test]
async fn check_of_the_configuration_alone_sends_nothing() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let output = run_command("check", &scratch, wechat.url(), &["--config-only"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(wechat.token_and_list_calls().await, (0, 0));
}

/// Runs `check` for two apps on that API, off the runtime that the API needs.
async fn check_of_two(
    scratch: &Scratch,
    wechat: &Wechat,
    only: Option<&str>,
    more: &[&str],
) -> Output {
    let file = scratch.two_apps(&wechat.url(), "");
    let mut command = program();
    command
        .arg("check")
        .arg("--config.file")
        .arg(file)
        .args(more);
    if let Some(only) = only {
        command.env("WECHAT_LOGISTICS_ONLY", only);
    }
    tokio::task::spawn_blocking(move || command.output().expect("the program's output"))
        .await
        .unwrap()
}

#[tokio::test]
async fn check_of_one_app_costs_no_call_of_another() {
    for (only, more) in [
        (None, &["--only", OTHER_APPID][..]),
        (Some(OTHER_APPID), &[]),
        // A flag is stronger than its variable, as everywhere.
        (Some(APPID), &["--only", OTHER_APPID]),
    ] {
        let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
        let output = check_of_two(&scratch, &wechat, only, more).await;
        let report = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{report}");
        assert!(report.contains("valid, 2 apps"), "{report}");
        assert!(report.contains("1 of 2 checked"), "{report}");
        assert!(report.contains(OTHER_APPID), "{report}");
        assert!(!report.contains(APPID), "{report}");
        assert_eq!(wechat.token_and_list_calls().await, (1, 1));
    }
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let output = check_of_two(&scratch, &wechat, None, &["--only", "wxnone"]).await;
    assert_eq!(output.status.code(), Some(2));
    let error = text(&output.stderr);
    assert!(error.contains("--only wxnone: no app"), "{error}");
    assert_eq!(wechat.token_and_list_calls().await, (0, 0));
}

#[tokio::test]
async fn check_counts_its_calls_where_the_exporter_goes_on_from() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    std::fs::create_dir(scratch.path("state")).unwrap();
    let state = scratch.state_flag();
    let options = [state.as_str(), "--wechat.daily-limit=5"];
    // A check that follows at once is not kept back by the interval.
    for sent in [2, 4] {
        let output = run_command("check", &scratch, wechat.url(), &options).await;
        let report = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{report}");
        assert!(report.contains("this check are counted in"), "{report}");
        assert!(report.contains(&format!("{sent} sent today")), "{report}");
    }
    let output = run_command("check", &scratch, wechat.url(), &options).await;
    let report = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{report}");
    assert!(report.contains("daily limit"), "{report}");
    assert_eq!(wechat.token_and_list_calls().await, (3, 2));

    let exporter = Exporter::for_one_app(&scratch, &wechat, &options);
    let page = exporter.scrape().await;
    let remaining = page.value(&format!("daily_calls_remaining{{appid=\"{APPID}\"}}"));
    assert_eq!(remaining, Some(0.0));
    assert_eq!(page.series("account_quota").len(), 1);
    assert_eq!(wechat.token_and_list_calls().await, (3, 2));
}

#[tokio::test]
async fn check_beside_a_running_exporter_says_that_its_calls_are_not_counted() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let state = scratch.state_flag();
    let mut exporter = Exporter::for_one_app(&scratch, &wechat, &[&state]);
    exporter.scrape().await;
    let output = run_command("check", &scratch, wechat.url(), &[&state]).await;
    let report = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{report}");
    assert!(report.contains("are not counted in"), "{report}");
    assert!(report.contains("a running exporter uses it"), "{report}");
    assert!(report.contains("2 sent by this check"), "{report}");
    signal(exporter.process(), "TERM");
    assert!(exporter.ended().success());
    let kept = std::fs::read_to_string(scratch.path(&format!("state/{APPID}.limiter.json")));
    let kept: serde_json::Value = serde_json::from_str(&kept.unwrap()).unwrap();
    let counts: Vec<_> = kept["limiter"]["calls"]
        .as_object()
        .unwrap()
        .values()
        .collect();
    assert_eq!(counts, [2], "{kept}");
}

#[test]
fn usage_errors_exit_2_with_one_clear_sentence() {
    let scratch = Scratch::new();
    let secret = scratch.path("secret").display().to_string();
    let missing = scratch.path("missing").display().to_string();
    let app = ["--wechat.appid", APPID, "--wechat.secret-file", &secret];
    let with = |flag| [&app[..], &[flag]].concat();
    let cases = [
        (vec![], "--wechat.appid"),
        (app[..2].to_vec(), "--wechat.secret-file"),
        ([&app[..3], &[&*missing]].concat(), "missing"),
        (vec!["--config.file", &missing], "missing"),
        (with("--log.level=loud"), "--log.level"),
        (vec!["--no-such-flag"], "--no-such-flag"),
        (vec!["demo", "--demo.fault=nonsense@@"], "--demo.fault"),
    ];
    for (arguments, word) in cases {
        let output = run(&arguments);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(error.contains(word), "{arguments:?}: {error}");
        assert!(
            !error.contains("panicked") && !error.contains("canary"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn configuration_may_come_out_of_a_pipe_which_a_reload_can_not_read_again() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    scratch.two_apps(&wechat.url(), "");
    let inner = program();
    let mut command = std::process::Command::new("bash");
    // A file's name without a folder is one of the working directory.
    command.current_dir(scratch.dir.path()).args([
        "-c",
        "exec \"$0\" --config.file=<(cat exporter.yml) --web.enable-lifecycle --web.listen-address=127.0.0.1:0",
    ]);
    command.arg(inner.get_program());
    let exporter = Exporter::spawn(command);
    assert_eq!(exporter.scrape().await.up(OTHER_APPID), Some(1.0));
    let reload = exporter.request(reqwest::Method::POST, "/-/reload");
    let answer = Answer::of(reload).await;
    assert_eq!(answer.status, 500);
    assert!(answer.body.contains("only once"), "{}", answer.body);
    assert_eq!(exporter.scrape().await.up(OTHER_APPID), Some(1.0));
}

#[test]
fn configuration_faults_name_the_file_the_line_and_the_key() {
    let app =
        "apps:\n  - appid: wx1\n    access_token:\n      stable_token: { secret_file: secret }\n";
    for (content, line, word) in [
        (
            format!("{app}    min_intervall: 60s\n"),
            "5",
            "min_intervall",
        ),
        (app.replace("secret }", "nowhere }"), "4", "nowhere"),
        ("apps: [\n".to_owned(), "", "not valid YAML"),
    ] {
        let scratch = Scratch::new();
        let file = scratch.write("exporter.yml", &content);
        let output = run(&["--config.file", file.to_str().unwrap()]);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{error}");
        for needed in ["exporter.yml, line ", line, word] {
            assert!(error.contains(needed), "{needed} is not in: {error}");
        }
        assert_eq!(error.trim().lines().count(), 1, "{error}");
    }
}

#[test]
fn address_in_use_exits_1_and_names_it() {
    let scratch = Scratch::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let flags = one_app(&scratch, "http://127.0.0.1:9");
    let mut arguments: Vec<&str> = flags.iter().map(String::as_str).collect();
    let listen = format!("--web.listen-address={address}");
    arguments.push(&listen);
    let output = run(&arguments);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains(&address),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn help_and_version_say_what_they_should() {
    let help = run(&["--help"]);
    let help_text = text(&help.stdout);
    assert_eq!(help.status.code(), Some(0));
    for word in [
        "--wechat.min-interval",
        "[env: WECHAT_LOGISTICS_WECHAT_MIN_INTERVAL",
    ] {
        assert!(help_text.contains(word), "{word}");
    }
    let version = run(&["--version"]);
    assert_eq!(version.status.code(), Some(0));
    assert!(text(&version.stdout).contains(env!("CARGO_PKG_VERSION")));
}
