#!/usr/bin/env python3
"""A long run of mixed load with kills and restarts, on SQLite and then on PostgreSQL.

    python3 bench/soak.py [--minutes 10] [--tessera build/tessera] [--only sqlite|postgres]

On each database: requests made from /openapi.json, then threads that write, read, retry and
misbehave, while the server is killed or stopped every half minute. After each restart every
acknowledged write is looked up, the limits are held against the usage log and the database is
checked; in between, memory and descriptors have to stay flat and no answer may be a 5xx. Then 500
events a second go to webhooks for a minute while the server is killed at random: all of an
acknowledged change arrives, in order where asked. Everything
listens on 127.0.0.1; PostgreSQL is a temporary one. Exit status: 0 clean, 1 a violation, 2 could
not run. The parts are in tests/soak.
"""

import argparse
import contextlib
import os
import random
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# This script's own folder holds a package `harness` too; the tests' one is meant.
sys.path[:1] = [os.path.join(ROOT, "tests", "api"), os.path.join(ROOT, "tests", "soak")]

import requests  # noqa: E402
from harness import truth  # noqa: E402
from harness.postgres import Cluster  # noqa: E402
from harness.server import Server  # noqa: E402
from harness.wait import wait_until  # noqa: E402
from hook_soak import ENV as HOOK_ENV, HookSoak  # noqa: E402
from ledger import LIMIT, rollup_problems  # noqa: E402
from schema_fuzz import SchemaFuzz  # noqa: E402
from watch import Watch, problems as watch_problems  # noqa: E402
from workers import Worker  # noqa: E402

EPOCH_S = 30            # between two restarts
FUZZ_SHARE = 0.15       # of the time goes to the schema-driven requests
RATE_MAX = 1000         # requests a second of all threads together
REQUESTS_MAX = 300000   # of one part: what the usage log keeps in one place, and a ledger in memory
SHOWN_MAX = 40          # complaints that are printed
REST_S = 35             # longer than a request may wait for its answer


class Stage:
    """What the workers share: the server, whether it is up, and the complaints."""

    def __init__(self, server):
        self.server = server
        self.document = {}
        self.pause_s = 0.0      # of a worker between two requests, on average
        self.up = threading.Event()
        self.over = threading.Event()
        self.epoch = 0
        self.complaints = []
        self.lock = threading.Lock()

    def complain(self, text):
        with self.lock:
            self.complaints.append(text)
            if len(self.complaints) <= SHOWN_MAX:
                print(f"  VIOLATION: {text[:1500]}", flush=True)


class Soak:
    """One database's part of the run."""

    def __init__(self, args, server, seconds):
        self.args, self.seconds = args, seconds
        self.server = server
        self.stage = Stage(server)
        self.stage.pause_s = args.threads / min(RATE_MAX, REQUESTS_MAX / seconds)
        self.dice = random.Random(args.seed)
        self.workers = []
        self.restarts = 0

    def say(self, text):
        print(f"{time.strftime('%H:%M:%S')} {self.server.backend}: {text}", flush=True)

    def run(self):
        """The whole part; the complaints are in the stage."""
        self.server.cli("migrate")
        self.server.start()
        with requests.Session() as session:
            session.trust_env = False
            self.stage.document = session.get(self.server.url + "/openapi.json", timeout=10).json()
        self.fuzz(self.seconds * FUZZ_SHARE)
        for i in range(self.args.threads):
            token = self.server.new_token(f"soak {i}", rate_limit=LIMIT, wait=False)
            self.server.wait_token(token["token"], {200})
            worker = Worker(self.stage, i, token, self.dice.random())
            # Its requests until now are no business of the ledger; their rows arrive in 50 ms.
            self.settle_start(worker)
            self.workers.append(worker)
            worker.start()
        self.load(self.seconds * (1 - FUZZ_SHARE))
        self.end()

    def settle_start(self, worker):
        def rows():
            return truth.value(self.server, "SELECT count(*) FROM integration_token_usage "
                               "WHERE token_id = ?", worker.ledger.token_id)
        status, headers, _ = worker.connection.ask("GET", "/v1/tickets")
        used = LIMIT - int(headers["RateLimit"].split("r=")[1].split(";")[0])
        wait_until(lambda: rows() >= used - 1 and status == 200, 5, "rows of the first requests")
        worker.ledger.rows_before = used

    def fuzz(self, seconds):
        for as_owner in (False, True):
            fuzz = SchemaFuzz(self.server, self.stage.document, self.dice.random(), as_owner)
            for text in fuzz.run(seconds / 2):
                self.stage.complain(text)
            fuzz.connection.close()
            who = "an owner" if as_owner else "a key"
            self.say(f"{fuzz.requests} requests from schemas by {who}, {fuzz.good} of them good, "
                     f"{len(fuzz.statuses)} kinds of answers")

    def load(self, seconds):
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 1:
            self.one_epoch(min(EPOCH_S, left / 2 if left < 2 * EPOCH_S and not self.restarts
                               else left))

    def one_epoch(self, seconds):
        """Load for a while, then a kill or a stop under load, a restart, and the checks."""
        before = sum(w.requests for w in self.workers)
        watch = Watch(self.server.proc.pid)
        self.stage.epoch += 1
        self.stage.up.set()
        watch.start()
        self.stage.over.wait(seconds)
        seen = watch.finish()
        for text in watch_problems(seen):
            self.stage.complain(text)
        if not self.server.is_running():
            self.stage.complain(f"the server died by itself\n{self.server.log_tail()}")
        is_orderly = self.restarts % 2 == 1
        began = time.monotonic()
        self.bring_down(is_orderly)
        self.server.start()
        ready_s = time.monotonic() - began
        self.restarts += 1
        self.check(is_orderly)
        done = sum(w.requests for w in self.workers) - before
        memory = f"{seen[0] / 1024:.1f} MB ({seen[1]:+.0f} kB)" if seen else "not measured"
        self.say(f"{done} requests in {seconds:.0f} s ({done / seconds:.0f}/s), memory {memory}; "
                 f"{'SIGTERM' if is_orderly else 'SIGKILL'}, back in {ready_s:.2f} s, "
                 f"{sum(len(w.ledger.tickets) for w in self.workers)} tickets checked")

    def bring_down(self, is_orderly):
        self.stage.up.clear()           # from here on, a broken connection is nobody's fault
        if is_orderly and self.server.is_running():
            try:
                self.server.stop()
            except AssertionError as e:
                self.stage.complain(str(e))
        else:
            self.server.kill9()
        for worker in self.workers:
            if not worker.idle.wait(REST_S):
                self.stage.complain(f"a request of worker {worker.index} hangs")
            worker.idle.clear()
        for worker in self.workers:     # each has to come to rest after the end of the server
            worker.idle.wait(REST_S)
            worker.connection.close()

    def check(self, is_orderly):
        for worker in self.workers:
            name = f"worker {worker.index}: "
            for text in worker.ledger.problems(self.server, is_orderly):
                self.stage.complain(name + text)
            for text in worker.ledger.limit_problems(self.server, worker.connection):
                self.stage.complain(name + text)
        self.sound()

    def sound(self):
        try:
            truth.check_integrity(self.server)
        except AssertionError as e:
            self.stage.complain(f"the database is not sound: {e}")

    def end(self):
        """An orderly end; every stream of usage has been given back or is taken for lost."""
        self.stage.over.set()
        for worker in self.workers:
            worker.join(REST_S)
        self.server.stop()
        if self.server.database:
            with contextlib.closing(self.server.database.connect_admin()) as conn:
                conn.cursor().execute("UPDATE usage_stream SET seen_ms = 0")
        self.server.start()
        for worker in self.workers:
            for text in rollup_problems(self.server, worker.ledger.token_id):
                self.stage.complain(text)
        twice = truth.rows(self.server, "SELECT category, count(*) FROM tickets "
                           "WHERE category IS NOT NULL AND substr(integration_source, 1, 4) = "
                           "'soak' GROUP BY category HAVING count(*) > 1")
        if twice:
            self.stage.complain(f"idempotency keys that made more than one ticket: {twice[:5]}")
        self.sound()
        self.server.stop()


