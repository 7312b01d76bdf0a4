"""Webhooks that come in, with every step failing or killed once: what was acknowledged is stored
exactly once and processed; what was not is stored exactly once after the sender has tried again.

The walks stand on stage.py. Those over the arrival run without workers, so that all points that are
passed are the arrival's own; those over the processing let one node be killed and the next one end
the work.
"""

import random
import threading
import uuid

import pytest
import requests
from harness import truth
from harness.senders import Sender, listen
from harness.tenants import Tenant
from harness.wait import wait_until
from stage import KINDS, STEPS_MAX, Stage

LEASE_S = 2
KILLS = 8
FEW = {"TESSERA_JOB_WORKERS": "0"}


class Scene(Stage):
    """A stage with a team, whose events are wanted outside, and an integration of it."""

    def __init__(self, server):
        super().__init__(server)
        self.team = Tenant(server)
        listen(self.team)
        self.sender = Sender(self.team)
        self.sender.outside.check = False

    def count(self, what, *args):
        return int(truth.value(self.server, "SELECT count(*) FROM " + what, *args))

    def stored(self, key):
        """Whether the event of that key is there; fails when it is by half or twice."""
        found = (self.count("hook_seen WHERE event_key = ?", key),
                 self.count("webhook_log WHERE event_key = ?", key),
                 self.count("webhook_log w JOIN webhook_payload p ON p.team_id = w.team_id AND "
                            "p.id = w.id JOIN hook_seen s ON s.event_id = w.id WHERE "
                            "w.event_key = ?", key))
        assert found in ((0, 0, 0), (1, 1, 1)), f"{key}: {found}"
        return found[0] == 1

    def check_books(self):
        """The bytes are counted as they are; who waits has a job; the database is sound."""
        counted, real = truth.rows(
            self.server, "SELECT COALESCE((SELECT SUM(bytes) FROM hook_stored), 0), (SELECT "
            "COALESCE(SUM(stored_bytes), 0) FROM webhook_log)")[0]
        assert counted == real
        waiting = self.count("webhook_log WHERE state = 'received'")
        jobs = self.count("job WHERE kind = 'hook.process' AND state IN ('ready', 'running')")
        assert not waiting or jobs, f"{waiting} events wait and there is no job"

    def deliver(self, key):
        """The status, None when the connection broke without an answer."""
        self.sender.outside.session.close()
        try:
            return self.sender.send(key=key).status_code
        except requests.RequestException:
            return None


    def insist(self, key):
        """The sender tries until it is taken; the fault may meet the second try."""
        statuses = [self.deliver(key)]
        if statuses[0] is None:
            self.recover()
        if statuses[0] != 200:
            statuses.append(self.deliver(key))
        assert statuses[-1] == 200, statuses


@pytest.fixture(scope="module")
def scene(make_server):
    made = Scene(make_server(FEW))
    yield made
    made.server.close()


# --- the arrival ---------------------------------------------------------------------------------


def walk_arrival(scene, kind, mode):
    """A delivery for each count, from the first that lets a server start until one meets no fault:
    how many were answered with success, refused with 5xx, cut off."""
    scene.recover()
    first, walk = scene.first_step(kind), uuid.uuid4()
    seen = {"taken": 0, "refused": 0, "cut": 0}
    for n in range(first, first + STEPS_MAX):
        key = f"{walk}-{n}"
        scene.stop()
        has_started = scene.start_with(f"{kind}:{n}:{mode}")
        status = scene.deliver(key) if has_started else None
        is_over = status == 200 and scene.server.is_running()
        if not scene.server.is_running() or mode == "kill":
            scene.server.kill9()
        if status == 200:
            assert scene.stored(key), f"step {n}: acknowledged and lost"
        elif status is not None:
            assert status in (500, 503), status
            assert scene.stored(key) == (kind == "committed")
        if has_started:
            seen["taken" if status == 200 else "cut" if status is None else "refused"] += 1
        if not scene.server.is_running():
            scene.recover()
        scene.insist(key)
        assert scene.stored(key)
        scene.check_books()
        if is_over:
            truth.check_integrity(scene.server)
            return seen
    raise AssertionError(f"{kind} still fires after {STEPS_MAX} steps")


@pytest.mark.parametrize("kind", KINDS)
def test_an_arrival_killed_at_any_step_is_stored_once_after_the_sender_tried_again(scene, kind):
    assert scene.meets(kind, lambda: walk_arrival(scene, kind, "kill")["cut"])


@pytest.mark.parametrize("kind", KINDS)
def test_an_arrival_that_fails_at_any_step_is_refused_or_stored(scene, kind):
    assert scene.meets(kind, lambda: walk_arrival(scene, kind, "once")["refused"])


@pytest.mark.parametrize("mode", ["kill", "once"])
def test_an_acknowledgement_that_is_not_sent_costs_a_second_delivery_and_no_second_event(scene, mode):
    scene.recover()
    cut = 0
    for n in range(1, 8):
        key = f"send-{mode}-{n}"
        scene.stop()
        if not scene.start_with(f"send:{n}:{mode}"):     # an answer to the look whether it is up
            scene.recover()
            continue
        status = scene.deliver(key)
        cut += status is None
        if status is None:
            assert scene.stored(key), "the commit came before the answer"
            scene.recover()
        scene.insist(key)
        assert scene.stored(key)
    assert cut, "no fault met an acknowledgement"
    scene.check_books()


# --- a handshake -----------------------------------------------------------------------------------


