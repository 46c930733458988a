//! SIGKILL at any moment with a state directory, and reloads without end.

use std::time::{Duration, Instant};

use serde_json::{Value, json as value};

use crate::support::*;

/// Where in a run each kill falls, the same in every run of the tests.
fn moment(round: u64, below: Duration) -> Duration {
    below.mul_f64((round * 37 % 100) as f64 / 100.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_at_any_moment_loses_no_reading_and_overspends_nothing() {
    const INTERVAL: Duration = Duration::from_millis(250);
    const ROUNDS: u64 = 30;
    let (scratch, wechat) = (Scratch::new(), Wechat::silent().await);
    wechat.gives_token(TOKEN).await;
    let account = |number: usize| value!({"biz_id": format!("客户{number}"), "delivery_id": "STO", "quota_num": number});
    let list: Vec<_> = (0..3000).map(account).collect();
    wechat
        .lists(json(value!({"count": 3000, "list": list})))
        .await;
    let reading = scratch.path(&format!("state/{APPID}.snapshot.json"));
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
            assert_eq!(page.series("account_quota").len(), 3000, "round {round}");
            assert!(
                page.snapshot_time() >= kept - 0.001,
                "round {round}: a reading is lost"
            );
        }
        // The kill falls into a fetch, into the writing after it, or beside it.
        let scrape = tokio::spawn(exporter.request(reqwest::Method::GET, "/metrics").send());
        if round == 0 {
            // However slow the machine is, there is something to lose from the second round on.
            until("a reading is kept", async || reading.exists()).await;
        }
        tokio::time::sleep(moment(round, Duration::from_millis(400))).await;
        exporter.kill();
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
    assert!(
        lists > 1 && lists as f64 <= granted,
        "{lists} calls, {granted} granted"
    );
    // A token is kept in memory alone: at most one for each start.
    assert!(tokens as u64 <= ROUNDS, "{tokens} tokens");
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
        let scrape = tokio::spawn(exporter.request(reqwest::Method::GET, "/metrics").send());
        tokio::time::sleep(moment(round, Duration::from_millis(60))).await;
        // Often enough to use the limit up, were every other round's fetch to come too late.
        if round % 2 == 1 {
            refused += exporter.scrape().await.refused("daily_limit");
        }
        exporter.kill();
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
    let at_rest = resident(exporter.process());
    for _ in 0..200 {
        signal(exporter.process(), "HUP");
        assert_eq!(exporter.reload().await.status, 200);
    }
    scraping.all_were_answered().await;
    let page = exporter.scrape().await;
    let successful = "exporter_config_last_reload_successful";
    assert_eq!(page.value(successful), Some(1.0));
    assert_eq!(
        (page.up(APPID), page.up(OTHER_APPID)),
        (Some(1.0), Some(1.0))
    );
    assert_eq!(wechat.token_and_list_calls().await, (2, 2));
    let peak = peak(exporter.process());
    assert!(
        peak < at_rest + (32 << 10),
        "{at_rest} KiB at rest, {peak} KiB after"
    );
    assert!(!exporter.log().contains("panic"));
}
