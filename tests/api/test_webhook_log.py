"""Webhooks end to end: what arrives is verified by the published libraries standardwebhooks and svix;
the log of deliveries, tests, replays, recovery, events."""

import base64
import datetime
import json
import uuid

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from harness import truth
from harness.client import Api, assert_problem
from harness.jobs import add_job, state_of
from harness.tenants import Tenant
from harness.verifier import Verifier
from harness.wait import stays_true, wait_until

PATH = "/v1/webhooks"
ABSENT = "01890000-0000-7000-8000-000000000000"


@pytest.fixture(scope="module")
def receiver():
    made = Verifier()
    yield made
    made.close()


@pytest.fixture(scope="module")
def quick(make_server):
    """A server whose waits between attempts are a hundredth."""
    server = make_server({"TESSERA_WEBHOOK_WAIT_PERCENT": "1"})
    yield server
    server.close()


class Hook:
    """A webhook of a team of its own, its receiver's place, and the key of the team."""

    def __init__(self, server, receiver, **fields):
        self.server, self.receiver, self.team = server, receiver, Tenant(server)
        self.api, self.name = self.team.api, "r" + uuid.uuid4().hex
        self.made = self.add(**fields)
        self.id, self.path = self.made["id"], f"{PATH}/{self.made['id']}"
        if self.made["secret"]:
            receiver.treat(self.name, secrets=[self.made["secret"]])

    def add(self, **fields):
        reply = self.api.post(PATH, {"url": self.receiver.url(self.name), "events": ["ticket.*"],
                                     **fields})
        assert reply.status_code == 201, reply.text
        return reply.json()

    def ticket(self, title="Printer", **fields):
        reply = self.api.post("/v1/tickets", {"title": title, **fields})
        assert reply.status_code == 201, reply.text
        return reply.json()

    def wait(self, count, timeout_s=15):
        return self.receiver.wait(self.name, count, timeout_s)

    def seen(self):
        return self.receiver.seen(self.name)

    def post(self, verb, body, status=202):
        reply = self.api.post(f"{self.path}/{verb}", body)
        assert reply.status_code == status, reply.text
        return reply.json()

    def deliveries(self, **params):
        reply = self.api.get(f"{self.path}/deliveries", params=params)
        assert reply.status_code == 200, reply.text
        return reply.json()["data"]

    def delivery(self, delivery_id):
        reply = self.api.get(f"{self.path}/deliveries/{delivery_id}")
        assert reply.status_code == 200, reply.text
        return reply.json()

    def settled(self, delivery_id):
        return wait_until(lambda: (d := self.delivery(delivery_id))["state"] not in (
            "waiting", "sending") and d, 15, "the delivery is over")

    def rest(self, states=("delivered",)):
        """All deliveries are over."""
        wait_until(lambda: all(d["state"] in states for d in self.deliveries(limit=200)), 15,
                   f"all deliveries are {states}")

    def given_out(self):
        """Every event went to the webhooks that wanted it."""
        wait_until(lambda: truth.value(self.server, "SELECT count(*) FROM event WHERE team_id = ? "
                                       "AND is_new = 1", self.team.id) == 0, 10,
                   "the events are given out")

    def job_done(self, job):
        return wait_until(lambda: (j := self.api.get(f"/v1/jobs/{job['id']}").json())["state"] in (
            "done", "dead") and j, 20, "the job is over")


@pytest.fixture
def hook(quick, receiver):
    return Hook(quick, receiver)


def ago(**span):
    then = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(**span)
    return then.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def types_of(deliveries):
    return sorted(d.body["type"] for d in deliveries)


# --- what arrives ---------------------------------------------------------------------------------


def test_both_libraries_verify_what_arrives(hook):
    ticket = hook.ticket("Zoë’s printer 🖨", priority="high", metadata={"n": 1.5, "t": "\u2028"})

    (came,) = hook.wait(1)

    assert came.verdicts == {"standardwebhooks": {"ok": True, "secret": 0},
                             "svix": {"ok": True, "secret": 0}}
    assert came.body["type"] == "ticket.created" and came.body["data"] == ticket
    assert came.body["team_id"] == hook.team.id and came.body["id"] == came.id
    assert came.headers["content-type"] == "application/json"
    assert "webhook-replay" not in came.headers
    assert hook.api.get(f"/v1/events/{came.id}").json() == came.body


