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
CHOSEN = {"job": ".+", "instance": ".+", "appid": ".+", "delivery_id": ".+", "biz_id": ".+"}
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


class Figures(unittest.TestCase):
    """What panels show for given series, with the shipped rules or without."""

    dashboards = {path.stem: dashboard for path, dashboard in shipped.dashboards() if path.parent.name == "en"}

    def first_query(self, name, title, **chosen):
        """The first query of a panel, with these variables chosen, and with all that there is of the others."""
        query = next(panel["targets"][0]["expr"] for panel in self.dashboards[name]["panels"] if panel["title"] == title)
        for variable, value in (CHOSEN | chosen).items():
            query = query.replace(f"${variable}", value)
        return query

    def assert_shown(self, series, shown, when, rules=shipped.RULES):
        """shown: (query, {labels: value})"""
        samples = [{"expr": query, "eval_time": when, "exp_samples": [{"labels": labels, "value": value} for labels, value in expected.items()]} for query, expected in shown]
        suite = {
            "rule_files": [str(path) for path in rules],
            "evaluation_interval": "1m",
            "group_eval_order": shipped.load(shipped.RULE_TESTS[0])["group_eval_order"] if rules else [],
            "tests": [{"interval": "1m", "input_series": [{"series": name, "values": values} for name, values in series.items()], "promql_expr_test": samples}],
        }
        with shipped.temporary_file(json.dumps(suite)) as path:
            test = subprocess.run([shipped.program("promtool"), "test", "rules", path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.assertEqual(test.returncode, 0, test.stdout)

    def test_nobody_is_told_to_top_up_an_account_with_a_threshold_of_0(self):
        series = {
            'wechat_logistics_up{job="w", instance="a", appid="wx1"}': "1x40",
            'wechat_logistics_app_info{job="w", instance="a", appid="wx1", name="shop"}': "1x40",
            'wechat_logistics:quota_threshold{appid="wx1", delivery_id="YTO", biz_id="unused"}': "0x40",
        }
        for account in ("used", "unused"):
            labels = f'job="w", instance="a", appid="wx1", delivery_id="YTO", biz_id="{account}"'
            series |= {
                f"wechat_logistics_account_quota{{{labels}}}": "0x40",
                f"wechat_logistics_account_status_code{{{labels}}}": "0x40",
                f'wechat_logistics_account_info{{{labels}, delivery_name="圆通速递", network="franchise", alias=""}}': "1x40",
                # More than a day ago: the clock begins at 0.
                f"wechat_logistics_account_quota_update_timestamp_seconds{{{labels}}}": "-90000x40",
            }

        def accounts(title):
            return f"count by (biz_id) ({self.first_query('overview', title)})"

        def to_do(account):
            return self.first_query("account", "To do", appid="wx1", delivery_id="YTO", biz_id=account)

        used = {'{biz_id="used"}': 1}
        both = used | {'{biz_id="unused"}': 1}
        empty, tables = self.first_query("overview", "Empty now"), ("Lowest balances", "Accounts in trouble")
        self.assert_shown(
            series,
            [
                (empty, {"{}": 1}),
                *((accounts(title), used) for title in (*tables, "What runs out first")),
                (f"max by (biz_id) ({to_do('used')})", {'{biz_id="used"}': 0}),
                (to_do("unused"), {}),
            ],
            "30m",
        )
        self.assert_shown(series, [(empty, {"{}": 2}), *((accounts(title), both) for title in tables)], "30m", rules=[])

    def test_data_counts_as_old_when_the_alert_says_so(self):
        series = {'wechat_logistics:fetch_interval_seconds{appid="slow"}': "600x60"}
        # Both are read every ten minutes; the settings say so of one.
        for app in ("slow", "late"):
            labels = f'job="w", instance="a", appid="{app}"'
            series |= {
                f"wechat_logistics_up{{{labels}}}": "1x60",
                f"wechat_logistics_min_interval_seconds{{{labels}}}": "60x60",
                f"wechat_logistics_snapshot_timestamp_seconds{{{labels}}}": "0x9 600x9 1200x9 1800x9 2400x9 3000x9",
            }
        old = self.first_query("overview", "Apps without fresh data")
        self.assert_shown(series, [(old, {"{}": 1}), ("count(wechat_logistics:stale_apps)", {"{}": 1})], "58m")
        self.assert_shown(series, [(old, {"{}": 2})], "58m", rules=[])
