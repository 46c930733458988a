//! The daily limit, the breaker, and what survives a restart.

use std::time::Duration;

use crate::support::*;

const QUOTA_PATH: &str = "/cgi-bin/express/business/quota/get";

/// Waits until the first fetch is in the state directory, the reading included: files are written after the answer,
/// the reading before the fetch's end.
async fn fetch_is_kept(scratch: &Scratch) {
    fetch_of_app_is_kept(scratch, APPID).await;
}

async fn fetch_of_app_is_kept(scratch: &Scratch, appid: &str) {
    let limiter = scratch.path(&format!("state/{appid}.limiter.json"));
    until("the fetch's end is kept", async || {
        let kept = std::fs::read_to_string(&limiter).unwrap_or_default();
        kept.contains("\"last_fetch\":{")
    })
    .await;
}

#[tokio::test]
async fn daily_limit_keeps_calls_back_and_shows_what_is_left() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let exporter = Exporter::for_one_app(
        &scratch,
        &wechat,
        &["--wechat.min-interval=20ms", "--wechat.daily-limit=3"],
    );
    let left = format!("daily_calls_remaining{{appid=\"{APPID}\"}}");
    let page = exporter.scrape().await;
    assert_eq!(
        page.value(&left),
        Some(1.0),
        "a token call and a list call are spent"
    );
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        exporter.scrape().await;
    }
    let page = exporter.scrape().await;
    assert_eq!(wechat.token_and_list_calls().await, (1, 2));
    assert_eq!(page.value(&left), Some(0.0));
    assert!(page.refused("daily_limit") >= 2.0);
    assert_eq!(page.up(APPID), Some(1.0), "the latest try succeeded");
    assert_eq!(
        page.series("account_quota").len(),
        1,
        "the snapshot is served"
    );
}

#[tokio::test]
async fn what_only_the_operator_can_fix_is_not_asked_again_until_a_reload_and_a_spent_quota_not_even_then()
 {
    for (code, reason, after_reload) in [
        (48001, "permission", 2),
        (40164, "ip_whitelist", 2),
        (45009, "daily_quota", 1),
    ] {
        let (scratch, wechat) = (Scratch::new(), Wechat::silent().await);
        wechat.gives_token(TOKEN).await;
        wechat
            .lists(errcode(code, "refused rid: 60c976e4-051e6c8e-47215cd3"))
            .await;
        let exporter = Exporter::for_one_app(&scratch, &wechat, &["--web.enable-lifecycle"]);
        exporter.scrape().await;
        let page = exporter.scrape().await;
        assert_eq!(page.failures("account_getall", reason), 1.0);
        assert_eq!(page.refused("breaker"), 1.0, "{code}");
        assert_eq!(wechat.token_and_list_calls().await, (1, 1), "{code}");

        assert_eq!(exporter.reload().await.status, 200, "{code}");
        exporter.scrape().await;
        let lists = wechat.token_and_list_calls().await.1;
        assert_eq!(lists, after_reload, "{code}");
    }
}

#[tokio::test]
async fn app_that_a_reload_takes_out_and_another_brings_back_goes_on_within_its_budget() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let both = scratch.two_apps(&wechat.url(), "");
    let with_both = std::fs::read_to_string(&both).unwrap();
    let (first, _) = with_both
        .split_once(&format!("- appid: {OTHER_APPID}"))
        .unwrap();
    let more = [&*scratch.state_flag(), "--web.enable-lifecycle"];
    let exporter = Exporter::from_file(&both, &more);
    exporter.scrape().await;
    assert_eq!(wechat.token_and_list_calls().await.1, 2);
    fetch_of_app_is_kept(&scratch, OTHER_APPID).await;
    for settings in [first, &with_both] {
        scratch.write("exporter.yml", settings);
        assert_eq!(exporter.reload().await.status, 200);
    }
    let page = exporter.scrape().await;
    assert_eq!(wechat.token_and_list_calls().await.1, 2);
    let remaining = format!("daily_calls_remaining{{appid=\"{OTHER_APPID}\"}}");
    assert_eq!(page.value(&remaining), Some(1998.0));
}

#[tokio::test]
async fn restarts_with_a_state_directory_spend_no_more_than_one_start() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let state = scratch.state_flag();
    for restart in 0..20 {
        let mut exporter = Exporter::for_one_app(&scratch, &wechat, &[&state]);
        let page = exporter.scrape().await;
        assert_eq!(page.up(APPID), Some(1.0), "restart {restart}");
        assert_eq!(page.series("account_quota").len(), 1, "restart {restart}");
        fetch_is_kept(&scratch).await;
        // Every second one is killed without a chance to say anything.
        signal(
            exporter.process(),
            if restart % 2 == 0 { "KILL" } else { "TERM" },
        );
        exporter.ended();
    }
    assert_eq!(wechat.token_and_list_calls().await, (1, 1));
}

