/* What both backends need to know about SQL text and rows: columns to fields, {claim}, does a text
 * only read.
 *
 * Pure functions, any thread. */
#include <string.h>
#include <strings.h>

#include "backend.h"

const struct field *row_field(const struct rec *r, const char *column)
{
    const struct field *f = rec_find(r, str_of(column));

    BUG_IF(f == NULL);
    return f;
}

enum err_code row_keep(struct ctx *cx, const struct rec *r, void *row)
{
    const struct rec_bits *bits = row;

    for (size_t i = 0; i < r->n; i++) {
        const struct field *f = &r->fields[i];
        struct str *s = (struct str *)(void *)((char *)row + f->offset);

        if (field_is_int(f) || !rec_bit(&bits->has, f->offset))
            continue;
        if (cx->arena.used + s->n > cx->arena.cap)
            return fail(cx, TOO_LARGE, "The result is too large");
        *s = str_dup(&cx->arena, *s);
    }
    return ERR_NONE;
}

#define CLAIM "{claim}"

struct str sql_for_backend(struct arena *a, const struct backend *b, const char *sql)
{
    const char *at = strstr(sql, CLAIM);

    if (!at)
        return str_of(sql);
    return str_printf(a, "%.*s%s%s", (int)(at - sql), sql, b->claim, at + strlen(CLAIM));
}

static bool is_word_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* The length of the word at s, 0 when there is none. */
static size_t word_at(const char *s)
{
    size_t n = 0;

    while (is_word_char(s[n]))
        n++;
    return n;
}

static bool word_is(const char *s, size_t n, const char *word)
{
    return strlen(word) == n && strncasecmp(s, word, n) == 0;
}

bool sql_is_read(const char *sql)
{
    size_t n;

    sql += strspn(sql, " \t\r\n(");
    n = word_at(sql);
    if (word_is(sql, n, "SELECT"))
        return true;
    if (!word_is(sql, n, "WITH"))
        return false;
    /* Any of the writing verbs as a word: a column of that name only costs us a needless
     * isolation. */
    while (*sql) {
        n = word_at(sql);
        if (word_is(sql, n, "INSERT") || word_is(sql, n, "UPDATE") || word_is(sql, n, "DELETE"))
            return false;
        sql += n ? n : 1;
    }
    return true;
}
