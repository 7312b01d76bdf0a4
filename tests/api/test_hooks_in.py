"""/hooks/{integration_id}: every kind is taken when it holds and refused when not; handshakes; an
event is stored once however often it comes."""

import base64
import hashlib
import json
import os
import threading
import time
import uuid

import pytest
from harness import truth
from harness.client import Api, assert_problem
from harness.senders import CALLBACK, KINDS, SIGNERS, Sender, b64, listen, mac, secret_of
from harness.tenants import Tenant
from harness.wait import wait_until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
with open(os.path.join(ROOT, "tests", "data", "hook_vectors.json"), encoding="utf-8") as file:
    VECTORS = json.load(file)
ABSENT = "01890000-0000-7000-8000-000000000000"
KEYLESS = ("teams",)                # every delivery is an event of its own
BODY_KEYED = ("asana",)             # the body is the key


@pytest.fixture(scope="module")
def module_team(common_server):
    return Tenant(common_server)


@pytest.fixture
def team(server, module_team):
    return module_team


def processed(sender, count):
    """The log, once so many events are processed."""
    wait_until(lambda: len(sender.logs(state="processed")) >= count, 15, "the events are processed")
    return sender.logs()


# --- every kind ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_delivery_that_holds_is_stored_and_processed(team, kind):
    sender, key = Sender(team, kind), str(uuid.uuid4())

    reply = sender.send(key=key, type="task.changed")

    assert reply.status_code == (202 if kind == "teams" else 200), reply.text
    assert reply.text == ""
    [row] = processed(sender, 1)
    assert (row["state"], row["processed"], row["error"]) == ("processed", True, None)
    assert row["event_type"] == "task.changed"
    assert row["event_key"] == (None if kind in KEYLESS else row["event_key"])
    if kind not in KEYLESS + BODY_KEYED:
        assert key in row["event_key"]
    assert row["received_at"] <= row["processed_at"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_delivery_that_does_not_hold_is_401_and_leaves_nothing(team, kind):
    sender = Sender(team, kind)
    other = "basic:another" if kind == "basic" else \
        "whsec_" + b64(bytes(32)) if kind == "standard" else "another secret than the right one"
    body, headers = sender.delivery()
    unsigned = {"Content-Type": "application/json"}
    tries = [sender.delivery(secret=other)]
    if kind != "teams":
        tries += [(body, unsigned)]
    if kind not in ("teams", "basic", "bearer"):
        tries += [(body + b" ", headers), (body[:-1], headers)]
    for one in tries:
        problem = assert_problem(sender.post(*one), 401, "invalid_signature")
        assert sender.secret not in problem["detail"] and problem["detail"]
    assert sender.logs() == []
    assert sender.post(body, headers).status_code in (200, 202)


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_delivery_is_acknowledged_and_not_stored_again(team, kind):
    sender, key = Sender(team, kind), str(uuid.uuid4())
    body, headers = sender.delivery(key=key)

    replies = [sender.post(body, headers) for _ in range(3)]

    assert {r.status_code for r in replies} == {202 if kind == "teams" else 200}
    rows = processed(sender, 1)
    if kind in KEYLESS:
        assert len(rows) == 3
        return
    assert len(rows) == 1
    assert sender.log(rows[0]["id"])["duplicates"] == 2


@pytest.mark.parametrize("vector", [v for v in VECTORS if "now_ms" not in v and
                                    "handshake" not in v], ids=lambda v: v["name"])
def test_the_published_vectors_hold_here(team, vector):
    sender = Sender(team, vector["kind"], secret=vector["secret"],
                    **({"callback_url": vector["url"]} if "url" in vector else {}))
    body = vector["body"].encode()

    reply = sender.post(body, vector["headers"])

    assert reply.status_code in (200, 202), reply.text
    [row] = sender.logs()
    assert row["event_type"] == vector["event_type"]
    assert row["event_key"] == vector["event_key"]
    assert row["size_bytes"] == len(body)


@pytest.mark.parametrize("vector", [v for v in VECTORS if "now_ms" in v], ids=lambda v: v["name"])
def test_a_captured_delivery_is_refused_when_its_time_is_over(team, vector):
    sender = Sender(team, vector["kind"], secret=vector["secret"])
    problem = assert_problem(sender.post(vector["body"].encode(), vector["headers"]), 401)
    assert " old" in problem["detail"]


def test_the_registered_address_is_what_trello_signs(team):
    sender = Sender(team, "trello", callback_url="https://elsewhere.example/x")
    assert sender.send().status_code == 401
    team.api.patch(sender.url, {"callback_url": CALLBACK})
    assert sender.send().status_code == 200


def test_without_an_own_address_the_public_url_is_what_is_signed(start_server):
    team = Tenant(start_server({"TESSERA_PUBLIC_URL": "https://desk.example.test"}))
    sender = Sender(team, "trello", callback_url=None)
    body, _ = sender.delivery()
    signature = mac(sender.secret, body, sender.made["hook_url"].encode(), algorithm=hashlib.sha1)
    assert sender.post(body, {"X-Trello-Webhook": b64(signature.digest())}).status_code == 200


def test_another_sender_is_described_by_a_scheme(team):
    scheme = {"signature_header": "X-Acme-Signature", "prefix": "v1=", "signed": "{time}.{body}",
              "time_header": "X-Acme-Time", "type_path": "what", "key_header": "X-Acme-Id",
              "ack_status": 204}
    sender = Sender(team, "hmac", scheme=scheme)
    at, body = str(int(time.time())), b'{"what": "made"}'
    headers = {"X-Acme-Time": at, "X-Acme-Id": "e1",
               "X-Acme-Signature": "v1=" + mac(sender.secret, f"{at}.".encode(), body).hexdigest()}

    assert sender.post(body, headers).status_code == 204
    assert sender.post(body, {**headers, "X-Acme-Time": str(int(at) - 1)}).status_code == 401
    assert sender.send().status_code == 401
    [row] = sender.logs()
    assert (row["event_type"], row["event_key"]) == ("made", "e1")


@pytest.mark.parametrize("status", [200, 201, 202, 203, 204])
def test_the_acknowledgement_is_the_one_asked_for(team, status):
    sender = Sender(team, "hmac", scheme={"ack_status": status})
    assert sender.send().status_code == status


# --- secrets in rotation ---------------------------------------------------------------------------


def test_any_live_secret_holds_while_one_is_rotated(team):
    sender = Sender(team, secret="")
    old = sender.add_secret("the old secret of the sender")
    sender.add_secret("the new secret of the sender")
    for text in ("the old secret of the sender", "the new secret of the sender"):
        assert sender.send(secret=text).status_code == 200
    team.api.delete(f"{sender.url}/secrets/{old['id']}")
    assert sender.send(secret="the old secret of the sender").status_code == 401
    assert sender.send(secret="the new secret of the sender").status_code == 200


def test_the_others_end_when_they_are_told_to(team):
    sender = Sender(team, secret="")
    sender.add_secret("the old secret of the sender")
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3))
    sender.add_secret("the new secret of the sender", others_expire_at=at)
    assert sender.send(secret="the old secret of the sender").status_code == 200
    wait_until(lambda: sender.send(secret="the old secret of the sender").status_code == 401, 5,
               "the old secret has ended")
    assert sender.send(secret="the new secret of the sender").status_code == 200
    assert len(team.api.get(sender.url + "/secrets").json()["data"]) == 1


