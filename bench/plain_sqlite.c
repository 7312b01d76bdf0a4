/* The ceiling under the durable create: SQLite alone, WAL and synchronous=FULL, one thread, no
 * HTTP, no JSON, no tokens. Each unit inserts the ticket row and the usage row that the peers
 * write, with the same indexes, and every BATCH units are one transaction.
 *
 *   plain_sqlite FILE BATCH SECONDS     prints {"batch":1000,"units":123456,"per_second":41152.0}
 *
 * FILE must not exist yet. One process, one thread; it owns the file until it ends.
 */
#define _POSIX_C_SOURCE 200809L
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define BATCH_MAX 1000000L
#define SECONDS_MAX 600L

static const char SCHEMA[] =
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -65536;"
    "CREATE TABLE tickets (id TEXT PRIMARY KEY, team_id TEXT NOT NULL, token_id TEXT NOT NULL,"
    " title TEXT NOT NULL, description TEXT, status TEXT NOT NULL, priority TEXT NOT NULL,"
    " category TEXT, metadata TEXT NOT NULL, created_at INTEGER NOT NULL,"
    " updated_at INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE INDEX tickets_by_token ON tickets (token_id, created_at);"
    "CREATE INDEX tickets_by_status ON tickets (team_id, status, created_at);"
    "CREATE TABLE usage (id INTEGER PRIMARY KEY, token_id TEXT, endpoint TEXT NOT NULL,"
    " method TEXT NOT NULL, status INTEGER NOT NULL, took_ms REAL NOT NULL, ip TEXT NOT NULL,"
    " user_agent TEXT, error TEXT, payload TEXT, created_at INTEGER NOT NULL);"
    "CREATE INDEX usage_by_token ON usage (token_id, created_at);";

static const char ADD_TICKET[] =
    "INSERT INTO tickets VALUES (?1, '018f0000-0000-7000-8000-000000000001',"
    " '018f0000-0000-7000-8000-000000000002', 'Issue with API integration',"
    " 'Detailed description of the issue, as a caller would write it in a few words.', 'open',"
    " 'high', 'Technical Support', '{\"customer_id\":\"CUST-123\",\"reference_id\":\"EXT-456\"}',"
    " ?2, ?2)";

static const char ADD_USAGE[] =
    "INSERT INTO usage (token_id, endpoint, method, status, took_ms, ip, user_agent, payload,"
    " created_at) VALUES ('018f0000-0000-7000-8000-000000000002',"
    " '/functions/v1/integration-tickets/tickets', 'POST', 201, 0.5, '127.0.0.1', 'bench',"
    " '{\"title\":\"Issue with API integration\",\"description\":\"Detailed description of the"
    " issue, as a caller would write it in a few words.\",\"priority\":\"high\",\"category\":"
    "\"Technical Support\",\"metadata\":{\"customer_id\":\"CUST-123\",\"reference_id\":"
    "\"EXT-456\"}}', ?1)";

static sqlite3 *db;

static void need(int ok)
{
    if (ok)
        return;
    fprintf(stderr, "plain_sqlite: %s\n", db ? sqlite3_errmsg(db) : "bad arguments");
    exit(1);
}

static void run_sql(const char *sql)
{
    need(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK);
}

static double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* One ticket with an id that grows like a UUIDv7 of this millisecond, and its usage row. */
static void add_unit(sqlite3_stmt *ticket, sqlite3_stmt *usage, long number)
{
    char id[40];
    long long at_ms = 1700000000000LL + number / 10;
    int len =
        snprintf(id, sizeof id, "%08llx-%04llx-7%03lx-8000-%012lx", (unsigned long long)at_ms >> 16,
                 (unsigned long long)at_ms & 0xffff, number % 10, number);

    sqlite3_bind_text(ticket, 1, id, len, SQLITE_STATIC);
    sqlite3_bind_int64(ticket, 2, at_ms);
    need(sqlite3_step(ticket) == SQLITE_DONE);
    sqlite3_reset(ticket);
    sqlite3_bind_int64(usage, 1, at_ms);
    need(sqlite3_step(usage) == SQLITE_DONE);
    sqlite3_reset(usage);
}

int main(int argc, char **argv)
{
    sqlite3_stmt *ticket = NULL;
    sqlite3_stmt *usage = NULL;
    long batch = argc == 4 ? strtol(argv[2], NULL, 10) : 0;
    long seconds = argc == 4 ? strtol(argv[3], NULL, 10) : 0;
    long units = 0;

    need(batch >= 1 && batch <= BATCH_MAX && seconds >= 1 && seconds <= SECONDS_MAX);
    need(sqlite3_open(argv[1], &db) == SQLITE_OK);
    run_sql(SCHEMA);
    need(sqlite3_prepare_v2(db, ADD_TICKET, -1, &ticket, NULL) == SQLITE_OK);
    need(sqlite3_prepare_v2(db, ADD_USAGE, -1, &usage, NULL) == SQLITE_OK);

    double start = now_s();
    double took = 0;
    while (took < (double)seconds) {
        run_sql("BEGIN IMMEDIATE");
        for (long i = 0; i < batch; i++)
            add_unit(ticket, usage, units++);
        run_sql("COMMIT");
        took = now_s() - start;
    }
    printf("{\"batch\":%ld,\"units\":%ld,\"per_second\":%.1f}\n", batch, units,
           (double)units / took);
    sqlite3_finalize(ticket);
    sqlite3_finalize(usage);
    sqlite3_close(db);
    return 0;
}
