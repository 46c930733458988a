#!/usr/bin/env python3
"""Inverts each comparison of each rule, one at a time, and requires that a case of prometheus/tests fails.

    mutate.py [NAME…]      only rules whose name contains one of these

Also drops each `for:`, and halves and doubles each setting. A change that no case notices is printed and makes the exit code 1. The cases that name the
changed rule are tried first, with no more rules than these need; only what they don't notice meets every case.
"""

import collections
import concurrent.futures
import copy
import functools
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import yaml

import shipped

INVERSE = {"==": "!=", "!=": "==", "<=": ">", ">=": "<", "<": ">=", ">": "<="}
# Strings and label matchers hold no comparison of values.
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|\{[^}]*\}|==|!=|<=|>=|<|>')


# Read once: YAML takes Python longer than promtool takes for the cases. It is written as JSON, which is YAML too.
SHIPPED = {path.name: yaml.safe_load(path.read_text(encoding="utf-8")) for path in shipped.RULES}
RULES = [rule for content in SHIPPED.values() for group in content["groups"] for rule in group["rules"]]
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
SUITES = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in shipped.RULE_TESTS]
ALERT = re.compile(r'alertname="(\w+)"')
ALERTS = [rule["alert"] for rule in RULES if "alert" in rule]
# Alerts that an expression reads, by name or by a pattern of names.
ALERTS_READ = re.compile(r'ALERTS\{[^}]*?alertname=~?"([^"]+)"')


def inversions(expr):
    """(what is changed, the expression with one comparison inverted)"""
    for token in TOKEN.finditer(expr):
        if token[0] in INVERSE:
            shown = " ".join(expr[max(0, token.start() - 50) : token.end() + 25].split())
            yield f"{token[0]} to {INVERSE[token[0]]} in … {shown} …", expr[: token.start()] + INVERSE[token[0]] + expr[token.end() :]


def mutants(names):
    for path in shipped.RULES:
        content = SHIPPED[path.name]
        for g, group in enumerate(content["groups"]):
            for r, rule in enumerate(group["rules"]):
                name = rule.get("alert") or rule["record"]
                if names and not any(wanted in name for wanted in names):
                    continue
                changes = [(what, {"expr": expr}) for what, expr in inversions(str(rule["expr"]))]
                if "for" in rule:
                    changes.append(("no for", {"for": "0s"}))
                if path.name == "settings.yml":
                    changes += [(f"times {factor}", {"expr": f"{factor} * {rule['expr']}"}) for factor in (0.5, 2)]
                for what, change in changes:
                    mutant = copy.deepcopy(content)
                    mutant["groups"][g]["rules"][r] |= change
                    yield name, what, path, mutant


def recorded_from(names):
    """The names and every recorded series and alert that they are computed from."""
    reads = collections.defaultdict(set)
    for rule in RULES:
        expr = str(rule["expr"])
        alerts = {alert for alert in ALERTS for name in ALERTS_READ.findall(expr) if re.fullmatch(name, alert)}
        reads[rule.get("alert") or rule["record"]] |= shipped.names_in(expr) & RECORDED | alerts
    found, new = set(), set(names)
    while new:
        found |= new
        new = set().union(*(reads[name] for name in new)) - found
    return found


def suites(name):
    """The cases about one rule, each file of prometheus/tests cut down to them: (the rules they need, the suites)"""
    needed = recorded_from({name})
    exprs = [str(rule["expr"]) for rule in RULES if (rule.get("alert") or rule["record"]) in needed]
    made = []
    for suite in copy.deepcopy(SUITES):
        for test in suite["tests"]:
            cases = test["promql_expr_test"]
            about = [set(ALERT.findall(case["expr"])) | shipped.names_in(case["expr"]) & RECORDED for case in cases]
            cases = [case for case, names in zip(cases, about) if name in names and names <= needed]
            test["promql_expr_test"] = cases
            words = set(re.findall(r"[\w:]+", " ".join(exprs + [case["expr"] for case in cases])))
            test["input_series"] = [series for series in test["input_series"] if series["series"].split("{")[0] in words]
        suite["tests"] = [test for test in suite["tests"] if test["promql_expr_test"]]
        if suite["tests"]:
            made.append(suite)
    return needed, made


def holds(rules, tests):
    """Whether every suite passes with these rules: {file name: content}"""
    with tempfile.TemporaryDirectory() as directory:
        for folder in ("rules", "tests"):
            pathlib.Path(directory, folder).mkdir()
        for name, content in rules.items():
            pathlib.Path(directory, "rules", name).write_text(json.dumps(content), encoding="utf-8")
        for number, suite in enumerate(tests):
            test = pathlib.Path(directory, "tests", f"{number}.yml")
            test.write_text(json.dumps(suite), encoding="utf-8")
            if subprocess.run([shipped.program("promtool"), "test", "rules", test], capture_output=True).returncode != 0:
                return False
    return True


def only(rules, names):
    """The rules with these names alone."""
    kept = copy.deepcopy(rules)
    for content in kept.values():
        for group in content["groups"]:
            group["rules"] = [rule for rule in group["rules"] if (rule.get("alert") or rule["record"]) in names]
        content["groups"] = [group for group in content["groups"] if group["rules"]]
    return kept


@functools.cache
def narrow(name):
    """What suites() gives, where its cases hold for the rule as it is; a failure then is the change's doing."""
    needed, tests = suites(name)
    return (needed, tests) if tests and holds(only(SHIPPED, needed), tests) else None


def readers(name):
    """The alerts that are computed from a rule, those of the fewest rules first."""
    return sorted((alert for alert in ALERTS if name in recorded_from({alert})), key=lambda alert: len(recorded_from({alert})))


def survives(mutant):
    name, what, changed, content = mutant
    rules = SHIPPED | {changed.name: content}
    for near in [name, *readers(name)]:
        if (cut := narrow(near)) and not holds(only(rules, cut[0]), cut[1]):
            return None
    # No case about the rule itself or an alert on it: then any.
    return f"{name}: {what}" if holds(rules, SUITES) else None


def main():
    every = list(mutants(sys.argv[1:]))
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        survivors = [what for what in pool.map(survives, every) if what]
    for what in survivors:
        print("no case notices:", what)
    print(f"{len(every)} changes, {len(every) - len(survivors)} noticed")
    return bool(survivors) or not every


if __name__ == "__main__":
    sys.exit(main())
