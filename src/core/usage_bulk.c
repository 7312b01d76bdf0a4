/* Many rows into one table with few statements.
 *
 * SQLite: one prepared INSERT, run once per row; a call costs no more than the row. PostgreSQL: one statement for up to
 * PIECE_ROWS rows; each column travels as an array in its text form and unnest() makes rows of them, so the text of the
 * statement does not depend on the number of rows. */
#include "usage_inner.h"

#define SQL_MAX ((size_t)16384)
#define PIECE_ROWS 128
#define ARRAY_MAX ((size_t)4 << 20)

static void names(struct buf *b, const struct bulk *bulk, const char *table)
{
    buf_printf(b, "INSERT INTO %s (", table);
    for (size_t i = 0; i < bulk->n_cols; i++)
        buf_printf(b, "%s%s", i ? ", " : "", bulk->cols[i].name);
    buf_char(b, ')');
}

static const char *text_end(struct buf *b, struct arena *a, const char *tail)
{
    buf_char(b, ' ');
    buf_lit(b, tail);
    BUG_IF(b->over);
    return str_cstr(a, buf_view(b));
}

void bulk_init(struct bulk *b, struct arena *a, const char *table, const struct bulk_col *cols,
               size_t n_cols, const char *tail)
{
    struct buf text;

    BUG_IF(n_cols > BULK_COLS_MAX);
    *b = (struct bulk){ .cols = cols, .n_cols = n_cols };
    buf_init(&text, a, SQL_MAX);
    names(&text, b, table);
    buf_lit(&text, " VALUES (");
    for (size_t i = 0; i < n_cols; i++)
        buf_printf(&text, "%s$%zu", i ? ", " : "", i + 1);
    buf_char(&text, ')');
    b->sql_row = text_end(&text, a, tail);
    buf_reset(&text);
    names(&text, b, table);
    buf_lit(&text, " SELECT * FROM unnest(");
    for (size_t i = 0; i < n_cols; i++)
        buf_printf(&text, "%s$%zu::%s[]", i ? ", " : "", i + 1,
                   cols[i].is_text ? "text" : "bigint");
    buf_char(&text, ')');
    b->sql_many = text_end(&text, a, tail);
}

static void array_text(struct buf *b, struct str s)
{
    size_t from = 0;

    buf_char(b, '"');
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] != '"' && s.p[i] != '\\')
            continue;
        buf_add(b, s.p + from, i - from);
        buf_char(b, '\\');
        from = i;
    }
    buf_add(b, s.p + from, s.n - from);
    buf_char(b, '"');
}

/* One column of n rows as the text of an array. */
static struct str array_of(struct arena *a, const struct val *v, size_t stride, size_t n)
{
    struct buf b;

    buf_init(&b, a, ARRAY_MAX);
    buf_char(&b, '{');
    for (size_t i = 0; i < n; i++, v += stride) {
        if (i)
            buf_char(&b, ',');
        if (v->kind == VAL_INT)
            buf_i64(&b, v->i);
        else if (v->kind == VAL_NULL || !v->s.p)
            buf_lit(&b, "NULL");
        else
            array_text(&b, v->s);
    }
    buf_char(&b, '}');
    BUG_IF(b.over);
    return buf_view(&b);
}

static enum err_code put_arrays(struct ctx *cx, struct db *db, struct arena *a,
                                const struct bulk *b, const struct val *v, size_t n)
{
    struct val arrays[BULK_COLS_MAX];

    for (size_t c = 0; c < b->n_cols; c++)
        arrays[c] = VT(array_of(a, v + c, b->n_cols, n));
    return db_run(cx, db, b->sql_many, (struct args){ arrays, b->n_cols });
}

enum err_code bulk_put(struct ctx *cx, struct db *db, const struct bulk *b, size_t n,
                       void (*row)(struct arena *a, const void *arg, size_t i, struct val *v),
                       const void *arg)
{
    size_t piece = db_is_postgres(db) ? PIECE_ROWS : 1; /* arrays are PostgreSQL's */
    enum err_code e = ERR_NONE;
    struct arena a;

    arena_init(&a, CTX_CAP_DEFAULT);
    for (size_t at = 0; at < n && !e; at += piece) {
        size_t some = n - at < piece ? n - at : piece;
        struct val *v = arena_alloc(&a, some * b->n_cols * sizeof *v);

        for (size_t i = 0; i < some; i++)
            row(&a, arg, at + i, v + i * b->n_cols);
        if (piece > 1)
            e = put_arrays(cx, db, &a, b, v, some);
        else
            e = db_run(cx, db, b->sql_row, (struct args){ v, b->n_cols });
        arena_reset(&a);
    }
    arena_done(&a);
    return e;
}
