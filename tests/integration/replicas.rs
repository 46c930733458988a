//! Four exporter processes that share one Redis cost what one does.

use std::time::Duration;

use crate::redis_server::Server;
use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn four_processes_cost_what_one_does_and_show_the_same() {
    until("Redis is in time", share_and_show_the_same).await;
}

/// `false`: Redis was late.
async fn share_and_show_the_same() -> bool {
    let (scratch, wechat, redis) = (Scratch::new(), Wechat::silent().await, Server::start(&[]));
    wechat.gives_token(TOKEN).await;
    wechat
        .lists(json(accounts()).set_delay(Duration::from_millis(300)))
        .await;
    let file = scratch.write(
        "exporter.yml",
        &format!(
            "apps:\n  - appid: {APPID}\n    api_url: {}\n    access_token: {{ stable_token: {{ secret_file: secret }} }}\n\
             shared_state:\n  redis: {}\n",
            wechat.url(),
            redis.url()
        ),
    );
    let exporters: Vec<_> = (0..4).map(|_| Exporter::from_file(&file, &[])).collect();
    let scrapes = exporters
        .iter()
        .flat_map(|exporter| (0..5).map(move |_| exporter.scrape()));
    for page in futures_util::future::join_all(scrapes).await {
        assert_eq!(page.up(APPID), Some(1.0));
        assert_eq!(page.series("account_quota").len(), 1);
    }
    let mut sent = 0.0;
    let mut left = Vec::new();
    for exporter in &exporters {
        let page = exporter.scrape().await;
        for api in ["account_getall", "stable_token"] {
            let series = format!("api_requests_total{{appid=\"{APPID}\",api=\"{api}\"}}");
            sent += page.value(&series).unwrap();
        }
        if page.redis_was_late() {
            return false;
        }
        let failures = page.series("exporter_shared_state_failures_total");
        assert_eq!(failures.len(), 4);
        assert!(
            failures.iter().all(|line| line.ends_with(" 0")),
            "{failures:?}"
        );
        left.push(
            page.value(&format!("snapshot_timestamp_seconds{{appid=\"{APPID}\"}}"))
                .unwrap(),
        );
    }
    let (tokens, lists) = wechat.token_and_list_calls().await;
    assert_eq!(lists, 1);
    assert_eq!(
        sent,
        (tokens + lists) as f64,
        "the replicas' counters add up to what WeChat saw"
    );
    assert!(
        left.iter().all(|at| (at - left[0]).abs() < 0.5),
        "one reading: {left:?}"
    );
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn replica_goes_on_alone_while_redis_is_away_and_says_so() {
    let (scratch, wechat, redis) = (Scratch::new(), Wechat::healthy().await, Server::start(&[]));
    let file = scratch.write(
        "exporter.yml",
        &format!(
            "apps:\n  - appid: {APPID}\n    api_url: {}\n    min_interval: 200ms\n    access_token: {{ stable_token: {{ secret_file: secret }} }}\n\
             shared_state:\n  redis: {}\n",
            wechat.url(),
            redis.url()
        ),
    );
    drop(redis);
    let exporter = Exporter::from_file(&file, &[]);
    let page = exporter.scrape().await;
    assert_eq!(page.up(APPID), Some(1.0), "{}", exporter.log());
    let failed = page.value("exporter_shared_state_failures_total{reason=\"network\"}");
    assert_eq!(failed, Some(1.0));
    assert!(!exporter.log().contains("canary"), "{}", exporter.log());
}
