#!/usr/bin/env python3
"""Webhooks out: 1,000 events a second to a receiver on this machine of which 5 % fail once.

    python3 bench/webhooks_out.py [--seconds 300] [--rate 1000] [--only sqlite|postgres]

Tickets are created in bulk at the rate; each makes one event for one webhook. The receiver is a
process of its own that checks every signature and answers the first attempt of 5 % of the ids with
500, so that they come again after about five seconds. At the end every event must have arrived, all
attempts of an id with the same bytes; the delay is from the change to the first attempt, by the clock
of this machine. Exit status: 0 all within the targets, 1 not, 2 could not run.
"""

import argparse
import base64
import contextlib
import os
import platform
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:1] = [os.path.join(ROOT, "tests", "api"), os.path.join(ROOT, "tests", "soak")]

import requests  # noqa: E402
from harness.postgres import Cluster  # noqa: E402
from harness.server import Server  # noqa: E402
from hook_sink import Sink  # noqa: E402
from watch import private_kb  # noqa: E402

FAIL_PERCENT = 5
P99_MAX_S = 1.0
GROWTH_MAX_MB = 8
BATCH = 20              # tickets of one request
REST_S = 60             # for the retries at the end
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


class Feeder(threading.Thread):
    """Makes tickets at a rate until the time is over."""

    def __init__(self, server, token, rate, seconds):
        super().__init__(daemon=True)
        self.url = server.url + "/v1/tickets/bulk"
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["Authorization"] = f"Bearer {token}"
        self.rate, self.seconds = rate, seconds
        self.made = self.refused = 0
        self.behind_s = 0.0

    def run(self):
        body = {"tickets": [{"title": "Printer is on fire", "priority": "high"}] * BATCH}
        began = time.monotonic()
        while (now := time.monotonic()) < began + self.seconds:
            due = began + self.made / self.rate
            if now < due:
                time.sleep(due - now)
            else:
                self.behind_s = max(self.behind_s, now - due)
            reply = self.session.post(self.url, json=body, timeout=30)
            if reply.status_code // 100 == 2:
                self.made += BATCH
            else:
                self.refused += 1


