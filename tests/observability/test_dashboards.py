"""Dashboards: generated, bilingual, and as grafana/dashboard-linter wants them (its rules by their names)."""

import itertools
import json
import re
import subprocess
import sys
import unittest

import shipped

# grafana/dashboards/.lint gives the reasons; here the same exceptions, for the rules below.
RECORDED = re.compile(r"wechat_logistics:")
SELECTOR = re.compile(r"(wechat_logistics[\w:]*)(\{[^}]*\})?")
UNITS = {"none", "s", "short", "percentunit"}
CHINESE = re.compile(r"[\u4e00-\u9fff]")


def visible_texts(value, key=""):
    """Texts that people read, with the key they stand under."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from visible_texts(item, name)
    elif isinstance(value, list):
        for item in value:
            yield from visible_texts(item, key)
    elif isinstance(value, str) and key in {"title", "description", "label", "text"}:
        yield value


def shape(value):
    """The structure without texts: what both languages must share."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in sorted(value.items()) if key not in {"renameByName"}}
    if isinstance(value, list):
        return [shape(item) for item in value]
    return "text" if isinstance(value, str) else value


class Source(unittest.TestCase):
    def test_the_committed_files_are_what_the_script_writes(self):
        check = subprocess.run([sys.executable, shipped.ROOT / "grafana/build.py", "--check"], capture_output=True, text=True)
        self.assertEqual(check.returncode, 0, check.stderr)

    def test_there_are_two_dashboards_in_two_languages(self):
        self.assertEqual([str(path.relative_to(shipped.ROOT / "grafana/dashboards")) for path in shipped.DASHBOARDS],
                         ["en/account.json", "en/overview.json", "zh/account.json", "zh/overview.json"])

    def test_languages_differ_in_texts_only(self):
        for name in ("overview", "account"):
            english, chinese = (json.loads((shipped.ROOT / f"grafana/dashboards/{language}/{name}.json").read_text(encoding="utf-8")) for language in shipped.LANGUAGES)
            self.assertEqual(shape(english), shape(chinese))
            self.assertEqual([query for _, query in shipped.queries(english)], [query for _, query in shipped.queries(chinese)])

    def test_each_language_is_spoken_throughout(self):
        for path, dashboard in shipped.dashboards():
            for text in visible_texts(dashboard):
                if path.parent.name == "en" and text != "中文":
                    self.assertIsNone(CHINESE.search(text), f"{path}: {text!r} is not English")
                elif path.parent.name == "zh" and text not in {"English", "All", ".+", "–"}:
                    self.assertIsNotNone(CHINESE.search(text), f"{path}: {text!r} is not Chinese")

    def test_both_link_to_each_other_and_to_the_other_language(self):
        uids = {dashboard["uid"] for _, dashboard in shipped.dashboards()}
        self.assertEqual(len(uids), 4)
        for path, dashboard in shipped.dashboards():
            targets = {link["url"].removeprefix("/d/").split("?")[0] for link in dashboard["links"]}
            self.assertEqual(len(targets & uids - {dashboard["uid"]}), 2, path)
            for link in dashboard["links"]:
                same = link["url"].startswith(f"/d/{dashboard['uid'].rsplit('-', 1)[0]}-")
                self.assertIs(link["includeVars"], same, "what is a regex in the overview is an id in the other")
            for uid in re.findall(r"/d/([\w-]+)", json.dumps(dashboard)):
                self.assertIn(uid, uids)