def test_a_wrong_secret_verifies_nothing(hook):
    other = "whsec_" + base64.b64encode(bytes(32)).decode()
    hook.receiver.treat(hook.name, secrets=[other])
    hook.ticket()

    (came,) = hook.wait(1)

    assert [v["ok"] for v in came.verdicts.values()] == [False, False]


def test_while_a_secret_is_rotated_old_and_new_verify(hook):
    new = hook.post("secrets", {"grace_s": 3600}, 201)["secret"]
    hook.ticket("one")
    assert hook.wait(1)[0].is_verified()        # the old one

    hook.receiver.treat(hook.name, secrets=[new])
    hook.ticket("two")
    assert hook.wait(2)[1].is_verified()

    old = hook.api.get(f"{hook.path}/secrets").json()["data"][1]
    assert hook.api.delete(f"{hook.path}/secrets/{old['id']}").status_code == 204
    hook.receiver.treat(hook.name, secrets=[hook.made["secret"], new])
    hook.ticket("three")
    assert {v["secret"] for v in hook.wait(3)[2].verdicts.values()} == {1}


def test_an_ed25519_signature_holds_with_the_public_key(quick, receiver):
    hook = Hook(quick, receiver, secret_kind="ed25519")
    hook.ticket()

    (came,) = hook.wait(1)

    version, signature = came.headers["webhook-signature"].split(",")
    assert version == "v1a"
    key = base64.b64decode(hook.made["public_key"].removeprefix("whpk_"))
    text = f"{came.id}.{came.headers['webhook-timestamp']}.{came.text}".encode()
    Ed25519PublicKey.from_public_bytes(key).verify(base64.b64decode(signature), text)


def test_headers_of_its_own_are_sent(quick, receiver):
    hook = Hook(quick, receiver, headers={"Authorization": "Bearer abc", "X-Team": "support"})
    hook.ticket()

    (came,) = hook.wait(1)

    assert (came.headers["authorization"], came.headers["x-team"]) == ("Bearer abc", "support")
    assert came.is_verified()


def test_only_events_that_it_wants_come(quick, receiver):
    hook = Hook(quick, receiver, events=["ticket.created", "ticket.status_changed"], filter=[
        {"path": "data.priority", "op": "in", "value": ["high", "urgent"]},
        {"path": "data.metadata.plan", "op": "eq", "value": "gold"}])
    hook.ticket("no", priority="low", metadata={"plan": "gold"})
    hook.ticket("no", priority="urgent", metadata={"plan": "silver"})
    wanted = hook.ticket("yes", priority="urgent", metadata={"plan": "gold"})
    hook.api.patch(f"/v1/tickets/{wanted['id']}", {"title": "no type"})
    hook.api.patch(f"/v1/tickets/{wanted['id']}", {"status": "waiting"})

    came = hook.wait(2)

    assert types_of(came) == ["ticket.created", "ticket.status_changed"]
    hook.rest()
    assert len(hook.seen()) == 2


def test_a_thin_payload_names_what_it_is_about(quick, receiver):
    hook = Hook(quick, receiver, payload="thin")
    ticket = hook.ticket("Secret words")

    (came,) = hook.wait(1)

    assert came.is_verified() and "Secret words" not in came.text
    assert came.body["data"] == {"id": ticket["id"], "object": "ticket",
                                 "path": f"/v1/tickets/{ticket['id']}"}
    assert hook.api.get(came.body["data"]["path"]).json()["title"] == "Secret words"


# --- tests ----------------------------------------------------------------------------------------


def test_a_test_sends_an_example_to_this_webhook_alone(hook):
    twin = hook.add(events=["*"])

    first = hook.post("test", {})
    second = hook.post("test", {"event_type": "contact.created"})

    came = hook.wait(2)
    assert types_of(came) == ["contact.created", "webhook.test"]
    assert all(c.is_verified() for c in came)
    assert {d.id for d in came} == {first["event_id"], second["event_id"]}
    assert first["state"] == "waiting" and first["event_type"] == "webhook.test"
    assert hook.settled(first["id"])["state"] == "delivered"
    assert next(c for c in came if c.id == first["event_id"]).body["data"]["id"] == hook.id
    assert hook.api.get(f"{PATH}/{twin['id']}/deliveries").json()["data"] == []
    assert hook.api.get("/v1/events").json()["data"] == []


