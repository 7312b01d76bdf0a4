/* Lists: see listing.h. */
#include "listing.h"

#include <string.h>

#include "../base/crypt.h"

#define SQL_MAX 8192
#define PAGE_TEXT_MAX                                                                              \
    ((size_t)2 << 20) /* bytes: a page of very large rows ends early instead of not fitting */

static const struct field list_query_fields[] = { LISTING_QUERY_ROWS(struct list_query) };
const struct rec rec_list_query = REC("ListQuery", struct list_query, list_query_fields, "Paging.");

void listing_init(struct listing *l, struct ctx *cx, const char *first, struct val v)
{
    *l = (struct listing){ .cx = cx };
    buf_init(&l->sql, &cx->arena, SQL_MAX);
    listing_and(l, first, v, "");
}

int listing_bind(struct listing *l, struct val v)
{
    BUG_IF(l->n == LISTING_ARGS_MAX);
    l->args[l->n++] = v;
    return (int)l->n;
}

int listing_bind_moving(struct listing *l, struct val v)
{
    l->moving |= UINT64_C(1) << l->n;
    return listing_bind(l, v);
}

void listing_and(struct listing *l, const char *before, struct val v, const char *after)
{
    buf_lit(&l->sql, before);
    buf_printf(&l->sql, "$%d", listing_bind(l, v));
    buf_lit(&l->sql, after);
}

/* Each word once: a list that repeats its words must not run out of arguments. */
void listing_words(struct listing *l, const char *column, struct str words)
{
    size_t from = l->n;
    buf_printf(&l->sql, " AND %s IN (", column);
    while (words.p) {
        struct str word = str_cut(&words, ',');
        size_t i = from;
        while (i < l->n && !str_eq(l->args[i].s, word))
            i++;
        if (i == l->n)
            buf_printf(&l->sql, "%s$%d", i > from ? ", " : "", listing_bind(l, VT(word)));
    }
    buf_char(&l->sql, ')');
}

/* %, _ and the escape itself are meant literally. */
struct str listing_like(struct ctx *cx, struct str text)
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

/* Names the filters for the cursor's fingerprint: the composed text and its arguments say it
 * all. */
static struct str filter_text(struct listing *l)
{
    struct buf b;
    buf_init(&b, &l->cx->arena, 16384);
    buf_str(&b, buf_view(&l->sql));
    for (size_t i = 0; i < l->n; i++) {
        buf_char(&b, '\n');
        if (l->moving >> i & 1)
            continue;
        if (l->args[i].kind == VAL_INT)
            buf_i64(&b, l->args[i].i);
        else
            buf_str(&b, l->args[i].s);
    }
    return str_dup(&l->cx->arena, buf_view(&b));
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

static enum err_code count_all(struct listing *l, struct db *db, const char *table, int64_t *total)
{
    struct rec_num n;
    struct str sql = str_printf(&l->cx->arena, "SELECT COUNT(*) AS n FROM %s" STR_FMT, table,
                                STR_ARG(buf_view(&l->sql)));
    enum err_code e = db_one(l->cx, db, &rec_num, sql.p, (struct args){ l->args, l->n }, &n);
    if (!e)
        *total = n.n;
    return e;
}

static struct val id_value(struct ctx *cx, const struct listing_from *f, struct str id,
                           bool *is_fine)
{
    int64_t n = 0;
    (void)cx;
    *is_fine = !f->id_is_int || str_to_i64(id, &n);
    return f->id_is_int ? VI(n) : VT(id);
}

static enum err_code seek(struct listing *l, const struct listing_from *f, const struct cursor *at)
{
    const char *op = f->is_down ? "<" : ">";
    bool is_fine;
    struct val id = id_value(l->cx, f, at->id, &is_fine);
    if (!is_fine)
        return ctx_fail_field(l->cx, ERR_INVALID_PARAMETER, STR("cursor"), "cursor is not valid");
    if (!f->by) {
        buf_printf(&l->sql, " AND %s %s $%d", f->id, op, listing_bind(l, id));
        return ERR_NONE;
    }
    int by = listing_bind(l, VI(at->at)), n = listing_bind(l, id);
    buf_printf(&l->sql, " AND (%s, %s) %s ($%d, $%d)", f->by, f->id, op, by, n);
    return ERR_NONE;
}

static void next_cursor(struct ctx *cx, const struct listing_from *f, const struct page_ask *ask,
                        struct cursor *at, struct page *out)
{
    const char *last = (const char *)out->rows.v + (out->rows.n - 1) * f->r->size;
    at->at = f->by ? *(const int64_t *)(const void *)(last + f->by_at) : 0;
    if (f->id_is_int)
        at->id = str_printf(&cx->arena, "%lld",
                            (long long)*(const int64_t *)(const void *)(last + f->id_at));
    else
        at->id = *(const struct str *)(const void *)(last + f->id_at);
    out->next_cursor = cursor_print(cx, ask->key, at);
}

static struct str page_text(struct listing *l, const struct listing_from *f, int64_t limit)
{
    const char *dir = f->is_down ? "DESC" : "ASC";
    struct arena *a = &l->cx->arena;
    struct str order = f->by ? str_printf(a, "%s %s, %s %s", f->by, dir, f->id, dir)
                             : str_printf(a, "%s %s", f->id, dir);
    return str_printf(a, "SELECT %s FROM %s" STR_FMT " ORDER BY " STR_FMT " LIMIT $%d", f->columns,
                      f->table, STR_ARG(buf_view(&l->sql)), STR_ARG(order),
                      listing_bind(l, VI(limit + 1)));
}

enum err_code listing_page(struct listing *l, struct db *db, const struct listing_from *f,
                           const struct page_ask *ask, struct page *out)
{
    struct ctx *cx = l->cx;
    int64_t limit = ask->limit ? ask->limit : LISTING_LIMIT_DEFAULT;
    struct cursor at = { .kind = str_of(f->kind), .filter = filter_text(l) };
    bool has_more;
    enum err_code e = ERR_NONE;
    *out = (struct page){ .total = -1 };
    if (ask->is_counted)
        e = count_all(l, db, f->table, &out->total);
    if (!e && ask->cursor.p)
        e = cursor_parse(cx, ask->key, ask->cursor, &at);
    if (!e && ask->cursor.p)
        e = seek(l, f, &at);
    if (e)
        return e;
    struct str sql = page_text(l, f, limit);
    e = page_read(cx, db, &(struct page_sql){ f->r, sql.p, { l->args, l->n }, limit }, &out->rows,
                  &has_more);
    if (!e && has_more)
        next_cursor(cx, f, ask, &at, out);
    return e;
}

enum err_code path_id(struct ctx *cx, const char *name, struct str *id)
{
    if (!uuid_is_valid(*id))
        return ctx_fail_field(cx, ERR_INVALID_PARAMETER, str_of(name), "%s must be a UUID", name);
    char *p = str_cstr(&cx->arena, *id);
    for (size_t i = 0; i < id->n; i++)
        if (p[i] >= 'A' && p[i] <= 'F')
            p[i] = (char)(p[i] + ('a' - 'A'));
    id->p = p;
    return ERR_NONE;
}