class Linter(unittest.TestCase):
    def setUp(self):
        self.dashboards = list(shipped.dashboards())
        self.assertTrue(self.dashboards)

    def each_panel(self):
        for path, dashboard in self.dashboards:
            for panel in shipped.panels(dashboard):
                yield f"{path.parent.name}/{path.stem}: {panel['title']}", panel

    def each_query(self):
        for path, dashboard in self.dashboards:
            for where, query in shipped.queries(dashboard):
                yield f"{path.parent.name}/{path.stem}: {where}", query

    def variable(self, dashboard, name):
        found = [v for v in dashboard["templating"]["list"] if v["name"] == name]
        self.assertEqual(len(found), 1, name)
        return found[0]

    def test_template_datasource_rule(self):
        for path, dashboard in self.dashboards:
            variable = self.variable(dashboard, "datasource")
            self.assertEqual((variable["type"], variable["query"]), ("datasource", "prometheus"))
            self.assertEqual(variable["label"], {"en": "Data Source", "zh": "数据源"}[path.parent.name])

    def test_template_job_rule_and_template_instance_rule(self):
        for _, dashboard in self.dashboards:
            for name in ("job", "instance"):
                variable = self.variable(dashboard, name)
                self.assertEqual(variable["type"], "query")
                self.assertEqual(variable["datasource"]["uid"], "${datasource}")
                self.assertTrue(variable["multi"])
                self.assertEqual(variable["allValue"], ".+")

    def test_the_other_variables_are_there(self):
        for _, dashboard in self.dashboards:
            for name in ("appid", "delivery_id", "biz_id"):
                self.variable(dashboard, name)

    def test_template_label_promql_rule(self):
        for _, dashboard in self.dashboards:
            for variable in dashboard["templating"]["list"]:
                if variable["type"] == "query":
                    self.assertRegex(variable["query"]["query"], r"^(label_values|query_result)\(.+\)$")
                    self.assertEqual(variable["query"]["query"], variable["definition"])

    def test_template_on_time_change_reload_rule(self):
        for _, dashboard in self.dashboards:
            for variable in dashboard["templating"]["list"]:
                if variable["type"] == "query":
                    self.assertEqual(variable["refresh"], 2, variable["name"])

    def test_panel_datasource_rule(self):
        for where, panel in self.each_panel():
            for item in [panel, *panel["targets"]]:
                self.assertEqual(item["datasource"], {"type": "prometheus", "uid": "${datasource}"}, where)

    def test_panel_title_description_rule(self):
        for where, panel in self.each_panel():
            self.assertTrue(panel["title"].strip(), where)
            self.assertGreater(len(panel["description"].strip()), 8, where)

    def test_panel_units_rule(self):
        for where, panel in self.each_panel():
            units = [panel["fieldConfig"]["defaults"]["unit"]]
            units += [p["value"] for o in panel["fieldConfig"]["overrides"] for p in o["properties"] if p["id"] == "unit"]
            for unit in units:
                self.assertTrue(unit in UNITS or unit.startswith("time:"), f"{where}: {unit}")

    def test_panel_no_targets_rule(self):
        for where, panel in self.each_panel():
            self.assertTrue(panel["targets"], where)
            self.assertTrue(all(target["expr"].strip() for target in panel["targets"]), where)

    def test_target_job_rule_and_target_instance_rule(self):
        for where, query in self.each_query():
            if where.endswith("variable job"):
                continue
            for name, matchers in SELECTOR.findall(shipped.STRING.sub(lambda m: m.group().replace("{", "(").replace("}", ")"), query)):
                self.assertIn('job=~"$job"', matchers, f"{where}: {name}")
                if RECORDED.match(name) or where.endswith("variable instance"):
                    self.assertNotIn("instance", matchers, f"{where}: {name}")
                else:
                    self.assertIn('instance=~"$instance"', matchers, f"{where}: {name}")

    def test_target_rate_interval_rule(self):
        for where, query in self.each_query():
            for function, window in re.findall(r"\b(rate|irate)\([^\[\]]*\[([^\]]+)\]", query):
                self.assertEqual(window, "$__rate_interval", f"{where}: {function}")

    def test_target_counter_agg_rule(self):
        for where, query in self.each_query():
            for name in shipped.names_in(query):
                if name.endswith("_total"):
                    self.assertRegex(query, rf"(rate|increase)\({name}\b", f"{where}: a counter is read as it stands")

    def test_target_promql_rule(self):
        # promtool 2.42 has no parser command; a rule file with the query in it makes it parse one.
        values = {"$__rate_interval": "5m", "$__interval": "1m", "$__range": "1h"}
        expressions = []
        for where, query in self.each_query():
            if "variable" in where:
                query = re.sub(r"^(label_values|query_result)\((.*?)(, *\w+)?\)$", r"\2", query)
            for name, value in values.items():
                query = query.replace(name, value)
            expressions.append(query)
        groups = {"groups": [{"name": "g", "rules": [{"record": f"q{i}", "expr": e} for i, e in enumerate(expressions)]}]}
        with shipped.temporary_file(json.dumps(groups)) as path:
            check = subprocess.run([shipped.program("promtool"), "check", "rules", path], capture_output=True, text=True)
        self.assertEqual(check.returncode, 0, check.stderr)

    def test_target_logql_rules(self):
        for where, panel in self.each_panel():
            self.assertEqual({target["datasource"]["type"] for target in panel["targets"]}, {"prometheus"}, where)

    def test_uneditable_dashboard_rule(self):
        for path, dashboard in self.dashboards:
            self.assertIs(dashboard["editable"], False, path)

    def test_exceptions_are_written_down_with_reasons(self):
        import yaml

        for language in shipped.LANGUAGES:
            exclusions = yaml.safe_load((shipped.ROOT / f"grafana/dashboards/{language}/.lint").read_text(encoding="utf-8"))["exclusions"]
            for rule, exclusion in exclusions.items():
                self.assertTrue(exclusion["reason"].strip(), rule)