#[tokio::test]
async fn restart_amid_the_live_balances_costs_no_call_that_was_not_sent() {
    let (scratch, wechat) = (Scratch::new(), Wechat::silent().await);
    wechat.gives_token(TOKEN).await;
    let account = |number: u32| serde_json::json!({"biz_id": format!("K{number}"), "delivery_id": "STO", "status_code": 0, "quota_num": 5});
    let list: Vec<_> = (0..200).map(account).collect();
    wechat
        .lists(json(serde_json::json!({"count": list.len(), "list": list})))
        .await;
    let live = json(serde_json::json!({"quota_num": 4})).set_delay(Duration::from_millis(100));
    wiremock::Mock::given(wiremock::matchers::path(QUOTA_PATH))
        .respond_with(live)
        .mount(&wechat.server)
        .await;
    let state = scratch.state_flag();
    let mut exporter =
        Exporter::for_one_app(&scratch, &wechat, &[&state, "--wechat.live-quota=6h"]);
    exporter.scrape().await;
    until("a balance is asked for", async || {
        wechat.calls().await.contains_key(QUOTA_PATH)
    })
    .await;
    signal(exporter.process(), "TERM");
    assert_eq!(exporter.ended().code(), Some(0), "{}", exporter.log());

    let sent: usize = wechat.calls().await.values().sum();
    let page = Exporter::for_one_app(&scratch, &wechat, &[&state])
        .scrape()
        .await;
    let left = format!("daily_calls_remaining{{appid=\"{APPID}\"}}");
    assert_eq!(page.value(&left), Some((2000 - sent) as f64));
}

#[tokio::test]
async fn restart_during_an_outage_shows_the_last_balances_with_their_age() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let state = scratch.state_flag();
    // None that would keep the fetch of the second start back.
    let interval = "--wechat.min-interval=0s";
    let fetched = {
        let exporter = Exporter::for_one_app(&scratch, &wechat, &[&state, interval]);
        let page = exporter.scrape().await;
        fetch_is_kept(&scratch).await;
        page.snapshot_time()
    };
    wechat.reset().await;
    wechat
        .answers_token_call(wiremock::ResponseTemplate::new(503))
        .await;
    let exporter = Exporter::for_one_app(&scratch, &wechat, &[&state, interval]);
    let page = exporter.scrape().await;
    assert_eq!(page.up(APPID), Some(0.0));
    assert_eq!(page.series("account_quota").len(), 1);
    let shown = page.snapshot_time();
    assert!((shown - fetched).abs() < 0.002, "{shown} is not {fetched}");
}

/// A state file that nobody can read, not even root: a link to itself.
fn unreadable_state(scratch: &Scratch, appid: &str) -> std::path::PathBuf {
    std::fs::create_dir_all(scratch.path("state")).unwrap();
    let file = scratch.path(&format!("state/{appid}.limiter.json"));
    std::os::unix::fs::symlink(&file, &file).unwrap();
    file
}

#[test]
fn state_that_can_not_be_read_stops_the_start_and_stays() {
    let scratch = Scratch::new();
    let file = unreadable_state(&scratch, APPID);
    let flags = one_app(&scratch, "http://127.0.0.1:9");
    let state = scratch.state_flag();
    for command in ["serve", "collect", "check"] {
        let mut arguments = vec![command, &state];
        arguments.extend(flags.iter().map(String::as_str));
        let output = run(&arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{command}: {error}");
        for word in [&*file.to_string_lossy(), "chown"] {
            assert!(error.contains(word), "{command}: {word} is not in: {error}");
        }
        assert!(file.is_symlink(), "{command}");
    }
}

#[tokio::test]
async fn second_process_on_a_state_directory_is_warned_of() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let state = scratch.state_flag();
    let first = Exporter::for_one_app(&scratch, &wechat, &[&state]);
    let second = Exporter::for_one_app(&scratch, &wechat, &[&state]);
    let warning = "another process uses this state directory";
    assert!(!first.log().contains(warning), "{}", first.log());
    second.log_with(warning).await;
    drop((first, second));
    let third = Exporter::for_one_app(&scratch, &wechat, &[&state]);
    assert!(
        !third.log().contains(warning),
        "a lock must not outlast its process"
    );
}
