/* The file of an export: rows of tickets and contacts page by page, the request log through
 * usage_each, a report's table; see export.h. Memory does not grow with the rows: every page is a
 * read of its own in a ctx that is emptied. */
#include "export.h"

#include <string.h>

#include "../../base/clock.h"
#include "../../base/csv.h"
#include "../../base/xlsx.h"
#include "../crm/contact.h"
#include "../ticket.h"
#include "../usage_export.h"
#include "report_run.h"

#define PAGE_ROWS 500
#define LINE_MAX ((size_t)1 << 20) /* of a row as JSON */

struct out { /* the file; one of both */
    const struct rec *rec;
    struct spool *spool;
    struct xlsx *xlsx;
    bool is_csv;
};

static enum err_code out_open(struct ctx *cx, const struct export_place *at, struct str format,
                              struct out *o)
{
    *o = (struct out){ .is_csv = str_eq(format, STR("csv")) };
    if (str_eq(format, STR("xlsx")))
        return xlsx_open(cx, at->path, at->tmp_dir, &o->xlsx);
    return spool_create(cx, at->path, &o->spool);
}

static void out_head(struct out *o, const struct rec *rec)
{
    o->rec = rec;
    if (o->xlsx)
        xlsx_rec_head(o->xlsx, rec);
    else if (o->is_csv)
        csv_head(o->spool, rec);
}

static bool put_line(struct out *o, const void *row)
{
    struct arena a;
    struct buf b;
    arena_init(&a, 4 * LINE_MAX);
    buf_init(&b, &a, LINE_MAX);
    rec_encode(&b, o->rec, row);
    buf_char(&b, '\n');
    bool is_fine = !b.over && spool_str(o->spool, buf_view(&b));
    arena_done(&a);
    return is_fine;
}

static bool out_row(struct out *o, const void *row)
{
    if (o->xlsx)
        return xlsx_rec_row(o->xlsx, o->rec, row);
    return o->is_csv ? csv_row(o->spool, o->rec, row) : put_line(o, row);
}

/* Ends the file; when something failed before, drops it. */
static enum err_code out_done(struct ctx *cx, struct out *o, struct export_progress *p,
                              enum err_code e)
{
    if (o->xlsx && e) {
        xlsx_drop(o->xlsx);
    } else if (o->xlsx) {
        export_packing(p, true);
        e = xlsx_done(cx, o->xlsx);
        export_packing(p, false);
    } else if (o->spool && !e) {
        e = spool_done(cx, o->spool);
    }
    spool_close(o->spool);
    return e;
}

struct writing {
    const struct export_place *at;
    const struct export_job *job;
    struct export_progress *p;
    struct out *o;
};

static enum err_code write_row(struct ctx *cx, void *row, void *arg)
{
    struct writing *w = arg;
    if (!out_row(w->o, row))
        return ctx_fail_plain(cx, ERR_UNAVAILABLE);
    return export_step(cx, w->p);
}

/* ---- the request log ---- */

static void put_usage_filter(const struct report_filter *f, struct usage_filter *to)
{
    static const struct {
        const char *name;
        size_t offset;
    } members[] = {
        { "key_id", offsetof(struct usage_filter, key_id) },
        { "route", offsetof(struct usage_filter, route) },
        { "method", offsetof(struct usage_filter, method) },
        { "status", offsetof(struct usage_filter, status) },
        { "status_class", offsetof(struct usage_filter, status_class) },
        { "ip", offsetof(struct usage_filter, ip) },
        { "country", offsetof(struct usage_filter, country) },
    };
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        if (!str_eq(str_of(members[i].name), str_of(f->field->name)))
            continue;
        char *at = (char *)to + members[i].offset;
        if (f->values[0].kind == VAL_INT)
            *(int64_t *)(void *)at = f->values[0].i;
        else
            *(struct str *)(void *)at = f->values[0].s;
        to->bits.has |= UINT64_C(1) << (members[i].offset / 8);
    }
}

static void usage_filter_of(const struct report_def *d, const struct export_job *job,
                            struct usage_filter *out)
{
    *out = (struct usage_filter){ .bits.has = 0 };
    for (size_t i = 0; i < d->n_filters; i++)
        put_usage_filter(&d->filters[i], out);
    if (job->from.is_set) {
        out->from = report_when_ms(&job->from, job->asked_ms);
        REC_SET(out, from);
    }
    if (job->to.is_set) {
        out->to = report_when_ms(&job->to, job->asked_ms);
        REC_SET(out, to);
    }
}

