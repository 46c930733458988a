#!/usr/bin/env python3
"""Checks the dashboards against JSON Schemas made from Grafana's own published types (@grafana/schema).

Needs npm (with its registry) and python3-jsonschema. The schemas are made once, in a folder given by SCHEMA_WORK or
a temporary one.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import jsonschema

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import shipped  # noqa: E402

TYPES = ("DashboardFile", "StatOptions", "TimeseriesOptions", "TimeseriesCustom", "TableOptions", "TableCustom")


def make_schemas(work):
    for name in ("package.json", "package-lock.json", "tsconfig.json", "types.ts"):
        shutil.copy(HERE / name, work)
    subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"], cwd=work, check=True)
    for name in TYPES:
        command = ["npx", "ts-json-schema-generator", "--tsconfig", "tsconfig.json", "--path", "types.ts", "--type", name, "--no-type-check", "-o", f"{name}.schema.json"]
        subprocess.run(command, cwd=work, check=True)


def faults(schema, value, where):
    for error in jsonschema.Draft7Validator(schema).iter_errors(value):
        while error.context:
            error = max(error.context, key=lambda e: len(e.absolute_path))
        yield f"{where}/{'/'.join(map(str, error.absolute_path))}: {error.message[:200]}"


def dashboard_faults(schemas, path, dashboard):
    for variable in dashboard["templating"]["list"]:
        variable.pop("definition", None)  # Grafana writes it, its types don't have it.
    for annotation in dashboard["annotations"]["list"]:
        annotation.pop("target", None)  # Typed for Grafana's own data source only, as its comment says.
    where = f"{path.parent.name}/{path.stem}"
    yield from faults(schemas["DashboardFile"], dashboard, where)
    for panel in shipped.panels(dashboard):
        kind = panel["type"].capitalize()
        yield from faults(schemas[f"{kind}Options"], panel["options"], f"{where}: {panel['title']}: options")
        if f"{kind}Custom" in schemas:
            custom = panel["fieldConfig"]["defaults"].get("custom", {})
            yield from faults(schemas[f"{kind}Custom"], custom, f"{where}: {panel['title']}: custom")
            for override in panel["fieldConfig"]["overrides"]:
                custom = {p["id"].removeprefix("custom."): p["value"] for p in override["properties"] if p["id"].startswith("custom.")}
                yield from faults(schemas[f"{kind}Custom"], custom, f"{where}: {panel['title']}: override {override['matcher']['options']}")


def main():
    with tempfile.TemporaryDirectory() as temporary:
        work = pathlib.Path(os.environ.get("SCHEMA_WORK", temporary))
        work.mkdir(parents=True, exist_ok=True)
        if not (work / f"{TYPES[-1]}.schema.json").exists():
            make_schemas(work)
        schemas = {name: json.loads((work / f"{name}.schema.json").read_text(encoding="utf-8")) for name in TYPES}
    found = [fault for path, dashboard in shipped.dashboards() for fault in dashboard_faults(schemas, path, dashboard)]
    # A schema that accepts anything would prove nothing.
    if not list(faults(schemas["DashboardFile"], {"panels": 7}, "")) or not list(faults(schemas["TableCustom"], {"width": "wide"}, "")):
        found.append("the schemas accept nonsense")
    print("\n".join(found) if found else f"{len(shipped.DASHBOARDS)} dashboards agree with Grafana's types")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
