"""Deliveries of webhooks: what is sent, what follows from the answer, in which order."""

import time

import pytest
from harness import truth
from harness.hooks import (attempts, deliveries, new_ticket, new_tickets, new_webhook,
                           wait_deliveries, wait_over, webhook_row)
from harness.receiver import Answer, Receiver
from harness.tenants import Tenant
from harness.wait import stays_true, wait_until

QUICK = {"TESSERA_WEBHOOK_WAIT_PERCENT": "1"}       # 5 s become 50 ms, 5 minutes 3 s
DAY_MS = 86400 * 1000


@pytest.fixture(scope="module")
def quick(make_server):
    made = make_server(QUICK)
    yield made
    assert "webhook.engine_failed" not in made.log_text()
    made.close()


@pytest.fixture
def team(quick):
    return Tenant(quick)


@pytest.fixture
def receiver():
    with Receiver() as made:
        yield made


# --- what is sent ---------------------------------------------------------------------------------


def test_an_event_arrives_signed_and_whole(quick, team, receiver):
    hook = new_webhook(team, receiver.url(), ["ticket.*"], headers={"X-Team": "blue"})

    ticket = new_ticket(team, "Printer is on fire", priority="urgent")

    [got] = receiver.wait(1)
    assert got.signed_by(hook["secret"])
    assert got.headers["content-type"] == "application/json"
    assert got.headers["user-agent"].startswith("tessera/")
    assert got.headers["x-team"] == "blue"
    assert "webhook-replay" not in got.headers
    body = got.json
    assert body["id"] == got.id and body["type"] == "ticket.created"
    assert body["team_id"] == team.id and body["entity"] == f"ticket:{ticket['id']}"
    assert body["data"]["title"] == "Printer is on fire" and body["data"]["id"] == ticket["id"]
    assert body["previous"] is None
    assert body["actor"] == {"kind": "key", "id": team.key["id"], "name": "test"}
    [row] = wait_over(quick, hook)
    assert (row["state"], row["attempt"], row["status"], row["error"]) == ("delivered", 1, 200, None)
    [(n, status, outcome, error, answer, _)] = attempts(quick, row)
    assert (n, status, outcome, error, answer) == (1, 200, "ok", None, "ok")
    assert webhook_row(quick, hook, "success_ms")[0] is not None


def test_a_change_has_the_old_values_and_sequences_rise(team, receiver):
    new_webhook(team, receiver.url(), ["ticket.*"])
    ticket = new_ticket(team)

    team.api.patch(f"/v1/tickets/{ticket['id']}", {"title": "Scanner"})

    wait_until(lambda: receiver.of("ticket.updated"), 5, "the change arrives")
    [made], [changed] = receiver.of("ticket.created"), receiver.of("ticket.updated")
    assert changed.json["previous"] == {"title": "Printer"}
    assert changed.json["data"]["title"] == "Scanner"
    assert changed.json["sequence"] > made.json["sequence"]


def test_a_thin_payload_has_ids_and_a_path_that_answers(team, receiver):
    new_webhook(team, receiver.url(), payload="thin")

    ticket = new_ticket(team, "secret title")

    [got] = receiver.wait(1)
    assert "secret title" not in got.body.decode()
    assert got.json["data"] == {"id": ticket["id"], "object": "ticket",
                                "path": f"/v1/tickets/{ticket['id']}"}
    assert team.api.get(got.json["data"]["path"]).json()["title"] == "secret title"


def test_only_what_is_wanted_and_only_to_the_team(quick, team, receiver):
    wanted = new_webhook(team, receiver.url("/wanted"), ["ticket.created"],
                         filter=[{"path": "data.priority", "op": "eq", "value": "urgent"}])
    new_webhook(team, receiver.url("/other"), ["contact.*"])
    new_webhook(Tenant(quick), receiver.url("/foreign"), ["*"])

    new_ticket(team, priority="low")
    urgent = new_ticket(team, priority="urgent")

    [got] = receiver.wait(1, "/wanted")
    assert got.json["data"]["id"] == urgent["id"]
    wait_over(quick, wanted)
    assert truth.value(quick, "SELECT count(*) FROM event WHERE is_new = 1") == 0
    assert not receiver.all("/other") and not receiver.all("/foreign")


def test_all_live_secrets_sign(team, receiver):
    hook = new_webhook(team, receiver.url())
    reply = team.api.post(f"/v1/webhooks/{hook['id']}/secrets", {})
    assert reply.status_code == 201, reply.text

    new_ticket(team)

    [got] = receiver.wait(1)
    assert got.signed_by(hook["secret"]) and got.signed_by(reply.json()["secret"])
    assert len(got.headers["webhook-signature"].split(" ")) == 2