def test_a_secret_that_does_not_open_leaves_the_others_their_work(team):
    sender = Sender(team, secret="")
    broken = sender.add_secret("the secret that gets damaged")
    sender.add_secret("the secret that stays whole")
    truth.execute(team.server, "UPDATE integration_secret SET secret = (SELECT secret FROM "
                  "integration_secret WHERE integration_id = ? AND id <> ?) WHERE id = ?",
                  sender.id, broken["id"], broken["id"])
    assert sender.send(secret="the secret that stays whole").status_code == 200
    assert sender.send(secret="the secret that gets damaged").status_code == 401


# --- who is not there -------------------------------------------------------------------------------


def test_unknown_disabled_and_deleted_ones_are_404_whatever_is_sent(team):
    off, gone = Sender(team), Sender(team)
    team.api.post(off.url + "/disable")
    team.api.delete(gone.url)
    outside = Api(team.server)
    for path in (off.path, gone.path, f"/hooks/{ABSENT}", "/hooks/nonsense"):
        body, headers = off.delivery()
        assert_problem(outside.request("POST", path, data=body, headers=headers), 404)
        assert_problem(outside.request("GET", path), 404)
    assert off.logs() == []
    team.api.post(off.url + "/enable")
    assert off.send().status_code == 200


def test_the_id_in_upper_case_is_the_same(team):
    sender = Sender(team)
    sender.path = f"/hooks/{sender.id.upper()}"
    assert sender.send().status_code == 200
    assert len(sender.logs()) == 1


