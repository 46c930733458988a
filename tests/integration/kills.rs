//! SIGKILL at any moment with a state directory, and endless reloads.

use std::time::{Duration, Instant};

use crate::support::*;

/// Returns when a round's kill comes, which is the same in every run of the tests.
fn moment(round: u32, below: Duration) -> Duration {
    below.mul_f64(f64::from(round * 37 % 100) / 100.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_at_any_moment_loses_no_reading_and_overspends_nothing() {
    const INTERVAL: Duration = Duration::from_millis(250);
    const ACCOUNTS: usize = 1000;
    const ROUNDS: u32 = 16;
    let list = ok(many_accounts(ACCOUNTS));
    let (scratch, wechat) = (Scratch::new(), Wechat::listing(list).await);
    let reading = scratch.state_file("snapshot");
    let more = [
        &*scratch.state_flag(),
        "--wechat.min-interval=250ms",
        "--wechat.daily-limit=0",
    ];
    let mut kept = None;
    let began = Instant::now();
    for round in 0..ROUNDS {
        let mut exporter = Exporter::for_one_app(&scratch, &wechat, &more);
        if let Some(kept) = kept {
            let page = exporter.scrape().await;
            let shown = page.series("account_quota").len();
            assert_eq!(shown, ACCOUNTS, "round {round}");
            let is_as_new = page.snapshot_time() >= kept - 0.001;
            assert!(is_as_new, "round {round}: a reading is lost");
        }
        // The kill comes during a fetch, during the write after it, or outside both.
        let scrape = tokio::spawn(exporter.request(Method::GET, "/metrics").send());
        if round == 0 {
            // Even on a slow machine, there is something to lose from the second round on.
            until("a reading is kept", async || reading.exists()).await;
        }
        tokio::time::sleep(moment(round, Duration::from_millis(400))).await;
        exporter.stop(Signal::KILL);
        let _ = scrape.await;
        if let Ok(file) = std::fs::read(&reading) {
            let file: Value = serde_json::from_slice(&file).expect("a whole file");
            kept = Some(file["fetched_unix_ms"].as_f64().unwrap() / 1000.0);
        }
        let log = exporter.log();
        assert!(!log.contains("unreadable"), "round {round}: {log}");
    }
    let (tokens, lists) = wechat.token_and_list_calls().await;
    let granted = began.elapsed().as_secs_f64() / INTERVAL.as_secs_f64() + 1.0;
    let is_within = lists > 1 && lists as f64 <= granted;
    assert!(is_within, "{lists} calls, {granted} granted");
    // Tokens are kept only in memory, so there is at most one for each start.
    assert!(tokens <= ROUNDS as usize, "{tokens} tokens");
}

#[tokio::test(flavor = "multi_thread")]
async fn daily_limit_holds_over_kills() {
    const LIMIT: usize = 12;
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let limit = format!("--wechat.daily-limit={LIMIT}");
    let more = [&*scratch.state_flag(), "--wechat.min-interval=1ms", &limit];
    let mut refused = 0.0;
    for round in 0..20 {
        let mut exporter = Exporter::for_one_app(&scratch, &wechat, &more);
        let scrape = tokio::spawn(exporter.request(Method::GET, "/metrics").send());
        tokio::time::sleep(moment(round, Duration::from_millis(60))).await;
        // Often enough to use up the limit, even if the fetches of all other rounds come too late.
        if round % 2 == 1 {
            refused += exporter.scrape().await.refused("daily_limit");
        }
        exporter.stop(Signal::KILL);
        let _ = scrape.await;
    }
    let (tokens, lists) = wechat.token_and_list_calls().await;
    assert!(tokens + lists <= LIMIT, "{tokens} + {lists} calls");
    assert!(refused > 0.0, "the limit was never reached");
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_reloads_in_a_row_disturb_no_scrape_and_cost_no_call() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let file = scratch.two_apps(&wechat.url(), "");
    let more = ["--wechat.min-interval=1h", "--web.enable-lifecycle"];
    let exporter = Exporter::from_file(&file, &more);
    assert_eq!(exporter.scrape().await.up(APPID), Some(1.0));
    let scraping = Scraping::of(&exporter);
    let at_rest = exporter.resident();
    for _ in 0..100 {
        signal(exporter.process(), Signal::HUP);
        assert_eq!(exporter.reload().await.status, 200);
    }
    scraping.all_were_answered().await;
    let page = exporter.scrape().await;
    let successful = "exporter_config_last_reload_successful";
    assert_eq!(page.value(successful), Some(1.0));
    assert_eq!(
        [APPID, OTHER_APPID].map(|appid| page.up(appid)),
        [Some(1.0); 2]
    );
    assert_eq!(wechat.token_and_list_calls().await, (2, 2));
    let grown = exporter.peak() - at_rest;
    assert!(grown < 32 << 10, "{grown} KiB beside {at_rest} at rest");
    assert!(!exporter.log().contains("panic"));
}
