"""As many requests at one moment as the server's HTTP library fetches at once are answered at once."""

import contextlib
import os
import signal

import pytest
from harness.rawhttp import RawClient
from harness.wait import wait_until

FETCHED_AT_ONCE = 128       # libmicrohttpd's MAX_EVENTS, for each of its threads


def is_stopped(pid):
    """Whether none of its threads runs any more."""
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/stat", encoding="ascii") as f:
            if f.read().rpartition(")")[2].split()[0] != "T":
                return False
    return True


@pytest.mark.only_backend("sqlite")
@pytest.mark.parametrize("many", [FETCHED_AT_ONCE, 2 * FETCHED_AT_ONCE])
def test_requests_that_fill_the_event_array_do_not_wait_for_another(make_server, many):
    server = make_server({"TESSERA_EVENT_THREADS": "1", "TESSERA_MAX_CONNECTIONS_PER_IP": "1000"})
    request = f"GET /healthz HTTP/1.1\r\nHost: {server.host}\r\n\r\n".encode()
    with contextlib.closing(server), contextlib.ExitStack() as open_ones:
        clients = [open_ones.enter_context(RawClient(server)) for _ in range(many)]
        for client in clients:
            assert client.send(request)
            assert client.read_reply().status == 200
        os.kill(server.proc.pid, signal.SIGSTOP)
        wait_until(lambda: is_stopped(server.proc.pid), 10, "the server stands still")
        for client in clients:
            assert client.send(request)
        os.kill(server.proc.pid, signal.SIGCONT)
        assert [client.read_reply().status for client in clients] == [200] * many
