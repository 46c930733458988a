//! Four exporter processes that share one Redis cost what one does.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::*;

/// Debian's redis-server on a free port; ended when dropped.
struct Redis {
    child: Child,
    port: u16,
    _scratch: tempfile::TempDir,
}

impl Redis {
    async fn start() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let child = Command::new("redis-server")
            .args([
                "--port",
                &port.to_string(),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
            ])
            .arg("--dir")
            .arg(scratch.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed (Debian package redis-server)");
        for _ in 0..200 {
            if tokio::net::TcpStream::connect(("127.0.0.1", port))
                .await
                .is_ok()
            {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Self {
            child,
            port,
            _scratch: scratch,
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn four_processes_cost_what_one_does_and_show_the_same() {
    let (scratch, wechat, redis) = (Scratch::new(), Wechat::silent().await, Redis::start().await);
    wechat.gives_token(TOKEN).await;
    wechat
        .lists(json(accounts()).set_delay(Duration::from_millis(300)))
        .await;
    let file = scratch.write(
        "exporter.yml",
        &format!(
            "apps:\n  - appid: {APPID}\n    api_url: {}\n    access_token: {{ stable_token: {{ secret_file: secret }} }}\n\
             shared_state:\n  redis: redis://127.0.0.1:{}/0\n",
            wechat.url(),
            redis.port
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
        for endpoint in ["account_getall", "stable_token"] {
            let series = format!("api_requests_total{{appid=\"{APPID}\",endpoint=\"{endpoint}\"}}");
            sent += page.value(&series).unwrap();
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
    assert_eq!(wechat.token_and_list_calls().await, (1, 1));
    assert_eq!(
        sent, 2.0,
        "the replicas' counters add up to what WeChat saw"
    );
    assert!(
        left.iter().all(|at| (at - left[0]).abs() < 0.5),
        "one reading: {left:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn replica_goes_on_alone_while_redis_is_away_and_says_so() {
    let (scratch, wechat, redis) = (
        Scratch::new(),
        Wechat::healthy().await,
        Redis::start().await,
    );
    let file = scratch.write(
        "exporter.yml",
        &format!(
            "apps:\n  - appid: {APPID}\n    api_url: {}\n    min_interval: 200ms\n    access_token: {{ stable_token: {{ secret_file: secret }} }}\n\
             shared_state:\n  redis: redis://127.0.0.1:{}/0\n",
            wechat.url(),
            redis.port
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