@contextlib.contextmanager
def serving(backend, env):
    """A server on a database of its own, not started; PostgreSQL is a temporary one."""
    with contextlib.ExitStack() as stack:
        database = None
        if backend == "postgres":
            cluster = Cluster()
            stack.callback(cluster.remove)
            database = cluster.create().new_database()
        server = Server(backend, database, env)
        stack.callback(server.close)
        yield server


def soak_one(args, backend, seconds):
    """(complaints, requests, restarts) of one database."""
    env = {"TESSERA_BAD_TOKEN_LIMIT": "0", "TESSERA_LOG_LEVEL": "warn",
           "TESSERA_EGRESS_ALLOW": "127.0.0.0/8"}
    with serving(backend, env) as server:
        server.env["TESSERA_ATTACHMENT_DIR"] = os.path.join(server.dir, "attachments")
        soak = Soak(args, server, seconds)
        try:
            soak.run()
        finally:
            soak.stage.over.set()
            soak.stage.up.set()
        if soak.stage.complaints:
            print(f"  the server's last words:\n{server.log_tail()}")
        return (soak.stage.complaints, sum(w.requests for w in soak.workers), soak.restarts)


def hooks_one(args, backend):
    """How many complaints about webhooks on one database."""
    with serving(backend, HOOK_ENV) as server:
        server.cli("migrate")
        server.start()
        complaints, seen = HookSoak(server, args.hook_seconds, seed=args.seed).run()
        truth.check_integrity(server)
        print(f"{backend}: {seen['changes']} changes ({seen['rate']:.0f}/s), {seen['kills']} kills, "
              f"{seen['arrived']} events arrived by {seen['requests']} requests", flush=True)
        for text in complaints[:SHOWN_MAX]:
            print(f"  VIOLATION: {text[:1500]}", flush=True)
        return len(complaints)


def parse():
    parser = argparse.ArgumentParser(description="A long run of mixed load with restarts.")
    parser.add_argument("--tessera", default=os.path.join(ROOT, "build", "tessera"))
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--threads", type=int, default=6)
    parser.add_argument("--hook-seconds", type=int, default=60, help="of webhooks under kills")
    parser.add_argument("--only", choices=("sqlite", "postgres"))
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    return parser.parse_args()


def main():
    args = parse()
    os.environ["TESSERA_BIN"] = os.path.abspath(args.tessera)
    if not os.access(args.tessera, os.X_OK):
        print(f"{args.tessera} is missing: build it, or name it with --tessera", file=sys.stderr)
        return 2
    backends = [args.only] if args.only else ["sqlite", "postgres"]
    print(f"soak: {args.minutes:g} minutes, {args.threads} threads, seed {args.seed}", flush=True)
    bad = 0
    for backend in backends:
        try:
            complaints, asked, restarts = soak_one(args, backend, args.minutes * 60 / len(backends))
            bad += hooks_one(args, backend) if args.hook_seconds else 0
        except (RuntimeError, OSError) as e:
            print(f"soak: {backend} could not run: {e}", file=sys.stderr)
            return 2
        bad += len(complaints)
        print(f"{backend}: {asked} requests, {restarts} restarts, "
              f"{len(complaints)} violations", flush=True)
    print("soak: clean" if not bad else f"soak: {bad} violations")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
