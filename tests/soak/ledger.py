"""What one writer was told, and whether the database still says the same.

A write that was answered is a fact. One whose connection broke may or may not have happened: it is
held as open until the next look at the database, which has to show it whole or not at all. A ledger
belongs to one worker, which rests while the ledger is checked.
"""

import re
import time

from harness import truth
from harness.server import V0

LIMIT = 1000000000
HOUR_MS = 3600000


class Ledger:
    """The facts and the open questions about the tickets of one token."""

    def __init__(self, token_id):
        self.token_id = token_id
        self.tickets = {}       # id: (title, status, is_deleted) as answered
        self.maybe = {}         # id: what it is if the open change happened
        self.open_titles = {}   # title: how many tickets an open create makes
        self.comments = set()
        self.open_comments = 0
        self.sent = self.answered = self.written = 0     # requests since the last check
        self.rows_before = 0

    def problems(self, server, is_orderly):
        """Compare with the database; yields what is wrong. Settles what was open."""
        yield from self.ticket_problems(server)
        yield from self.comment_problems(server)
        yield from self.usage_problems(server, is_orderly)

    def ticket_problems(self, server):
        stored = {row[0]: (row[1], row[2], row[3] is not None) for row in truth.rows(
            server, "SELECT id, title, status, deleted_ms FROM tickets WHERE token_id = ?",
            self.token_id)}
        lost = self.tickets.keys() - stored.keys()
        if lost:
            yield f"{len(lost)} acknowledged tickets are lost, such as {min(lost)}"
        for ticket_id in self.tickets.keys() & stored.keys():
            was, now = self.tickets[ticket_id], stored[ticket_id]
            if now not in (was, self.maybe.get(ticket_id, was)):
                yield f"ticket {ticket_id} was acknowledged as {was} and is {now}"
            self.tickets[ticket_id] = now
        found = {}
        for ticket_id in stored.keys() - self.tickets.keys():
            title = stored[ticket_id][0]
            found[title] = found.get(title, 0) + 1
            self.tickets[ticket_id] = stored[ticket_id]
        for title, count in found.items():
            if count != self.open_titles.get(title):
                yield f"{count} tickets titled {title} that nobody was told of"
        self.maybe, self.open_titles = {}, {}

    def comment_problems(self, server):
        stored = {row[0] for row in truth.rows(
            server, "SELECT id FROM ticket_comments WHERE token_id = ?", self.token_id)}
        if self.comments - stored:
            yield f"{len(self.comments - stored)} acknowledged comments are lost"
        if len(stored - self.comments) > self.open_comments:
            yield f"{len(stored - self.comments)} comments that nobody was told of"
        self.comments, self.open_comments = stored, 0

    def usage_problems(self, server, is_orderly):
        """An orderly stop keeps the row of every answer, a kill at least those of the writes."""
        rows = truth.value(server, "SELECT count(*) FROM integration_token_usage "
                                   "WHERE token_id = ?", self.token_id) - self.rows_before
        least = self.answered if is_orderly else self.written
        if not least <= rows <= self.sent:
            yield (f"{rows} new usage rows; {self.sent} requests sent, {self.answered} answered, "
                   f"{self.written} of them writes")
        self.rows_before += rows
        self.sent = self.answered = self.written = 0

    def limit_problems(self, server, connection):
        """The limit has counted as many requests of this hour as there are usage rows."""
        hour = int(time.time() * 1000) // HOUR_MS
        noted = truth.value(server, "SELECT count(*) FROM integration_token_usage WHERE "
                            "token_id = ? AND status_code <> 429 AND created_ms >= ? "
                            "AND created_ms < ?", self.token_id, hour * HOUR_MS,
                            (hour + 1) * HOUR_MS)
        status, headers, _ = connection.ask("GET", V0)
        self.rows_before += 1               # that of this question
        match = re.search(r"r=(\d+)", headers.get("RateLimit") or "")
        if status != 200 or not match:
            yield f"the limit cannot be asked: {status}"
        elif hour == int(time.time() * 1000) // HOUR_MS:
            used = LIMIT - int(match.group(1))
            if used != noted + 1:
                yield f"the limit has counted {used - 1} requests, usage holds {noted} rows"


def rollup_problems(server, token_id):
    """After a start that has folded everything in: the rollups hold each row once."""
    rows = truth.value(server, "SELECT count(*) FROM integration_token_usage WHERE token_id = ?",
                       token_id)
    rolled = int(truth.value(server, "SELECT COALESCE(SUM(n), 0) FROM usage_rollup "
                                     "WHERE token_id = ? AND grain = 'd'", token_id))
    if rows != rolled:
        yield f"{rows} usage rows of {token_id}, {rolled} in the rollups"
