/* How a webhook is kept: see payload.h. No state; any thread. */
#include "payload.h"

#include <string.h>

#include "../hook_mac.h"

#define HEADERS_MAX 40 /* kept of one webhook */
#define NAME_BYTES 128 /* bytes of a name that is kept, with its NUL */

static const char *const kept_prefixes[] = {
    "content-type", "user-agent", "x-request-id", "x-github-", "x-atlassian-", "x-slack-",
    "x-trello-",    "linear-",    "x-notion-",    "webhook-",  "svix-",        "x-event-",
    "x-delivery-",  "x-gitlab-",  "x-shopify-",   "ce-",       NULL,
};
static const char *const secret_words[] = { "signature",     "secret", "token",
                                            "authorization", "cookie", "key",
                                            "password",      "hmac",   NULL };

/* The name in lower case, since headers know none; false when it is too long to be kept. */
static bool lower(struct str name, char out[NAME_BYTES])
{
    if (name.n >= NAME_BYTES)
        return false;
    for (size_t i = 0; i < name.n; i++)
        out[i] = (char)(name.p[i] >= 'A' && name.p[i] <= 'Z' ? name.p[i] + ('a' - 'A') : name.p[i]);
    out[name.n] = '\0';
    return true;
}

static bool is_one_of(const char *const *names, struct str name)
{
    for (size_t i = 0; i < HOOK_NAMES_MAX && names[i]; i++)
        if (str_eq_nocase(name, str_of(names[i])))
            return true;
    return false;
}

/* The headers that the kind itself reads. */
static bool is_of_scheme(const struct hook_scheme *s, struct str name)
{
    bool found = is_one_of(s->time.header, name) || is_one_of(s->id, name);
    for (size_t i = 0; i < HOOK_TYPES_MAX; i++)
        found |=
            s->type[i].from == HOOK_FROM_HEADER && str_eq_nocase(name, str_of(s->type[i].name));
    for (size_t i = 0; i < HOOK_KEYS_MAX; i++)
        found |= s->key[i].from == HOOK_FROM_HEADER && str_eq_nocase(name, str_of(s->key[i].name));
    return found && !is_one_of(s->signature, name);
}

static bool is_kept(const struct hook_scheme *s, const char *name)
{
    bool is_listed = false;
    for (size_t i = 0; kept_prefixes[i] && !is_listed; i++)
        is_listed = name[0] == kept_prefixes[i][0] &&
                    !strncmp(name, kept_prefixes[i], strlen(kept_prefixes[i]));
    for (size_t i = 0; secret_words[i] && is_listed; i++)
        is_listed = !strstr(name, secret_words[i]);
    return is_listed || is_of_scheme(s, str_of(name));
}

static bool is_twice(const struct hook_ask *ask, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (str_eq_nocase(ask->headers[i].name, ask->headers[at].name))
            return true;
    return false;
}

struct str payload_headers(struct ctx *cx, const struct hook_ask *ask)
{
    struct buf b;
    size_t n = 0;
    buf_init(&b, &cx->arena, HOOK_HEADERS_TEXT_MAX);
    buf_char(&b, '{');
    for (size_t i = 0; i < ask->n_headers && n < HEADERS_MAX; i++) {
        const struct hook_header *h = &ask->headers[i];
        char name[NAME_BYTES];
        /* Six bytes a byte, where each is escaped, and the quotes. */
        bool fits = b.n + 6 * (h->name.n + h->value.n) + 8 < HOOK_HEADERS_TEXT_MAX;
        if (!fits || !lower(h->name, name) || !is_kept(ask->scheme, name) || is_twice(ask, i))
            continue;
        if (n++)
            buf_char(&b, ',');
        json_write_str(&b, str_of(name));
        buf_char(&b, ':');
        json_write_str(&b, str_trim(h->value));
    }
    buf_char(&b, '}');
    return buf_view(&b);
}

/* ---- the body ---- */

/* Each notification repeats the secret; what is kept is printed anew without. */
static struct str without_states(struct ctx *cx, struct str body)
{
    json_t *json = json_read(cx, body), *item;
    size_t i;
    if (!json) { /* cannot be: the proof has read it */
        ctx_clear(cx);
        return STR("");
    }
    json_array_foreach(json_object_get(json, "value"), i, item)
        json_object_set_new(item, "clientState", json_string("***"));
    return json_text(cx, json);
}

struct str payload_body(struct ctx *cx, const struct hook_ask *ask, const char **form)
{
    struct str body = ask->body.p ? ask->body : STR("");
    bool is_text = str_is_utf8(body) && !memchr(body.p, 0, body.n);
    *form = is_text ? "text" : "base64";
    if (!is_text)
        return hook_base64(&cx->arena, (const unsigned char *)body.p, body.n);
    return ask->scheme->proof == HOOK_PROOF_STATE ? without_states(cx, body) : body;
}

bool payload_bytes(struct arena *a, struct str form, struct str body, struct str *out)
{
    size_t n = 0;
    if (!str_eq(form, STR("base64"))) {
        *out = body;
        return true;
    }
    unsigned char *p = arena_alloc(a, body.n + 1);
    if (!hook_base64_read(body, p, body.n, &n))
        return false;
    *out = (struct str){ (const char *)p, n };
    return true;
}
