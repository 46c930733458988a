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

/// Debian's promtool must find nothing to say.
fn assert_promtool_is_silent(page: &str) {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is installed (Debian package prometheus)");
    let mut stdin = promtool.stdin.take().unwrap();
    stdin.write_all(page.as_bytes()).unwrap();
    drop(stdin);
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}

/// The strict parser of Python's prometheus-client must take the page, to its last line.
fn assert_strict_openmetrics(page: &str) {
    const SCRIPT: &str = "import sys\n\
        from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse\n\
        print(sum(len(family.samples) for family in parse(sys.stdin.buffer.read().decode())))\n";
    let mut python = Command::new("/usr/bin/python3")
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("Debian's python3 is installed");
    let mut stdin = python.stdin.take().unwrap();
    // A parser that has given up closes its end; what it says then is the failure.
    let _ = stdin.write_all(page.as_bytes());
    drop(stdin);
    let output = python.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let samples: usize = String::from_utf8_lossy(&output.stdout)
        .trim()
        .parse()
        .unwrap();
    let lines = page.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(samples, lines);
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
    assert!(
        answer
            .header("content-type")
            .starts_with("application/openmetrics-text; version=1.0.0")
    );
    assert!(answer.body.ends_with("# EOF\n"));
    assert_strict_openmetrics(&answer.body);
}

#[tokio::test]
async fn remarks_are_labels_only_where_asked_for() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let exporter = Exporter::for_one_app(&scratch, &wechat, &[]);
    assert!(!exporter.scrape().await.0.contains("13800000000"));
    assert!(!exporter.get("/").await.body.contains("13800000000"));
}

#[tokio::test]
async fn remarks_that_a_reload_switches_off_are_on_no_page_any_more() {
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
    let reload = exporter.request(reqwest::Method::POST, "/-/reload");
    assert_eq!(Answer::of(reload).await.status, 200);
    for page in [exporter.scrape().await.0, exporter.get("/").await.body] {
        assert!(page.contains("STO"), "{page}");
        assert!(!page.contains("张三"), "{page}");
    }
}

#[tokio::test]
async fn documentation_and_dashboards_name_only_exported_metrics() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let exporter = Exporter::for_one_app(&scratch, &wechat, &[]);
    exporter.scrape().await;
    let known: HashSet<&str> = families::ALL.iter().map(|family| family.name).collect();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![root.join("README.md"), root.join("README.zh-CN.md")];
    for folder in ["grafana", "prometheus", "docs"] {
        collect_files(&root.join(folder), &mut files);
    }
    let mut named = 0;
    for file in files {
        let Ok(content) = std::fs::read_to_string(&file) else {
            continue;
        };
        for (at, _) in content.match_indices("wechat_logistics_") {
            // A word of its own: not the middle of another name, and no recording rule (those have a colon).
            let before = content[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || "_:/-.".contains(c)) {
                continue;
            }
            // A group of rules is named like a metric and is none.
            let line = content[..at].rsplit('\n').next().unwrap_or_default();
            if line.ends_with("- name: ") || line.starts_with("group_eval_order: ") {
                continue;
            }
            let rest = &content[at..];
            let end = rest
                .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                .unwrap_or(rest.len());
            let name = &rest[..end];
            let after = rest[end..].chars().next();
            // A pattern like `wechat_logistics_exporter_*` or a word broken by an ellipsis names no metric.
            if name.ends_with('_')
                || after.is_some_and(|c| "*…:.".contains(c)) && !known.contains(name)
            {
                continue;
            }
            let base = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| name.strip_suffix(end));
            assert!(
                known.contains(name) || base.is_some_and(|base| known.contains(base)),
                "{} names {name}, which the exporter does not export",
                file.display()
            );
            named += 1;
        }
    }
    assert!(named > 50, "only {named} names found");
}

fn collect_files(folder: &std::path::Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .map_while(Result::ok)
    {
        let path = entry.path();
        if path.is_dir() {
            collect_files(&path, files);
        } else {
            files.push(path);
        }
    }
}
