#!/usr/bin/env python3
"""Measure Tessera against its peers and ceilings; see bench/README.md.

    python3 bench/run.py [--quick] [--only NAME]… [--tessera build/tessera]

Prints the table; a whole run writes bench/results/DATE-MACHINE.md. Exit status: 0 all targets
reached and every run clean, 1 not so, 2 the bench could not run.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time

from harness import load, make_loaded, measures, proc, report, servers

ROOT = os.path.dirname(servers.BENCH_DIR)
CC_FLAGS = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror"]
TOOLS = {
    "plain_sqlite": ["plain_sqlite.c", "-lsqlite3"],
    "fsync_delay.so": ["fsync_delay.c", "-fPIC", "-shared", "-ldl"],
}
FULL = {"rounds": 3, "seconds": 5, "warm": 2, "connections": [64, 256],
        "rows": (1000000, 10000000)}
QUICK = {"rounds": 1, "seconds": 2, "warm": 1, "connections": [64], "rows": (50000, 500000)}


class Bench:
    """What the measures share: sizes, the work folder, built tools, the running PostgreSQL and
    the filled database."""

    def __init__(self, args, work):
        sizes = QUICK if args.quick else FULL
        self.rounds = args.rounds or sizes["rounds"]
        self.seconds = args.seconds or sizes["seconds"]
        self.warm_s = sizes["warm"]
        self.connections = sizes["connections"]
        self.data_rows = sizes["rows"]
        self.measures = args.only or list(measures.MEASURES)
        self.tessera = None if args.peers_only else os.path.abspath(args.tessera)
        self.master_key = "be" * 32
        self.work = work
        self.postgres = None
        self.loaded = None

    def say(self, text):
        print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)

    def tool(self, name):
        """Path of a C helper, built on first use."""
        path = os.path.join(self.work, name)
        if not os.path.exists(path):
            source, *flags = TOOLS[name]
            proc.run([os.environ.get("CC", "cc"), *CC_FLAGS,
                      os.path.join(servers.BENCH_DIR, source), *flags, "-o", path])
        return path

    def slow_disk(self, delay_us):
        """The environment that makes each fsync `delay_us` slower."""
        if delay_us == 0:
            return {}
        return {"LD_PRELOAD": self.tool("fsync_delay.so"), "BENCH_FSYNC_DELAY_US": str(delay_us)}

    def settings(self):
        connections = " and ".join(map(str, self.connections))
        return (f"{', '.join(self.measures)}; {self.rounds} round(s) of {self.seconds} s after "
                f"{self.warm_s} s of warm-up, {connections} connections, "
                f"{load.wrk_threads()} wrk thread(s), contenders in turn")


def parse():
    parser = argparse.ArgumentParser(description="Measure Tessera against its peers.")
    parser.add_argument("--quick", action="store_true", help="one short round, small data")
    parser.add_argument("--only", action="append", choices=list(measures.MEASURES), metavar="NAME",
                        help="one of: " + ", ".join(measures.MEASURES))
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=int, help="length of one wrk run")
    parser.add_argument("--tessera", default=os.path.join(ROOT, "build", "tessera"))
    parser.add_argument("--peers-only", action="store_true", help="leave Tessera out")
    parser.add_argument("--work", help="folder for databases, on the disk to measure "
                        "(default: a new one in /var/tmp, removed at the end)")
    parser.add_argument("--write", action="store_true",
                        help="write the results file also for a short or partial run")
    return parser.parse_args()


def check_parts(args):
    """Stop early, with what to install, rather than in the middle."""
    for program, package in (("wrk", "wrk"), ("node", "nodejs"), ("cc", "gcc")):
        if not shutil.which(program):
            raise proc.BenchError(f"{program} not found: install the package {package}")
    if not args.peers_only and not os.access(args.tessera, os.X_OK):
        raise proc.BenchError("no Tessera program to measure: run `make build`, or name one "
                              "with --tessera, or use --peers-only")
    for folder in ("fastify-sqlite", "fastify-pg"):
        servers.need_peer(folder)


def version_words(bench):
    if not bench.tessera:
        return "absent"
    return proc.run([bench.tessera, "version"]).strip().splitlines()[0]


def run(args, work):
    bench = Bench(args, work)
    result = report.Report()
    disk, machine = report.machine(work)
    if disk == "tmpfs":
        result.troubles.append("the databases lie in memory (tmpfs): a flush costs nothing; "
                               "name a folder on a disk with --work")
    try:
        for name in bench.measures:
            measures.MEASURES[name](bench, result)
    finally:
        make_loaded.remove(bench)
    print("\n" + result.text(bench.settings()))
    if args.write or not (args.quick or args.only or args.peers_only):
        path = report.write(result, machine, bench.settings(),
                            os.path.join(servers.BENCH_DIR, "results"), version_words(bench))
        print("written: " + os.path.relpath(path, ROOT))
    return 1 if result.troubles or (bench.tessera and result.missed()) else 0


def main():
    args = parse()
    made = None
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # stop what was started, too
    try:
        check_parts(args)
        if args.work:
            os.makedirs(args.work, exist_ok=True)
            return run(args, os.path.abspath(args.work))
        made = tempfile.mkdtemp(prefix="tessera-bench-", dir="/var/tmp")
        os.chmod(made, 0o755)  # PostgreSQL runs as another user
        return run(args, made)
    except proc.BenchError as e:
        print(f"bench: {e}", file=sys.stderr)
        return 2
    finally:
        if made:
            shutil.rmtree(made, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
