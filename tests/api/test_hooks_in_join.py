"""An event whose transaction ends after the job that it joined has looked is not left behind."""

import contextlib
import uuid

import pytest
from harness import truth
from harness.senders import Sender
from harness.tenants import Tenant
from harness.wait import wait_until

# What a transaction that stores an event does, in short: it shares the integration's lock until it ends.
JOIN = "SELECT pg_advisory_xact_lock_shared(7355610, hashtext(%s))"
EVENT = ("INSERT INTO webhook_log SELECT (jsonb_populate_record(w, jsonb_build_object("
         "'id', CAST(%s AS TEXT), 'state', 'received', 'processed_ms', NULL))).* "
         "FROM webhook_log w WHERE id = %s")


@pytest.mark.only_backend("postgres")       # SQLite writes one transaction after the other
def test_an_event_committed_after_its_job_looked_is_processed_at_once(server):
    sender = Sender(Tenant(server))
    late = str(uuid.uuid4())
    assert sender.send(key=str(uuid.uuid4()), type="issues").status_code == 200
    wait_until(lambda: len(sender.logs(state="processed")) == 1, 8, "the first is processed")
    [first] = sender.logs()

    with contextlib.closing(server.database.connect_admin()) as conn, conn.cursor() as cur:
        cur.execute("BEGIN")
        cur.execute(JOIN, (sender.id,))
        cur.execute(EVENT, (late, first["id"]))
        assert sender.send(key=str(uuid.uuid4()), type="issues").status_code == 200
        wait_until(lambda: len(sender.logs(state="processed")) == 2, 8, "its job has looked")
        cur.execute("COMMIT")

    wait_until(lambda: truth.value(server, "SELECT state FROM webhook_log WHERE id = ?", late) ==
               "processed", 8, "the late one is processed")