def test_every_type_of_event_can_be_tested(hook):
    types = hook.api.get("/v1/event-types").json()["data"]
    for row in types:
        hook.post("test", {"event_type": row["type"]})

    came = hook.wait(len(types))

    assert types_of(came) == sorted(row["type"] for row in types)
    assert all(c.is_verified() for c in came)
    examples = {row["type"]: row["example"] for row in types}
    for one in came:
        if one.body["type"] != "webhook.test":
            assert one.body["data"] == examples[one.body["type"]]["data"]


def test_a_test_that_is_wrong_is_refused(hook):
    assert_problem(hook.api.post(f"{hook.path}/test", {"event_type": "ticket.exploded"}), 422)
    assert_problem(hook.api.post(f"{hook.path}/test", {"x": 1}), 422)
    hook.api.post(f"{hook.path}/disable")
    assert_problem(hook.api.post(f"{hook.path}/test", {}), 409)
    assert_problem(Api(hook.server, None).post(f"{hook.path}/test", {}), 401)


def test_save_and_test_say_the_same_of_an_address_that_may_not_be_called(hook, quick):
    url = "http://10.1.2.3:8080/hook"
    refused = assert_problem(hook.api.patch(hook.path, {"url": url}), 422)["errors"][0]
    truth.execute(quick, "UPDATE webhook SET url = ? WHERE id = ?", url, hook.id)

    tested = assert_problem(hook.api.post(f"{hook.path}/test", {}), 422)["errors"][0]
    hook.ticket()
    sent = wait_until(lambda: [d for d in hook.deliveries() if d["attempt"]], 10, "it was tried")[0]

    assert tested == refused and refused["field"] == "url"
    assert refused["message"] == "url: " + sent["error"]


# --- the log --------------------------------------------------------------------------------------


def test_the_log_shows_each_attempt_and_what_was_answered(hook):
    hook.receiver.treat(hook.name, status=503, body="come back later")
    hook.ticket()
    hook.wait(1)
    wait_until(lambda: hook.deliveries()[0]["attempt"] >= 1, 10, "the attempt is written")
    waiting = hook.deliveries(state="waiting,sending")[0]
    hook.receiver.treat(hook.name, status=204, body="")

    whole = hook.settled(waiting["id"])

    assert whole["state"] == "delivered" and whole["status"] == 204 and whole["error"] is None
    assert whole["next_attempt_at"] is None and whole["finished_at"] is not None
    first, last = whole["attempts"][0], whole["attempts"][-1]
    assert (first["attempt"], first["status"], first["outcome"], first["body"]) == (
        1, 503, "ok", "come back later")
    assert first["error"] and first["duration_ms"] >= 0
    assert (last["status"], last["error"], last["body"]) == (204, None, None)
    assert whole["attempt"] == len(whole["attempts"]) >= 2
    came = hook.seen()
    assert whole["body"] == came[0].body and len({c.text for c in came}) == 1
    assert len({c.headers["webhook-id"] for c in came}) == 1 and all(c.is_verified() for c in came)


def test_the_log_is_filtered(hook):
    one, two = hook.ticket("one"), hook.ticket("two")
    hook.api.patch(f"/v1/tickets/{one['id']}", {"status": "waiting"})
    hook.wait(4)
    hook.rest()
    everything = hook.deliveries()

    assert [d["sequence"] for d in everything] == sorted(
        (d["sequence"] for d in everything), reverse=True)
    assert len(hook.deliveries(event_type="ticket.created")) == 2
    assert {d["event_type"] for d in hook.deliveries(event_type="ticket.updated,ticket.deleted")} == {
        "ticket.updated"}
    assert hook.deliveries(state="failed") == []
    assert hook.deliveries(event_id=everything[0]["event_id"]) == [everything[0]]
    assert hook.deliveries(event_id=ABSENT) == []
    assert len(hook.deliveries(**{"from": ago(minutes=5)})) == 4
    assert hook.deliveries(to=ago(minutes=5)) == []
    assert {d["entity"] for d in everything} == {f"ticket:{one['id']}", f"ticket:{two['id']}"}
    page = hook.api.get(f"{hook.path}/deliveries", params={"limit": 3}).json()
    rest = hook.deliveries(limit=3, cursor=page["next_cursor"])
    assert page["data"] + rest == everything
    for params in ({"state": "lost"}, {"event_type": "x"}, {"from": "yesterday"}, {"event_id": "x"}):
        assert_problem(hook.api.get(f"{hook.path}/deliveries", params=params), 400)


