"""A receiver of webhooks on this machine that verifies with the published libraries of npm
(tests/npm, installed by scripts/setup.sh test)."""

import json
import os
import shutil
import subprocess

import requests

from .wait import wait_until

FOLDER = os.path.join(os.path.dirname(__file__), "..", "..", "npm")


class Delivery:
    """One that came."""

    def __init__(self, seen):
        self.headers, self.text, self.at_ms = seen["headers"], seen["body"], seen["at_ms"]
        self.body = json.loads(self.text)
        self.verdicts = {name: seen[name] for name in ("standardwebhooks", "svix")}
        self.id = self.headers.get("webhook-id")

    def is_verified(self):
        return all(v["ok"] for v in self.verdicts.values())


class Verifier:
    """The process; each test takes a name of its own in it."""

    def __init__(self):
        assert shutil.which("node"), "node is missing: scripts/setup.sh test"
        self.proc = subprocess.Popen(["node", os.path.join(FOLDER, "receiver.js")],
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        line = self.proc.stdout.readline()
        assert line, "the receiver did not start: scripts/setup.sh test installs what it needs"
        self.base = f"http://127.0.0.1:{int(line)}"
        self.session = requests.Session()
        self.session.trust_env = False

    def close(self):
        self.session.close()
        self.proc.stdin.close()
        self.proc.wait(10)
        self.proc.stdout.close()

    def url(self, name):
        return f"{self.base}/{name}"

    def treat(self, name, **how):
        """secrets=[…], status=…, headers={…}, body=…, hang=True; what is not named stays."""
        reply = self.session.put(f"{self.base}/-/{name}", json=how, timeout=10)
        assert reply.status_code == 200, reply.text

    def seen(self, name):
        return [Delivery(d) for d in self.session.get(f"{self.base}/-/{name}", timeout=10).json()]

    def wait(self, name, count, timeout_s=15):
        """The deliveries to this name once there are `count` of them."""
        return wait_until(lambda: (got := self.seen(name)) and len(got) >= count and got, timeout_s,
                          f"{count} deliveries came to {name}")
