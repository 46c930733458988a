//! `check`, `collect`, usage errors and exit codes.

use std::net::TcpListener;
use std::process::Output;

use crate::support::*;

/// Runs a command for one app on that API.
fn run_command(command: &str, scratch: &Scratch, wechat: &Wechat, more: &[&str]) -> Output {
    let flags = one_app(scratch, &wechat.url());
    let flags = flags.each_ref().map(String::as_str);
    run(&[&[command], &flags[..], more].concat())
}

/// Returns the standard output of a command, which must have ended with that code.
fn printed(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{}", all_output(output));
    text(&output.stdout)
}

fn has(printed: &str, words: &[&str]) {
    for word in words {
        assert!(printed.contains(word), "{word} is not in: {printed}");
    }
}

#[tokio::test]
async fn collect_prints_one_page_and_check_a_report_and_exit_0_only_when_all_is_well() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let figures = json!({"errcode": 0, "quota": {"daily_limit": 5000, "used": 7, "remain": 4993}});
    let quota = "/cgi-bin/openapi/quota/get";
    wechat.answers(path(quota), ok(figures)).await;

    let alone = run_command("check", &scratch, &wechat, &["--config-only"]);
    has(&printed(&alone, 0), &["valid, 1 app;"]);
    assert_eq!(wechat.token_and_list_calls().await, (0, 0));
    let report = printed(&run_command("check", &scratch, &wechat, &[]), 0);
    has(&report, &[APPID, "2 from "]);
    assert_eq!(wechat.token_and_list_calls().await, (1, 1));

    let output = run_command("collect", &scratch, &wechat, &["--wechat.api-quota"]);
    let page = Page(printed(&output, 0));
    assert_eq!(page.up(APPID), Some(1.0));
    assert_eq!(page.series("account_quota").len(), 1);
    let used = page.series("api_daily_used");
    assert!(used[0].ends_with(" 7"), "{used:?}");
    assert_eq!(wechat.token_and_list_calls().await, (2, 2));
}

#[tokio::test]
async fn failure_is_told_by_check_with_its_fix_and_by_collect_with_the_page() {
    let (scratch, wechat) = (Scratch::new(), Wechat::silent().await);
    let message = "invalid ip 203.0.113.7 ipv6 ::ffff:203.0.113.7, not in whitelist rid: 60c976e4-051e6c8e-47215cd3";
    wechat.answers_token_call(errcode(40164, message)).await;
    let report = printed(&run_command("check", &scratch, &wechat, &[]), 1);
    has(&report, &["40164", "203.0.113.7", "whitelist"]);
    let page = printed(&run_command("collect", &scratch, &wechat, &[]), 1);
    assert_eq!(Page(page).up(APPID), Some(0.0));
}

#[tokio::test]
async fn check_of_one_app_costs_no_call_of_another() {
    for (variable, flag, code) in [
        (None, Some(OTHER_APPID), 0),
        (Some(OTHER_APPID), None, 0),
        // A flag overrides its variable, as everywhere.
        (Some(APPID), Some(OTHER_APPID), 0),
        (None, Some("wxnone"), 2),
    ] {
        let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
        let mut command = program();
        command.arg("check").arg("--config.file");
        command.arg(scratch.two_apps(&wechat.url(), ""));
        command.args(flag.map(|appid| format!("--only={appid}")));
        command.envs(variable.map(|appid| ("WECHAT_LOGISTICS_ONLY", appid)));
        let output = command.output().unwrap();
        let error = text(&output.stderr);
        let report = printed(&output, code);
        if code == 2 {
            has(&error, &["--only wxnone: no app"]);
        } else {
            has(&report, &["valid, 2 apps", "1 of 2 checked", OTHER_APPID]);
            assert!(!report.contains(APPID), "{report}");
        }
        let calls = usize::from(code == 0);
        assert_eq!(wechat.token_and_list_calls().await, (calls, calls));
    }
}

