/* What every fallible function is handed first: memory, the error, the deadline, log fields.
 *
 * A ctx belongs to one unit of work and is used by one thread at a time (it may be handed over).
 * What a function returns lives in the arena of the ctx it was given. The first recorded error
 * wins; the code travels up by return value, the edge (reply, CLI) turns it into words. */
#ifndef TESSERA_BASE_CTX_H
#define TESSERA_BASE_CTX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "arena.h"
#include "err.h"
#include "str.h"

#define CTX_CAP_DEFAULT ((size_t)16 << 20)
#define CTX_FIELD_ERRORS_MAX 100

struct field_err {      /* one problem of one input field */
    struct str field;   /* "title", "tickets[3].title" */
    enum err_code code; /* MISSING_FIELD or INVALID_FIELD (or INVALID_PARAMETER) */
    struct str text;
};

struct ctx {
    struct arena arena;
    enum err_code err;   /* first failure recorded, NONE = none */
    struct str err_text; /* public sentence; STR_NONE = the table's */
    struct field_err *fields;
    size_t n_fields;
    int64_t deadline_us;    /* monotonic; 0 = none */
    int64_t retry_after_s;  /* for RATE_LIMITED and UNAVAILABLE; 0 = not said */
    const atomic_int *stop; /* set when the process is stopping; may be NULL */
    struct str request_id;  /* for the log; may be STR_NONE */
};

void ctx_init(struct ctx *cx, size_t cap);
void ctx_done(struct ctx *cx);
/* Forget error and memory, keep deadline, stop and request id: to run a unit of work again. */
void ctx_retry(struct ctx *cx);

/* Record a failure with its public sentence and return its code. `fail(cx, NOT_FOUND, "…")`. */
enum err_code ctx_fail(struct ctx *cx, enum err_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The expression tells compilers and analysers what ctx_fail promises: it never returns NONE. */
#define fail(cx, name, ...)                                                                        \
    __extension__({                                                                                \
        enum err_code fail_code = ctx_fail((cx), ERR_##name, __VA_ARGS__);                         \
        if (fail_code == ERR_NONE)                                                                 \
            __builtin_unreachable();                                                               \
        fail_code;                                                                                 \
    })
/* Record a failure with the table's sentence. */
enum err_code ctx_fail_plain(struct ctx *cx, enum err_code code);
/* Record one problem of a field (up to CTX_FIELD_ERRORS_MAX); err becomes the first one's code and
 * the public sentence its text, which should name the field. `field` and the text are copied.
 * Returns the code. */
enum err_code ctx_fail_field(struct ctx *cx, enum err_code code, struct str field, const char *fmt,
                             ...) __attribute__((format(printf, 4, 5)));
/* False when the memory cap was passed, the deadline is over or the process stops; records why. */
bool ctx_ok(struct ctx *cx);
/* Forget a recorded error (the caller coped). */
void ctx_clear(struct ctx *cx);

#endif
