#!/usr/bin/env python3
"""The chain on one machine: exporter, Prometheus with the shipped rules, Alertmanager, and a webhook that must get
the low-balance alert: after some ten seconds, or on a busy machine within three minutes.

    chain.py path/to/wechat-logistics-exporter

Everything listens on free ports of loopback and ends with this script. The rules are the shipped ones but for their
pace: evaluated each second, `for` cut to two seconds, and a threshold that the demo's balances are below.
"""

import contextlib
import http.server
import json
import pathlib
import queue
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import yaml

import shipped

# Limits for a busy machine; nothing waits longer than it must. Unit: seconds.
DEADLINE = 180
START = 90
ALERT = "WechatLogisticsBalanceLow"
THRESHOLD = 1000


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def running(name, command, directory):
    """A child that ends with the block: asked first, then killed, by its own id."""
    log_path = pathlib.Path(directory, f"{name}.log")
    with log_path.open("wb") as log, subprocess.Popen([str(part) for part in command], stdout=log, stderr=subprocess.STDOUT, cwd=directory) as child:
        try:
            yield
        except BaseException:
            print(f"--- the end of {name}'s log\n" + "\n".join(log_path.read_text(errors="replace").splitlines()[-15:]), file=sys.stderr)
            raise
        finally:
            child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(30)
            child.kill()


def answers(url):
    """Waits until the URL answers with success."""
    end = time.monotonic() + START
    while True:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=15):
            return
        if time.monotonic() > end:
            raise SystemExit(f"{url} does not answer")
        time.sleep(0.2)


def hurried_rules(directory):
    """The shipped rules at the pace of a test."""
    for path in shipped.RULES:
        content = shipped.load(path)
        for group in content["groups"]:
            group["interval"] = "1s"
            for rule in group["rules"]:
                if "for" in rule:
                    rule["for"] = "2s"
                if rule.get("record") == "wechat_logistics:quota_threshold":
                    rule["expr"] = f"vector({THRESHOLD})"
        pathlib.Path(directory, f"rules-{path.name}").write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")


def configure(directory, exporter, alertmanager, webhook):
    hurried_rules(directory)
    prometheus = {
        "global": {"scrape_interval": "3s", "scrape_timeout": "3s", "evaluation_interval": "1s"},
        "rule_files": ["rules-*.yml"],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]},
        "scrape_configs": [{"job_name": "wechat-logistics", "static_configs": [{"targets": [exporter]}]}],
    }
    example = shipped.load("alertmanager/alertmanager.yml")
    example["route"] |= {"group_wait": "1s", "group_interval": "1s"}
    for receiver in example["receivers"]:
        for hook in receiver["webhook_configs"]:
            hook["url"] = webhook
    for name, content in (("prometheus.yml", prometheus), ("alertmanager.yml", example)):
        pathlib.Path(directory, name).write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")


@contextlib.contextmanager
def webhook_listener():
    """(its URL, a queue of the alerts that it gets)"""
    arrived = queue.Queue()

    class Listener(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()
            for alert in body["alerts"]:
                arrived.put(alert)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listener) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/alerts", arrived
        server.shutdown()


def main():
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="waybill-chain-"))
        webhook, arrived = stack.enter_context(webhook_listener())
        exporter, prometheus, alertmanager = (f"127.0.0.1:{free_port()}" for _ in range(3))
        command = [pathlib.Path(sys.argv[1]).resolve(), "demo", f"--web.listen-address={exporter}"]
        stack.enter_context(running("exporter", command, directory))
        answers(f"http://{exporter}/-/ready")

        configure(directory, exporter, alertmanager, webhook)
        command = [shipped.program("prometheus-alertmanager", "alertmanager"), "--config.file=alertmanager.yml", "--storage.path=alertmanager",
                   f"--web.listen-address={alertmanager}", "--cluster.listen-address="]
        stack.enter_context(running("alertmanager", command, directory))
        answers(f"http://{alertmanager}/-/ready")
        start = time.monotonic()
        command = [shipped.program("prometheus"), "--config.file=prometheus.yml", "--storage.tsdb.path=prometheus", f"--web.listen-address={prometheus}"]
        stack.enter_context(running("prometheus", command, directory))
        answers(f"http://{prometheus}/-/ready")

        # Raises if nothing arrives in time.
        while alert := arrived.get(timeout=max(0, start + DEADLINE - time.monotonic())):
            if alert["labels"]["alertname"] == ALERT and alert["status"] == "firing":
                print(f"{ALERT} arrived after {time.monotonic() - start:.1f} s: {alert['annotations']['summary_zh']}")
                return


if __name__ == "__main__":
    main()
