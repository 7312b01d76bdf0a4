"""/v1/jobs, /v1/job-kinds and `tessera jobs`: looking, retrying, cancelling, pausing; several nodes."""

import contextlib
import json

import pytest
from harness import truth
from harness.client import assert_problem
from harness.jobs import SWEEP, add_job, run_now, state_of, wait_rest
from harness.server import Refused, Server
from harness.tenants import Tenant
from harness.wait import stays_true, wait_until

ABSENT = "01890000-0000-7000-8000-000000000000"
FOREIGN = "test.unknown"        # no server runs it


@pytest.fixture
def tenant(server):
    return Tenant(server, "jobs")


@pytest.fixture
def api(tenant):
    return tenant.api


def get(api, job_id):
    reply = api.get(f"/v1/jobs/{job_id}")
    assert reply.status_code == 200, reply.text
    return reply.json()


def listed(api, **params):
    reply = api.get("/v1/jobs", params=params)
    assert reply.status_code == 200, reply.text
    return [job["id"] for job in reply.json()["data"]]


def wait_done(api, job_id):
    return wait_until(lambda: (job := get(api, job_id))["state"] == "done" and job, 10,
                      "the job is done")


# --- looking --------------------------------------------------------------------------------------


def test_a_dead_job_shows_why(server, tenant, api):
    made = add_job(server, tenant.id, FOREIGN, "dead", error="The receiver said 410", attempt=3,
                   payload=json.dumps({"id": 7}), key="k1")

    job = get(api, made)

    assert (job["state"], job["error"], job["attempt"], job["attempts"]) == (
        "dead", "The receiver said 410", 3, 3)
    assert (job["payload"], job["key"], job["kind"]) == ({"id": 7}, "k1", FOREIGN)
    assert job["cancel_requested"] is False and job["started_at"] is None and job["finished_at"]
    assert "lease_token" not in job and "team_id" not in job


def test_the_list_is_filtered_and_paged(server, tenant, api):
    dead = [add_job(server, tenant.id, FOREIGN, "dead") for _ in range(3)]
    ready = add_job(server, tenant.id, FOREIGN)
    done = add_job(server, tenant.id, SWEEP, "done")

    assert set(listed(api)) == {*dead, ready, done}
    assert set(listed(api, state="dead")) == set(dead)
    assert set(listed(api, state="dead,ready")) == {*dead, ready}
    assert listed(api, kind=SWEEP) == [done]
    assert listed(api, kind=SWEEP, state="dead") == []
    first = api.get("/v1/jobs", params={"limit": 3}).json()
    rest = api.get("/v1/jobs", params={"limit": 3, "cursor": first["next_cursor"]}).json()
    ids = [job["id"] for job in first["data"] + rest["data"]]
    assert ids == sorted(ids, reverse=True) and len(ids) == 5 and rest["next_cursor"] is None


def test_what_is_not_there_or_not_well_formed(server, tenant, api):
    theirs = add_job(server, Tenant(server, "others").id, FOREIGN, "dead")
    for job_id in (ABSENT, theirs):
        for method, path in (("GET", ""), ("POST", "/retry"), ("POST", "/cancel")):
            assert_problem(api.request(method, f"/v1/jobs/{job_id}{path}"), 404, "not_found")
    assert_problem(api.get("/v1/jobs/nonsense"), 400, "invalid_parameter")
    assert_problem(api.get("/v1/jobs", params={"state": "asleep"}), 400, "invalid_parameter")
    assert_problem(api.post("/v1/job-kinds/nonsense/pause"), 404, "not_found")


# --- steering -------------------------------------------------------------------------------------


