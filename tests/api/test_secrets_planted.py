"""Secrets are planted, then everything that the server wrote or said is searched for them: the
database and its log on disk, backups, the server's log, what commands print, every reply.

To plant another kind: an entry in plant(), and its single showing in SHOWN if it has one.
"""

import base64
import itertools
import json
import os
import subprocess
import uuid

import pytest
from harness import truth
from harness.client import Api, contract_of
from harness.enrolled import Enrolled
from harness.people import Person, create_user
from harness.sealed import forms, master_id, opened, unwrapped
from harness.senders import Sender
from harness.server import MASTER_KEY
from harness.totp import code_at, now_step
from harness.wait import wait_until
from harness.world import MAKERS, World, parameters_of

CONFIGURED = {"TESSERA_SMTP_PASSWORD": "planted-smtp-password",
              "TESSERA_SMTP_URL": "smtp://127.0.0.1:9", "TESSERA_SMTP_FROM": "t@example.com",
              "TESSERA_PUBLIC_URL": "http://127.0.0.1:9",
              "TESSERA_JWT_SECRET": "planted-jwt-secret-of-more-than-32-bytes",
              "TESSERA_JWT_ISSUER": "https://id.example.com", "TESSERA_JWT_AUDIENCE": "a",
              "TESSERA_LOG_LEVEL": "debug"}
HEADER = "planted-value-of-a-header"
OWN_KEY = b"planted-secret-of-a-receiver-32b"
CUSTOM = "planted-value-of-a-callers-own"       # in a ticket's metadata, as a member "api_key"
# Where a secret may be said once, by the end of the path.
SHOWN = {"/v1/me/totp", "/v1/me/totp/confirm", "/v1/me/recovery-codes", "/v1/api-keys", "/regenerate",
         "/v1/users", "/v1/sessions", "/v1/webhooks", "/secrets"}


class Ear:
    """Hears every reply of the clients that it is given."""

    def __init__(self):
        self.heard = []

    def listen(self, api):
        api.session.hooks["response"].append(lambda reply, **_: self.heard.append(
            (reply.request.method, reply.request.path_url,
             repr(dict(reply.headers)).encode() + reply.content)))
        return api


@pytest.fixture(scope="module")
def scene(make_server, tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("attachments"))
    server = make_server({**CONFIGURED, "TESSERA_ATTACHMENT_DIR": folder})
    ear = Ear()
    needles = plant(server, ear)
    yield server, ear, needles
    server.close()


def plant(server, ear):
    """{name: set of bytes that must be found nowhere}."""
    password = "planted password of somebody"
    person = Enrolled(server, password)
    ear.listen(person.browser)
    pending = ear.listen(Person(server, create_user(server, password=password)["email"],
                                password).sign_in())
    begun = pending.post("/v1/me/totp").json()["secret"]
    world = World(server)
    ear.listen(world.api)
    key = world.post("/v1/api-keys", {"name": "planted"})["token"]
    renewed = world.post(f"/v1/api-keys/{world.id_of('api_key_id')}/regenerate", {})["token"]
    hooks = webhooks(world)
    session = person.browser.session.cookies.get_dict()
    link = server.cli("user", "reset-link", person.email).split()[-1]
    hooked = plant_hooks(ear, world)
    clear_of_password_files(server)
    provoke(server, ear, person, key)
    read_everything(server, ear, world, person)

    rows = truth.rows(server, "SELECT team_id, purpose, version, id, wrapped FROM vault_key")
    assert {row[1] for row in rows} >= {"data", "audit", "recovery", "web"}
    return {
        "second factor": forms(secret_bytes(person.secret)) | {person.secret.encode()},
        "begun second factor": forms(secret_bytes(begun)) | {begun.encode()},
        "recovery codes": {c.encode() for code in person.codes for c in (code, code.replace("-", ""))},
        "password": {password.encode()},
        "api key": {key.encode(), key[12:].encode(), renewed[12:].encode()},
        "session": {value.encode() for name, value in session.items() if "device" not in name},
        "reset link": {link.split("token=")[-1].split("/")[-1].encode()},
        "keys of the vault": set(itertools.chain(*(forms(unwrapped(MASTER_KEY, r)) for r in rows))),
        "master key": forms(bytes.fromhex(MASTER_KEY)),
        "custom": {CUSTOM.encode()},
        "header of a webhook": {HEADER.encode()},
        "secrets of webhooks": set(itertools.chain(*map(forms, hooks))),
        "secrets of integrations": {secret.encode() for secret in hooked},
        "settings": {CONFIGURED[name].encode() for name in ("TESSERA_SMTP_PASSWORD",
                                                            "TESSERA_JWT_SECRET")},
    }


