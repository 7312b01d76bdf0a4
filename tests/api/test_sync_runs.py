"""Runs of syncs: what is reported, found again, told to webhooks and kept for its time."""

import datetime
import time

import pytest
from harness import truth
from harness.client import assert_problem
from harness.hooks import new_webhook
from harness.jobs import run_now
from harness.receiver import Receiver
from harness.senders import listen
from harness.syncs import URL, new_integration, new_sync, report
from harness.tenants import Tenant
from harness.wait import wait_until

ABSENT = "01890000-0000-7000-8000-000000000000"
DAY_MS = 24 * 3600 * 1000
WHOLE = {"items_processed": 12, "items_created": 3, "items_updated": 4, "items_skipped": 5,
         "errors": ["OPS-7: no such status", "OPS-8: größer\nals erlaubt"], "duration_ms": 1840,
         "started_at": "2026-01-01T10:00:00.000Z"}


@pytest.fixture(scope="module")
def module_team(common_server):
    return Tenant(common_server)


@pytest.fixture
def team(server, module_team):
    return module_team


@pytest.fixture
def sync(team):
    return new_sync(team)


@pytest.fixture
def receiver():
    with Receiver() as made:
        yield made


def runs_of(sync):
    return f"{URL}/{sync['id']}/runs"


def in_minutes(n):
    then = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=n)
    return then.strftime("%Y-%m-%dT%H:%M:%SZ")


# --- reporting and reading ------------------------------------------------------------------------


def test_a_run_comes_back_as_it_was_reported(team, sync):
    reply = team.api.post(runs_of(sync), {"status": "partial", **WHOLE})

    assert reply.status_code == 201, reply.text
    run = reply.json()
    assert {k: run[k] for k in WHOLE} == WHOLE and run["status"] == "partial"
    assert run["sync_id"] == sync["id"] and run["error_count"] == 2
    assert reply.headers["Location"] == f"{runs_of(sync)}/{run['id']}"
    assert team.api.get(reply.headers["Location"]).json() == run
    [listed] = team.api.get(runs_of(sync)).json()["data"]
    assert listed == {k: v for k, v in run.items() if k != "errors"}


def test_what_a_run_does_not_say_is_nothing(team, sync):
    run = report(team, sync)
    assert [run[k] for k in WHOLE] == [0, 0, 0, 0, [], None, None]


def test_the_sync_says_how_its_last_run_ended(team, sync):
    for status in ("error", "partial", "success", "error"):
        run = report(team, sync, status)
        now = team.api.get(f"{URL}/{sync['id']}").json()
        assert (now["last_status"], now["last_run_at"]) == (status, run["created_at"])
    assert now["updated_at"] == sync["updated_at"] and now["version"] == 5


def test_a_disabled_sync_takes_the_run_that_was_going_on(team):
    report(team, new_sync(team, enabled=False))


@pytest.mark.parametrize("body,code,field", [
    ({}, "missing_required_field", "status"),
    ({"status": "syncing"}, "invalid_field", "status"),
    ({"status": "success", "items_created": -1}, "invalid_field", "items_created"),
    ({"status": "success", "items_processed": 10**12 + 1}, "invalid_field", "items_processed"),
    ({"status": "success", "items_skipped": "3"}, "invalid_field", "items_skipped"),
    ({"status": "success", "items_updated": 1.5}, "invalid_field", "items_updated"),
    ({"status": "success", "duration_ms": -1}, "invalid_field", "duration_ms"),
    ({"status": "success", "duration_ms": 367 * DAY_MS}, "invalid_field", "duration_ms"),
    ({"status": "success", "started_at": "yesterday"}, "invalid_field", "started_at"),
    ({"status": "success", "started_at": "2999-01-01T00:00:00Z"}, "invalid_field", "started_at"),
    ({"status": "error", "errors": "x"}, "invalid_field", "errors"),
    ({"status": "error", "errors": [""]}, "invalid_field", "errors"),
    ({"status": "error", "errors": ["x" * 1001]}, "invalid_field", "errors"),
    ({"status": "error", "errors": ["x"] * 101}, "invalid_field", "errors"),
    ({"status": "error", "errors": ["x" * 1000] * 66}, "invalid_field", "errors"),
    ({"status": "success", "items_failed": 1}, "invalid_field", "items_failed"),
])
def test_a_run_that_is_wrong_is_422_and_leaves_nothing(team, sync, body, code, field):
    assert_problem(team.api.post(runs_of(sync), body), 422, code, [field])
    assert team.api.get(runs_of(sync)).json()["data"] == []
    assert team.api.get(f"{URL}/{sync['id']}").json() == sync