def test_a_large_event_arrives(team, receiver):
    new_webhook(team, receiver.url())

    ticket = new_ticket(team, description="é" * 9000, metadata={"filler": ["x" * 900] * 30})

    [got] = receiver.wait(1)
    assert got.json["data"]["description"] == ticket["description"]
    assert got.json["data"]["metadata"] == ticket["metadata"]


# --- what follows from the answer -----------------------------------------------------------------


def test_a_failure_is_sent_again_with_the_same_bytes_and_a_new_time(quick, team, receiver):
    answers = [Answer(500, {"Connection": "close"}), 0, 200]    # no dead connection to be used anew
    receiver.answers["/hook"] = lambda _: answers.pop(0)
    hook = new_webhook(team, receiver.url())

    new_ticket(team)

    first, second, third = receiver.wait(3, timeout_s=10)
    assert first.id == second.id == third.id
    assert first.body == second.body == third.body
    assert third.signed_by(hook["secret"])
    assert 0.03 <= second.at - first.at < 2.5, "5 s at one percent"
    assert 2.3 <= third.at - second.at < 7, "5 minutes at one percent"
    [row] = wait_over(quick, hook)
    assert (row["state"], row["attempt"]) == ("delivered", 3)
    tries = attempts(quick, row)
    assert [(n, status, outcome) for n, status, outcome, *_ in tries] == [
        (1, 500, "ok"), (2, None, "broken"), (3, 200, "ok")]
    assert "200 to 299" in tries[0][3]


def test_retry_after_is_honoured_up_to_twice_the_wait(team, receiver):
    answers = [Answer(503, {"Retry-After": "60"}), Answer(200)]
    receiver.answers["/hook"] = lambda _: answers.pop(0)
    new_webhook(team, receiver.url())

    new_ticket(team)

    first, second = receiver.wait(2)
    assert second.at - first.at >= 0.095, "twice 50 ms"


def test_gone_disables_the_webhook_and_says_so(quick, team, receiver):
    receiver.answers["/gone"] = 410
    gone = new_webhook(team, receiver.url("/gone"))
    new_webhook(team, receiver.url("/told"), ["webhook.disabled"])

    new_ticket(team)

    [told] = receiver.wait(1, "/told")
    assert told.json["data"]["id"] == gone["id"] and told.json["actor"]["kind"] == "server"
    [row] = wait_over(quick, gone)
    assert (row["state"], row["status"]) == ("failed", 410)
    shown = team.api.get(f"/v1/webhooks/{gone['id']}").json()
    assert (shown["state"], shown["disabled_reason"]) == ("disabled", "gone")
    assert any(r["action"] == "webhook.disable" for r in team.audit())
    new_ticket(team)
    receiver.answers["/gone"] = 200
    wait_until(lambda: not truth.value(quick, "SELECT count(*) FROM event WHERE is_new = 1"), 5,
               "the event was given out")
    assert len(deliveries(quick, gone)) == 1, "a disabled webhook is given nothing"


def test_redirects_are_failed_attempts_and_not_followed(quick, team, receiver):
    receiver.answers["/moved"] = lambda _: Answer(307, {"Location": receiver.url("/elsewhere")})
    hook = new_webhook(team, receiver.url("/moved"))

    new_ticket(team)

    receiver.wait(2, "/moved")
    [row] = deliveries(quick, hook)
    assert row["status"] == 307 and "redirects" in row["error"]
    assert not receiver.all("/elsewhere")


def test_ten_attempts_and_then_it_failed(quick, team, receiver):
    """The rows are moved in time; the schedule itself is told in tests/unit."""
    receiver.answers["/hook"] = 500
    hook = new_webhook(team, receiver.url())
    new_ticket(team)

    def hurry():
        truth.execute(quick, "UPDATE webhook_delivery SET due_ms = 1 WHERE webhook_id = ? AND "
                             "state = 'waiting'", hook["id"])
        truth.execute(quick, "UPDATE webhook_lane SET wake_ms = 1 WHERE webhook_id = ?", hook["id"])
        return [row["state"] for row in deliveries(quick, hook)] == ["failed"]
    wait_until(hurry, 30, "it is given up", 0.2)

    [row] = deliveries(quick, hook)
    assert row["attempt"] == 10 == len(attempts(quick, row)) == len(receiver.all())


def test_what_an_answer_says_is_kept_as_text(quick, team, receiver):
    receiver.answers["/bytes"] = lambda _: Answer(200, body=b"\xff\x00\x01 raw")
    receiver.answers["/long"] = lambda _: Answer(200, body="é".encode() * 15000)
    bytes_hook = new_webhook(team, receiver.url("/bytes"))
    long_hook = new_webhook(team, receiver.url("/long"))

    new_ticket(team)

    [row] = wait_over(quick, bytes_hook)
    assert attempts(quick, row)[0][4] == "??? raw"
    [row] = wait_over(quick, long_hook)
    assert attempts(quick, row)[0][4] == "é" * 10000
    assert row["state"] == "delivered"


