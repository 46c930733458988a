//! Dashboards: what their panels show for given series, with the shipped rules and without.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::root;

const VARIABLES: [&str; 5] = ["job", "instance", "appid", "delivery_id", "biz_id"];

/// Returns the first query of a panel, with the variables that the case sets.
fn query(case: &Value) -> String {
    let [dashboard, title] = [0, 1].map(|index| case["panel"][index].as_str().unwrap());
    let path = root().join(format!("grafana/dashboards/en/{dashboard}.json"));
    let dashboard: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let mut panels = dashboard["panels"].as_array().unwrap().iter();
    let panel = panels.find(|panel| panel["title"] == title).unwrap();
    let query = panel["targets"][0]["expr"].as_str().unwrap().to_owned();
    VARIABLES.iter().fold(query, |query, name| {
        let value = case["variables"][name].as_str().unwrap_or(".+");
        query.replace(&format!("${name}"), value)
    })
}

#[test]
fn panels_show_what_the_cases_say() {
    let cases = fs::read_to_string(root().join("tests/data/panels.yml")).unwrap();
    let mut cases: Value = serde_saphyr::from_str(&cases).unwrap();
    let rules = fs::read_dir(root().join("prometheus/rules")).unwrap();
    let rules: Vec<_> = rules.map(|file| json!(file.unwrap().path())).collect();
    for (name, rule_files) in [("with_rules", &rules[..]), ("without_rules", &[])] {
        for test in cases[name].as_array_mut().unwrap() {
            for case in test["promql_expr_test"].as_array_mut().unwrap() {
                if case["panel"].is_array() {
                    let within = case["within"].as_str().unwrap_or("PANEL");
                    let expr = within.replace("PANEL", &query(case));
                    let (when, expected) = (&case["eval_time"], &case["exp_samples"]);
                    *case = json!({"expr": expr, "eval_time": when, "exp_samples": expected});
                }
            }
        }
        let suite =
            json!({"rule_files": rule_files, "evaluation_interval": "1m", "tests": cases[name]});
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), suite.to_string()).unwrap();
        let mut promtool = Command::new("promtool");
        let run = promtool
            .args(["test", "rules"])
            .arg(file.path())
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&run.stderr);
        assert!(run.status.success(), "{name}: {told}");
    }
}
