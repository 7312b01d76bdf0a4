/* The ticket list: filters, order, cursor, composed from fixed fragments.
 *
 * The position is (sort column, id); the next page starts strictly behind the last row, so inserts
 * move nothing. The order by created_at goes by id: ids are UUIDv7, made in time order. A cursor is
 * bound to order and filters. */
#include "ticket.h"

#include <string.h>

#define LIMIT_DEFAULT 50
#define ARGS_MAX 24
#define SQL_MAX 4096
#define PAGE_TEXT_MAX                                                                              \
    ((size_t)2 << 20) /* bytes: a page of very large tickets ends early instead of not fitting */

struct query { /* SQL under construction */
    struct ctx *cx;
    struct buf sql;
    struct val args[ARGS_MAX];
    size_t n;
};

/* Adds one argument and returns its number. */
static int bind(struct query *q, struct val v)
{
    BUG_IF(q->n == ARGS_MAX);
    q->args[q->n++] = v;
    return (int)q->n;
}

static void and_one(struct query *q, const char *before, struct val v, const char *after)
{
    buf_lit(&q->sql, before);
    buf_printf(&q->sql, "$%d", bind(q, v));
    buf_lit(&q->sql, after);
}

/* Each word once: a list that repeats its words must not run out of arguments. */
static void and_words(struct query *q, const char *column, struct str words)
{
    size_t from = q->n;
    buf_printf(&q->sql, " AND %s IN (", column);
    while (words.p) {
        struct str word = str_cut(&words, ',');
        size_t i = from;
        while (i < q->n && !str_eq(q->args[i].s, word))
            i++;
        if (i == q->n)
            buf_printf(&q->sql, "%s$%d", i > from ? ", " : "", bind(q, VT(word)));
    }
    buf_char(&q->sql, ')');
}

/* %, _ and the escape itself are meant literally. */
static struct str like_pattern(struct ctx *cx, struct str text)
{
    struct buf b;
    buf_init(&b, &cx->arena, 4096);
    buf_char(&b, '%');
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (c == '%' || c == '_' || c == '\\')
            buf_char(&b, '\\');
        buf_char(&b, c);
    }
    buf_char(&b, '%');
    return buf_view(&b);
}

static void filters(struct query *q, const struct caller *who, const struct ticket_query *in)
{
    buf_printf(&q->sql, " WHERE team_id = $%d", bind(q, VT(who->team_id)));
    and_one(q, " AND token_id = ", VT(who->token_id), " AND deleted_ms IS NULL");
    if (REC_HAS(in, status))
        and_words(q, "status", in->status);
    if (REC_HAS(in, priority))
        and_words(q, "priority", in->priority);
    if (REC_HAS(in, category))
        and_one(q, " AND category = ", VT(in->category), "");
    if (REC_HAS(in, created_after))
        and_one(q, " AND created_ms >= ", VI(in->created_after), "");
    if (REC_HAS(in, created_before))
        and_one(q, " AND created_ms < ", VI(in->created_before), "");
    if (REC_HAS(in, updated_after))
        and_one(q, " AND updated_ms >= ", VI(in->updated_after), "");
    if (REC_HAS(in, updated_before))
        and_one(q, " AND updated_ms < ", VI(in->updated_before), "");
    if (REC_HAS(in, q)) {
        int n = bind(q, VT(like_pattern(q->cx, in->q)));
        buf_printf(&q->sql,
                   " AND (lower(title) LIKE lower(CAST($%d AS TEXT)) ESCAPE '\\' OR "
                   "lower(description) LIKE lower(CAST($%d AS TEXT)) ESCAPE '\\')",
                   n, n);
    }
}

/* Names the filters for the cursor's fingerprint: the composed text and its arguments say it
 * all. */
static struct str filter_text(struct query *q)
{
    struct buf b;
    buf_init(&b, &q->cx->arena, 16384);
    buf_str(&b, buf_view(&q->sql));
    for (size_t i = 0; i < q->n; i++) {
        buf_char(&b, '\n');
        if (q->args[i].kind == VAL_INT)
            buf_i64(&b, q->args[i].i);
        else
            buf_str(&b, q->args[i].s);
    }
    return str_dup(&q->cx->arena, buf_view(&b));
}

static void seek(struct query *q, const struct cursor *at, bool by_update, bool is_down)
{
    const char *op = is_down ? "<" : ">";
    if (!by_update) {
        buf_printf(&q->sql, " AND id %s $%d", op, bind(q, VT(at->id)));
        return;
    }
    int n = bind(q, VI(at->at)), id = bind(q, VT(at->id));
    buf_printf(&q->sql, " AND (updated_ms, id) %s ($%d, $%d)", op, n, id);
}