# --- disabling ------------------------------------------------------------------------------------


def test_what_waits_for_a_disabled_webhook_fails_with_a_reason(quick, team, receiver):
    receiver.answers["/hook"] = 500
    hook = new_webhook(team, receiver.url(), ordered=True)
    new_tickets(team, 20)
    wait_deliveries(quick, hook, lambda rows: len(rows) == 20 and all(r["attempt"] for r in rows))

    team.api.post(f"/v1/webhooks/{hook['id']}/disable")

    rows = wait_over(quick, hook, 20)
    assert {(r["state"], r["error"]) for r in rows} == {("failed", "The webhook is disabled")}
    assert truth.value(quick, "SELECT count(*) FROM webhook_lane WHERE webhook_id = ?",
                       hook["id"]) == 0


@pytest.mark.parametrize("days, percent", [(2.6, 50), (3.6, 70), (4.6, 90)])
def test_people_are_told_while_nothing_arrives(quick, team, receiver, days, percent):
    receiver.answers["/hook"] = 500
    hook = new_webhook(team, receiver.url())
    new_webhook(team, receiver.url("/told"), ["webhook.failing"])
    since = int((time.time() - days * 86400) * 1000)
    truth.execute(quick, "UPDATE webhook SET failing_ms = ? WHERE id = ?", since, hook["id"])

    new_ticket(team)

    [told] = receiver.wait(1, "/told")
    assert told.json["data"]["id"] == hook["id"] and told.json["data"]["percent"] == percent
    assert webhook_row(quick, hook, "state", "notice") == ("enabled", percent)
    new_ticket(team)
    wait_until(lambda: len({r.id for r in receiver.all()}) == 2, 5, "another event was tried")
    wait_until(lambda: all(r["attempt"] for r in deliveries(quick, hook)), 5, "and is stored")
    assert len(receiver.all("/told")) == 1, "told once"


def test_after_five_days_without_success_it_is_disabled(quick, team, receiver):
    receiver.answers["/hook"] = 500
    hook = new_webhook(team, receiver.url())
    new_webhook(team, receiver.url("/told"), ["webhook.*"])
    since = int(time.time() * 1000) - 5 * DAY_MS - 1
    truth.execute(quick, "UPDATE webhook SET failing_ms = ?, notice = 90 WHERE id = ?", since,
                  hook["id"])

    new_ticket(team)

    [told] = receiver.wait(1, "/told")
    assert told.json["type"] == "webhook.disabled"
    [row] = wait_over(quick, hook)
    assert row["state"] == "failed"
    assert webhook_row(quick, hook, "state", "disabled_reason") == ("disabled", "failing")


def test_a_success_ends_the_failing(quick, team, receiver):
    answers = [500, 200]
    receiver.answers["/hook"] = lambda _: answers.pop(0)
    hook = new_webhook(team, receiver.url())

    new_ticket(team)

    receiver.wait(1)
    wait_until(lambda: webhook_row(quick, hook, "failing_ms")[0], 5, "it is failing", 0.002)
    wait_over(quick, hook)
    assert webhook_row(quick, hook, "failing_ms", "notice") == (None, 0)


# --- order ----------------------------------------------------------------------------------------


def test_an_ordered_webhook_gets_one_at_a_time_of_an_entity(quick, team, receiver):
    under_way, most = {}, []

    def slowly(received):
        entity = received.json["entity"]
        under_way[entity] = under_way.get(entity, 0) + 1
        most.append(under_way[entity])
        time.sleep(0.01)
        under_way[entity] -= 1
        return 200
    receiver.answers["/hook"] = slowly
    hook = new_webhook(team, receiver.url(), ["ticket.created", "ticket.updated"], ordered=True)
    ids = [new_ticket(team)["id"] for _ in range(3)]
    for n in range(5):
        for ticket_id in ids:
            team.api.patch(f"/v1/tickets/{ticket_id}", {"title": f"n{n}"})

    wait_over(quick, hook, 18)

    assert max(most) == 1
    for ticket_id in ids:
        mine = [r.json["sequence"] for r in receiver.all()
                if r.json["entity"] == f"ticket:{ticket_id}"]
        assert mine == sorted(mine) and len(mine) == 6


