"""A receiver of webhooks on a loopback port: keeps what arrives, answers what the test wants.

The answer is chosen by path: `answers[path]` is a status, or a function (received) -> Answer; paths
without one get 200. A status of 0 closes the connection without an answer. Signatures are checked
here by the rules of Standard Webhooks, written anew from the specification.
"""

import base64
import collections
import hashlib
import hmac
import http.server
import json
import socket
import threading
import time

from .wait import wait_until

MAX_AGE_S = 300


class Received:
    """One request, as it came."""

    def __init__(self, path, headers, body):
        self.at = time.monotonic()
        self.path, self.body = path, body
        self.headers = {name.lower(): value for name, value in headers}
        self.id = self.headers.get("webhook-id")

    @property
    def json(self):
        return json.loads(self.body)

    def signed_by(self, secret):
        """Whether one of the signatures is that of this whsec_ secret, and the time is about now."""
        stamp = self.headers["webhook-timestamp"]
        assert abs(int(stamp) - time.time()) < MAX_AGE_S
        key = base64.b64decode(secret.removeprefix("whsec_"))
        signed = f"{self.id}.{stamp}.".encode() + self.body
        want = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        return want in self.headers["webhook-signature"].split(" ")


class Answer:
    """Status, headers and body of an answer."""

    def __init__(self, status=200, headers=None, body=b"ok"):
        self.status, self.headers, self.body = status, headers or {}, body


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def handle_error(self, request, client_address):
        """A server that is killed in the middle of a request is what some tests are about."""


class Receiver:
    """Listens from `with` on until its end; `port` may be that of an earlier one."""

    def __init__(self, port=0):
        self.answers = {}
        self.lock = threading.Lock()
        self.got = collections.defaultdict(list)     # path: [Received]
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                receiver.answer(self, Received(self.path, self.headers.items(), body))

            def log_message(self, *args):  # pylint: disable=arguments-differ
                pass

        self.http = _Server(("127.0.0.1", port), Handler)
        self.port = self.http.server_address[1]
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.05},
                                       daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.http.shutdown()
        self.http.server_close()

    def url(self, path="/hook"):
        return f"http://127.0.0.1:{self.port}{path}"

    def answer(self, handler, received):
        with self.lock:
            self.got[received.path].append(received)
        answer = self.answers.get(received.path, 200)
        if callable(answer):
            answer = answer(received)
        if not isinstance(answer, Answer):
            answer = Answer(answer)
        if not answer.status:
            handler.close_connection = True
            return
        handler.send_response(answer.status)
        for name, value in answer.headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(answer.body)))
        handler.end_headers()
        handler.wfile.write(answer.body)

    # --- looking ------------------------------------------------------------------------------

    def all(self, path="/hook"):
        with self.lock:
            return list(self.got[path])

    def of(self, event_type, path="/hook"):
        """What has come of a type, in its order."""
        return [r for r in self.all(path) if r.json["type"] == event_type]

    def wait(self, n, path="/hook", timeout_s=5):
        """The first n requests of a path."""
        wait_until(lambda: len(self.all(path)) >= n, timeout_s,
                   f"{n} requests at {path}, {len(self.all(path))} came")
        return self.all(path)[:n]


class Nasty:
    """Hosts that behave badly, each connection in its own thread: `kind` says how."""

    def __init__(self, kind):
        self.kind = kind
        self.stop = threading.Event()
        self.connections = 0
        self.sock = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self.sock.getsockname()[1]
        self.thread = threading.Thread(target=self.accept, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.stop.set()
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        self.thread.join(5)

    @property
    def url(self):
        scheme = "https" if self.kind == "tls" else "http"
        return f"{scheme}://127.0.0.1:{self.port}/{self.kind}"

    def accept(self):
        while not self.stop.is_set():
            try:
                conn, _ = self.sock.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.serve, args=(conn,), daemon=True).start()

    def serve(self, conn):
        try:
            with conn:
                conn.recv(65536)
                getattr(self, self.kind)(conn)
        except OSError:
            pass

    def hangs(self, conn):
        self.stop.wait(60)

    def drips(self, conn):
        for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100:
            conn.send(bytes([byte]))
            if self.stop.wait(1):
                return

    def floods(self, conn):
        """Says and sends 10 GB, as long as somebody reads."""
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\n")
        block = b"x" * 65536
        for _ in range(10737418240 // len(block)):
            conn.sendall(block)

    def closes(self, conn):
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort")

    def tls(self, conn):
        conn.sendall(b"this is no TLS\r\n")
