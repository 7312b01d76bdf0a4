"""A temporary PostgreSQL: own data folder, loopback only, never as root. One at a time."""

import glob
import os
import pwd
import shutil
import signal
import time

from . import proc

# A sensible production setting; everything about durability stays at PostgreSQL's default (on).
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "120",
    "shared_buffers": "512MB",
    "min_wal_size": "2GB",
    "max_wal_size": "6GB",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
}
ROLE = "bench"


def find_bin():
    """The folder with initdb and postgres, newest version first."""
    found = glob.glob("/usr/lib/postgresql/*/bin/initdb")
    if found:
        best = max(found, key=lambda p: float(p.split("/")[4]))
        return os.path.dirname(best)
    path = shutil.which("initdb")
    if not path:
        raise proc.BenchError("initdb not found: install the package postgresql")
    return os.path.dirname(os.path.realpath(path))


class Postgres:
    """`with Postgres(work, preload) as pg: pg.create_database("x")`. `preload` is the environment
    that slows fsync, or {}."""

    def __init__(self, work, preload):
        self.bin = find_bin()
        self.dir = os.path.join(work, "pg")
        self.data = os.path.join(self.dir, "data")
        self.log = os.path.join(work, "postgres.log")
        self.preload = preload
        self.port = proc.free_port()
        self.child = None
        self.who = {}
        if os.geteuid() == 0:
            names = {u.pw_name: u for u in pwd.getpwall()}
            user = names.get("postgres") or names["nobody"]
            self.who = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}

    def __enter__(self):
        shutil.rmtree(self.dir, ignore_errors=True)
        os.makedirs(self.dir, mode=0o755)
        if self.who:
            os.chown(self.dir, self.who["user"], self.who["group"])
        proc.run([f"{self.bin}/initdb", "-D", self.data, "-U", "postgres", "-A", "trust",
                  "-E", "UTF8", "--locale=C", "--no-sync"], cwd=self.dir, **self.who)
        argv = [f"{self.bin}/postgres", "-D", self.data, "-p", str(self.port), "-k", self.dir]
        for name, value in SETTINGS.items():
            argv += ["-c", f"{name}={value}"]
        self.child = proc.start(argv, self.preload, self.log, cwd=self.dir, **self.who)
        try:
            self._wait()
            self.sql("postgres", f"CREATE ROLE {ROLE} LOGIN")
            self._age()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_):
        proc.stop(self.child, signal.SIGINT)
        shutil.rmtree(self.dir, ignore_errors=True)

    def _wait(self):
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                self.sql("postgres", "SELECT 1")
                return
            except proc.BenchError:
                if self.child.poll() is not None:
                    break
                time.sleep(0.05)
        raise proc.BenchError("PostgreSQL did not start" + proc.tail(self.log))

    def _age(self):
        """Write WAL once round, as a server that has run for a while has. A new cluster fills each
        new 16 MB segment with zeros first, which shows as a pause of about 50 ms in short runs."""
        self.sql("postgres", "SELECT COUNT(pg_logical_emit_message(false, 'age', repeat('x', 1000000)))"
                             " FROM generate_series(1, 2000)")
        self.sql("postgres", "CHECKPOINT")

    def sql(self, database, text):
        """Run as the superuser; rows as text."""
        return proc.run([f"{self.bin}/psql", "-h", "127.0.0.1", "-p", str(self.port), "-U",
                         "postgres", "-XAtqc", text, database]).strip()

    def create_database(self, name):
        """A fresh database owned by a plain role (a superuser would skip row-level security). The
        checkpoint recycles the WAL of the run before."""
        self.sql("postgres", "CHECKPOINT")
        self.sql("postgres", f"CREATE DATABASE {name} OWNER {ROLE}")
        return f"postgresql://{ROLE}@127.0.0.1:{self.port}/{name}"

    def drop_database(self, name):
        self.sql("postgres", f"DROP DATABASE {name} WITH (FORCE)")
