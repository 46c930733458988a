//! README and docs are correct: their settings are accepted, their flags and metrics exist, their tables are complete.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use wechat_logistics_exporter::exposition::families;

use crate::support::*;

const READMES: [&str; 2] = ["README.md", "README.zh-CN.md"];
const CONFIGURATION: [&str; 2] = ["docs/configuration.md", "docs/configuration.zh-CN.md"];
const METRICS: [&str; 2] = ["docs/metrics.md", "docs/metrics.zh-CN.md"];
const OPERATION: [&str; 2] = ["docs/operation.md", "docs/operation.zh-CN.md"];
const MIGRATION: [&str; 2] = ["docs/migration.md", "docs/migration.zh-CN.md"];

fn read(file: impl AsRef<Path>) -> String {
    fs::read_to_string(root().join(file)).unwrap()
}

/// Returns the text files of a folder and its subfolders.
fn files(folder: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(root().join(folder)).unwrap() {
        let path = entry.unwrap().path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        // Rules, which `tests/observability` checks, have groups with names like those of metrics.
        if path.ends_with("prometheus-operator") {
            continue;
        }
        if path.is_dir() {
            files.extend(self::files(path.to_str().unwrap()));
        } else if matches!(extension, Some("md" | "yml" | "yaml" | "service")) {
            files.push(path);
        }
    }
    files
}

/// Returns the READMEs, docs and examples.
fn documentation() -> Vec<PathBuf> {
    let readmes = READMES.map(|file| root().join(file));
    [readmes.to_vec(), files("docs"), files("examples")].concat()
}

/// Asserts that `check` accepts settings whose secrets are in that folder. Creates the secrets.
fn assert_accepted(file: &str, settings: &str, secrets: &str) {
    let scratch = Scratch::new();
    for rest in settings.split(secrets).skip(1) {
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
        scratch.write(&rest[..end.unwrap_or(rest.len())], "X-Api-Secret: canary");
    }
    let settings = settings.replace(secrets, &format!("{}/", scratch.path("").display()));
    let settings = scratch.write("exporter.yml", &settings);
    let flag = format!("--config.file={}", settings.display());
    let output = run(&["check", "--config-only", &flag]);
    assert!(output.status.success(), "{file}: {}", all_output(&output));
}

#[test]
fn settings_of_docs_examples_and_the_package_are_accepted_as_they_stand() {
    for file in [READMES, CONFIGURATION, MIGRATION].concat() {
        let page = read(file);
        let blocks = page.split("```yaml\n");
        let mut blocks = blocks.filter_map(|block| block.split("```").next());
        let settings = blocks.find(|block| block.starts_with("apps:"));
        let settings = settings.unwrap_or_else(|| panic!("{file} shows no configuration file"));
        assert_accepted(file, settings, "/run/secrets/");
    }
    let file = "examples/kubernetes-agency.yaml";
    let page = read(file);
    let (_, settings) = page.split_once("  apps.yml: |\n").unwrap();
    let settings = settings.split("---").next().unwrap();
    assert_accepted(file, settings, "/run/secrets/wechat/");

    // The example is accepted once it is uncommented.
    let file = "packaging/apps.yml";
    let page = read(file);
    let (_, settings) = page.split_once("\n#apps:").expect("an example");
    let settings = format!("apps:{}", settings.replace("\n#", "\n"));
    let settings = settings.replace("secret_credential: secrets_", "secret_file: /run/secrets/");
    assert_accepted(file, &settings, "/run/secrets/");
}

#[test]
fn each_flag_and_metric_of_the_docs_exists() {
    let help = ["--help", "demo --help", "check --help"].map(|arguments| {
        let arguments: Vec<_> = arguments.split(' ').collect();
        text(&run(&arguments).stdout)
    });
    let help = help.concat();
    let metrics: BTreeSet<&str> = families::ALL.iter().map(|family| family.name).collect();
    let is_of_word = |c: char| c.is_ascii_alphanumeric() || "_:/-.".contains(c);
    let (mut flags, mut named) = (0, 0);
    for file in documentation() {
        let page = read(&file);
        for word in page.split(|c| !is_of_word(c)) {
            let word = word.trim_end_matches(['.', ':']);
            // The exporter's flags contain a dot, or belong to `check`; the rest are cargo's, or lines of tables.
            if word.starts_with("--") && word.contains('.') {
                assert!(help.contains(word), "{} names {word}", file.display());
                flags += 1;
            }
            // Names of recording rules and files, and prefixes of names.
            let is_other = word.contains([':', '.', '/', '-']) || word.ends_with('_');
            if word.starts_with("wechat_logistics_") && !is_other {
                let suffixes = ["_bucket", "_sum", "_count"];
                let base = suffixes.iter().find_map(|end| word.strip_suffix(end));
                let is_known = metrics.contains(word) || metrics.contains(base.unwrap_or_default());
                assert!(is_known, "{} names {word}", file.display());
                named += 1;
            }
        }
    }
    assert!(flags > 100 && named > 100, "{flags} flags, {named} metrics");
    for file in METRICS {
        let page = read(file);
        for name in &metrics {
            assert!(page.contains(&format!("`{name}`")), "{file}: {name}");
        }
    }
}

