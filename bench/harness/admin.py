"""Measures of the administration API: what scopes and named limits add to a request, key
verification for gateways. Both on Tessera alone, against its own plain request or a fixed target."""

import json
import os
import time
from types import SimpleNamespace

from . import load, proc
from .servers import RATE_LIMIT, TesseraSqlite

GET_IDS = 500
VERIFY_CONNECTIONS = 64
THINK_MS = 6
FEED_S = 5
SCOPES = ["tickets:read", "tickets:write", "tickets:comment", "contacts:read", "reports:read"]
LIMITS = [{"name": "burst", "requests": 100000000, "window": 10000},
          {"name": "hourly", "requests": 100000000, "window": 3600000},
          {"name": "daily", "requests": 100000000, "window": 86400000}]


def call(server, token, method, path, body=None):
    """The decoded answer of one call; BenchError unless 2xx."""
    status, reply = proc.request(server.port, method, path,
                                 json.dumps(body) if body is not None else None,
                                 {"Authorization": "Bearer " + token,
                                  "Content-Type": "application/json"})
    if status // 100 != 2:
        raise proc.BenchError(f"{method} {path} answered {status}: {reply[:200]}")
    return json.loads(reply) if reply else None


def admin_token(server):
    """A key that may do everything, known to the running server, which looks for new ones five
    times a second."""
    made = json.loads(server.tessera("token", "create", "--name", "admin", "--rate-limit",
                                     RATE_LIMIT, "--scopes", "admin:full", "--json"))
    headers = {"Authorization": "Bearer " + made["token"]}
    until = time.monotonic() + FEED_S
    while proc.request(server.port, "GET", "/v1/api-keys", headers=headers)[0] == 401:
        if time.monotonic() > until:
            raise proc.BenchError("the server does not know a new key")
        time.sleep(0.05)
    return made["token"]


def session(server, token):
    """What load.wrk asks of a server, with another key."""
    return SimpleNamespace(base=server.base, token=token, port=server.port, path=server.path)


def measure_limits(bench, report):
    """GET with scopes and three named limits, against GET with a plain key. Each key reads its own
    tickets, so both do the same look-up."""
    if not bench.tessera:
        return
    what = "get ticket with a key"
    with TesseraSqlite(bench) as server:
        admin = admin_token(server)
        rich = call(server, admin, "POST", "/v1/api-keys",
                    {"name": "rich", "scopes": SCOPES, "limits": LIMITS,
                     "rate_limit": int(RATE_LIMIT)})
        figures = {}
        for name, token in (("plain", server.token), ("rich", rich["token"])):
            who = session(server, token)
            ids, _ = load.make_tickets(who, GET_IDS)
            with open(os.path.join(bench.work, f"ids-{name}.txt"), "w") as f:
                f.write("\n".join(ids) + "\n")
        for turn in range(bench.rounds):
            for name, token in (("plain", server.token), ("rich", rich["token"])):
                bench.say(f"{what}: {name}, round {turn + 1} of {bench.rounds}")
                ids_file = os.path.join(bench.work, f"ids-{name}.txt")
                who = session(server, token)
                load.wrk(who, "get", bench.connections[0], bench.warm_s, ids_file)
                figures.setdefault(name, []).append(
                    load.wrk(who, "get", bench.connections[0], bench.seconds, ids_file))
    plain = report.runs(what, "plain", figures["plain"])
    rich = report.runs(what, "scopes and 3 limits", figures["rich"])
    cost = plain[0] / rich[0] if plain and rich and rich[0] else None
    report.target("a GET with scopes and three named limits, against a plain one", cost,
                  ("<=", 1.1, "1.1x"), "not measured" if cost is None else f"{cost:.2f}x")


def measure_verify(bench, report):
    """POST /v1/api-keys/verify by a gateway over 64 connections: paced, which the target is about,
    and with the machine full, where p99 tells of the queue for its cores."""
    if not bench.tessera:
        return
    what = f"verify a key, {VERIFY_CONNECTIONS} connections"
    modes = {"paced": [], "post": []}
    with TesseraSqlite(bench) as server:
        admin = admin_token(server)
        key = call(server, admin, "POST", "/v1/api-keys",
                   {"name": "asked", "scopes": SCOPES, "limits": LIMITS,
                    "rate_limit": int(RATE_LIMIT)})
        file = os.path.join(bench.work, "verify.txt")
        with open(file, "w") as f:
            f.write("/v1/api-keys/verify\n" + json.dumps({"key": key["token"]}) + "\n")
        who = session(server, admin)
        load.wrk(who, "paced", VERIFY_CONNECTIONS, bench.warm_s, file, THINK_MS)
        for mode, results in modes.items():  # in this order: a full machine leaves work behind
            for turn in range(bench.rounds):
                bench.say(f"{what}: {mode}, round {turn + 1} of {bench.rounds}")
                results.append(load.wrk(who, mode, VERIFY_CONNECTIONS, bench.seconds, file,
                                        THINK_MS))
    found = report.runs(what, f"each asks every {THINK_MS} ms", modes["paced"])
    report.runs(what, "each asks at once again", modes["post"])
    p99 = found[2] if found else None
    report.target(f"{what}, p99", p99, ("<=", 1, "1 ms"),
                  "not measured" if p99 is None else f"{p99:.2f} ms")
