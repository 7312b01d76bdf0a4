#!/usr/bin/env python3
"""Fill a Tessera database on SQLite: a million tickets of 25 days and ten million usage rows of
the last 20 hours, all in the live table (the server moves older ones to day files, so this is the
worst it meets), with the rollups of 25 such days.

    make_data.py FILE [--tickets 1000000] [--usage 10000000]

FILE must be migrated, hold at least one token (the oldest gets half of everything, the others
share the rest) and be used by no server. The rows come from the tables below: column -> SQL
expression over `i` (row number), `at_ms` (its time) and the token `team_id`, `token_id`. When a
migration changes a table, change its row here and nothing else.
"""

import argparse
import sqlite3
import sys
import time

DAYS = 25
HOUR_MS = 3600000
DAY_MS = 24 * HOUR_MS
USAGE_MS = 20 * HOUR_MS
BURST = 1000  # so many rows in a row belong to one token
HIST_BUCKETS = 40  # b00…b39: up to 2^(i/2) * 16 µs, the last takes the rest

UUID = ("printf('%08x-%04x-7%03x-8%03x-%012x', at_ms >> 16, at_ms & 65535, i & 4095, "
        "(i >> 12) & 4095, (i * 2654435761) & 281474976710655)")
METADATA = """printf('{"customer_id":"CUST-%d","reference_id":"EXT-%d"}', i % 5000, i)"""

TICKETS = {
    "team_id": "team_id",
    "id": UUID,
    "token_id": "token_id",
    "integration_source": "'bench'",
    "title": "printf('Issue %d with API integration', i)",
    "description": "'Detailed description of the issue, as a caller would write it.'",
    "status": "CASE i % 5 WHEN 0 THEN 'open' WHEN 1 THEN 'in_progress' WHEN 2 THEN 'waiting' "
              "WHEN 3 THEN 'resolved' ELSE 'closed' END",
    "priority": "CASE i % 4 WHEN 0 THEN 'low' WHEN 1 THEN 'medium' WHEN 2 THEN 'high' "
                "ELSE 'urgent' END",
    "category": "CASE i % 3 WHEN 0 THEN 'Billing' WHEN 1 THEN 'Technical Support' END",
    "metadata": METADATA,
    "version": "1",
    "created_ms": "at_ms",
    "updated_ms": "at_ms",
}

ENDPOINT = "'/functions/v1/integration-tickets/tickets'"
USAGE = {
    "id": "(:stream << 40) + i + 1",
    "team_id": "team_id",
    "token_id": "token_id",
    "endpoint": f"CASE i % 3 WHEN 0 THEN {ENDPOINT} ELSE {ENDPOINT} || '/{{id}}' END",
    "method": "CASE i % 3 WHEN 0 THEN 'POST' ELSE 'GET' END",
    "status_code": "CASE WHEN i % 50 = 7 THEN 404 WHEN i % 997 = 5 THEN 429 "
                   "WHEN i % 3 = 0 THEN 201 ELSE 200 END",
    "response_time_us": "80 + (i * 7919) % 1500 + (i % 100 = 0) * 20000",
    "ip_address": "'127.0.0.1'",
    "user_agent": "'curl/7.88.1'",
    "request_payload": """CASE i % 3 WHEN 0 THEN '{"title":"Issue with API integration"}' END""",
    "created_ms": "at_ms",
}

# Rollup rows are sums over the usage rows: one group per these expressions.
ROLLUP_KEY = {
    "team_id": "team_id",
    "bucket_ms": "created_ms / 60000 * 60000",
    "token_id": "token_id",
    "route": "method || ' ' || endpoint",
    "class": "CASE status_code WHEN 429 THEN 429 ELSE status_code / 100 END",
}
GRAINS = (("m", 60000, 7), ("h", HOUR_MS, DAYS), ("d", DAY_MS, DAYS))  # name, ms, days


def hist_columns():
    """column -> expression that is 1 when response_time_us falls into its bucket."""
    out, low = {}, -1
    for n in range(HIST_BUCKETS):
        high = int(2 ** (n / 2) * 16)
        upper = f" AND response_time_us <= {high}" if n < HIST_BUCKETS - 1 else ""
        out[f"b{n:02}"] = f"response_time_us > {low}{upper}"
        low = high
    return out


def fill(db, table, columns, count, span, words):
    """INSERT `count` rows made of `columns`, evenly spread over `span` = (start, length in ms);
    `words` are the values of the expressions' :names."""
    db.execute(f"""
        INSERT INTO {table} ({", ".join(columns)})
        WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {count}),
        base AS (SELECT i, {span[0]} + i * {span[1]} / {count} AS at_ms, CASE (i / {BURST}) % 2
                 WHEN 0 THEN 0 ELSE i / {BURST} / 2 % (SELECT count(*) FROM bench_token) END AS t
                 FROM n)
        SELECT {", ".join(columns.values())}
        FROM base JOIN bench_token ON bench_token.n = base.t""", words)


