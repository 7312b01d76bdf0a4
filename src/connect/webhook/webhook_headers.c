/* The headers that a webhook adds to what is sent: a JSON object of names and values, sealed as a
 * whole, since values are mostly credentials. Names are told apart without regard to case. */
#include "webhook_admin.h"

#include "../../base/egress_url.h"
#include "../../base/json.h"
#include "../../core/vault/vault.h"

#define NAME_MAX_BYTES 100
#define VALUE_MAX_BYTES 2000

static struct vault_place place_of(const struct webhook *w)
{
    return (struct vault_place){ "webhook", "headers", w->team_id, w->id };
}

/* Written by the server, or by what carries the request. */
static bool is_ours(struct str name)
{
    static const char *const prefixes[] = { "webhook-", "svix-", "content-", "tessera-", NULL };
    static const char *const names[] = { "user-agent", "accept-encoding", "date", NULL };
    for (int i = 0; prefixes[i]; i++)
        if (str_eq_nocase(str_sub(name, 0, str_of(prefixes[i]).n), str_of(prefixes[i])))
            return true;
    for (int i = 0; names[i]; i++)
        if (str_eq_nocase(name, str_of(names[i])))
            return true;
    return false;
}

static struct str text_of(const json_t *v)
{
    return (struct str){ json_string_value(v), json_string_length(v) };
}

/* NULL, or what is wrong with it. */
static const char *problem_of(struct str name, const json_t *v)
{
    if (name.n > NAME_MAX_BYTES || !egress_header_is_fine(name, STR("x")) || is_ours(name))
        return "is not the name of a header that may be set";
    if (json_is_null(v))
        return NULL;
    if (!json_is_string(v) || !text_of(v).n || text_of(v).n > VALUE_MAX_BYTES)
        return "must be a text of 1 to 2000 bytes";
    return egress_header_is_fine(name, text_of(v)) ? NULL : "must not have control characters";
}

enum err_code webhook_headers_check(struct ctx *cx, struct str text)
{
    const char *key;
    json_t *v, *object = json_read(cx, text);
    if (!object)
        return cx->err;
    json_object_foreach(object, key, v) {
        const char *problem = problem_of(str_of(key), v);
        if (problem)
            ctx_fail_field(cx, ERR_INVALID_FIELD, str_printf(&cx->arena, "headers.%.100s", key),
                           "headers.%.100s %s", key, problem);
        if (!ctx_ok(cx))
            break;
    }
    return cx->err;
}

/* ---- merging ---- */

struct set {
    struct hook_header v[WEBHOOK_HEADERS_MAX];
    size_t n;
};

/* False when there is no room. value.p NULL removes. */
static bool put(struct set *s, struct str name, struct str value)
{
    size_t i = 0;
    while (i < s->n && !str_eq_nocase(s->v[i].name, name))
        i++;
    if (!value.p) {
        for (; i + 1 < s->n; i++)
            s->v[i] = s->v[i + 1];
        s->n -= i < s->n;
        return true;
    }
    if (i == WEBHOOK_HEADERS_MAX)
        return false;
    s->v[i] = (struct hook_header){ name, value };
    s->n += i == s->n;
    return true;
}

static enum err_code read_into(struct ctx *cx, struct set *s, struct str text)
{
    const char *key;
    json_t *v, *object = json_read(cx, text);
    if (!object)
        return cx->err;
    json_object_foreach(object, key, v)
        if (!put(s, str_of(key), text_of(v)))
            return ctx_fail_field(cx, ERR_INVALID_FIELD, STR("headers"),
                                  "headers must be at most %d", WEBHOOK_HEADERS_MAX);
    return ERR_NONE;
}

static enum err_code read_stored(struct ctx *cx, struct db *db, const struct webhook *w,
                                 struct set *s)
{
    struct str plain;
    const struct vault_place place = place_of(w);
    s->n = 0;
    if (!w->headers.n)
        return ERR_NONE;
    enum err_code e = vault_open(cx, db, &place, w->headers, &plain);
    return e ? e : read_into(cx, s, plain);
}

static enum err_code seal(struct ctx *cx, struct db *db, struct webhook *w, const struct set *s)
{
    const struct vault_place place = place_of(w);
    struct buf names, all;
    buf_init(&names, &cx->arena, WEBHOOK_HEADERS_BYTES);
    buf_init(&all, &cx->arena, WEBHOOK_HEADERS_BYTES);
    for (size_t i = 0; i < s->n; i++) {
        buf_char(&names, i ? ',' : '[');
        json_write_str(&names, s->v[i].name);
        buf_char(&all, i ? ',' : '{');
        json_write_str(&all, s->v[i].name);
        buf_char(&all, ':');
        json_write_str(&all, s->v[i].value);
    }
    buf_lit(&names, s->n ? "]" : "[]");
    buf_char(&all, '}');
    if (names.over || all.over)
        return ctx_fail_field(cx, ERR_INVALID_FIELD, STR("headers"),
                              "headers must have at most %d bytes together", WEBHOOK_HEADERS_BYTES);
    w->header_names = buf_view(&names);
    w->headers = STR_NONE;
    return s->n ? vault_seal(cx, db, &place, buf_view(&all), &w->headers) : ERR_NONE;
}

enum err_code webhook_headers_merge(struct ctx *cx, struct db *db, struct webhook *w,
                                    struct str text, bool is_null)
{
    struct set s = { .n = 0 };
    enum err_code e = ERR_NONE;
    if (!text.p && !is_null)
        return ERR_NONE;
    if (!is_null)
        e = read_stored(cx, db, w, &s);
    if (!e && !is_null)
        e = read_into(cx, &s, text);
    return e ? e : seal(cx, db, w, &s);
}

enum err_code webhook_headers(struct ctx *cx, struct db *db, const struct webhook *w,
                              struct hook_header headers[WEBHOOK_HEADERS_MAX], size_t *n)
{
    struct set s;
    enum err_code e = read_stored(cx, db, w, &s);
    for (size_t i = 0; !e && i < s.n; i++)
        headers[i] = s.v[i];
    if (!e)
        *n = s.n;
    return e;
}
