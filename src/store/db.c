/* Statements inside a unit of work: the thin front of db.h over whichever backend the connection
 * has.
 *
 * Here live what both databases share: the fault point before each statement, one row, a list of
 * rows, the scope, the count of savepoints that a unit holds. Rows come from the backend's `query`
 * and are copied into cx only when they are kept. Threads: the one that runs the unit. */
#include "db.h"

#include <string.h>

#include "../base/fault.h"
#include "inner.h"

static const struct field num_fields[] = {
    { .name = "n", .type = F_INT, .offset = offsetof(struct rec_num, n) },
};
const struct rec rec_num = REC("Num", struct rec_num, num_fields, "One number.");

static const struct field text_fields[] = {
    { .name = "s", .type = F_STR, .offset = offsetof(struct rec_text, s) },
};
const struct rec rec_text = REC("Text", struct rec_text, text_fields, "One text.");

enum err_code db_run(struct ctx *cx, struct db *db, const char *sql, struct args args)
{
    if (fault_hit(FAULT_DB))
        return store_unavailable(cx);
    return db->ops->run(cx, db, sql, args);
}

enum err_code db_each(struct ctx *cx, struct db *db, const struct rec *r, const char *sql,
                      struct args args, enum err_code (*each)(struct ctx *cx, void *row, void *arg),
                      void *arg)
{
    if (fault_hit(FAULT_DB))
        return store_unavailable(cx);
    return db->ops->query(cx, db, r, sql, args, each, arg, 0);
}

/* --- One row --- */

struct one {
    const struct rec *r;
    void *out;
    bool is_found;
};

static enum err_code one_row(struct ctx *cx, void *row, void *arg)
{
    struct one *one = arg;
    enum err_code e = row_keep(cx, one->r, row);

    if (e)
        return e;
    memcpy(one->out, row, one->r->size);
    one->is_found = true;
    return ERR_NONE;
}

enum err_code db_one(struct ctx *cx, struct db *db, const struct rec *r, const char *sql,
                     struct args args, void *out)
{
    struct one one = { .r = r, .out = out };
    enum err_code e;

    memset(out, 0, r->size);
    if (fault_hit(FAULT_DB))
        return store_unavailable(cx);
    e = db->ops->query(cx, db, r, sql, args, one_row, &one, 1);
    if (e)
        return e;
    return one.is_found ? ERR_NONE : ERR_NOT_FOUND;
}

/* --- All rows --- */

struct rows {
    const struct rec *r;
    struct list list;
    size_t cap;
};

static enum err_code rows_grow(struct ctx *cx, struct rows *rows)
{
    size_t cap = rows->cap ? rows->cap * 2 : 16;
    void *v;

    if (cx->arena.used + cap * rows->r->size > cx->arena.cap)
        return fail(cx, TOO_LARGE, "The result is too large");
    v = arena_alloc(&cx->arena, cap * rows->r->size);
    if (rows->list.n)
        memcpy(v, rows->list.v, rows->list.n * rows->r->size);
    rows->list.v = v;
    rows->cap = cap;
    return ERR_NONE;
}

static enum err_code rows_add(struct ctx *cx, void *row, void *arg)
{
    struct rows *rows = arg;
    enum err_code e = ERR_NONE;

    if (rows->list.n == DB_ROWS_MAX)
        return fail(cx, INTERNAL, "The result has too many rows");
    if (rows->list.n == rows->cap)
        e = rows_grow(cx, rows);
    if (!e)
        e = row_keep(cx, rows->r, row);
    if (e)
        return e;
    memcpy((char *)rows->list.v + rows->list.n++ * rows->r->size, row, rows->r->size);
    return ERR_NONE;
}

enum err_code db_list(struct ctx *cx, struct db *db, const struct rec *r, const char *sql,
                      struct args args, struct list *out)
{
    struct rows rows = { .r = r };
    enum err_code e = db_each(cx, db, r, sql, args, rows_add, &rows);

    if (e)
        return e;
    *out = rows.list;
    return ERR_NONE;
}

/* --- Savepoints and scope --- */

enum err_code db_savepoint(struct ctx *cx, struct db *db)
{
    enum err_code e = db->ops->savepoint(cx, db);

    if (!e)
        db->savepoints++;
    return e;
}

enum err_code db_release(struct ctx *cx, struct db *db)
{
    BUG_IF(db->savepoints == 0);
    db->savepoints--;
    return db->ops->release(cx, db);
}

enum err_code db_rollback_to(struct ctx *cx, struct db *db)
{
    BUG_IF(db->savepoints == 0);
    db->savepoints--;
    return db->ops->rollback_to(cx, db);
}

static void scope_put(char *to, size_t cap, struct str s)
{
    BUG_IF(s.n >= cap);
    if (s.n)
        memcpy(to, s.p, s.n);
    to[s.n] = '\0';
}

void db_scope(struct db *db, struct str team_id, struct str token_id)
{
    scope_put(db->scope_team, sizeof db->scope_team, team_id);
    scope_put(db->scope_token, sizeof db->scope_token, token_id);
    db->scope_system = false;
    db->scope_dirty = true;
}

void db_scope_system(struct db *db)
{
    db_scope(db, STR_NONE, STR_NONE);
    db->scope_system = true;
}

bool db_is_postgres(const struct db *db)
{
    return db->is_postgres;
}

void db_unit_begin(struct db *db, int index)
{
    db_scope(db, STR_NONE, STR_NONE);
    db->savepoints = 0;
    db->ops->unit_mark(db, index);
    db->has_written = false;
}

void db_unit_end(struct ctx *cx, struct db *db, enum err_code e)
{
    BUG_IF(e == ERR_NONE && db->savepoints > 0);
    while (db->savepoints > 0 && !db_rollback_to(cx, db))
        ;
    db->savepoints = 0;
}
