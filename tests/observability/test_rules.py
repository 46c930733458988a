"""Rules: valid, documented in both languages, and each alert with a firing and a silent case."""

import collections
import json
import re
import subprocess
import unittest

import yaml

import shipped

CHINESE = re.compile(r"[\u4e00-\u9fff]")


def cases():
    """{alert: [(eval_time, whether it fires)]} as the rule tests state them."""
    found = collections.defaultdict(list)
    for path in shipped.RULE_TESTS:
        for test in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]:
            for case in test["promql_expr_test"]:
                if alert := re.search(r'ALERTS\{alertname="(\w+)"', case["expr"]):
                    found[alert[1]].append((case["eval_time"], bool(case.get("exp_samples"))))
    return found


def promtool(*arguments):
    return subprocess.run([shipped.program("promtool"), *map(str, arguments)], capture_output=True, text=True)


class Rules(unittest.TestCase):
    def test_promtool_accepts_them(self):
        check = promtool("check", "rules", *shipped.RULES)
        self.assertEqual(check.returncode, 0, check.stdout + check.stderr)
        self.assertNotIn("duplicate", check.stdout)

    def test_the_example_configuration_loads_them(self):
        check = promtool("check", "config", shipped.ROOT / "prometheus/prometheus.yml")
        self.assertEqual(check.returncode, 0, check.stdout + check.stderr)
        self.assertIn(f"{len(shipped.RULES)} rule files found", check.stdout)

    def test_each_case_holds(self):
        run = promtool("test", "rules", *shipped.RULE_TESTS)
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)

    def test_each_alert_has_a_firing_and_a_silent_case(self):
        found = cases()
        for alert in shipped.alerts():
            kinds = {fires for _, fires in found[alert["alert"]]}
            self.assertEqual(kinds, {True, False}, alert["alert"])

    def test_each_metric_named_exists(self):
        known = shipped.exported_names() | shipped.recorded_names()
        for rule in shipped.rules():
            self.assertLessEqual(shipped.names_in(str(rule["expr"])), known, rule)

    def test_each_recorded_series_is_read_somewhere(self):
        text = " ".join(str(rule["expr"]) for rule in shipped.rules())
        text += " ".join(query for _, dashboard in shipped.dashboards() for _, query in shipped.queries(dashboard))
        for name in shipped.recorded_names():
            self.assertRegex(text, rf"\b{name}\b(?!:)", name)

    def test_each_alert_is_explained_in_both_languages_and_in_the_runbooks(self):
        for alert in shipped.alerts():
            name, annotations = alert["alert"], alert["annotations"]
            self.assertIn(alert["labels"]["severity"], {"critical", "warning", "info"}, name)
            for key in ("summary", "description"):
                self.assertTrue(annotations[key].strip(), name)
                self.assertIsNone(CHINESE.search(annotations[key]), f"{name}: {key} is not English")
                self.assertIsNotNone(CHINESE.search(annotations[f"{key}_zh"]), f"{name}: {key}_zh is not Chinese")
            self.assertTrue(annotations["runbook_url"].endswith(f"docs/runbook.md#{name.lower()}"), name)
            self.assertTrue(annotations["runbook_url_zh"].endswith(f"docs/runbook.zh-CN.md#{name.lower()}"), name)
        for runbook in ("docs/runbook.md", "docs/runbook.zh-CN.md"):
            text = (shipped.ROOT / runbook).read_text(encoding="utf-8")
            chapters = re.findall(r"^## (WechatLogistics\w+)$", text, re.MULTILINE)
            self.assertEqual(chapters, [alert["alert"] for alert in shipped.alerts()], runbook)

    def test_the_runbooks_name_the_couriers_of_the_table(self):
        table = (shipped.ROOT / "src/wechat/courier.rs").read_text(encoding="utf-8")
        for runbook in ("docs/runbook.md", "docs/runbook.zh-CN.md"):
            introduction = (shipped.ROOT / runbook).read_text(encoding="utf-8").split("\n## ")[0]
            franchise, direct = re.findall(r"[A-Z]{2,}(?:(?:, | and |、)[A-Z]{2,})+", introduction)
            for kind, named in (("franchise", franchise), ("direct", direct)):
                listed = re.findall(rf'^    {kind}\(\s*"([A-Z]+)"', table, re.MULTILINE)
                self.assertEqual(re.findall(r"[A-Z]{2,}", named), listed, f"{runbook}: {kind}")

    def test_annotations_render(self):
        # promtool shows the rendered annotations of what fires where nothing is expected to.
        for path in shipped.RULE_TESTS:
            suite = yaml.safe_load(path.read_text(encoding="utf-8"))
            suite["rule_files"] = [str(rules) for rules in shipped.RULES]
            wanted = set()
            for test in suite["tests"]:
                test["alert_rule_test"] = []
                for case in test.pop("promql_expr_test"):
                    alert = re.search(r'ALERTS\{alertname="(\w+)"', case["expr"])
                    if alert and case.get("exp_samples"):
                        test["alert_rule_test"].append({"alertname": alert[1], "eval_time": case["eval_time"], "exp_alerts": []})
                        wanted.add(alert[1])
            with shipped.temporary_file(yaml.safe_dump(suite, allow_unicode=True)) as file:
                shown = promtool("test", "rules", file)
            text = shown.stdout + shown.stderr
            for name in wanted:
                self.assertRegex(text, rf'alertname="?{name}|{name}', path.name)
            self.assertIn("summary_zh", text)
            for fault in ("error expanding", "<no value>", "{{", "%!"):
                self.assertNotIn(fault, text, path.name)


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
        config = yaml.safe_load((shipped.ROOT / "alertmanager/alertmanager.yml").read_text(encoding="utf-8"))
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
        config = yaml.safe_load((shipped.ROOT / "alertmanager/alertmanager.yml").read_text(encoding="utf-8"))
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

    def test_yaml_of_the_compose_file_and_the_provisioning_names_files_that_exist(self):
        compose = yaml.safe_load((shipped.ROOT / "compose.yaml").read_text(encoding="utf-8"))
        self.assertLessEqual({"exporter", "prometheus", "alertmanager", "grafana"}, set(compose["services"]))
        for service in compose["services"].values():
            for volume in service.get("volumes", []):
                source = volume.split(":")[0]
                if source.startswith("."):
                    self.assertTrue((shipped.ROOT / source).exists(), volume)
                else:
                    self.assertIn(source, compose["volumes"])
        dashboards = yaml.safe_load((shipped.ROOT / "grafana/provisioning/dashboards/wechat-logistics.yml").read_text(encoding="utf-8"))
        mounted = dashboards["providers"][0]["options"]["path"]
        self.assertIn(f"./grafana/dashboards:{mounted}:ro", compose["services"]["grafana"]["volumes"])
        datasource = yaml.safe_load((shipped.ROOT / "grafana/provisioning/datasources/prometheus.yml").read_text(encoding="utf-8"))
        self.assertEqual(datasource["datasources"][0]["url"], "http://prometheus:9090")

    def test_kubernetes_examples_mount_what_they_have_and_select_what_they_run(self):
        for path in sorted((shipped.ROOT / "examples").glob("kubernetes*.yaml")):
            documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
            kinds = {document["kind"]: document for document in documents}
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

    def test_compose_understands_its_file(self):
        for command in (["docker-compose"], ["docker", "compose"]):
            try:
                if subprocess.run([*command, "version"], capture_output=True).returncode == 0:
                    break
            except FileNotFoundError:
                continue
        else:
            self.fail("no docker-compose: apt-get install docker-compose")
        check = subprocess.run([*command, "-f", shipped.ROOT / "compose.yaml", "--profile", "dingtalk", "config", "--quiet"], capture_output=True, text=True)
        self.assertEqual(check.returncode, 0, check.stderr)


if __name__ == "__main__":
    unittest.main()
