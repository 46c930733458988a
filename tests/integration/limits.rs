//! The daily limit, the breaker, and what survives a restart.

use std::time::Duration;

use crate::support::*;

#[tokio::test]
async fn daily_limit_keeps_calls_back_and_shows_what_is_left() {
    for (limit, calls, left) in [
        ("0", (1, 5), None),
        ("1", (1, 0), Some(0.0)),
        ("3", (1, 2), Some(0.0)),
        ("9", (1, 5), Some(3.0)),
    ] {
        let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
        let limit = format!("--wechat.daily-limit={limit}");
        let more = ["--wechat.min-interval=20ms", &limit];
        let exporter = Exporter::for_one_app(&scratch, &wechat, &more);
        for _ in 0..4 {
            exporter.scrape().await;
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
        let page = exporter.scrape().await;
        assert_eq!(wechat.token_and_list_calls().await, calls, "{limit}");
        assert_eq!(page.of_app("daily_calls_remaining"), left, "{limit}");
        let is_kept_back = page.refused("daily_limit") >= 3.0;
        assert_eq!(is_kept_back, left == Some(0.0), "{limit}");
        // If there was a fetch, the latest one succeeded and its snapshot is served.
        let up = f64::from(calls.1 > 0);
        assert_eq!(page.up(APPID), Some(up), "{limit}");
        assert_eq!(page.series("account_quota").len(), up as usize, "{limit}");
    }
}

#[tokio::test]
async fn what_only_the_operator_can_fix_is_not_asked_again_until_a_reload_and_a_spent_quota_not_even_then()
 {
    for (code, reason, after_reload) in [
        (48001, "permission", 2),
        (40164, "ip_whitelist", 2),
        (45009, "daily_quota", 1),
    ] {
        let refused = errcode(code, "refused rid: 60c976e4-051e6c8e-47215cd3");
        let (scratch, wechat) = (Scratch::new(), Wechat::listing(refused).await);
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
    let second = with_both.find(&format!("- appid: {OTHER_APPID}")).unwrap();
    let without_the_first = format!("apps:\n{}", &with_both[second..]);
    let more = [&*scratch.state_flag(), "--web.enable-lifecycle"];
    let exporter = Exporter::from_file(&both, &more);
    exporter.scrape().await;
    scratch.fetch_is_kept().await;
    for settings in [&without_the_first, &with_both] {
        scratch.write("exporter.yml", settings);
        assert_eq!(exporter.reload().await.status, 200);
    }
    let page = exporter.scrape().await;
    assert_eq!(wechat.token_and_list_calls().await.1, 2);
    assert_eq!(page.of_app("daily_calls_remaining"), Some(1998.0));
}

#[tokio::test]
async fn restarts_with_a_state_directory_spend_no_more_than_one_start() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let state = scratch.state_flag();
    // Some are killed without warning, one is told to stop.
    let ends = [Signal::KILL, Signal::TERM, Signal::KILL, Signal::KILL];
    for (restart, end) in ends.into_iter().enumerate() {
        let mut exporter = Exporter::for_one_app(&scratch, &wechat, &[&state]);
        let page = exporter.scrape().await;
        assert_eq!(page.up(APPID), Some(1.0), "restart {restart}");
        assert_eq!(page.series("account_quota").len(), 1, "restart {restart}");
        scratch.fetch_is_kept().await;
        exporter.stop(end);
    }
    assert_eq!(wechat.token_and_list_calls().await, (1, 1));
}

#[tokio::test]
async fn restart_amid_the_live_balances_costs_no_call_that_was_not_sent() {
    let (scratch, wechat) = (
        Scratch::new(),
        Wechat::listing(ok(many_accounts(200))).await,
    );
    let live = ok(json!({"quota_num": 4})).set_delay(Duration::from_millis(100));
    wechat.answers(path(QUOTA_PATH), live).await;
    let more = [&*scratch.state_flag(), "--wechat.live-quota=6h"];
    let mut exporter = Exporter::for_one_app(&scratch, &wechat, &more);
    exporter.scrape().await;
    until("a balance is asked for", async || {
        wechat.calls().await.contains_key(QUOTA_PATH)
    })
    .await;
    assert!(exporter.stop(Signal::TERM).success(), "{}", exporter.log());

    let sent: usize = wechat.calls().await.values().sum();
    let exporter = Exporter::for_one_app(&scratch, &wechat, &more[..1]);
    let left = exporter.scrape().await.of_app("daily_calls_remaining");
    assert_eq!(left, Some((2000 - sent) as f64));
}

#[tokio::test]
async fn restart_during_an_outage_shows_the_last_balances_with_their_age_until_they_are_too_old() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let state = scratch.state_flag();
    // An interval would hold back the fetches of later starts.
    let interval = "--wechat.min-interval=0s";
    let fetched = {
        let exporter = Exporter::for_one_app(&scratch, &wechat, &[&state, interval]);
        let page = exporter.scrape().await;
        scratch.fetch_is_kept().await;
        page.snapshot_time()
    };
    wechat.reset().await;
    wechat.answers_token_call(ResponseTemplate::new(503)).await;
    for (max_stale, shown) in [("15m", 1), ("1ms", 0)] {
        let max_stale = format!("--scrape.max-stale={max_stale}");
        let more = [&*state, interval, &max_stale];
        let exporter = Exporter::for_one_app(&scratch, &wechat, &more);
        let page = exporter.scrape().await;
        assert_eq!(page.up(APPID), Some(0.0));
        for name in ["account_quota", "accounts", "snapshot_timestamp_seconds"] {
            assert_eq!(page.series(name).len(), shown, "{name}, {max_stale}");
        }
        if shown > 0 {
            let moved = (page.snapshot_time() - fetched).abs();
            assert!(moved < 0.002, "moved by {moved} s");
        }
    }
}

