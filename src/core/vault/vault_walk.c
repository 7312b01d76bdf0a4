/* Walking a sealed column: see vault_walk.h.
 *
 * Only row ids are listed; each text is read, opened, sealed and put back by itself, in memory of
 * its own, so that a batch of large secrets takes no more room than one. A row is put back only if
 * its text is still the one that was opened: whoever changes it meanwhile seals under the active
 * key anyway. The SQL is composed from vault_columns.c alone, never from input. */
#include "vault_walk.h"

#include <openssl/crypto.h>

#include "../../base/clock.h"
#include "../../base/log.h"
#include "vault_key.h"

bool vault_column_is_of(const struct vault_column *c, struct str team_id)
{
    return (c->team != NULL) == (team_id.n > 0);
}

/* "AND team_id = $1", or a condition on $1 that holds: every statement here has it as $1. */
static const char *team_is(struct ctx *cx, const struct vault_column *c)
{
    return c->team ? str_printf(&cx->arena, "%s = $1", c->team).p : "CAST($1 AS TEXT) = ''";
}

/* ---- quarantine ---- */

enum err_code vault_quarantine_put(struct ctx *cx, struct db *db, const struct vault_place *at,
                                   struct str reason, struct str seen_by)
{
    log_error(cx, "vault.quarantined", KVC("table", at->table), KVC("column", at->column),
              KVS("team", at->team_id), KVS("row", at->row_id), KVS("reason", reason));
    return db_run(cx, db,
                  "INSERT INTO vault_quarantine (team_id, table_name, column_name, row_id, reason, "
                  "seen_by, at_ms) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (team_id, "
                  "table_name, column_name, row_id) DO UPDATE SET reason = excluded.reason, "
                  "seen_by = excluded.seen_by, at_ms = excluded.at_ms",
                  ARGS(VT(vault_team(at->team_id)), VT(str_of(at->table)), VT(str_of(at->column)),
                       VT(at->row_id), VT(reason), VT(seen_by), VI(clock_ms())));
}

enum err_code vault_quarantine_drop(struct ctx *cx, struct db *db, const struct vault_place *at)
{
    return db_run(cx, db,
                  "DELETE FROM vault_quarantine WHERE team_id = $1 AND table_name = $2 AND "
                  "column_name = $3 AND row_id = $4",
                  ARGS(VT(vault_team(at->team_id)), VT(str_of(at->table)), VT(str_of(at->column)),
                       VT(at->row_id)));
}

/* ---- one row ---- */

static enum err_code put_back(struct ctx *cx, struct db *db, const struct vault_walk *w,
                              const struct vault_place *at, struct str old, struct str text)
{
    const struct vault_column *c = w->column;
    struct str sql =
        str_printf(&cx->arena, "UPDATE %s SET %s = $3 WHERE %s AND %s = $2 AND %s = $4", c->table,
                   c->column, team_is(cx, c), c->row, c->column);
    enum err_code e =
        db_run(cx, db, sql.p, ARGS(VT(w->team_id), VT(at->row_id), VT(text), VT(old)));
    return e ? e : vault_quarantine_drop(cx, db, at);
}

static enum err_code reseal(struct ctx *cx, struct db *db, struct vault_walk *w,
                            const struct vault_dek *dek, struct str row_id)
{
    const struct vault_column *c = w->column;
    struct vault_place at = { c->table, c->column, w->team_id.n ? w->team_id : STR_NONE, row_id };
    struct vault_tried got;
    struct rec_text row;
    struct str sql = str_printf(&cx->arena, "SELECT %s AS s FROM %s WHERE %s AND %s = $2",
                                c->column, c->table, team_is(cx, c), c->row);
    enum err_code e = db_one(cx, db, &rec_text, sql.p, ARGS(VT(w->team_id), VT(row_id)), &row);
    if (e == ERR_NOT_FOUND || (!e && !row.s.p)) /* gone, or cleared */
        return ERR_NONE;
    if (!e)
        e = vault_try(cx, db, &at, row.s, &got);
    if (e)
        return e;
    w->quarantined += got.why != NULL;
    w->resealed += got.why == NULL;
    if (got.why)
        return w->is_dry ? ERR_NONE
                         : vault_quarantine_put(cx, db, &at, str_of(got.why), w->seen_by);
    if (!w->is_dry)
        e = put_back(cx, db, w, &at, row.s, vault_seal_by(cx, dek, &at, got.plain));
    OPENSSL_cleanse((char *)(uintptr_t)got.plain.p, got.plain.n);
    return e;
}

/* In memory of its own. */
static enum err_code reseal_apart(struct ctx *cx, struct db *db, struct vault_walk *w,
                                  const struct vault_dek *dek, struct str row_id)
{
    struct ctx one;
    ctx_init(&one, CTX_CAP_DEFAULT);
    enum err_code e = reseal(&one, db, w, dek, row_id);
    ctx_done(&one);
    return e ? ctx_fail_plain(cx, e) : ERR_NONE;
}

/* ---- a batch ---- */

static enum err_code list_rows(struct ctx *cx, struct db *db, const struct vault_walk *w,
                               struct list *out)
{
    const struct vault_column *c = w->column;
    struct str sql =
        str_printf(&cx->arena,
                   "SELECT %s AS s FROM %s WHERE %s AND %s > $2 AND %s LIKE $3 AND "
                   "%s NOT LIKE $4 ORDER BY %s LIMIT $5",
                   c->row, c->table, team_is(cx, c), c->row, c->column, c->column, c->row);
    return db_list(cx, db, &rec_text, sql.p,
                   ARGS(VT(w->team_id), VT(w->after), VT(w->like), VT(w->unlike), VI(w->batch)),
                   out);
}

enum err_code vault_walk_batch(struct ctx *cx, struct db *db, struct vault_walk *w)
{
    struct vault_dek dek = { .id = "" };
    struct list rows;
    enum err_code e = list_rows(cx, db, w, &rows);
    const struct rec_text *v = rows.v;
    w->last = w->after;
    w->resealed = w->quarantined = 0;
    if (!e && rows.n && !w->is_dry)
        e = vault_key_use(cx, db, w->team_id, (int64_t)rows.n, &dek);
    if (e)
        return e;
    for (size_t i = 0; i < rows.n && !e; i++) {
        e = reseal_apart(cx, db, w, &dek, v[i].s);
        w->last = v[i].s;
    }
    vault_dek_forget(&dek);
    w->is_end = rows.n < (size_t)w->batch;
    return e;
}

enum err_code vault_column_count(struct ctx *cx, struct db *db, const struct vault_walk *w,
                                 int64_t *n)
{
    const struct vault_column *c = w->column;
    struct rec_num found;
    struct str sql = str_printf(&cx->arena,
                                "SELECT COUNT(*) AS n FROM %s WHERE %s AND %s LIKE $2 AND "
                                "%s NOT LIKE $3",
                                c->table, team_is(cx, c), c->column, c->column);
    enum err_code e =
        db_one(cx, db, &rec_num, sql.p, ARGS(VT(w->team_id), VT(w->like), VT(w->unlike)), &found);
    *n = e ? 0 : found.n;
    return e;
}
