"""/v1/webhook-logs and replay: what came in, found again, processed again, kept for its time and
within its room."""

import time
import uuid

import pytest
from harness import truth
from harness.client import assert_problem
from harness.senders import Sender
from harness.jobs import run_now
from harness.tenants import Tenant
from harness.wait import stays_true, wait_until

ABSENT = "01890000-0000-7000-8000-000000000000"
URL = "/v1/webhook-logs"
DAY_MS = 24 * 3600 * 1000


@pytest.fixture(scope="module")
def module_team(common_server):
    return Tenant(common_server)


@pytest.fixture
def team(server, module_team):
    return module_team


def send(sender, *types):
    for one in types:
        assert sender.send(type=one).status_code == 200


def wait_handled(sender):
    """The log, once nothing waits."""
    wait_until(lambda: not sender.logs(state="received"), 8, "all events are handled")
    return sender.logs()


@pytest.fixture
def filled(team):
    """An integration with three events, of which the last is ignored."""
    sender = Sender(team, event_types=["issues", "push"])
    send(sender, "issues", "push", "star")
    wait_handled(sender)
    return sender


# --- reading -------------------------------------------------------------------------------------


def test_filters_find_what_they_name(team, filled):
    first, second, third = (r["id"] for r in filled.logs())

    def ids(**params):
        return [r["id"] for r in filled.logs(**params)]
    assert ids(event_type="push") == [second]
    assert ids(state="ignored") == [third] and ids(state="ignored,processed") == [first, second, third]
    assert ids(processed="true") == [first, second] and ids(processed="false") == [third]
    at = filled.logs()[1]["received_at"]
    assert second in ids(**{"from": at}) and second not in ids(to=at)
    assert ids(event_type="nothing") == []
    page = team.api.get(URL, params={"integration_id": filled.id, "limit": 2}).json()
    assert [r["id"] for r in page["data"]] == [third, second]
    rest = team.api.get(URL, params={"integration_id": filled.id, "limit": 2,
                                     "cursor": page["next_cursor"]}).json()
    assert [r["id"] for r in rest["data"]] == [first] and rest["next_cursor"] is None


@pytest.mark.parametrize("name,value", [("integration_id", "x"), ("state", "new"), ("from", "today"),
                                        ("processed", "1x"), ("cursor", "x")])
def test_a_bad_filter_is_400_and_named(team, name, value):
    assert_problem(team.api.get(URL, params={name: value}), 400, "invalid_parameter", [name])


def test_an_unknown_event_is_404(team):
    for tail in ("", "/payload"):
        assert_problem(team.api.get(f"{URL}/{ABSENT}{tail}"), 404)
        assert_problem(team.api.get(f"{URL}/x{tail}"), 400, "invalid_parameter", ["webhook_log_id"])
    assert_problem(team.api.post(f"{URL}/{ABSENT}/replay"), 404)
    assert_problem(team.api.post(f"{URL}/x/replay"), 400, "invalid_parameter", ["webhook_log_id"])


def test_scopes_tell_reading_from_replaying(team, filled):
    reader = team.api_with(["integrations:read"])
    one = filled.logs()[0]["id"]
    assert reader.get(URL).status_code == reader.get(f"{URL}/{one}").status_code == 200
    assert reader.get(f"{URL}/{one}/payload").status_code == 200
    assert_problem(reader.post(f"{URL}/{one}/replay"), 403, "insufficient_scope")
    nobody = team.api_with(["tickets:read"])
    for path in (URL, f"{URL}/{one}", f"{URL}/{one}/payload"):
        assert_problem(nobody.get(path), 403, "insufficient_scope")


# --- replay ----------------------------------------------------------------------------------------


def test_a_replayed_event_is_processed_again_under_its_id(team, filled):
    before = filled.logs()[0]

    reply = team.api.post(f"{URL}/{before['id']}/replay")

    assert reply.status_code == 202
    job = reply.json()["job"]
    assert (job["kind"], job["key"]) == ("hook.process", filled.id)
    assert reply.headers["Location"] == f"/v1/jobs/{job['id']}"
    now = wait_handled(filled)[0]
    assert (now["id"], now["state"], now["replays"]) == (before["id"], "processed", 1)
    assert now["processed_at"] >= before["processed_at"]
    assert [r["action"] for r in team.audit(target_id=before["id"])] == ["webhook_log.replay"]


def test_a_replay_asks_anew_what_is_wanted(team, filled):
    ignored = filled.logs()[2]
    team.api.patch(filled.url, {"event_types": ["star"]})
    assert team.api.post(f"{URL}/{ignored['id']}/replay").status_code == 202
    assert wait_handled(filled)[2]["state"] == "processed"


