#!/usr/bin/env python3
"""A row in a table has its document, and a parser has its fuzz target.

Errors (src/base/err.h) stand in docs/errors.md, settings (src/api/settings.c) in docs/config.md,
routes (the tables of src/api) in docs/openapi.json, and every function of a header whose name says
that it reads text from outside is called by a target in tests/fuzz. Prints what is missing; exits 1.
"""
import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
NOTES = re.compile(r"/\*.*?\*/|//[^\n]*", re.S)
ERROR_ROW = re.compile(r'\bX\((\w+),\s*(\d+),\s*"(\w+)",\s*(\d+),\s*"(\w+)"')
SETTING_ROW = re.compile(r'(?:\{|\b[A-Z]\()\s*"([a-z0-9_]+)",\s*(?:CONF_|\1,)')
ROUTE_ROW = re.compile(r'"(GET|POST|PUT|PATCH|DELETE)"\s*,\s*(?:\.path\s*=\s*)?((?:V0_MOUNT|"[^"]*"|\s)+),')
PARSER = re.compile(r"\b(\w+_(?:parse|decode|decode_query)|json_read)\s*\([^;{]*\)\s*;")

# Rows that no document lists: not a failure, or never on the wire.
ERRORS_INSIDE = {"NONE", "USAGE"}
# Readers of text that only the operator writes.
PARSERS_INSIDE = {"log_level_parse"}


def read(name):
    """The text of a file, empty when it is absent."""
    path = ROOT / name
    return path.read_text() if path.is_file() else ""


def code_of(folder, suffix):
    """The text of all files of a folder with that suffix, without comments."""
    return "\n".join(NOTES.sub(" ", p.read_text()) for p in sorted((ROOT / folder).rglob("*" + suffix)))


def check_errors():
    """Every row of the error table has both its codes and statuses in docs/errors.md."""
    page = read("docs/errors.md")
    rows = ERROR_ROW.findall(read("src/base/err.h"))
    if not rows:
        yield "src/base/err.h: no row found in ERR_TABLE"
    for name, status, code, v0_status, v0_code in rows:
        lines = [line for line in page.splitlines() if code in line or v0_code in line]
        for want_code, want_status in sorted({(code, status), (v0_code, v0_status)}):
            if name not in ERRORS_INSIDE and \
                    not any(want_code in line and want_status in line for line in lines):
                yield f"docs/errors.md: {name} ({want_status} {want_code}) is missing"


def check_settings():
    """Every row of the settings table is in docs/config.md, with its environment name."""
    page = read("docs/config.md")
    rows = SETTING_ROW.findall(code_of("src/api", "settings.c"))
    if not rows:
        yield "src/api/settings.c: no row found in the settings table"
    for key in rows:
        if f"TESSERA_{key.upper()}" not in page:
            yield f"docs/config.md: setting '{key}' is missing"


def routes():
    """(method, path) of every route row below src/api."""
    for method, text in ROUTE_ROW.findall(code_of("src/api", ".c")):
        parts = re.findall(r'V0_MOUNT|"[^"]*"', text)
        mount = re.search(r'#define V0_MOUNT "([^"]*)"', read("src/api/route.h"))
        yield method, "".join(mount.group(1) if p == "V0_MOUNT" else p.strip('"') for p in parts)


def check_routes():
    """Every route is an operation of docs/openapi.json, and has a sentence of its own there."""
    paths = json.loads(read("docs/openapi.json") or "{}").get("paths", {})
    found = list(routes())
    if not found:
        yield "src/api: no route row found"
    for method, path in found:
        operation = paths.get(path, paths.get(path.rstrip("/") or "/", {})).get(method.lower())
        if operation is None:
            yield f"docs/openapi.json: {method} {path} is missing"
        elif not operation.get("summary"):
            yield f"docs/openapi.json: {method} {path} has no summary"


def check_parsers():
    """Every reader of text from outside is called by a fuzz target."""
    targets = code_of("tests/fuzz", ".c")
    for name in sorted(set(PARSER.findall(code_of("src", ".h"))) - PARSERS_INSIDE):
        if not re.search(rf"\b{name}\s*\(", targets):
            yield f"tests/fuzz: no target calls {name}"


def main():
    """Run the four checks."""
    found = [*check_errors(), *check_settings(), *check_routes(), *check_parsers()]
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
