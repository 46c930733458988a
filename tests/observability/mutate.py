#!/usr/bin/env python3
"""Inverts each comparison of each rule, one at a time, and requires that a case of prometheus/tests fails.

    mutate.py [NAME…]      only rules whose name contains one of these; all take some minutes

Also drops each `for:`. A change that no case notices is printed and makes the exit code 1.
"""

import concurrent.futures
import copy
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


def inversions(expr):
    """(what is changed, the expression with one comparison inverted)"""
    for token in TOKEN.finditer(expr):
        if token[0] in INVERSE:
            shown = " ".join(expr[max(0, token.start() - 50) : token.end() + 25].split())
            yield f"{token[0]} to {INVERSE[token[0]]} in … {shown} …", expr[: token.start()] + INVERSE[token[0]] + expr[token.end() :]


def mutants(names):
    for path in shipped.RULES:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        for g, group in enumerate(content["groups"]):
            for r, rule in enumerate(group["rules"]):
                name = rule.get("alert") or rule["record"]
                if names and not any(wanted in name for wanted in names):
                    continue
                changes = [(what, {"expr": expr}) for what, expr in inversions(str(rule["expr"]))]
                if "for" in rule:
                    changes.append(("no for", {"for": "0s"}))
                for what, change in changes:
                    mutant = copy.deepcopy(content)
                    mutant["groups"][g]["rules"][r] |= change
                    yield name, what, path, mutant


def survives(mutant):
    name, what, changed, content = mutant
    with tempfile.TemporaryDirectory() as directory:
        rules = pathlib.Path(directory, "rules")
        rules.mkdir()
        for path in shipped.RULES:
            text = yaml.safe_dump(content, allow_unicode=True) if path == changed else path.read_text(encoding="utf-8")
            (rules / path.name).write_text(text, encoding="utf-8")
        tests = pathlib.Path(directory, "tests")
        tests.mkdir()
        # The file that speaks of the rule first, then the quick ones.
        texts = {path: path.read_text(encoding="utf-8") for path in shipped.RULE_TESTS}
        for path in sorted(texts, key=lambda path: (name not in texts[path], len(texts[path]))):
            copied = tests / path.name
            copied.write_text(texts[path], encoding="utf-8")
            if subprocess.run([shipped.program("promtool"), "test", "rules", copied], capture_output=True).returncode != 0:
                return None
    return f"{name}: {what}"


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
