"""Rules: valid, documented in both languages, each alert with a firing and a silent case; and the examples around them."""

import collections
import json
import re
import subprocess
import sys
import unittest
from concurrent.futures import ThreadPoolExecutor

import yaml

import shipped


def promtool(*arguments):
    return subprocess.run([shipped.program("promtool"), *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def of_each_suite(run):
    with ThreadPoolExecutor() as pool:
        return list(pool.map(run, shipped.RULE_TESTS))


class Rules(unittest.TestCase):
    def test_promtool_accepts_them_and_the_example_configuration_loads_them(self):
        for check in (promtool("check", "rules", *shipped.RULES), promtool("check", "config", shipped.ROOT / "prometheus/prometheus.yml")):
            self.assertEqual(check.returncode, 0, check.stdout)
            self.assertNotIn("duplicate", check.stdout)
        self.assertIn(f"{len(shipped.RULES)} rule files found", check.stdout)

    def test_no_series_ends_between_two_evaluations_and_no_use_is_counted_twice(self):
        for group in [group for path in shipped.RULES for group in shipped.load(path)["groups"]]:
            self.assertIn(group["interval"], {"1m", "2m", "4m"}, group["name"])
            for rule in group["rules"]:
                if over := re.search(r":decrease(\w+)$", rule.get("record", "")):
                    self.assertEqual(over[1], group["interval"], rule)
                    self.assertIn(f"offset {over[1]}", rule["expr"])

    def test_manifests_of_the_operator_are_what_the_script_writes(self):
        check = subprocess.run([sys.executable, shipped.ROOT / "prometheus/build.py", "--check"], capture_output=True, text=True)
        self.assertEqual(check.returncode, 0, check.stderr)

    def test_each_case_holds(self):
        for run in of_each_suite(lambda path: promtool("test", "rules", path)):
            self.assertEqual(run.returncode, 0, run.stdout)

    def test_each_alert_has_a_firing_and_a_silent_case(self):
        found = collections.defaultdict(set)
        for path in shipped.RULE_TESTS:
            for case in [case for test in shipped.load(path)["tests"] for case in test["promql_expr_test"]]:
                if alert := re.search(r'ALERTS\{alertname="(\w+)"', case["expr"]):
                    found[alert[1]].add(bool(case.get("exp_samples")))
        for alert in shipped.alerts():
            self.assertEqual(found[alert["alert"]], {True, False}, alert["alert"])

    def test_each_metric_named_exists_and_each_recorded_series_is_read_somewhere(self):
        read = " ".join([str(rule["expr"]) for rule in shipped.rules()] + [query for _, dashboard in shipped.dashboards() for _, query in shipped.queries(dashboard)])
        for rule in shipped.rules():
            self.assertLessEqual(shipped.names_in(str(rule["expr"])), shipped.known_names(), rule)
            if "record" in rule:
                self.assertRegex(read, rf"\b{rule['record']}\b(?!:)", rule["record"])

    def test_each_alert_is_explained_in_both_languages_and_in_the_runbooks(self):
        for alert in shipped.alerts():
            name, annotations = alert["alert"], alert["annotations"]
            self.assertIn(alert["labels"]["severity"], {"critical", "warning", "info"}, name)
            for key in ("summary", "description"):
                self.assertIsNone(shipped.CHINESE.search(annotations[key]), f"{name}: {key} is not English")
                self.assertIsNotNone(shipped.CHINESE.search(annotations[f"{key}_zh"]), f"{name}: {key}_zh is not Chinese")
            self.assertTrue(annotations["runbook_url"].endswith(f"docs/runbook.md#{name.lower()}"), name)
            self.assertTrue(annotations["runbook_url_zh"].endswith(f"docs/runbook.zh-CN.md#{name.lower()}"), name)
        for runbook in ("docs/runbook.md", "docs/runbook.zh-CN.md"):
            chapters = re.findall(r"^## (WechatLogistics\w+)$", (shipped.ROOT / runbook).read_text(encoding="utf-8"), re.MULTILINE)
            self.assertEqual(chapters, [alert["alert"] for alert in shipped.alerts()], runbook)

    def test_annotations_render(self):
        for text in of_each_suite(shown_annotations):
            self.assertIn("summary_zh", text)
            self.assertNotRegex(text, r"error expanding|<no value>|\{\{|%!")


def shown_annotations(path):
    """promtool shows the rendered annotations of what fires where nothing is expected to."""
    suite = shipped.load(path) | {"rule_files": [str(rules) for rules in shipped.RULES]}
    for test in suite["tests"]:
        firing = [case for case in test.pop("promql_expr_test") if case.get("exp_samples") and "ALERTS{" in case["expr"]]
        alerts = [(re.search(r'alertname="(\w+)"', case["expr"])[1], case["eval_time"]) for case in firing]
        test["alert_rule_test"] = [{"alertname": name, "eval_time": when, "exp_alerts": []} for name, when in alerts]
    with shipped.temporary_file(json.dumps(suite)) as file:
        return promtool("test", "rules", file).stdout


class Examples(unittest.TestCase):
    def test_alertmanager_accepts_its_configuration(self):
        check = subprocess.run([shipped.program("amtool"), "check-config", shipped.ROOT / "alertmanager/alertmanager.yml"], capture_output=True, text=True)
        self.assertEqual(check.returncode, 0, check.stdout + check.stderr)

    def test_the_chinese_template_shows_annotations_that_each_alert_has_and_no_english_ones(self):
        template = (shipped.ROOT / "alertmanager/dingtalk-template.tmpl").read_text(encoding="utf-8")
        shown = set(re.findall(r"\.Annotations\.(\w+)", template))
        self.assertEqual(shown, {"summary_zh", "description_zh", "runbook_url_zh"})
        for alert in shipped.alerts():
            self.assertLessEqual(shown, set(alert["annotations"]), alert["alert"])

    def test_inhibition_and_routes_name_alerts_and_severities_that_exist(self):
        config = shipped.load("alertmanager/alertmanager.yml")
        names = [alert["alert"] for alert in shipped.alerts()]
        severities = {alert["labels"]["severity"] for alert in shipped.alerts()}
        for rule in config["inhibit_rules"]:
            for matcher in rule["source_matchers"] + rule["target_matchers"]:
                label, operator, pattern = re.fullmatch(r'(alertname|reason)(=~?)"(.+)"', matcher).groups()
                if label == "reason":
                    pattern = f"WechatLogistics{pattern}"
                matched = [name for name in names if (name == pattern if operator == "=" else re.fullmatch(pattern, name))]
                self.assertTrue(matched, matcher)
        for route in config["route"]["routes"]:
            for matcher in route["matchers"]:
                self.assertIn(re.fullmatch(r'severity="(\w+)"', matcher)[1], severities)

    def test_what_many_apps_have_holds_back_the_alerts_of_single_apps(self):
        config = shipped.load("alertmanager/alertmanager.yml")
        many = next(alert for alert in shipped.alerts() if alert["alert"] == "WechatLogisticsManyAppsFailing")
        counted = re.findall(r'ALERTS\{alertname=~?"WechatLogistics\(?([\w|]+)\)?"', many["expr"])
        counted = {name for names in counted for name in names.split("|")} - {"ManyAppsFailing"}
        for name in counted:
            rule = {
                "source_matchers": ['alertname="WechatLogisticsManyAppsFailing"', f'reason="{name}"'],
                "target_matchers": [f'alertname="WechatLogistics{name}"'],
                "equal": ["job"],
            }
            self.assertIn(rule, config["inhibit_rules"])

    def test_dingtalk_accepts_a_message_about_any_number_of_alerts(self):
        for alert in shipped.alerts():
            texts = alert["annotations"] | {"runbook_url_zh": f"https://git.example.com/exporter/blob/main/{alert['annotations']['runbook_url_zh']}"}
            message = {"status": "firing", "alerts": [{"status": status, "annotations": texts} for status in ("firing", "resolved") for _ in range(1000)]}
            with shipped.temporary_file(json.dumps(message), ".json") as data:
                command = ["template", "render", f"--template.glob={shipped.ROOT / 'alertmanager/dingtalk-template.tmpl'}", f"--template.data={data}"]
                shown = subprocess.run([shipped.program("amtool"), *command, '--template.text={{ template "waybills.text" . }}'], capture_output=True)
            self.assertEqual(shown.returncode, 0, shown.stderr)
            self.assertLess(len(shown.stdout), 20_000, alert["alert"])
            self.assertEqual(shown.stdout.decode().count("另有 980 条未列出"), 2)

    def test_compose_understands_its_file_which_names_files_that_exist_as_the_provisioning_does(self):
        check = subprocess.run([shipped.program("docker-compose"), "-f", shipped.ROOT / "compose.yaml", "--profile", "dingtalk", "config", "--quiet"], capture_output=True, text=True)
        self.assertEqual(check.returncode, 0, check.stderr)
        compose = shipped.load("compose.yaml")
        self.assertLessEqual({"exporter", "prometheus", "alertmanager", "grafana"}, set(compose["services"]))
        for service in compose["services"].values():
            for volume in service.get("volumes", []):
                if volume.startswith("."):
                    self.assertTrue((shipped.ROOT / volume.split(":")[0]).exists(), volume)
        dashboards = shipped.load("grafana/provisioning/dashboards/wechat-logistics.yml")
        mounted = dashboards["providers"][0]["options"]["path"]
        self.assertIn(f"./grafana/dashboards:{mounted}:ro", compose["services"]["grafana"]["volumes"])
        datasource = shipped.load("grafana/provisioning/datasources/prometheus.yml")
        self.assertEqual(datasource["datasources"][0]["url"], "http://prometheus:9090")

    def test_kubernetes_examples_mount_what_they_have_and_select_what_they_run(self):
        for path in sorted((shipped.ROOT / "examples").glob("kubernetes*.yaml")):
            kinds = {document["kind"]: document for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))}
            deployment = kinds["Deployment"]["spec"]
            pod = deployment["template"]["spec"]
            volumes = {volume["name"]: volume for volume in pod["volumes"]}
            container = pod["containers"][0]
            self.assertEqual({mount["name"] for mount in container["volumeMounts"]}, set(volumes), path.name)
            for volume in volumes.values():
                for kind, key, name in (("ConfigMap", "configMap", "name"), ("PersistentVolumeClaim", "persistentVolumeClaim", "claimName")):
                    if key in volume:
                        self.assertEqual(volume[key][name], kinds[kind]["metadata"]["name"], path.name)
            labels = deployment["template"]["metadata"]["labels"]
            self.assertEqual(deployment["selector"]["matchLabels"], labels)
            self.assertEqual(kinds["Service"]["spec"]["selector"], labels)
            if "NetworkPolicy" in kinds:
                self.assertEqual(kinds["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"], labels)
            self.assertEqual(container["ports"], [{"name": "metrics", "containerPort": kinds["Service"]["spec"]["ports"][0]["port"]}])
