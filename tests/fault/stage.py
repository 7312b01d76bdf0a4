"""A server that is killed at a chosen step and started again: what the walks over steps stand on.

TESSERA_FAULT counts the points that the process passes from its start on, so a walk begins with the
first count that lets the server start.
"""

import contextlib

from harness.wait import wait_until

COUNTS_MAX = 3
STEPS_MAX = 60          # points in one start, or in one write; a walk that needs more fails
KINDS = ["db", "commit", "committed"]


class Stage:
    """One server on one database, started and killed at will."""

    def __init__(self, server):
        self.server = server
        self.first = {}

    def start_with(self, fault):
        """Start with the fault; False when it ended the start itself."""
        self.server.env["TESSERA_FAULT"] = fault
        try:
            self.server.start(wait=False)
            wait_until(lambda: not self.server.is_running() or self.server.probe("/readyz") == 200,
                       10, "ready, or ended by the fault", 0.005)
        finally:
            del self.server.env["TESSERA_FAULT"]
        return self.server.is_running()

    def recover(self):
        """What follows a kill: a start that makes good what it left behind.

        Nodes that share a PostgreSQL take each other for lost after a minute of silence; this
        makes the dead server look as long dead."""
        self.server.kill9()
        if self.server.database:
            with contextlib.closing(self.server.database.connect_admin()) as conn:
                conn.cursor().execute("UPDATE usage_stream SET seen_ms = 0")
        self.server.start()

    def stop(self):
        if self.server.is_running():
            self.server.stop()

    def starts_clean_with(self, fault):
        """A start after an orderly stop: one after a kill passes more points."""
        self.recover()
        self.stop()
        return self.start_with(fault)

    def first_step(self, kind):
        """The smallest count that lets a server start. Every smaller one kills a start, and the
        next start has to succeed."""
        if kind not in self.first:
            alive = (n for n in range(1, STEPS_MAX) if self.starts_clean_with(f"{kind}:{n}:kill"))
            self.first[kind] = next(alive, None)
            assert self.first[kind], f"a start passes more than {STEPS_MAX} points of {kind}"
            while self.first[kind] > 1 and self.starts_clean_with(f"{kind}:{self.first[kind] - 1}:kill"):
                self.first[kind] -= 1       # the machine was busy just then
            self.recover()
        return self.first[kind]

    def meets(self, kind, walk):
        """Whether the fault met what `walk` is about, which says so. A start that was counted on a
        busy machine may have passed more points than others do, and a walk that begins there comes
        too late: then it is counted again."""
        for _ in range(COUNTS_MAX):
            if walk():
                return True
            self.first.pop(kind, None)
        return False
