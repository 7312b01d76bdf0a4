"""Every allocation on the path of a delivery and of a webhook that comes in fails once, in our code or
in a library: the state is right afterwards.

A small preloaded library (alloc_fail.c) counts the allocations of the running server and lets the nth
one fail. Ours end the process by design, a library refuses or ends what it was doing; either way an
acknowledged change arrives, and a webhook that came in is stored once and processed, after its sender
has tried again at most.
"""

import contextlib
import mmap
import os
import struct
import subprocess

import pytest
import requests
from harness import truth
from harness.receiver import Receiver
from harness.senders import Sender
from harness.wait import wait_until
from test_webhook_steps import ENV, OPEN, Walk

SAMPLES = 24        # of an ordinary run
SOURCE = os.path.join(os.path.dirname(__file__), "alloc_fail.c")


class Control:
    """The two numbers that the preloaded library shares with the test."""

    def __init__(self, folder):
        self.path = os.path.join(folder, "control")
        with open(self.path, "wb") as f:
            f.write(bytes(16))
        with open(self.path, "r+b") as f:
            self.shared = mmap.mmap(f.fileno(), 16)

    def arm(self, n):
        self.shared[0:8] = struct.pack("=q", n)

    def seen(self):
        return struct.unpack("=q", self.shared[8:16])[0]

    def has_failed(self):
        return struct.unpack("=q", self.shared[0:8])[0] <= 0


class Scene(Walk):
    """A walk over deliveries, beside it a sender of webhooks that come in."""

    def __init__(self, server, receiver, control):
        super().__init__(server, receiver)
        self.control = control
        self.sender = Sender(self.team)
        self.sender.outside.check = False
        self.keys = set()

    def arrive(self, key):
        """Whether the server has acknowledged a webhook with that key."""
        self.sender.outside.session.close()
        try:
            return self.sender.send(key=key).status_code == 200
        except requests.RequestException:
            return False

    def is_quiet(self):
        return super().is_quiet() and not truth.value(
            self.server, "SELECT count(*) FROM webhook_log WHERE state = 'received'")

    def both(self, n):
        """A change and an arrival, until all that follows is done or the process has ended."""
        key = f"allocation-{n}"
        self.keys.add(key)
        self.change(n)
        has_arrived = self.arrive(key)
        wait_until(lambda: not self.server.is_running() or self.is_quiet() or
                   self.control.has_failed(), 15, f"allocation {n}: done, or met the fault", 0.005)
        return has_arrived

    def mend(self, n, has_arrived):
        """The operator starts it again, the sender tries again."""
        self.control.arm(0)
        where = f"allocation {n}"
        if not self.server.is_running():
            self.server.kill9()
            self.server.start()
        if not has_arrived:
            wait_until(lambda: self.is_alive_and_takes(f"allocation-{n}"), 10, f"{where}: taken")
        wait_until(self.is_alive_and_quiet, 20, f"{where}: nothing is stuck")

    def is_alive_and_takes(self, key):
        if not self.server.is_running():
            self.server.start()
        return self.arrive(key)

    def is_alive_and_quiet(self):
        if not self.server.is_running():
            self.server.start()
        return self.is_quiet()

    def check_all(self, where):
        self.check(where)
        found = dict(truth.rows(self.server, "SELECT event_key, count(*) FROM webhook_log WHERE "
                                             "state = 'processed' GROUP BY event_key"))
        assert found == {key: 1 for key in self.keys}, where


@pytest.fixture(scope="module")
def scene(make_server, tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("alloc"))
    library = os.path.join(folder, "alloc_fail.so")
    subprocess.run([os.environ.get("CC", "cc"), "-O2", "-shared", "-fPIC", "-o", library, SOURCE],
                   check=True)
    control = Control(folder)
    env = {**ENV, "TESSERA_JOB_WORKERS": "1", "TESSERA_JOB_LEASE_S": "2", "LD_PRELOAD": library,
           "ALLOC_FAIL": control.path, "TESSERA_BAD_TOKEN_LIMIT": "0"}
    with contextlib.closing(make_server(env)) as server, Receiver() as receiver:
        yield Scene(server, receiver, control)


def test_an_allocation_that_fails_loses_nothing(scene, request):
    for n in (-1, 0):           # the first ones fill caches
        scene.mend(n, scene.both(n))
    before = scene.control.seen()
    scene.mend(1000000, scene.both(1000000))
    total = scene.control.seen() - before
    assert total > 50
    stride = 1 if request.config.getoption("--every-step") else max(1, total // SAMPLES)

    deaths = 0
    for n in range(1, total + 1, stride):
        scene.control.arm(n)
        has_arrived = scene.both(n)
        deaths += not scene.server.is_running()
        scene.mend(n, has_arrived)

    scene.check_all(f"after {total} allocations by {stride}")
    assert scene.server.is_running()
    truth.check_integrity(scene.server)
    print(f"{total} allocations, every {stride}th failed: the process ended {deaths} times")
