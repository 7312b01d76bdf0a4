"""Users who sign in: a client with a session cookie, and a factory of such users."""

import itertools
import os
import uuid

import pytest

from .client import Api

PASSWORD = "correct horse battery"
COUNTER = itertools.count(1)


def new_email():
    """An address that nobody has."""
    return f"p{os.getpid()}-{next(COUNTER)}-{uuid.uuid4().hex[:6]}@example.com"


def password_file(server, password=PASSWORD):
    """A file with the password, for the command line."""
    path = os.path.join(server.dir, f"password-{uuid.uuid4().hex}")
    with open(path, "w", encoding="utf-8") as f:
        f.write(password + "\n")
    return path


def create_user(server, role="owner", team=None, email=None, name=None, password=PASSWORD):
    """A user made by the command line, in the team of this slug (default: the default team)."""
    args = ["user", "create", "--email", email or new_email(), "--role", role,
            "--password-file", password_file(server, password)]
    if team:
        args += ["--team", team]
    if name:
        args += ["--name", name]
    return server.cli_json(*args)


class Person(Api):
    """A user's browser: signs in, keeps the cookies, proves itself with X-CSRF-Token."""

    def __init__(self, server, email, password=PASSWORD, team=None, check=True):
        super().__init__(server, check=check)
        self.email = email
        self.password = password
        self.team = team
        self.csrf_token = None
        self.user = None
        self.teams = []
        self.session_id = None

    def request(self, method, path, **kwargs):
        headers = dict(kwargs.pop("headers", None) or {})
        if self.team:
            headers.setdefault("Tessera-Team", self.team)
        if self.csrf_token and method not in ("GET", "HEAD"):
            headers.setdefault("X-CSRF-Token", self.csrf_token)
        return super().request(method, path, headers=headers, **kwargs)

    def try_sign_in(self, **more):
        """The reply to one attempt; `more` replaces or adds members of the body."""
        body = {"email": self.email, "password": self.password, **more}
        return self.post("/v1/sessions", {k: v for k, v in body.items() if v is not None})

    def sign_in(self, **more):
        """Signs in; fails unless 201."""
        reply = self.try_sign_in(**more)
        assert reply.status_code == 201, reply.text
        made = reply.json()
        self.csrf_token = made["csrf_token"]
        self.session_id = made["session"]["id"]
        self.user = made["user"]
        self.user_id = made["user"]["id"]
        self.teams = made["teams"]
        return self

    def again(self):
        """The same user in a second browser."""
        return Person(self.server, self.email, self.password, self.team).sign_in()


def person_on(server, role="owner", team=None, **kwargs):
    """A new user of the team (slug), signed in; requests name the team when one is given."""
    made = create_user(server, role, team, **kwargs)
    return Person(server, made["email"], kwargs.get("password", PASSWORD), team).sign_in()


@pytest.fixture
def new_person(server):
    """A factory of new users on the shared server, signed in: new_person("agent", team="slug")."""
    def make(role="owner", team=None, **kwargs):
        return person_on(server, role, team, **kwargs)
    return make
