//! README and docs are true: their settings are accepted, their flags exist, and their tables are whole.

use std::collections::BTreeSet;

use wechat_logistics_exporter::exposition::families;

use crate::support::*;

const READMES: [&str; 2] = ["README.md", "README.zh-CN.md"];
const CONFIGURATION: [&str; 2] = ["docs/configuration.md", "docs/configuration.zh-CN.md"];
const METRICS: [&str; 2] = ["docs/metrics.md", "docs/metrics.zh-CN.md"];
const OPERATION: [&str; 2] = ["docs/operation.md", "docs/operation.zh-CN.md"];
const MIGRATION: [&str; 2] = ["docs/migration.md", "docs/migration.zh-CN.md"];

fn read(file: &str) -> String {
    std::fs::read_to_string(format!("{}/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// Lets `check` read settings whose secrets stand in a folder, all of which are made.
fn assert_accepted(settings: &str, folder: &str) {
    let scratch = Scratch::new();
    for rest in settings.split(folder).skip(1) {
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
        scratch.write(&rest[..end.unwrap_or(rest.len())], "X-Api-Secret: canary");
    }
    let settings = settings.replace(folder, &format!("{}/", scratch.dir.path().display()));
    let file = scratch
        .write("exporter.yml", &settings)
        .display()
        .to_string();
    let output = run(&["check", "--config-only", "--config.file", &file]);
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
}

#[test]
fn settings_of_the_docs_are_accepted_as_they_stand() {
    for file in READMES.into_iter().chain(CONFIGURATION).chain(MIGRATION) {
        let readme = read(file);
        let example = readme
            .split("```yaml\n")
            .filter_map(|block| block.split("```").next())
            .find(|block| block.starts_with("apps:"));
        let example = example.unwrap_or_else(|| panic!("{file} shows no configuration file"));
        assert_accepted(example, "/run/secrets/");
    }
}

#[test]
fn settings_of_the_kubernetes_example_are_accepted_as_they_stand() {
    let example = read("examples/kubernetes-agency.yaml");
    let block = example.split("  apps.yml: |\n").nth(1).unwrap();
    assert_accepted(block.split("---").next().unwrap(), "/run/secrets/wechat/");
}

#[test]
fn settings_of_the_package_are_accepted_once_they_are_uncommented() {
    let settings = read("packaging/apps.yml");
    let (_, settings) = settings.split_once("\n#apps:").expect("an example");
    let settings = format!("apps:{}", settings.replace("\n#", "\n"));
    let settings = settings.replace("secret_credential: secrets_", "secret_file: /run/secrets/");
    assert_accepted(&settings, "/run/secrets/");
}

#[test]
fn each_flag_of_the_docs_exists() {
    let help = ["--help", "demo --help", "check --help"].map(|arguments| {
        let arguments: Vec<_> = arguments.split(' ').collect();
        String::from_utf8(run(&arguments).stdout).unwrap()
    });
    let help = help.concat();
    let mut flags = 0;
    let named = READMES
        .into_iter()
        .chain(CONFIGURATION)
        .chain(METRICS)
        .chain(OPERATION);
    for file in named.chain([
        "docs/cloud-run.md",
        "docs/cloud-run.zh-CN.md",
        "docs/compatibility.md",
        "docs/compatibility.zh-CN.md",
        "docs/replicas.md",
        "docs/replicas.zh-CN.md",
        "docs/runbook.md",
        "docs/runbook.zh-CN.md",
        "examples/kubernetes.yaml",
        "examples/kubernetes-agency.yaml",
        "examples/systemd/wechat-logistics-exporter.service",
        "examples/web-config.yml",
    ]) {
        let text = read(file);
        for (at, _) in text.match_indices("--") {
            let rest = &text[at..];
            let end = rest
                .find(|c: char| !(c.is_ascii_alphanumeric() || "-.".contains(c)))
                .unwrap_or(rest.len());
            let flag = rest[..end].trim_end_matches('.');
            // Ours have a dot or stand in `check`; the rest are cargo's, or lines of tables.
            if flag.contains('.') {
                assert!(
                    help.contains(flag),
                    "{file} names {flag}, which does not exist"
                );
                flags += 1;
            }
        }
    }
    assert!(flags > 30, "{flags}");
}

#[test]
fn each_metric_is_in_the_tables() {
    for file in METRICS {
        let table = read(file);
        for family in families::ALL {
            let name = family.name;
            assert!(table.contains(&format!("`{name}`")), "{file}: {name}");
        }
    }
}

/// What stands in backticks in each row of the table that has this text: names, flags and values.
fn code_of_rows<'a>(readme: &'a str, text: &str) -> Vec<BTreeSet<&'a str>> {
    let table = readme
        .split("\n\n")
        .find(|block| block.starts_with('|') && block.contains(text))
        .unwrap_or_else(|| panic!("no table has {text}"));
    let rows = table.lines().skip(2);
    rows.map(|row| row.split('`').skip(1).step_by(2).collect())
        .collect()
}

#[test]
fn tables_of_both_languages_say_the_same() {
    for (files, texts) in [
        (READMES, &["| `wechat_logistics_up` |"][..]),
        (
            METRICS,
            &["| `wechat_logistics_account_quota` |", "| `cause` |"],
        ),
        (
            CONFIGURATION,
            &["| `--config.file` |", "| `stable_token` |"],
        ),
        (OPERATION, &["| `/metrics` |", "40164"]),
    ] {
        let [english, chinese] = files.map(read);
        for text in texts {
            assert_eq!(code_of_rows(&english, text), code_of_rows(&chinese, text));
        }
    }
}

/// The names that the job for the exporter itself asks for.
fn names_of_the_job(readme: &str) -> BTreeSet<&str> {
    let (_, job) = readme
        .split_once("- job_name: wechat-logistics-exporter\n")
        .expect("the README shows such a job");
    let (_, names) = job.split_once("\"name[]\":\n").expect("the job's names");
    let names = names
        .lines()
        .map_while(|line| line.trim().strip_prefix("- "));
    names.collect()
}

#[tokio::test]
async fn job_for_the_exporter_itself_asks_for_all_that_is_its_own_and_costs_no_call() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let exporter = Exporter::for_one_app(&scratch, &wechat, &[]);
    let readme = read(OPERATION[0]);
    let asked_for = names_of_the_job(&readme);
    let query: Vec<_> = asked_for
        .iter()
        .map(|name| format!("name[]={name}"))
        .collect();
    let job = exporter.get(&format!("/metrics?{}", query.join("&"))).await;
    assert_eq!(wechat.token_and_list_calls().await, (0, 0));

    let page = exporter.scrape().await;
    let is_own = |name: &&str| {
        name.starts_with("process_") || name.starts_with("wechat_logistics_exporter_")
    };
    let own: BTreeSet<&str> = types(&page.0).filter(is_own).collect();
    assert_eq!(types(&job.body).collect::<BTreeSet<_>>(), own);
    // Some have no series here.
    let own = own.into_iter();
    let all: BTreeSet<&str> = own
        .chain(families::ALL.iter().map(|family| family.name))
        .filter(is_own)
        .collect();
    assert_eq!(asked_for, all);
    assert_eq!(names_of_the_job(&read(OPERATION[1])), all);
}

/// The families of a page.
fn types(page: &str) -> impl Iterator<Item = &str> {
    page.lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
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