struct count {
    const struct writing *w;
    const struct usage_filter *filter;
    int64_t n;
};

/* How many requests the rollups know of: an upper bound, since they do not know every filter. */
static enum err_code count_usage(struct ctx *cx, struct db *db, void *arg)
{
    struct count *c = arg;
    struct rec_num n;
    const struct export_job *job = c->w->job;
    const struct usage_filter *f = c->filter;
    int64_t from = job->asked_ms - c->w->at->usage_days * DAY_MS;
    if (REC_HAS(f, from) && f->from > from)
        from = f->from;
    caller_scope(db, &job->who);
    enum err_code e =
        db_one(cx, db, &rec_num,
               "SELECT COALESCE(SUM(n), 0) AS n FROM usage_rollup WHERE team_id = $1 AND "
               "token_id = $2 AND grain = 'h' AND bucket_ms >= $3 AND bucket_ms < $4",
               ARGS(VT(job->who.team_id), VT(REC_HAS(f, key_id) ? f->key_id : STR("*")),
                    VI(from - from % HOUR_MS), VI(REC_HAS(f, to) ? f->to : INT64_MAX)),
               &n);
    c->n = e ? 0 : n.n;
    return e;
}

static enum err_code write_usage(struct ctx *cx, struct writing *w, const struct report_def *d)
{
    struct usage_filter filter;
    struct count c = { .w = w, .filter = &filter };
    usage_filter_of(d, w->job, &filter);
    enum err_code e = store_read(cx, w->at->store, count_usage, &c);
    if (e)
        return e;
    w->p->total = c.n;
    out_head(w->o, &rec_usage_request);
    return usage_each(cx, w->at->usage, w->job->who.team_id, &filter, write_row, w);
}

/* ---- tickets and contacts ---- */

union any_row {
    struct ticket ticket;
    struct contact contact;
};

struct table { /* how its rows are read */
    const struct rec *rec;
    const char *columns, *alias;
    size_t id_at;
};
static const struct table tickets_table = { &rec_ticket, TICKET_COLUMNS, "t",
                                            offsetof(struct ticket, id) };
static const struct table contacts_table = { &rec_contact, CONTACT_COLUMNS(""), "c",
                                             offsetof(struct contact, id) };

struct page_read {
    const struct writing *w;
    const struct table *table;
    const struct report_def *d;
    struct str after; /* id of the last row of the page before */
    bool is_count;    /* how many there are, into n */
    int64_t n;
    struct list rows;
};

/* " FROM … WHERE …" by the tables of reports, so that what is seen is the same. */
static void put_where(struct report_sql *q, const struct page_read *r)
{
    const struct export_job *job = r->w->job;
    const struct report_field *when = report_field_find(r->d->source, STR("created_at"));
    buf_printf(&q->sql, " FROM %s WHERE ", r->d->source->table);
    report_sql_begin(q, &job->who);
    report_sql_filters(q, r->d);
    if (job->from.is_set)
        buf_printf(&q->sql, " AND %s >= $%d", when->sql,
                   report_sql_bind(q, VI(report_when_ms(&job->from, job->asked_ms))));
    if (job->to.is_set)
        buf_printf(&q->sql, " AND %s < $%d", when->sql,
                   report_sql_bind(q, VI(report_when_ms(&job->to, job->asked_ms))));
}

static enum err_code read_page(struct ctx *cx, struct db *db, void *arg)
{
    struct page_read *r = arg;
    struct report_plan *p = ARENA_NEW(&cx->arena, struct report_plan);
    struct report_sql q = { .cx = cx, .p = p };
    struct rec_num n;
    p->def = r->d;
    caller_scope(db, &r->w->job->who);
    buf_init(&q.sql, &cx->arena, 32768);
    buf_printf(&q.sql, "SELECT %s", r->is_count ? "COUNT(*) AS n" : r->table->columns);
    put_where(&q, r);
    if (!r->is_count) {
        buf_printf(&q.sql, " AND %s.id > $%d", r->table->alias, report_sql_bind(&q, VT(r->after)));
        buf_printf(&q.sql, " ORDER BY %s.id LIMIT %d", r->table->alias, PAGE_ROWS);
    }
    buf_char(&q.sql, '\0');
    BUG_IF(q.sql.over);
    struct args args = { p->args, p->n_args };
    if (!r->is_count)
        return db_list(cx, db, r->table->rec, q.sql.p, args, &r->rows);
    enum err_code e = db_one(cx, db, &rec_num, q.sql.p, args, &n);
    r->n = e ? 0 : n.n;
    return e;
}

