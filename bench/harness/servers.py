"""The contenders. Each is a context manager that starts one server on a fresh (or given) database
and offers: base, path, port, token, pid, tickets() = rows in the database.

Fixed names of Tessera used here: `migrate`, `token create --json`, `serve --listen --database`,
TESSERA_DATABASE, TESSERA_MASTER_KEY, GET /readyz. Further serve options go into SERVE_MORE."""

import json
import os
import secrets
import shutil
import sqlite3
import time

from . import proc

BENCH_DIR = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TICKETS_PATH = "/functions/v1/integration-tickets"
RATE_LIMIT = "1000000000"
SERVE_MORE = []


class Server:
    """Common part: a port, a log file, a child process."""
    name = "server"
    path = TICKETS_PATH
    ready_path = "/"

    def __init__(self, bench, preload=None):
        self.bench = bench
        self.preload = preload or {}
        self.port = proc.free_port()
        self.base = f"http://127.0.0.1:{self.port}{self.path}"
        self.token = ""
        self.child = None
        self.start_s = 0.0
        self.log = os.path.join(bench.work, f"{self.name}.log")

    def __enter__(self):
        self.prepare()
        try:
            self.launch()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def launch(self):
        """Start the server and note the seconds from exec to the first answer."""
        argv, env = self.command()
        begin = time.monotonic()
        self.child = proc.start(argv, {**env, **self.preload}, self.log)
        proc.wait_ready(self.child, self.port, self.ready_path, self.log)
        self.start_s = time.monotonic() - begin

    def halt(self):
        if self.child:
            proc.stop(self.child)
            self.child = None

    def __exit__(self, *_):
        self.halt()
        self.cleanup()

    @property
    def pid(self):
        return self.child.pid

    def prepare(self):
        """Make the database and the token."""

    def command(self):
        raise NotImplementedError

    def cleanup(self):
        """Remove what prepare() made."""

    def tickets(self):
        """Ticket rows in the database, asked after the server has stopped."""
        return 0


class SqliteMixin:
    """A database file in the work folder: fresh, or `given` (a make_loaded.Loaded), which stays."""
    given = None
    file = None

    def make_path(self):
        if self.given:
            return self.given.path
        self.file = os.path.join(self.bench.work, f"{self.name}.db")
        self.remove()
        return self.file

    def remove(self):
        for tail in ("", "-wal", "-shm", "-journal"):
            if os.path.exists(self.file + tail):
                os.unlink(self.file + tail)
        shutil.rmtree(self.file + ".usage", ignore_errors=True)

    def cleanup(self):
        if not self.given:
            self.remove()

    def tickets(self):
        db = sqlite3.connect(self.given.path if self.given else self.file)
        try:
            return db.execute("SELECT count(*) FROM tickets").fetchone()[0]
        finally:
            db.close()


class PostgresMixin:
    """A database of its own in the running temporary PostgreSQL (bench.postgres)."""
    given = None

    def make_url(self):
        self.db_name = "b_" + self.name.replace("-", "_")
        return self.bench.postgres.create_database(self.db_name)

    def cleanup(self):
        self.bench.postgres.drop_database(self.db_name)

    def tickets(self):
        return int(self.bench.postgres.sql(self.db_name, "SELECT count(*) FROM tickets"))


class Tessera(Server):
    ready_path = "/readyz"

    def prepare(self):
        self.database = self.make_database()
        if self.given:
            self.token_id, self.token = self.given.token_id, self.given.token
            return
        self.tessera("migrate")
        self.token_id, self.token = self.make_token("bench")

    def make_database(self):
        raise NotImplementedError

    def tessera(self, *args):
        return proc.run([self.bench.tessera, *args], self.env())

    def make_token(self, name):
        """(id, secret) of a new token."""
        made = json.loads(self.tessera("token", "create", "--name", name, "--rate-limit",
                                       RATE_LIMIT, "--json"))
        return made["id"], made["token"]

    def env(self):
        return {"TESSERA_DATABASE": self.database, "TESSERA_MASTER_KEY": self.bench.master_key}

    def command(self):
        return [self.bench.tessera, "serve", "--listen", f"127.0.0.1:{self.port}", "--database",
                self.database, *SERVE_MORE], self.env()


class TesseraSqlite(SqliteMixin, Tessera):
    name = "tessera-sqlite"

    def __init__(self, bench, preload=None, given=None):
        super().__init__(bench, preload)
        self.given = given

    def make_database(self):
        return "sqlite:" + self.make_path()


class TesseraPostgres(PostgresMixin, Tessera):
    name = "tessera-postgres"

    def make_database(self):
        return self.make_url()


class Peer(Server):
    """A fastify service: `node server.js` with its settings in the environment."""
    folder = ""
    ready_path = TICKETS_PATH + "/tickets/0"

    def prepare(self):
        self.token = "stk_" + secrets.token_urlsafe(32)
        self.database = self.make_database()

    def make_database(self):
        raise NotImplementedError

    def command(self):
        script = os.path.join(BENCH_DIR, "peers", self.folder, "server.js")
        return ["node", script], {"DATABASE": self.database, "PORT": str(self.port),
                                  "TOKEN": self.token, "RATE_LIMIT": RATE_LIMIT,
                                  "NODE_ENV": "production"}


class FastifySqlite(SqliteMixin, Peer):
    name = "fastify-sqlite"
    folder = "fastify-sqlite"

    def make_database(self):
        return self.make_path()


class FastifyPostgres(PostgresMixin, Peer):
    name = "fastify-pg"
    folder = "fastify-pg"

    def make_database(self):
        return self.make_url()


class Nginx(Server):
    """`return 200` with `body_bytes` of JSON."""
    name = "nginx"

    def __init__(self, bench, body_bytes):
        super().__init__(bench)
        self.body_bytes = body_bytes
        self.token = "stk_" + secrets.token_urlsafe(32)

    def prepare(self):
        self.dir = os.path.join(self.bench.work, "nginx")
        os.makedirs(self.dir, exist_ok=True)
        with open(os.path.join(BENCH_DIR, "nginx.conf")) as f:
            text = f.read()
        body = '{"ticket":"' + "x" * max(0, self.body_bytes - 13) + '"}'
        for word, value in (("DIR", self.dir), ("PORT", str(self.port)), ("BODY", body)):
            text = text.replace(f"@{word}@", value)
        self.conf = os.path.join(self.dir, "nginx.conf")
        with open(self.conf, "w") as f:
            f.write(text)

    def command(self):
        nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/sbin")
        if not nginx:
            raise proc.BenchError("nginx not found: install the package nginx-light")
        return [nginx, "-p", self.dir, "-c", self.conf, "-g", "daemon off;"], {}

    def cleanup(self):
        shutil.rmtree(self.dir, ignore_errors=True)


def need_peer(folder):
    """Install a peer's packages when they are missing."""
    path = os.path.join(BENCH_DIR, "peers", folder)
    if os.path.isdir(os.path.join(path, "node_modules", "fastify")):
        return
    if not shutil.which("npm"):
        raise proc.BenchError("npm not found: install the packages nodejs and npm")
    print(f"installing the packages of bench/peers/{folder} (a minute or two) …", flush=True)
    proc.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=path)