def fill_rollups(db):
    """Minutes first, into a temporary table; hours and days are sums of them. Earlier days are
    copies of this one, as the rows behind them have moved to day files."""
    sums = {"n": "1", "sum_us": "response_time_us", **hist_columns()}
    db.execute("CREATE TEMP TABLE minute AS SELECT " +
               ", ".join(f"{e} AS {c}" for c, e in ROLLUP_KEY.items()) + ", " +
               ", ".join(f"SUM({e}) AS {c}" for c, e in sums.items()) +
               " FROM integration_token_usage GROUP BY 1, 2, 3, 4, 5")
    others = [c for c in ROLLUP_KEY if c != "bucket_ms"]
    for grain, ms, days in GRAINS:
        db.execute(f"""
            INSERT INTO usage_rollup (grain, bucket_ms, {", ".join(others)}, {", ".join(sums)})
            WITH RECURSIVE ago(k) AS (SELECT 0 UNION ALL SELECT k + 1 FROM ago WHERE k < {days - 1})
            SELECT '{grain}', (bucket_ms - k * {DAY_MS}) / {ms} * {ms} AS bucket,
            {", ".join(others)}, {", ".join(f"SUM({c})" for c in sums)}
            FROM ago, minute GROUP BY bucket, {", ".join(others)}""")
    db.execute("DROP TABLE minute")
    # The sums for ever ('t', per token) and those of the team (token and route '*') in each grain.
    keep = [c for c in others if c not in ("token_id", "route")]
    adds = ", ".join(f"SUM({c})" for c in sums)
    for grain, bucket, token, source in (
            ("'t'", "0", "token_id", "grain = 'd'"), ("grain", "bucket_ms", "'*'", "token_id <> '*'")):
        db.execute(f"""
            INSERT INTO usage_rollup (grain, bucket_ms, token_id, route, {", ".join(keep)},
                                      {", ".join(sums)})
            SELECT {grain}, {bucket}, {token} AS owner, '*', {", ".join(keep)}, {adds}
            FROM usage_rollup WHERE {source}
            GROUP BY {grain}, {bucket}, owner, {", ".join(keep)}""".replace("GROUP BY 't', 0,", "GROUP BY"))


def make(path, tickets, usage, say=print):
    db = sqlite3.connect(path, isolation_level=None)
    now_ms = int(time.time() * 1000)
    for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -1000000",
                   "temp_store = MEMORY", "foreign_keys = OFF"):
        db.execute(f"PRAGMA {pragma}")
    db.execute("CREATE TEMP TABLE bench_token AS SELECT row_number() OVER (ORDER BY created_ms, "
               "id) - 1 AS n, team_id, id AS token_id FROM integration_tokens")
    if db.execute("SELECT count(*) FROM bench_token").fetchone()[0] == 0:
        sys.exit("make_data: the database has no token")
    # The next stream number, taken as the server takes it (src/core/usage_write.c).
    stream = int(db.execute(
        "INSERT INTO meta (name, value) VALUES ('usage_stream', '1') ON CONFLICT (name) "
        "DO UPDATE SET value = CAST(CAST(meta.value AS BIGINT) + 1 AS TEXT) RETURNING value").fetchone()[0])
    days, hours = DAYS * DAY_MS, USAGE_MS
    steps = (
        ("tickets", lambda: fill(db, "tickets", TICKETS, tickets, (now_ms - days, days), {})),
        ("usage rows", lambda: fill(db, "integration_token_usage", USAGE, usage,
                                    (now_ms - hours, hours), {"stream": stream})),
        ("rollups", lambda: fill_rollups(db)),
    )
    for name, step in steps:
        begin = time.monotonic()
        db.execute("BEGIN")
        step()
        db.execute("COMMIT")
        say(f"{name}: {time.monotonic() - begin:.0f} s")
    db.execute("INSERT INTO usage_stream (stream, mark, seen_ms) VALUES (?, ?, ?)",
               (stream, usage, now_ms))
    db.execute("ANALYZE")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA journal_mode = WAL")
    db.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file")
    parser.add_argument("--tickets", type=int, default=1000000)
    parser.add_argument("--usage", type=int, default=10000000)
    args = parser.parse_args()
    make(args.file, args.tickets, args.usage)


if __name__ == "__main__":
    main()
