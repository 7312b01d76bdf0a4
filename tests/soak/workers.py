"""The mixed load: threads that write, read and misbehave, and remember what they were told."""

import http.client
import json
import os
import random
import socket
import threading

from harness.contract import Contract
from harness.server import V0

from ledger import Ledger

CHECK_ONE_IN = 25           # replies held against the contract
OWN_MAX = 400               # tickets that a worker goes on working with
BULK_MAX = 20
STATUSES = ("open", "in_progress", "waiting", "resolved", "closed")
SEEDS = os.path.join(os.path.dirname(__file__), "..", "fuzz", "corpus", "fuzz_http")


class Connection:
    """One keep-alive connection that is made again when it breaks."""

    def __init__(self, server, token):
        self.server = server
        self.headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self.conn = None

    def ask(self, method, path, body=None, headers=None):
        """(status, headers, text); OSError or HTTPException when there is no answer."""
        if self.conn is None:
            self.conn = http.client.HTTPConnection(self.server.host, self.server.port, timeout=30)
        data = json.dumps(body).encode() if isinstance(body, (dict, list)) else body
        try:
            self.conn.request(method, path, data, {**self.headers, **(headers or {})})
            reply = self.conn.getresponse()
            is_text = any(word in (reply.headers["Content-Type"] or "json")
                          for word in ("json", "text"))
            text = reply.read().decode("utf-8", "strict" if is_text else "replace")
        except BaseException:
            self.close()
            raise
        if reply.will_close:
            self.close()
        return reply.status, reply.headers, text

    def close(self):
        if self.conn:
            self.conn.close()
        self.conn = None


