#!/usr/bin/env python3
"""Signed webhooks taken a second, durably: Tessera against fastify + better-sqlite3.

    python3 bench/hooks_in.py [--tessera build/tessera] [--seconds 8] [--rounds 3] [--events 300000]
                              [--ids 1|4]

Both get the same webhooks of GitHub's kind: about 1 KB, HMAC-SHA256 over the raw body, each with an
id of its own (a UUID of version 1, as GitHub's are, or of version 4), made before the clock starts. Both acknowledge after the commit (synchronous=FULL) of
a ledger row with a unique id and an event row. Tessera also makes the job and processes the events
meanwhile; the peer does not. Contenders take turns. Prints the rates, their ratio and how busy the
machine was. Exit status: 0 both targets reached and every run clean, 1 not so, 2 could not run.
"""

import argparse
import hashlib
import hmac
import json
import os
import shutil
import sqlite3
import statistics
import sys
import tempfile
import uuid

from harness import load, proc, servers

ROOT = os.path.dirname(servers.BENCH_DIR)
SECRET = "a-secret-of-the-bench-4711"
TARGET_RATE, TARGET_RATIO = 10000, 5
BODY = json.dumps({
    "action": "opened", "delivery": "@",
    "issue": {"number": 1347, "title": "Found a bug", "state": "open", "user": {"login": "octocat"},
              "labels": [{"name": "bug"}, {"name": "api"}], "body": "I'm having a problem. " * 30},
    "repository": {"full_name": "octocat/Hello-World", "private": False}})


class TesseraHooks(servers.TesseraSqlite):
    name = "tessera-hooks"
    path = ""

    def make_token(self, name):
        made = json.loads(self.tessera("token", "create", "--name", name, "--scopes", "admin:full",
                                       "--json"))
        return made["id"], made["token"]

    def ask(self, path, body):
        status, reply = proc.request(self.port, "POST", path, json.dumps(body), {
            "Authorization": "Bearer " + self.token, "Content-Type": "application/json"})
        if status != 201:
            raise proc.BenchError(f"POST {path} answered {status}: {reply[:200]}")
        return json.loads(reply)

    def hook_path(self):
        made = self.ask("/v1/integrations", {"kind": "github", "name": "bench"})
        self.ask(f"/v1/integrations/{made['id']}/secrets", {"secret": SECRET})
        return "/hooks/" + made["id"]

    tables = ("hook_seen", "webhook_log")


class PeerHooks(servers.FastifySqlite):
    name = "fastify-hooks"
    path = ""
    ready_path = "/nothing"
    tables = ("seen", "event")

    def command(self):
        script = os.path.join(servers.BENCH_DIR, "peers", self.folder, "hooks.js")
        return ["node", script], {"DATABASE": self.database, "PORT": str(self.port),
                                  "SECRET": SECRET, "NODE_ENV": "production"}

    def hook_path(self):
        return "/hooks"


def make_events(path, hook_path, count, make_id):
    """The file that hooks_in.lua reads."""
    before, behind = BODY.encode().split(b"@")
    key = hmac.new(SECRET.encode(), before, hashlib.sha256)
    with open(path, "w", encoding="ascii") as f:
        f.write(hook_path + "\n" + BODY + "\n")
        for _ in range(count):
            name = str(make_id())
            mac = key.copy()
            mac.update(name.encode() + behind)
            f.write(f"{name} sha256={mac.hexdigest()}\n")


def cpu_s(pid):
    """Processor time of all threads so far."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rows(path, table):
    db = sqlite3.connect(path)
    try:
        return db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    finally:
        db.close()


def measure(bench, contender, seconds, connections, count):
    """The figures of one run on a fresh database, and what was not clean."""
    events = os.path.join(bench.work, "events")
    with contender(bench) as server:
        make_events(events, server.hook_path(), count, bench.make_id)
        before = cpu_s(server.pid)
        out = proc.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s",
                        os.path.join(servers.BENCH_DIR, "hooks_in.lua"),
                        f"http://127.0.0.1:{server.port}", "--", events], timeout=seconds + 60)
        result = json.loads(out.split("RESULT ", 1)[1].splitlines()[0])
        result["cpu_s"] = cpu_s(server.pid) - before
        server.halt()
        stored = [rows(server.file, table) for table in server.tables]
    trouble = {k: result[k] for k in ("non_2xx", "connect", "read", "write", "timeout") if result[k]}
    if min(stored) < result["requests"]:
        trouble["lost"] = result["requests"] - min(stored)
    if result["requests"] >= count:
        trouble["events_used_up"] = count
    return {"rate": result["requests"] / (result["duration_us"] / 1e6),
            "p99_ms": result["p99_us"] / 1e3, "trouble": trouble,
            "cpu_us": 1e6 * result["cpu_s"] / max(1, result["requests"])}


class Bench:
    """What the contenders need to know."""

    def __init__(self, tessera, work, make_id):
        self.tessera = os.path.abspath(tessera)
        self.make_id = make_id
        self.master_key = "be" * 32
        self.work = work


def run(args, work):
    bench = Bench(args.tessera, work, uuid.uuid4 if args.ids == 4 else uuid.uuid1)
    rates, is_clean = {}, True
    print(f"load of the machine before: {os.getloadavg()[0]:.2f} on {os.cpu_count()} cores")
    for _ in range(args.rounds):
        for contender in (TesseraHooks, PeerHooks):
            got = measure(bench, contender, args.seconds, args.connections, args.events)
            is_clean &= not got["trouble"]
            rates.setdefault(contender.name, []).append(got["rate"])
            print(f"{contender.name:14} {got['rate']:8.0f}/s   p99 {got['p99_ms']:7.1f} ms   "
                  f"{got['cpu_us']:5.0f} µs of processor each   {got['trouble'] or 'clean'}",
                  flush=True)
    ours, theirs = (statistics.median(rates[c.name]) for c in (TesseraHooks, PeerHooks))
    print(f"median {ours:.0f}/s against {theirs:.0f}/s: {ours / theirs:.1f}x "
          f"(targets {TARGET_RATE}/s and {TARGET_RATIO}x)")
    return 0 if is_clean and ours >= TARGET_RATE and ours / theirs >= TARGET_RATIO else 1


def main():
    parser = argparse.ArgumentParser(description="Signed webhooks a second.")
    parser.add_argument("--tessera", default=os.path.join(ROOT, "build", "tessera"))
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--events", type=int, default=300000, help="distinct ones of each run")
    parser.add_argument("--ids", type=int, choices=(1, 4), default=1, help="version of the UUIDs")
    parser.add_argument("--work", help="folder for databases (default: a new one in /var/tmp)")
    args = parser.parse_args()
    work = args.work or tempfile.mkdtemp(prefix="tessera-bench-", dir="/var/tmp")
    try:
        servers.need_peer("fastify-sqlite")
        return run(args, work)
    except proc.BenchError as e:
        print(f"bench: {e}", file=sys.stderr)
        return 2
    finally:
        if not args.work:
            shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
