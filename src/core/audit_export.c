/* The audit log as a file: see audit.h. Rows go into the spool one by one, so memory is that of one
 * row. The chain can be checked from the file too: it holds every hashed column but the team. */
#include "audit.h"

#include "../base/csv.h"

#define LINE_MAX_BYTES ((size_t)24 << 20)

struct job {
    const struct audit_export_ask *ask;
    struct spool *spool;
    struct arena line; /* of one row */
};

static enum err_code put_row(struct ctx *cx, void *row, void *arg)
{
    struct job *j = arg;
    bool is_fine;
    if (j->ask->as_csv) {
        is_fine = csv_row(j->spool, &rec_audit, row);
    } else {
        struct buf b;
        arena_reset(&j->line);
        buf_init(&b, &j->line, LINE_MAX_BYTES);
        rec_encode(&b, &rec_audit, row);
        buf_char(&b, '\n');
        is_fine = !b.over && spool_str(j->spool, buf_view(&b));
    }
    if (!is_fine)
        return ctx_fail_plain(cx, ERR_UNAVAILABLE);
    return ctx_ok(cx) ? ERR_NONE : cx->err;
}

static enum err_code unit(struct ctx *cx, struct db *db, void *arg)
{
    struct job *j = arg;
    caller_scope(db, j->ask->who);
    return audit_each(cx, db, j->ask->who, j->ask->query, put_row, j);
}

enum err_code audit_export(struct ctx *cx, struct store *s, const struct audit_export_ask *ask,
                           struct spool **out)
{
    struct job j = { .ask = ask };
    enum err_code e = spool_open(cx, ask->dir, &j.spool);
    if (e)
        return e;
    if (ask->as_csv)
        csv_head(j.spool, &rec_audit);
    arena_init(&j.line, LINE_MAX_BYTES);
    e = store_read(cx, s, unit, &j);
    arena_done(&j.line);
    if (!e)
        e = spool_done(cx, j.spool);
    if (e)
        spool_close(j.spool);
    else
        *out = j.spool;
    return e;
}
