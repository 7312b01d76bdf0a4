"""Child processes: start, wait for the first answer, memory, stop. Every child started here is
stopped by its own process object; nothing is looked up or killed by name."""

import http.client
import os
import socket
import subprocess
import time

READY_TIMEOUT_S = 60
STOP_TIMEOUT_S = 20


class BenchError(Exception):
    """The bench cannot go on; the text says why and what to do."""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start(argv, env=None, log=None, cwd=None, **more):
    """Start `argv` with `env` on top of a small environment; output goes to the file `log`."""
    base = {k: os.environ[k] for k in ("PATH", "HOME", "LANG") if k in os.environ}
    base.update(env or {})
    with open(log or os.devnull, "ab") as out:
        return subprocess.Popen(argv, env=base, cwd=cwd, stdin=subprocess.DEVNULL, stdout=out,
                                stderr=out, start_new_session=True, **more)


def stop(child, sig=15):
    """Ask to stop, wait, then kill. Returns the seconds it took."""
    begin = time.monotonic()
    if child.poll() is None:
        child.send_signal(sig)
        try:
            child.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    return time.monotonic() - begin


def run(argv, env=None, timeout=600, **more):
    """Run to the end and return stdout; BenchError with its last words when it fails."""
    base = dict(os.environ)
    base.update(env or {})
    try:
        done = subprocess.run(argv, env=base, timeout=timeout, capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, check=False, **more)
    except (OSError, subprocess.TimeoutExpired) as e:
        raise BenchError(f"{argv[0]}: {e}") from e
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip()[-400:]
        raise BenchError(f"{os.path.basename(argv[0])} {' '.join(argv[1:3])}: "
                         f"exit {done.returncode}: {words}")
    return done.stdout


def request(port, method, path, body=None, headers=None, timeout=10):
    """One HTTP exchange on a connection of its own: (status, body bytes)."""
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        c.request(method, path, body, headers or {})
        reply = c.getresponse()
        return reply.status, reply.read()
    finally:
        c.close()


def wait_ready(child, port, path, log=None):
    """Seconds until GET `path` answers below 500, asked again every millisecond."""
    begin = time.monotonic()
    while time.monotonic() - begin < READY_TIMEOUT_S:
        if child.poll() is not None:
            raise BenchError(f"the server ended at start (status {child.returncode}){tail(log)}")
        try:
            if request(port, "GET", path)[0] < 500:
                return time.monotonic() - begin
        except OSError:
            pass
        time.sleep(0.001)
    raise BenchError(f"no answer on GET {path} within {READY_TIMEOUT_S} s{tail(log)}")


def tail(log):
    if not log or not os.path.exists(log):
        return ""
    with open(log, errors="replace") as f:
        return ": " + f.read()[-400:].strip()


def rss_mb(pid):
    with open(f"/proc/{pid}/status") as f:
        for line in f:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
    raise BenchError("no VmRSS")
