/* Statements on PostgreSQL: prepared once per connection, parameters as text, rows into records.
 *
 * A statement is found by the hash of its text and compared with our copy (an address alone would not do: a composed
 * text may lie where an older one lay). A new one takes the slot of the oldest; its preparation travels in the same
 * pipeline, so it costs no wait. All parameters go as text with types inferred by the server, so the SQL must let
 * them be inferred. Before a statement, the scope of row-level security is brought to what the unit asked for, in the
 * same pipeline.
 *
 * Rows: with max_rows the whole result is read first; with 0 rows stream one by one, and while they do the callback may
 * run statements but not ask for other rows. A row's texts point into the result: they live during the callback. */
#include "postgres.h"

#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum pg_oid { /* of pg_type.dat; they never change */
              PG_OID_BOOL = 16,
              PG_OID_NUMERIC = 1700,
};

static const char SQL_SCOPE_TOKEN[] = "SELECT set_config('tessera.token', $1, false)";
static const char SQL_SCOPE[] =
    "SELECT set_config('tessera.team', $1, false), set_config('tessera.token', $2, false), "
    "set_config('tessera.system', $3, false)";

struct pg_stmt *pg_stmt_by_id(struct pg *pg, unsigned id)
{
    struct pg_stmt *s = &pg->stmts[id % DB_STMTS_MAX];
    return id != 0 && s->sql && s->id == id ? s : NULL;
}

void pg_stmt_forget(struct pg_stmt *s)
{
    if (!s)
        return;
    free(s->sql);
    free(s->fields);
    *s = (struct pg_stmt){ 0 };
}

void pg_stmts_forget(struct pg *pg)
{
    for (size_t i = 0; i < DB_STMTS_MAX; i++)
        pg_stmt_forget(&pg->stmts[i]);
    pg->stmts_stale = false;
}

static void stmt_name(unsigned id, char out[16])
{
    char digits[12];
    int n = 0;
    for (; id > 0; id /= 10)
        digits[n++] = (char)('0' + id % 10);
    *out++ = 't';
    while (n > 0)
        *out++ = digits[--n];
    *out = '\0';
}

/* Tell the server to drop the statement whose slot is needed. */
static bool drop(struct pg *pg, struct pg_stmt *s)
{
    char text[32] = "DEALLOCATE ";
    stmt_name(s->id, text + strlen(text));
    pg_stmt_forget(s);
    int ok = PQsendQueryParams(pg->conn, text, 0, NULL, NULL, NULL, NULL, 0);
    return pg_sent(pg, ok, PG_EXPECT_DROP, 0, sizeof text);
}

/* Send the preparation of a new statement. NULL when the connection is gone. */
static struct pg_stmt *prepare(struct pg *pg, const char *sql, uint64_t hash)
{
    unsigned id = ++pg->n_sent_stmts;
    struct pg_stmt *s = &pg->stmts[id % DB_STMTS_MAX];
    if (s->sql && !drop(pg, s))
        return NULL;
    struct str text = sql_for_backend(&pg->scratch, &backend_postgres, sql);
    char name[16];
    stmt_name(id, name);
    int ok = PQsendPrepare(pg->conn, name, str_cstr(&pg->scratch, text), 0, NULL);
    if (!pg_sent(pg, ok, PG_EXPECT_PREPARE, id, text.n))
        return NULL;
    *s = (struct pg_stmt){ .sql = strdup(sql), .hash = hash, .id = id };
    BUG_IF(!s->sql);
    return s;
}

static struct pg_stmt *find_or_prepare(struct pg *pg, const char *sql)
{
    uint64_t hash = XXH3_64bits(sql, strlen(sql));
    for (size_t i = 0; i < DB_STMTS_MAX; i++) {
        struct pg_stmt *s = &pg->stmts[i];
        if (s->hash == hash && s->sql && strcmp(s->sql, sql) == 0)
            return s;
    }
    return prepare(pg, sql, hash);
}

/* The parameter as libpq wants it: NUL-terminated, or NULL. */
static const char *param_text(struct pg *pg, const struct val *v, size_t *bytes)
{
    if (v->kind == VAL_INT) {
        struct buf b;
        buf_init(&b, &pg->scratch, 32);
        buf_i64(&b, v->i);
        *bytes += b.n;
        return str_cstr(&pg->scratch, buf_view(&b));
    }
    if (v->kind == VAL_NULL || !v->s.p)
        return NULL;
    *bytes += v->s.n;
    return str_cstr(&pg->scratch, v->s);
}

