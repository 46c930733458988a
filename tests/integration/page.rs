//! The whole page: golden files, promtool, a strict parser of OpenMetrics, and remarks.

use std::collections::HashSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::support::*;

/// Prefixes of series whose values differ in each run.
const VOLATILE: [&str; 6] = [
    "process_",
    "wechat_logistics_exporter_build_info",
    "wechat_logistics_fetch_duration_seconds_",
    "wechat_logistics_snapshot_timestamp_seconds",
    "wechat_logistics_access_token_expiry_timestamp_seconds",
    "wechat_logistics_exporter_config_last_reload_success_timestamp_seconds",
];

/// Compares a page with a golden file, which it writes first if `UPDATE_GOLDEN` is set.
fn assert_golden(name: &str, page: &str) {
    let path = format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR"));
    let is_stable = |line: &&str| !VOLATILE.iter().any(|start| line.starts_with(start));
    let stable: Vec<_> = page.lines().filter(is_stable).collect();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, stable.join("\n") + "\n").unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    let golden: Vec<_> = golden.lines().collect();
    let differs = stable.iter().zip(&golden).position(|(is, was)| is != was);
    let line = differs.unwrap_or(stable.len().min(golden.len()));
    let [is, was] = [&stable, &golden].map(|lines| lines.get(line));
    let number = line + 1;
    assert_eq!(
        is, was,
        "line {number} of {name}; UPDATE_GOLDEN=1 writes it"
    );
}

/// Runs a program on the page and returns its standard output. It must succeed and write nothing to standard error.
fn read_by(command: &mut Command, page: &str) -> String {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    // A program that gives up closes the pipe; its output is then the failure.
    let _ = child.stdin.take().unwrap().write_all(page.as_bytes());
    let output = child.wait_with_output().unwrap();
    let succeeded = output.status.success() && output.stderr.is_empty();
    assert!(succeeded, "{}", all_output(&output));
    text(&output.stdout)
}

fn assert_promtool_is_content(page: &str) {
    let said = read_by(Command::new("promtool").args(["check", "metrics"]), page);
    assert_eq!(said.trim(), "", "{page}");
}

#[tokio::test]
async fn pages_match_the_golden_files_and_promtool_has_nothing_to_say() {
    let refused = errcode(48001, "api unauthorized rid: 60c976e4-051e6c8e-47215cd3");
    for (name, reply) in [
        ("one-app/metrics.prom", ok(accounts())),
        ("permission/metrics.prom", refused),
    ] {
        let (scratch, wechat) = (Scratch::new(), Wechat::listing(reply).await);
        let exporter = Exporter::for_one_app(&scratch, &wechat, &[]);
        let page = exporter.scrape().await.0;
        assert_promtool_is_content(&page);
        // promtool and Prometheus itself overlook duplicates.
        let mut seen = HashSet::new();
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            let (series, _) = line.rsplit_once(' ').unwrap();
            assert!(seen.insert(series), "{series} stands twice");
        }
        assert_golden(name, &page);
    }
    // A page with what a single app doesn't show.
    assert_promtool_is_content(include_str!("../data/accounts.prom"));
}

#[tokio::test]
async fn openmetrics_page_with_hostile_texts_is_taken_by_a_strict_parser() {
    // Uses Python's prometheus-client.
    const SCRIPT: &str = "import sys\n\
        from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse\n\
        print(sum(len(family.samples) for family in parse(sys.stdin.buffer.read().decode())))\n";
    let odd = "\"quotes\" \\back\\slash\nnew line\ttab {brace} 中文 \u{202e}bidi\u{0}nul 😀";
    let service = json!({"service_type": 1, "service_name": odd});
    let list = json!({"list": [
        {"biz_id": odd, "delivery_id": odd, "alias": odd, "quota_num": 1.5, "service_type": [service, service]},
        {"biz_id": odd, "delivery_id": "YTO", "quota_num": 2},
        {"biz_id": " ", "delivery_id": "YTO", "quota_num": 3},
    ]});
    let (scratch, wechat) = (Scratch::new(), Wechat::listing(ok(list)).await);
    let exporter = Exporter::for_one_app(&scratch, &wechat, &[]);
    let openmetrics = "application/openmetrics-text; version=1.0.0";
    let request = exporter.request(Method::GET, "/metrics");
    let answer = Answer::of(request.header("Accept", openmetrics)).await;
    let content_type = answer.headers["content-type"].to_str().unwrap();
    assert!(content_type.starts_with(openmetrics), "{content_type}");
    let page = answer.body;
    assert!(page.ends_with("# EOF\n"), "{page}");
    let escaped = odd.replace('\\', "\\\\").replace('"', "\\\"");
    let id = format!(
        "biz_id=\"{}\",delivery_id=\"YTO\"",
        escaped.replace('\n', "\\n")
    );
    assert!(page.contains(&id), "{page}");
    let samples = read_by(Command::new("/usr/bin/python3").args(["-c", SCRIPT]), &page);
    let lines = page.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(samples.trim(), lines.to_string());
}

#[tokio::test]
async fn remarks_are_on_pages_only_while_they_are_asked_for() {
    let account = json!({
        "biz_id": "1", "delivery_id": "STO", "status_code": 2,
        "remark_wrong_msg": "张三 13800000000", "remark_content": "张三 13900000000",
    });
    let list = ok(json!({"list": [account]}));
    let (scratch, wechat) = (Scratch::new(), Wechat::listing(list).await);
    let on = "defaults: { remark_wrong_msg: true, remark_content: true }\n";
    let settings = scratch.two_apps(&wechat.url(), on);
    let exporter = Exporter::from_file(&settings, &["--web.enable-lifecycle"]);
    let page = exporter.scrape().await.0;
    assert!(page.contains("13800000000") && page.contains("13900000000"));
    assert!(exporter.get("/").await.body.contains("13800000000"));
    scratch.two_apps(&wechat.url(), "");
    assert_eq!(exporter.reload().await.status, 200);
    for page in [exporter.scrape().await.0, exporter.get("/").await.body] {
        assert!(page.contains("STO"), "{page}");
        assert!(!page.contains("张三"), "{page}");
    }
}
