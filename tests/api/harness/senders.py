"""Other systems, as the server meets them: each signs its webhooks in its own way.

`sign(kind, …)` gives the headers of one delivery, made here and now with Python's own hmac; a
Sender is an integration with a secret and what posts to it.
"""

import base64
import hashlib
import hmac
import json
import time
import uuid

from . import truth
from .client import Api

SECRETS = {"basic": "tessera:a secret of basic", "teams": "client-state-4711-0815",
           "standard": "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}
CALLBACK = "https://hooks.example.test/trello/42?x=1"


def secret_of(kind):
    return SECRETS.get(kind, f"a secret of {kind} for tests")


def mac(secret, *pieces, algorithm=hashlib.sha256):
    return hmac.new(secret.encode() if isinstance(secret, str) else secret, b"".join(pieces),
                    algorithm)


def b64(digest):
    return base64.b64encode(digest).decode()


def sign_slack(secret, body, **_):
    at = str(int(time.time()))
    return {"X-Slack-Request-Timestamp": at,
            "X-Slack-Signature": "v0=" + mac(secret, f"v0:{at}:".encode(), body).hexdigest()}


def sign_standard(secret, body, key, **_):
    at = str(int(time.time()))
    signature = mac(base64.b64decode(secret.split("_")[1]), f"{key}.{at}.".encode(), body)
    return {"webhook-id": key, "webhook-timestamp": at,
            "webhook-signature": "v1," + b64(signature.digest())}


SIGNERS = {
    "jira": lambda secret, body, key, **_: {
        "X-Hub-Signature": "sha256=" + mac(secret, body).hexdigest(),
        "X-Atlassian-Webhook-Identifier": key},
    "github": lambda secret, body, key, type, **_: {
        "X-Hub-Signature-256": "sha256=" + mac(secret, body).hexdigest(),
        "X-GitHub-Delivery": key, "X-GitHub-Event": type},
    "slack": sign_slack,
    "trello": lambda secret, body, **_: {
        "X-Trello-Webhook": b64(mac(secret, body, CALLBACK.encode(),
                                    algorithm=hashlib.sha1).digest())},
    "asana": lambda secret, body, **_: {"X-Hook-Signature": mac(secret, body).hexdigest()},
    "linear": lambda secret, body, key, **_: {
        "Linear-Signature": mac(secret, body).hexdigest(), "Linear-Delivery": key},
    "notion": lambda secret, body, **_: {
        "X-Notion-Signature": "sha256=" + mac(secret, body).hexdigest()},
    "teams": lambda secret, body, **_: {},
    "standard": sign_standard,
    "hmac": lambda secret, body, key, type, **_: {
        "X-Signature": mac(secret, body).hexdigest(), "X-Event-Id": key, "X-Event-Type": type},
    "basic": lambda secret, body, key, type, **_: {
        "Authorization": "Basic " + b64(secret.encode()), "X-Event-Id": key, "X-Event-Type": type},
    "bearer": lambda secret, body, key, type, **_: {
        "Authorization": "Bearer " + secret, "X-Event-Id": key, "X-Event-Type": type},
}
KINDS = list(SIGNERS)


def event_of(kind, secret, key, type):
    """The body of one event of that kind."""
    return {
        "jira": {"timestamp": int(time.time() * 1000), "webhookEvent": type},
        "slack": {"type": "event_callback", "event_id": key, "event": {"type": type}},
        "trello": {"action": {"id": key, "type": type}},
        "asana": {"events": [{"action": type.split(".")[-1], "created_at": key,
                              "resource": {"resource_type": type.split(".")[0]}}]},
        "linear": {"type": type, "webhookTimestamp": int(time.time() * 1000)},
        "notion": {"id": key, "type": type},
        "teams": {"value": [{"subscriptionId": "s", "clientState": secret, "changeType": type,
                             "resource": key}]},
        "standard": {"type": type},
    }.get(kind, {"about": key})


def listen(team):
    """The team has a webhook that goes out: from now on its events are written."""
    row = {"team_id": team.id, "id": str(uuid.uuid4()), "url": "https://127.0.0.1:9/", "events": "[]",
           "header_names": "[]", "payload": "thin", "is_ordered": 0, "state": "disabled", "notice": 0,
           "version": 1, "created_ms": 1, "updated_ms": 1}
    truth.execute(team.server, f"INSERT INTO webhook ({', '.join(row)}) VALUES "
                               f"({', '.join('?' * len(row))})", *row.values())


class Sender:
    """An integration of a team and the system behind it."""

    def __init__(self, team, kind="github", secret=None, **fields):
        self.team, self.kind = team, kind
        self.secret = secret or secret_of(kind)
        if kind == "trello":
            fields.setdefault("callback_url", CALLBACK)
        reply = team.api.post("/v1/integrations", {"kind": kind, "name": f"a {kind}", **fields})
        assert reply.status_code == 201, reply.text
        self.made = reply.json()
        self.id = self.made["id"]
        self.path = f"/hooks/{self.id}"
        self.url = f"/v1/integrations/{self.id}"
        self.outside = Api(team.server)
        if secret != "":
            self.add_secret(self.secret)

    def add_secret(self, text, **fields):
        reply = self.team.api.post(self.url + "/secrets", {"secret": text, **fields})
        assert reply.status_code == 201, reply.text
        return reply.json()

    def delivery(self, key=None, type="task.changed", secret=None, body=None):
        """(body, headers) of one delivery, signed now."""
        key, secret = key or str(uuid.uuid4()), secret or self.secret
        if body is None:
            body = json.dumps(event_of(self.kind, secret, key, type)).encode()
        headers = SIGNERS[self.kind](secret, body, key=key, type=type)
        return body, {"Content-Type": "application/json", **headers}

    def post(self, body, headers):
        return self.outside.request("POST", self.path, data=body, headers=headers)

    def send(self, **kwargs):
        """One delivery: the reply."""
        return self.post(*self.delivery(**kwargs))

    def read(self):
        reply = self.team.api.get(self.url)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def logs(self, **params):
        """The log of this integration, oldest first."""
        reply = self.team.api.get("/v1/webhook-logs", params={"integration_id": self.id,
                                                              "limit": 200, **params})
        assert reply.status_code == 200, reply.text
        return reply.json()["data"][::-1]

    def log(self, log_id):
        reply = self.team.api.get(f"/v1/webhook-logs/{log_id}")
        assert reply.status_code == 200, reply.text
        return reply.json()
