"""Teams of their own for tests: each with a key that may everything in it."""

import itertools
import json
import os
import uuid

from .client import Api

COUNTER = itertools.count(1)


class Tenant:
    """A team and an admin:full key of it."""

    def __init__(self, server, name="team", owner=None):
        """`owner` is the e-mail address of a user who becomes the team's owner."""
        self.server = server
        self.slug = f"t{os.getpid()}-{next(COUNTER)}-{uuid.uuid4().hex[:6]}"
        self.id = server.cli_json("team", "create", name, "--slug", self.slug,
                                  *(["--owner", owner] if owner else []))["id"]
        self.key = self.new_key(["admin:full"])
        self.api = Api(server, self.key["token"], self.key["id"])

    def new_key(self, scopes, name="test"):
        """A key of this team that the server knows."""
        made = self.server.new_token(name, scopes=scopes, extra=("--team", self.slug), wait=False)
        self.server.wait_token(made["token"], {200, 403}, 3)
        return made

    def api_with(self, scopes):
        """A client with a new key that has just these scopes."""
        key = self.new_key(scopes)
        return Api(self.server, key["token"], key["id"])

    def audit(self, **params):
        """Every audit row of the team, oldest first."""
        rows, cursor = [], None
        while True:
            reply = self.api.get("/v1/audit", params={"limit": 200, **params,
                                                      **({"cursor": cursor} if cursor else {})})
            assert reply.status_code == 200, reply.text
            page = reply.json()
            rows += page["data"]
            cursor = page["next_cursor"]
            if not cursor:
                return rows[::-1]


class Person(Api):
    """A user of the default team who is signed in; `team` is named with every call."""

    def __init__(self, server, role="viewer", team=None):
        super().__init__(server)
        self.email = f"{role}-{uuid.uuid4().hex[:8]}@example.com"
        made = server.cli_json("user", "create", "--email", self.email, "--name", role,
                               "--role", role, "--generate")
        self.id, self.role = made["id"], role
        reply = self.post("/v1/sessions", {"email": self.email, "password": made["password"]})
        assert reply.status_code == 201, reply.text
        self.session_id = reply.json()["session"]["id"]
        self.session.headers["X-CSRF-Token"] = reply.json()["csrf_token"]
        if team:
            self.act_in(team)

    def act_in(self, team):
        self.session.headers["Tessera-Team"] = team


def new_project(api, name="Support", **fields):
    """A project under an unused key."""
    key = "P" + uuid.uuid4().hex[:8].upper()
    reply = api.post("/v1/projects", {"key": key, "name": name, **fields})
    assert reply.status_code == 201, reply.text
    return reply.json()


def lines(text):
    return [json.loads(line) for line in text.splitlines()]
