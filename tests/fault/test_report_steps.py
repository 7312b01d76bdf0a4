"""A node that is killed at every step of the run of a scheduled report: another start ends it. Every
recipient gets the mail, at most twice; the run and its deliveries say so.

Ordinary runs take a sample of the statements; --every-step takes all.
"""

import glob
import json
import os
import time
import uuid

import pytest
from harness import truth
from harness.inbox import Inbox, Loopback, settings
from harness.jobs import add_job, state_of, wait_rest
from harness.tenants import Tenant
from harness.wait import wait_until
from harness.world import REPORT

LEASE_S = 2
STRIDE = {"db": 7, "commit": 2, "committed": 2}
TO = ["a@acme.example", "b@acme.example"]


@pytest.fixture
def inbox():
    kept = Inbox()
    made = Loopback(kept)
    made.start()
    kept.port = made.port
    yield kept
    made.stop()


def queue_run(server, team, report, schedule):
    """A run in the queue, as report.due would have put it there; the ids of run and job."""
    run = str(uuid.uuid4())
    job = add_job(server, team, "report.run", key=schedule, lane=schedule, attempts=6,
                  payload=json.dumps({"run_id": run}))
    truth.execute(server, "INSERT INTO report_run (team_id, id, report_id, schedule_id, cause, state, "
                  "due_ms, format, job_id, created_ms) VALUES (?, ?, ?, ?, 'schedule', 'queued', 1, "
                  "'csv', ?, ?)", team, run, report, schedule, job, int(time.time() * 1000))
    return run, job


@pytest.mark.parametrize("point", STRIDE)
def test_a_run_killed_at_every_step_is_sent_and_ends(request, make_server, inbox, point):
    server = make_server({**settings(inbox.port), "TESSERA_JOB_LEASE_S": str(LEASE_S)})
    left = set()        # in what state kills have left the run
    stride = 1 if request.config.getoption("--every-step") else STRIDE[point]
    try:
        team = Tenant(server)
        report = team.api.post("/v1/reports", {"name": "x", "definition": REPORT}).json()["id"]
        schedule = team.api.post(f"/v1/reports/{report}/schedules", {
            "kind": "daily", "at": "07:30", "format": "csv", "recipients": TO}).json()["id"]
        wait_rest(server)
        server.kill9()
        for nth in range(1, 400, stride):
            inbox.mails.clear()
            run, job = queue_run(server, team.id, report, schedule)
            server.env["TESSERA_FAULT"] = f"{point}:{nth}:kill"
            server.start(wait=False)
            del server.env["TESSERA_FAULT"]
            wait_until(lambda: not server.is_running() or state_of(server, job) == "done", 15,
                       "killed, or done before that", 0.005)
            survived = server.is_running()
            server.kill9()
            left.add(truth.value(server, "SELECT state FROM report_run WHERE id = ?", run))
            if not survived:
                server.start()
                wait_until(lambda: state_of(server, job) == "done", LEASE_S + 10,
                           f"the run that was killed at step {nth} ends")
                server.kill9()
            check(server, inbox, run, f"{point}:{nth}")
            forget(server, team.id)
            if survived:
                break
        assert survived, "the walk came past the end of the run"
        assert {"queued", "running", "done"} <= left, left
        truth.check_integrity(server)
    finally:
        server.close()


def forget(server, team):
    """A start looks at every file of an export: with them it would grow from step to step."""
    truth.execute(server, "DELETE FROM job WHERE team_id = ?", team)
    truth.execute(server, "DELETE FROM report_export")
    for path in glob.glob(os.path.join(server.dir, "*exports*", "*")):
        os.unlink(path)


def check(server, inbox, run, where):
    state, export = truth.rows(server, "SELECT state, export_id FROM report_run WHERE id = ?", run)[0]
    sent = truth.rows(server, "SELECT target, state FROM report_delivery WHERE run_id = ? ORDER BY n",
                      run)
    assert (state, [tuple(row) for row in sent]) == ("done", [(to, "sent") for to in TO]), where
    assert truth.value(server, "SELECT state FROM report_export WHERE id = ?", export) == "done"
    counts = [len(inbox.to(to)) for to in TO]
    assert all(1 <= n <= 2 for n in counts) and sum(counts) <= 3, f"{where}: {counts}"