def test_an_integration_without_a_secret_takes_nothing(team):
    sender = Sender(team, secret="")
    assert_problem(sender.send(secret="anything that is long"), 401)
    assert_problem(sender.post(b"", {"X-Hub-Signature-256": "sha256="}), 401)


def test_what_comes_to_one_team_is_not_seen_by_another(team, server):
    mine, theirs = Sender(team), Sender(Tenant(server))
    assert mine.send(key="the-same").status_code == theirs.send(key="the-same").status_code == 200
    [row] = mine.logs()
    assert_problem(theirs.team.api.get(f"/v1/webhook-logs/{row['id']}"), 404)
    assert_problem(theirs.team.api.post(f"/v1/webhook-logs/{row['id']}/replay"), 404)
    assert theirs.team.api.get("/v1/webhook-logs", params={"integration_id": mine.id}) \
        .json()["data"] == []
    assert len(theirs.logs()) == 1


# --- bodies ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe\x00 no text", b'{"a":"\\ud800"}', b"null",
                                  "é☃".encode(), b'{"n":12345678901234567890123}', b"a\0b"],
                         ids=repr)
def test_any_signed_body_is_kept_byte_for_byte(team, body):
    sender = Sender(team)
    assert sender.send(body=body).status_code == 200
    [row] = sender.logs()
    reply = team.api.get(f"/v1/webhook-logs/{row['id']}/payload")
    assert reply.status_code == 200 and reply.content == body
    assert row["size_bytes"] == len(body)
    full = sender.log(row["id"])
    if full["payload_base64"] is not None:
        assert base64.b64decode(full["payload_base64"]) == body and full["payload"] is None
    else:
        assert full["payload"] == json.loads(body)


def test_a_body_above_the_limit_is_413_and_one_at_it_is_taken(start_server):
    team = Tenant(start_server({"TESSERA_HOOK_BODY_MAX_KB": "64"}))
    sender = Sender(team)
    assert sender.send(body=b"x" * 65536).status_code == 200
    assert_problem(sender.send(body=b"x" * 65537), 413, "payload_too_large")
    body, headers = sender.delivery(body=b"y" * 70000)
    chunked = sender.outside.request("POST", sender.path, data=iter([body]), headers=headers)
    assert_problem(chunked, 413, "payload_too_large")
    assert len(sender.logs()) == 1


def test_a_large_body_is_taken_and_left_out_of_the_shown_event(team):
    sender, body = Sender(team), json.dumps({"a": "x" * 3000000}).encode()
    assert sender.send(body=body).status_code == 200
    [row] = sender.logs()
    full = sender.log(row["id"])
    assert full["payload"] is None and full["payload_base64"] is None
    assert full["size_bytes"] == len(body)
    assert team.api.get(f"/v1/webhook-logs/{row['id']}/payload").content == body