def test_a_replayed_event_does_not_come_in_twice(team):
    sender = Sender(team)
    body, headers = sender.delivery(key="once")
    sender.post(body, headers)
    [row] = wait_handled(sender)
    team.api.post(f"{URL}/{row['id']}/replay")
    assert sender.post(body, headers).status_code == 200
    assert len(wait_handled(sender)) == 1


def test_what_waits_or_whose_integration_is_gone_is_409(team, filled):
    one, other = (r["id"] for r in filled.logs()[:2])
    team.api.post("/v1/job-kinds/hook.process/pause")
    try:
        assert team.api.post(f"{URL}/{one}/replay").status_code == 202
        assert_problem(team.api.post(f"{URL}/{one}/replay"), 409, "conflict")
    finally:
        team.api.post("/v1/job-kinds/hook.process/resume")
    wait_handled(filled)
    team.api.delete(filled.url)
    assert_problem(team.api.post(f"{URL}/{other}/replay"), 409, "conflict")
    assert team.api.get(f"{URL}/{other}").status_code == 200


@pytest.mark.parametrize("body,again", [
    ({}, [0, 1, 2]), ({"states": ["ignored"]}, [2]), ({"event_types": ["issues", "st.*"]}, [0]),
    ({"states": ["processed", "failed"]}, [0, 1]), ({"to": "2020-01-01T00:00:00Z"}, []),
    ({"from": "2020-01-01T00:00:00Z", "event_types": ["push"]}, [1]),
    ({"from": "2100-01-01T00:00:00Z"}, []),
])
def test_a_replay_of_many_takes_those_that_fit(team, filled, body, again):
    reply = team.api.post(filled.url + "/replay", body)

    assert reply.status_code == 202, reply.text
    job = reply.json()["job"]
    assert (job["kind"], job["key"]) == ("hook.replay", filled.id)
    path = reply.headers["Location"]
    wait_until(lambda: team.api.get(path).json()["state"] == "done", 8, "the replay is done")
    assert [r["replays"] for r in wait_handled(filled)] == [int(n in again) for n in range(3)]
    assert team.audit(target_id=filled.id)[-1]["action"] == "integration.replay"


def test_a_replay_of_many_goes_over_several_steps(team):
    sender = Sender(team)
    send(sender, *["issues"] * 450)
    where = "FROM webhook_log WHERE integration_id = ?"
    waiting = f"SELECT count(*) {where} AND state = 'received'"
    wait_until(lambda: truth.value(team.server, waiting, sender.id) == 0, 10, "all are handled")
    job = team.api.post(sender.url + "/replay", {}).json()["job"]
    wait_until(lambda: team.api.get(f"/v1/jobs/{job['id']}").json()["state"] == "done", 10,
               "the replay is done")
    wait_until(lambda: truth.value(team.server, waiting, sender.id) == 0, 10, "all are handled")
    assert truth.rows(team.server, f"SELECT min(replays), max(replays), count(*) {where}",
                      sender.id) == [(1, 1, 450)]


@pytest.mark.parametrize("body,field", [
    ({"states": ["received"]}, "states"), ({"states": []}, "states"), ({"from": "x"}, "from"),
    ({"event_types": [7]}, "event_types"), ({"event_types": ["x"] * 51}, "event_types"),
    ({"upto": 1}, "upto"),
])
def test_a_bad_replay_is_422_and_named(team, filled, body, field):
    reply = team.api.post(filled.url + "/replay", body)
    assert reply.status_code == 422, reply.text
    assert any(e["field"].startswith(field) for e in reply.json()["errors"])


def test_a_second_replay_while_one_waits_is_409(team, filled):
    team.api.post("/v1/job-kinds/hook.replay/pause")
    try:
        assert team.api.post(filled.url + "/replay", {}).status_code == 202
        assert_problem(team.api.post(filled.url + "/replay", {}), 409, "conflict")
    finally:
        team.api.post("/v1/job-kinds/hook.replay/resume")


# --- what waits ------------------------------------------------------------------------------------


def test_events_wait_while_the_kind_is_paused_and_go_on_after(team):
    sender = Sender(team)
    team.api.post("/v1/job-kinds/hook.process/pause")
    try:
        send(sender, "issues", "push")
        assert [r["state"] for r in sender.logs()] == ["received"] * 2
        stays_true(lambda: not sender.logs(processed="true"), 0.5, "nothing is processed")
    finally:
        team.api.post("/v1/job-kinds/hook.process/resume")
    assert {r["state"] for r in wait_handled(sender)} == {"processed"}


def test_an_event_whose_job_was_lost_is_taken_up(fresh_server):
    team = Tenant(fresh_server)
    sender = Sender(team)
    send(sender, "issues")
    [row] = wait_handled(sender)
    truth.execute(fresh_server, "UPDATE webhook_log SET state = 'received', received_ms = "
                  "received_ms - 60000 WHERE id = ?", row["id"])
    run_now(fresh_server, "hooks.due")
    assert wait_handled(sender)[0]["state"] == "processed"


