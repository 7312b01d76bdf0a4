"""The real binary as a test fixture: start, command line, tokens, stop, kill.

A Server owns its folder, its database, its port and its process. The port is picked here and the
readiness is asked by GET /readyz, so nothing depends on the text of the log. Environment variables
named TESSERA_* of the caller do not reach the binary: the tests say all its settings.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

import requests

from .postgres import free_port
from .wait import SLOW, wait_until

V0 = "/functions/v1/integration-tickets"
MASTER_KEY = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0"
SANITIZER = re.compile(r"ERROR: \w*Sanitizer|WARNING: ThreadSanitizer|runtime error:|"
                       r"LeakSanitizer: detected")


def find_binary():
    """TESSERA_BIN, or build/tessera of this source tree."""
    root = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
    return os.environ.get("TESSERA_BIN") or os.path.join(root, "build", "tessera")


class Refused(Exception):
    """A command of the binary that did not end with exit status 0."""

    def __init__(self, done):
        super().__init__(f"{done.args} -> {done.returncode}\n{done.stdout}{done.stderr}")
        self.returncode = done.returncode
        self.stdout = done.stdout
        self.stderr = done.stderr

PROBE_AGENT = "harness-probe"     # its rows come first in truth.usage_rows


class Server:
    """One `tessera serve` process and everything that belongs to it."""

    host = "127.0.0.1"

    def __init__(self, backend, database=None, env=None, args=(), folder=None):
        self.backend = backend
        self.database = database
        self.binary = find_binary()
        self.own_folder = folder is None
        self.dir = folder or tempfile.mkdtemp(prefix="tessera-test-")
        self.db_path = os.path.join(self.dir, "tessera.db")
        self.log_path = os.path.join(self.dir, "server.log")
        self.args = list(args)
        self.port = free_port()
        self.proc = None
        self.scheme = "http"
        self.launch = {}
        self.env = {k: v for k, v in os.environ.items()
                    if not k.startswith("TESSERA_") and not k.lower().endswith("_proxy")}
        self.env.update(TESSERA_DATABASE=self.database_url, TESSERA_MASTER_KEY=MASTER_KEY,
                        TESSERA_TMP_DIR=self.dir)
        self.env.update(env or {})

    @property
    def database_url(self):
        return self.database.url if self.database else f"sqlite:{self.db_path}"

    @property
    def url(self):
        return f"{self.scheme}://{self.host}:{self.port}"

    @property
    def v0(self):
        """The base address of the document's ticket API."""
        return self.url + V0

    # --- the process -------------------------------------------------------------------------

    def start(self, timeout_s=15, wait=True):
        """Start serving; with `wait`, return when /readyz answers 200."""
        assert not self.is_running(), "the server is already running"
        for attempt in range(3):
            self.spawn()
            if not wait or self.wait_ready(timeout_s, may_die=attempt < 2):
                return self
            self.port = free_port()      # someone else took the port between the pick and the bind
        raise AssertionError("unreachable")

    def spawn(self):
        env = dict(self.env)
        env.setdefault("TESSERA_LISTEN", f"{self.host}:{self.port}")
        with open(self.log_path, "ab") as log:
            self.proc = subprocess.Popen([self.binary, "serve", *self.args], cwd=self.dir, env=env,
                                         stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                         **self.launch)

    def wait_ready(self, timeout_s, may_die=False):
        """True when ready; False when it died on a taken port and `may_die`; otherwise fails."""
        def ready_or_dead():
            if self.proc.poll() is not None:
                return "dead"
            return "ready" if self.probe("/readyz") == 200 else None
        try:
            state = wait_until(ready_or_dead, timeout_s, "GET /readyz answers 200", 0.01)
        except AssertionError as e:
            self.kill9()
            raise AssertionError(f"{e}\n{self.log_tail()}") from None
        if state == "ready":
            return True
        assert may_die and "in use" in self.log_tail().lower(), (
            f"the server ended with {self.proc.returncode} before it was ready\n{self.log_tail()}")
        return False

    def probe(self, path):
        """The status of a GET without a token, or None when nobody answers."""
        try:
            with requests.Session() as s:
                s.trust_env = False
                return s.get(self.url + path, timeout=2 * SLOW, verify=False).status_code
        except requests.RequestException:
            return None

    def is_running(self):
        return self.proc is not None and self.proc.poll() is None

    def kill9(self):
        """The hard kill: no chance to tidy up."""
        if self.is_running():
            self.proc.send_signal(signal.SIGKILL)
        if self.proc:
            self.proc.wait(10)

    def stop(self, timeout_s=10):
        """SIGTERM; fails unless it ends with status 0 in time. The seconds that it took."""
        assert self.is_running(), f"the server is not running\n{self.log_tail()}"
        began = time.monotonic()
        self.proc.send_signal(signal.SIGTERM)
        try:
            status = self.proc.wait(timeout_s * SLOW)
        except subprocess.TimeoutExpired:
            self.kill9()
            raise AssertionError(f"still alive {timeout_s} s after SIGTERM\n"
                                 f"{self.log_tail()}") from None
        assert status == 0, f"exit status {status} after SIGTERM\n{self.log_tail()}"
        return time.monotonic() - began

    def hangup(self):
        self.proc.send_signal(signal.SIGHUP)

    def close(self):
        """End of the fixture: a clean stop, a clean log, nothing left behind."""
        try:
            if self.is_running():
                self.stop()
            found = SANITIZER.search(self.log_text())
            assert not found, f"sanitizer report:\n{self.log_text()[found.start():][:6000]}"
        finally:
            self.kill9()
            if self.own_folder:
                shutil.rmtree(self.dir, ignore_errors=True)

    def log_text(self):
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def log_tail(self, size=4000):
        return self.log_text()[-size:]

    # --- the command line --------------------------------------------------------------------

    def run(self, *args, timeout_s=30, env=None):
        """Run a command of the binary with this server's settings; the finished process."""
        return subprocess.run([self.binary, *args], cwd=self.dir, env={**self.env, **(env or {})},
                              stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=timeout_s * SLOW, check=False)

    def cli(self, *args, **kwargs):
        """The same, returning what it printed; anything but exit status 0 is Refused."""
        done = self.run(*args, **kwargs)
        if done.returncode:
            raise Refused(done)
        return done.stdout

    def cli_json(self, *args, **kwargs):
        return json.loads(self.cli(*args, "--json", **kwargs))

    # --- tokens ------------------------------------------------------------------------------

    def new_token(self, name="test", rate_limit=1000000, scopes=None, expires_in=None, extra=(),
                  wait=True):
        """`tessera token create`; with `wait`, one request is spent to see that it is honoured."""
        args = ["token", "create", "--name", name, "--rate-limit", str(rate_limit)]
        if scopes is not None:
            args += ["--scopes", ",".join(scopes)]
        if expires_in is not None:
            args += ["--expires-in", expires_in]
        made = self.cli_json(*args, *extra)
        assert made["token"].startswith("stk_"), made
        if wait and self.is_running():
            self.wait_token(made["token"], {200, 403})
        return made

    def try_token(self, token, path=V0, method="GET", **kwargs):
        """The status that one request with this token gets."""
        headers = {"Authorization": f"Bearer {token}", "User-Agent": PROBE_AGENT,
                   **kwargs.pop("headers", {})}
        with requests.Session() as s:
            s.trust_env = False
            return s.request(method, self.url + path, headers=headers, timeout=10 * SLOW,
                             verify=False, **kwargs).status_code

    def wait_token(self, token, statuses, timeout_s=5.0):
        """Until a change of a token is honoured: within a second, but for a busy machine."""
        wait_until(lambda: self.try_token(token) in statuses, timeout_s,
                   f"the token is answered with one of {sorted(statuses)}")
