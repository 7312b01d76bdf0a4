"""Every step of a delivery, failed once and killed once: statements, before COMMIT, after COMMIT, the
call, its answer, the reply to who made the change.

TESSERA_FAULT counts the points that the process passes from its start on. A walk makes one change and
lets it be sent, for each count, until one passes with the fault not having fired. Afterwards the
server goes on without it, and the state must be right: an acknowledged change has arrived at least
once, every attempt of the id with the same bytes, nothing is stuck, what was attempted is recorded,
and an ordered webhook had its events in order. Allocations that fail are in test_alloc_steps.py.
"""

import contextlib

import pytest
import requests
from harness import truth
from harness.hooks import attempts, deliveries, new_webhook
from harness.receiver import Receiver
from harness.tenants import Tenant
from harness.wait import wait_until

ENV = {"TESSERA_JOB_WORKERS": "0", "TESSERA_WEBHOOK_WAIT_PERCENT": "1",
       "TESSERA_WEBHOOK_LEASE_S": "3", "TESSERA_WEBHOOK_TIMEOUT_S": "2"}
STEPS_MAX = 120
OPEN = ("SELECT (SELECT count(*) FROM webhook_delivery WHERE state IN ('waiting', 'sending')) + "
        "(SELECT count(*) FROM event WHERE is_new = 1)")


class Walk:
    """A server, a plain and an ordered webhook of a team, and what was acknowledged."""

    def __init__(self, server, receiver):
        self.server, self.receiver = server, receiver
        self.team = Tenant(server)
        self.plain = new_webhook(self.team, receiver.url("/plain"), ["ticket.*"])
        self.ordered = new_webhook(self.team, receiver.url("/ordered"), ["ticket.*"], ordered=True)
        self.made = set()        # tickets that were acknowledged
        self.changed = set()     # those whose change was, too
        self.is_doomed = False   # the server that runs was told to kill itself somewhere

    def change(self, n):
        """A ticket and a change of it; True when both were acknowledged."""
        with requests.Session() as s:
            s.trust_env = False
            s.headers["Authorization"] = f"Bearer {self.team.key['token']}"
            try:
                reply = s.post(f"{self.server.url}/v1/tickets", json={"title": f"step {n}"}, timeout=10)
                if reply.status_code != 201:
                    return False
                ticket = reply.json()["id"]
                self.made.add(ticket)
                reply = s.patch(f"{self.server.url}/v1/tickets/{ticket}", json={"title": f"after {n}"},
                                timeout=10)
                if reply.status_code == 200:
                    self.changed.add(ticket)
                return reply.status_code == 200
            except requests.RequestException:
                return False

    def is_quiet(self):
        return truth.value(self.server, OPEN) == 0

    def start_with(self, fault):
        """False when the fault ended the start."""
        self.server.env["TESSERA_FAULT"] = fault
        self.is_doomed = fault.endswith(":kill")
        try:
            self.server.start(wait=False)
            wait_until(lambda: not self.server.is_running() or self.server.probe("/readyz") == 200,
                       10, "ready, or ended by the fault", 0.005)
        finally:
            del self.server.env["TESSERA_FAULT"]
        return self.server.is_running()

    def stop(self):
        """A kill that was not met yet may wait on the way out."""
        if self.server.is_running() and not self.is_doomed:
            self.server.stop()
        self.server.kill9()

    # --- what has to be true ------------------------------------------------------------------

    def check(self, where):
        """With the server running and quiet."""
        for hook, path in ((self.plain, "/plain"), (self.ordered, "/ordered")):
            bodies, arrived = {}, {"ticket.created": set(), "ticket.updated": set()}
            for r in self.receiver.all(path):
                bodies.setdefault(r.id, set()).add(r.body)
                if r.json["type"] in arrived:
                    arrived[r.json["type"]].add(r.json["data"]["id"])
            assert all(len(b) == 1 for b in bodies.values()), f"{where}: bytes of an id changed"
            assert self.made <= arrived["ticket.created"], f"{where}: lost"
            assert self.changed <= arrived["ticket.updated"], f"{where}: lost"
            for row in deliveries(self.server, hook):
                numbers = [a[0] for a in attempts(self.server, row)]
                assert row["state"] == "delivered" and row["attempt"] == len(numbers), where
                assert numbers == list(range(1, len(numbers) + 1)), where
        self.check_order(where)
        wait_until(self.has_no_lane, 10, f"{where}: no lane stays")

    def has_no_lane(self):
        """A kill may come as late as the look at an empty lane."""
        if not self.server.is_running():
            self.server.start()
        return not truth.value(self.server, "SELECT count(*) FROM webhook_lane")

    def check_order(self, where):
        first = {}
        for r in self.receiver.all("/ordered"):
            first.setdefault(r.json["entity"], {}).setdefault(r.id, r.json["sequence"])
        for entity, ids in first.items():
            assert list(ids.values()) == sorted(ids.values()), f"{where}: order of {entity}"


@pytest.fixture(scope="module")
def walk(make_server):
    with contextlib.closing(make_server(ENV)) as server, Receiver() as receiver:
        yield Walk(server, receiver)


@pytest.mark.parametrize("mode", ["once", "kill"])
@pytest.mark.parametrize("kind", ["db", "commit", "committed", "egress", "answer", "send"])
def test_a_delivery_disturbed_at_every_step_arrives(walk, request, kind, mode):
    """A sample of the steps, unless --every-step is given."""
    stride = 1 if request.config.getoption("--every-step") else 8 if kind == "db" else 2
    tried = 0
    for n in range(1, STEPS_MAX, stride):
        where = f"{kind}:{n}:{mode}"
        walk.stop()
        has_passed = walk.start_with(where) and walk.change(n)
        if has_passed:
            has_passed = waits_quiet(walk)
        elif mode == "kill":
            wait_until(lambda: not walk.server.is_running(), 10, f"{where}: it was killed")
        tried += 1
        if not walk.server.is_running():
            walk.server.kill9()
            walk.server.start()
            walk.is_doomed = False
        wait_until(walk.is_quiet, 15, f"{where}: nothing is stuck")
        if tried % 6 == 0:
            walk.check(where)
        if is_over(walk, kind, n, mode, has_passed):
            break
    walk.check(f"{kind} {mode}, after {tried} steps")
    assert tried > 2
    truth.check_integrity(walk.server)


def waits_quiet(walk):
    """Whether the server lived to see everything sent."""
    wait_until(lambda: not walk.server.is_running() or walk.is_quiet(), 15,
               "sent, or ended by the fault", 0.01)
    return walk.server.is_running()


PAST = {"db": 60, "commit": 14, "committed": 14, "egress": 8, "answer": 8, "send": 6}


def is_over(walk, kind, n, mode, has_passed):
    """A kill that did not happen is past the end of the path; a failure that is coped with leaves no
    such trace, so it is walked somewhat farther than the kills of its kind reach."""
    if mode == "kill":
        return has_passed and walk.server.is_running() and n > 1
    return n >= PAST[kind]