# --- how long --------------------------------------------------------------------------------------


def aged(ms):
    """An id of that age."""
    at = int(time.time() * 1000) - ms
    tail = uuid.uuid4().hex
    return f"{at >> 16:08x}-{at & 0xffff:04x}-7{tail[:3]}-8{tail[3:6]}-{tail[6:18]}"


def make_old(server, sender, log_id, ms):
    """The event came so long ago."""
    new = aged(ms)
    for table in ("webhook_log", "webhook_payload"):
        truth.execute(server, f"UPDATE {table} SET id = ? WHERE id = ?", new, log_id)
    truth.execute(server, "UPDATE hook_seen SET event_id = ?, seen_ms = seen_ms - ? WHERE "
                  "event_id = ?", new, ms, log_id)
    return new


def counts(server, sender):
    """Rows of the log, of payloads and of the ledger; bytes as counted and as they are."""
    return truth.rows(server, "SELECT (SELECT count(*) FROM webhook_log WHERE team_id = t.id), "
                      "(SELECT count(*) FROM webhook_payload WHERE team_id = t.id), (SELECT count(*) "
                      "FROM hook_seen WHERE team_id = t.id), (SELECT bytes FROM hook_stored WHERE "
                      "team_id = t.id), (SELECT coalesce(sum(length(headers) + length(body)), 0) FROM "
                      "webhook_payload WHERE team_id = t.id) FROM team t WHERE id = ?",
                      sender.team.id)[0]


def test_payloads_leave_first_and_what_was_seen_later(fresh_server):
    sender = Sender(Tenant(fresh_server))
    bodies = [sender.delivery(key=f"event {n}") for n in range(3)]
    for body, headers in bodies:
        sender.post(body, headers)
    rows = wait_handled(sender)
    make_old(fresh_server, sender, rows[0]["id"], 31 * DAY_MS)
    make_old(fresh_server, sender, rows[1]["id"], 15 * DAY_MS)

    run_now(fresh_server, "hooks.sweep")
    wait_until(lambda: counts(fresh_server, sender)[:3] == (1, 1, 2), 10, "the old ones are gone")

    assert counts(fresh_server, sender)[3] == counts(fresh_server, sender)[4]
    assert [r["id"] for r in sender.logs()] == [rows[2]["id"]]
    for body, headers in bodies:
        assert sender.post(body, headers).status_code == 200
    # The second one is known still, though its payload is gone; the first one is new again.
    assert [r["event_key"] for r in wait_handled(sender)] == ["event 2", "event 0"]


def test_ended_secrets_are_swept(fresh_server):
    sender = Sender(Tenant(fresh_server))
    added = sender.add_secret("another one that stays", others_expire_at="2026-01-01T00:00:00Z")
    assert truth.value(fresh_server, "SELECT count(*) FROM integration_secret") == 2
    run_now(fresh_server, "hooks.sweep")
    wait_until(lambda: truth.rows(fresh_server, "SELECT id FROM integration_secret") ==
               [(added["id"],)], 10, "the ended one is gone")


def test_a_team_keeps_no_more_than_its_room_and_the_oldest_leave_first(start_server):
    server = start_server({"TESSERA_HOOK_STORE_MB": "1"})
    sender, other = Sender(Tenant(server)), Sender(Tenant(server))
    other.send(key="of another team")
    big = b"x" * 100000
    for n in range(30):
        reply = sender.send(key=f"event {n:02}", body=big)
        assert reply.status_code in (200, 503), reply.text
    wait_handled(sender)
    for n in range(30, 40):
        wait_handled(sender)
        assert sender.send(key=f"event {n:02}", body=big).status_code == 200
    rows = wait_handled(sender)
    log, payloads, seen, stored, real = counts(server, sender)
    assert log == payloads == len(rows) and stored == real
    assert stored <= 1 << 20 and seen >= 30
    assert [r["event_key"] for r in rows] == [f"event {n}" for n in range(40 - log, 40)]
    assert len(other.logs()) == 1


def test_what_is_not_processed_has_twice_the_room_and_then_is_refused(start_server):
    server = start_server({"TESSERA_HOOK_STORE_MB": "1"})
    team = Tenant(server)
    sender = Sender(team)
    team.api.post("/v1/job-kinds/hook.process/pause")
    big, statuses = b"x" * 200000, []
    for n in range(14):
        reply = sender.send(key=f"event {n:02}", body=big)
        statuses.append(reply.status_code)
    assert statuses == [200] * 11 + [503] * 3
    assert_problem(reply, 503, "unavailable")
    assert int(reply.headers["Retry-After"]) >= 60
    team.api.post("/v1/job-kinds/hook.process/resume")
    wait_handled(sender)
    assert sender.send(key="event 13", body=big).status_code == 200
