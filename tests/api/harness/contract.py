"""Every reply of the server, held against the server's own /openapi.json.

A reply fails when its path, method, status or content type is not documented, when its body is
not valid JSON without repeated keys, or when it breaks the schema (OpenAPI 3.1, JSON Schema
2020-12). What no document can list is allowed by name: 404 for a path that does not exist and 405
for a method that a path does not have.
"""

import json
import re
from datetime import datetime

import jsonschema

FORMATS = jsonschema.FormatChecker(["uuid", "ipv4", "ipv6"])


@FORMATS.checks("date-time", raises=ValueError)
def is_date_time(value):
    """RFC 3339 in UTC with Z, the only form this server writes."""
    if not isinstance(value, str):
        return True
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z", value):
        raise ValueError("not RFC 3339 with Z")
    datetime.fromisoformat(value[:-1])
    return True


def refuse_repeats(pairs):
    """object_pairs_hook: a dict, or an error for a repeated key."""
    found = dict(pairs)
    assert len(found) == len(pairs), f"repeated key in {pairs}"
    return found


def strict_json(text):
    def refuse(word):
        raise AssertionError(f"{word} is not JSON")
    return json.loads(text, object_pairs_hook=refuse_repeats, parse_constant=refuse)


class Contract:
    """The checks of one OpenAPI document."""

    def __init__(self, document):
        self.document = document
        self.resolver = jsonschema.RefResolver("", document)
        self.validators = {}
        self.seen = set()
        self.routes = []
        for template, item in document["paths"].items():
            # A literal segment beats a parameter: /tickets/bulk before /tickets/{id}.
            pattern = re.sub(r"\\\{[^/]+?\\\}", "[^/]+", re.escape(template))
            self.routes.append((template.count("{"), re.compile(pattern), template, item))
        self.routes.sort(key=lambda r: r[0])

    def deref(self, node):
        while "$ref" in node:
            node = self.resolver.resolve(node["$ref"])[1]
        return node

    def find(self, path):
        """(template, path item) of a request path, or (None, None)."""
        for _, pattern, template, item in self.routes:
            if pattern.fullmatch(path):
                return template, item
        # A mount's root is documented once and answers with and without a slash at its end.
        return self.find(path[:-1]) if path.endswith("/") and len(path) > 1 else (None, None)

    def operations(self):
        """Every (method, template, operation)."""
        for template, item in self.document["paths"].items():
            for method, operation in item.items():
                if method in ("get", "post", "put", "patch", "delete", "head", "options"):
                    yield method.upper(), template, operation

    def response(self, operation, status):
        """The documented response of a status, or None."""
        replies = operation["responses"]
        for key in (str(status), f"{status // 100}XX", "default"):
            if key in replies:
                return self.deref(replies[key])
        return None

    def check(self, method, path, status, content_type, body):
        """Fail unless this reply is documented."""
        where = f"{method} {path} -> {status}"
        template, item = self.find(path)
        operation = (item or {}).get(method.lower())
        if method in ("HEAD", "OPTIONS"):
            return
        if operation is None:
            wanted = 405 if item else 404
            assert status in (wanted, 401, 403, 429), f"{where}: not in /openapi.json"
            strict_json(body)
            return
        self.seen.add((method, template, status))
        response = self.response(operation, status)
        assert response is not None, f"{where}: status not documented for {template}"
        content = response.get("content") or {}
        if not content:
            assert not body, f"{where}: a body where none is documented: {body[:200]!r}"
            return
        media = (content_type or "").split(";")[0].strip().lower()
        if "*/*" in content:
            return
        assert media in content, f"{where}: content type {content_type!r} is not documented"
        if media.endswith("json") and not media.endswith("ndjson"):
            self.check_schema(where, (method, template, status, media), content[media], body)

    def check_schema(self, where, key, media_type, body):
        value = strict_json(body)
        if key not in self.validators:
            self.validators[key] = jsonschema.Draft202012Validator(
                media_type.get("schema", True), resolver=self.resolver, format_checker=FORMATS)
        error = jsonschema.exceptions.best_match(self.validators[key].iter_errors(value))
        assert error is None, (f"{where}: breaks its schema at /"
                               f"{'/'.join(map(str, error.absolute_path))}: {error.message}")
