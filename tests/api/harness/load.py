"""Writers under load that remember every acknowledged write."""

import threading

from .client import Api
from .server import V0
from .wait import wait_until


class Load:
    """Threads that create tickets until told to stop.

    acked: ids of the tickets answered with 201; sent: how many requests were begun; odd: statuses
    that are neither 201 nor a retryable 503. A broken connection is no answer: the write may or
    may not have happened, and nothing is claimed about it.
    """

    def __init__(self, server, token, threads=4, warm=20):
        self.server, self.token, self.warm = server, token, warm
        self.acked, self.odd = [], []
        self.refused = 0
        self.sent = 0
        self.lock = threading.Lock()
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self.work) for _ in range(threads)]

    def work(self):
        api = Api(self.server, self.token, check=False)
        while not self.over.is_set():
            with self.lock:
                self.sent += 1
            try:
                reply = api.post(V0 + "/tickets", {"title": "load"}, timeout=15)
                status = reply.status_code
                ticket_id = reply.json()["ticket"]["id"] if status == 201 else None
            except (OSError, ValueError):
                if not self.server.is_running():
                    return
                self.over.wait(0.02)
                continue
            if ticket_id:
                self.acked.append(ticket_id)
            elif status == 503:
                self.refused += 1
                self.over.wait(0.02)
            else:
                self.odd.append(status)

    def start(self):
        for t in self.threads:
            t.start()
        wait_until(lambda: len(self.acked) >= self.warm, 10, "the load is running")
        return self

    def finish(self):
        self.over.set()
        for t in self.threads:
            t.join(30)
        assert not any(t.is_alive() for t in self.threads), "a request hangs"

    def __enter__(self):
        return self.start()

    def __exit__(self, *unused):
        self.finish()