def test_the_bounds_themselves_are_taken(team, sync):
    run = report(team, sync, "error", errors=["ü" * 1000] + ["x"] * 99, items_processed=10**12)
    assert run["error_count"] == 100 and run["items_processed"] == 10**12
    report(team, sync, started_at=in_minutes(3))


def test_runs_are_listed_newest_first_and_filtered(team, sync):
    first, second, third = (report(team, sync, s) for s in ("success", "error", "partial"))
    report(team, new_sync(team))

    def ids(**params):
        reply = team.api.get(runs_of(sync), params=params)
        assert reply.status_code == 200, reply.text
        return [r["id"] for r in reply.json()["data"]]
    assert ids() == [third["id"], second["id"], first["id"]]
    assert ids(status="error") == [second["id"]]
    assert ids(status="success,partial") == [third["id"], first["id"]]
    assert first["id"] in ids(**{"from": first["created_at"]})
    assert first["id"] not in ids(to=first["created_at"])
    page = team.api.get(runs_of(sync), params={"limit": 2}).json()
    assert ids(limit=2, cursor=page["next_cursor"]) == [first["id"]]


@pytest.mark.parametrize("name,value", [("status", "idle"), ("from", "today"), ("to", "x"),
                                        ("cursor", "x")])
def test_a_bad_filter_is_400_and_named(team, sync, name, value):
    reply = team.api.get(runs_of(sync), params={name: value})
    assert_problem(reply, 400, "invalid_parameter", [name])


def test_a_run_is_found_under_its_sync_alone(team, sync):
    run, other = report(team, sync), new_sync(team)
    assert_problem(team.api.get(f"{runs_of(other)}/{run['id']}"), 404)
    assert_problem(team.api.get(f"{runs_of(sync)}/{ABSENT}"), 404)
    assert_problem(team.api.get(f"{runs_of(sync)}/x"), 400, "invalid_parameter", ["sync_run_id"])
    for method, body in (("GET", None), ("POST", {"status": "success"})):
        assert_problem(team.api.request(method, f"{URL}/x/runs", json=body), 400,
                       "invalid_parameter", ["sync_id"])


def test_a_report_that_is_repeated_counts_once(team, sync):
    once = {"Idempotency-Key": "run 4711"}
    run = report(team, sync, items_created=3, headers=once)

    assert report(team, sync, items_created=3, headers=once) == run

    assert [r["id"] for r in team.api.get(runs_of(sync)).json()["data"]] == [run["id"]]
    assert team.api.get(f"{URL}/{sync['id']}").json()["version"] == 2
    other = team.api.post(runs_of(sync), {"status": "error"}, headers=once)
    assert_problem(other, 422, "idempotency_key_reused")


# --- events ---------------------------------------------------------------------------------------


def test_what_happens_to_a_sync_arrives_signed(server, receiver):
    team = Tenant(server)
    hook = new_webhook(team, receiver.url(), ["sync.*"])
    sync = new_sync(team, interval_ms=60000)
    team.api.patch(f"{URL}/{sync['id']}", {"interval_ms": 120000})
    runs = [report(team, sync, s, errors=["one"]) for s in ("success", "partial", "error")]
    team.api.delete(f"{URL}/{sync['id']}")

    receiver.wait(6)
    got = sorted(receiver.all(), key=lambda r: r.json["sequence"])
    assert all(r.signed_by(hook["secret"]) for r in got)
    bodies = [r.json for r in got]
    assert [b["type"] for b in bodies] == ["sync.created", "sync.updated", "sync.finished",
                                           "sync.finished", "sync.failed", "sync.deleted"]
    assert {b["entity"] for b in bodies} == {f"sync:{sync['id']}"}
    assert bodies[0]["data"] == sync and bodies[0]["previous"] is None
    assert bodies[1]["previous"] == {"interval_ms": 60000}
    assert bodies[1]["data"]["interval_ms"] == 120000
    for body, run in zip(bodies[2:5], runs):
        assert body["data"] == {**run, "sync_name": "Issues",
                                "integration_id": sync["integration_id"]}
        assert body["previous"] is None
    assert bodies[5]["data"]["last_status"] == "error"


def test_a_webhook_may_ask_for_failures_alone(server, receiver):
    team = Tenant(server)
    new_webhook(team, receiver.url(), ["sync.failed"])
    sync = new_sync(team)
    report(team, sync)
    run = report(team, sync, "error", errors=["no"])
    [got] = receiver.wait(1)
    assert (got.json["type"], got.json["data"]["id"]) == ("sync.failed", run["id"])


