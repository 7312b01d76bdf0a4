"""Webhooks under SIGKILL: changes at a rate, kills at random, and then the books.

Writers make tickets and change them, each its own; what was answered is a fact. The server is killed
every few seconds and started again. At the end every fact must have arrived at the receiver at least
once (by a process of its own that checks signatures, fails some first attempts and lives through all
of it), all attempts of an id with the same bytes, and at the ordered webhook the events of a ticket
in the order of their sequences.
"""

import base64
import random
import threading
import time

import requests
from harness import truth
from harness.wait import wait_until
from hook_sink import Sink

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
FAIL_PERCENT = 3
WRITERS = 5
BATCH = 10              # tickets of one request; each is changed once or twice afterwards
REST_S = 90             # for what is left at the end: leases and retries
ENV = {"TESSERA_EGRESS_ALLOW": "127.0.0.0/8", "TESSERA_WEBHOOK_WAIT_PERCENT": "1",
       "TESSERA_WEBHOOK_LEASE_S": "6", "TESSERA_WEBHOOK_TIMEOUT_S": "3",
       "TESSERA_LOG_LEVEL": "warn"}


class Writer(threading.Thread):
    """Makes changes at its share of the rate while the server is up."""

    def __init__(self, soak, dice):
        super().__init__(daemon=True)
        self.soak, self.dice = soak, random.Random(dice)
        self.facts = set()       # (type, ticket, version) of acknowledged changes
        self.changes = 0

    def ask(self, session, method, path, body):
        """The decoded answer; None when there was none or it was no success."""
        try:
            reply = session.request(method, self.soak.server.url + path, json=body, timeout=10)
        except requests.RequestException:
            return None
        return reply.json() if reply.status_code // 100 == 2 else None

    def round(self, session):
        """BATCH tickets, then a change of each; every answer is a fact."""
        made = self.ask(session, "POST", "/v1/tickets/bulk",
                        {"tickets": [{"title": "soak"}] * BATCH})
        if not made:
            return
        ids = [item["id"] for item in made["data"]]
        self.facts.update(("ticket.created", ticket_id, 1) for ticket_id in ids)
        self.changes += len(ids)
        for ticket_id in self.dice.sample(ids, BATCH // 2):
            now = self.ask(session, "PATCH", f"/v1/tickets/{ticket_id}",
                           {"title": f"soak {self.dice.random()}"})
            if now:
                self.facts.add(("ticket.updated", ticket_id, now["version"]))
                self.changes += 1

    def run(self):
        began = time.monotonic()
        with requests.Session() as session:
            session.trust_env = False
            session.headers["Authorization"] = f"Bearer {self.soak.token}"
            while not self.soak.over.is_set():
                self.soak.up.wait(1)
                before = self.changes
                self.round(session)
                due = began + self.changes / (self.soak.rate / WRITERS)
                late = due - time.monotonic()
                if self.changes == before:
                    self.soak.over.wait(0.05)
                elif late > 0:
                    self.soak.over.wait(late)
                elif late < -1:
                    began -= late        # a kill is not made up for


class HookSoak:
    """One run; the server is the caller's, with ENV among its settings."""

    def __init__(self, server, seconds, rate=500, seed=1):
        self.server, self.seconds, self.rate = server, seconds, rate
        self.dice = random.Random(seed)
        self.up, self.over = threading.Event(), threading.Event()
        self.token = None
        self.kills = 0

    def webhook(self, url, **fields):
        reply = requests.post(self.server.url + "/v1/webhooks", timeout=10,
                              headers={"Authorization": f"Bearer {self.token}"},
                              json={"url": url, "secret": SECRET, **fields})
        assert reply.status_code == 201, reply.text

    def run(self):
        """(problems, figures)."""
        self.token = self.server.new_token("soak", rate_limit=1000000000,
                                           scopes=["admin:full"])["token"]
        sink = Sink([SECRET], FAIL_PERCENT)
        try:
            self.webhook(sink.url("/ordered"), events=["ticket.*"], ordered=True)
            self.webhook(sink.url("/plain"), events=["ticket.created"])
            writers = [Writer(self, self.dice.random()) for _ in range(WRITERS)]
            for writer in writers:
                writer.start()
            self.kill_at_random()
            for writer in writers:
                writer.join(30)
            facts = set().union(*(w.facts for w in writers))
            late = self.wait_for(sink, facts)
            seen = sink.dump(self.server.dir)
        finally:
            self.over.set()
            self.up.set()
            sink.close()
        figures = {"changes": len(facts), "rate": len(facts) / self.seconds, "kills": self.kills,
                   "requests": seen["requests"], "arrived": seen["arrived"]}
        return [*late, *problems(facts, seen)], figures

    def kill_at_random(self):
        end = time.monotonic() + self.seconds
        while (left := end - time.monotonic()) > 0:
            self.up.set()
            self.over.wait(min(left, self.dice.uniform(0.5, min(6, self.seconds / 3))))
            if end - time.monotonic() > 0.5:
                self.up.clear()
                self.server.kill9()
                self.server.start()
                self.kills += 1
        self.over.set()
        self.up.set()
        self.server.kill9()         # the last one, with everything under way
        self.server.start()
        self.kills += 1

    def wait_for(self, sink, facts):
        """What had not arrived in time. Each fact arrives once at the ordered webhook, each new
        ticket at the plain one too."""
        least = len(facts) + sum(kind == "ticket.created" for kind, _, _ in facts)
        try:
            wait_until(lambda: sink.count() >= least, REST_S, "all arrived", 0.1)
            wait_until(lambda: not truth.value(
                self.server, "SELECT count(*) FROM webhook_delivery WHERE state IN "
                             "('waiting', 'sending')"), REST_S, "nothing is under way", 0.1)
        except AssertionError as e:
            return [f"{e}; {sink.count()} of at least {least}"]
        return []


def problems(facts, seen):
    """What is wrong with what the receiver saw."""
    arrived = {}
    for path, kind, ticket, version in seen["facts"]:
        arrived.setdefault(path, set()).add((kind, ticket, version))
    lost = facts - {fact for fact in arrived.get("/ordered", set())
                    if fact[0] in ("ticket.created", "ticket.updated")}
    if lost:
        yield f"{len(lost)} acknowledged changes did not arrive, such as {min(lost)}"
    lost = {f for f in facts if f[0] == "ticket.created"} - arrived.get("/plain", set())
    if lost:
        yield f"{len(lost)} new tickets did not arrive at the plain webhook, such as {min(lost)}"
    if seen["changed"] or seen["bad"]:
        yield f"{seen['changed']} ids changed their bytes, {seen['bad']} signatures are wrong"
    last = {}
    for path, entity, sequence in seen["order"]:
        if path == "/ordered" and sequence < last.get(entity, 0):
            yield f"{entity}: {sequence} arrived after {last[entity]}"
        last[entity] = max(sequence, last.get(entity, 0)) if path == "/ordered" else last.get(
            entity, 0)
