/* Any bytes as a body and as query parameters: decoding ends with recorded problems or with a
 * struct whose encoding is valid JSON that decodes to the same text again. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/json.h"
#include "base/rec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct thing {
    struct rec_bits bits;
    struct str a, b, c, d, e, g, h, j;
    int64_t i, t, f;
};

static const char *const words[] = { "low", "high", NULL };

#define AT(member) .offset = offsetof(struct thing, member)
static const struct field inner_fields[] = {
    { "a", F_STR, AT(a), .flags = F_REQUIRED, .max = 8 },
    { "i", F_INT, AT(i), .min = -9, .max = 99 },
    { "j", F_JSON, AT(j), .max = 16 },
};
static const struct rec inner = REC("Inner", struct thing, inner_fields, NULL);
static const struct field middle_fields[] = {
    { "g", F_REC, AT(g), .of = &inner },
    { "h", F_RECS, AT(h), .min = 1, .of = &inner },
};
static const struct rec middle = REC("Middle", struct thing, middle_fields, NULL);

static const struct field fields[] = {
    { "a", F_STR, AT(a), .flags = F_NULLABLE | F_SINGLE_LINE, .max = 8 },
    { "b", F_UUID, AT(b), .flags = F_OMIT_NULL },
    { "c", F_ENUM, AT(c), .words = words },
    { "d", F_OBJECT, AT(d), .max = 64 },
    { "e", F_STRS, AT(e), .max = 4 },
    { "g", F_REC, AT(g), .of = &middle },
    { "h", F_RECS, AT(h), .max = 3, .of = &middle },
    { "j", F_JSON, AT(j), .max = 64 },
    { "i", F_INT, AT(i), .min = -9, .max = 99 },
    { "t", F_TIME, AT(t) },
    { "f", F_BOOL, AT(f) },
};
static const struct rec rec = REC("Fuzz", struct thing, fields, NULL);

static const struct field query_fields[] = {
    { "a", F_STR, AT(a), .flags = F_REQUIRED, .min = 1, .max = 8 },
    { "b", F_UUID, AT(b) },
    { "c", F_ENUMS, AT(c), .words = words },
    { "i", F_INT, AT(i), .min = -9, .max = 99 },
    { "t", F_TIME_S, AT(t) },
    { "f", F_BOOL, AT(f) },
};
static const struct rec query = REC("FuzzQuery", struct thing, query_fields, NULL);

static struct str encoded(struct ctx *cx, const struct rec *r, const struct thing *t)
{
    struct buf b;

    buf_init(&b, &cx->arena, 1 << 20);
    rec_encode(&b, r, t);
    BUG_IF(b.over);
    return buf_view(&b);
}

static void as_body(struct ctx *cx, struct str text)
{
    json_t *v = json_read(cx, text);
    struct thing t, again;

    if (!v)
        return;
    if (rec_decode(cx, &rec, v, REC_REFUSE_UNKNOWN, STR_NONE, &t)) {
        BUG_IF(!cx->err);
        return;
    }
    struct str once = encoded(cx, &rec, &t);
    BUG_IF(rec_decode(cx, &rec, json_read(cx, once), REC_REFUSE_UNKNOWN, STR_NONE, &again));
    BUG_IF(!str_eq(once, encoded(cx, &rec, &again)));
}

/* "name=value&name=value", undecoded: the splitting is not what is tested here. */
static void as_query(struct ctx *cx, struct str text)
{
    struct rec_param params[16];
    struct thing t;
    size_t n = 0;

    while (text.p && n < sizeof params / sizeof *params) {
        struct str value = str_cut(&text, '&');
        params[n].name = str_cut(&value, '=');
        params[n++].value = value;
    }
    enum err_code e = rec_decode_query(cx, &query, params, n, &t);
    BUG_IF(e && (e != ERR_INVALID_PARAMETER || cx->n_fields == 0));
    if (!e)
        BUG_IF(!json_read(cx, encoded(cx, &query, &t)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct str text = { (const char *)data, n };
    struct ctx cx;

    if (n > 1 << 14)
        return 0;
    ctx_init(&cx, CTX_CAP_DEFAULT);
    as_body(&cx, text);
    ctx_clear(&cx);
    as_query(&cx, text);
    ctx_done(&cx);
    return 0;
}
