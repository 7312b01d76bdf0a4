"""A full disk, a read-only or locked database: 503, nothing acknowledged and lost, recovery."""

import contextlib
import os
import resource
import shutil
import sqlite3
import subprocess
import tempfile

import pytest
from harness import truth
from harness.client import Api, assert_v0_error
from harness.load import Load
from harness.server import V0, Server
from harness.wait import wait_until

MIB = 1024 * 1024
PATH = V0 + "/tickets"


def mount_small(folder, size):
    """A small tmpfs at the folder; False when this system does not let us."""
    if os.geteuid() != 0:
        return False
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder],
                          capture_output=True, check=False)
    return done.returncode == 0


class SmallDisk:
    """A folder on a disk of its own that can be filled and freed."""

    def __init__(self, size):
        self.dir = tempfile.mkdtemp(prefix="tessera-small-")
        self.mounted = mount_small(self.dir, size)
        self.ballast = os.path.join(self.dir, "ballast")

    def fill(self):
        """Take every byte that is left."""
        with open(self.ballast, "ab", buffering=0) as f:
            for size in (65536, 4096, 512, 1):
                with contextlib.suppress(OSError):
                    while True:
                        f.write(b"\0" * size)

    def free(self):
        os.unlink(self.ballast)

    def remove(self):
        if self.mounted:
            subprocess.run(["umount", "-l", self.dir], check=False, capture_output=True)
        shutil.rmtree(self.dir, ignore_errors=True)


@pytest.fixture
def small_disk():
    disk = SmallDisk(48 * MIB)
    yield disk
    disk.remove()


@pytest.fixture
def small_server(backend, small_disk, request):
    """A server whose tables live on the small disk; its log and PostgreSQL's WAL do not."""
    if not small_disk.mounted:
        pytest.skip("needs a mount of its own (root)")
    database = None
    if backend == "postgres":
        cluster = request.getfixturevalue("cluster")
        place = os.path.join(small_disk.dir, "space")
        os.mkdir(place)
        cluster.give(place)
        os.chmod(small_disk.dir, 0o755)
        name = f"small_{os.path.basename(small_disk.dir).replace('-', '_')}"
        cluster.execute(f"CREATE TABLESPACE {name} LOCATION '{place}'")
        database = cluster.new_database(tablespace=name)
    server = Server(backend, database)
    if backend == "sqlite":
        server.db_path = os.path.join(small_disk.dir, "tessera.db")
        server.env["TESSERA_DATABASE"] = server.database_url
    server.cli("migrate")
    yield server.start()
    server.close()
    if database:
        cluster.execute(f"DROP DATABASE {database.name} WITH (FORCE)")
        cluster.execute(f"DROP TABLESPACE {name}")


def refuse_until_503(api):
    """Create large tickets until one is refused; the ids of those acknowledged, and the refusal."""
    acked = []

    def refused():
        reply = api.post(PATH, {"title": "big", "description": "x" * 90000})
        if reply.status_code == 201:
            acked.append(reply.json()["ticket"]["id"])
            return None
        return reply
    return acked, wait_until(refused, 30, "the full disk is noticed", 0)


def assert_retryable(reply):
    assert_v0_error(reply, 503, "unavailable")
    assert int(reply.headers["Retry-After"]) >= 1


def assert_recovers(server, api):
    """Writes work again without a restart."""
    pid = server.proc.pid
    wait_until(lambda: api.post(PATH, {"title": "again"}).status_code == 201, 10, "writes again")
    assert server.proc.pid == pid and server.is_running()


def test_a_full_disk_is_503_and_nothing_acknowledged_is_lost(small_server, small_disk):
    made = small_server.new_token()
    api = Api(small_server, made["token"])
    first = api.create_v0("before")
    small_disk.fill()

    acked, reply = refuse_until_503(api)

    assert_retryable(reply)
    assert api.get_v0(first["id"])["title"] == "before"     # reads still work
    assert small_server.probe("/healthz") == 200
    small_disk.free()
    assert_recovers(small_server, api)
    assert {first["id"], *acked} <= truth.ticket_ids(small_server)
    truth.check_integrity(small_server)