class Content(unittest.TestCase):
    def test_each_metric_named_exists(self):
        known = shipped.exported_names() | shipped.recorded_names()
        for path, dashboard in shipped.dashboards():
            for where, query in shipped.queries(dashboard):
                self.assertLessEqual(shipped.names_in(query), known, f"{path.name}: {where}")

    def test_time_is_shanghais(self):
        for path, dashboard in shipped.dashboards():
            self.assertEqual(dashboard["timezone"], "Asia/Shanghai", path)

    def test_panels_do_not_overlap_and_fill_no_more_than_the_width(self):
        for path, dashboard in shipped.dashboards():
            boxes = [panel["gridPos"] | {"title": panel["title"]} for panel in shipped.panels(dashboard)]
            for box in boxes:
                self.assertLessEqual(box["x"] + box["w"], 24, path)
            for a, b in itertools.combinations(boxes, 2):
                apart = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"] or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
                self.assertTrue(apart, f"{path}: {a['title']} and {b['title']}")

    def test_tables_of_the_overview_are_cut_off(self):
        for path, dashboard in shipped.dashboards():
            if path.stem != "overview":
                continue
            for panel in shipped.panels(dashboard):
                if panel["type"] == "table":
                    for target in panel["targets"]:
                        self.assertRegex(target["expr"], r"\b(topk|bottomk)\b", f"{path}: {panel['title']} {target['refId']}")
                        self.assertTrue(target["instant"])

    def test_graphs_of_the_overview_read_no_series_of_single_accounts(self):
        single = re.compile(r"wechat_logistics[_:]account_")
        for path, dashboard in shipped.dashboards():
            if path.stem == "overview":
                for panel in shipped.panels(dashboard):
                    if panel["type"] != "table":
                        for target in panel["targets"]:
                            self.assertIsNone(single.search(target["expr"]), f"{path}: {panel['title']}")

    def test_the_overview_reads_no_single_counters_of_calls(self):
        # 84 for each app: a thousand apps are more than Prometheus takes into one query.
        for path, dashboard in shipped.dashboards():
            if path.stem == "overview":
                for where, query in shipped.queries(dashboard):
                    self.assertNotRegex(query, r"wechat_logistics_api_(requests|failures)_total", f"{path}: {where}")

    def test_one_account_is_matched_as_it_is_written(self):
        # Its ids can hold what means something in a regex; in the overview a regex is what is asked for.
        for path, dashboard in shipped.dashboards():
            operators = set()
            for _, query in shipped.queries(dashboard):
                operators |= set(re.findall(r'\b(?:appid|delivery_id|biz_id)(=~?)"\$', query))
            self.assertEqual(operators, {"="} if path.stem == "account" else {"=~"}, path)
            for field in re.findall(r"__data\.fields\.\w+(:?\w*)", json.dumps(dashboard)):
                self.assertEqual(field, ":percentencode", path)

    def test_each_trouble_that_the_rules_tell_apart_has_a_text_and_the_worst_stands_first(self):
        rule = next(rule for rule in shipped.rules() if rule.get("record") == "wechat_logistics:account_trouble")
        values = set(re.findall(r"^(\d) \*", rule["expr"], re.MULTILINE)) | {"1"}
        for path, dashboard in shipped.dashboards():
            for panel in shipped.panels(dashboard):
                if any("wechat_logistics:account_trouble" in target["expr"] for target in panel["targets"]):
                    self.assertTrue(panel["transformations"][-1]["options"]["sort"][0]["desc"], path)
                    mapped = [p["value"] for o in panel["fieldConfig"]["overrides"] for p in o["properties"] if p["id"] == "mappings"]
                    self.assertEqual(len(mapped), 2, path)
                    for [mapping] in mapped:
                        self.assertEqual(set(mapping["options"]), values, path)

    def test_counts_without_a_reading_are_not_green(self):
        for path, dashboard in shipped.dashboards():
            for panel in shipped.panels(dashboard):
                if any("wechat_logistics:accounts:count" in target["expr"] for target in panel["targets"]) and panel["type"] == "stat":
                    mappings = {m["options"].get("match"): m for m in panel["fieldConfig"]["defaults"]["mappings"]}
                    self.assertNotIn(mappings["null+nan"]["options"]["result"]["color"], {"green", "transparent"}, f"{path}: {panel['title']}")

    def test_each_override_matches_a_field(self):
        for path, dashboard in shipped.dashboards():
            for panel in shipped.panels(dashboard):
                if panel["type"] == "table":
                    organize = next(t for t in panel["transformations"] if t["id"] == "organize")["options"]
                    fields = set(organize["renameByName"].values()) | set(organize["indexByName"])
                else:
                    fields = {target.get("legendFormat", "") for target in panel["targets"]} | {"bound", "under_review", "failed", "unbound", "unknown", "empty", "out_in_24h", "out_in_72h", "low", "not_bound"}
                for override in panel["fieldConfig"]["overrides"]:
                    self.assertIn(override["matcher"]["options"], fields, f"{path}: {panel['title']}")


if __name__ == "__main__":
    unittest.main()
