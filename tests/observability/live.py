#!/usr/bin/env python3
"""Asks a real Prometheus that scrapes the exporter (with the shipped rules) each query of each dashboard.

    live.py http://127.0.0.1:9090 [--page http://127.0.0.1:10086/metrics] [--slowest SECONDS] [--real]

A query must succeed, return data unless MAY_BE_EMPTY says why not, and stay under the time. The exporter is `demo`,
whose shops have every kind of trouble; --real is for real ones. --page compares the names on the exporter's page with
metrics.txt. Prometheus must have scraped for twelve minutes: burn rates need six, a top-up comes every ten.
"""

import argparse
import json
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import shipped

# Panel and query (as refId) that rightly have no data.
MAY_BE_EMPTY = {
    ("Apps: freshness and API budget", "D"): "no app fails",
    ("Failed fetches of this app, by reason", "A"): "no call of the app has failed",
}
# Of a real shop, where all may be well and options may be off.
MAY_BE_EMPTY_IF_REAL = {
    ("Apps: freshness and API budget", "F"): "WeChat's quota isn't queried by default",
    ("Daily calls left, tightest app", "B"): "WeChat's quota isn't queried by default",
    ("Accounts in trouble", "A"): "no account is in trouble",
    ("Accounts in trouble", "B"): "no account is in trouble",
    ("Accounts in trouble", "C"): "no account is in trouble",
    ("Balance and top-ups", "B"): "no top-up within the time shown",
}
# Replicas share nothing in the demo.
ONLY_WHERE_SHARED = {"wechat_logistics_exporter_shared_state_failures_total"}
ONLY_WHERE_SWITCHED_ON = ONLY_WHERE_SHARED | {"wechat_logistics_api_daily_limit", "wechat_logistics_api_daily_remaining"}


def ask(prometheus, path, **parameters):
    with urllib.request.urlopen(f"{prometheus}/api/v1/{path}?{urllib.parse.urlencode(parameters)}", timeout=60) as reply:
        return json.load(reply)["data"]


def fill(expr, account):
    values = {"$__rate_interval": "4m", "$__interval": "1m", "$__range": "1h", "$job": ".+", "$instance": ".+"} | account
    for name, value in values.items():
        expr = expr.replace(name, value)
    return expr


def an_account(prometheus):
    """The account that the account view is asked for: one that is used."""
    used = ask(prometheus, "query", query="topk(1, wechat_logistics:account_burn:per_day > 0)")["result"]
    if not used:
        raise SystemExit("no account with a burn rate: has Prometheus scraped for twelve minutes, with the rules?")
    labels = used[0]["metric"]
    return {f"${name}": labels[name].replace("\\", "\\\\").replace('"', '\\"') for name in ("appid", "delivery_id", "biz_id")}


def compare_page(url, may_miss):
    with urllib.request.urlopen(url, timeout=30) as reply:
        page = reply.read().decode()
    names = set(re.findall(r"^# TYPE (wechat_logistics_\w+)", page, re.MULTILINE))
    listed = shipped.exported_names()
    used = set().union(*(shipped.names_in(q) for _, d in shipped.dashboards() for _, q in shipped.queries(d)), *(shipped.names_in(str(r["expr"])) for r in shipped.rules()))
    missing = (used & listed) - names - may_miss
    for name in sorted(missing):
        print(f"named in a dashboard or rule, not on the page: {name}")
    for name in sorted(names - listed):
        print(f"note: on the page, not in metrics.txt: {name}")
    return missing


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("prometheus")
    parser.add_argument("--page")
    parser.add_argument("--slowest", type=float, default=2.0)
    parser.add_argument("--real", action="store_true", help="not the demo: nothing need be in trouble")
    options = parser.parse_args()
    may_be_empty = MAY_BE_EMPTY | (MAY_BE_EMPTY_IF_REAL if options.real else {})
    prometheus = options.prometheus.rstrip("/")

    faults, asked, slowest = 0, 0, 0.0
    everything = {"$appid": ".+", "$delivery_id": ".+", "$biz_id": ".+"}
    for path, dashboard in shipped.dashboards():
        if path.parent.name != "en":
            continue
        account = everything if path.stem == "overview" else an_account(prometheus)
        for panel in shipped.panels(dashboard):
            for target in panel["targets"]:
                now, begin = time.time(), time.monotonic()
                expr = fill(target["expr"], account)
                try:
                    if target.get("instant"):
                        result = ask(prometheus, "query", query=expr)["result"]
                    else:
                        result = ask(prometheus, "query_range", query=expr, start=now - 6 * 3600, end=now, step=60)["result"]
                except urllib.error.HTTPError as error:
                    print(f"{path.stem}: {panel['title']} {target['refId']}: {error.read().decode()}")
                    faults += 1
                    continue
                took = time.monotonic() - begin
                asked, slowest = asked + 1, max(slowest, took)
                if not result and (panel["title"], target["refId"]) not in may_be_empty:
                    print(f"{path.stem}: {panel['title']} {target['refId']}: no data: {expr}")
                    faults += 1
                if took > options.slowest:
                    print(f"{path.stem}: {panel['title']} {target['refId']}: took {took:.1f} s")
                    faults += 1
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                expr = re.sub(r"^(label_values|query_result)\((.*?)(, *\w+)?\)$", r"\2", variable["query"]["query"])
                if not ask(prometheus, "query", query=fill(expr, account))["result"]:
                    print(f"{path.stem}: variable {variable['name']} has no values")
                    faults += 1
    groups = ask(prometheus, "rules")["groups"]
    for group in groups:
        for rule in group["rules"]:
            if rule["health"] == "err":
                print(f"rule {rule['name']}: {rule['lastError']}")
                faults += 1
    if not groups:
        print("this Prometheus has no rules")
        faults += 1
    print(f"{asked} queries, the slowest took {slowest:.2f} s; {sum(len(g['rules']) for g in groups)} rules took {sum(g['evaluationTime'] for g in groups):.2f} s")
    if options.page:
        faults += len(compare_page(options.page, ONLY_WHERE_SWITCHED_ON if options.real else ONLY_WHERE_SHARED))
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
