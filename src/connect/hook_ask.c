/* Values out of a webhook request: see hook_ask.h. No state; any thread. */
#include "hook_ask.h"

#include <string.h>

#include "../base/crypt.h"

#define ITEMS_MAX 10000 /* Asana sends up to 1000; more count as mixed */
#define HASH_PREFIX "sha256:"

size_t hook_header_find(const struct hook_ask *ask, const char *name, struct str *out)
{
    size_t n = 0;
    *out = STR_NONE;
    for (size_t i = 0; i < ask->n_headers; i++) {
        if (!str_eq_nocase(ask->headers[i].name, str_of(name)))
            continue;
        if (n++ == 0)
            *out = str_trim(ask->headers[i].value);
    }
    return n;
}

/* ---- forms and queries ---- */

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* '+' is a space, %XX a byte; a '%' without two digits stays as it is. */
static struct str form_decode(struct arena *a, struct str s)
{
    char *text = arena_alloc(a, s.n);
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '+')
            c = ' ';
        if (c == '%' && s.n - i > 2 && hex_value(s.p[i + 1]) >= 0 && hex_value(s.p[i + 2]) >= 0) {
            c = (char)(16 * hex_value(s.p[i + 1]) + hex_value(s.p[i + 2]));
            i += 2;
        }
        text[n++] = c;
    }
    return (struct str){ text, n };
}

/* The decoded value of the first field of that name, STR_NONE without one, or when it would take
 * more than a quarter of the arena. */
static struct str form_value(struct arena *a, struct str form, const char *name)
{
    while (form.p) {
        struct str value = str_cut(&form, '&');
        struct str key = str_cut(&value, '=');
        if (value.p && str_eq(key, str_of(name)))
            return value.n > a->cap / 4 ? STR_NONE : form_decode(a, value);
    }
    return STR_NONE;
}

/* ---- JSON ---- */

static bool begins_as_json(struct str s)
{
    s = str_trim(s);
    return s.n && (*s.p == '{' || *s.p == '[');
}

json_t *hook_reader_json(struct hook_reader *r)
{
    struct str text = r->ask->body;
    if (r->is_read)
        return r->json;
    r->is_read = true;
    if (r->form_json && !begins_as_json(text))
        text = form_value(&r->cx->arena, text, r->form_json);
    if (!begins_as_json(text)) {
        r->problem = STR("the body is not a JSON object");
        return NULL;
    }
    r->json = json_read(r->cx, text);
    if (!r->json) {
        r->problem = str_dup(&r->cx->arena, r->cx->err_text);
        ctx_clear(r->cx);
    }
    return r->json;
}

json_t *hook_path(json_t *from, const char *path)
{
    struct str rest = str_of(path);
    while (from && rest.p) {
        struct str step = str_cut(&rest, '.');
        int64_t at;
        if (json_is_object(from))
            from = json_object_getn(from, step.p, step.n);
        else if (json_is_array(from) && str_to_i64(step, &at) && at >= 0)
            from = json_array_get(from, (size_t)at);
        else
            return NULL;
    }
    return from;
}

static struct str value_text(struct ctx *cx, const json_t *v)
{
    if (json_is_string(v))
        return (struct str){ json_string_value(v), json_string_length(v) };
    if (json_is_integer(v))
        return str_printf(&cx->arena, "%lld", (long long)json_integer_value(v));
    return STR_NONE;
}

static struct str one_value(struct ctx *cx, json_t *from, const struct hook_pick *pick)
{
    struct str text = value_text(cx, hook_path(from, pick->name));
    struct str more = pick->and_name ? value_text(cx, hook_path(from, pick->and_name)) : STR_NONE;
    if (!text.p || !more.p || text.n + more.n > HOOK_KEY_MAX)
        return text;
    return str_printf(&cx->arena, STR_FMT "." STR_FMT, STR_ARG(text), STR_ARG(more));
}

static struct str items_value(struct ctx *cx, json_t *from, const struct hook_pick *pick)
{
    json_t *items = hook_path(from, pick->items), *item;
    struct str all = STR_NONE;
    size_t i;
    if (!json_is_array(items))
        return STR_NONE;
    if (json_array_size(items) == 0)
        return str_of(pick->when_none);
    json_array_foreach(items, i, item) {
        struct str value = one_value(cx, item, pick);
        if (i == ITEMS_MAX || (i > 0 && !str_eq(value, all)))
            return STR("mixed");
        all = value;
    }
    return all;
}

/* ---- picks ---- */

static struct str body_hash(struct ctx *cx, struct str body)
{
    unsigned char hash[SHA256_LEN];
    crypt_sha256(body, hash);
    return str_printf(&cx->arena, HASH_PREFIX STR_FMT,
                      STR_ARG(hex_of(&cx->arena, hash, sizeof hash)));
}

static struct str raw_value(struct hook_reader *r, const struct hook_pick *pick)
{
    const struct hook_ask *ask = r->ask;
    struct str value = STR_NONE;
    switch (pick->from) {
    case HOOK_FROM_NOTHING: break;
    case HOOK_FROM_HEADER: hook_header_find(ask, pick->name, &value); break;
    case HOOK_FROM_FORM:
        if (!begins_as_json(ask->body))
            value = form_value(&r->cx->arena, ask->body, pick->name);
        break;
    case HOOK_FROM_QUERY: value = form_value(&r->cx->arena, ask->query, pick->name); break;
    case HOOK_FROM_METHOD:
        if (str_eq(ask->method, str_of(pick->name)))
            value = ask->method;
        break;
    case HOOK_FROM_BODY: value = body_hash(r->cx, ask->body); break;
    case HOOK_FROM_JSON:
        if (hook_reader_json(r))
            value =
                pick->items ? items_value(r->cx, r->json, pick) : one_value(r->cx, r->json, pick);
        break;
    }
    return value;
}

struct str hook_pick_value(struct hook_reader *r, const struct hook_pick *pick)
{
    struct str value = raw_value(r, pick);
    if (!value.n || !str_is_utf8(value) || !str_is_single_line(value))
        return STR_NONE;
    return value;
}

struct str hook_pick_first(struct hook_reader *r, const struct hook_pick *picks, size_t n)
{
    struct str value = STR_NONE;
    for (size_t i = 0; i < n && !value.p; i++)
        value = hook_pick_value(r, &picks[i]);
    return value;
}
