#!/usr/bin/env python3
"""Export of the request log as XLSX over many rows: how long it takes, and by how much the server's
memory grows meanwhile, on SQLite and PostgreSQL.

    python3 bench/export_xlsx.py [--rows 1000000] [--database sqlite|postgres|both]
                                 [--format xlsx|csv|ndjson] [--tessera build/tessera]

The rows are written into the database while the server is down, all within the last two hours. Then
the server is started, asked for an export, and looked at until it is done; the file is fetched and
its rows are counted. Growth is the peak of the resident memory (VmHWM, set back before) less what
was resident before. Exit status: 0 within the target and no row missing, 1 not so, 2 could not run.
"""

import argparse
import json
import os
import re
import shutil
import sqlite3
import sys
import tempfile
import time
import zipfile

from harness import postgres, proc

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TARGET_MB = 64
TEAM = "00000000-0000-7000-8000-000000000001"
SPAN_MS = 2 * 3600 * 1000
TIMEOUT_S = 900
COLUMNS = ("id, team_id, token_id, endpoint, method, status_code, response_time_us, ip_address, "
           "user_agent, request_payload, error_message, created_ms")
ROUTES = ("/v1/tickets", "/v1/tickets/{ticket_id}", "/v1/contacts", "/v1/tickets/{ticket_id}/comments")
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0 Safari/537.36"
PAYLOAD = '{"title":"Printer on fire","priority":"high","metadata":{"customer_id":"CUST-123"}}'


def rollup(rows, begin_ms):
    """The statement that makes the counts say how many rows there are: progress is made of them."""
    hists = [f"b{i:02}" for i in range(40)]
    hour = begin_ms - begin_ms % 3600000
    return (f"INSERT INTO usage_rollup (team_id, grain, bucket_ms, token_id, route, class, n, sum_us, "
            f"{', '.join(hists)}) VALUES ('{TEAM}', 'h', {hour}, '*', '*', 2, {rows}, 0, "
            f"{', '.join('0' for _ in hists)})")


def load_sqlite(path, token, rows, begin_ms):
    conn = sqlite3.connect(path)
    step = SPAN_MS / rows

    def row(i):
        post = i % 4 == 0
        return (1 << 40 | i, TEAM, token, ROUTES[i % 4], "POST" if post else "GET",
                201 if post else 200, 300 + i % 5000, f"192.0.2.{i % 250}", AGENT,
                PAYLOAD if post else None, None, begin_ms + int(i * step))
    with conn:
        conn.executemany(f"INSERT INTO integration_token_usage ({COLUMNS}) VALUES "
                         f"({', '.join('?' * 12)})", map(row, range(1, rows + 1)))
        conn.execute("INSERT INTO usage_stream (stream, mark, seen_ms) VALUES (1, ?, ?)",
                     (1 << 40 | rows, begin_ms))
        conn.execute(rollup(rows, begin_ms))
    conn.close()


def load_postgres(pg, token, rows, begin_ms):
    pg.sql("exports", f"""
        INSERT INTO integration_token_usage ({COLUMNS})
        SELECT (1::bigint << 40) | i, '{TEAM}', '{token}',
               (ARRAY['{"','".join(ROUTES)}'])[i % 4 + 1], CASE WHEN i % 4 = 0 THEN 'POST' ELSE 'GET' END,
               CASE WHEN i % 4 = 0 THEN 201 ELSE 200 END, 300 + i % 5000, '192.0.2.' || i % 250,
               '{AGENT}', CASE WHEN i % 4 = 0 THEN '{PAYLOAD}' END, NULL,
               {begin_ms} + i::bigint * {SPAN_MS} / {rows}
        FROM generate_series(1, {rows}) AS s (i)""")
    pg.sql("exports", f"INSERT INTO usage_stream (stream, mark, seen_ms) VALUES "
                      f"(1, {1 << 40 | rows}, {begin_ms})")
    pg.sql("exports", rollup(rows, begin_ms))
    pg.sql("exports", "VACUUM ANALYZE")


def memory(pid, name):
    """VmRSS or VmHWM in MiB."""
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return int(re.search(rf"{name}:\s+(\d+) kB", f.read()).group(1)) / 1024


def call(port, token, method, path, body=None):
    status, text = proc.request(port, method, path, json.dumps(body) if body else None,
                                {"Authorization": "Bearer " + token,
                                 "Content-Type": "application/json"}, timeout=120)
    if status not in (200, 202):
        raise proc.BenchError(f"{method} {path}: {status} {text[:300]}")
    return text


