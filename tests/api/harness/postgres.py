"""A private PostgreSQL for the test session.

initdb into a temporary folder, started by pg_ctl on a free loopback port and a socket in that
folder, with fsync on: what the server acknowledges has to be as durable here as anywhere. Run as
root, every PostgreSQL program is run as an unprivileged user, since PostgreSQL refuses root.

Each server under test gets a database of its own, owned by a role that is neither superuser nor
BYPASSRLS: row-level security must be able to bite.
"""

import glob
import itertools
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile

import psycopg2
from psycopg2 import sql

ADMIN = "admin"


def free_port():
    """A port that was free a moment ago on 127.0.0.1."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def find_bin_dir():
    """The newest installed PostgreSQL's folder of programs, or None."""
    found = glob.glob("/usr/lib/postgresql/*/bin/initdb")
    found.sort(key=lambda p: int(p.split("/")[4]))
    on_path = shutil.which("initdb")
    if not found and on_path:
        found = [os.path.realpath(on_path)]     # a single link says nothing of the other programs
    return os.path.dirname(found[-1]) if found else None


def plain_user():
    """The unprivileged user that runs PostgreSQL when the tests run as root."""
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RuntimeError("no unprivileged user to run PostgreSQL as")


class Database:
    """One database with its own owning role."""

    def __init__(self, cluster, name, role, password):
        self.cluster = cluster
        self.name = name
        self.role = role
        self.password = password

    @property
    def url(self):
        return (f"postgresql://{self.role}:{self.password}"
                f"@127.0.0.1:{self.cluster.port}/{self.name}")

    def connect(self):
        """A connection as the role that the server itself uses."""
        return psycopg2.connect(self.url)

    def connect_admin(self):
        """A connection that row-level security does not bind: the tests' own view of the truth."""
        return self.cluster.connect(self.name)


class Cluster:
    """A whole PostgreSQL server in a temporary folder."""

    def __init__(self):
        self.bin_dir = find_bin_dir()
        if not self.bin_dir:
            raise RuntimeError("PostgreSQL is not installed (apt install postgresql)")
        self.user = plain_user() if os.geteuid() == 0 else None
        self.dir = tempfile.mkdtemp(prefix="tessera-pg-")
        self.data = os.path.join(self.dir, "data")
        self.log = os.path.join(self.dir, "log")
        self.port = free_port()
        self.password = secrets.token_hex(12)
        self.counter = itertools.count(1)
        self.give(self.dir)

    def give(self, path):
        """Hand a file or folder to the user that PostgreSQL runs as."""
        if self.user:
            os.chown(path, self.user.pw_uid, self.user.pw_gid)

    def run(self, program, *args, check=True):
        """Run one PostgreSQL program as the unprivileged user; fail with its words."""
        cmd = [os.path.join(self.bin_dir, program), *args]
        if self.user:
            cmd = ["setpriv", f"--reuid={self.user.pw_uid}", f"--regid={self.user.pw_gid}",
                   "--clear-groups", *cmd]
        # pg_ctl's child keeps the descriptors: a pipe would never see its end.
        with tempfile.TemporaryFile(mode="w+") as out:
            done = subprocess.run(cmd, cwd="/", stdin=subprocess.DEVNULL, stdout=out,
                                  stderr=subprocess.STDOUT, timeout=120, check=False,
                                  env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"})
            out.seek(0)
            text = out.read()
        if check and done.returncode:
            raise RuntimeError(f"{program} failed with {done.returncode}:\n{text}")
        return text

    def create(self):
        """initdb and start."""
        secret = os.path.join(self.dir, "password")
        with open(secret, "w", encoding="ascii") as f:
            f.write(self.password + "\n")
        self.give(secret)
        self.run("initdb", "-D", self.data, "-U", ADMIN, "-A", "scram-sha-256",
                 f"--pwfile={secret}", "-E", "UTF8", "--locale=C.UTF-8", "-N")
        with open(os.path.join(self.data, "postgresql.conf"), "a", encoding="ascii") as f:
            f.write(f"port = {self.port}\n"
                    "listen_addresses = '127.0.0.1'\n"
                    f"unix_socket_directories = '{self.dir}'\n"
                    "max_connections = 200\n"
                    "shared_buffers = 64MB\n"
                    "fsync = on\n"
                    "synchronous_commit = on\n")
        self.start()
        return self

    def start(self):
        self.run("pg_ctl", "-D", self.data, "-l", self.log, "-w", "-t", "60", "start")

    def stop(self, mode="fast"):
        self.run("pg_ctl", "-D", self.data, "-m", mode, "-w", "-t", "60", "stop")

    def remove(self):
        self.run("pg_ctl", "-D", self.data, "-m", "immediate", "-w", "stop", check=False)
        shutil.rmtree(self.dir, ignore_errors=True)

    def connect(self, database="postgres"):
        """An autocommit connection as the cluster's superuser."""
        conn = psycopg2.connect(host="127.0.0.1", port=self.port, user=ADMIN,
                                password=self.password, dbname=database)
        conn.autocommit = True
        return conn

    def execute(self, statement, database="postgres"):
        """One statement outside any transaction, as the superuser."""
        conn = self.connect(database)
        try:
            with conn.cursor() as cur:
                cur.execute(statement)
        finally:
            conn.close()

    def new_database(self, tablespace=None):
        """A fresh database owned by a fresh role without any special right."""
        n = next(self.counter)
        role, name, password = f"app_{n}", f"tessera_{n}", secrets.token_hex(12)
        self.execute(sql.SQL("CREATE ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE "
                             "NOBYPASSRLS PASSWORD {}").format(sql.Identifier(role),
                                                               sql.Literal(password)))
        words = sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name),
                                                              sql.Identifier(role))
        if tablespace:
            words += sql.SQL(" TABLESPACE {}").format(sql.Identifier(tablespace))
        self.execute(words)
        return Database(self, name, role, password)

    def drop_connections(self, database):
        """Cut every connection to `database`, as a failover would."""
        self.execute(sql.SQL("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                             "WHERE datname = {} AND pid <> pg_backend_pid()")
                     .format(sql.Literal(database)))
