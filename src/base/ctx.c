/* The unit of work: its memory, its first error, its limits.
 *
 * Starting one costs a few stores: the arena asks for a block on first use. Recording is first-
 * wins; the functions that record return the code that stands recorded, so that what travels up and
 * what the edge prints are the same failure. */
#include "ctx.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"

#define TEXT_MAX 512 /* a public sentence */
#define FIELDS_FIRST 4
#define REQUEST_ID_MAX 128

void ctx_init(struct ctx *cx, size_t cap)
{
    *cx = (struct ctx){ 0 };
    arena_init(&cx->arena, cap);
}

void ctx_done(struct ctx *cx)
{
    arena_done(&cx->arena);
    cx->request_id = STR_NONE;
    ctx_clear(cx);
}

void ctx_retry(struct ctx *cx)
{
    char id[REQUEST_ID_MAX];
    struct str kept = str_sub(cx->request_id, 0, sizeof(id));

    if (kept.n) /* it may live in the arena that is emptied now */
        memcpy(id, kept.p, kept.n);
    arena_reset(&cx->arena);
    ctx_clear(cx);
    cx->request_id = kept.n ? str_dup(&cx->arena, (struct str){ id, kept.n }) : STR_NONE;
}

/* Format at most TEXT_MAX bytes, cut between characters. */
__attribute__((format(printf, 2, 0))) static struct str sentence(struct ctx *cx, const char *fmt,
                                                                 va_list ap)
{
    char text[TEXT_MAX + 1];
    int n = vsnprintf(text, sizeof(text), fmt, ap);
    size_t len;

    BUG_IF(n < 0);
    len = (size_t)n;
    if (len > TEXT_MAX) {
        len = TEXT_MAX; /* the last character may be cut in two: drop it */
        while (len && ((unsigned char)text[--len] & 0xC0) == 0x80)
            continue;
    }
    return str_dup(&cx->arena, (struct str){ text, len });
}

enum err_code ctx_fail(struct ctx *cx, enum err_code code, const char *fmt, ...)
{
    va_list ap;

    BUG_IF(code == ERR_NONE);
    if (cx->err)
        return cx->err;
    va_start(ap, fmt);
    cx->err_text = sentence(cx, fmt, ap);
    va_end(ap);
    cx->err = code;
    return code;
}

enum err_code ctx_fail_plain(struct ctx *cx, enum err_code code)
{
    BUG_IF(code == ERR_NONE);
    if (!cx->err)
        cx->err = code;
    return cx->err;
}

/* Storage doubles at 4, 8, 16 ... entries, so the count says when it is full. */
static struct field_err *field_slot(struct ctx *cx)
{
    size_t n = cx->n_fields;
    size_t cap = n ? 2 * n : FIELDS_FIRST;

    if (n == 0 || (n >= FIELDS_FIRST && (n & (n - 1)) == 0)) {
        struct field_err *v = ARENA_ARRAY(&cx->arena, struct field_err, cap);

        if (n)
            memcpy(v, cx->fields, n * sizeof(*v));
        cx->fields = v;
    }
    cx->n_fields++;
    return &cx->fields[n];
}

enum err_code ctx_fail_field(struct ctx *cx, enum err_code code, struct str field, const char *fmt,
                             ...)
{
    struct field_err fe = { .code = code };
    va_list ap;

    BUG_IF(code == ERR_NONE);
    if (cx->n_fields >= CTX_FIELD_ERRORS_MAX)
        return cx->err;
    va_start(ap, fmt);
    fe.text = sentence(cx, fmt, ap);
    va_end(ap);
    fe.field = str_dup(&cx->arena, field);
    *field_slot(cx) = fe;
    if (cx->err)
        return cx->err;
    return ctx_fail(cx, code, STR_FMT, STR_ARG(fe.text));
}

bool ctx_ok(struct ctx *cx)
{
    if (cx->arena.over) {
        fail(cx, TOO_LARGE, "The request needs too much memory");
        return false;
    }
    if (cx->stop && atomic_load_explicit(cx->stop, memory_order_relaxed)) {
        fail(cx, UNAVAILABLE, "The service is stopping; try again");
        return false;
    }
    if (cx->deadline_us && clock_mono_us() >= cx->deadline_us) {
        fail(cx, UNAVAILABLE, "The request took too long; try again");
        return false;
    }
    return true;
}

void ctx_clear(struct ctx *cx)
{
    cx->err = ERR_NONE;
    cx->err_text = STR_NONE;
    cx->fields = NULL;
    cx->n_fields = 0;
    cx->retry_after_s = 0;
}
