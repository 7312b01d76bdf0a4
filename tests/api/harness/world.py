"""One object of every kind in a team, made through the API, found by the name of the path parameter
that takes its id. To cover a new kind of object: a row in MAKERS."""

import datetime
import json
import time
import uuid

from . import truth
from .client import Api, contract_of
from .jobs import add_job
from .senders import mac
from .tenants import Tenant
from .wait import wait_until

HOOK_SECRET = "the secret of a world's integration"
PNG = bytes.fromhex("89504e470d0a1a0a") + bytes(range(64))


REPORT = {"source": "tickets", "measures": [{"name": "n", "op": "count"}]}
SCHEDULE = {"kind": "daily", "at": "07:30", "recipients": ["zoe@example.com"]}


def made(reply, statuses=(200, 201, 202)):
    assert reply.status_code in statuses, f"{reply.request.url}: {reply.text}"
    return reply.json()


class World(Tenant):
    """A team in which every kind of object is made when it is first asked for. Every text in it
    holds `word`, so that a leak can be seen."""

    def __init__(self, server, name="world", **kwargs):
        super().__init__(server, name, **kwargs)
        self.word = f"word{uuid.uuid4().hex}"
        self.ids = {}
        self.outside = Api(server)

    def id_of(self, parameter):
        """The id that goes into {parameter} of a path."""
        if parameter == "kind":
            return self.api.get("/v1/job-kinds").json()["data"][0]["name"]
        if parameter not in self.ids:
            self.ids[parameter] = MAKERS[parameter](self)
        return self.ids[parameter]

    def post(self, path, body=None, **kwargs):
        return made(self.api.post(path, body, **kwargs))

    def fill(self, template):
        for parameter in parameters_of(template):
            template = template.replace("{" + parameter + "}", self.id_of(parameter))
        return template

    def state(self):
        """What every readable object looks like now."""
        return {path: self.api.get(self.fill(path)).json() for path in readable(self.server)}


def parameters_of(template):
    return [part[1:-1] for part in template.split("/") if part.startswith("{")]


def readable(server):
    """The templates of single objects that a GET shows as JSON."""
    for method, template, operation in contract_of(server).operations():
        content = operation["responses"].get("200", {}).get("content", {})
        if (method == "GET" and template.startswith("/v1/") and template.endswith("}")
                and "application/json" in content):
            yield template


def watcher(world):
    contact = world.id_of("contact_id")
    world.post(f"/v1/tickets/{world.id_of('ticket_id')}/watchers",
               {"kind": "contact", "id": contact})
    return contact


def attachment(world):
    reply = world.api.request("POST", f"/v1/tickets/{world.id_of('ticket_id')}/attachments",
                              params={"name": world.word + ".png"}, data=PNG,
                              headers={"Content-Type": "image/png"})
    return made(reply)["id"]


def user(world):
    return world.post("/v1/users", {"email": f"{uuid.uuid4().hex}@example.com", "name": world.word,
                                    "role": "agent"})["id"]


def export(world):
    """A finished one."""
    path = "/v1/exports/" + world.post("/v1/exports", {"source": "contacts",
                                                       "format": "csv"})["job"]["id"]
    wait_until(lambda: world.api.get(path).json()["state"] == "done", 10, "the export is done")
    return path.split("/")[-1]


def webhook(world):
    """At an address of the server itself that takes none."""
    return world.post("/v1/webhooks", new_webhook(world))["id"]


def new_webhook(world):
    return {"url": f"{world.server.url}/nothing/{world.word}", "events": ["webhook.test"],
            "description": world.word}


def old_secret(world):
    """One that was replaced and still signs, so that it may be deleted."""
    path = f"/v1/webhooks/{world.id_of('webhook_id')}/secrets"
    world.post(path, {})
    return world.api.get(path).json()["data"][-1]["id"]


def delivery(world):
    """One that was tried and is over, so that it stays as it is."""
    path = f"/v1/webhooks/{world.id_of('webhook_id')}"
    made_one = world.post(path + "/test", {})
    world.ids["event_id"] = made_one["event_id"]
    wait_until(lambda: world.api.get(f"{path}/deliveries/{made_one['id']}").json()["attempt"], 10,
               "the delivery is tried")
    truth.execute(world.server, "UPDATE webhook_delivery SET state = 'failed', finished_ms = 1 "
                                "WHERE id = ?", made_one["id"])
    return made_one["id"]