static enum err_code send_prepared(struct pg *pg, const char *sql, struct args args,
                                   unsigned *out_id)
{
    BUG_IF(args.n > PG_PARAMS_MAX);
    const char *values[PG_PARAMS_MAX];
    size_t bytes = 32;

    struct pg_stmt *s = find_or_prepare(pg, sql);
    if (!s)
        return ERR_UNAVAILABLE;
    for (size_t i = 0; i < args.n; i++)
        values[i] = param_text(pg, &args.v[i], &bytes);
    char name[16];
    stmt_name(s->id, name);
    int ok = PQsendQueryPrepared(pg->conn, name, (int)args.n, values, NULL, NULL, 0);
    arena_reset(&pg->scratch);
    if (!pg_sent(pg, ok, PG_EXPECT_STMT, s->id, bytes))
        return ERR_UNAVAILABLE;
    if (out_id)
        *out_id = s->id;
    return ERR_NONE;
}

/* Bring the session's scope to the wanted one. */
static enum err_code send_scope(struct pg *pg)
{
    struct db *db = &pg->db;
    if (pg->have_known && !db->scope_dirty)
        return ERR_NONE;
    bool same_team = pg->have_known && strcmp(db->scope_team, pg->have_team) == 0 &&
                     db->scope_system == pg->have_system;
    struct str token = str_of(db->scope_token);
    enum err_code e = ERR_NONE;
    if (!same_team)
        e = send_prepared(
            pg, SQL_SCOPE,
            ARGS(VT(str_of(db->scope_team)), VT(token), VT(str_of(db->scope_system ? "on" : ""))),
            NULL);
    else if (strcmp(db->scope_token, pg->have_token) != 0)
        e = send_prepared(pg, SQL_SCOPE_TOKEN, ARGS(VT(token)), NULL);
    if (e)
        return e;
    memcpy(pg->have_team, db->scope_team, sizeof pg->have_team);
    memcpy(pg->have_token, db->scope_token, sizeof pg->have_token);
    pg->have_system = db->scope_system;
    pg->have_known = true;
    db->scope_dirty = false;
    return ERR_NONE;
}

/* Send a unit's statement; failures are recorded in cx. Outside a transaction the segment is ended at once. */
static enum err_code send_stmt(struct ctx *cx, struct pg *pg, const char *sql, struct args args,
                               unsigned *out_id)
{
    if (!pg->in_tx) {
        enum err_code e = pg_ready(cx, pg);
        if (e)
            return e;
        pg->fail = ERR_NONE;
    }
    if (!pg_room(pg))
        return pg_fail(cx, ERR_UNAVAILABLE);
    if (pg->fail)
        return pg_fail_known(cx, pg);
    if (!sql_is_read(sql))
        pg->db.has_written = true;
    if (send_scope(pg) || send_prepared(pg, sql, args, out_id) || !(pg->in_tx || pg_sync(pg)))
        return pg_fail(cx, ERR_UNAVAILABLE);
    return ERR_NONE;
}

enum err_code pg_run(struct ctx *cx, struct db *db, const char *sql, struct args args)
{
    struct pg *pg = (struct pg *)db;
    enum err_code e = send_stmt(cx, pg, sql, args, NULL);
    if (e || pg->in_tx)
        return e;
    if (!pg_drain(pg, 0))
        return pg_fail(cx, ERR_UNAVAILABLE);
    return pg->fail ? pg_fail(cx, pg->fail) : ERR_NONE;
}

/* Find the members of the record that the columns belong to, once per statement and record. */
static void bind_columns(struct pg_stmt *s, const struct rec *rec, const PGresult *res)
{
    int n = PQnfields(res);
    if (s->rec == rec && s->n_fields == n)
        return;
    BUG_IF(n > PG_COLUMNS_MAX);
    free(s->fields);
    s->fields = calloc((size_t)n + 1, sizeof(struct field *));
    BUG_IF(!s->fields);
    for (int i = 0; i < n; i++)
        s->fields[i] = row_field(rec, PQfname(res, i));
    s->rec = rec;
    s->n_fields = n;
}

/* A number as the server prints it: an integer, a boolean, or a SUM (numeric; its fraction is cut off). */
static bool number_of(Oid type, struct str text, int64_t *out)
{
    if (type == PG_OID_BOOL) {
        *out = text.p[0] == 't';
        return true;
    }
    struct str rest = text;
    if (type == PG_OID_NUMERIC)
        text = str_cut(&rest, '.');
    return str_to_i64(text, out);
}

