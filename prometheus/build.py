#!/usr/bin/env python3
"""Writes the alert rules as PrometheusRules of the Prometheus Operator; --check only compares.

A PrometheusRule is a rule file below `spec`: comments and order stay, and settings are edited in their own object.
"""

import pathlib
import sys
import textwrap

ROOT = pathlib.Path(__file__).resolve().parents[1]
MANIFEST = ROOT / "examples/prometheus-operator/prometheusrule.yaml"
HEADER = "# Written by prometheus/build.py from prometheus/rules.\n"
RULE = """\
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: wechat-logistics-{name}
spec:
{rules}"""


def manifest():
    files = sorted((ROOT / "prometheus/rules").glob("*.yml"))
    texts = {file.stem: textwrap.indent(file.read_text(encoding="utf-8"), "  ") for file in files}
    return HEADER + "---\n".join(RULE.format(name=name, rules=text) for name, text in texts.items())


if __name__ == "__main__":
    if "--check" not in sys.argv[1:]:
        MANIFEST.write_text(manifest(), encoding="utf-8")
    elif MANIFEST.read_text(encoding="utf-8") != manifest():
        sys.exit(f"{MANIFEST} is not what prometheus/build.py writes")
