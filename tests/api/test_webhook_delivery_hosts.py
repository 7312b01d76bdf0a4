"""Hosts that hang, drip, flood, end early or speak no TLS delay nobody else; several nodes share the
work; a stop and a kill lose nothing."""

import contextlib
import time

import pytest
from harness import truth
from harness.hooks import (attempts, deliveries, new_ticket, new_tickets, new_webhook,
                           wait_deliveries, wait_over)
from harness.receiver import Nasty, Receiver
from harness.server import Server
from harness.tenants import Tenant
from harness.wait import SLOW, wait_until

HOSTILE = ["hangs", "drips", "floods", "closes", "tls"]
OUTCOMES = {"hangs": "timeout", "drips": "timeout", "floods": "ok", "closes": "broken", "tls": "tls"}
QUICK = {"TESSERA_WEBHOOK_WAIT_PERCENT": "1"}
SHORT = {**QUICK, "TESSERA_WEBHOOK_TIMEOUT_S": "2"}


@pytest.fixture
def receiver():
    with Receiver() as made:
        yield made


def resident_mb(server):
    with open(f"/proc/{server.proc.pid}/statm", encoding="ascii") as f:
        return int(f.read().split()[1]) * 4096 / 1e6


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_host_delays_nobody_else(make_server, receiver, kind):
    with contextlib.closing(make_server(SHORT)) as server, Nasty(kind) as nasty:
        team, other = Tenant(server), Tenant(server)
        bad = new_webhook(team, nasty.url, ["ticket.created"])
        good = new_webhook(other, receiver.url("/good"))
        own = new_webhook(team, receiver.url("/own"), ["contact.created"])
        new_ticket(other)
        receiver.wait(1, "/good")
        before = resident_mb(server)
        new_tickets(team, 300)
        wait_until(lambda: nasty.connections, 5, "it is called")

        for n in range(5):
            began = time.monotonic()
            new_ticket(other)
            receiver.wait(2 + n, "/good", timeout_s=1)
            assert time.monotonic() - began < 1
        team.api.post("/v1/contacts", {"name": "Ada"})
        receiver.wait(1, "/own", timeout_s=1)

        wait_deliveries(server, bad, lambda rows: any(r["attempt"] for r in rows))
        row = next(r for r in deliveries(server, bad) if r["attempt"])
        (_, _, outcome, _, body, _) = attempts(server, row)[0]
        assert outcome == OUTCOMES[kind]
        assert len(body or "") <= 20000
        assert (row["state"] == "delivered") == (kind == "floods")
        assert SLOW > 1 or resident_mb(server) - before < 40, "sanitizers keep what is freed"
        for hook in (good, own):
            assert {r["state"] for r in wait_over(server, hook)} == {"delivered"}


def test_a_path_that_hangs_does_not_delay_others_of_the_same_host(make_server, receiver):
    """Many teams share the hosts of hook services."""
    with contextlib.closing(make_server(SHORT)) as server:
        stuck = []
        receiver.answers["/hangs"] = lambda r: (stuck.append(r), time.sleep(3), 200)[2]
        team, other = Tenant(server), Tenant(server)
        new_webhook(team, receiver.url("/hangs"))
        new_webhook(other, receiver.url("/good"))
        new_tickets(team, 100)
        wait_until(lambda: len(stuck) >= 3, 5, "it hangs")

        for n in range(4):
            new_ticket(other)
            receiver.wait(1 + n, "/good", timeout_s=1)


def test_a_million_waiting_would_not_matter(make_server, receiver):
    """The next of another webhook is claimed at once, though very many are due."""
    with contextlib.closing(make_server(SHORT)) as server, Nasty("hangs") as nasty:
        team, other = Tenant(server), Tenant(server)
        bad = new_webhook(team, nasty.url)
        new_webhook(other, receiver.url("/good"))
        new_ticket(team)
        wait_until(lambda: deliveries(server, bad), 5, "one is there")
        grow(server, bad, 60000)

        for n in range(4):
            new_ticket(other)
            receiver.wait(1 + n, "/good", timeout_s=1)

        assert truth.value(server, "SELECT count(*) FROM webhook_delivery WHERE webhook_id = ? AND "
                                   "state = 'sending'", bad["id"]) <= 64


def grow(server, hook, n):
    """The webhook's first delivery, n times more, waiting and due."""
    columns = ("team_id, webhook_id, event_seq, event_type, entity, payload, is_ordered, is_replay, "
               "state, attempt, due_ms, created_ms")
    series = ("WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < ?) "
              if server.backend == "sqlite" else
              "WITH s(i) AS (SELECT generate_series(1, ?::int)) ")
    source = ("d.team_id, d.webhook_id, d.event_seq, d.event_type, d.entity, d.payload, 0, 1, "
              "'waiting', 0, 1, d.created_ms")
    truth.execute(server, f"INSERT INTO webhook_delivery (id, event_id, {columns}) {series}"
                          f"SELECT 'grown-' || s.i, d.event_id, {source} FROM s, (SELECT * FROM "
                          "webhook_delivery WHERE webhook_id = ? LIMIT 1) d", n, hook["id"])


