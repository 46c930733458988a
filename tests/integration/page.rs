//! The page as a whole: golden files, promtool, and no series twice.

use std::collections::HashSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use wechat_logistics_exporter::exposition::families;

use crate::support::*;

/// Lines whose values no two runs share.
fn is_volatile(line: &str) -> bool {
    let name = line
        .trim_start_matches("# HELP ")
        .trim_start_matches("# TYPE ");
    [
        "process_",
        "wechat_logistics_exporter_build_info",
        "wechat_logistics_fetch_duration_seconds_",
    ]
    .iter()
    .any(|start| name.starts_with(start))
        || (!line.starts_with('#')
            && [
                "wechat_logistics_snapshot_timestamp_seconds",
                "wechat_logistics_access_token_expiry_timestamp_seconds",
                "wechat_logistics_exporter_config_last_reload_success_timestamp_seconds",
            ]
            .iter()
            .any(|start| name.starts_with(start)))
}

/// The page without what no two runs share.
fn stable(page: &str) -> String {
    let lines = page.lines().filter(|line| !is_volatile(line));
    lines.map(|line| format!("{line}\n")).collect()
}

/// Compares with a golden file; writes it where `UPDATE_GOLDEN` is set.
fn assert_golden(name: &str, page: &str) {
    let path = format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR"));
    let page = stable(page);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    for (number, (ours, theirs)) in page.lines().zip(golden.lines()).enumerate() {
        assert_eq!(
            ours,
            theirs,
            "line {} of {name}; UPDATE_GOLDEN=1 writes it anew",
            number + 1
        );
    }
    assert_eq!(
        page.lines().count(),
        golden.lines().count(),
        "{name}; UPDATE_GOLDEN=1 writes it anew"
    );
}