def test_a_full_disk_under_load_recovers_and_keeps_every_acknowledged_write(small_server,
                                                                            small_disk):
    made = small_server.new_token()
    with Load(small_server, made["token"]) as load:
        small_disk.fill()
        # Space inside the database files may serve for a while: take that too.
        refuse_until_503(Api(small_server, made["token"]))
        wait_until(lambda: load.refused >= 20, 20, "the load is refused")
        small_disk.free()
        count = len(load.acked)
        wait_until(lambda: len(load.acked) > count + 20, 20, "the load is served again")

    assert not load.odd
    assert set(load.acked) <= truth.ticket_ids(small_server)
    small_server.kill9()
    small_server.start()
    assert set(load.acked) <= truth.ticket_ids(small_server)
    truth.check_integrity(small_server)


@pytest.mark.only_backend("sqlite")
def test_a_file_size_limit_is_503_and_recovers(make_server):
    """The same without root: the kernel refuses to let the process's files grow."""
    server = make_server(start=False)
    server.launch = {"restore_signals": False}    # SIGXFSZ stays ignored: EFBIG, not death
    try:
        server.start()
        api = Api(server, server.new_token()["token"])
        size = os.path.getsize(server.db_path + "-wal") + MIB
        hard = resource.prlimit(server.proc.pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(server.proc.pid, resource.RLIMIT_FSIZE, (size, hard))

        acked, reply = refuse_until_503(api)

        assert_retryable(reply)
        assert acked
        resource.prlimit(server.proc.pid, resource.RLIMIT_FSIZE, (hard, hard))
        assert_recovers(server, api)
        assert set(acked) <= truth.ticket_ids(server)
        truth.check_integrity(server)
    finally:
        server.close()


# --- read-only and locked ------------------------------------------------------------------------


@pytest.mark.only_backend("postgres")
def test_a_read_only_database_is_503_and_recovers(fresh_server):
    """As after a failover to a replica: connections are cut, the new ones refuse to write."""
    made = fresh_server.new_token()
    api = Api(fresh_server, made["token"])
    first = api.create_v0("before")
    cluster, name = fresh_server.database.cluster, fresh_server.database.name

    cluster.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    cluster.drop_connections(name)
    reply = wait_until(lambda: (r := api.post(PATH, {"title": "x"})).status_code == 503 and r, 10,
                       "writes are refused")
    assert_retryable(reply)
    wait_until(lambda: api.get(f"{PATH}/{first['id']}").status_code == 200, 10, "reads work")

    cluster.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = off")
    cluster.drop_connections(name)
    assert_recovers(fresh_server, api)


@pytest.mark.only_backend("sqlite")
def test_a_locked_database_is_503_and_recovers(fresh_server):
    api = Api(fresh_server, fresh_server.new_token()["token"])
    first = api.create_v0("before")

    with contextlib.closing(sqlite3.connect(fresh_server.db_path, isolation_level=None)) as conn:
        conn.execute("BEGIN IMMEDIATE")
        reply = api.post(PATH, {"title": "x"}, timeout=60)
        assert_retryable(reply)
        assert api.get_v0(first["id"])["title"] == "before"
        conn.execute("ROLLBACK")

    assert_recovers(fresh_server, api)


@pytest.mark.only_backend("sqlite")
def test_a_read_only_folder_is_refused_at_start_and_named(fresh_server):
    api = Api(fresh_server, fresh_server.new_token()["token"])
    ticket = api.create_v0("kept")
    fresh_server.stop()
    if os.geteuid() != 0:
        pytest.skip("needs a read-only mount (root)")
    folder = fresh_server.dir
    mounted = subprocess.run(["mount", "--bind", folder, folder], check=False,
                             capture_output=True).returncode == 0
    if not mounted:
        pytest.skip("needs a read-only mount")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
        done = fresh_server.run("serve", env={"TESSERA_LISTEN": "127.0.0.1:0"}, timeout_s=15)
        assert done.returncode == 1
        assert fresh_server.db_path in done.stderr
    finally:
        subprocess.run(["umount", "-l", folder], check=True)

    fresh_server.start()
    assert api.get_v0(ticket["id"])["title"] == "kept"
