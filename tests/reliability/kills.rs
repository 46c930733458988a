//! SIGKILL at any moment with a state directory: nothing that was kept is lost, and no limit is overspent.

use std::time::{Duration, Instant};

use crate::process::*;
use crate::support::*;

/// Shows where in a run each kill falls: the same in every run of the tests. A linear congruential generator.
struct Moments(u64);

impl Moments {
    fn next(&mut self, below: Duration) -> Duration {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let share = f64::from(u32::try_from(self.0 >> 33).unwrap()) / f64::from(1_u32 << 31);
        below.mul_f64(share)
    }
}

fn many_accounts() -> serde_json::Value {
    let list: Vec<_> = (0..3000)
        .map(|number| serde_json::json!({"biz_id": format!("客户{number}"), "delivery_id": "STO", "status_code": 0, "quota_num": number}))
        .collect();
    serde_json::json!({"count": list.len(), "list": list})
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_at_any_moment_loses_nothing_and_overspends_nothing() {
    const INTERVAL: Duration = Duration::from_millis(250);
    let (scratch, wechat) = (Scratch::new(), Wechat::silent().await);
    wechat.gives_token(TOKEN).await;
    wechat.lists(json(many_accounts())).await;
    let state = format!("--state.dir={}", scratch.path("state").display());
    let reading = scratch.path(&format!("state/{APPID}.snapshot.json"));
    let mut moments = Moments(5);
    let mut kept = None;
    let began = Instant::now();
    for round in 0..rounds(40) {
        let more = [
            state.as_str(),
            "--wechat.min-interval=250ms",
            "--wechat.daily-limit=0",
        ];
        let mut exporter = Exporter::for_one_app(&scratch, &wechat, &more);
        if let Some(kept) = kept {
            let page = exporter.scrape().await;
            assert_eq!(page.series("account_quota").len(), 3000, "round {round}");
            let shown = page
                .value(&format!("snapshot_timestamp_seconds{{appid=\"{APPID}\"}}"))
                .unwrap();
            assert!(shown >= kept - 0.001, "round {round}: a reading is lost");
        }
        // The kill falls into a fetch, into the writing after it, or beside it.
        let request = exporter.request(reqwest::Method::GET, "/metrics");
        let scrape = tokio::spawn(async move { request.send().await.is_ok() });
        if round == 0 {
            // However slow the machine is, there is something to lose from the second round on.
            until("a reading is kept", async || reading.exists()).await;
        }
        tokio::time::sleep(moments.next(Duration::from_millis(400))).await;
        signal(exporter.process(), "KILL");
        exporter.ended();
        let _ = scrape.await;
        // Whatever the moment was, the file is whole.
        if let Ok(file) = std::fs::read(&reading) {
            let file: serde_json::Value = serde_json::from_slice(&file).expect("a whole file");
            kept = Some(file["fetched_unix_ms"].as_f64().unwrap() / 1000.0);
        }
        let log = exporter.log();
        assert!(!log.contains("unreadable"), "round {round}: {log}");
    }
    let (tokens, lists) = wechat.token_and_list_calls().await;
    let granted = began.elapsed().as_secs_f64() / INTERVAL.as_secs_f64() + 1.0;
    let limit = u32::try_from(lists).unwrap();
    assert!(
        f64::from(limit) <= granted,
        "{lists} calls, {granted} granted"
    );
    assert!(
        kept.is_some() && lists > 1,
        "{lists} calls in all: the kills came too early to show anything"
    );
    // A token is kept in memory alone: one for each start that fetched, and never two.
    assert!(tokens <= lists + rounds(40), "{tokens} tokens");
}

#[tokio::test(flavor = "multi_thread")]
async fn daily_limit_holds_over_kills() {
    const LIMIT: usize = 12;
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let state = format!("--state.dir={}", scratch.path("state").display());
    let limit = format!("--wechat.daily-limit={LIMIT}");
    let mut moments = Moments(7);
    let mut refused = 0.0;
    for round in 0..rounds(20) {
        let more = [state.as_str(), "--wechat.min-interval=1ms", &limit];
        let mut exporter = Exporter::for_one_app(&scratch, &wechat, &more);
        let request = exporter.request(reqwest::Method::GET, "/metrics");
        let scrape = tokio::spawn(async move { request.send().await.is_ok() });
        tokio::time::sleep(moments.next(Duration::from_millis(60))).await;
        // Often enough to use the limit up, were every other round's fetch to come too late.
        if round % 2 == 1 {
            refused += exporter.scrape().await.refused("daily_limit");
        }
        signal(exporter.process(), "KILL");
        exporter.ended();
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
    let at_rest = memory(exporter.process()).resident;
    let process =
        rustix::process::Pid::from_raw(i32::try_from(exporter.process()).unwrap()).unwrap();
    let times = rounds(300);
    for _ in 0..times {
        // Signals that come during one reload make one more between them; each request has a reload of its own.
        for _ in 0..3 {
            rustix::process::kill_process(process, rustix::process::Signal::HUP).unwrap();
        }
        let reload = Answer::of(exporter.request(reqwest::Method::POST, "/-/reload")).await;
        assert_eq!(reload.status, 200, "{}", reload.body);
    }
    scraping.all_were_answered().await;
    // More than the requests': those of signals.
    let reloads = exporter.log().matches("Configuration reloaded").count();
    assert!(reloads > times, "{reloads} reloads");
    let page = exporter.scrape().await;
    assert_eq!(
        page.value("exporter_config_last_reload_successful"),
        Some(1.0)
    );
    assert_eq!(page.up(APPID), Some(1.0));
    assert_eq!(page.up(OTHER_APPID), Some(1.0));
    assert_eq!(wechat.token_and_list_calls().await, (2, 2));
    let peak = memory(exporter.process()).peak;
    assert!(
        peak < at_rest + (32 << 10),
        "{at_rest} KiB at rest, {peak} KiB after"
    );
    assert!(!exporter.log().contains("panic"));
}