static enum err_code write_page(struct ctx *cx, struct writing *w, struct page_read *r,
                                char last[40])
{
    enum err_code e = store_read(cx, w->at->store, read_page, r);
    for (size_t i = 0; !e && i < r->rows.n; i++) {
        const char *row = (const char *)r->rows.v + i * r->table->rec->size;
        struct str id = *(const struct str *)(const void *)(row + r->table->id_at);
        BUG_IF(id.n >= 40);
        memcpy(last, id.p, id.n);
        r->after = (struct str){ last, id.n };
        e = write_row(cx, (void *)(uintptr_t)row, w);
    }
    return e;
}

static enum err_code write_table(struct ctx *cx, struct writing *w, const struct report_def *d)
{
    struct page_read r = { .w = w, .d = d, .after = STR(""), .is_count = true };
    struct ctx step;
    char last[40];
    r.table = d->source->kind == SOURCE_TICKETS ? &tickets_table : &contacts_table;
    out_head(w->o, r.table->rec);
    ctx_init(&step, 4 * CTX_CAP_DEFAULT);
    step.stop = cx->stop;
    enum err_code e = store_read(&step, w->at->store, read_page, &r);
    w->p->total = r.n;
    r.is_count = false;
    r.rows.n = PAGE_ROWS;
    while (!e && r.rows.n == PAGE_ROWS) {
        ctx_retry(&step);
        e = write_page(&step, w, &r, last);
    }
    if (e)
        ctx_fail(cx, e, STR_FMT, STR_ARG(step.err_text));
    ctx_done(&step);
    return e;
}

/* ---- a report ---- */

static enum err_code write_report(struct ctx *cx, struct writing *w)
{
    struct report_table t;
    struct report_def *d = ARENA_NEW(&cx->arena, struct report_def);
    struct report_ask ask = { .def = d,
                              .who = &w->job->who,
                              .from = w->job->from,
                              .to = w->job->to,
                              .now_ms = w->job->asked_ms };
    enum err_code e = report_def_parse(cx, w->job->definition, "definition", w->job->asked_ms, d);
    if (!e)
        e = report_execute(cx, w->at->store, &ask, &t);
    if (e)
        return e;
    if (w->o->xlsx)
        report_write_xlsx(&t, w->o->xlsx);
    else if (w->o->is_csv)
        report_write_csv(&t, w->o->spool);
    else
        report_write_json(cx, &t, w->o->spool);
    w->p->rows = w->p->total = (int64_t)t.n_rows;
    return ERR_NONE;
}

/* ---- all of them ---- */

static enum err_code read_filters(struct ctx *cx, const struct export_job *job,
                                  struct report_def *d)
{
    const struct report_source *source =
        str_eq(job->kind, STR("usage")) ? &report_source_log : report_source_find(job->kind);
    enum err_code e = report_filters_parse(cx, source, job->filters, job->asked_ms, d);
    return e ? e : report_may_read(cx, &job->who, source);
}

enum err_code export_check(struct ctx *cx, const struct export_job *job)
{
    struct report_def *d = ARENA_NEW(&cx->arena, struct report_def);
    enum err_code e;
    if (job->definition.p) {
        e = report_def_parse(cx, job->definition, "definition", job->asked_ms, d);
        if (!e)
            e = report_may_read(cx, &job->who, d->source);
    } else {
        e = read_filters(cx, job, d);
    }
    if (!e && job->from.is_set && job->to.is_set &&
        report_when_ms(&job->from, job->asked_ms) > report_when_ms(&job->to, job->asked_ms))
        e = ctx_fail_field(cx, ERR_INVALID_FIELD, STR("to"), "to must not be before from");
    return e;
}

enum err_code export_write(struct ctx *cx, const struct export_place *at,
                           const struct export_job *job, struct export_progress *p)
{
    struct out o;
    struct writing w = { at, job, p, &o };
    struct report_def *d = ARENA_NEW(&cx->arena, struct report_def);
    enum err_code e = out_open(cx, at, job->format, &o);
    if (e)
        return e;
    if (job->definition.p)
        e = write_report(cx, &w);
    else
        e = read_filters(cx, job, d);
    if (!e && !job->definition.p)
        e = d->source->kind == SOURCE_USAGE ? write_usage(cx, &w, d) : write_table(cx, &w, d);
    return out_done(cx, &o, p, e);
}