def test_a_dead_job_is_tried_again_and_done(server, tenant, api):
    made = add_job(server, tenant.id, SWEEP, "dead", attempt=3, error="x")

    reply = api.post(f"/v1/jobs/{made}/retry")

    assert (reply.status_code, reply.json()["state"], reply.json()["attempt"]) == (200, "ready", 0)
    job = wait_done(api, made)
    assert (job["progress"], job["attempt"], job["error"]) == (100, 1, None)
    assert job["started_at"] and job["finished_at"]
    assert_problem(api.post(f"/v1/jobs/{made}/retry"), 409, "conflict")
    assert_problem(api.post(f"/v1/jobs/{made}/cancel"), 409, "conflict")
    assert [row["target_id"] for row in tenant.audit(action="job.retry")] == [made]


def test_a_job_of_a_running_server_wakes_it_at_once(server, tenant, api):
    """From the commit of the retry to the end of the run: far below the second between two looks."""
    took = []
    for _ in range(5):
        made = add_job(server, tenant.id, SWEEP, "dead", attempt=3)
        api.post(f"/v1/jobs/{made}/retry")
        wait_done(api, made)
        took.append(truth.value(server, "SELECT started_ms - due_ms FROM job WHERE id = ?", made))
    assert sorted(took)[2] < 300, took


def test_a_ready_job_is_cancelled_and_a_running_one_is_asked(server, tenant, api):
    ready = add_job(server, tenant.id, FOREIGN)
    running = add_job(server, tenant.id, FOREIGN, "running", lease_token="x",
                      lease_ms=2 ** 53, node="elsewhere:1")

    assert api.post(f"/v1/jobs/{ready}/cancel").json()["state"] == "cancelled"
    reply = api.post(f"/v1/jobs/{running}/cancel").json()

    assert (reply["state"], reply["cancel_requested"]) == ("running", True)
    assert [r["target_id"] for r in tenant.audit(action="job.cancel")] == [ready, running]


def test_a_single_job_does_not_come_back_beside_its_successor(server, tenant, api):
    add_job(server, tenant.id, FOREIGN, is_single=1, key="a")
    dead = add_job(server, tenant.id, FOREIGN, "dead", is_single=1, key="a")

    assert_problem(api.post(f"/v1/jobs/{dead}/retry"), 409, "conflict")
    assert get(api, dead)["state"] == "dead"


def test_a_paused_kind_waits_for_one_team_only(server, tenant, api):
    other = Tenant(server, "other")
    paused = api.post(f"/v1/job-kinds/{SWEEP}/pause").json()
    assert (paused["name"], paused["paused"], paused["paused_everywhere"]) == (SWEEP, True, False)
    mine, theirs = (add_job(server, t.id) for t in (tenant, other))

    wait_done(other.api, theirs)
    stays_true(lambda: get(api, mine)["state"] == "ready", 1.5, "the paused kind waits")
    assert [k["paused"] for k in other.api.get("/v1/job-kinds").json()["data"]
            if k["name"] == SWEEP] == [False]

    assert api.post(f"/v1/job-kinds/{SWEEP}/resume").json()["paused"] is False
    wait_done(api, mine)
    actions = [row["action"] for row in tenant.audit(action="job_kind.")]
    assert actions == ["job_kind.pause", "job_kind.resume"]


def test_kinds_tell_their_limits(api):
    kinds = {k["name"]: k for k in api.get("/v1/job-kinds").json()["data"]}

    sweep = kinds[SWEEP]
    assert (sweep["period_ms"], sweep["concurrency"], sweep["single"]) == (3600000, 1, True)
    assert all(k["attempts"] >= 1 and k["timeout_ms"] > 0 and k["description"]
               for k in kinds.values())


# --- the command line -----------------------------------------------------------------------------


