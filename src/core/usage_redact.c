/* Request bodies for the usage log: secrets masked, at most USAGE_PAYLOAD_MAX bytes.
 *
 * A body without a sensitive key is kept as it came, cut. Otherwise it is printed again with "***"
 * in place of each sensitive value, and printing stops once enough is there. The body itself is not
 * touched: the request still needs it. */
#include <string.h>

#include "../base/json.h"
#include "usage_inner.h"

#define KEY_MAX 256 /* a key that is longer is taken for a sensitive one */
#define PRINT_MAX ((size_t)128 << 10)

/* Looked for in the key in lower case without '_', '-', '.' and blanks. */
static const char *const sensitive[] = {
    "password",  "passwd",    "passphrase", "secret",     "token",  "authorization",
    "apikey",    "accesskey", "privatekey", "credential", "cookie", "bearer",
    "sessionid", "signature", "pwd",        "headers", /* of a webhook: their values are mostly credentials */
};

bool usage_is_sensitive(const char *key)
{
    char plain[KEY_MAX + 1];
    size_t n = 0;

    for (; *key; key++) {
        if (strchr("_-. ", *key))
            continue;
        if (n == KEY_MAX)
            return true;
        plain[n++] = *key >= 'A' && *key <= 'Z' ? (char)(*key + 'a' - 'A') : *key;
    }
    plain[n] = '\0';
    for (size_t i = 0; i < sizeof sensitive / sizeof *sensitive; i++)
        if (strstr(plain, sensitive[i]))
            return true;
    return false;
}

/* One of our own secrets, whatever the member is called. */
static bool is_own_secret(const json_t *v)
{
    struct str s = { json_string_value(v), json_string_length(v) };
    return s.p && str_starts(s, STR("stk_"));
}

/* Depth is bounded by JSON_DEPTH_MAX, beyond which no body is read. */
static bool has_sensitive(const json_t *v)
{
    const char *key;
    json_t *item;
    size_t i;

    if (is_own_secret(v))
        return true;
    if (json_is_array(v)) {
        json_array_foreach(v, i, item)
            if (has_sensitive(item))
                return true;
        return false;
    }
    json_object_foreach((json_t *)(uintptr_t)v, key, item)
        if (usage_is_sensitive(key) || has_sensitive(item))
            return true;
    return false;
}

static void print(struct buf *b, const json_t *v);

static void print_object(struct buf *b, const json_t *v)
{
    const char *key, *comma = "{";
    json_t *item;

    json_object_foreach((json_t *)(uintptr_t)v, key, item) {
        if (b->n > USAGE_PAYLOAD_MAX)
            return;
        buf_lit(b, comma);
        comma = ",";
        json_write_str(b, usage_cut(str_of(key), USAGE_PAYLOAD_MAX));
        buf_char(b, ':');
        if (usage_is_sensitive(key))
            buf_lit(b, "\"***\"");
        else
            print(b, item);
    }
    buf_lit(b, json_object_size(v) ? "}" : "{}");
}

static void print(struct buf *b, const json_t *v)
{
    json_t *item;
    size_t i;

    if (json_is_object(v)) {
        print_object(b, v);
    } else if (is_own_secret(v)) {
        buf_lit(b, "\"***\"");
    } else if (json_is_array(v)) {
        buf_char(b, '[');
        json_array_foreach(v, i, item) {
            if (b->n > USAGE_PAYLOAD_MAX)
                return;
            if (i)
                buf_char(b, ',');
            print(b, item);
        }
        buf_char(b, ']');
    } else if (json_is_string(v)) { /* what comes after the cap is cut anyway */
        json_write_str(b, usage_cut((struct str){ json_string_value(v), json_string_length(v) },
                                    USAGE_PAYLOAD_MAX));
    } else {
        json_write(b, v);
    }
}

static struct str cap(struct ctx *cx, struct str s)
{
    struct str more = STR("\xE2\x80\xA6"); /* … */
    struct str kept;

    if (s.n <= USAGE_PAYLOAD_MAX)
        return s;
    kept = usage_cut(s, USAGE_PAYLOAD_MAX - more.n);
    return str_printf(&cx->arena, STR_FMT STR_FMT, STR_ARG(kept), STR_ARG(more));
}

struct str usage_redact(struct ctx *cx, json_t *body, struct str raw)
{
    struct buf b;

    if (!body)
        return STR_NONE;
    if (!has_sensitive(body))
        return cap(cx, raw);
    buf_init(&b, &cx->arena, PRINT_MAX);
    print(&b, body);
    return cap(cx, buf_view(&b));
}
