"""A node that is killed at every step of a job: the job ends right, on the next node, after its
lease."""

import pytest
from harness import truth
from harness.jobs import add_job, state_of, wait_rest
from harness.wait import wait_until

LEASE_S = 2


WALKS_MAX = 4           # other threads' calls count too: a walk may step over the moment it is about
EVERY_STATE = {"ready", "running", "done"}


def walk(server, point, held):
    """Kill the server at each step until a job ends before it; the states left behind go to held."""
    alive = 0
    for nth in range(1, 90):
        made = add_job(server, "t1")
        server.env["TESSERA_FAULT"] = f"{point}:{nth}:kill"
        server.start(wait=False)
        del server.env["TESSERA_FAULT"]
        wait_until(lambda: not server.is_running() or state_of(server, made) == "done", 10,
                   "killed, or done before that", 0.005)
        alive += server.is_running()
        server.kill9()
        left = state_of(server, made)
        held.add(left)
        if left != "done" and (left == "running" or nth % 8 == 0):
            server.start()
            wait_until(lambda: state_of(server, made) == "done", LEASE_S + 8,
                       f"the job that was left {left} at step {nth} ends")
            attempts = truth.value(server, "SELECT attempt FROM job WHERE id = ?", made)
            assert attempts == (2 if left == "running" else 1)
            server.kill9()
        truth.execute(server, "DELETE FROM job WHERE team_id = 't1'")
        if alive == 2:
            return
    raise AssertionError("the walk did not come past the end of the job")


@pytest.mark.parametrize("point", ["db", "commit", "committed"])
def test_a_job_killed_at_every_step_ends_done(make_server, point):
    server = make_server({"TESSERA_JOB_LEASE_S": str(LEASE_S)})
    held = set()            # what the killed node left: the state of the job
    try:
        wait_rest(server)
        server.kill9()
        for _ in range(WALKS_MAX):
            walk(server, point, held)
            if held >= EVERY_STATE:
                break
        assert held == EVERY_STATE
        truth.check_integrity(server)
    finally:
        server.close()
