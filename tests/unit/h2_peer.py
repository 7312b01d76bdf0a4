"""A host that speaks HTTP/2 over TLS on a loopback port, for test_egress_h2.c.

Prints "PORT CERTIFICATE_FILE" and serves until its standard input ends. The path says what it does:

  /ok            200, "hello"                 /count         200, the number of bytes of the body
  /hold/N        answers when N such streams of the connection are open: only multiplexing gets there
  /stats         200, "connections=C most=M", M being the most streams that one connection had open
  /large         200, 60000 bytes             /half          200, 10 bytes, no end
  /reset         RST_STREAM at once           /reset-late    after a part of the answer
  /goaway        GOAWAY and the end of the connection         /goaway-late   after a part of the answer
  /refuse        RST_STREAM with REFUSED_STREAM the first time, then as /ok
  /drop          ends the connection without a word
"""

import os
import socket
import ssl
import subprocess
import sys
import tempfile
import threading

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived, StreamEnded, StreamReset

NAME = "h2.example"
FRAME = 16384


class Counts:
    """What all connections add to."""

    def __init__(self):
        self.lock = threading.Lock()
        self.connections = self.most = self.refused = 0


COUNTS = Counts()


class Talk:
    """One connection, on a thread of its own."""

    def __init__(self, sock):
        self.sock = sock
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self.paths, self.bodies, self.held = {}, {}, []
        self.is_over = False

    def run(self):
        self.h2.initiate_connection()
        self.flush()
        while not self.is_over:
            data = self.sock.recv(65536)
            if not data:
                return
            for event in self.h2.receive_data(data):
                self.on_event(event)
            self.flush()

    def flush(self):
        self.sock.sendall(self.h2.data_to_send())

    def on_event(self, event):
        if isinstance(event, RequestReceived):
            self.paths[event.stream_id] = dict(event.headers)[":path"]
            self.bodies[event.stream_id] = 0
            with COUNTS.lock:
                COUNTS.most = max(COUNTS.most, len(self.paths))
        elif isinstance(event, DataReceived):
            self.bodies[event.stream_id] += len(event.data)
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamEnded):
            self.behave(event.stream_id, self.paths[event.stream_id])
        elif isinstance(event, StreamReset):
            self.paths.pop(event.stream_id, None)
            if event.stream_id in self.held:
                self.held.remove(event.stream_id)

    def start(self, stream, body, is_whole=True):
        self.h2.send_headers(stream, [(":status", "200"), ("x-peer", "yes")])
        for at in range(0, len(body), FRAME):
            self.h2.send_data(stream, body[at:at + FRAME])
        if is_whole:
            self.h2.end_stream(stream)
            del self.paths[stream]

    def reset(self, stream, code=ErrorCodes.INTERNAL_ERROR):
        self.h2.reset_stream(stream, code)
        del self.paths[stream]

    def end(self, with_goaway):
        if with_goaway:
            self.h2.close_connection(ErrorCodes.ENHANCE_YOUR_CALM)
        self.flush()
        self.is_over = True

    def behave(self, stream, path):
        if path.startswith("/hold/"):
            self.held.append(stream)
            if len(self.held) >= int(path[6:]):
                for one in self.held:
                    self.start(one, b"held")
                self.held = []
        elif path == "/stats":
            self.start(stream, f"connections={COUNTS.connections} most={COUNTS.most}".encode())
        elif path == "/count":
            self.start(stream, str(self.bodies[stream]).encode())
        elif path == "/large":
            self.start(stream, b"x" * 60000)
        elif path in ("/half", "/reset-late", "/goaway-late"):
            self.start(stream, b"0123456789", is_whole=False)
            if path == "/reset-late":
                self.reset(stream)
            elif path == "/goaway-late":
                self.end(with_goaway=True)
        elif path == "/reset":
            self.reset(stream)
        elif path == "/refuse" and not COUNTS.refused:
            COUNTS.refused = 1
            self.reset(stream, ErrorCodes.REFUSED_STREAM)
        elif path in ("/goaway", "/drop"):
            self.end(with_goaway=path == "/goaway")
        else:
            self.start(stream, b"hello")


def serve_one(raw, context):
    try:
        with context.wrap_socket(raw, server_side=True) as sock:
            if sock.selected_alpn_protocol() == "h2":
                with COUNTS.lock:
                    COUNTS.connections += 1
                Talk(sock).run()
    except OSError:
        pass                                    # the client has gone


def accept_all(listener, context):
    while True:
        raw, _ = listener.accept()
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=serve_one, args=(raw, context), daemon=True).start()


def main():
    with tempfile.TemporaryDirectory() as folder:
        cert, key = os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                        f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}", "-keyout", key,
                        "-out", cert], check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        context.set_alpn_protocols(["h2"])
        listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        threading.Thread(target=accept_all, args=(listener, context), daemon=True).start()
        print(listener.getsockname()[1], cert, flush=True)
        sys.stdin.read()


main()