def test_headers_are_kept_without_what_is_secret(team):
    sender = Sender(team, "github")
    body, headers = sender.delivery(key="k-1", type="issues")
    sender.post(body, {**headers, "Cookie": "a=planted-cookie", "Authorization": "Bearer planted-key",
                       "X-GitHub-Token": "planted-token", "X-GitHub-Hook-ID": "7", "X-Other": "no",
                       "User-Agent": 'Hook "shot"'})
    [row] = sender.logs()
    assert sender.log(row["id"])["headers"] == {
        "x-github-event": "issues", "x-github-delivery": "k-1", "x-github-hook-id": "7",
        "content-type": "application/json", "user-agent": 'Hook "shot"'}


def test_the_secret_of_microsoft_is_masked_in_what_is_kept(team):
    sender = Sender(team, "teams")
    assert sender.send().status_code == 202
    [row] = sender.logs()
    full = sender.log(row["id"])
    assert full["payload"]["value"][0]["clientState"] == "***"
    assert sender.secret.encode() not in team.api.get(
        f"/v1/webhook-logs/{row['id']}/payload").content


# --- which events ------------------------------------------------------------------------------------


def test_events_that_are_not_wanted_are_stored_and_ignored(team):
    sender = Sender(team, event_types=["issues", "pull_request.*"])
    for kind in ("issues", "issues.opened", "pull_request.closed", "pull_request", "push"):
        assert sender.send(type=kind).status_code == 200
    wait_until(lambda: not sender.logs(state="received"), 15, "all are handled")
    got = {r["event_type"]: (r["state"], r["processed"], r["processed_at"] is None)
           for r in sender.logs()}
    assert got == {"issues": ("processed", True, False), "issues.opened": ("ignored", False, True),
                   "pull_request.closed": ("processed", True, False),
                   "pull_request": ("ignored", False, True), "push": ("ignored", False, True)}


def test_processed_events_are_told_to_webhooks_once(server):
    team = Tenant(server)
    listen(team)
    sender = Sender(team, event_types=["issues"])
    body, headers = sender.delivery(key="told-once", type="issues")
    for _ in range(2):
        sender.post(body, headers)
    sender.send(type="push")
    [log] = [r for r in processed(sender, 1) if r["event_type"] == "issues"]

    def told():
        return [json.loads(data) for data, in truth.rows(
            server, "SELECT data FROM event WHERE team_id = ? AND type = "
            "'integration.event_received'", team.id)]
    wait_until(lambda: not sender.logs(state="received"), 15, "all are handled")
    [data] = told()
    assert data == {"integration_id": sender.id, "kind": "github", "event_type": "issues",
                    "event_key": "told-once", "webhook_log_id": log["id"],
                    "received_at": log["received_at"], "replay": False}
    team.api.post(f"/v1/webhook-logs/{log['id']}/replay")
    wait_until(lambda: len(told()) == 2, 5, "the replay is told of")
    assert told()[1] == {**data, "replay": True}


# --- handshakes --------------------------------------------------------------------------------------


def test_slack_is_answered_its_challenge_when_it_is_signed(team):
    sender = Sender(team, "slack")
    body = json.dumps({"type": "url_verification", "challenge": "3eZbrw1aBm2rZg"}).encode()
    _, headers = sender.delivery(body=body)
    reply = sender.post(body, headers)
    assert (reply.status_code, reply.text) == (200, "3eZbrw1aBm2rZg")
    assert reply.headers["Content-Type"].startswith("text/plain")
    assert_problem(sender.post(body, {}), 401)
    assert sender.logs() == []


def test_trello_finds_the_address_by_head(team):
    sender = Sender(team, "trello", secret="")
    for method in ("HEAD", "GET"):
        reply = sender.outside.request(method, sender.path)
        assert (reply.status_code, reply.text) == (200, "")


def test_microsoft_is_answered_its_validation_token(team):
    sender = Sender(team, "teams", secret="")
    sender.path += "?validationToken=Validation%3A+a+b%26%C3%A9"
    reply = sender.post(b"", {})
    assert (reply.status_code, reply.content.decode()) == (200, "Validation: a b&é")
    assert reply.headers["Content-Type"].startswith("text/plain")


