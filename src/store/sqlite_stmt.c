/* Statements of the SQLite backend: prepared once per connection, bound by number, rows into
 * records.
 *
 * The cache is keyed by the text (a hash of 300 bytes costs less than a cache miss), so texts
 * composed in an arena are as safe as literals; the least recently used statement makes room. A
 * statement that is asked for while it is still running (a callback that runs the same text) is
 * prepared once more for that use.
 *
 * SQLite numbers $N by first appearance, so the number is read from the parameter's name. Row texts
 * point into SQLite's memory and live until the next step: db.c copies what is kept. */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "sqlite.h"

#define ROW_MAX 512               /* rec.h: the largest record */
#define STEPS_BETWEEN_LOOKS 20000 /* of SQLite's machine: well below a millisecond */

/* --- Prepare --- */

static void stmt_free(struct sq_stmt *s)
{
    sqlite3_finalize(s->st);
    free(s->arg_of);
    free(s->fields);
    free(s->sql);
    free(s);
}

static void map_binds(struct sq_stmt *s)
{
    s->n_binds = sqlite3_bind_parameter_count(s->st);
    s->arg_of = calloc((size_t)s->n_binds + 1, sizeof *s->arg_of);
    BUG_IF(s->arg_of == NULL);
    for (int i = 0; i < s->n_binds; i++) {
        const char *name = sqlite3_bind_parameter_name(s->st, i + 1);
        int64_t number = 0;

        BUG_IF(name == NULL || name[0] != '$' || !str_to_i64(str_of(name + 1), &number));
        BUG_IF(number < 1 || number > 65535);
        s->arg_of[i] = (unsigned short)(number - 1);
    }
}

/* NULL with the failure recorded. */
static struct sq_stmt *stmt_new(struct ctx *cx, struct sq *sq, const char *sql)
{
    struct str text = sql_for_backend(&cx->arena, &backend_sqlite, sql);
    sqlite3_stmt *st = NULL;
    const char *tail = NULL;
    struct sq_stmt *s;
    int rc;

    BUG_IF(text.n > INT32_MAX);
    rc = sqlite3_prepare_v3(sq->conn, text.p, (int)text.n, SQLITE_PREPARE_PERSISTENT, &st, &tail);
    if (rc != SQLITE_OK) {
        sq_fail(cx, sq, rc, sql);
        return NULL;
    }
    BUG_IF(st == NULL || tail[strspn(tail, " \t\r\n;")] != '\0'); /* one statement a call */
    s = calloc(1, sizeof *s);
    BUG_IF(s == NULL);
    s->st = st;
    s->is_read = sqlite3_stmt_readonly(st);
    s->n_cols = sqlite3_column_count(st);
    s->fields = calloc((size_t)s->n_cols + 1, sizeof(void *));
    BUG_IF(s->fields == NULL);
    map_binds(s);
    return s;
}

/* --- Cache --- */

static struct sq_stmt **chain_of(struct sq *sq, uint64_t hash)
{
    return &sq->heads[hash % SQ_HEADS];
}

static void cache_drop_oldest(struct sq *sq)
{
    struct sq_stmt **oldest = NULL;
    struct sq_stmt *s = NULL;

    for (int i = 0; i < SQ_HEADS; i++)
        for (struct sq_stmt **at = &sq->heads[i]; *at; at = &(*at)->next)
            if (!(*at)->is_busy && (!oldest || (*at)->used < (*oldest)->used))
                s = *(oldest = at);
    if (!s)
        return;
    *oldest = s->next;
    stmt_free(s);
    sq->n_stmts--;
}

static void cache_add(struct sq *sq, struct sq_stmt *s, const char *sql, size_t len, uint64_t hash)
{
    struct sq_stmt **chain = chain_of(sq, hash);

    if (sq->n_stmts >= DB_STMTS_MAX)
        cache_drop_oldest(sq);
    s->sql = malloc(len + 1);
    BUG_IF(s->sql == NULL);
    memcpy(s->sql, sql, len + 1);
    s->len = len;
    s->hash = hash;
    s->next = *chain;
    *chain = s;
    sq->n_stmts++;
}

/* NULL with the failure recorded. */
static struct sq_stmt *stmt_get(struct ctx *cx, struct sq *sq, const char *sql)
{
    size_t len = strlen(sql);
    uint64_t hash = XXH3_64bits(sql, len);
    struct sq_stmt *s = *chain_of(sq, hash);

    while (s && (s->hash != hash || s->len != len || memcmp(s->sql, sql, len) != 0))
        s = s->next;
    if (!s || s->is_busy) {
        bool is_running = s != NULL;

        s = stmt_new(cx, sq, sql);
        if (!s)
            return NULL;
        if (!is_running)
            cache_add(sq, s, sql, len, hash);
    }
    s->is_busy = true;
    s->used = ++sq->turn;
    return s;
}

static void stmt_put(struct sq_stmt *s)
{
    sqlite3_reset(s->st);
    s->is_busy = false;
    if (!s->sql)
        stmt_free(s);
}

void sq_forget_stmts(struct sq *sq)
{
    for (int i = 0; i < SQ_HEADS; i++) {
        while (sq->heads[i]) {
            struct sq_stmt *s = sq->heads[i];

            sq->heads[i] = s->next;
            stmt_free(s);
        }
    }
    sq->n_stmts = 0;
}

