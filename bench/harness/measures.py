"""The measures: one function each, listed in MEASURES at the end. Contenders take turns
(A B C, A B C …), each on a fresh database, warmed up, never two at once."""

import os
import statistics
import time

from . import admin, load, make_loaded, proc
from .postgres import Postgres
from .servers import FastifyPostgres, FastifySqlite, Nginx, TesseraPostgres, TesseraSqlite

GET_IDS = 500
STARTS = 7
CALLS = 21

# How to ask for statistics: name, a field the answer must hold, and the call: ("http", path), which
# is judged, or ("cli", words…), which stands beside it: there the start of a process is most of it.
# {token} is the id of the token that owns half of the rows. A call that fails or lacks the field is
# reported as not measured, which counts as a target not reached.
STATS_CALLS = (
    ("per-token stats", "requests_today", ("http", "/v1/api-keys/{token}/stats")),
    ("dashboard", "active_keys", ("http", "/v1/usage/dashboard")),
    ("per-token stats by command line", "requests_today",
     ("cli", "stats", "--token", "{token}", "--json")),
    ("dashboard by command line", "active_tokens", ("cli", "stats", "--json")),
)


def ratio(a, b):
    return a / b if a is not None and b else None


def times(value):
    return "not measured" if value is None else f"{value:.2f}x"


def disk_name(delay_us):
    return "disk as it is" if delay_us == 0 else f"fsync +{delay_us / 1000:g} ms"


def create_session(bench, report, what, server):
    """Warm up, then one run per connection count; every acknowledged ticket must be in the
    database. Returns {connections: Result}."""
    before = server.tickets() if server.given else 0
    with server:
        warm = load.wrk(server, "create", bench.connections[0], bench.warm_s)
        out = {c: load.wrk(server, "create", c, bench.seconds) for c in bench.connections}
        server.halt()
        acknowledged = warm.answers + sum(r.answers for r in out.values())
        present = server.tickets() - before
    if warm.bad:
        report.troubles.append(f"{what}, {server.name}, warm-up: {warm.bad}")
    if present < acknowledged:
        report.troubles.append(f"{what}, {server.name}: {acknowledged} acknowledged, "
                               f"{present} in the database")
    return out


def take_turns(bench, report, what, contenders):
    """contenders: {name: function that makes a server}. {(name, connections): (req/s, p50, p99)}"""
    results = {}
    for turn in range(bench.rounds):
        for name, make in contenders.items():
            bench.say(f"{what}: {name}, round {turn + 1} of {bench.rounds}")
            for c, r in create_session(bench, report, what, make()).items():
                results.setdefault((name, c), []).append(r)
    return {key: report.runs(f"{what}, {key[1]} connections", key[0], rs)
            for key, rs in sorted(results.items(), key=lambda kv: kv[0][1])}


def compare(bench, report, what, figures, names, wants):
    """Rows for `names` = (ours, theirs) from take_turns(). wants = (least ratio or None,
    most of the p99 or None), judged at the first connection count; the others inform."""
    for c in bench.connections:
        ours, theirs = figures.get((names[0], c)), figures.get((names[1], c))
        rate = ratio(ours and ours[0], theirs and theirs[0])
        tail = ratio(ours and ours[2], theirs and theirs[2])
        judged = c == bench.connections[0]
        label = f"{what}, {c} connections"
        report.target(label, rate, (">=", wants[0]) if judged and wants[0] else None, times(rate))
        report.target(f"{label}, p99", tail, ("<=", wants[1]) if judged and wants[1] else None,
                      times(tail))


def ceiling(bench, report, what, preload):
    """Plain SQLite in batches, for scale."""
    for batch in (1, 1000):
        rates = []
        for _ in range(bench.rounds):
            path = os.path.join(bench.work, "plain.db")
            out = proc.run([bench.tool("plain_sqlite"), path, str(batch), "2"], preload)
            rates.append(float(out.split('"per_second":')[1].rstrip("}\n")))
            for tail in ("", "-wal", "-shm"):
                if os.path.exists(path + tail):
                    os.unlink(path + tail)
        report.figures.append((what, f"plain SQLite, {batch} per commit",
                               f"{statistics.median(rates):,.0f}",
                               f"{min(rates):,.0f}–{max(rates):,.0f}", "—", "—", "0"))


def measure_create(bench, report):
    for delay_us, want in ((0, 4.5), (1000, 20)):
        preload = bench.slow_disk(delay_us)
        what = f"durable create on SQLite, {disk_name(delay_us)}"
        contenders = {"fastify-sqlite": lambda p=preload: FastifySqlite(bench, p)}
        if bench.tessera:
            contenders = {"tessera-sqlite": lambda p=preload: TesseraSqlite(bench, p),
                          **contenders}
        figures = take_turns(bench, report, what, contenders)
        ceiling(bench, report, what, preload)
        compare(bench, report, f"{what}, against fastify + better-sqlite3", figures,
                ("tessera-sqlite", "fastify-sqlite"), (want, 0.5))


def measure_create_pg(bench, report):
    for delay_us, want in ((0, 2.5), (1000, None)):
        what = f"durable create on PostgreSQL, {disk_name(delay_us)}"
        with Postgres(bench.work, bench.slow_disk(delay_us)) as bench.postgres:
            contenders = {"fastify-pg": lambda: FastifyPostgres(bench)}
            if bench.tessera:
                contenders = {"tessera-postgres": lambda: TesseraPostgres(bench), **contenders}
            figures = take_turns(bench, report, what, contenders)
        compare(bench, report, f"{what}, against fastify + pg", figures,
                ("tessera-postgres", "fastify-pg"), (want, None))