def test_asana_brings_its_secret_while_one_is_awaited(team):
    sender = Sender(team, "asana", secret="")
    secret = "b537207f20cbfa02357cf448134da559"
    assert sender.made["await_until"] is not None and not sender.made["has_secret"]

    reply = sender.post(b"", {"X-Hook-Secret": secret})

    assert (reply.status_code, reply.headers["X-Hook-Secret"]) == (200, secret)
    now = sender.read()
    assert now["has_secret"] and now["await_until"] is None and now["handshake_at"]
    assert now["verification_token"] is None and now["version"] == 2
    assert sender.send(secret=secret).status_code == 200
    rows = team.audit(target_id=sender.id)
    assert [r["action"] for r in rows] == ["integration.create", "integration.handshake"]
    assert rows[1]["actor_kind"] == "server" and secret not in repr(rows)


def test_a_handshake_that_nobody_awaits_changes_nothing(team):
    sender = Sender(team, "asana", secret="")
    assert sender.post(b"", {"X-Hook-Secret": "the-first-one-of-them"}).status_code == 200
    before = sender.read()
    problem = assert_problem(sender.post(b"", {"X-Hook-Secret": "of-a-stranger-later"}), 401)
    assert "awaited" in problem["detail"]
    assert sender.read() == before
    assert sender.send(secret="of-a-stranger-later").status_code == 401

    reply = team.api.post(sender.url + "/await-handshake", {"seconds": 60})
    assert reply.status_code == 200 and reply.json()["await_until"]
    assert sender.post(b"", {"X-Hook-Secret": "of-a-second-webhook"}).status_code == 200
    for secret in ("the-first-one-of-them", "of-a-second-webhook"):
        assert sender.send(secret=secret).status_code == 200


def test_a_handshake_is_awaited_for_its_time_only(team):
    sender = Sender(team, "asana", secret="")
    team.api.post(sender.url + "/await-handshake", {"seconds": 1})
    wait_until(lambda: sender.read()["await_until"] is None, 5, "the time is over")
    assert_problem(sender.post(b"", {"X-Hook-Secret": "too-late-for-this-time"}), 401)


