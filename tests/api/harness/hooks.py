"""Webhooks of a team in tests: making them, making events, looking at deliveries."""

from . import truth
from .wait import wait_until

DONE = ("delivered", "failed", "cancelled")


def new_webhook(tenant, url, events=("ticket.created",), **fields):
    """A webhook of the team; its row with the secret."""
    reply = tenant.api.post("/v1/webhooks", {"url": url, "events": list(events), **fields})
    assert reply.status_code == 201, reply.text
    return reply.json()


def new_ticket(tenant, title="Printer", **fields):
    reply = tenant.api.post("/v1/tickets", {"title": title, **fields})
    assert reply.status_code == 201, reply.text
    return reply.json()


def new_tickets(tenant, n, title="Printer"):
    """As many at once; their ids in order."""
    ids = []
    while len(ids) < n:
        few = min(100, n - len(ids))
        reply = tenant.api.post("/v1/tickets/bulk", {"tickets": [{"title": title}] * few})
        assert reply.status_code in (200, 201), reply.text
        ids += [item["id"] for item in reply.json()["data"]]
    return ids


COLUMNS = ("id", "event_id", "event_type", "entity", "state", "attempt", "due_ms", "status", "error",
           "is_replay")


def deliveries(server, webhook):
    """The rows of a webhook's deliveries, oldest event first."""
    found = truth.rows(server, f"SELECT {', '.join(COLUMNS)} FROM webhook_delivery WHERE "
                               "webhook_id = ? ORDER BY event_seq, id", webhook["id"])
    return [dict(zip(COLUMNS, row)) for row in found]


def attempts(server, delivery):
    """(n, status, outcome, error, body, at_ms) of each attempt."""
    return truth.rows(server, "SELECT n, status, outcome, error, body, at_ms FROM webhook_attempt "
                              "WHERE delivery_id = ? ORDER BY n", delivery["id"])


def wait_deliveries(server, webhook, fact, timeout_s=8, what="deliveries are as they should be"):
    """Until fact(rows) holds for the webhook's deliveries; those rows."""
    seen = []

    def look():
        seen[:] = deliveries(server, webhook)
        return fact(seen)
    try:
        wait_until(look, timeout_s, what)
    except AssertionError as e:
        raise AssertionError(f"{e}: {seen[:20]}") from None
    return list(seen)


def wait_over(server, webhook, n=1, timeout_s=8):
    """Until n deliveries are over; their rows."""
    return wait_deliveries(server, webhook,
                           lambda rows: len([r for r in rows if r["state"] in DONE]) >= n,
                           timeout_s, f"{n} deliveries are over")


def webhook_row(server, webhook, *columns):
    return truth.rows(server, f"SELECT {', '.join(columns)} FROM webhook WHERE id = ?",
                      webhook["id"])[0]