def get_turn(bench, report, server, ids_file, size):
    """One turn of a server: (size, {connections: Result}). With `size` None it makes the tickets,
    writes ids_file and finds the size; else it takes both as they are."""
    with server:
        if size is None:
            ids, size = load.make_tickets(server, GET_IDS)
            with open(ids_file, "w") as f:
                f.write("\n".join(ids) + "\n")
        warm = load.wrk(server, "get", bench.connections[0], bench.warm_s, ids_file)
        if warm.bad:
            report.troubles.append(f"get ticket, {server.name}, warm-up: {warm.bad}")
        return size, {c: load.wrk(server, "get", c, bench.seconds, ids_file)
                      for c in bench.connections}


def measure_get(bench, report):
    """Without Tessera the peer on SQLite stands in, so that the parts can be tried."""
    first = TesseraSqlite if bench.tessera else FastifySqlite
    ids_file = os.path.join(bench.work, "ids.txt")
    results = {}
    for turn in range(bench.rounds):
        bench.say(f"get ticket: round {turn + 1} of {bench.rounds}")
        size, ours = get_turn(bench, report, first(bench), ids_file, None)
        _, theirs = get_turn(bench, report, Nginx(bench, size), ids_file, size)
        for name, found in ((first.name, ours), ("nginx", theirs)):
            for c, r in found.items():
                results.setdefault((name, c), []).append(r)
    figures = {key: report.runs(f"get ticket ({size} bytes), {key[1]} connections", key[0], rs)
               for key, rs in sorted(results.items(), key=lambda kv: kv[0][1])}
    compare(bench, report, "get ticket against nginx return 200", figures,
            ("tessera-sqlite", "nginx"), (0.5, None))


def measure_loaded(bench, report):
    if not bench.tessera:
        return
    loaded = make_loaded.get(bench)
    what = f"create with {loaded.words} present"
    figures = take_turns(bench, report, what, {
        "empty": lambda: TesseraSqlite(bench),
        "loaded": lambda: TesseraSqlite(bench, given=loaded)})
    compare(bench, report, f"{what}, against empty", figures, ("loaded", "empty"), (0.8, None))


def call_stats(server, call, field, token=None):
    """Milliseconds of one statistics call. BenchError when it fails or lacks `field`."""
    words = [w.replace("{token}", server.token_id) for w in call[1:]]
    begin = time.perf_counter()
    if call[0] == "cli":
        answer = server.tessera(*words)
    else:
        status, body = proc.request(server.port, "GET", words[0],
                                    headers={"Authorization": f"Bearer {token}"})
        answer = body.decode(errors="replace") if status == 200 else ""
    took_ms = (time.perf_counter() - begin) * 1e3
    if field not in answer:
        raise proc.BenchError(f"{' '.join(call[:3])} gave no {field}: {answer[:100]!r}")
    return took_ms


def stats_median(server, call, field, token):
    """(milliseconds or None, why not)."""
    try:
        return statistics.median(call_stats(server, call, field, token)
                                 for _ in range(CALLS)), ""
    except proc.BenchError as e:
        return None, str(e)


def measure_stats(bench, report):
    """Statistics while the server runs, each call on a connection of its own."""
    if not bench.tessera:
        return
    loaded = make_loaded.get(bench)
    with TesseraSqlite(bench, given=loaded) as server:
        start = statistics.median(call_stats(server, ("cli", "version"), "")
                                  for _ in range(CALLS))
        token = admin.admin_token(server)
        for name, field, call in STATS_CALLS:
            what = f"{name} with {loaded.words}"
            took, why = stats_median(server, call, field, token)
            text = "not measured"
            if took is None:
                report.notes.append(f"{what}: not measured: {why}")
            else:
                text = f"{took:.1f} ms"
                if call[0] == "cli":
                    text += f" (starting a process alone {start:.1f})"
            report.target(what, took, ("<=", 10, "10 ms") if call[0] == "http" else None, text)


def measure_idle(bench, report):
    """Memory at rest and time from exec to the first answer, on a database that exists."""
    kinds = [TesseraSqlite] if bench.tessera else []
    servers = [kind(bench) for kind in kinds + [FastifySqlite]]
    if bench.tessera and make_loaded.is_ready(bench):
        servers.append(TesseraSqlite(bench, given=make_loaded.get(bench)))
    for server in servers:
        starts = []
        with server:
            load.make_tickets(server, 100)
            for _ in range(STARTS):
                server.halt()
                server.launch()
                starts.append(server.start_s * 1e3)
            time.sleep(1.5)
            memory = proc.rss_mb(server.pid)
        start = statistics.median(starts)
        on = f", {server.given.words}" if server.given else ""
        wants = (("<=", 25, "25 MB"), ("<=", 150, "150 ms"))
        if not isinstance(server, TesseraSqlite):
            wants = (None, None)
        report.target(f"idle memory, {server.name}{on}", memory, wants[0], f"{memory:.1f} MB")
        report.target(f"start to first answer, {server.name}{on}", start, wants[1],
                      f"{start:.0f} ms")


MEASURES = {
    "create": measure_create,
    "create-pg": measure_create_pg,
    "get": measure_get,
    "loaded": measure_loaded,
    "stats": measure_stats,
    "idle": measure_idle,
    "limits": admin.measure_limits,
    "verify": admin.measure_verify,
}