def test_a_failing_head_blocks_its_entity_and_no_other(quick, team, receiver):
    bad = []

    def answer(received):
        return 500 if received.json["entity"] in bad else 200
    receiver.answers["/hook"] = answer
    hook = new_webhook(team, receiver.url(), ["ticket.created", "ticket.updated"], ordered=True)
    held, free = new_ticket(team), new_ticket(team)
    wait_over(quick, hook, 2)
    bad.append(f"ticket:{held['id']}")

    for ticket in (held, free):
        for n in range(3):
            team.api.patch(f"/v1/tickets/{ticket['id']}", {"title": f"n{n}"})

    wait_over(quick, hook, 5)
    tried = [r.json["previous"]["title"] for r in receiver.of("ticket.updated")
             if r.json["entity"] in bad]
    assert set(tried) == {"Printer"}, "only the head of the failing one was tried"
    bad.clear()
    rows = wait_over(quick, hook, 8, timeout_s=15)
    assert {r["state"] for r in rows} == {"delivered"}
    arrived = [r.json["data"]["title"] for r in receiver.of("ticket.updated")
               if r.json["entity"] == f"ticket:{held['id']}"]
    assert arrived[-2:] == ["n1", "n2"]


def test_a_head_that_is_given_up_lets_the_next_one_go(quick, team, receiver):
    receiver.answers["/hook"] = lambda r: 500 if r.json["type"] == "ticket.created" else 200
    hook = new_webhook(team, receiver.url(), ["ticket.created", "ticket.updated"], ordered=True)
    ticket = new_ticket(team)
    team.api.patch(f"/v1/tickets/{ticket['id']}", {"title": "after"})
    wait_deliveries(quick, hook, lambda rows: len(rows) == 2 and rows[0]["attempt"])
    assert not receiver.of("ticket.updated")

    def goes_to_the_last_attempt():     # while it waits: just now it may be on its way
        truth.execute(quick, "UPDATE webhook_delivery SET attempt = 9, due_ms = 1 WHERE "
                             "webhook_id = ? AND event_type = 'ticket.created' AND "
                             "state = 'waiting' AND attempt < 9", hook["id"])
        truth.execute(quick, "UPDATE webhook_lane SET wake_ms = 1 WHERE webhook_id = ?", hook["id"])
        return deliveries(quick, hook)[0]["attempt"] >= 9
    wait_until(goes_to_the_last_attempt, 8, "the first one is at its last attempt")

    rows = wait_over(quick, hook, 2)
    assert [r["state"] for r in rows] == ["failed", "delivered"]


# --- replays, tests -------------------------------------------------------------------------------


def test_a_replay_has_the_same_id_and_bytes_and_is_marked(quick, team, receiver):
    hook = new_webhook(team, receiver.url())
    new_ticket(team)
    [row] = wait_over(quick, hook)

    reply = team.api.post(f"/v1/webhooks/{hook['id']}/deliveries/{row['id']}/replay")

    assert reply.status_code in (200, 201, 202), reply.text
    first, again = receiver.wait(2)
    assert again.headers["webhook-replay"] == "true" and "webhook-replay" not in first.headers
    assert (again.id, again.body) == (first.id, first.body)
    wait_over(quick, hook, 2)


# --- quiet ----------------------------------------------------------------------------------------


def test_nothing_is_written_when_there_is_nothing_to_send(start_server, receiver):
    server = start_server({"TESSERA_JOB_WORKERS": "0"})
    team = Tenant(server)
    receiver.answers["/hook"] = 500
    hook = new_webhook(team, receiver.url())
    new_ticket(team)
    wait_deliveries(server, hook, lambda rows: rows and rows[0]["attempt"] == 2, 12)

    def state():
        return truth.rows(server, "SELECT wake_ms FROM webhook_lane"), commits(server)
    wait_until(lambda: settled(state), 5, "the counts stand still")
    before = state()
    stays_true(lambda: state() == before, 2.5, "no commit while a retry waits for minutes")


def commits(server):
    text = next(line for line in metrics(server) if line.startswith("tessera_store_commits_total"))
    return int(text.split()[-1])


def metrics(server):
    import requests
    return requests.get(f"{server.url}/metrics", timeout=10).text.splitlines()


def settled(state):
    before = state()
    time.sleep(0.3)
    return state() == before


def test_metrics_count_what_was_sent(start_server, receiver):
    server = start_server(QUICK)
    team = Tenant(server)
    answers = [500, 200, 200]
    receiver.answers["/hook"] = lambda _: answers.pop(0)
    hook = new_webhook(team, receiver.url())
    new_tickets(team, 2)
    wait_over(server, hook, 2)

    lines = metrics(server)

    assert "tessera_webhook_waiting 0" in lines
    assert "webhook.engine_failed" not in server.log_text()
    assert 'tessera_webhook_deliveries_total{result="delivered"} 2' in lines
    assert 'tessera_webhook_deliveries_total{result="retried"} 1' in lines
    assert 'tessera_webhook_attempts_total{outcome="ok"} 3' in lines
    assert "tessera_webhook_first_attempt_seconds_count 2" in lines
    assert "tessera_webhook_in_flight 0" in lines