/// Runs a program on the page; its standard output where it succeeds and writes nothing to standard error.
fn read_by(command: &mut Command, page: &str) -> String {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let child = command.stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    // One that has given up closes its end; what it says then is the failure.
    let _ = child.stdin.take().unwrap().write_all(page.as_bytes());
    let output = child.wait_with_output().unwrap();
    let succeeded = output.status.success() && output.stderr.is_empty();
    assert!(succeeded, "{}", all_output(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// promtool (Debian package prometheus) must find nothing to say.
fn assert_promtool_is_silent(page: &str) {
    let said = read_by(Command::new("promtool").args(["check", "metrics"]), page);
    assert_eq!(said.trim(), "");
}

/// The strict parser of Python's prometheus-client must take the page, to its last line.
fn assert_strict_openmetrics(page: &str) {
    const SCRIPT: &str = "import sys\n\
        from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse\n\
        print(sum(len(family.samples) for family in parse(sys.stdin.buffer.read().decode())))\n";
    let samples = read_by(Command::new("/usr/bin/python3").args(["-c", SCRIPT]), page);
    let lines = page.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(samples.trim(), lines.to_string());
}

/// promtool and Prometheus itself pass duplicates over.
fn assert_no_series_twice(page: &str) {
    let mut seen = HashSet::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let series = line.rsplit_once(' ').map_or(line, |(series, _)| series);
        assert!(seen.insert(series.to_owned()), "{series} stands twice");
    }
    assert!(!seen.is_empty());
}

#[tokio::test]
async fn metrics_page_matches_the_golden_file() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let exporter = Exporter::for_one_app(&scratch, &wechat, &[]);
    let page = exporter.scrape().await.0;
    assert_promtool_is_silent(&page);
    assert_no_series_twice(&page);
    assert_golden("one-app/metrics.prom", &page);
}

#[tokio::test]
async fn page_of_a_failure_matches_the_golden_file() {
    let (scratch, wechat) = (Scratch::new(), Wechat::silent().await);
    wechat.gives_token(TOKEN).await;
    wechat
        .lists(errcode(
            48001,
            "api unauthorized rid: 60c976e4-051e6c8e-47215cd3",
        ))
        .await;
    let exporter = Exporter::for_one_app(&scratch, &wechat, &[]);
    let page = exporter.scrape().await.0;
    assert_promtool_is_silent(&page);
    assert_no_series_twice(&page);
    assert_golden("permission/metrics.prom", &page);
}

#[tokio::test]
async fn hostile_texts_break_no_page() {
    let (scratch, wechat) = (Scratch::new(), Wechat::silent().await);
    wechat.gives_token(TOKEN).await;
    let odd = "\"quotes\" \\back\\slash\nnew line\ttab {brace} 中文 \u{202e}bidi\u{0}nul 😀";
    let service = serde_json::json!({"service_type": 1, "service_name": odd});
    wechat
        .lists(json(serde_json::json!({"count": 3, "list": [
            {"biz_id": odd, "delivery_id": odd, "alias": odd, "quota_num": 1, "service_type": [service, service]},
            {"biz_id": odd, "delivery_id": "YTO", "quota_num": 2},
            {"biz_id": " ", "delivery_id": "YTO", "quota_num": 3},
        ]})))
        .await;
    let exporter = Exporter::for_one_app(&scratch, &wechat, &[]);
    let page = exporter.scrape().await.0;
    assert_promtool_is_silent(&page);
    assert_no_series_twice(&page);
    let escaped = odd
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    assert!(
        page.contains(&format!("biz_id=\"{escaped}\",delivery_id=\"YTO\"")),
        "{page}"
    );
    assert_eq!(Page(page).series("account_quota").len(), 3);
}

#[tokio::test]
async fn openmetrics_page_is_taken_by_a_strict_parser() {
    let (scratch, wechat) = (Scratch::new(), Wechat::silent().await);
    wechat.gives_token(TOKEN).await;
    let mut list = accounts();
    let odd = "\"quotes\" \\back\\slash\nnew line 中文 😀";
    list["list"].as_array_mut().unwrap().push(
        serde_json::json!({"biz_id": odd, "delivery_id": "YTO", "alias": odd, "quota_num": 1.5}),
    );
    wechat.lists(json(list)).await;
    let exporter = Exporter::for_one_app(&scratch, &wechat, &[]);
    let request = exporter
        .request(reqwest::Method::GET, "/metrics")
        .header("Accept", "application/openmetrics-text;version=1.0.0");
    let answer = Answer::of(request).await;
    let content_type = answer.header("content-type");
    assert!(content_type.starts_with("application/openmetrics-text; version=1.0.0"));
    assert!(answer.body.ends_with("# EOF\n"));
    assert_strict_openmetrics(&answer.body);
}

#[tokio::test]
async fn remarks_are_on_pages_only_while_they_are_asked_for() {
    let (scratch, wechat) = (Scratch::new(), Wechat::silent().await);
    wechat.gives_token(TOKEN).await;
    let account = serde_json::json!({
        "biz_id": "1", "delivery_id": "STO", "status_code": 2,
        "remark_wrong_msg": "张三 13800000000", "remark_content": "张三 13900000000",
    });
    let list = serde_json::json!({"count": 1, "list": [account]});
    wechat.lists(json(list)).await;
    let on = "defaults: { remark_wrong_msg: true, remark_content: true }\n";
    let settings = scratch.two_apps(&wechat.url(), on);
    let exporter = Exporter::from_file(&settings, &["--web.enable-lifecycle"]);
    let page = exporter.scrape().await;
    assert!(page.0.contains("13800000000") && page.0.contains("13900000000"));
    assert!(exporter.get("/").await.body.contains("13800000000"));
    scratch.two_apps(&wechat.url(), "");
    assert_eq!(exporter.reload().await.status, 200);
    for page in [exporter.scrape().await.0, exporter.get("/").await.body] {
        assert!(page.contains("STO"), "{page}");
        assert!(!page.contains("张三"), "{page}");
    }
}

#[test]
fn documentation_and_dashboards_name_only_exported_metrics() {
    let known: HashSet<&str> = families::ALL.iter().map(|family| family.name).collect();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![root.join("README.md"), root.join("README.zh-CN.md")];
    for folder in ["grafana", "prometheus", "docs"] {
        collect_files(&root.join(folder), &mut files);
    }
    let is_of_word = |c: char| c.is_ascii_alphanumeric() || "_:/-.".contains(c);
    let mut named = 0;
    for file in files {
        let content = std::fs::read(&file).unwrap();
        let content = String::from_utf8_lossy(&content);
        // A group of rules is named like a metric.
        let is_group = |line: &&str| line.contains("- name: ") || line.contains("eval_order: ");
        let lines = content.lines().filter(|line| !is_group(line));
        for word in lines.flat_map(|line| line.split(|c| !is_of_word(c))) {
            let name = word.trim_end_matches(['.', ':']);
            // Recording rules, names of files, and the beginnings of names.
            let is_other = name.contains([':', '.', '/', '-']) || name.ends_with('_');
            if !name.starts_with("wechat_logistics_") || is_other {
                continue;
            }
            let suffixes = ["_bucket", "_sum", "_count"];
            let base = suffixes.iter().find_map(|end| name.strip_suffix(end));
            let is_known = known.contains(name) || known.contains(base.unwrap_or_default());
            assert!(
                is_known,
                "{} names {name}, which is not exported",
                file.display()
            );
            named += 1;
        }
    }
    assert!(named > 50, "only {named} names found");
}

fn collect_files(folder: &std::path::Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect_files(&path, files);
        } else {
            files.push(path);
        }
    }
}
