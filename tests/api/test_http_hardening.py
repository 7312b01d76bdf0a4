"""Hostile HTTP: smuggling forms, oversized heads, slow and idle peers; others are served."""

import socket
import threading
import time

import pytest
from harness.client import Api
from harness.rawhttp import RawClient, exchange, head
from harness.server import V0
from harness.wait import SLOW, wait_until

PATH = V0 + "/tickets"
BODY = b'{"title":"smuggled"}'
JSON = "Content-Type: application/json"


@pytest.fixture(scope="module")
def quick(make_server):
    """A server with short deadlines."""
    server = make_server(env={"TESSERA_HEADER_TIMEOUT_S": "1", "TESSERA_BODY_TIMEOUT_S": "1",
                              "TESSERA_IDLE_TIMEOUT_S": "2", "TESSERA_MAX_CONNECTIONS": "8000",
                              "TESSERA_MAX_CONNECTIONS_PER_IP": "500"})
    made = server.new_token()
    server.test_token = made["token"]
    yield server
    server.close()


class Meanwhile:
    """Another client that keeps asking; at the end, all its requests were served in good time."""

    def __init__(self, server):
        self.api = Api(server, server.test_token, check=False)
        self.worst = 0.0
        self.count = 0
        self.wrong = []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.work)

    def work(self):
        while not self.over.wait(0.02):
            began = time.monotonic()
            try:
                status = self.api.get(V0).status_code
            except OSError as e:
                status = repr(e)
            self.worst = max(self.worst, time.monotonic() - began)
            self.count += 1
            if status != 200:
                self.wrong.append(status)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, *unused):
        if kind is None:
            wait_until(lambda: self.count >= 3, 10, "another client is served")
        self.over.set()
        self.thread.join(20)
        if kind is None:
            assert not self.wrong, self.wrong[:5]
            assert self.worst < 2 * SLOW, f"another client waited {self.worst:.2f} s"


def assert_refused(reply, closed, *statuses):
    """An error reply that ends the connection, or a closed connection without any."""
    assert closed, f"the connection stays open after {reply}"
    if reply is not None:
        assert reply.status in statuses, reply


# --- request smuggling ---------------------------------------------------------------------------


@pytest.mark.parametrize("lines", [
    (f"Content-Length: {len(BODY)}", "Transfer-Encoding: chunked"),
    ("Transfer-Encoding: chunked", f"Content-Length: {len(BODY)}"),
    (f"Content-Length: {len(BODY)}", "Content-Length: 3"),
    ("Content-Length: 3", f"Content-Length: {len(BODY)}"),
    (f"Content-Length: {len(BODY)}, 3",),
    ("Transfer-Encoding: xchunked",), ("Transfer-Encoding: gzip, chunked",),
    ("Transfer-Encoding: chunked, identity",), ("Transfer-Encoding: identity",),
    ("Transfer-Encoding: chunked", "Transfer-Encoding: identity"),
    ("Content-Length: -1",), ("Content-Length: +5",), ("Content-Length: 0x14",),
    ("Content-Length: 20 20",), ("Content-Length: twenty",), ("Content-Length:",),
    ("Content-Length: 99999999999999999999999",),
])
def test_ambiguous_lengths_are_refused_and_the_connection_ends(api, server, lines):
    before = len(api.list_v1(limit=200)["data"])

    reply, closed = exchange(server, head("POST", PATH, api.token, JSON, *lines) + BODY
                             + b"0\r\n\r\n")

    assert_refused(reply, closed, 400, 413, 501)
    assert len(api.list_v1(limit=200)["data"]) == before


@pytest.mark.parametrize("body", [
    b"zz\r\n" + BODY + b"\r\n0\r\n\r\n", b"-5\r\nhello\r\n0\r\n\r\n",
    b"14\r\n" + BODY + b"XX0\r\n\r\n", b"FFFFFFFFFFFFFFFFF\r\nx\r\n0\r\n\r\n", b"\r\n\r\n\r\n",
])
def test_bad_chunks_are_refused_and_the_connection_ends(api, quick, body):
    reply, closed = exchange(quick, head("POST", PATH, quick.test_token, JSON,
                                         "Transfer-Encoding: chunked") + body, 10)

    assert_refused(reply, closed, 400, 408, 413)


