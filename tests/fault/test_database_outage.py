"""PostgreSQL goes away and comes back: 503 meanwhile, recovery without a restart."""

import contextlib

import pytest
from harness import truth
from harness.client import Api, assert_v0_error
from harness.load import Load
from harness.postgres import Cluster
from harness.server import V0, Server
from harness.wait import wait_until

pytestmark = pytest.mark.only_backend("postgres")
PATH = V0 + "/tickets"


@pytest.fixture
def own_cluster(backend):
    """A PostgreSQL that this test may stop."""
    assert backend == "postgres"
    cluster = Cluster()
    try:
        yield cluster.create()
    finally:
        cluster.remove()


@pytest.fixture
def own_server(own_cluster):
    server = Server("postgres", own_cluster.new_database())
    server.cli("migrate")
    yield server.start()
    server.close()


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_postgres_restarted_under_load_loses_nothing(own_server, own_cluster, mode):
    made = own_server.new_token()
    with Load(own_server, made["token"]) as load:
        own_cluster.stop(mode)
        wait_until(lambda: load.refused >= 5, 15, "writes are refused")
        assert own_server.probe("/healthz") == 200
        wait_until(lambda: own_server.probe("/readyz") == 503, 10, "not ready without a database")
        own_cluster.start()
        count = len(load.acked)
        wait_until(lambda: len(load.acked) > count + 20, 20, "the load is served again")

    assert not load.odd
    assert set(load.acked) <= truth.ticket_ids(own_server)
    wait_until(lambda: own_server.probe("/readyz") == 200, 5, "reads are served again too")
    truth.check_integrity(own_server)


def test_an_absent_postgres_answers_503_with_a_retry(own_server, own_cluster):
    made = own_server.new_token()
    api = Api(own_server, made["token"])
    ticket = api.create_v0()
    own_cluster.stop("immediate")

    for call in (lambda: api.post(PATH, {"title": "x"}), lambda: api.get(f"{PATH}/{ticket['id']}")):
        reply = call()
        assert_v0_error(reply, 503, "unavailable")
        assert int(reply.headers["Retry-After"]) >= 1
    own_cluster.start()
    wait_until(lambda: api.get(f"{PATH}/{ticket['id']}").status_code == 200, 10, "reads again")


def test_cut_connections_are_made_again(fresh_server):
    made = fresh_server.new_token()
    database = fresh_server.database
    with Load(fresh_server, made["token"]) as load:
        for _ in range(5):
            count = len(load.acked)
            database.cluster.drop_connections(database.name)
            wait_until(lambda c=count: len(load.acked) > c + 10, 10, "served after the cut")

    assert not load.odd
    assert set(load.acked) <= truth.ticket_ids(fresh_server)


def test_a_lock_held_by_another_does_not_stop_reads(own_server):
    made = own_server.new_token()
    api = Api(own_server, made["token"])
    ticket = api.create_v0()

    with contextlib.closing(own_server.database.connect_admin()) as conn, conn.cursor() as cur:
        conn.autocommit = False
        cur.execute("LOCK TABLE tickets IN SHARE MODE")
        assert api.get_v0(ticket["id"])["id"] == ticket["id"]
        assert own_server.probe("/readyz") == 200
        conn.rollback()

    api.create_v0("after")
