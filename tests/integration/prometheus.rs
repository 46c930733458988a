//! A real Prometheus (Debian's package) scrapes `demo` and answers PromQL for every metric.

use wechat_logistics_exporter::exposition::families;

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
    for name in families::ALL.iter().map(|family| family.name) {
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
async fn real_prometheus_scrapes_openmetrics_also_where_it_would_rather_have_protobuf() {
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

/// The jobs that a README shows for thousands of Mini Programs, for these replicas, one Prometheus, and at once.
fn recipe(readme: &str, replicas: [&Exporter; 2]) -> String {
    let readme = format!("{}/{readme}", env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(readme).unwrap();
    let jobs = readme
        .split("```yaml\n")
        .filter_map(|block| block.split("```").next())
        .find(|block| block.contains("http_sd_configs"))
        .expect("the README shows jobs with service discovery");
    let lines = jobs.lines().filter(|line| !line.contains("__tmp_share"));
    let jobs: String = lines.map(|line| format!("{line}\n")).collect();
    let [one, other] = replicas.map(|replica| replica.address.to_string());
    jobs.replace("60s", "1s")
        .replace("15s", "1s")
        .replace(
            "- url: http://localhost:10086/sd",
            &format!("- url: http://{one}/sd\n      - url: http://{other}/sd"),
        )
        .replace("\"localhost:10086\"", &format!("\"{one}\", \"{other}\""))
}

#[tokio::test(flavor = "multi_thread")]
async fn real_prometheus_finds_apps_by_service_discovery_and_probes_each_of_each_replica() {
    let replicas = [demo(), demo()];
    for readme in ["README.md", "README.zh-CN.md"] {
        let config = recipe(readme, [&replicas[0], &replicas[1]]);
        let prometheus = Prometheus::start(&config, &[]);
        // Without an `instance` of its own each replica would write into the other's series.
        prometheus
            .answer("count(count by (appid) (wechat_logistics_up) == 2) == 3")
            .await;
        prometheus
            .answer("count(wechat_logistics_exporter_build_info{job=\"wechat-logistics-exporter\"}) == 2")
            .await;
        let extra = [
            "wechat_logistics_exporter_build_info{job=\"wechat-logistics-apps\"}",
            "{job=\"wechat-logistics-exporter\", appid!=\"\"}",
        ];
        for query in extra {
            assert!(
                prometheus.query(query).await.is_empty(),
                "{readme}: {query}"
            );
        }
    }
}
