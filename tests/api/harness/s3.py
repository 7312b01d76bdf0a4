"""A small S3: one bucket in memory that checks every signature itself.

The check follows AWS's published description of Signature Version 4 (canonical request, string to
sign, derived key), written here once more from the server's side, so that a client which signs
wrongly is refused. Path-style addresses, PUT, GET and DELETE of objects, nothing else.
"""

import hashlib
import hmac
import socket
import threading
import urllib.parse
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ACCESS_KEY = "AKIDEXAMPLE"
SECRET_KEY = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
REGION = "eu-test-1"
BUCKET = "tessera-files"


def sign(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def signature(secret, scope, string_to_sign):
    key = ("AWS4" + secret).encode()
    for part in scope.split("/"):
        key = sign(key, part)
    return sign(key, string_to_sign).hex()


def canonical_request(method, target, headers, signed, payload_hash):
    path, _, query = target.partition("?")
    pairs = sorted(urllib.parse.parse_qsl(query, keep_blank_values=True))
    lines = [method, urllib.parse.quote(urllib.parse.unquote(path), safe="/-_.~"),
             "&".join(f"{urllib.parse.quote(k, safe='-_.~')}={urllib.parse.quote(v, safe='-_.~')}"
                      for k, v in pairs)]
    lines += [f"{name}:{' '.join(headers[name].split())}" for name in signed]
    return "\n".join([*lines, "", ";".join(signed), payload_hash])


class Refused(Exception):
    """The request is not signed as it must be."""


def check_signature(method, target, headers, body):
    """`headers`: names in lower case. Raises Refused with what is wrong."""
    scheme, _, rest = headers.get("authorization", "").partition(" ")
    if scheme != "AWS4-HMAC-SHA256":
        raise Refused("no AWS4-HMAC-SHA256")
    parts = dict(p.strip().split("=", 1) for p in rest.split(","))
    access, _, scope = parts["Credential"].partition("/")
    signed = parts["SignedHeaders"].split(";")
    at = headers.get("x-amz-date", "")
    payload_hash = headers.get("x-amz-content-sha256", "")
    if access != ACCESS_KEY or scope != f"{at[:8]}/{REGION}/s3/aws4_request":
        raise Refused(f"credential {parts['Credential']}")
    if signed != sorted(signed) or not {"host", "x-amz-date", "x-amz-content-sha256"} <= set(signed):
        raise Refused(f"signed headers {signed}")
    moment = datetime.strptime(at, "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
    if abs(datetime.now(timezone.utc) - moment) > timedelta(minutes=15):
        raise Refused(f"date {at}")
    if payload_hash != hashlib.sha256(body).hexdigest():
        raise Refused("the body is not what was signed")
    request = canonical_request(method, target, headers, signed, payload_hash)
    text = "\n".join(["AWS4-HMAC-SHA256", at, scope, hashlib.sha256(request.encode()).hexdigest()])
    if not hmac.compare_digest(signature(SECRET_KEY, scope, text), parts["Signature"]):
        raise Refused("SignatureDoesNotMatch")


class Handler(BaseHTTPRequestHandler):
    """One request; self.server.owner is the S3."""

    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        with self.server.owner.lock:
            self.server.owner.connections.append(self.connection)

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, text in headers.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(body)

    def handle_any(self):
        s3 = self.server.owner
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): text for name, text in self.headers.items()}
        with s3.lock:
            s3.seen.append((self.command, self.path))
            failure = s3.failures.pop(0) if s3.failures else None
        if failure:
            self.answer(failure, b"<Error><Code>Told</Code></Error>", Location=s3.url + "/elsewhere")
            return
        try:
            if self.command == "PUT" and "content-length" not in headers:
                raise Refused("no Content-Length")
            check_signature(self.command, self.path, headers, body)
        except Refused as e:
            with s3.lock:
                s3.refused.append(str(e))
            self.answer(403, f"<Error><Code>{e}</Code></Error>".encode())
            return
        prefix = f"/{BUCKET}/"
        if not self.path.startswith(prefix):
            self.answer(404, b"<Error><Code>NoSuchBucket</Code></Error>")
            return
        self.object(s3, self.path[len(prefix):], body)

    def object(self, s3, key, body):
        with s3.lock:
            if self.command == "PUT":
                s3.objects[key] = body
            found = s3.objects.get(key)
            if self.command == "DELETE":
                s3.objects.pop(key, None)
        if self.command == "DELETE":
            self.answer(204)
        elif found is None:
            self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        else:
            self.answer(200, b"" if self.command == "PUT" else found)

    do_PUT = do_GET = do_DELETE = do_POST = do_HEAD = handle_any

    def log_message(self, *args):
        pass


class S3:
    """The server; `failures` holds statuses that the next requests get instead of service."""

    def __init__(self):
        self.lock = threading.Lock()
        self.objects, self.seen, self.refused, self.failures = {}, [], [], []
        self.connections = []                  # all that were ever opened
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.http.owner = self
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.http.server_port}"

    @property
    def env(self):
        """The settings of a server that keeps its attachments here."""
        return {"TESSERA_S3_ENDPOINT": self.url, "TESSERA_S3_REGION": REGION,
                "TESSERA_S3_BUCKET": BUCKET, "TESSERA_S3_ACCESS_KEY": ACCESS_KEY,
                "TESSERA_S3_SECRET_KEY": SECRET_KEY}

    def close(self):
        """Gone, with the connections that a client keeps."""
        self.http.shutdown()
        with self.lock:
            for connection in self.connections:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass                       # closed already
        self.thread.join(5)
        self.http.server_close()