class Worker(threading.Thread):
    """One thread with one token. `stage` says when to work (up), and takes the complaints."""

    def __init__(self, stage, index, token, seed):
        super().__init__(daemon=True)
        self.stage = stage
        self.index = index
        self.dice = random.Random(seed)
        self.connection = Connection(stage.server, token["token"])
        self.ledger = Ledger(token["id"])
        self.contract = Contract(stage.document)
        self.own = []
        self.open_keys = []     # (key, body) without an answer yet
        self.done_keys = {}     # key: (body, id) answered
        self.count = 0
        self.requests = 0
        self.idle = threading.Event()

    OPERATIONS = [("create", 24), ("create_v0", 14), ("get", 20), ("list", 3), ("comment", 8),
                  ("status", 8), ("update", 6), ("delete", 3), ("bulk", 2), ("keyed", 5),
                  ("again", 4), ("bad_token", 2), ("bad_body", 3), ("garbage", 1)]

    def run(self):
        names = [name for name, _ in self.OPERATIONS]
        weights = [weight for _, weight in self.OPERATIONS]
        while not self.stage.over.is_set():
            if not self.stage.up.is_set():
                self.idle.set()
                self.stage.up.wait(0.2)
                continue
            self.idle.clear()
            name = self.dice.choices(names, weights)[0]
            if self.open_keys:
                name = "again"
            try:
                getattr(self, name)()
            except Exception as e:      # a bug here must not look like a quiet server
                self.stage.complain(f"worker {self.index}, {name}: {e!r}")
            self.stage.over.wait(self.dice.expovariate(1 / self.stage.pause_s))
        self.idle.set()

    # --- asking ----------------------------------------------------------------------------------

    def ask(self, method, path, body=None, headers=None):
        """(status, decoded body), or (None, None) when there was no answer."""
        epoch = self.stage.epoch
        self.ledger.sent += 1
        self.requests += 1
        try:
            status, reply_headers, text = self.connection.ask(method, path, body, headers)
        except (OSError, http.client.HTTPException) as e:
            if self.stage.up.is_set() and self.stage.epoch == epoch:
                self.stage.complain(f"{method} {path}: no answer: {e!r}")
            else:
                self.stage.up.wait(0.02)
            return None, None
        self.ledger.answered += 1
        if status >= 500:
            if self.stage.up.is_set() and self.stage.epoch == epoch:
                self.stage.complain(f"{method} {path}: {status} {text[:200]}")
            return None, None               # a write may have been stored: an open question
        if self.dice.randrange(CHECK_ONE_IN) == 0:
            try:
                self.contract.check(method, path.split("?")[0], status,
                                    reply_headers.get("Content-Type"), text)
            except AssertionError as e:
                self.stage.complain(str(e))
        is_write = method != "GET" and status < 300
        self.ledger.written += is_write
        return status, json.loads(text) if text else None

    def expect(self, what, status, *wanted):
        """True when answered as wanted; complains about any other answer."""
        if status is not None and status not in wanted:
            self.stage.complain(f"{what}: answered {status}")
        return status in wanted

    def title(self):
        self.count += 1
        return f"w{self.index}-{self.count}"

    def keep(self, ticket_id, title):
        self.ledger.tickets[ticket_id] = (title, "open", False)
        self.own.append(ticket_id)
        if len(self.own) > OWN_MAX:
            self.own.pop(self.dice.randrange(OWN_MAX))

    def pick(self):
        """A living ticket without an open question, or None."""
        for _ in range(5):
            if not self.own:
                return None
            ticket_id = self.dice.choice(self.own)
            if ticket_id in self.ledger.maybe:
                continue
            if not self.ledger.tickets[ticket_id][2]:
                return ticket_id
            self.own.remove(ticket_id)
        return None

    # --- good requests ---------------------------------------------------------------------------

    def create(self):
        title = self.title()
        self.ledger.open_titles[title] = 1
        status, body = self.ask("POST", "/v1/tickets", {"title": title, "description": "d" * 300})
        if self.expect("create", status, 201):
            self.keep(body["id"], title)
        if status is not None:
            del self.ledger.open_titles[title]

    def create_v0(self):
        title = self.title()
        self.ledger.open_titles[title] = 1
        status, body = self.ask("POST", V0 + "/tickets",
                                {"title": title, "metadata": {"n": self.count, "x": 91.563}})
        if self.expect("create", status, 201):
            self.keep(body["ticket"]["id"], title)
        if status is not None:
            del self.ledger.open_titles[title]

    def bulk(self):
        title, size = self.title(), self.dice.randint(1, BULK_MAX)
        self.ledger.open_titles[title] = size
        status, body = self.ask("POST", "/v1/tickets/bulk", {"tickets": [{"title": title}] * size})
        if self.expect("bulk", status, 200):
            for item in body["data"]:
                self.keep(item["id"], title)
        if status is not None:
            del self.ledger.open_titles[title]

    def get(self):
        ticket_id = self.pick()
        if not ticket_id:
            return
        path = self.dice.choice((V0 + "/tickets/", "/v1/tickets/")) + ticket_id
        status, body = self.ask("GET", path)
        if self.expect("get", status, 200):
            ticket = body.get("ticket", body)
            title, word, _ = self.ledger.tickets[ticket_id]
            if (ticket["title"], ticket["status"]) != (title, word):
                self.stage.complain(f"{ticket_id} was acknowledged as {title}, {word}; "
                                    f"read: {ticket['title']}, {ticket['status']}")

    def list(self):
        limit = self.dice.choice((1, 10, 50))
        status, body = self.ask("GET", f"/v1/tickets?limit={limit}&sort=-updated_at")
        if self.expect("list", status, 200):
            strange = [t["id"] for t in body["data"] if t["id"] not in self.ledger.tickets
                       and t["title"] not in self.ledger.open_titles]
            if strange:
                self.stage.complain(f"a list shows tickets of another token: {strange[:3]}")

    def change(self, method, path, body, after, wanted):
        """One change of a ticket of ours; `after` is what it makes of the ticket."""
        ticket_id = self.pick()
        if not ticket_id:
            return
        title, word, _ = self.ledger.tickets[ticket_id]
        now = {"title": title, "status": word, "deleted": False, **after}
        now = (now["title"], now["status"], now["deleted"])
        status, _ = self.ask(method, path.format(ticket_id), body)
        if status is None:
            self.ledger.maybe[ticket_id] = now
        elif self.expect(f"{method} {path}", status, wanted):
            self.ledger.tickets[ticket_id] = now

    def status(self):
        word = self.dice.choice(STATUSES)
        self.change("PATCH", V0 + "/tickets/{}/status", {"status": word}, {"status": word}, 200)

    def update(self):
        title = self.title()
        self.change("PATCH", "/v1/tickets/{}", {"title": title}, {"title": title}, 200)

    def delete(self):
        self.change("DELETE", "/v1/tickets/{}", None, {"deleted": True}, 204)

    def comment(self):
        ticket_id = self.pick()
        if not ticket_id:
            return
        is_v0 = self.dice.random() < 0.5
        mount = V0 if is_v0 else "/v1"
        status, body = self.ask("POST", f"{mount}/tickets/{ticket_id}/comments", {"content": "c"})
        if status is None:
            self.ledger.open_comments += 1
        elif self.expect("comment", status, 201):
            self.ledger.comments.add(body["comment_id" if is_v0 else "id"])

    # --- idempotency -----------------------------------------------------------------------------

    def keyed(self):
        title = self.title()
        key = f"k{self.index}-{self.count}"
        self.ask_keyed(key, {"title": title, "category": key})

    def again(self):
        """Repeat a keyed request: one without an answer first, else one that had its answer."""
        if self.open_keys:
            self.ask_keyed(*self.open_keys.pop())
        elif self.done_keys:
            key = self.dice.choice(list(self.done_keys))
            self.ask_keyed(key, self.done_keys[key][0])

    def ask_keyed(self, key, body):
        done = self.done_keys
        self.ledger.open_titles[body["title"]] = 1
        status, reply = self.ask("POST", "/v1/tickets", body, {"Idempotency-Key": key})
        if status is None:
            self.open_keys.append((key, body))
            if key in done:
                del self.ledger.open_titles[body["title"]]
            return
        del self.ledger.open_titles[body["title"]]
        if not self.expect("keyed create", status, 201):
            return
        if key in done and done[key][1] != reply["id"]:
            self.stage.complain(f"the key {key} made {done[key][1]} and then {reply['id']}")
        if key not in done:
            if reply["id"] not in self.ledger.tickets:
                self.keep(reply["id"], body["title"])
            done[key] = (body, reply["id"])
        if len(done) > OWN_MAX:
            del done[next(iter(done))]

    # --- bad requests ----------------------------------------------------------------------------

    def bad_token(self):
        epoch = self.stage.epoch
        try:
            status, _, _ = self.connection.ask("GET", V0, None,
                                               {"Authorization": f"Bearer stk_{'x' * 43}"})
        except (OSError, http.client.HTTPException):
            return
        if self.stage.epoch == epoch and self.stage.up.is_set():
            self.expect("a wrong token", status, 401)

    def bad_body(self):
        body = self.dice.choice((b"{", b'{"title":7}', b'{"title":"\xff"}', b"[]", b"{}",
                                 b'{"title":"a","title":"b"}'))
        status, _ = self.ask("POST", V0 + "/tickets", body)
        self.expect(f"bad body {body}", status, 400)

    def garbage(self):
        """A broken seed on a connection of its own: any answer but a failure, or none."""
        epoch = self.stage.epoch
        with open(os.path.join(SEEDS, self.dice.choice(os.listdir(SEEDS))), "rb") as f:
            data = bytearray(f.read())
        for _ in range(self.dice.randint(1, 8)):
            data[self.dice.randrange(len(data))] = self.dice.randrange(256)
        try:
            with socket.create_connection((self.stage.server.host, self.stage.server.port),
                                          timeout=2) as sock:
                sock.sendall(data)
                sock.settimeout(0.05)
                reply = sock.recv(65536)
        except OSError:
            return
        is_calm = self.stage.epoch == epoch and self.stage.up.is_set()
        if reply and not reply.startswith(b"HTTP/1.1 "[:len(reply)]):
            self.stage.complain(f"{bytes(data)!r} is answered by {reply[:80]!r}")
        elif is_calm and reply.startswith(b"HTTP/1.1 5"):
            self.stage.complain(f"{bytes(data)!r} is answered by {reply[:300]!r}")