def test_a_thin_event_leads_to_the_sync(server, receiver):
    team = Tenant(server)
    new_webhook(team, receiver.url(), ["sync.finished"], payload="thin")
    sync = new_sync(team)
    report(team, sync)
    [got] = receiver.wait(1)
    assert got.json["data"] == {"id": sync["id"], "object": "sync", "path": f"{URL}/{sync['id']}"}
    assert team.api.get(got.json["data"]["path"]).json()["last_status"] == "success"


def test_an_integration_that_goes_tells_of_its_syncs(server):
    team = Tenant(server)
    listen(team)
    integration = new_integration(team)
    ids = {new_sync(team, integration)["id"] for _ in range(2)}
    team.api.delete(f"/v1/integrations/{integration}")
    rows = truth.rows(server, "SELECT subject_id FROM event WHERE team_id = ? AND "
                              "type = 'sync.deleted'", team.id)
    assert {one for one, in rows} == ids and len(rows) == 2


def test_a_repeated_report_is_one_event(server):
    team = Tenant(server)
    listen(team)
    sync = new_sync(team)
    for _ in range(2):
        report(team, sync, headers={"Idempotency-Key": "one"})
    assert truth.value(server, "SELECT count(*) FROM event WHERE team_id = ? AND "
                               "type = 'sync.finished'", team.id) == 1


def test_the_examples_have_the_members_of_real_events(server, receiver):
    team = Tenant(server)
    examples = {t["type"]: t["example"] for t in team.api.get("/v1/event-types").json()["data"]
                if t["noun"] == "sync"}
    assert list(examples) == ["sync.created", "sync.updated", "sync.deleted", "sync.finished",
                              "sync.failed"]
    sync = new_sync(team)
    event = {**report(team, sync), "sync_name": "", "integration_id": ""}
    for word, example in examples.items():
        assert set(example["data"]) == set(event if word in ("sync.finished", "sync.failed")
                                           else sync)
    assert examples["sync.failed"]["data"]["status"] == "error"
    assert examples["sync.updated"]["previous"] == {"interval_ms": 3600000}


# --- how long -------------------------------------------------------------------------------------


def test_old_runs_go_and_syncs_that_were_deleted_long_ago(start_server):
    server = start_server({"TESSERA_SYNC_RUN_DAYS": "2"})
    team = Tenant(server)
    sync, gone, fresh = new_sync(team), new_sync(team), new_sync(team)
    old, young = report(team, sync), report(team, sync)
    lost = report(team, gone)
    for one in (gone, fresh):
        team.api.delete(f"{URL}/{one['id']}")
    long_ago = int(time.time() * 1000) - 2 * DAY_MS - 60000
    for run in (old, lost):
        truth.execute(server, "UPDATE sync_run SET created_ms = ? WHERE id = ?", long_ago, run["id"])
    truth.execute(server, "UPDATE sync SET deleted_ms = ? WHERE id = ?", long_ago, gone["id"])

    run_now(server, "syncs.sweep")

    wait_until(lambda: {i for i, in truth.rows(server, "SELECT id FROM sync")} ==
               {sync["id"], fresh["id"]}, 10, "the old one is gone")
    assert truth.rows(server, "SELECT id FROM sync_run") == [(young["id"],)]
    assert_problem(team.api.get(f"{runs_of(sync)}/{old['id']}"), 404)
    assert team.api.get(f"{URL}/{sync['id']}").json()["last_status"] == "success"


def test_many_old_runs_go_in_steps(start_server):
    server = start_server()
    team = Tenant(server)
    sync = new_sync(team)
    like = report(team, sync)
    rest = ("sync_id, status, items_processed, items_created, items_updated, items_skipped, errors, "
            "error_count")
    ids = " UNION ALL ".join(f"SELECT '01890000-0000-7000-8000-{k:012}' AS id" for k in range(300))
    for part in "123":
        truth.execute(server, f"INSERT INTO sync_run (team_id, id, {rest}, created_ms) SELECT "
                              f"r.team_id, replace(n.id, '-8000-', '-800{part}-'), {rest}, 1 FROM "
                              f"sync_run r, ({ids}) n WHERE r.id = ?", like["id"])
    assert truth.value(server, "SELECT count(*) FROM sync_run") == 901

    run_now(server, "syncs.sweep")

    wait_until(lambda: truth.value(server, "SELECT count(*) FROM sync_run") == 1, 10,
               "only the young run is left")