def test_a_request_hidden_in_a_refused_body_is_not_run(api, server):
    hidden = head("POST", PATH, api.token, JSON, f"Content-Length: {len(BODY)}") + BODY
    before = len(api.list_v1(limit=200)["data"])

    with RawClient(server) as raw:
        raw.send(head("POST", PATH, api.token, JSON, "Content-Length: 4",
                      "Transfer-Encoding: chunked") + b"0\r\n\r\n" + hidden)
        first = raw.read_reply(3)
        second = raw.read_reply(1)

    assert first is None or first.status == 400
    assert second is None
    assert len(api.list_v1(limit=200)["data"]) == before


def test_one_connection_carries_several_writes(api, server):
    with RawClient(server) as raw:
        for _ in range(2):
            raw.send(head("POST", PATH, api.token, JSON, f"Content-Length: {len(BODY)}") + BODY)
            assert raw.read_reply(5).status == 201


def test_pipelined_requests_are_answered_in_order(api, server):
    with RawClient(server) as raw:
        raw.send(head("GET", V0, api.token) + head("GET", V0 + "/nothing", api.token)
                 + head("POST", PATH, api.token, JSON, f"Content-Length: {len(BODY)}") + BODY
                 + head("GET", V0, api.token))

        assert [raw.read_reply(5).status for _ in range(4)] == [200, 404, 201, 200]


# --- the head ------------------------------------------------------------------------------------


@pytest.mark.parametrize("lines", [[], ["Host: a", "Host: b"]])
def test_missing_or_doubled_host_is_refused(api, server, lines):
    rows = [f"GET {V0} HTTP/1.1", f"Authorization: Bearer {api.token}", *lines]

    reply, closed = exchange(server, ("\r\n".join(rows) + "\r\n\r\n").encode())

    assert reply is not None and reply.status == 400 and closed


@pytest.mark.parametrize("data", [
    b"GARBAGE\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n bad: fold\r\nno-colon\r\n\r\n",
    b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
])
def test_garbage_is_refused_and_does_no_harm(api, quick, data):
    reply, closed = exchange(quick, data, 8)

    assert closed and (reply is None or 400 <= reply.status < 600)
    assert Api(quick, quick.test_token).get(V0).status_code == 200


@pytest.mark.parametrize("lines", [
    [f"X-Big: {'a' * 100000}"],
    [f"X-{i}: {'b' * 100}" for i in range(2000)],
])
def test_oversized_headers_are_refused(api, server, lines):
    reply, closed = exchange(server, head("GET", V0, api.token, *lines))

    assert_refused(reply, closed, 400, 413, 431)


def test_an_oversized_request_line_is_refused(api, server):
    reply, closed = exchange(server, head("GET", V0 + "/" + "a" * 100000, api.token))

    assert_refused(reply, closed, 400, 404, 413, 414, 431)


def test_expect_100_continue_is_answered(api, server):
    with RawClient(server) as raw:
        raw.send(head("POST", PATH, api.token, JSON, f"Content-Length: {len(BODY)}",
                      "Expect: 100-continue"))
        wait_until(lambda: raw.fill(0.2) or raw.buffer, 3, "100 Continue arrives")
        assert raw.buffer.startswith(b"HTTP/1.1 100")
        raw.send(BODY)

        assert raw.read_reply(5).status == 201


# --- slow and silent peers -----------------------------------------------------------------------


def drip(raw, data, every_s=0.1, limit_s=15):
    """Send byte by byte until the server hangs up; how long that took."""
    began = time.monotonic()
    for byte in data:
        if not raw.send(bytes([byte])) or not raw.is_open():
            return time.monotonic() - began
        if time.monotonic() - began > limit_s * SLOW:
            break
        time.sleep(every_s)              # this is the slow sender, not a wait for something
    raise AssertionError(f"the slow sender was still welcome after {limit_s} s")


def test_a_slow_header_sender_is_dropped_while_others_are_served(quick):
    with Meanwhile(quick), RawClient(quick) as raw:
        took = drip(raw, head("GET", V0, quick.test_token, "X-Slow: " + "a" * 1000))

    assert 0.5 < took < 6 * SLOW


def test_a_slow_body_sender_is_dropped_while_others_are_served(quick):
    with Meanwhile(quick), RawClient(quick) as raw:
        raw.send(head("POST", PATH, quick.test_token, JSON, "Content-Length: 2000"))
        took = drip(raw, b" " * 2000)

    assert 0.5 < took < 6 * SLOW


