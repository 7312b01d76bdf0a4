"""HTTP by hand over a socket, for what a well-behaved client library refuses to send."""

import re
import socket
import ssl
import time

from .wait import SLOW


class Reply:
    """One parsed HTTP/1.1 reply."""

    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    def header(self, name):
        for key, value in self.headers:
            if key.lower() == name.lower():
                return value
        return None

    def __repr__(self):
        return f"<{self.status} {self.headers} {self.body[:200]!r}>"


class RawClient:
    """A socket to the server with just enough of HTTP to read replies."""

    def __init__(self, server, source=None, tls=False):
        self.sock = socket.create_connection((server.host, server.port), timeout=10 * SLOW,
                                             source_address=(source, 0) if source else None)
        if tls:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            self.sock = context.wrap_socket(self.sock)
        self.buffer = b""
        self.closed = False

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.sock.close()

    def send(self, data):
        """Send all; False when the server has already hung up."""
        try:
            self.sock.sendall(data)
            return True
        except OSError:
            self.closed = True
            return False

    def fill(self, timeout_s):
        """Read once more into the buffer; False at the end of the stream or of the time."""
        self.sock.settimeout(max(timeout_s, 0.001))
        try:
            data = self.sock.recv(65536)
        except socket.timeout:
            return False
        except OSError:
            data = b""
        if not data:
            self.closed = True
            return False
        self.buffer += data
        return True

    def read_reply(self, timeout_s=5):
        """The next reply, or None when the server closed or said nothing in time."""
        end = time.monotonic() + timeout_s * SLOW
        while b"\r\n\r\n" not in self.buffer:
            if not self.fill(end - time.monotonic()):
                return None
        head, _, rest = self.buffer.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        match = re.match(r"HTTP/1\.[01] (\d{3})", lines[0])
        assert match, f"not an HTTP reply: {lines[0]!r}"
        headers = [tuple(x.strip() for x in line.split(":", 1)) for line in lines[1:]]
        reply = Reply(int(match.group(1)), headers, b"")
        if reply.status == 100:
            self.buffer = rest
            return self.read_reply(end - time.monotonic())
        length = int(reply.header("content-length") or 0)
        while len(rest) < length:
            if not self.fill(end - time.monotonic()):
                break
            rest = self.buffer.partition(b"\r\n\r\n")[2]
        reply.body, self.buffer = rest[:length], rest[length:]
        return reply

    def wait_closed(self, timeout_s):
        """True when the server closes (or resets) the connection within the time."""
        end = time.monotonic() + timeout_s * SLOW
        while not self.closed and time.monotonic() < end:
            self.fill(end - time.monotonic())
        return self.closed

    def is_open(self):
        """A look without waiting: has the server hung up?"""
        self.fill(0.001)
        return not self.closed


def exchange(server, data, timeout_s=5):
    """Send bytes on a new connection; the first reply and whether the server then closed."""
    with RawClient(server) as raw:
        raw.send(data)
        reply = raw.read_reply(timeout_s)
        closed = raw.wait_closed(timeout_s) if reply is None or reply.status >= 400 else False
        return reply, closed


def head(method, path, token=None, *lines, host="localhost"):
    """The head of a request as bytes, ending in the blank line."""
    rows = [f"{method} {path} HTTP/1.1"]
    if host:
        rows.append(f"Host: {host}")
    if token:
        rows.append(f"Authorization: Bearer {token}")
    rows.extend(lines)
    return ("\r\n".join(rows) + "\r\n\r\n").encode("latin-1")