def follow(port, token, export_id):
    """(the finished export, every progress that was seen)."""
    seen, end = [], time.monotonic() + TIMEOUT_S
    while time.monotonic() < end:
        job = json.loads(call(port, token, "GET", f"/v1/exports/{export_id}"))
        seen.append(job["progress"])
        if job["state"] in ("done", "failed"):
            return job, sorted(set(seen))
        time.sleep(0.2)
    raise proc.BenchError(f"the export is not done after {TIMEOUT_S} s")


def rows_of(content, work, form):
    """How many rows the file has, its header not counted."""
    if form != "xlsx":
        return content.count(b"\n") - (form == "csv")
    path = os.path.join(work, "fetched.xlsx")
    with open(path, "wb") as f:
        f.write(content)
    found = 0
    with zipfile.ZipFile(path) as book:
        for name in book.namelist():
            if name.startswith("xl/worksheets/sheet"):
                with book.open(name) as sheet:
                    found += count_rows(sheet) - 1
    os.unlink(path)
    return found


def count_rows(sheet):
    found, rest = 0, b""
    while piece := sheet.read(1 << 20):
        piece = rest + piece
        found += piece.count(b"<row ")
        rest = piece[-4:]
    return found


def measure(port, token, pid, args, work):
    call(port, token, "GET", "/v1/usage/requests?limit=10")
    with open(f"/proc/{pid}/clear_refs", "w", encoding="ascii") as f:
        f.write("5")                                                  # VmHWM begins anew
    before, begin = memory(pid, "VmRSS"), time.monotonic()
    started = json.loads(call(port, token, "POST", "/v1/exports",
                              {"source": "usage", "format": args.format, "to": "now"}))["job"]
    job, progress = follow(port, token, started["id"])
    took, growth = time.monotonic() - begin, memory(pid, "VmHWM") - before
    if job["state"] != "done":
        raise proc.BenchError(f"the export failed: {job['error']}")
    content = call(port, token, "GET", f"/v1/exports/{started['id']}/file")
    return took, before, growth, rows_of(content, work, args.format), len(content), progress


def bench(name, url, args, work, load):
    env = {"TESSERA_DATABASE": url, "TESSERA_MASTER_KEY": "be" * 32, "TESSERA_TMP_DIR": work}
    proc.run([args.tessera, "migrate"], env)
    made = json.loads(proc.run([args.tessera, "token", "create", "--name", "bench", "--rate-limit",
                                "1000000000", "--scopes", "admin:full", "--json"], env))
    load(made["id"], args.rows, int(time.time() * 1000) - SPAN_MS)
    port, log = proc.free_port(), os.path.join(work, name + ".log")
    child = proc.start([args.tessera, "serve", "--listen", f"127.0.0.1:{port}"], env, log)
    try:
        proc.wait_ready(child, port, "/readyz", log)
        took, before, growth, found, size, progress = measure(port, made["token"], child.pid, args,
                                                              work)
        print(f"{name:9} {found:>9,} rows {size / 2 ** 20:7.1f} MiB {took:6.1f} s "
              f"{found / took:>9,.0f} rows/s   memory {before:5.1f} + {growth:5.1f} MiB   "
              f"progress {progress}", flush=True)
        return growth < TARGET_MB and found >= args.rows
    finally:
        proc.stop(child)


def on_sqlite(args, work):
    path = os.path.join(work, "exports.db")
    return bench("sqlite", "sqlite:" + path, args, work,
                 lambda token, rows, begin: load_sqlite(path, token, rows, begin))


def on_postgres(args, work):
    with postgres.Postgres(work, {}) as pg:
        return bench("postgres", pg.create_database("exports"), args, work,
                     lambda token, rows, begin: load_postgres(pg, token, rows, begin))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rows", type=int, default=1000000)
    parser.add_argument("--database", choices=("sqlite", "postgres", "both"), default="both")
    parser.add_argument("--format", choices=("xlsx", "csv", "ndjson"), default="xlsx")
    parser.add_argument("--tessera", default=os.path.join(ROOT, "build", "tessera"))
    args = parser.parse_args()
    args.tessera = os.path.abspath(args.tessera)
    work = tempfile.mkdtemp(prefix="tessera-exports-", dir="/var/tmp")
    os.chmod(work, 0o755)  # PostgreSQL runs as another user
    runs = {"sqlite": [on_sqlite], "postgres": [on_postgres], "both": [on_sqlite, on_postgres]}
    try:
        return 0 if all([run(args, work) for run in runs[args.database]]) else 1
    except proc.BenchError as e:
        print(f"export_xlsx: {e}", file=sys.stderr)
        return 2
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