class Memory(threading.Thread):
    """The server's own memory, once a second."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid = pid
        self.over = threading.Event()
        self.mb = []

    def run(self):
        while not self.over.wait(1):
            self.mb.append(private_kb(self.pid) / 1024)

    def growth(self):
        """From the second quarter to the last one, of their medians."""
        part = len(self.mb) // 4
        if not part:
            return 0.0
        second, last = sorted(self.mb[part:2 * part]), sorted(self.mb[-part:])
        return last[part // 2] - second[part // 2]


def cpu_s(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def setup(server, sink):
    """The webhook and a key that may make tickets."""
    server.cli("migrate")
    server.start()
    made = server.new_token("bench", rate_limit=1000000000, scopes=["admin:full"])
    reply = requests.post(server.url + "/v1/webhooks", timeout=10,
                          headers={"Authorization": f"Bearer {made['token']}"},
                          json={"url": sink.url("/hook"), "events": ["ticket.created"],
                                "secret": SECRET})
    if reply.status_code != 201:
        raise RuntimeError(reply.text)
    return made["token"]


def run_one(args, backend):
    """The figures of one database."""
    with contextlib.ExitStack() as stack:
        database = None
        if backend == "postgres":
            cluster = Cluster()
            stack.callback(cluster.remove)
            database = cluster.create().new_database()
        server = Server(backend, database, {"TESSERA_EGRESS_ALLOW": "127.0.0.0/8",
                                            "TESSERA_LOG_LEVEL": "warn"})
        stack.callback(server.close)
        sink = Sink([SECRET], FAIL_PERCENT)
        stack.callback(sink.close)
        token = setup(server, sink)
        feeder, memory = Feeder(server, token, args.rate, args.seconds), Memory(server.proc.pid)
        before = cpu_s(server.proc.pid)
        memory.start()
        feeder.start()
        feeder.join()
        until = time.monotonic() + REST_S
        used = cpu_s(server.proc.pid) - before
        while sink.count() < feeder.made and time.monotonic() < until:
            time.sleep(0.1)
        memory.over.set()
        memory.join()
        return figures(feeder, memory, sink.dump(server.dir), used / args.seconds)


def figures(feeder, memory, seen, cores):
    delays = sorted(seen["delays"])

    def at(share):
        return delays[min(len(delays) - 1, int(len(delays) * share))] if delays else float("inf")
    return {"events": feeder.made, "rate": feeder.made / feeder.seconds, "refused": feeder.refused,
            "behind": feeder.behind_s, "arrived": seen["arrived"], "requests": seen["requests"],
            "bad": seen["bad"], "changed": seen["changed"], "p50": at(0.5), "p99": at(0.99),
            "max": at(1), "mb": memory.mb[-1] if memory.mb else 0, "growth": memory.growth(),
            "cores": cores}


def problems(args, f):
    if f["arrived"] != f["events"]:
        yield f"{f['events'] - f['arrived']} of {f['events']} events did not arrive"
    if f["bad"] or f["changed"]:
        yield f"{f['bad']} signatures are wrong, {f['changed']} ids changed their bytes"
    if f["rate"] < 0.97 * args.rate or f["refused"]:
        yield f"only {f['rate']:.0f} events a second were taken, {f['refused']} refused"
    if f["p99"] >= P99_MAX_S:
        yield f"p99 of the first attempt is {f['p99']:.2f} s"
    if f["growth"] > GROWTH_MAX_MB:
        yield f"memory grew by {f['growth']:.1f} MB"


ROWS = [("events made", "events", "{:d}"), ("events a second", "rate", "{:.0f}"),
        ("arrived and verified", "arrived", "{:d}"), ("requests, retries included", "requests", "{:d}"),
        ("first attempt p50, ms", "p50", 1000), ("first attempt p99, ms", "p99", 1000),
        ("first attempt max, ms", "max", 1000), ("memory at the end, MB", "mb", "{:.1f}"),
        ("growth after the first quarter, MB", "growth", "{:+.1f}"),
        ("cores of the server", "cores", "{:.2f}")]


def print_table(results):
    print(f"\n| {'webhooks out':36} | " + " | ".join(f"{b:>10}" for b in results) + " |")
    print(f"|{'-' * 38}|" + "|".join("-" * 12 for _ in results) + "|")
    for title, key, form in ROWS:
        cells = [f"{f[key] * form:.1f}" if isinstance(form, int) else form.format(f[key])
                 for f in results.values()]
        print(f"| {title:36} | " + " | ".join(f"{c:>10}" for c in cells) + " |")
    print(f"\n{os.cpu_count()} cores, {platform.machine()}, {platform.system()} "
          f"{platform.release().split('-')[0]}; load, receiver and database on the same machine.")


def parse():
    parser = argparse.ArgumentParser(description="Webhooks out at a rate.")
    parser.add_argument("--tessera", default=os.path.join(ROOT, "build", "tessera"))
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--only", choices=("sqlite", "postgres"))
    return parser.parse_args()


def main():
    args = parse()
    os.environ["TESSERA_BIN"] = os.path.abspath(args.tessera)
    if not os.access(args.tessera, os.X_OK):
        print(f"{args.tessera} is missing: build it, or name it with --tessera", file=sys.stderr)
        return 2
    results = {}
    for backend in [args.only] if args.only else ["sqlite", "postgres"]:
        print(f"{backend}: {args.rate} events/s for {args.seconds} s", flush=True)
        try:
            results[backend] = run_one(args, backend)
        except (RuntimeError, OSError) as e:
            print(f"{backend} could not run: {e}", file=sys.stderr)
            return 2
    print_table(results)
    wrong = [f"{b}: {text}" for b, f in results.items() for text in problems(args, f)]
    print("\n".join(f"MISSED {text}" for text in wrong) or "all within the targets")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