static enum err_code count_all(struct query *q, struct db *db, int64_t *total)
{
    struct rec_num n;
    struct str sql = str_printf(&q->cx->arena, "SELECT COUNT(*) AS n FROM tickets" STR_FMT,
                                STR_ARG(buf_view(&q->sql)));
    enum err_code e = db_one(q->cx, db, &rec_num, sql.p, (struct args){ q->args, q->n }, &n);
    if (!e)
        *total = n.n;
    return e;
}

struct rows { /* of one page */
    const struct rec *r;
    char *v;
    size_t n, max, bytes;
    bool has_more;
};

static enum err_code add_row(struct ctx *cx, void *row, void *arg)
{
    struct rows *rows = arg;
    rows->has_more = rows->n == rows->max || rows->bytes > PAGE_TEXT_MAX;
    if (rows->has_more)
        return ERR_TOO_LARGE; /* ends the reading; nobody is told */
    char *to = rows->v + rows->n++ * rows->r->size;
    memcpy(to, row, rows->r->size);
    for (size_t i = 0; i < rows->r->n; i++) {
        const struct field *f = &rows->r->fields[i];
        struct str *s = (struct str *)(void *)(to + f->offset);
        if (field_is_int(f))
            continue;
        *s = str_dup(&cx->arena, *s);
        rows->bytes += s->n;
    }
    return ERR_NONE;
}

enum err_code page_read(struct ctx *cx, struct db *db, const struct page_sql *q, struct list *out,
                        bool *has_more)
{
    struct rows rows = { .r = q->r,
                         .v = arena_zalloc(&cx->arena, q->r->size * (size_t)q->limit),
                         .max = (size_t)q->limit };
    enum err_code e = db_each(cx, db, q->r, q->sql, q->args, add_row, &rows);
    *has_more = rows.has_more;
    *out = (struct list){ rows.v, rows.n };
    return rows.has_more && e == ERR_TOO_LARGE ? ERR_NONE : e;
}

enum err_code ticket_list(struct ctx *cx, struct db *db, const struct caller *who,
                          const struct ticket_query *in, struct cursor_key key, struct page *out)
{
    struct query q = { .cx = cx };
    struct str sort = REC_HAS(in, sort) ? in->sort : STR("-created_at");
    bool is_down = sort.p[0] == '-', by_update = sort.p[is_down] == 'u';
    int64_t limit = REC_HAS(in, limit) ? in->limit : LIMIT_DEFAULT;
    enum err_code e = ERR_NONE;
    *out = (struct page){ .total = -1 };
    buf_init(&q.sql, &cx->arena, SQL_MAX);
    filters(&q, who, in);
    struct cursor at = { .kind = str_printf(&cx->arena, "tickets:" STR_FMT, STR_ARG(sort)),
                         .filter = filter_text(&q) };
    if (REC_HAS(in, count) && in->count)
        e = count_all(&q, db, &out->total);
    if (!e && REC_HAS(in, cursor)) {
        e = cursor_parse(cx, &key, in->cursor, &at);
        if (!e)
            seek(&q, &at, by_update, is_down);
    }
    if (e)
        return e;
    const char *dir = is_down ? "DESC" : "ASC";
    struct str order = by_update ? str_printf(&cx->arena, "updated_ms %s, id %s", dir, dir)
                                 : str_printf(&cx->arena, "id %s", dir);
    struct str sql =
        str_printf(&cx->arena,
                   "SELECT id, title, description, status, priority, category, metadata, token_id, "
                   "integration_source, version, created_ms AS created_at, updated_ms AS "
                   "updated_at FROM tickets" STR_FMT " ORDER BY " STR_FMT " LIMIT $%d",
                   STR_ARG(buf_view(&q.sql)), STR_ARG(order), bind(&q, VI(limit + 1)));
    bool has_more;
    e = page_read(cx, db, &(struct page_sql){ &rec_ticket, sql.p, { q.args, q.n }, limit },
                  &out->rows, &has_more);
    if (e || !has_more)
        return e;
    const struct ticket *last = &((const struct ticket *)out->rows.v)[out->rows.n - 1];
    at.at = by_update ? last->updated_ms : last->created_ms;
    at.id = last->id;
    out->next_cursor = cursor_print(cx, &key, &at);
    return ERR_NONE;
}