def event(world):
    delivery(world)
    return world.ids["event_id"]


def an_hour_ago():
    then = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=1)
    return then.strftime("%Y-%m-%dT%H:%M:%SZ")


def integration(world):
    made_one = world.post("/v1/integrations", {"kind": "notion", "name": world.word})["id"]
    world.post(f"/v1/integrations/{made_one}/secrets", {"secret": HOOK_SECRET})
    return made_one


def signed(word="x"):
    """What `requests` needs for one webhook that the world's integration takes."""
    body = json.dumps({"id": uuid.uuid4().hex, "type": "page.created", "word": word}).encode()
    return {"data": body, "headers": {"Content-Type": "application/json", "X-Notion-Signature":
                                      "sha256=" + mac(HOOK_SECRET, body).hexdigest()}}


def sync(world):
    return world.post("/v1/syncs", new_sync(world))["id"]


def new_sync(world):
    return {"integration_id": world.id_of("integration_id"), "name": world.word, "direction": "pull",
            "field_mappings": [{"local_field": world.word, "remote_field": "x",
                                "bidirectional": False}]}


def sync_run(world):
    return world.post(f"/v1/syncs/{world.id_of('sync_id')}/runs",
                      {"status": "error", "errors": [world.word]})["id"]


def webhook_log(world):
    """A webhook that has come in and is processed."""
    integration_id = integration(world)
    reply = world.outside.request("POST", f"/hooks/{integration_id}",
                                  **signed(world.word))
    assert reply.status_code == 200, reply.text
    path = f"/v1/webhook-logs?integration_id={integration_id}&processed=true"
    rows = wait_until(lambda: world.api.get(path).json()["data"], 10, "the webhook is processed")
    return rows[0]["id"]


def run(world):
    """One that is over, so that another may be asked for; on a server that runs no jobs too."""
    made_id = str(uuid.uuid4())
    truth.execute(world.server, "INSERT INTO report_run (team_id, id, report_id, schedule_id, cause, "
                  "state, due_ms, format, job_id, error, created_ms, finished_ms) VALUES (?, ?, ?, ?, "
                  "'manual', 'failed', 1, 'csv', ?, ?, 1, ?)", world.id, made_id,
                  world.id_of("report_id"), world.id_of("schedule_id"), world.id_of("job_id"),
                  world.word, int(time.time() * 1000))
    return made_id


MAKERS = {
    "integration_id": integration,
    "integration_secret_id": lambda w: w.post(
        f"/v1/integrations/{w.id_of('integration_id')}/secrets", {"secret": uuid.uuid4().hex})["id"],
    "webhook_log_id": webhook_log,
    "sync_id": sync,
    "sync_run_id": sync_run,
    "user_id": user,
    "ticket_id": lambda w: w.post("/v1/tickets", {"title": w.word})["id"],
    "comment_id": lambda w: w.post(f"/v1/tickets/{w.id_of('ticket_id')}/comments",
                                   {"content": w.word})["id"],
    "watcher_id": watcher,
    "attachment_id": attachment,
    "contact_id": lambda w: w.post("/v1/contacts", {"name": w.word})["id"],
    "agent_id": lambda w: w.post("/v1/agents", {"kind": "bot", "name": w.word})["id"],
    "api_key_id": lambda w: w.post("/v1/api-keys", {"name": w.word})["id"],
    "team_id": lambda w: w.id,
    "report_id": lambda w: w.post("/v1/reports", {"name": w.word, "definition": REPORT})["id"],
    "schedule_id": lambda w: w.post(f"/v1/reports/{w.id_of('report_id')}/schedules", SCHEDULE)["id"],
    "run_id": run,
    "export_id": export,
    "job_id": lambda w: add_job(w.server, w.id, "test.unknown", "dead", error=w.word),
    "webhook_id": webhook,
    "secret_id": old_secret,
    "delivery_id": delivery,
    "event_id": event,
    "project_id": lambda w: w.post("/v1/projects", {"key": "P" + uuid.uuid4().hex[:8].upper(),
                                                    "name": w.word})["id"],
}
# Members of bodies and of queries that name an object, by the parameter that makes one.
REFERENCES = {"assignee_id": "agent_id", "key_id": "api_key_id", "actor_id": "api_key_id",
              "target_id": "project_id"}

