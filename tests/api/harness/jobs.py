"""Jobs put into the database past the server, as a unit of work of another node would."""

import time
import uuid

from . import truth
from .wait import wait_until

SWEEP = "jobs.sweep"        # a kind that every server has, and that is over at once


def add_job(server, team_id, kind=SWEEP, state="ready", **columns):
    """A job; its id. A ready one is found by the servers within about a second."""
    now = int(time.time() * 1000)
    row = {"team_id": team_id, "id": str(uuid.uuid4()), "kind": kind, "key": "", "lane": "",
           "is_single": 0, "state": state, "priority": 5, "attempt": 0, "attempts": 3,
           "due_ms": now, "is_cancelled": 0, "progress": 0, "created_ms": now}
    if state in ("done", "dead", "cancelled"):
        row["finished_ms"] = now
    row.update(columns)
    truth.execute(server, f"INSERT INTO job ({', '.join(row)}) VALUES "
                          f"({', '.join('?' * len(row))})", *row.values())
    if state == "ready":
        truth.execute(server, "INSERT INTO job_lane (team_id, kind, lane, priority, served, "
                              "wake_ms, idle_ms) VALUES (?, ?, ?, ?, 0, 0, 0) ON CONFLICT "
                              "(team_id, kind, lane) DO UPDATE SET wake_ms = 0, idle_ms = 0",
                      team_id, kind, row["lane"], row["priority"])
    return row["id"]


def wait_rest(server):
    """The housekeeping of a start is over: a job of it that is killed would hold the place of its
    kind."""
    wait_until(lambda: truth.rows(server, "SELECT state FROM job WHERE kind = ? AND team_id = ''",
                                  SWEEP) and not truth.value(
        server, "SELECT count(*) FROM job WHERE team_id = '' AND state <> 'done'"), 10,
        "the server's own jobs are over")


def run_now(server, kind):
    """The next period of a periodic kind has come."""
    wait_rest(server)
    truth.execute(server, "UPDATE job_kind SET next_ms = 1 WHERE kind = ?", kind)


def state_of(server, job_id):
    return truth.value(server, "SELECT state FROM job WHERE id = ?", job_id)
