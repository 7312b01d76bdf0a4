/* Reads tests/data/hook_vectors.json; unit tests run in the folder of the sources. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <stdio.h>
#include <string.h>

#include "hook_vectors.h"

#define FILE_MAX ((size_t)1 << 20)

static struct str text(const json_t *v, const char *key)
{
    json_t *s = json_object_get(v, key);
    return json_is_string(s) ? (struct str){ json_string_value(s), json_string_length(s) }
                             : STR_NONE;
}

static void read_one(json_t *v, struct hook_vector *out)
{
    const char *name;
    json_t *value, *headers = json_object_get(v, "headers");
    *out = (struct hook_vector){ .name = text(v, "name"),
                                 .secret = text(v, "secret"),
                                 .event_type = text(v, "event_type"),
                                 .event_key = text(v, "event_key"),
                                 .handshake = text(v, "handshake"),
                                 .reply_body = text(v, "reply_body"),
                                 .covers_body = !json_is_false(json_object_get(v, "covers_body")),
                                 .has_more = json_is_true(json_object_get(v, "has_more")) };
    out->ask.scheme = hook_scheme_find(text(v, "kind"));
    assert_non_null(out->ask.scheme);
    out->ask.secrets = &out->secret;
    out->ask.n_secrets = 1;
    out->ask.url = text(v, "url");
    out->ask.body = text(v, "body");
    out->ask.now_ms = json_integer_value(json_object_get(v, "now_ms"));
    json_object_foreach(headers, name, value) {
        assert_true(out->ask.n_headers < VECTOR_HEADERS_MAX);
        out->headers[out->ask.n_headers++] =
            (struct hook_header){ str_of(name), str_of(json_string_value(value)) };
    }
    out->ask.headers = out->headers;
}

size_t hook_vectors_load(struct ctx *cx, struct hook_vector *out)
{
    char *p = arena_alloc(&cx->arena, FILE_MAX);
    FILE *f = fopen("tests/data/hook_vectors.json", "rb");
    assert_non_null(f);
    struct str all = { p, fread(p, 1, FILE_MAX, f) };
    fclose(f);
    json_t *list = json_read(cx, all), *v;
    size_t i;
    assert_non_null(list);
    assert_true(json_array_size(list) > 20 && json_array_size(list) <= VECTORS_MAX);
    json_array_foreach(list, i, v)
        read_one(v, &out[i]);
    return json_array_size(list);
}

struct hook_vector *hook_vector(struct hook_vector *all, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(all[i].name, str_of(name)))
            return &all[i];
    assert_string_equal(name, "a vector's name");
    return NULL;
}

bool hook_holds(const struct hook_ask *ask)
{
    struct ctx cx;
    ctx_init(&cx, CTX_CAP_DEFAULT);
    struct hook_verdict v = hook_verify(&cx, ask);
    bool is = v.is_valid;
    assert_int_equal(cx.err, ERR_NONE);
    assert_true(is == (v.fault == HOOK_FINE) && is == !v.reason.p && is == (v.reply.status != 0));
    assert_true(is || (!v.event_type.p && !v.event_key.p && !v.new_secret.p && !v.handshake));
    ctx_done(&cx);
    return is;
}

void assert_reason(const struct hook_ask *ask, enum hook_fault fault, const char *part)
{
    struct ctx cx;
    ctx_init(&cx, CTX_CAP_DEFAULT);
    struct hook_verdict v = hook_verify(&cx, ask);
    assert_false(v.is_valid);
    if (!strstr(str_cstr(&cx.arena, v.reason), part))
        assert_string_equal(str_cstr(&cx.arena, v.reason), part);
    assert_int_equal(v.fault, fault);
    ctx_done(&cx);
}