def test_a_body_that_never_comes_ends_in_time(quick):
    with Meanwhile(quick), RawClient(quick) as raw:
        raw.send(head("POST", PATH, quick.test_token, JSON, "Content-Length: 20"))

        assert raw.wait_closed(8)
    assert b"201" not in raw.buffer[:15]


def test_a_connection_that_says_nothing_is_closed(quick):
    with Meanwhile(quick), RawClient(quick) as raw:
        assert raw.wait_closed(8)


def test_an_idle_keep_alive_connection_is_closed(quick):
    with RawClient(quick) as raw:
        raw.send(head("GET", V0, quick.test_token))
        assert raw.read_reply(5).status == 200

        assert raw.wait_closed(9)


def test_a_half_closed_sender_still_gets_its_answer_or_an_end(quick):
    with RawClient(quick) as raw:
        raw.send(head("GET", V0, quick.test_token))
        raw.sock.shutdown(socket.SHUT_WR)
        reply = raw.read_reply(5)

        assert reply is None or reply.status == 200
        assert raw.wait_closed(8)


def test_a_client_that_leaves_in_mid_request_does_no_harm(quick):
    with Meanwhile(quick):
        for i in range(60):
            with RawClient(quick) as raw:
                data = head("POST", PATH, quick.test_token, JSON,
                            f"Content-Length: {len(BODY)}") + BODY
                raw.send(data[:len(data) * i // 60])
        for _ in range(40):                          # leaves before the answer of a write
            with RawClient(quick) as raw:
                raw.send(head("POST", PATH, quick.test_token, JSON,
                              f"Content-Length: {len(BODY)}") + BODY)
    assert quick.is_running()


def test_a_reader_that_takes_nothing_does_not_hold_the_others(quick):
    api = Api(quick, quick.test_token)
    big = [{"title": "x" * 400, "description": "y" * 2000} for _ in range(150)]
    assert api.post("/v1/tickets/bulk", {"tickets": big}).status_code == 200

    with Meanwhile(quick):
        raws = [RawClient(quick) for _ in range(20)]
        for raw in raws:
            raw.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            raw.send(head("GET", "/v1/tickets?limit=200", quick.test_token) * 4)
        for _ in range(10):
            assert api.get(V0).status_code == 200
        for raw in raws:
            raw.sock.close()


def test_5000_idle_connections_leave_room_for_others(quick):
    socks = []
    try:
        for i in range(5000):
            s = socket.socket()
            s.settimeout(5 * SLOW)
            s.bind((f"127.0.1.{1 + i % 50}", 0))     # 100 from each of 50 addresses
            s.connect((quick.host, quick.port))
            socks.append(s)
            if i % 1000 == 999:
                assert Api(quick, quick.test_token).get(V0).status_code == 200
        with Meanwhile(quick):
            for _ in range(20):
                Api(quick, quick.test_token).create_v0("among 5000")
    finally:
        for s in socks:
            s.close()
    assert len(socks) == 5000
    assert Api(quick, quick.test_token).get(V0).status_code == 200


def test_more_than_max_connections_wait_for_a_place(start_server):
    server = start_server(env={"TESSERA_MAX_CONNECTIONS": "16", "TESSERA_EVENT_THREADS": "3"})
    ask = head("GET", "/healthz")
    inside = [RawClient(server) for _ in range(16)]
    for raw in inside:
        raw.send(ask)
        assert raw.read_reply().status == 200
    outside = [RawClient(server) for _ in range(3)]
    for raw in outside:
        raw.send(ask)
    assert outside[0].read_reply(0.3) is None and not outside[0].closed

    for gone, came in zip(inside, outside):
        gone.sock.close()
        assert came.read_reply().status == 200
    for raw in inside[3:]:
        raw.send(ask)
        assert raw.read_reply().status == 200
        raw.sock.close()
    for raw in outside:
        raw.sock.close()


def test_one_address_cannot_take_all_connections(quick):
    raws = []
    try:
        for _ in range(600):
            raws.append(RawClient(quick, source="127.0.2.1"))
        alive = sum(raw.is_open() for raw in raws)
        with Meanwhile(quick):
            assert Api(quick, quick.test_token).get(V0).status_code == 200
    finally:
        for raw in raws:
            raw.sock.close()
    assert alive <= 500