def test_a_delivery_is_found_under_its_own_webhook_only(hook):
    made = hook.post("test", {})
    twin = hook.add()

    assert_problem(hook.api.get(f"{PATH}/{twin['id']}/deliveries/{made['id']}"), 404)
    assert_problem(hook.api.post(f"{PATH}/{twin['id']}/deliveries/{made['id']}/replay"), 404)


# --- again ----------------------------------------------------------------------------------------


def test_a_delivery_is_sent_again_under_the_same_id_and_marked(hook):
    hook.ticket()
    (first,) = hook.wait(1)
    hook.rest()

    again = hook.post(f"deliveries/{hook.deliveries()[0]['id']}/replay", None)

    came = hook.wait(2)[1]
    assert came.id == first.id and came.text == first.text and came.is_verified()
    assert came.headers["webhook-replay"] == "true"
    assert again["replay"] is True and again["event_id"] == first.id
    assert hook.settled(again["id"])["state"] == "delivered"
    assert [d["replay"] for d in hook.deliveries()] == [True, False]


def test_a_range_of_time_is_sent_again(hook):
    tickets = [hook.ticket(f"number {n}") for n in range(5)]
    hook.api.patch(f"/v1/tickets/{tickets[0]['id']}", {"title": "changed"})
    hook.wait(6)
    hook.rest()

    job = hook.post("replay", {"from": ago(minutes=5), "event_types": ["ticket.created"]})["job"]

    assert hook.job_done(job)["state"] == "done"
    came = hook.wait(11)[6:]
    assert {c.body["data"]["id"] for c in came} == {t["id"] for t in tickets}
    assert all(c.headers["webhook-replay"] == "true" and c.is_verified() for c in came)
    hook.rest()
    assert len(hook.seen()) == 11
    assert hook.api.get(f"/v1/jobs/{job['id']}").json()["payload"]["count"] == 5


def test_a_replay_by_state_takes_those_that_ended_so(hook):
    hook.ticket("arrives")
    hook.wait(1)
    hook.rest()
    truth.execute(hook.server, "UPDATE webhook_delivery SET state = 'failed' WHERE webhook_id = ?",
                  hook.id)
    hook.ticket("arrives too")
    hook.wait(2)
    hook.rest(("delivered", "failed"))

    job = hook.post("replay", {"from": ago(minutes=5), "state": ["failed"]})["job"]

    assert hook.job_done(job)["state"] == "done"
    assert [c.body["data"]["title"] for c in hook.wait(3)[2:]] == ["arrives"]
    hook.rest(("delivered", "failed"))
    assert len(hook.seen()) == 3


def test_what_happened_while_it_was_disabled_is_recovered_once(hook):
    hook.ticket("before")
    hook.wait(1)
    hook.rest()
    hook.api.post(f"{hook.path}/disable")
    for n in range(3):
        hook.ticket(f"missed {n}")
    hook.given_out()
    assert_problem(hook.api.post(f"{hook.path}/recover", {"from": ago(minutes=5)}), 409)
    hook.api.post(f"{hook.path}/enable")

    for _ in range(2):      # the second one finds nothing to do
        job = hook.post("recover", {"from": ago(minutes=5)})["job"]
        assert hook.job_done(job)["state"] == "done"
        came = hook.wait(4)
        hook.rest(("delivered", "failed", "cancelled"))

    assert [c.body["data"]["title"] for c in hook.seen()] == [
        "before", "missed 0", "missed 1", "missed 2"]
    assert all("webhook-replay" in c.headers for c in came[1:])


