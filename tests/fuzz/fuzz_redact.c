/* Any JSON as a request body: what usage_redact keeps of it is short, is UTF-8 and holds no
 * secret.
 *
 * A secret is a string below a sensitive key. One that also stands elsewhere in the body may be
 * kept there, so only those are looked for that the body without its secrets does not hold.
 * Words of letters alone: those look the same however the JSON around them is written. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "core/usage.h"

#define SECRETS_MAX 64
#define SECRET_MIN 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const char *const sensitive[] = { "password", "token", "secret", "authorization",
                                         "api_key" };

struct secrets {
    struct str v[SECRETS_MAX];
    size_t n;
};

static bool is_sensitive(const char *key)
{
    for (size_t i = 0; i < sizeof sensitive / sizeof *sensitive; i++)
        if (!strcasecmp(key, sensitive[i]))
            return true;
    return false;
}

static bool is_word(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!((s.p[i] >= 'a' && s.p[i] <= 'z') || (s.p[i] >= 'A' && s.p[i] <= 'Z')))
            return false;
    return s.n >= SECRET_MIN;
}

static bool holds(struct str text, struct str word)
{
    for (size_t i = 0; word.n <= text.n && i <= text.n - word.n; i++)
        if (!memcmp(text.p + i, word.p, word.n))
            return true;
    return false;
}

/* Gather copies of the secrets of v and blank them. The depth is bounded by JSON_DEPTH_MAX. */
static void take(struct ctx *cx, struct secrets *s, json_t *v, bool is_secret)
{
    const char *key;
    json_t *item;
    size_t i;
    void *next;

    if (json_is_string(v) && is_secret) {
        struct str text = { json_string_value(v), json_string_length(v) };

        if (is_word(text) && s->n < SECRETS_MAX)
            s->v[s->n++] = str_dup(&cx->arena, text);
    }
    json_array_foreach(v, i, item)
        take(cx, s, item, is_secret);
    json_object_foreach_safe(v, next, key, item)
    {
        bool is_below = is_secret || is_sensitive(key);

        take(cx, s, item, is_below);
        if (is_below)
            json_object_set_new(v, key, json_null());
    }
}

static void check(struct ctx *cx, struct str kept, struct str raw)
{
    json_t *body = json_read(cx, raw);
    struct secrets s = { .n = 0 };

    take(cx, &s, body, false);
    struct str rest = json_text(cx, body);
    for (size_t i = 0; i < s.n; i++)
        BUG_IF(!holds(rest, s.v[i]) && holds(kept, s.v[i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct str raw = { (const char *)data, n };
    struct ctx cx;
    json_t *body;

    if (n > 1 << 15)
        return 0;
    ctx_init(&cx, CTX_CAP_DEFAULT);
    body = json_read(&cx, raw);
    if (body) {
        struct str before = json_text(&cx, body);
        struct str kept = usage_redact(&cx, body, raw);

        BUG_IF(kept.n > USAGE_PAYLOAD_MAX || !str_is_utf8(kept));
        BUG_IF(!str_eq(before, json_text(&cx, body))); /* the request still needs it */
        check(&cx, kept, raw);
    }
    ctx_done(&cx);
    return 0;
}