def webhooks(world):
    """The bytes of signing secrets: made by the server, given, added, and half a key pair."""
    ask = {"url": world.server.url + "/nothing", "events": ["ticket.created"]}
    given = "whsec_" + base64.b64encode(OWN_KEY).decode()
    seed = bytes(range(100, 132))
    made = world.post("/v1/webhooks", {**ask, "headers": {"X-Partner": HEADER}})
    world.post("/v1/webhooks", {**ask, "secret": given})
    world.post("/v1/webhooks", {**ask, "secret": "whsk_" + base64.b64encode(seed).decode()})
    added = world.post(f"/v1/webhooks/{made['id']}/secrets", {})
    anyone = world.api.session
    anyone.patch(world.server.url + f"/v1/webhooks/{made['id']}", json={
        "headers": {"X-Partner": HEADER + "\n"}}, headers={"Authorization": f"Bearer {world.key['token']}"})
    anyone.post(world.server.url + "/v1/webhooks", json={**ask, "secret": given + "!"}, headers={
        "Authorization": f"Bearer {world.key['token']}"})
    world.post(f"/v1/webhooks/{made['id']}/test", {"event_type": "ticket.created"})
    return [base64.b64decode(text.removeprefix("whsec_")) for text in
            (made["secret"], given, added["secret"])] + [seed]


def plant_hooks(ear, world):
    """Integrations of the kinds whose secret goes different ways, each with what holds and what does
    not: given, made here, brought by a handshake, sent along in the open."""
    hooked = []
    for kind in ("github", "bearer", "basic", "teams", "asana", "notion", "standard"):
        sender = Sender(world, kind, secret="")
        secret = f"planted:{kind}-{uuid.uuid4().hex}"
        if kind == "standard":
            secret = world.post(sender.url + "/secrets", {})["secret"]
        elif kind == "asana":           # the answer repeats it to whoever has sent it
            sender.post(b"", {"X-Hook-Secret": secret})
        elif kind == "notion":
            sender.post(json.dumps({"verification_token": secret}).encode(), {})
        else:
            sender.add_secret(secret)
        assert sender.send(secret=secret).status_code in (200, 202)
        ear.listen(sender.outside)
        body, headers = sender.delivery(secret=secret)
        sender.post(body, headers)
        sender.post(body + b" ", {"Content-Type": "x", **{k: v + "x" for k, v in headers.items()}})
        world.api.post(sender.url + "/secrets", {"secret": secret, "x": 1})
        wait_until(lambda s=sender: s.logs(processed="true"), 5, "it is processed")
        hooked.append(secret)
    return hooked


def secret_bytes(text):
    return base64.b32decode(text)


def clear_of_password_files(server):
    """The harness hands passwords over in files beside the database."""
    for name in os.listdir(server.dir):
        if name.startswith("password"):
            os.remove(os.path.join(server.dir, name))


def provoke(server, ear, person, key):
    """Failures whose words might repeat what was sent."""
    anyone = ear.listen(Api(server, check=False))
    for body in ({"email": person.email, "password": person.password, "x": 1},
                 {"email": person.email, "password": person.password},
                 {"email": person.email, "password": person.password, "totp_code": "000000"},
                 {"email": person.email, "password": {"a": person.password}}):
        anyone.post("/v1/sessions", body)
    anyone.get("/v1/tickets", headers={"Authorization": f"Basic {key}"})
    anyone.get(f"/v1/tickets?token={key}")
    caller = ear.listen(Api(server, key, check=False))
    caller.post("/v1/tickets", {"title": "t", "metadata": {"api_key": CUSTOM}})
    person.browser.check = False
    person.browser.post("/v1/me/totp/disable", {"password": person.password + "x"})
    person.browser.post("/v1/me/recovery-codes", {"code": code_at(person.secret, now_step() + 9)})
    server.cli("vault", "rotate")


def read_everything(server, ear, world, person):
    """Every GET of the document, as an owner by key and as a user."""
    asked = 0
    for method, template, _ in list(contract_of(server).operations()):
        if method == "GET" and all(p in MAKERS for p in parameters_of(template)):
            for api in (world.api, person.browser):
                api.check = False
                api.get(world.fill(template))
                asked += 1
    assert asked > 60


def found_in(content, needles):
    return [name for name, forms_of in needles.items() if any(f in content for f in forms_of)]


