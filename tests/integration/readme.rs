//! The README is true: its settings are accepted, its flags exist, and its tables are whole.

use std::collections::BTreeSet;

use wechat_logistics_exporter::exposition::family;

use crate::support::*;

fn readme() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap()
}

#[test]
fn settings_of_the_readme_are_accepted_as_they_stand() {
    let readme = readme();
    let example = readme
        .split("```yaml\n")
        .filter_map(|block| block.split("```").next())
        .find(|block| block.starts_with("apps:"))
        .expect("the README shows a configuration file");
    let scratch = Scratch::new();
    for name in ["main", "h", "seven"] {
        scratch.write(name, "X-Api-Secret: canary");
    }
    let settings = example.replace(
        "/run/secrets/",
        &format!("{}/", scratch.dir.path().display()),
    );
    let file = scratch
        .write("exporter.yml", &settings)
        .display()
        .to_string();
    let output = run(&["check", "--config-only", "--config.file", &file]);
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
}

#[test]
fn each_flag_of_the_readme_exists() {
    let help = ["--help", "demo --help", "check --help"].map(|arguments| {
        let arguments: Vec<_> = arguments.split(' ').collect();
        String::from_utf8(run(&arguments).stdout).unwrap()
    });
    let help = help.concat();
    let mut flags = 0;
    for file in [
        "README.md",
        "README.zh-CN.md",
        "docs/cloud-run.md",
        "docs/cloud-run.zh-CN.md",
        "docs/replicas.md",
        "docs/replicas.zh-CN.md",
        "docs/runbook.md",
        "docs/runbook.zh-CN.md",
        "examples/kubernetes.yaml",
        "examples/systemd/wechat-logistics-exporter.service",
        "examples/web-config.yml",
    ] {
        let text =
            std::fs::read_to_string(format!("{}/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap();
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
fn each_metric_is_in_the_table() {
    let readme = readme();
    for family in family::ALL {
        assert!(
            readme.contains(&format!("`{}`", family.name)),
            "{} is not in the README",
            family.name
        );
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
    let readme = readme();
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
        .chain(family::ALL.iter().map(|family| family.name))
        .filter(is_own)
        .collect();
    assert_eq!(asked_for, all);
    let chinese = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.zh-CN.md"));
    assert_eq!(names_of_the_job(&chinese.unwrap()), all);
}

/// The families of a page.
fn types(page: &str) -> impl Iterator<Item = &str> {
    page.lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
}

#[test]
fn runbooks_run_check_with_what_the_examples_mount() {
    let read = |file: &str| {
        std::fs::read_to_string(format!("{}/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    };
    for (example, texts) in [
        (
            "examples/systemd/wechat-logistics-exporter.service",
            &[
                "DynamicUser=yes",
                "LoadCredential=appsecret:/etc/wechat-logistics-exporter/appsecret",
                "/usr/local/bin/wechat-logistics-exporter",
                "--wechat.secret-credential=appsecret",
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
