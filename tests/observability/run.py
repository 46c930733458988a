#!/usr/bin/env python3
"""All checks of dashboards, rules and examples.

    run.py                          what needs nothing but the repository
    run.py --mutate                 also inverts each comparison in the rules (minutes)
    run.py --schema                 also checks dashboards against Grafana's types (npm, python3-jsonschema)
    run.py --binary PATH            also the chain to a webhook, with `demo` of that binary
    run.py --exporter-url URL       the same with an exporter that runs already
    run.py --prometheus URL         also each dashboard query against that Prometheus

Debian's packages: prometheus prometheus-alertmanager python3-yaml docker-compose.
"""

import argparse
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutate", action="store_true")
    parser.add_argument("--schema", action="store_true")
    parser.add_argument("--binary")
    parser.add_argument("--exporter-url")
    parser.add_argument("--prometheus")
    options = parser.parse_args()

    checks = [["-m", "unittest", "discover", "-s", str(HERE), "-t", str(HERE)]]
    if options.mutate:
        checks.append([str(HERE / "mutate.py")])
    if options.schema:
        checks.append([str(HERE / "schema/check.py")])
    if options.binary:
        checks.append([str(HERE / "chain.py"), str(pathlib.Path(options.binary).resolve())])
    if options.exporter_url:
        checks.append([str(HERE / "chain.py"), "--exporter-url", options.exporter_url])
    if options.prometheus:
        checks.append([str(HERE / "live.py"), options.prometheus])
    failed = [check for check in checks if subprocess.run([sys.executable, *check], cwd=HERE).returncode]
    for check in failed:
        print("failed:", " ".join(check), file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