# Path parameters that name nothing of a team, each with its reason.
NOT_OF_A_TEAM = {
    "file": "a page of the API reference",
    "kind": "a kind of job, the same for all teams",
}


def reference(name, schema):
    """The parameter whose objects a member of a body or query names, or None."""
    if name == "from":          # of a merge; elsewhere it is a time
        return "contact_id" if "array" in str(schema.get("type")) else None
    if name in REFERENCES:
        return REFERENCES[name]
    return name if name in MAKERS and "uuid" in str(schema) else None


def minimal(contract, schema):
    """The smallest value that a schema lets in."""
    schema = contract.deref(schema)
    if "const" in schema or "enum" in schema:
        return schema.get("const", (schema.get("enum") or [None])[0])
    for word in ("allOf", "anyOf", "oneOf"):
        if word in schema:
            return minimal(contract, schema[word][0])
    kind = schema.get("type", "object")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        return {name: minimal(contract, part) for name, part in schema.get("properties", {}).items()
                if name in schema.get("required", [])}
    if kind == "array":
        return [minimal(contract, schema.get("items", {"type": "string"}))
                for _ in range(schema.get("minItems", 0))]
    if kind == "integer":
        return schema.get("minimum", 1)
    if kind == "string" and schema.get("format") == "uuid":
        return str(uuid.uuid4())
    if kind == "string" and schema.get("format") == "date-time":
        return "2026-01-01T00:00:00Z"
    return {"string": "x" * schema.get("minLength", 1), "boolean": False, "number": 1.5,
            "null": None}[kind]


def body_schema(contract, operation):
    """The schema of an operation's JSON body, or None."""
    content = contract.deref(operation.get("requestBody") or {}).get("content", {})
    return contract.deref(content["application/json"]["schema"]) if "application/json" in content \
        else None


# Bodies that the smallest one does not do for: rules that no schema says.
BODIES = {
    ("POST", "/v1/users"): lambda w: {"email": f"{uuid.uuid4().hex}@example.com", "name": "x",
                                      "role": "viewer"},
    ("PATCH", "/v1/users/{user_id}"): lambda w: {"role": "viewer"},
    ("POST", "/v1/agents"): lambda w: {"kind": "bot", "name": "x"},
    ("POST", "/v1/projects"): lambda w: {"key": "P" + uuid.uuid4().hex[:8].upper(), "name": "x"},
    ("POST", "/v1/tickets/{ticket_id}/assign"): lambda w: {"assignee_id": w.id_of("agent_id")},
    ("POST", "/v1/tickets/{ticket_id}/watchers"): lambda w: {"kind": "contact",
                                                             "id": MAKERS["contact_id"](w)},
    ("POST", "/v1/reports"): lambda w: {"name": "x", "definition": REPORT},
    ("POST", "/v1/reports/execute"): lambda w: {"definition": REPORT},
    ("POST", "/v1/reports/{report_id}/schedules"): lambda w: SCHEDULE,
    ("POST", "/v1/webhooks"): new_webhook,
    ("POST", "/v1/webhooks/{webhook_id}/replay"): lambda w: {"from": an_hour_ago()},
    ("POST", "/v1/webhooks/{webhook_id}/recover"): lambda w: {"from": an_hour_ago()},
    ("POST", "/v1/integrations"): lambda w: {"kind": "jira", "name": "x"},
    ("POST", "/v1/integrations/{integration_id}/secrets"): lambda w: {"secret": uuid.uuid4().hex},
    ("POST", "/v1/syncs"): new_sync,
    ("POST", "/v1/contacts/{contact_id}/merge"): lambda w: {"from": [MAKERS["contact_id"](w)]},
}


def request_for(world, method, template, operation):
    """What `requests` needs to send a good request of this operation as the world's team."""
    contract = contract_of(world.server)
    if template == "/hooks/{integration_id}" and method == "POST":
        return signed()
    if "*/*" in contract.deref(operation.get("requestBody") or {}).get("content", {}):
        return {"data": PNG, "headers": {"Content-Type": "image/png"}, "params": {"name": "x.png"}}
    schema = body_schema(contract, operation)
    if schema is None:
        return {}
    make = BODIES.get((method, template))
    return {"json": make(world) if make else minimal(contract, schema)}
