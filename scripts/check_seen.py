#!/usr/bin/env python3
"""Which documented replies no API test has seen: each route's success, and 400, 401, 403, 404, 409,
412 and 422 where the document has them. The random requests of test_schema_fuzz.py do not count.
Not asked for on each route: a 400 for what is no HTTP (test_http_hardening.py), and a 409 for a row
that another request changed between the read and the write of this one.

    scripts/check_seen.py docs/openapi.json SEEN_DIR

SEEN_DIR holds what the test processes wrote: lists of [method, path template, status].
"""
import json
import pathlib
import sys

WANTED = {"400", "401", "403", "404", "409", "412", "422"}
OF_ANY_ROUTE = {("400", "bad_request"), ("409", "conflict")}
# Only between the look at a password or link and the change, so nothing that a test can arrange.
RACES = {("POST", "/v1/me/password", 409), ("POST", "/v1/password-resets/confirm", 409)}


def documented(document):
    """Every (method, template, status) that a test has to show."""
    for template, item in document["paths"].items():
        for method, operation in item.items():
            for status, response in operation["responses"].items():
                is_told = (status, response.get("description")) not in OF_ANY_ROUTE
                if is_told and (status in WANTED or status.startswith("2")):
                    yield method.upper(), template, int(status)


def main():
    """Print what is missing; the exit status is 1 when anything is."""
    document = json.loads(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))
    seen = {tuple(reply) for path in pathlib.Path(sys.argv[2]).glob("*.json")
            for reply in json.loads(path.read_text(encoding="utf-8"))}
    wanted = sorted(set(documented(document)), key=lambda r: (r[1], r[0], r[2]))
    missing = [reply for reply in wanted if reply not in seen | RACES]
    for method, template, status in missing:
        print(f"no test saw {method} {template} answer {status}")
    print(f"{len(wanted) - len(missing)} of {len(wanted)} documented replies were seen")
    return 1 if missing or not seen else 0


if __name__ == "__main__":
    sys.exit(main())