def test_of_two_handshakes_at_once_one_is_taken(team):
    sender, replies = Sender(team, "asana", secret=""), []
    threads = [threading.Thread(target=lambda n=n: replies.append(
        Api(team.server).request("POST", sender.path, headers={"X-Hook-Secret": f"number-{n}-of-8"})))
        for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(r.status_code for r in replies) == [200] + [401] * 7
    assert len(team.api.get(sender.url + "/secrets").json()["data"]) == 1


@pytest.mark.parametrize("secret", ["short", "has a\ttab in it", "é" * 20])
def test_a_handshake_without_a_usable_secret_is_refused(team, secret):
    sender = Sender(team, "asana", secret="")
    reply = sender.post(b"", {"X-Hook-Secret": secret.encode()})
    assert_problem(reply, 401)
    assert sender.read()["await_until"] is not None


def test_await_handshake_is_409_for_kinds_whose_handshake_brings_none(team):
    sender = Sender(team, "github", secret="")
    assert_problem(team.api.post(sender.url + "/await-handshake", {}), 409, "conflict")
    notion = Sender(team, "notion", secret="")
    for seconds in (0, 3601, "x"):
        assert_problem(team.api.post(notion.url + "/await-handshake", {"seconds": seconds}), 422,
                       "invalid_field", ["seconds"])


def test_notions_token_is_shown_to_who_may_paste_it_until_an_event_is_signed(team):
    sender, token = Sender(team, "notion", secret=""), "secret_tMrlL1qK5vuQAh1b6cZGhFChZTSYJlce98V"
    body = json.dumps({"verification_token": token}).encode()

    assert sender.post(body, {"Content-Type": "application/json"}).status_code == 200

    assert sender.read()["verification_token"] == token
    reader = team.api_with(["integrations:read"])
    assert reader.get(sender.url).json()["verification_token"] is None
    assert token not in team.api.get("/v1/integrations", params={"limit": 200}).text
    [listed] = team.api.get(sender.url + "/secrets").json()["data"]
    assert listed["unconfirmed"] is True and token not in repr(listed)
    version = sender.read()["version"]

    assert sender.send(secret=token).status_code == 200

    assert sender.read()["verification_token"] is None
    assert sender.read()["version"] == version + 1
    [listed] = team.api.get(sender.url + "/secrets").json()["data"]
    assert listed["unconfirmed"] is False
    assert_problem(sender.post(body, {}), 401)
    assert [r["action"] for r in team.audit(target_id=sender.id)][-1] == "integration.handshake"


# --- many at once --------------------------------------------------------------------------------------


def test_copies_that_come_at_once_are_one_event(team):
    sender, statuses = Sender(team), []
    body, headers = sender.delivery(key="at-once")

    def work():
        api = Api(team.server, check=False)
        for _ in range(5):
            statuses.append(api.request("POST", sender.path, data=body, headers=headers).status_code)
    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert statuses == [200] * 40
    [row] = processed(sender, 1)
    assert sender.log(row["id"])["duplicates"] == 39


def test_a_thousand_events_are_processed_each_once(server):
    team = Tenant(server)
    listen(team)
    sender, keys = Sender(team), [[f"{n}-{i}" for i in range(125)] for n in range(8)]

    def work(mine):
        api = Api(server, check=False)
        for key in mine:
            body, headers = sender.delivery(key=key)
            assert api.request("POST", sender.path, data=body, headers=headers).status_code == 200
    threads = [threading.Thread(target=work, args=(mine,)) for mine in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    where = "FROM webhook_log WHERE integration_id = ?"
    wait_until(lambda: truth.value(server, f"SELECT count(*) {where} AND state = 'processed'",
                                   sender.id) == 1000, 10, "all are processed")
    assert truth.value(server, f"SELECT count(DISTINCT event_key) {where}", sender.id) == 1000
    assert truth.value(server, "SELECT count(*) FROM event WHERE team_id = ? AND type = "
                       "'integration.event_received'", team.id) == 1000
    assert truth.value(server, f"SELECT max(attempts) {where}", sender.id) == 1


def test_an_address_that_sends_much_that_does_not_hold_is_429_there_alone(start_server):
    team = Tenant(start_server({"TESSERA_HOOK_REFUSED_LIMIT": "5"}))
    sender, other = Sender(team), Sender(team)
    bad = sender.delivery(secret="not the right secret")
    statuses = [sender.post(*bad).status_code for _ in range(12)]
    # A minute may begin in between, and the count with it.
    assert set(statuses) == {401, 429} and statuses.count(401) <= 10
    reply = wait_until(lambda: (r := sender.send()).status_code == 429 and r or
                       (sender.post(*bad) and None), 5, "the brake is on")
    assert_problem(reply, 429, "rate_limit_exceeded")
    assert 1 <= int(reply.headers["Retry-After"]) <= 60
    assert other.send().status_code == 200


def test_refused_deliveries_write_nothing(server):
    team = Tenant(server)
    sender = Sender(team)
    bad = sender.delivery(secret="not the right secret")
    written = ("SELECT (SELECT count(*) FROM hook_seen WHERE team_id = t.id), (SELECT count(*) FROM "
               "webhook_log WHERE team_id = t.id), (SELECT count(*) FROM job WHERE team_id = t.id), "
               "(SELECT count(*) FROM audit_log WHERE team_id = t.id) FROM team t WHERE id = ?")
    before = truth.rows(team.server, written, team.id)
    for _ in range(20):
        assert sender.post(*bad).status_code == 401
    assert truth.rows(team.server, written, team.id) == before
    told = [line for line in team.server.log_text().splitlines() if "hook.refused" in line
            and sender.id in line]
    assert 1 <= len(told) <= 6          # three a minute


def test_every_kind_has_a_signer_here(server):
    words = Api(server).get("/openapi.json").json()["components"]["schemas"]["Integration"] \
        ["properties"]["kind"]["enum"]
    assert sorted(words) == sorted(SIGNERS) and all(secret_of(kind) for kind in words)
