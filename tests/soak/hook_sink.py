"""A receiver of webhooks that keeps up with thousands a second: a process of its own.

    python3 tests/soak/hook_sink.py --secret whsec_… [--secret …] [--fail 5]

Prints its port, then obeys lines on its standard input: `count` prints how many ids have been
answered with 200, `dump FILE` writes what it has seen as JSON, the end of the input ends it.
--fail P answers the first attempt of P percent of the ids with 500, chosen by the id. Signatures are
checked here by the rules of Standard Webhooks.
"""

import argparse
import asyncio
import base64
import hashlib
import hmac
import json
import os
import re
import subprocess
import sys
import time
import zlib

OCCURRED = re.compile(rb'"occurred_at":"([^"]+)"')
ENTITY = re.compile(rb'"entity":"([^"]+)"')
SEQUENCE = re.compile(rb'"sequence":(\d+)')
ANSWER = {status: f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n".encode()
          for status in (200, 400, 500)}
DAY_S = 86400


def seconds_of_day(stamp):
    """Of an RFC 3339 time in UTC with milliseconds."""
    return int(stamp[11:13]) * 3600 + int(stamp[14:16]) * 60 + float(stamp[17:23])


class Seen:
    """What has come, by path and id."""

    def __init__(self, secrets, fail):
        self.keys = [base64.b64decode(s.removeprefix("whsec_")) for s in secrets]
        self.fail = fail
        self.ids = {}           # (path, id): [answered 200 times, came times, body's hash, is_same]
        self.delays = []        # of the first attempts, seconds
        self.order = []         # (path, entity, sequence) of ids when they first were answered 200
        self.arrived = self.bad = 0
        self.facts = []         # (path, type, subject, version) of what arrived

    def is_signed(self, headers, body):
        signed = headers[b"webhook-id"] + b"." + headers[b"webhook-timestamp"] + b"." + body
        given = headers[b"webhook-signature"].split(b" ")
        return any(b"v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest())
                   in given for key in self.keys)

    def take(self, path, headers, body):
        """The status of the answer."""
        if not self.is_signed(headers, body):
            self.bad += 1
            return 400
        name = (path, headers[b"webhook-id"])
        digest = zlib.crc32(body)
        row = self.ids.get(name)
        if row is None:
            row = self.ids[name] = [0, 0, digest, True]
            now = time.time() % DAY_S
            self.delays.append((now - seconds_of_day(OCCURRED.search(body)[1].decode())) % DAY_S)
        row[1] += 1
        row[3] = row[3] and row[2] == digest
        if row[1] == 1 and zlib.crc32(name[1]) % 100 < self.fail:
            return 500
        row[0] += 1
        if row[0] == 1:
            self.arrived += 1
            self.order.append((path, ENTITY.search(body)[1].decode(),
                               int(SEQUENCE.search(body)[1])))
            event = json.loads(body)
            self.facts.append((path, event["type"], event["data"]["id"],
                               event["data"].get("version")))
        return 200

    def dump(self, path):
        with open(path, "w", encoding="utf-8") as f:
            json.dump({"arrived": self.arrived, "bad": self.bad, "delays": self.delays,
                       "order": self.order, "facts": self.facts,
                       "requests": sum(row[1] for row in self.ids.values()),
                       "changed": sum(not row[3] for row in self.ids.values())}, f)


class Connection(asyncio.Protocol):
    """HTTP/1.1 with Content-Length, as much of it as egress speaks."""

    def __init__(self, seen):
        self.seen = seen
        self.buffer = b""
        self.transport = None

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            first, *lines = self.buffer[:end].split(b"\r\n")
            headers = {}
            for line in lines:
                key, _, value = line.partition(b":")
                headers[key.strip().lower()] = value.strip()
            size = end + 4 + int(headers.get(b"content-length", 0))
            if len(self.buffer) < size:
                return
            body, self.buffer = self.buffer[end + 4:size], self.buffer[size:]
            path = first.split(b" ")[1].decode()
            self.transport.write(ANSWER[self.seen.take(path, headers, body)])


async def serve(seen):
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(seen), "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := (await reader.readline()).decode().split():
        if line[0] == "dump":
            seen.dump(line[1])
        print(seen.arrived, flush=True)


class Sink:
    """The process, for whoever wants to send to it."""

    def __init__(self, secrets, fail=0):
        args = [arg for secret in secrets for arg in ("--secret", secret)]
        self.proc = subprocess.Popen([sys.executable, os.path.abspath(__file__), "--fail", str(fail),
                                      *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                     text=True)
        self.port = int(self.proc.stdout.readline())

    def url(self, path):
        return f"http://127.0.0.1:{self.port}{path}"

    def ask(self, line):
        self.proc.stdin.write(line + "\n")
        self.proc.stdin.flush()
        return int(self.proc.stdout.readline())

    def count(self):
        return self.ask("count")

    def dump(self, folder):
        path = os.path.join(folder, "sink.json")
        self.ask(f"dump {path}")
        with open(path, encoding="utf-8") as f:
            return json.load(f)

    def close(self):
        self.proc.stdin.close()
        self.proc.wait(10)
        self.proc.stdout.close()


def main():
    parser = argparse.ArgumentParser(description="Receives webhooks and says what came.")
    parser.add_argument("--secret", action="append", required=True)
    parser.add_argument("--fail", type=int, default=0)
    args = parser.parse_args()
    asyncio.run(serve(Seen(args.secret, args.fail)))


if __name__ == "__main__":
    main()