static enum err_code read_row(struct ctx *cx, const struct pg_stmt *s, const PGresult *res, int row,
                              void *obj)
{
    memset(obj, 0, s->rec->size);
    for (int i = 0; i < s->n_fields; i++) {
        if (PQgetisnull(res, row, i))
            continue;
        struct str text = { PQgetvalue(res, row, i), (size_t)PQgetlength(res, row, i) };
        int64_t number;
        if (!field_is_int(s->fields[i]))
            rec_put_text(s->fields[i], obj, text);
        else if (number_of(PQftype(res, i), text, &number))
            rec_put_int(s->fields[i], obj, number);
        else
            return ctx_fail_plain(cx, ERR_INTERNAL);
    }
    return ERR_NONE;
}

struct row_sink {
    const struct rec *rec;
    enum err_code (*each)(struct ctx *, void *row, void *arg);
    void *arg;
    int64_t max_rows; /* 0 = all, streaming */
    void *row;
    int64_t n; /* given so far */
    enum err_code err;
};

/* Give the rows of one result (all of them, or the one of a stream) until the sink says stop. */
static void give_rows(struct ctx *cx, struct pg_stmt *s, const PGresult *res, struct row_sink *sink)
{
    int n = PQntuples(res);
    if (n > 0)
        bind_columns(s, sink->rec, res);
    for (int i = 0; i < n && !sink->err; i++) {
        if (sink->max_rows > 0 && sink->n >= sink->max_rows)
            return;
        sink->n++;
        sink->err = read_row(cx, s, res, i, sink->row);
        if (!sink->err)
            sink->err = sink->each(cx, sink->row, sink->arg);
    }
}

/* The rows of the oldest expected statement, as they arrive. */
static bool stream_rows(struct ctx *cx, struct pg *pg, struct pg_stmt *s, struct row_sink *sink)
{
    if (!PQsetSingleRowMode(pg->conn)) {
        pg_lose(pg, "cannot stream");
        return false;
    }
    PGresult *res;
    while (pg_result(pg, &res)) {
        if (!res) {
            pg_taken(pg);
            return true;
        }
        pg_note(pg, res);
        pg->in_rows = true;
        give_rows(cx, s, res, sink);
        pg->in_rows = false;
        PQclear(res);
    }
    return false;
}

/* The whole result of the oldest expected statement into *out (NULL when it failed). */
static bool whole_result(struct pg *pg, PGresult **out)
{
    PGresult *res;
    *out = NULL;
    while (pg_result(pg, &res)) {
        if (!res) {
            pg_taken(pg);
            return true;
        }
        pg_note(pg, res);
        PQclear(*out);
        *out = res;
    }
    PQclear(*out);
    *out = NULL;
    return false;
}

enum err_code pg_query(struct ctx *cx, struct db *db, const struct rec *rec, const char *sql,
                       struct args args, enum err_code (*each)(struct ctx *, void *row, void *arg),
                       void *arg, int64_t max_rows)
{
    struct pg *pg = (struct pg *)db;
    unsigned id = 0;
    PGresult *whole = NULL;
    BUG_IF(pg->in_rows);
    enum err_code e = send_stmt(cx, pg, sql, args, &id);
    if (e)
        return e;
    struct row_sink sink = { .rec = rec, .each = each, .arg = arg, .max_rows = max_rows };
    sink.row = arena_zalloc(&cx->arena, rec->size);

    bool is_alone = !pg->in_tx;
    bool ok = (is_alone || pg_ask(pg)) && pg_drain(pg, is_alone ? 2 : 1);
    struct pg_stmt *s = ok ? pg_stmt_by_id(pg, id) : NULL; /* gone when its preparation failed */
    if (ok)
        ok = max_rows == 0 && s && !pg->fail ? stream_rows(cx, pg, s, &sink)
                                             : whole_result(pg, &whole);
    if (ok && is_alone)
        ok = pg_drain(pg, 0);
    if (ok && !pg->fail && whole && s)
        give_rows(cx, s, whole, &sink);
    PQclear(whole);
    if (!ok)
        return pg_fail(cx, ERR_UNAVAILABLE);
    if (pg->fail)
        return pg_fail_known(cx, pg);
    return sink.err;
}