def in_files(folder, needles):
    """{path: names} of what was found; fails when there was nothing to look at."""
    found, seen = {}, 0
    for root, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(root, name)
            try:
                with open(path, "rb") as f:
                    content = f.read()
            except FileNotFoundError:       # a file that came and went
                continue
            seen += len(content)
            if found_in(content, needles):
                found[path] = found_in(content, needles)
    assert seen > 100000, folder
    return found


def without(needles, *names):
    return {name: forms_of for name, forms_of in needles.items() if name not in names}


# --- where they must not be ----------------------------------------------------------------------


def test_the_search_would_find_them(scene):
    server, _, needles = scene
    assert all(needles.values()) and not any(len(f) < 6 for fs in needles.values() for f in fs)
    path = os.path.join(server.dir, "a-plain-copy")
    for name, forms_of in needles.items():
        with open(path, "wb") as f:
            f.write(bytes(200000) + next(iter(forms_of)) + b"x")
        assert in_files(server.dir, needles)[path] == [name]
    os.remove(path)


def test_no_file_of_the_database_and_no_log_holds_them(scene):
    server, _, needles = scene
    if server.backend == "sqlite":
        assert os.path.getsize(server.db_path + "-wal") > 0
        folder = server.dir
    else:
        truth.execute(server, "CHECKPOINT")
        folder = server.database.cluster.data
    # A ticket's own words are the caller's to keep; see the next test.
    assert in_files(folder, without(needles, "custom")) == {}
    assert found_in(server.log_text().encode(), needles) == []


def test_no_table_but_its_own_holds_what_a_ticket_was_given(scene):
    server, _, needles = scene
    if server.backend == "sqlite":
        tables = truth.rows(server, "SELECT name FROM sqlite_master WHERE type = 'table'")
    else:
        tables = truth.rows(server, "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND "
                                    "relnamespace = 'public'::regnamespace")
    assert len(tables) > 30
    for (table,) in tables:
        if table in ("tickets", "event"):     # an event tells what became of the ticket
            continue
        content = repr(truth.rows(server, f'SELECT * FROM "{table}"')).encode()
        assert found_in(content, needles) == [], table


def test_no_backup_holds_them(scene, tmp_path):
    server, _, needles = scene
    copy = tmp_path / "copy"
    server.cli("backup", str(copy))
    content = copy.read_bytes()
    if server.backend == "postgres":
        restore = os.path.join(server.database.cluster.bin_dir, "pg_restore")
        content += subprocess.run([restore, "-f", "-", str(copy)], check=True,
                                  capture_output=True).stdout
    assert b"totp_secret" in content
    assert found_in(content, without(needles, "custom")) == []


def test_no_reply_holds_them_but_the_one_that_shows_them(scene):
    _, ear, needles = scene
    assert len(ear.heard) > 100
    for method, path, content in ear.heard:
        bare = path.split("?")[0]
        if method == "POST" and any(bare.endswith(end) for end in SHOWN):
            continue
        # The ticket with a caller's own metadata is the caller's to read again.
        own = ["custom"] if "ticket" in bare or "/events" in bare or "/deliveries" in bare else []
        assert found_in(content, without(needles, *own)) == [], f"{method} {path}"


def test_no_command_prints_them(scene):
    server, _, needles = scene
    for args in (["vault", "status"], ["vault", "status", "--json"], ["vault", "rotate", "--dry-run"],
                 ["config", "--explain"], ["user", "list", "--json"], ["token", "list", "--json"],
                 ["team", "list"], ["audit", "export"], ["stats"]):
        done = server.run(*args)
        assert done.returncode == 0, done.stderr
        assert found_in((done.stdout + done.stderr).encode(), needles) == [], args


# --- the form is what the documents say ----------------------------------------------------------


def test_the_form_can_be_opened_by_its_description_alone(scene):
    server, _, _ = scene
    rows = truth.rows(server, "SELECT team_id, purpose, version, id, wrapped FROM vault_key")
    keys = {(row[0], row[3]): unwrapped(MASTER_KEY, row) for row in rows}
    found = truth.rows(server, "SELECT id, totp_secret FROM app_user WHERE totp_secret IS NOT NULL")
    assert found and all(len(key) == 32 for key in keys.values())
    assert {row[0] for row in truth.rows(server, "SELECT kek_id FROM vault_key")} == \
        {master_id(MASTER_KEY)}
    for user_id, text in found:
        version, key_id, body = text.split(".")
        plain = opened(keys["", key_id], f"app_user|totp_secret||{user_id}", body)
        assert version == "v2" and len(plain) == 20
