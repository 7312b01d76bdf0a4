"""One wrk run and its figures."""

import json
import os
from dataclasses import dataclass

from . import proc

HOLD_MS = 300
CLIENT_TIMEOUT_S = 15
SCRIPT = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "load.lua")


@dataclass
class Result:
    """What wrk saw. `answers` counts all answers, `bad` those that were not 2xx or failed."""
    per_second: float
    p50_ms: float
    p99_ms: float
    answers: int
    bad: dict


def wrk_threads():
    """One thread drives about 200k requests a second; more would take cores from the server."""
    return max(1, (os.cpu_count() or 1) // 2)


def wrk(session, mode, connections, seconds, ids_file="-", hold_ms=HOLD_MS):
    threads = min(wrk_threads(), connections)
    connections -= connections % threads
    out = proc.run(["wrk", f"-t{threads}", f"-c{connections}", f"-d{seconds}s",
                    f"--timeout={CLIENT_TIMEOUT_S}s", "-s", SCRIPT, session.base, "--", mode,
                    session.token, str(connections // threads), str(hold_ms), ids_file],
                   timeout=seconds + 120)
    line = next((x for x in out.splitlines() if x.startswith("RESULT ")), None)
    if line is None:
        raise proc.BenchError(f"wrk gave no result: {out[-300:]}")
    r = json.loads(line[len("RESULT "):])
    busy_s = r["duration_us"] / 1e6 - (HOLD_MS / 1e3 if mode == "create" else 0)
    bad = {k: r[k] for k in ("non_2xx", "connect", "read", "write", "timeout") if r[k]}
    if not r["requests"]:
        bad["no_answers"] = 1
    return Result(r["requests"] / busy_s, r["p50_us"] / 1e3, r["p99_us"] / 1e3, r["requests"], bad)


def make_tickets(session, count):
    """Create `count` tickets one by one; returns their ids and the bytes of one GET reply."""
    headers = {"Authorization": "Bearer " + session.token, "Content-Type": "application/json"}
    body = json.dumps({"title": "Issue with API integration", "priority": "high",
                       "description": "Detailed description of the issue, as a caller would "
                       "write it in a few words and then some more.",
                       "category": "Technical Support",
                       "metadata": {"customer_id": "CUST-123", "reference_id": "EXT-456"}})
    ids = []
    for _ in range(count):
        status, reply = proc.request(session.port, "POST", session.path + "/tickets", body, headers)
        if status != 201:
            raise proc.BenchError(f"POST /tickets answered {status}: {reply[:200]}")
        ids.append(json.loads(reply)["ticket"]["id"])
    status, reply = proc.request(session.port, "GET", f"{session.path}/tickets/{ids[0]}",
                                 headers=headers)
    if status != 200:
        raise proc.BenchError(f"GET /tickets/ID answered {status}: {reply[:200]}")
    return ids, len(reply)
