"""SIGKILL at random under load, twenty times: nothing acknowledged is lost, the books agree."""

import random
import re
import time

import pytest
from harness import truth
from harness.client import Api
from harness.load import Load
from harness.server import V0
from harness.wait import wait_until

KILLS = 20
LIMIT = 1000000


def hour():
    return int(time.time() // 3600)


def spent(api):
    """Requests of this hour that the limit knows of, this one included; also its hour."""
    before = hour()
    reply = api.get(V0)
    assert reply.status_code == 200, reply.text
    left = int(re.search(r"r=(\d+)", reply.headers["RateLimit"]).group(1))
    return LIMIT - left, before if before == hour() else None


def rollup_total(server, token_id):
    return int(truth.value(server, "SELECT COALESCE(SUM(n), 0) FROM usage_rollup "
                                   "WHERE token_id = ? AND grain = 'd'", token_id))


def rows_of_hour(server, token_id, of_hour):
    """Usage rows in an hour that took from the limit."""
    return truth.value(server, "SELECT count(*) FROM integration_token_usage WHERE token_id = ? "
                               "AND status_code <> 429 AND created_ms >= ? AND created_ms < ?",
                       token_id, of_hour * 3600000, (of_hour + 1) * 3600000)


def check_books(server, token_id, api, acked):
    """After a kill and a restart: writes, usage rows, rollups and limits tell one story."""
    stored = truth.ticket_ids(server)
    lost = set(acked) - stored
    assert not lost, f"{len(lost)} acknowledged tickets are lost"
    created = truth.value(server, "SELECT count(*) FROM integration_token_usage WHERE token_id = ? "
                                  "AND method = 'POST' AND status_code = 201", token_id)
    assert created == len(stored), "a ticket without its usage row, or a row without its ticket"
    used, of_hour = spent(api)
    if of_hour is not None:
        noted = rows_of_hour(server, token_id, of_hour)
        # The request that asks counts at once; its own row follows within 50 ms.
        assert noted <= used <= noted + 1, f"limit says {used}, usage rows say {noted}"


def test_twenty_kills_under_load_lose_nothing(fresh_server):
    dice = random.Random(20)
    made = fresh_server.new_token(rate_limit=LIMIT)
    api = Api(fresh_server, made["token"], check=False)
    acked = []

    for _ in range(KILLS):
        load = Load(fresh_server, made["token"], warm=1).start()
        load.over.wait(dice.uniform(0.02, 0.4))          # the random moment
        fresh_server.kill9()
        load.finish()
        acked += load.acked
        assert not load.odd
        fresh_server.start()
        check_books(fresh_server, made["id"], api, acked)

    truth.check_integrity(fresh_server)
    assert len(acked) >= KILLS
    rows = len(truth.usage_rows(fresh_server, made["id"]))
    wait_until(lambda: rollup_total(fresh_server, made["id"])
               == len(truth.usage_rows(fresh_server, made["id"])) >= rows, 5,
               "rollups agree with the rows")


@pytest.mark.parametrize("point", ["commit", "committed", "send"])
def test_a_kill_at_each_step_of_a_write_keeps_what_was_answered(fresh_server, point):
    """The binary kills itself at the Nth passage of the point: before or after COMMIT, before
    the answer."""
    made = fresh_server.new_token(rate_limit=LIMIT)
    api = Api(fresh_server, made["token"], check=False)
    acked = [api.create_v0("before")["id"]]

    for nth in (1, 2, 7, 30):
        fresh_server.stop() if fresh_server.is_running() else None
        fresh_server.env["TESSERA_FAULT"] = f"{point}:{nth}:kill"
        fresh_server.start(wait=False)
        try:
            with Load(fresh_server, made["token"], threads=3, warm=0) as load:
                wait_until(lambda: not fresh_server.is_running(), 20, "the fault fires")
        finally:
            del fresh_server.env["TESSERA_FAULT"]
        acked += load.acked
        fresh_server.start()
        check_books(fresh_server, made["id"], api, acked)
    truth.check_integrity(fresh_server)


@pytest.mark.parametrize("point", ["db", "commit"])
def test_a_failure_of_the_database_is_answered_and_loses_nothing(fresh_server, point):
    made = fresh_server.new_token(rate_limit=LIMIT)
    acked = []
    for nth in (2, 5, 9, 14):
        fresh_server.stop()
        fresh_server.env["TESSERA_FAULT"] = f"{point}:{nth}:once"
        try:
            fresh_server.start(wait=False)
            wait_until(lambda: not fresh_server.is_running()
                       or fresh_server.probe("/readyz") == 200, 10, "started or gave up")
        finally:
            del fresh_server.env["TESSERA_FAULT"]
        if not fresh_server.is_running():                # the fault hit its own start: it says so
            assert fresh_server.proc.returncode != 0
            fresh_server.start()
        with Load(fresh_server, made["token"], threads=3, warm=30) as load:
            pass
        acked += load.acked
        assert set(load.odd) <= {500}
        assert set(acked) <= truth.ticket_ids(fresh_server)
    truth.check_integrity(fresh_server)
