"""Requests made from the server's own /openapi.json: good ones, nearly good ones and bad ones.

For every operation: no answer is a failure (5xx), every answer keeps its schema, what the schema
of a request allows is not refused as malformed, and what it forbids is not accepted. The ids in
paths and bodies are of real objects (harness/world.py makes them) in a team of the run's own.
`make soak` runs it by time, tests/api/test_schema_fuzz.py by a number of requests.
"""

import json
import random
import time
import uuid
from datetime import datetime, timedelta, timezone
from urllib.parse import quote

import jsonschema
from harness.contract import FORMATS, Contract
from harness.tenants import Person
from harness.world import MAKERS, World, parameters_of, reference

from workers import Connection

LETTERS = "abc XYZ 019 _-/\\\"'<>&%{}[]äßЖ漢\u0301\u200f😀"
FAMILIES = 4            # sets of objects that belong together; requests pick ids from them
DEEP = 70               # deeper than the server reads
LONG = 70000
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
        for word in ("oneOf", "anyOf", "allOf"):
            if word in schema:
                return self.value(dice.choice(schema[word]), depth)
        if not {"type", "properties"} & set(schema):
            return self.anything(depth)
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
            at = datetime(2020, 1, 1, tzinfo=timezone.utc)
            at += timedelta(seconds=dice.randint(0, 300000000))
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
        if dice.random() < 0.05:
            return json.loads("[" * DEEP + "]" * DEEP) if dice.random() < 0.5 else "x" * LONG
        if isinstance(value, str) and dice.random() < 0.5:
            return value + dice.choice(("", "\n", "\u0000", "\ufffd", "x" * 600, "\U0010ffff"))
        return self.anything()


def is_per_item(text):
    """Whether the answer tells of refused items: a bulk call succeeds as a whole."""
    body = json.loads(text) if text.startswith("{") else {}
    items = body.get("data") if isinstance(body.get("data"), list) else []
    return any("error" in item for item in items)


# Operations that a signed-in user does not ask, each with its reason.
LEFT_OUT = {
    ("DELETE", "/v1/sessions/current"): "ends the run's own session",
}
# Operations with rules that no schema says: a well-formed request may be refused there.
MORE_RULES = {
    "/v1/integrations": "form of event types and addresses, what belongs together in a scheme",
    "/v1/integrations/{integration_id}": "the same",
    "/v1/integrations/{integration_id}/secrets": "the form that the kind asks for",
    "/v1/syncs": "an integration of the team, mappings that write no field twice",
    "/v1/syncs/{sync_id}": "the same",
    "/v1/syncs/{sync_id}/runs": "length of errors, no start in the future",
    "/hooks/{integration_id}": "the signature",
    "/v1/projects": "form of keys",
    "/v1/projects/{project_id}": "form of keys",
    "/v1/teams/{team_id}": "form of slugs",
    "/v1/agents": "user_id is of a user of the team; e-mail addresses",
    "/v1/agents/{agent_id}": "e-mail addresses",
    "/v1/contacts": "e-mail addresses, phone numbers",
    "/v1/contacts/bulk": "the same",
    "/v1/contacts/{contact_id}": "the same",
    "/v1/contacts/{contact_id}/merge": "ids of the team, names of fields",
    "/v1/tickets": "ids of the team, form of tags",
    "/v1/tickets/{ticket_id}": "the same",
    "/v1/tickets/{ticket_id}/assign": "ids of the team",
    "/v1/tickets/{ticket_id}/watchers": "kind and id go together",
    "/v1/tickets/{ticket_id}/attachments": "names and types of files",
    "/v1/webhooks": "addresses, types of events, paths of conditions, names of headers, secrets",
    "/v1/webhooks/{webhook_id}": "the same",
    "/v1/webhooks/{webhook_id}/secrets": "form of secrets, and their kind",
    "/v1/webhooks/{webhook_id}/replay": "at most 14 days",
    "/v1/webhooks/{webhook_id}/recover": "the same",
    "/v1/api-keys": "scopes, CIDRs, endpoints, names of limits, one expiry",
    "/v1/api-keys/{api_key_id}": "the same",
    "/v1/api-keys/verify": "scopes, addresses",
    "/v1/teams": "form of slugs",
    "/v1/me/password": "the password",
    "/v1/sessions": "e-mail address and password",
    "/v1/password-resets/confirm": "the token of a link",
    "/v1/password-resets": "e-mail addresses",
    "/v1/users": "e-mail addresses",
    "/v1/users/{user_id}": "who may change whom",
    "/v1/me/totp/confirm": "the code",
    "/v1/me/totp/disable": "the password",
    "/v1/me/recovery-codes": "the code",
    "/v1/reports": "fields of the source, measures, times",
    "/v1/reports/{report_id}": "the same",
    "/v1/reports/execute": "the same",
    "/v1/reports/{report_id}/execute": "times",
    "/v1/reports/{report_id}/export": "times",
    "/v1/reports/{report_id}/schedules": "what each kind needs, zones, e-mail addresses",
    "/v1/reports/{report_id}/schedules/{schedule_id}": "the same",
    "/v1/exports": "times, fields of the source",
    "/v1/usage/timeseries": "spans that fit the bucket",
    "/v1/usage/routes": "spans",
    "/v1/usage/countries": "spans",
    "/v1/usage/requests": "spans, addresses",
    "/v1/usage/requests/export": "the same",
}


