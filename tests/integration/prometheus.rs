//! A real Prometheus (Debian's package) scrapes `demo` and answers PromQL for every metric of the contract.

use wechat_logistics_exporter::exposition::family;

use crate::real_prometheus::{Prometheus, scraping};
use crate::support::*;

fn demo() -> Exporter {
    let mut command = program();
    command.args(["demo", "--demo.seed=7", "--web.listen-address=127.0.0.1:0"]);
    Exporter::spawn(command)
}

#[tokio::test(flavor = "multi_thread")]
async fn real_prometheus_answers_promql_for_every_metric() {
    let exporter = demo();
    let prometheus = Prometheus::start(&scraping(&exporter.address.to_string(), ""), &[]);
    prometheus.answer("up == 1").await;
    prometheus.answer("wechat_logistics_accounts > 0").await;
    // Absent unless the operator switches their source on.
    let opt_in = ["api_host_info", "shared_state_failures_total"];
    let mut metrics = 0;
    for name in family::ALL.iter().map(|family| family.name) {
        if opt_in.iter().any(|end| name.ends_with(end)) {
            continue;
        }
        let query = if name == "wechat_logistics_fetch_duration_seconds" {
            format!("{name}_bucket")
        } else {
            name.to_owned()
        };
        prometheus.answer(&query).await;
        metrics += 1;
    }
    assert!(metrics > 20, "{metrics}");
    prometheus.answer("process_resident_memory_bytes").await;
    assert!(prometheus.query("up == 0").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn real_prometheus_scrapes_openmetrics_and_protobuf() {
    let exporter = demo();
    for features in [&[][..], &["--enable-feature=native-histograms"][..]] {
        let prometheus = Prometheus::start(&scraping(&exporter.address.to_string(), ""), features);
        prometheus.answer("up == 1").await;
        let quota = prometheus.answer("wechat_logistics_account_quota").await;
        assert!(quota.len() >= 3, "{features:?}: {quota:?}");
        assert!(
            !prometheus
                .answer("wechat_logistics_api_requests_total > 0")
                .await
                .is_empty()
        );
        prometheus
            .answer("wechat_logistics_fetch_duration_seconds_count > 0")
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn real_prometheus_finds_apps_by_service_discovery_and_probes_each() {
    let exporter = demo();
    let config = format!(
        "scrape_configs:\n  - job_name: probe\n    scrape_interval: 1s\n    scrape_timeout: 1s\n    metrics_path: /probe\n    \
         http_sd_configs:\n      - url: {}\n        refresh_interval: 1s\n    relabel_configs:\n      - source_labels: [__param_target]\n        target_label: instance\n",
        exporter.url("/sd")
    );
    let prometheus = Prometheus::start(&config, &[]);
    let instances = prometheus
        .answer("count(count by (instance) (wechat_logistics_up)) > 1")
        .await;
    assert!(!instances.is_empty());
    assert!(
        prometheus
            .query("wechat_logistics_exporter_build_info")
            .await
            .is_empty()
    );
}