# --- stops, kills, nodes --------------------------------------------------------------------------


def test_a_stop_gives_back_what_hangs_and_the_next_start_sends_it(make_server, receiver):
    with contextlib.closing(make_server()) as server:
        team = Tenant(server)
        slow = []
        receiver.answers["/hook"] = lambda r: (slow.append(r), time.sleep(20), 200)[2]
        hook = new_webhook(team, receiver.url())
        new_tickets(team, 3)
        wait_until(lambda: len(slow) == 3, 5, "they are under way")

        assert server.stop() < 6

        assert {(r["state"], r["attempt"]) for r in deliveries(server, hook)} == {("waiting", 0)}
        receiver.answers.clear()
        server.start()
        rows = wait_over(server, hook, 3)
        assert {(r["state"], r["attempt"]) for r in rows} == {("delivered", 1)}


def test_a_stop_waits_for_what_is_about_to_end(make_server, receiver):
    with contextlib.closing(make_server()) as server:
        team = Tenant(server)
        slow = []
        receiver.answers["/hook"] = lambda r: (slow.append(r), time.sleep(0.7), 200)[2]
        hook = new_webhook(team, receiver.url())
        new_ticket(team)
        wait_until(lambda: slow, 5, "it is under way")

        server.stop()

        assert [r["state"] for r in deliveries(server, hook)] == ["delivered"]


@pytest.mark.only_backend("sqlite")
def test_on_sqlite_a_start_sends_at_once_what_a_killed_one_was_sending(make_server, receiver):
    with contextlib.closing(make_server()) as server:
        team = Tenant(server)
        slow = []
        receiver.answers["/hook"] = lambda r: (slow.append(r), time.sleep(5), 200)[2]
        hook = new_webhook(team, receiver.url())
        new_tickets(team, 3)
        wait_until(lambda: len(slow) == 3, 5, "they are under way")

        server.kill9()

        assert {r["state"] for r in deliveries(server, hook)} == {"sending"}
        receiver.answers.clear()
        server.start()
        wait_over(server, hook, 3)
        assert {r.body for r in receiver.all()} == {r.body for r in receiver.all()[:3]}


@pytest.fixture
def nodes(make_server):
    """Two servers on one PostgreSQL, with short leases."""
    env = {**QUICK, "TESSERA_WEBHOOK_LEASE_S": "4", "TESSERA_WEBHOOK_TIMEOUT_S": "2"}
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(contextlib.closing(make_server(env)))
        second = Server("postgres", first.database,
                        {"TESSERA_EGRESS_ALLOW": "127.0.0.0/8", **env})
        stack.enter_context(contextlib.closing(second))
        second.start()
        yield first, second


def sent_by(server):
    import requests
    text = requests.get(f"{server.url}/metrics", timeout=10).text
    line = next(ln for ln in text.splitlines()
                if ln.startswith('tessera_webhook_deliveries_total{result="delivered"}'))
    return int(line.split()[-1])


@pytest.mark.only_backend("postgres")
def test_two_nodes_share_the_work_and_send_each_event_once(nodes, receiver):
    first, second = nodes
    team = Tenant(first)
    receiver.answers["/hook"] = lambda _: (time.sleep(0.15), 200)[1]
    hooks = [new_webhook(team, receiver.url(), ordered=n == 0) for n in range(4)]
    ids = new_tickets(team, 200)

    for hook in hooks:
        wait_over(first, hook, 200, timeout_s=30)

    assert len(receiver.all()) == 4 * len(ids)
    assert sent_by(first) + sent_by(second) == 4 * len(ids)
    assert sent_by(first) and sent_by(second)


@pytest.mark.only_backend("postgres")
def test_what_a_killed_node_was_sending_arrives_by_the_other(nodes, receiver):
    first, second = nodes
    team = Tenant(first)
    held = []
    receiver.answers["/hook"] = lambda r: (held.append(r), time.sleep(0.3), 200)[2]
    hooks = [new_webhook(team, receiver.url()), new_webhook(team, receiver.url(), ordered=True)]
    ids = new_tickets(team, 60)
    wait_until(lambda: len(held) > 3, 5, "some are under way")

    second.kill9()

    receiver.answers.clear()
    for hook in hooks:
        rows = wait_over(first, hook, 60, timeout_s=20)
        assert {r["state"] for r in rows} == {"delivered"}
    bodies = {}
    for r in receiver.all():
        bodies.setdefault(r.id, set()).add(r.body)
    assert len(bodies) == len(ids) and all(len(b) == 1 for b in bodies.values())