/// Returns what is in backticks in each row of the table that contains this text: names, flags and values.
fn code_of_rows<'a>(page: &'a str, text: &str) -> Vec<BTreeSet<&'a str>> {
    let mut tables = page.split("\n\n").filter(|block| block.starts_with('|'));
    let table = tables.find(|table| table.contains(text));
    let rows = table.unwrap_or_else(|| panic!("no table has {text}"));
    rows.lines()
        .skip(2)
        .map(|row| row.split('`').skip(1).step_by(2).collect())
        .collect()
}

#[test]
fn tables_of_both_languages_say_the_same() {
    for (files, text) in [
        (READMES, "| `wechat_logistics_up` |"),
        (METRICS, "| `wechat_logistics_account_quota` |"),
        (METRICS, "| `cause` |"),
        (CONFIGURATION, "| `--config.file` |"),
        (CONFIGURATION, "| `stable_token` |"),
        (OPERATION, "| `/metrics` |"),
        (OPERATION, "40164"),
    ] {
        let [english, chinese] = files.map(read);
        assert_eq!(code_of_rows(&english, text), code_of_rows(&chinese, text));
    }
}

#[tokio::test]
async fn job_for_the_exporter_itself_asks_for_all_that_is_its_own_and_costs_no_call() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let exporter = Exporter::for_one_app(&scratch, &wechat, &[]);
    let [english, chinese] = OPERATION.map(read);
    let [asked_for, also] = [&english, &chinese].map(|page| {
        let job = page.split("- job_name: wechat-logistics-exporter\n").nth(1);
        let names = job.and_then(|job| job.split("\"name[]\":\n").nth(1));
        let names = names.expect("the job's names").lines();
        let names = names.map_while(|line| line.trim().strip_prefix("- "));
        names.collect::<BTreeSet<_>>()
    });
    assert_eq!(asked_for, also);
    let query: String = asked_for
        .iter()
        .map(|name| format!("name[]={name}&"))
        .collect();
    let job = exporter.get(&format!("/metrics?{query}")).await.body;
    assert_eq!(wechat.token_and_list_calls().await, (0, 0));

    let is_own = |name: &&str| {
        name.starts_with("process_") || name.starts_with("wechat_logistics_exporter_")
    };
    let types = |page| {
        let lines = str::lines(page).filter_map(|line| line.strip_prefix("# TYPE "));
        let names = lines.filter_map(|line| line.split(' ').next());
        names.filter(is_own).collect::<BTreeSet<_>>()
    };
    let page = exporter.scrape().await.0;
    let own = types(&page);
    assert_eq!(types(&job), own);
    // Some families have no series here.
    let families = families::ALL.iter().map(|family| family.name);
    let all: BTreeSet<&str> = own.into_iter().chain(families.filter(is_own)).collect();
    assert_eq!(asked_for, all);
}

#[test]
fn runbooks_run_check_with_what_the_examples_mount() {
    for (example, texts) in [
        (
            "examples/systemd/wechat-logistics-exporter.service",
            &[
                "DynamicUser=yes",
                "LoadCredential=secrets:/etc/wechat-logistics-exporter/secrets",
                "--config.file=/etc/wechat-logistics-exporter/apps.yml",
            ][..],
        ),
        (
            "examples/kubernetes.yaml",
            &["--wechat.secret-file=/run/secrets/wechat/appsecret"],
        ),
        (
            "compose.yaml",
            &["--config.file=/etc/wechat-logistics-exporter/apps.yml"],
        ),
    ] {
        for file in [example, "docs/runbook.md", "docs/runbook.zh-CN.md"] {
            let content = read(file);
            for text in texts {
                assert!(content.contains(text), "{file} without {text}");
            }
        }
    }
}