/* --- Run --- */

static int bind(struct sq_stmt *s, struct args args)
{
    int rc = SQLITE_OK;

    for (int i = 0; i < s->n_binds && rc == SQLITE_OK; i++) {
        const struct val *v;

        BUG_IF(s->arg_of[i] >= args.n);
        v = &args.v[s->arg_of[i]];
        if (v->kind == VAL_INT)
            rc = sqlite3_bind_int64(s->st, i + 1, v->i);
        else if (v->kind == VAL_TEXT)
            rc = sqlite3_bind_text64(s->st, i + 1, v->s.p, v->s.n, SQLITE_STATIC, SQLITE_UTF8);
        else
            rc = sqlite3_bind_null(s->st, i + 1);
    }
    return rc;
}

static void map_columns(struct sq_stmt *s, const struct rec *rec)
{
    if (s->rec == rec)
        return;
    for (int i = 0; i < s->n_cols; i++)
        s->fields[i] = row_field(rec, sqlite3_column_name(s->st, i));
    s->rec = rec;
}

static void read_row(struct sq_stmt *s, void *row)
{
    for (int i = 0; i < s->n_cols; i++) {
        const struct field *f = s->fields[i];

        if (sqlite3_column_type(s->st, i) == SQLITE_NULL)
            continue;
        if (field_is_int(f)) {
            rec_put_int(f, row, sqlite3_column_int64(s->st, i));
        } else {
            const char *p = (const char *)sqlite3_column_text(s->st, i);

            BUG_IF(p == NULL);
            rec_put_text(f, row, (struct str){ p, (size_t)sqlite3_column_bytes(s->st, i) });
        }
    }
}

struct sink { /* where rows go; each == NULL: nowhere */
    const struct rec *rec;
    enum err_code (*each)(struct ctx *, void *row, void *arg);
    void *arg;
    int64_t max_rows;
};

/* Asked every few thousand steps of a read whose ctx has a deadline; the reason is recorded. */
static int must_end(void *arg)
{
    return !ctx_ok(arg);
}

static enum err_code step_rows(struct ctx *cx, struct sq *sq, struct sq_stmt *s,
                               const struct sink *to)
{
    _Alignas(16) char row[ROW_MAX];
    enum err_code e = ERR_NONE;
    int64_t n = 0;
    int rc;

    while (!e && (rc = sqlite3_step(s->st)) != SQLITE_DONE) {
        if (rc == SQLITE_INTERRUPT && cx->err)
            return cx->err;
        if (rc != SQLITE_ROW) {
            /* A failed statement leaves nothing behind, unless it took the whole transaction with
             * it. */
            sq->db.has_written |= sq_is_lost(sq);
            return sq_fail(cx, sq, rc, sqlite3_sql(s->st));
        }
        sq->db.has_written |= !s->is_read;
        if (to->max_rows && n == to->max_rows)
            return ERR_NONE;
        n++;
        if (!to->each)
            continue;
        memset(row, 0, to->rec->size);
        read_row(s, row);
        e = to->each(cx, row, to->arg);
    }
    sq->db.has_written |= !s->is_read;
    return e;
}

static enum err_code run(struct ctx *cx, struct sq *sq, const char *sql, struct args args,
                         const struct sink *to)
{
    struct sq_stmt *s;
    enum err_code e;
    bool has_end;
    int rc;

    if (sq_is_lost(sq))
        return store_unavailable(cx);
    s = stmt_get(cx, sq, sql);
    if (!s)
        return cx->err;
    if (to->each)
        map_columns(s, to->rec);
    rc = bind(s, args);
    has_end = s->is_read && cx->deadline_us;
    if (has_end)
        sqlite3_progress_handler(sq->conn, STEPS_BETWEEN_LOOKS, must_end, cx);
    e = rc == SQLITE_OK ? step_rows(cx, sq, s, to) : sq_fail(cx, sq, rc, sql);
    if (has_end)
        sqlite3_progress_handler(sq->conn, 0, NULL, NULL);
    stmt_put(s);
    return e;
}

enum err_code sq_run(struct ctx *cx, struct db *db, const char *sql, struct args args)
{
    return run(cx, (struct sq *)db, sql, args, &(struct sink){ 0 });
}

enum err_code sq_query(struct ctx *cx, struct db *db, const struct rec *rec, const char *sql,
                       struct args args, enum err_code (*each)(struct ctx *, void *row, void *arg),
                       void *arg, int64_t max_rows)
{
    BUG_IF(rec->size > ROW_MAX);
    return run(cx, (struct sq *)db, sql, args, &(struct sink){ rec, each, arg, max_rows });
}

int sq_control(struct sq *sq, const char *sql)
{
    struct ctx cx; /* our texts prepare without a failure, unless the file is in trouble */
    struct sq_stmt *s;
    int rc;

    ctx_init(&cx, 4096);
    s = stmt_get(&cx, sq, sql);
    rc = s ? sqlite3_step(s->st) : sqlite3_extended_errcode(sq->conn);
    if (s)
        stmt_put(s);
    ctx_done(&cx);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}
