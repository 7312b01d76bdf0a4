"""What the database itself says, past the server: the second witness of the tests.

Reads as the file's owner on SQLite and as a superuser on PostgreSQL, so that nothing is hidden by
row-level security. Statements use ? for their arguments on both.
"""

import contextlib
import sqlite3

from .wait import wait_until

USAGE_COLUMNS = ("token_id", "endpoint", "method", "status_code", "response_time_us", "ip_address",
                 "user_agent", "request_payload", "error_message", "created_ms")


def rows(server, statement, *args):
    """Every row of one SELECT, as tuples."""
    if server.backend == "sqlite":
        uri = f"file:{server.db_path}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=10)) as conn:
            return conn.execute(statement, args).fetchall()
    with contextlib.closing(server.database.connect_admin()) as conn, conn.cursor() as cur:
        cur.execute(statement.replace("?", "%s"), args)
        return cur.fetchall()


def value(server, statement, *args):
    """The first column of the first row."""
    return rows(server, statement, *args)[0][0]


def execute(server, statement, *args):
    """A statement that changes rows, past every check of the server."""
    if server.backend == "sqlite":
        with contextlib.closing(sqlite3.connect(server.db_path, timeout=10)) as conn, conn:
            conn.execute(statement, args)
        return
    with contextlib.closing(server.database.connect_admin()) as conn, conn.cursor() as cur:
        cur.execute(statement.replace("?", "%s"), args)
        conn.commit()


@contextlib.contextmanager
def kept_answers_locked(server):
    """Meanwhile no answer can be kept for its Idempotency-Key, so a request with one cannot end.
    Less than the two seconds after which the server gives up waiting."""
    if server.backend == "sqlite":
        with contextlib.closing(sqlite3.connect(server.db_path, isolation_level=None)) as conn:
            conn.execute("BEGIN IMMEDIATE")
            yield
            conn.execute("ROLLBACK")
        return
    with contextlib.closing(server.database.connect_admin()) as conn, conn.cursor() as cur:
        cur.execute("BEGIN")
        cur.execute("LOCK TABLE idempotency_keys IN ACCESS EXCLUSIVE MODE")
        yield
        cur.execute("ROLLBACK")


def ticket_ids(server):
    """The ids of all tickets, deleted ones included."""
    return {row[0] for row in rows(server, "SELECT id FROM tickets")}


def usage_rows(server, token_id):
    """The usage rows of a token as dicts, in the order of arrival, those of
    wait_token first (within a millisecond the order is not known); token_id None: rows without one."""
    where, args = ("token_id = ?", (token_id,)) if token_id else ("token_id IS NULL", ())
    found = rows(server, f"SELECT {', '.join(USAGE_COLUMNS)} FROM integration_token_usage "
                         f"WHERE {where} "
                         "ORDER BY CASE WHEN user_agent = 'harness-probe' THEN 0 ELSE 1 END, created_ms, id",
                   *args)
    return [dict(zip(USAGE_COLUMNS, row)) for row in found]


def wait_usage(server, token_id, count, timeout_s=2):
    """The rows once there are at least `count`."""
    got = []

    def enough():
        got[:] = usage_rows(server, token_id)
        return len(got) >= count
    wait_until(enough, timeout_s, f"{count} usage rows of {token_id}")
    return got


def check_integrity(server):
    """Fail unless the database is sound in itself; works beside a running server."""
    if server.backend == "sqlite":
        assert rows(server, "PRAGMA integrity_check") == [("ok",)]
        assert rows(server, "PRAGMA foreign_key_check") == []
        return
    # Reads every page of every table and finds each row again through its indexes' columns.
    tables = rows(server, "SELECT relname FROM pg_class WHERE relkind = 'r' "
                          "AND relnamespace = 'public'::regnamespace")
    for (table,) in tables:
        rows(server, f'SELECT count(*), max(md5(t::text)) FROM "{table}" t')
    orphans = value(server, "SELECT count(*) FROM ticket_comments c LEFT JOIN tickets t "
                            "ON t.team_id = c.team_id AND t.id = c.ticket_id WHERE t.id IS NULL")
    assert orphans == 0
    broken = rows(server, "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid")
    assert broken == []