def walk_handshake(scene, kind):
    """A handshake for each count; how many were cut off."""
    scene.recover()
    first, cut = scene.first_step(kind), 0
    for n in range(first, first + STEPS_MAX):
        asana = Sender(scene.team, "asana", secret="")
        secret = f"handshake-{kind}-{n}"
        scene.stop()
        status = None
        if scene.start_with(f"{kind}:{n}:kill"):
            asana.outside.session.close()
            try:
                status = asana.post(b"", {"X-Hook-Secret": secret}).status_code
            except requests.RequestException:
                cut += 1
        is_over = status == 200 and scene.server.is_running()
        scene.server.kill9()
        kept = scene.count("integration_secret WHERE integration_id = ?", asana.id)
        awaited = scene.count("integration WHERE id = ? AND await_until_ms IS NOT NULL", asana.id)
        told = scene.count("audit_log WHERE target_id = ? AND action = 'integration.handshake'",
                           asana.id)
        assert (kept, awaited, told) in ((0, 1, 0), (1, 0, 1)), f"step {n}: by half"
        assert kept or status is None, "answered and not kept"
        scene.recover()
        if not kept:
            assert asana.post(b"", {"X-Hook-Secret": secret}).status_code == 200
        assert asana.send(secret=secret).status_code == 200
        if is_over:
            break
    return cut


@pytest.mark.parametrize("kind", KINDS)
def test_a_handshake_killed_at_any_step_is_answered_only_when_its_secret_is_kept(scene, kind):
    assert scene.meets(kind, lambda: walk_handshake(scene, kind)), "no kill met a handshake"


# --- the processing ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_an_event_is_processed_and_told_once_when_its_node_is_killed_at_any_step(make_server, kind,
                                                                                request):
    is_long = request.config.getoption("--every-step")
    server = make_server({"TESSERA_JOB_LEASE_S": str(LEASE_S), **FEW})
    scene, states, alive = Scene(server), set(), 0
    where = "webhook_log WHERE event_key = ? AND state = 'processed'"
    told = "event WHERE type = 'integration.event_received' AND data LIKE '%%' || ? || '%%'"
    try:
        for nth in range(1, 200, 1 if is_long else 7 if kind == "db" else 2):
            key = f"killed-{kind}-{nth}-end"
            if not server.is_running():
                server.env.update(FEW)
                server.start()
            assert scene.deliver(key) == 200
            server.kill9()
            del server.env["TESSERA_JOB_WORKERS"]
            scene.start_with(f"{kind}:{nth}:kill")
            wait_until(lambda: not server.is_running() or scene.count(where, key), 10,
                       "killed, or processed before that", 0.005)
            alive += server.is_running()
            server.kill9()
            state = truth.value(server, "SELECT state FROM webhook_log WHERE event_key = ?", key)
            states.add(state)
            assert scene.count(told, key) == (state == "processed")
            server.start()
            wait_until(lambda: scene.count(where, key), LEASE_S + 10, f"{key} is processed")
            assert scene.count(told, key) == 1
            server.kill9()
            if alive >= 2:
                break
        assert alive >= 2, "the walk came past the end of the work"
        assert "received" in states, "no kill met the work"
        truth.check_integrity(server)
    finally:
        server.close()


# --- under load --------------------------------------------------------------------------------------


class Flood(threading.Thread):
    """Deliveries one after the other until it is told to stop; `acked` are the keys of those that
    were acknowledged, `open_` of those that were not."""

    def __init__(self, scene, name, stop):
        super().__init__()
        self.sender, self.prefix, self.stopped = scene.sender, name, stop
        self.acked, self.open_ = [], []

    def run(self):
        n = 0
        with requests.Session() as session:
            session.trust_env = False
            while not self.stopped.is_set():
                n += 1
                key = f"{self.prefix}-{n}"
                body, headers = self.sender.delivery(key=key)
                try:
                    status = session.post(self.sender.team.server.url + self.sender.path, data=body,
                                          headers=headers, timeout=10).status_code
                except requests.RequestException:
                    status = None
                (self.acked if status == 200 else self.open_).append(key)
                if status is None:
                    return


def test_kills_at_random_lose_no_acknowledged_webhook(make_server):
    dice, acked, left = random.Random(4), [], []
    server = make_server({"TESSERA_JOB_LEASE_S": str(LEASE_S)})
    scene = Scene(server)
    try:
        for turn in range(KILLS):
            stop = threading.Event()
            floods = [Flood(scene, f"{turn}-{i}", stop) for i in range(8)]
            for flood in floods:
                flood.start()
            wait_until(lambda f=floods: any(one.acked for one in f), 5, "something is acknowledged")
            stop.wait(dice.uniform(0.02, 0.6))          # the random moment
            server.kill9()
            stop.set()
            for flood in floods:
                flood.join(20)
                acked += flood.acked
                left += flood.open_
            server.start()
        for key in left:                                # the senders try again
            assert scene.deliver(key) == 200
        keys = {key for key, in truth.rows(server, "SELECT event_key FROM webhook_log")}
        assert set(acked) <= keys, f"{len(set(acked) - keys)} acknowledged webhooks are lost"
        assert keys == set(acked) | set(left)
        assert scene.count("webhook_log") == len(keys), "an event is there twice"
        wait_until(lambda: not scene.count("webhook_log WHERE state <> 'processed'"),
                   LEASE_S + 20, "all are processed")
        assert scene.count("event WHERE type = 'integration.event_received'") == len(keys)
        assert len(acked) > 100
        scene.check_books()
        truth.check_integrity(server)
    finally:
        server.close()