#[tokio::test]
async fn check_counts_its_calls_where_the_exporter_goes_on_from_unless_that_is_running() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    std::fs::create_dir(scratch.path("state")).unwrap();
    let options = [&*scratch.state_flag(), "--wechat.daily-limit=5"];
    let check = |code| printed(&run_command("check", &scratch, &wechat, &options), code);
    // The interval doesn't hold back a check that follows at once.
    for sent in ["2 sent today", "4 sent today"] {
        has(&check(0), &["this check are counted in", sent]);
    }
    has(&check(1), &["daily limit"]);
    assert_eq!(wechat.token_and_list_calls().await, (3, 2));

    let mut exporter = Exporter::for_one_app(&scratch, &wechat, &options);
    let page = exporter.scrape().await;
    assert_eq!(page.of_app("daily_calls_remaining"), Some(0.0));
    assert_eq!(page.series("account_quota").len(), 1);
    has(
        &check(0),
        &[
            "are not counted in",
            "a running exporter uses it",
            "2 sent by this check",
        ],
    );
    assert_eq!(wechat.token_and_list_calls().await, (4, 3));
    assert!(exporter.stop(Signal::TERM).success());
    let kept = scratch.kept_limiter();
    let counts: Vec<_> = kept["limiter"]["calls"]
        .as_object()
        .unwrap()
        .values()
        .collect();
    assert_eq!(counts, [5], "{kept}");
}

#[tokio::test]
async fn configuration_may_come_out_of_a_pipe_which_a_reload_can_not_read_again() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    scratch.two_apps(&wechat.url(), "");
    let script = "exec \"$0\" --config.file=<(cat exporter.yml) --web.enable-lifecycle \"$@\"";
    let mut command = wrapped(&["bash", "-c", script]);
    // A file name without a folder refers to the working directory.
    command.current_dir(scratch.path(""));
    let exporter = Exporter::spawn(command);
    assert_eq!(exporter.scrape().await.up(OTHER_APPID), Some(1.0));
    let reload = exporter.reload().await;
    assert_eq!(reload.status, 500);
    has(&reload.body, &["only once"]);
    assert_eq!(exporter.scrape().await.up(OTHER_APPID), Some(1.0));
}

#[test]
fn usage_errors_and_faults_of_the_configuration_exit_2_with_one_clear_sentence() {
    let scratch = Scratch::new();
    let file = |name: &str, app: &str| {
        let text = format!("apps:\n  - appid: wx1\n    access_token: {app}\n");
        let file = scratch.write(name, &text);
        format!("--config.file={}", file.display())
    };
    let typo = file("typo.yml", "{ none: {} }\n    min_intervall: 60s");
    let nowhere = file("nowhere.yml", "{ stable_token: { secret_file: nowhere } }");
    let no_yaml = scratch.write("no-yaml.yml", "apps: [\n");
    let no_yaml = format!("--config.file={}", no_yaml.display());
    let secret = format!("--wechat.secret-file={}", scratch.path("secret").display());
    let no_secret = format!("--wechat.secret-file={}", scratch.path("missing").display());
    let app = "--wechat.appid=wx1";
    for (arguments, words) in [
        (&[][..], &["--wechat.appid"][..]),
        (&[app], &["--wechat.secret-file"]),
        (&[app, &no_secret], &["missing"]),
        (&[app, &secret, "--log.level=loud"], &["--log.level"]),
        (&["--no-such-flag"], &["--no-such-flag"]),
        (&["demo", "--demo.fault=nonsense@@"], &["--demo.fault"]),
        (&["--config.file=missing"], &["missing"]),
        (&[&typo], &["typo.yml, line 4: ", "min_intervall"]),
        (&[&nowhere], &["nowhere.yml, line 3: ", "stable_token"]),
        (&[&no_yaml], &["no-yaml.yml, line ", "not valid YAML"]),
    ] {
        let output = run(arguments);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        has(&error, words);
        let is_of_clap = error.contains("--help");
        assert!(error.trim().lines().count() == 1 || is_of_clap, "{error}");
        for word in ["panicked", "canary"] {
            assert!(!error.contains(word), "{error}");
        }
    }
    let version = printed(&run(&["--version"]), 0);
    has(&version, &[env!("CARGO_PKG_VERSION")]);
}

#[test]
fn address_in_use_exits_1_and_names_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run(&["demo", &format!("--web.listen-address={address}")]);
    assert_eq!(output.status.code(), Some(1));
    has(&text(&output.stderr), &[&address]);
}