def test_the_command_line_does_the_same(server, tenant):
    made = add_job(server, tenant.id, FOREIGN, "dead", error="words")
    team = ["--team", tenant.slug]

    assert [j["id"] for j in server.cli_json("jobs", "list", *team)] == [made]
    assert server.cli_json("jobs", "list", "--state", "done", *team) == []
    assert "words" in server.cli("jobs", "list", *team)
    assert "words" in server.cli("jobs", "show", made, *team)
    assert server.cli_json("jobs", "retry", made, *team)["state"] == "ready"
    assert server.cli_json("jobs", "cancel", made, *team)["state"] == "cancelled"
    with pytest.raises(Refused) as refused:
        server.cli("jobs", "show", made)        # not of the default team
    assert refused.value.returncode == 1
    with pytest.raises(Refused):
        server.cli("jobs", "list", "--state", "asleep")
    with pytest.raises(Refused):
        server.cli("jobs", "pause", "nonsense")


def test_the_operator_pauses_for_all_teams(fresh_server):
    server = fresh_server
    tenant = Tenant(server, "x")
    assert server.cli_json("jobs", "pause", SWEEP)["paused_everywhere"] is True
    made = add_job(server, tenant.id)

    stays_true(lambda: state_of(server, made) == "ready", 1.5, "it waits")
    server.cli("jobs", "resume", SWEEP)

    wait_done(tenant.api, made)


def test_housekeeping_is_made_once_for_all_and_only_the_operator_sees_it(server, api):
    def done():
        return {j["kind"]: j for j in server.cli_json("jobs", "list", "--server", "--limit", "200")
                if j["state"] == "done"}
    wait_until(lambda: done().keys() >= {SWEEP, "sessions.purge", "idempotency.purge",
                                         "attachments.sweep"}, 10, "one of each has run")
    sweeps = server.cli_json("jobs", "list", "--server", "--kind", SWEEP)
    assert len(sweeps) <= 2          # the hour may just have turned
    assert listed(api) == []


def test_an_expired_answer_is_removed_by_a_job(fresh_server):
    server = fresh_server
    truth.execute(server, "INSERT INTO idempotency_keys (team_id, token_id, route, idem_key, "
                          "fingerprint, status, headers, body, expires_ms) VALUES "
                          "('t1', 'k', 'POST /x', 'one', 'f', 200, '{}', '{}', 1)")
    run_now(server, "idempotency.purge")

    wait_until(lambda: not truth.value(server, "SELECT count(*) FROM idempotency_keys"), 10,
               "the expired answer is gone")


# --- several nodes --------------------------------------------------------------------------------


@pytest.mark.only_backend("postgres")
def test_two_nodes_share_the_work_and_each_job_runs_once(fresh_server):
    first = fresh_server
    with contextlib.closing(Server("postgres", first.database)) as second:
        second.start()
        made = []

        def is_shared():     # one node alone may be quick enough for a few
            made.extend(add_job(first, f"team{i % 7}") for i in range(50))
            return truth.value(first, "SELECT count(DISTINCT node) FROM job WHERE team_id <> ''") == 2
        wait_until(is_shared, 20, "both nodes have jobs")
        wait_until(lambda: not truth.value(first, "SELECT count(*) FROM job WHERE state <> 'done'"),
                   30, "all are done")

        rows = truth.rows(first, "SELECT id, attempt, node FROM job WHERE team_id <> ''")
        assert {row[0] for row in rows} == set(made)
        assert {row[1] for row in rows} == {1}
        nodes = {row[2].split(":")[1] for row in rows}
        assert nodes == {str(first.proc.pid), str(second.proc.pid)}


def test_jobs_of_a_killed_node_go_on_after_their_lease(fresh_server):
    server = fresh_server
    wait_rest(server)
    server.kill9()
    made = add_job(server, "t1", state="running", attempt=1, lease_token="x", node="gone:1",
                   lease_ms=truth.value(server, "SELECT MAX(created_ms) FROM job") + 4000)
    server.start()

    stays_true(lambda: state_of(server, made) == "running", 1, "its lease holds")
    wait_until(lambda: state_of(server, made) == "done", 10, "another node has taken over")
    assert truth.value(server, "SELECT attempt FROM job WHERE id = ?", made) == 2
