//! A real Prometheus (Debian's package): PromQL for every metric, the README's service discovery, and no gap while
//! certificates are replaced and files are broken and corrected.

use std::time::Instant;

use wechat_logistics_exporter::exposition::families;

use crate::servers::{Authority, INTERVAL, Prometheus, scraping};
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
    assert!(
        prometheus
            .answer("wechat_logistics_account_quota")
            .await
            .len()
            >= 3
    );
    prometheus.answer("process_resident_memory_bytes").await;
    assert!(prometheus.query("up == 0").await.is_empty());
}

/// The jobs that the docs show for thousands of Mini Programs, for these replicas, one Prometheus, and at once.
fn recipe(page: &str, replicas: [&Exporter; 2]) -> String {
    let page = format!("{}/{page}", env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(page).unwrap();
    let jobs = page
        .split("```yaml\n")
        .filter_map(|block| block.split("```").next())
        .find(|block| block.contains("http_sd_configs"))
        .expect("the page shows jobs with service discovery");
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
    for page in ["docs/operation.md", "docs/operation.zh-CN.md"] {
        let config = recipe(page, [&replicas[0], &replicas[1]]);
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
            assert!(prometheus.query(query).await.is_empty(), "{page}: {query}");
        }
    }
}

fn unix_time() -> f64 {
    let since = std::time::UNIX_EPOCH.elapsed();
    since.expect("a clock after 1970").as_secs_f64()
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_are_replaced_make_no_gap_and_a_broken_web_configuration_lets_nobody_in()
{
    let (scratch, wechat, authority) = (Scratch::new(), Wechat::healthy().await, Authority::new());
    authority.issue("server", "localhost");
    authority.issue("prometheus", "prometheus.example");
    let hash = bcrypt::hash("correct horse", 5).unwrap();
    let web_config = format!(
        "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n  client_ca_file: ca.pem\n  client_auth_type: RequireAndVerifyClientCert\nbasic_auth_users:\n  prometheus: {hash}\n"
    );
    authority.write("web.yml", &web_config);
    let flag = format!("--web.config.file={}", authority.path("web.yml").display());
    let exporter = Exporter::for_one_app(&scratch, &wechat, &[&flag, "--wechat.min-interval=2s"]);
    let path = |name: &str| authority.path(name).display().to_string();
    let certificate = format!(
        ", cert_file: {}, key_file: {}",
        path("prometheus.pem"),
        path("prometheus.key")
    );
    let scrape = |certificate: &str, password: &str| {
        let job = format!(
            "  scheme: https\n  tls_config: {{ca_file: {}, server_name: localhost{certificate}}}\n  basic_auth: {{username: prometheus, password: {password}}}\n",
            path("ca.pem")
        );
        Prometheus::start(&scraping(&exporter.address.to_string(), &job), &[])
    };
    let right = scrape(&certificate, "correct horse");
    let strangers = [scrape(&certificate, "wrong"), scrape("", "correct horse")];
    right.answer("wechat_logistics_account_quota").await;
    let first = right
        .scrapes()
        .await
        .iter()
        .position(|(_, up)| *up)
        .unwrap();

    authority.issue("server", "localhost");
    right.scrapes_again(2).await;
    // Who comes anew meets the new certificate.
    scrape(&certificate, "correct horse")
        .answer("up == 1")
        .await;
    let quiet = right.scrapes().await;
    assert!(quiet[first..].iter().all(|(_, up)| *up), "a gap: {quiet:?}");

    let write = |web_config: &str| {
        let before = unix_time();
        authority.write("web.yml", web_config);
        [before, unix_time()]
    };
    let broken = write("tls_server_config: [\n");
    right.answer("up == 0").await;
    right.scrapes_again(1).await;
    let corrected = write(&web_config);
    right.answer("up == 1").await;
    for (at, up) in right.scrapes().await.into_iter().skip(first) {
        let context = format!("at {at}; broken at {broken:?}, corrected at {corrected:?}");
        // A scrape during a change may have met either. What began at `at` has ended by `end`.
        let end = at + INTERVAL.as_secs_f64();
        if end < broken[0] || at > corrected[1] {
            assert!(up, "a gap {context}");
        } else if at > broken[1] && end < corrected[0] {
            assert!(!up, "let in {context}");
        }
    }
    for stranger in &strangers {
        let scrapes = stranger.scrapes().await;
        assert!(
            scrapes.len() > 2 && scrapes.iter().all(|(_, up)| !up),
            "{scrapes:?}"
        );
    }
    let log = exporter.log();
    assert!(
        !log.contains("panic") && !log.contains("correct horse"),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn configuration_that_is_broken_and_corrected_makes_no_gap_and_spends_no_call() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let file = scratch.two_apps(&wechat.url(), "");
    let good = std::fs::read_to_string(&file).unwrap();
    let more = ["--wechat.min-interval=2s", "--web.enable-lifecycle"];
    let exporter = Exporter::from_file(&file, &more);
    let prometheus = Prometheus::start(&scraping(&exporter.address.to_string(), ""), &[]);
    let began = Instant::now();
    prometheus.answer("up == 1").await;
    let successful = "wechat_logistics_exporter_config_last_reload_successful";
    for bad in [Some("apps: [\n"), Some("\0\u{feff}"), None] {
        match bad {
            Some(bad) => scratch.write("exporter.yml", bad),
            // Away for a moment, as with an editor that writes it anew.
            None => {
                std::fs::remove_file(&file).unwrap();
                file.clone()
            }
        };
        assert_eq!(exporter.reload().await.status, 500, "{bad:?}");
        prometheus.answer(&format!("{successful} == 0")).await;
        scratch.write("exporter.yml", &good);
        signal(exporter.process(), "HUP");
        prometheus.answer(&format!("{successful} == 1")).await;
    }
    let scrapes = prometheus.scrapes().await;
    let first = scrapes.iter().position(|(_, up)| *up).unwrap();
    assert!(
        scrapes[first..].iter().all(|(_, up)| *up),
        "a gap: {scrapes:?}"
    );
    let apps_up = "min(min_over_time(wechat_logistics_up[10m])) == 1";
    prometheus.answer(apps_up).await;
    let (tokens, lists) = wechat.token_and_list_calls().await;
    let granted = 2.0 * (began.elapsed().as_secs_f64() / 2.0 + 2.0);
    assert!(lists as f64 <= granted, "{lists} calls");
    assert_eq!(tokens, 2, "tokens are kept over a reload");
}