def test_a_replay_goes_on_where_it_was_cut_off(hook):
    """What another run had done of it is in the payload."""
    for n in range(4):
        hook.ticket(f"number {n}")
    hook.wait(4)
    hook.rest()
    ids = [e["id"] for e in hook.api.get("/v1/events").json()["data"]][::-1]
    payload = {"webhook_id": hook.id, "from": ago(minutes=5), "to": ago(minutes=-1),
               "recover": False, "after": ids[1], "count": 2}

    job = add_job(hook.server, hook.team.id, "webhook.replay", payload=json.dumps(payload),
                  lane=hook.id, key=hook.id)

    came = hook.wait(6)[4:]
    assert {c.body["data"]["title"] for c in came} == {"number 2", "number 3"}
    wait_until(lambda: state_of(hook.server, job) == "done", 10, "the job is done")
    assert json.loads(truth.value(hook.server, "SELECT payload FROM job WHERE id = ?",
                                  job))["count"] == 4


def test_more_events_than_a_page_are_sent_again(quick, receiver):
    hook = Hook(quick, receiver, events=["contact.created"])
    tickets = [{"title": f"number {n}"} for n in range(450)]
    assert hook.api.post("/v1/tickets/bulk", {"tickets": tickets}).status_code == 200
    hook.given_out()
    hook.api.patch(hook.path, {"events": ["ticket.created"]})

    job = hook.post("replay", {"from": ago(minutes=5)})["job"]

    assert hook.job_done(job)["state"] == "done"
    rows = truth.value(quick, "SELECT count(DISTINCT event_id) FROM webhook_delivery WHERE "
                              "webhook_id = ? AND is_replay = 1", hook.id)
    assert rows == truth.value(quick, "SELECT count(*) FROM webhook_delivery WHERE webhook_id = ?",
                               hook.id) == 450


def test_a_node_that_is_killed_in_a_replay_sends_nothing_twice(make_server, receiver):
    server = make_server({"TESSERA_WEBHOOK_CALLS": "0", "TESSERA_JOB_LEASE_S": "2"})
    try:
        hook = Hook(server, receiver, events=["ticket.created"])
        for n in range(4):
            tickets = [{"title": f"number {n}-{i}"} for i in range(1000)]
            assert hook.api.post("/v1/tickets/bulk", {"tickets": tickets}).status_code == 200

        truth.execute(server, "UPDATE event SET is_new = 0")     # as if they had been given out

        def sent():
            return truth.value(server, "SELECT count(*) FROM webhook_delivery WHERE is_replay = 1")

        job = hook.post("replay", {"from": ago(minutes=5)})["job"]
        wait_until(sent, 10, "the first page is sent", interval_s=0.001)
        server.kill9()
        begun = sent()
        server.start()
        wait_until(lambda: state_of(server, job["id"]) == "done", 30, "the job is done")

        assert 0 < begun < 4000 and sent() == 4000
        assert truth.value(server, "SELECT count(DISTINCT event_id) FROM webhook_delivery") == 4000
    finally:
        server.close()


def test_a_replay_of_a_disabled_or_deleted_webhook_is_dead_and_says_why(hook):
    payload = {"from": ago(minutes=5), "to": ago(minutes=0), "recover": False, "count": 0}
    hook.api.post(f"{hook.path}/disable")

    def over(webhook_id):
        job = add_job(hook.server, hook.team.id, "webhook.replay", lane=webhook_id, key=webhook_id,
                      payload=json.dumps({"webhook_id": webhook_id, **payload}))
        wait_until(lambda: state_of(hook.server, job) == "dead", 10, "the job is dead")
        return truth.value(hook.server, "SELECT error FROM job WHERE id = ?", job)

    assert "disabled" in over(hook.id)
    assert over(ABSENT) == "Webhook not found"


