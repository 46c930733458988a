"""The files under test and how they are read."""

import contextlib
import json
import pathlib
import re
import shutil
import tempfile

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
RULES = sorted((ROOT / "prometheus/rules").glob("*.yml"))
RULE_TESTS = sorted((ROOT / "prometheus/tests").glob("*_test.yml"))
DASHBOARDS = sorted((ROOT / "grafana/dashboards").glob("*/*.json"))
CHINESE = re.compile(r"[\u4e00-\u9fff]")
NAME = re.compile(r"\bwechat_logistics[\w:]*")
STRING = re.compile(r'"(?:[^"\\]|\\.)*"')


def program(*names):
    """The first of these that is installed; Debian calls Alertmanager prometheus-alertmanager."""
    for name in names:
        if found := shutil.which(name):
            return found
    raise SystemExit(f"{names[0]} is missing: apt-get install prometheus prometheus-alertmanager")


def load(path):
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def rules():
    return [rule for path in RULES for group in load(path)["groups"] for rule in group["rules"]]


def alerts():
    return [rule for rule in rules() if "alert" in rule]


def known_names():
    """The metrics of the documentation, to which the exporter's own tests hold it, and those that the rules record."""
    documented = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    return names_in(documented) | {rule["record"] for rule in rules() if "record" in rule}


def names_in(expr):
    """The project's metrics in a query; strings (label values) are not names."""
    return set(NAME.findall(STRING.sub('""', expr)))


def dashboards():
    return [(path, json.loads(path.read_text(encoding="utf-8"))) for path in DASHBOARDS]


def queries(dashboard):
    """(where, query) of panels, variables and annotations."""
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield f"panel {panel['title']!r} {target['refId']}", target["expr"]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield f"variable {variable['name']}", variable["query"]["query"]
    for annotation in dashboard["annotations"]["list"]:
        yield f"annotation {annotation['name']!r}", annotation["target"]["expr"]


@contextlib.contextmanager
def temporary_file(text, suffix=".yml"):
    with tempfile.NamedTemporaryFile("w", suffix=suffix, encoding="utf-8") as file:
        file.write(text)
        file.flush()
        yield file.name
