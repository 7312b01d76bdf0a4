"""Requests made from the server's own /openapi.json: good ones, nearly good ones and bad ones.

For every operation: no answer is a failure (5xx), every answer keeps its schema, what the schema
of a request allows is not refused as malformed, and what it forbids is not accepted.
"""

import json
import random
import time
import uuid
from datetime import datetime, timedelta, timezone
from urllib.parse import quote

import jsonschema
from harness.contract import FORMATS, Contract
from harness.server import V0

from workers import Connection

LETTERS = "abc XYZ 019 _-/\\\"'<>&%{}[]äßЖ漢\u0301\u200f😀"
OWN = 20
CALMER = 0.55           # how many requests are left as their schema wants them


class Maker:
    """Values from schemas."""

    def __init__(self, contract, dice):
        self.contract, self.dice = contract, dice

    def value(self, schema, depth=0):
        schema = self.contract.deref(schema)
        dice = self.dice
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return dice.choice(schema["enum"])
        for word in ("oneOf", "anyOf"):
            if word in schema:
                return self.value(dice.choice(schema[word]), depth)
        kind = schema.get("type", "object")
        if isinstance(kind, list):
            kind = dice.choice(kind)
        return getattr(self, "make_" + kind)(schema, depth)

    def make_null(self, _schema, _depth):
        return None

    def make_boolean(self, _schema, _depth):
        return self.dice.random() < 0.5

    def make_integer(self, schema, _depth):
        low, high = schema.get("minimum", -2**53), schema.get("maximum", 2**53)
        return self.dice.choice((low, high, self.dice.randint(low, high)))

    def make_number(self, _schema, _depth):
        return self.dice.choice((0, -1.5, 1e300, 5e-324, 91.563, self.dice.random()))

    def make_string(self, schema, _depth):
        dice = self.dice
        if schema.get("format") == "uuid":
            return str(uuid.UUID(int=dice.getrandbits(128)))
        if schema.get("format") == "date-time":
            at = datetime(2020, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=dice.randint(0, 3e8))
            return at.strftime("%Y-%m-%dT%H:%M:%SZ")
        low, high = schema.get("minLength", 0), schema.get("maxLength", 100)
        size = dice.choice((low, min(high, 2000), dice.randint(low, min(high, 60))))
        return "".join(dice.choice(LETTERS) for _ in range(size)).strip().ljust(size, "x")

    def make_array(self, schema, depth):
        low = schema.get("minItems", 0)
        size = self.dice.randint(low, min(schema.get("maxItems", 5), low + 4))
        return [self.value(schema.get("items", {"type": "string"}), depth + 1)
                for _ in range(size)]

    def make_object(self, schema, depth):
        made, required = {}, schema.get("required", [])
        for name, part in schema.get("properties", {}).items():
            if name in required or self.dice.random() < 0.6:
                made[name] = self.value(part, depth + 1)
        if not schema.get("properties") and depth < 5:
            for _ in range(self.dice.randint(0, 4)):
                made[self.make_string({"maxLength": 8}, 0)] = self.anything(depth + 1)
        return made

    def anything(self, depth=0):
        kinds = ["null", "boolean", "integer", "number", "string"]
        kinds += ["array", "object"] if depth < 5 else []
        kind = self.dice.choice(kinds)
        return getattr(self, "make_" + kind)({"items": {"type": "string"}, "maxItems": 3}, depth)

    def spoil(self, value):
        """A copy with one thing changed somewhere."""
        dice = self.dice
        if isinstance(value, dict) and value and dice.random() < 0.85:
            value, name = dict(value), dice.choice(list(value))
            what = dice.randrange(4)
            if what == 0:
                del value[name]
            elif what == 1:
                value[self.make_string({"maxLength": 8}, 0)] = self.anything()
            else:
                value[name] = self.spoil(value[name])
            return value
        if isinstance(value, list) and value and dice.random() < 0.7:
            value = list(value)
            value[dice.randrange(len(value))] = self.spoil(dice.choice(value))
            return value
        if isinstance(value, str) and dice.random() < 0.5:
            return value + dice.choice(("", "\n", "\u0000", "\ufffd", "x" * 600, "\U0010ffff"))
        return self.anything()


def is_per_item(text):
    """Whether the answer tells of refused items: a bulk call succeeds as a whole."""
    body = json.loads(text) if text.startswith("{") else {}
    items = body.get("data") if isinstance(body.get("data"), list) else []
    return any("error" in item for item in items)