class SchemaFuzz:
    """One run over all operations in a team of its own, by a key with admin:full or, when
    `as_owner`, by its owner, who is signed in."""

    def __init__(self, server, document, seed, as_owner=False):
        self.dice = random.Random(seed)
        self.contract = Contract(document)
        self.maker = Maker(self.contract, self.dice)
        owner = Person(server, "viewer") if as_owner else None
        self.world = World(server, "fuzz", owner=owner.email if owner else None)
        self.connection = Connection(server, self.world.key["token"])
        self.as_owner = as_owner
        if owner:
            self.connection.headers = {
                "Content-Type": "application/json", "Tessera-Team": self.world.id,
                "Cookie": f"tessera_session={owner.session.cookies['tessera_session']}",
                "X-CSRF-Token": owner.session.headers["X-CSRF-Token"]}
        self.operations = [(m, t, o) for m, t, o in self.contract.operations()
                           if not (as_owner and (m, t) in LEFT_OUT)]
        self.families = []      # {path parameter: id}
        self.problems = {}      # (method, path, status, kind): the first of its kind
        self.requests = self.good = 0
        self.statuses = {}

    def run(self, seconds=None, count=None):
        """Ask until the time is over or so many times, each operation once at least; returns what is
        wrong."""
        end = time.monotonic() + (seconds or 1e9)
        order = []
        while self.requests < len(self.operations) or (
                time.monotonic() < end and (count is None or self.requests < count)):
            order = order or self.dice.sample(self.operations, len(self.operations))
            self.one(*order.pop())
        unseen = [f"{m} {t}" for m, t, _ in self.operations
                  if not any(key[:2] == (m, t) for key in self.statuses)]
        if unseen:
            self.problems["unseen"] = f"never asked: {unseen}"
        return self.problems.values()

    def family(self):
        """Objects that belong together; now and then new ones."""
        if len(self.families) < FAMILIES:
            self.world.ids = {}
            self.families.append({name: self.world.id_of(name) for name in MAKERS})
        return self.dice.choice(self.families)

    def gone(self, family):
        if family in self.families:
            self.families.remove(family)

    def parameters(self, operation, path, family):
        """(path with its parameters and query, headers, whether all are as their schemas want)."""
        is_good, query, headers = True, [], {}
        for parameter in map(self.contract.deref, operation.get("parameters", [])):
            name, where = parameter["name"], parameter["in"]
            if where != "path" and not parameter.get("required") and self.dice.random() < 0.75:
                continue
            if name == "Tessera-Team" and self.as_owner:
                continue
            value = self.maker.value(parameter.get("schema", {"type": "string"}))
            if name == "cursor" or where == "header":
                is_good = False                     # means something that no schema can say
            if where == "path":
                if name in family and self.dice.random() < 0.85:
                    value = family[name]
                else:
                    is_good = False                 # well-formed, and not ours
                    if self.dice.random() < 0.5:
                        value = self.maker.make_string({"minLength": 1, "maxLength": 40}, 0)
                path = path.replace("{" + name + "}", quote(str(value), safe=""))
                continue
            if name == "Tessera-Team" and self.dice.random() < 0.8:
                value = self.world.id
            kind = reference(name, parameter.get("schema", {}))
            if kind and self.dice.random() < 0.8:
                value = family[kind]
            if self.dice.random() > CALMER + 0.3:
                value, is_good = self.maker.anything(5), False
            text = ",".join(map(str, value)) if isinstance(value, list) else (
                str(value).lower() if isinstance(value, bool) else str(value))
            if where == "query":
                query.append(f"{quote(name)}={quote(text, safe=',')}")
            else:
                headers[name] = text.encode("ascii", "replace").decode().replace("\n", " ")
        return path + ("?" + "&".join(query) if query else ""), headers, is_good

    def body(self, operation, family):
        """(body, whether it has to be accepted, whether it may be); without a body (None, True,
        True)."""
        content = self.contract.deref(operation.get("requestBody") or {}).get("content")
        if not content:
            return None, True, True
        schema = self.contract.deref(next(iter(content.values())).get("schema", {}))
        if not schema:                              # an upload: any bytes
            return self.maker.make_string({"maxLength": 5000}, 0), True, True
        body = self.maker.value(schema)
        for name in body if isinstance(body, dict) else ():
            part = schema.get("properties", {}).get(name, {})
            kind = reference(name, part)
            if kind and self.dice.random() < 0.7:
                body[name] = [family[kind]] if "array" in str(part.get("type")) else family[kind]
        while self.dice.random() > CALMER:
            body = self.maker.spoil(body)
        validator = jsonschema.Draft202012Validator(schema, resolver=self.contract.resolver,
                                                    format_checker=FORMATS)
        may_pass = validator.is_valid(body)
        # No schema says that U+0000 is refused.
        return body, may_pass and "\\u0000" not in json.dumps(body), may_pass

    def encoded(self, body, operation, headers):
        """(bytes, whether they say what the body says)."""
        if body is None and "requestBody" not in operation:
            return None, True
        content = self.contract.deref(operation["requestBody"])["content"]
        if "*/*" in content:
            headers["Content-Type"] = self.dice.choice(("image/png", "text/plain", "text/html", "x",
                                                        "application/pdf; name=x"))
            return str(body).encode("utf-8", "replace"), False
        data = json.dumps(body, ensure_ascii=self.dice.random() < 0.5).encode("utf-8",
                                                                              "surrogatepass")
        if self.dice.random() < 0.03:               # broken in the middle
            return data[:self.dice.randint(0, len(data))], False
        if self.dice.random() < 0.02:
            headers["Content-Type"] = "text/plain"
            return data, False
        return data, True

    def one(self, method, template, operation):
        family = self.family() if parameters_of(template) or self.dice.random() < 0.5 else {
            **(self.families[0] if self.families else self.family())}
        path, headers, is_good = self.parameters(operation, template, family)
        body, body_is_good, body_may_pass = self.body(operation, family)
        data, is_whole = self.encoded(body, operation, headers)
        status, reply_headers, text = self.connection.ask(method, path, data, headers)
        self.requests += 1
        key = (method, template, status)
        self.statuses[key] = self.statuses.get(key, 0) + 1
        is_good = is_good and body_is_good and is_whole
        self.good += is_good
        shown = f"{method} {path} {headers or ''} {(data or b'')[:300].decode('utf-8', 'replace')}"
        self.judge(key, shown, is_good and template not in MORE_RULES,
                   body_may_pass or not is_whole or is_per_item(text), text)
        try:
            self.contract.check(method, path.split("?")[0], status,
                                reply_headers.get("Content-Type"), text)
        except AssertionError as e:
            self.complain(key, shown, str(e))
        if status < 300 and (method == "DELETE" or template.endswith("/merge")):
            self.gone(family)

    def complain(self, key, shown, what):
        self.problems.setdefault((*key, what[:12]), f"{shown}: {what}")

    def judge(self, key, shown, is_good, may_succeed, text):
        """The status alone: never a failure, good requests pass, bad ones do not."""
        _, template, status = key
        if status >= 500 and not (status == 503 and template == "/readyz"):
            self.complain(key, shown, f"failed with {status}")
        if is_good and status in (400, 415, 422):
            self.complain(key, shown, f"refused, though as its schema wants: {text[:300]}")
        if not may_succeed and status < 300:
            self.complain(key, shown, "accepted, though against its schema")
