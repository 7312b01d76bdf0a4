"""The pytest side: options, backends, servers and clients. Star-imported by each conftest.py."""

import json
import os
import resource

import pytest

from .client import CONTRACTS, Api
from .people import new_person  # noqa: F401  (a fixture)
from .postgres import Cluster
from .server import Server, find_binary

# The common servers are hammered from one address on purpose; tests of those limits start their own.
# Webhooks of tests go to this machine.
COMMON_ENV = {"TESSERA_BAD_TOKEN_LIMIT": "1000000", "TESSERA_SIGN_IN_LIMIT": "10000",
              "TESSERA_EGRESS_ALLOW": "127.0.0.0/8"}


def pytest_addoption(parser):
    try:
        parser.addoption("--backend", choices=("sqlite", "postgres", "both"), default="both",
                         help="the database under the server (default: both)")
    except ValueError:
        pass                    # both test folders in one run: the other conftest was first


def pytest_configure(config):
    """Room for thousands of sockets here and, inherited, in the server."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 16384 if hard == resource.RLIM_INFINITY else min(16384, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    # Tests of a self-made certificate talk to it knowingly.
    config.addinivalue_line("filterwarnings",
                            "ignore::urllib3.exceptions.InsecureRequestWarning")
    config.addinivalue_line("markers", "only_backend(name): the test is about one database")


def pytest_sessionfinish(session):  # pylint: disable=unused-argument
    """What this process has seen answered goes to the folder SEEN_REPLIES, for check_seen.py."""
    folder = os.environ.get("SEEN_REPLIES")
    seen = sorted({reply for contract in CONTRACTS.values() for reply in contract.seen})
    if folder and seen:
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, f"{os.getpid()}.json"), "w", encoding="utf-8") as f:
            json.dump(seen, f)


def pytest_generate_tests(metafunc):
    if "backend" in metafunc.fixturenames:
        wanted = metafunc.config.getoption("--backend")
        backends = ["sqlite", "postgres"] if wanted == "both" else [wanted]
        only = metafunc.definition.get_closest_marker("only_backend")
        if only:
            backends = [b for b in backends if b in only.args]
        metafunc.parametrize("backend", backends, indirect=True, scope="session")


@pytest.fixture(scope="session")
def backend(request):
    """The database that this run of the test uses: "sqlite" or "postgres"."""
    return request.param


@pytest.fixture(scope="session")
def cluster():
    """The session's PostgreSQL."""
    made = Cluster()
    try:
        yield made.create()
    finally:
        made.remove()


@pytest.fixture(scope="session")
def make_server(backend, request):
    """A factory of servers, each with an own database; the caller closes them."""
    if not os.access(find_binary(), os.X_OK):
        pytest.exit(f"{find_binary()} is missing: build it, or set TESSERA_BIN", returncode=2)

    def make(env=None, args=(), start=True, **kwargs):
        database = None
        if backend == "postgres":
            database = request.getfixturevalue("cluster").new_database()
        server = Server(backend, database, {**COMMON_ENV, **(env or {})}, args, **kwargs)
        try:
            server.cli("migrate")
            return server.start() if start else server
        except BaseException:
            server.close()
            raise
    return make


@pytest.fixture(scope="session")
def common_server(make_server):
    made = make_server()
    yield made
    made.close()


@pytest.fixture
def server(common_server):
    """The server that tests share. A test that kills or reconfigures asks for fresh_server."""
    yield common_server
    if not common_server.is_running():
        tail = common_server.log_tail()
        common_server.start()
        pytest.fail(f"the server died in this test\n{tail}")


@pytest.fixture
def fresh_server(make_server):
    """A server of the test's own, on an empty database."""
    made = make_server()
    yield made
    made.close()


@pytest.fixture
def start_server(make_server):
    """A factory for servers with own settings; all are closed at the end of the test."""
    made = []

    def start(*args, **kwargs):
        made.append(make_server(*args, **kwargs))
        return made[-1]
    yield start
    for one in made:
        one.close()


@pytest.fixture
def new_api(server):
    """A factory of clients on the shared server, each with a new token of its own."""
    def make(**kwargs):
        token = server.new_token(**kwargs)
        return Api(server, token["token"], token["id"])
    return make


@pytest.fixture(scope="module")
def module_api(common_server):
    token = common_server.new_token("module")
    return Api(common_server, token["token"], token["id"])


@pytest.fixture(scope="module")
def module_other(common_server):
    token = common_server.new_token("other")
    return Api(common_server, token["token"], token["id"])


@pytest.fixture
def api(server, module_api):
    """A client whose token the tests of one file share."""
    return module_api


@pytest.fixture
def other(server, module_other):
    """A second token, which owns nothing of the first."""
    return module_other


@pytest.fixture
def anonymous(server):
    """A client without a token."""
    return Api(server)
