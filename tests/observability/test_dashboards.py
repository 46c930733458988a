"""Dashboards: generated, in two languages, and read by what the exporter and the rules have."""

import itertools
import json
import re
import subprocess
import sys
import unittest

import shipped

# Grafana ignores a property that a panel doesn't have, without a word. hidden: before 12.2, hideFrom.viz: since then.
PROPERTIES = {"table": "links custom.align custom.cellOptions custom.hidden custom.hideFrom.viz custom.width", "timeseries": "custom.axisPlacement custom.drawStyle custom.fillOpacity custom.lineStyle custom.lineWidth custom.pointSize custom.showPoints"}
SELECTOR = re.compile(r"(wechat_logistics[\w:]*)(\{[^}]*\})?")


def texts(value, key=""):
    """Texts that people read."""
    if isinstance(value, dict):
        return [text for name, item in value.items() for text in texts(item, name)]
    if isinstance(value, list):
        return [text for item in value for text in texts(item, key)]
    return [value] if isinstance(value, str) and key in {"title", "description", "label", "text"} else []


def shape(value):
    """The structure without texts: what both languages share."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in sorted(value.items()) if key != "renameByName"}
    if isinstance(value, list):
        return [shape(item) for item in value]
    return "text" if isinstance(value, str) else value


def plain(query):
    """A query without Grafana's own words, as Prometheus parses it."""
    query = re.sub(r"^(label_values|query_result)\((.*?)(, *\w+)?\)$", r"\2", query)
    return query.replace("$__rate_interval", "5m").replace("$__interval", "1m")


class Dashboards(unittest.TestCase):
    dashboards = shipped.dashboards()

    def each_query(self):
        return [(f"{path}: {where}", query) for path, dashboard in self.dashboards for where, query in shipped.queries(dashboard)]

    def test_the_committed_files_are_what_the_script_writes(self):
        check = subprocess.run([sys.executable, shipped.ROOT / "grafana/build.py", "--check"], capture_output=True, text=True)
        self.assertEqual(check.returncode, 0, check.stderr)

    def test_languages_differ_in_texts_only_and_each_is_used_throughout(self):
        by_language = {}
        for path, dashboard in self.dashboards:
            by_language.setdefault(path.name, []).append(dashboard)
            for text in texts(dashboard):
                if path.parent.name == "en" and text != "中文":
                    self.assertIsNone(shipped.CHINESE.search(text), f"{path}: {text!r} is not English")
                elif path.parent.name == "zh" and text not in {"English", "All", ".+", "–"}:
                    self.assertIsNotNone(shipped.CHINESE.search(text), f"{path}: {text!r} is not Chinese")
        for english, chinese in by_language.values():
            self.assertEqual(shape(english), shape(chinese))
            self.assertEqual([query for _, query in shipped.queries(english)], [query for _, query in shipped.queries(chinese)])

    def test_links_lead_to_dashboards_that_exist(self):
        uids = {dashboard["uid"] for _, dashboard in self.dashboards}
        for path, dashboard in self.dashboards:
            for uid in re.findall(r"/d/([\w-]+)", json.dumps(dashboard)):
                self.assertIn(uid, uids)
            for field in re.findall(r"__data\.fields\.\w+(:?\w*)", json.dumps(dashboard)):
                self.assertEqual(field, ":percentencode", path)

    def test_prometheus_parses_each_query_and_each_metric_exists(self):
        known = shipped.known_names()
        rules = [{"record": f"q{number}", "expr": plain(query)} for number, (_, query) in enumerate(self.each_query())]
        with shipped.temporary_file(json.dumps({"groups": [{"name": "g", "rules": rules}]})) as path:
            check = subprocess.run([shipped.program("promtool"), "check", "rules", path], capture_output=True, text=True)
        self.assertEqual(check.returncode, 0, check.stderr)
        for where, query in self.each_query():
            self.assertLessEqual(shipped.names_in(query), known, where)

    def test_queries_keep_to_the_chosen_job_and_instance_where_there_is_one(self):
        for where, query in self.each_query():
            if where.endswith("variable job"):
                continue
            for name, matchers in SELECTOR.findall(shipped.STRING.sub(lambda m: m.group().replace("{", "(").replace("}", ")"), query)):
                self.assertIn('job=~"$job"', matchers, f"{where}: {name}")
                has_instance = ":" not in name and not where.endswith("variable instance")
                self.assertIs('instance=~"$instance"' in matchers, has_instance, f"{where}: {name}")

    def test_panels_say_what_they_show_and_do_not_overlap(self):
        for path, dashboard in self.dashboards:
            self.assertEqual((dashboard["editable"], dashboard["timezone"]), (False, "Asia/Shanghai"), path)
            for panel in dashboard["panels"]:
                self.assertTrue(panel["title"].strip() and panel["description"].strip() and panel["targets"], path)
                used = {item["id"] for rule in panel["fieldConfig"]["overrides"] for item in rule["properties"]}
                self.assertLessEqual(used, {*"color decimals displayName mappings noValue thresholds unit".split(), *PROPERTIES.get(panel["type"], "").split()})
                for item in [panel, *panel["targets"]]:
                    self.assertEqual(item["datasource"], {"type": "prometheus", "uid": "${datasource}"})
            for a, b in itertools.combinations([panel["gridPos"] | {"title": panel["title"]} for panel in dashboard["panels"]], 2):
                apart = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"] or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
                self.assertTrue(apart, f"{path}: {a['title']} and {b['title']}")

    def test_the_overview_costs_the_same_with_many_accounts(self):
        for path, dashboard in self.dashboards:
            for panel in dashboard["panels"] if path.stem == "overview" else []:
                for target in panel["targets"]:
                    where = f"{path}: {panel['title']} {target['refId']}"
                    if panel["type"] == "table":
                        self.assertRegex(target["expr"], r"\b(topk|bottomk)\b", where)
                        self.assertTrue(target["instant"], where)
                    elif panel["type"] == "timeseries":
                        self.assertNotRegex(target["expr"], r"wechat_logistics[_:]account_|api_failures_total", where)

    def test_what_needs_no_rules_reads_no_recorded_series(self):
        for path, dashboard in self.dashboards:
            for panel in dashboard["panels"] if path.parts[-2:] == ("en", "overview.json") else []:
                needs = any("wechat_logistics:" in target["expr"] for target in panel["targets"])
                self.assertIs("recording rules" in panel["description"], needs, panel["title"])

    def test_a_count_without_a_reading_is_not_green(self):
        for path, dashboard in self.dashboards:
            for panel in dashboard["panels"] if path.stem == "overview" else []:
                if panel["type"] == "stat":
                    shown = [m for m in panel["fieldConfig"]["defaults"]["mappings"] if m["options"].get("match") == "null+nan"]
                    self.assertNotIn(shown[0]["options"]["result"]["color"], {"green", "transparent"}, f"{path}: {panel['title']}")