class SchemaFuzz:
    """One run over all operations with a token of its own."""

    def __init__(self, server, document, token, seed):
        self.dice = random.Random(seed)
        self.contract = Contract(document)
        self.maker = Maker(self.contract, self.dice)
        self.connection = Connection(server, token)
        self.operations = list(self.contract.operations())
        self.own = []
        self.problems = {}      # (method, path, status, kind): the first of its kind
        self.requests = self.good = 0
        self.statuses = {}

    def run(self, seconds):
        """Ask until the time is over; returns what is wrong."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if len(self.own) < OWN or self.dice.random() < 0.01:
                self.refill()
            method, template, operation = self.dice.choice(self.operations)
            self.one(method, template, operation)
        unseen = [f"{m} {t}" for m, t, _ in self.operations
                  if not any(key[:2] == (m, t) for key in self.statuses)]
        if unseen:
            self.problems["unseen"] = f"never asked: {unseen}"
        return self.problems.values()

    def refill(self):
        _, _, text = self.connection.ask("POST", V0 + "/tickets", {"title": "subject"})
        self.own = self.own[-OWN:] + [json.loads(text)["ticket"]["id"]]

    def parameters(self, operation, path):
        """(path with its parameters and query, headers, whether all are as their schemas want)."""
        is_good, query, headers = True, [], {}
        for parameter in map(self.contract.deref, operation.get("parameters", [])):
            name, where = parameter["name"], parameter["in"]
            if where != "path" and not parameter.get("required") and self.dice.random() < 0.75:
                continue
            value = self.maker.value(parameter["schema"])
            if name == "cursor" or where == "header":
                is_good = False                     # means something that no schema can say
            if where == "path":
                if name == "ticket_id" and self.dice.random() < 0.8:
                    value = self.dice.choice(self.own)
                elif self.dice.random() < 0.3 or name != "ticket_id":
                    value, is_good = self.maker.make_string({"minLength": 1, "maxLength": 40},
                                                            0), False
                else:
                    is_good = False                 # well-formed, and not ours
                path = path.replace("{" + name + "}", quote(value, safe=""))
                continue
            if self.dice.random() > CALMER + 0.3:
                value, is_good = self.maker.anything(5), False
            text = ",".join(map(str, value)) if isinstance(value, list) else (
                str(value).lower() if isinstance(value, bool) else str(value))
            if where == "query":
                query.append(f"{quote(name)}={quote(text, safe=',')}")
            else:
                headers[name] = text.encode("ascii", "replace").decode().replace("\n", " ")
        return path + ("?" + "&".join(query) if query else ""), headers, is_good

    def body(self, operation):
        """(body, whether it has to be accepted, whether it may be); without a body (None, True,
        True)."""
        content = self.contract.deref(operation.get("requestBody") or {}).get("content")
        if not content:
            return None, True, True
        schema = next(iter(content.values()))["schema"]
        body = self.maker.value(schema)
        while self.dice.random() > CALMER:
            body = self.maker.spoil(body)
        validator = jsonschema.Draft202012Validator(schema, resolver=self.contract.resolver,
                                                    format_checker=FORMATS)
        may_pass = validator.is_valid(body)
        # No schema says that U+0000 is refused.
        return body, may_pass and "\\u0000" not in json.dumps(body), may_pass

    def one(self, method, template, operation):
        path, headers, is_good = self.parameters(operation, template)
        body, body_is_good, body_may_pass = self.body(operation)
        data = None if body is None and "requestBody" not in operation else (
            json.dumps(body, ensure_ascii=self.dice.random() < 0.5).encode("utf-8",
                                                                          "surrogatepass"))
        status, reply_headers, text = self.connection.ask(method, path, data, headers)
        self.requests += 1
        key = (method, template, status)
        self.statuses[key] = self.statuses.get(key, 0) + 1
        self.good += is_good and body_is_good
        shown = f"{method} {path} {headers or ''} {(data or b'')[:300].decode('utf-8', 'replace')}"
        self.judge(key, shown, is_good and body_is_good,
                   body_may_pass or is_per_item(text))
        try:
            self.contract.check(method, path.split("?")[0], status,
                                reply_headers.get("Content-Type"), text)
        except AssertionError as e:
            self.complain(key, shown, str(e))
        if method == "DELETE" and status == 204:
            self.own = [one for one in self.own if one not in path]

    def complain(self, key, shown, what):
        self.problems.setdefault((*key, what[:12]), f"{shown}: {what}")

    def judge(self, key, shown, is_good, may_succeed):
        """The status alone: never a failure, good requests pass, bad ones do not."""
        _, template, status = key
        if status >= 500 and not (status == 503 and template == "/readyz"):
            self.complain(key, shown, f"failed with {status}")
        if is_good and status in (400, 415, 422):
            self.complain(key, shown, "refused, though as its schema wants")
        if not may_succeed and status < 300:
            self.complain(key, shown, "accepted, though against its schema")