@pytest.mark.parametrize("verb", ["replay", "recover"])
@pytest.mark.parametrize("span, field", [
    ({"from": 21600}, "from"), ({"from": 60, "to": 120}, "to"), ({"to": 5}, "from"),
    ({"from": "x"}, "from"), ({"from": 60, "x": 1}, "x"), ({"from": -60}, "to"),
])
def test_a_range_that_is_wrong_is_422_and_named(hook, verb, span, field):
    body = {k: ago(minutes=v) if isinstance(v, int) and k != "x" else v for k, v in span.items()}

    problem = assert_problem(hook.api.post(f"{hook.path}/{verb}", body), 422)

    assert [e["field"] for e in problem["errors"]] == [field]


def test_words_of_a_replay_are_checked(hook):
    for body, field in (({"event_types": ["x"]}, "event_types"), ({"state": ["waiting"]}, "state"),
                        ({"state": []}, "state")):
        problem = assert_problem(hook.api.post(f"{hook.path}/replay",
                                               {"from": ago(minutes=5), **body}), 422)
        assert [e["field"] for e in problem["errors"]] == [field]


def test_an_event_that_is_no_longer_kept_cannot_be_sent_again(hook):
    hook.ticket()
    hook.wait(1)
    hook.rest()
    (one,) = hook.deliveries()
    truth.execute(hook.server, "DELETE FROM event WHERE id = ?", one["event_id"])

    assert_problem(hook.api.post(f"{hook.path}/deliveries/{one['id']}/replay"), 409)
    assert hook.delivery(one["id"])["body"] is None
    assert_problem(hook.api.get(f"/v1/events/{one['event_id']}"), 404)


def test_a_deleted_webhook_gets_nothing_more(hook):
    hook.receiver.treat(hook.name, status=500)
    hook.ticket()
    hook.wait(1)
    assert hook.api.delete(hook.path).status_code == 204

    wait_until(lambda: not truth.value(
        hook.server, "SELECT count(*) FROM webhook_delivery WHERE webhook_id = ? AND state IN "
        "('waiting', 'sending')", hook.id), 10, "nothing waits any more")
    before = len(hook.seen())
    hook.ticket("unheard")
    stays_true(lambda: len(hook.seen()) == before, 0.5, "nothing comes")


# --- events ---------------------------------------------------------------------------------------


def test_events_are_listed_newest_first_and_filtered(hook):
    ticket = hook.ticket("one")
    hook.api.post("/v1/contacts", {"name": "Zoë"})
    hook.api.patch(f"/v1/tickets/{ticket['id']}", {"title": "two"})

    def found(**params):
        reply = hook.api.get("/v1/events", params=params)
        assert reply.status_code == 200, reply.text
        return [e["type"] for e in reply.json()["data"]]

    assert found() == ["ticket.updated", "contact.created", "ticket.created"]
    assert found(type="contact.created,ticket.created") == ["contact.created", "ticket.created"]
    assert found(subject_id=ticket["id"]) == ["ticket.updated", "ticket.created"]
    assert found(**{"from": ago(minutes=5)}) == found() and found(to=ago(minutes=5)) == []
    page = hook.api.get("/v1/events", params={"limit": 2}).json()
    rest = hook.api.get("/v1/events", params={"limit": 2, "cursor": page["next_cursor"]}).json()
    assert len(page["data"]) == 2 and len(rest["data"]) == 1 and rest["next_cursor"] is None
    newest = page["data"][0]
    assert newest["previous"] == {"title": "one"} and newest["entity"] == f"ticket:{ticket['id']}"
    assert newest["actor"] == {"kind": "key", "id": hook.team.key["id"], "name": "test"}
    assert_problem(hook.api.get("/v1/events", params={"type": "x"}), 400)
    assert_problem(hook.api.get(f"/v1/events/{ABSENT}"), 404)
    assert_problem(hook.api.get("/v1/events/x"), 400)


def test_each_type_of_event_has_an_example_like_the_real_one(hook):
    types = {row["type"]: row for row in hook.api.get("/v1/event-types").json()["data"]}
    hook.ticket()
    real = hook.api.get("/v1/events").json()["data"][0]

    example = types["ticket.created"]["example"]
    assert set(example) == set(real) and set(example["data"]) == set(real["data"])
    assert all(row["example"]["type"] == word and row["description"] for word, row in types.items())
    assert types["ticket.assigned"]["example"]["previous"] == {"assignee_id": None}