#[tokio::test]
async fn state_that_can_not_be_read_stops_the_start_and_a_reload_and_stays() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let state = scratch.state_flag();
    std::fs::create_dir(scratch.path("state")).unwrap();
    // Not even root can read a link to itself.
    let file = scratch.state_file("limiter");
    std::os::unix::fs::symlink(&file, &file).unwrap();
    let flags = one_app(&scratch, &wechat.url());
    for command in ["serve", "collect", "check"] {
        let arguments = [command, &state, &flags[0], &flags[1], &flags[2]];
        let output = run(&arguments);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{command}: {error}");
        for word in [&*file.to_string_lossy(), "chown"] {
            assert!(error.contains(word), "{command}: {word} is not in: {error}");
        }
    }

    // Starts with one app; a reload adds the other.
    let both = std::fs::read_to_string(scratch.two_apps(&wechat.url(), "")).unwrap();
    let first = both.find(&format!("- appid: {OTHER_APPID}")).unwrap();
    let other = scratch.write("exporter.yml", &format!("apps:\n{}", &both[first..]));
    let exporter = Exporter::from_file(&other, &[&state, "--web.enable-lifecycle"]);
    scratch.write("exporter.yml", &both);
    let reload = exporter.reload().await;
    assert_eq!(reload.status, 500);
    assert!(reload.body.contains("limiter.json"), "{}", reload.body);
    let page = exporter.scrape().await;
    assert_eq!((page.up(APPID), page.up(OTHER_APPID)), (None, Some(1.0)));
    assert!(file.is_symlink());
}

#[tokio::test]
async fn second_process_on_a_state_directory_is_warned_of() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let state = scratch.state_flag();
    let start = || Exporter::for_one_app(&scratch, &wechat, &[&state]);
    let warning = "another process uses this state directory";
    let first = start();
    assert!(!first.log().contains(warning), "{}", first.log());
    start().log_with(warning).await;
    drop(first);
    // A lock doesn't outlast its process.
    let third = start();
    assert!(!third.log().contains(warning), "{}", third.log());
}
