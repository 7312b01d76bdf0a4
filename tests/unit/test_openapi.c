/* The OpenAPI document: complete, coherent, and what the route table says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */
#include <string.h>

#include "api/openapi.h"
#include "base/json.h"

static struct ctx cx;
static json_t *doc;

static int setup(void **state)
{
    struct buf b;

    (void)state;
    ctx_init(&cx, (size_t)32 << 20);
    buf_init(&b, &cx.arena, OPENAPI_MAX);
    assert_int_equal(openapi_print(&cx, &b), ERR_NONE);
    assert_false(b.over);
    doc = json_read(&cx, buf_view(&b));
    assert_non_null(doc);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    ctx_done(&cx);
    return 0;
}

static json_t *operation(const struct route *r)
{
    char method[16] = "";

    for (size_t i = 0; r->method[i] && i + 1 < sizeof method; i++)
        method[i] = (char)(r->method[i] | 0x20);
    return json_object_get(json_object_get(json_object_get(doc, "paths"), r->path), method);
}

/* Calls fn for each row; returns how many there are. */
static size_t each_route(void (*fn)(const struct route *r, json_t *op))
{
    size_t n = 0;

    for (const struct route_table *const *t = route_tables; *t; t++)
        for (size_t i = 0; i < (*t)->n; i++, n++) {
            json_t *op = operation(&(*t)->rows[i]);

            assert_non_null(op);
            fn(&(*t)->rows[i], op);
        }
    return n;
}

/* ---- the whole ---- */

static json_t *by_pointer(const char *ref)
{
    struct str rest = str_of(ref);
    json_t *at = doc;

    assert_true(str_eq(str_cut(&rest, '/'), STR("#")));
    while (rest.p && at)
        at = json_object_get(at, str_cstr(&cx.arena, str_cut(&rest, '/')));
    return at;
}

static int check_refs(json_t *v)
{
    const char *key;
    json_t *item;
    size_t i;
    int n = 0;

    json_object_foreach(v, key, item) {
        if (!strcmp(key, "$ref")) {
            assert_true(json_is_object(by_pointer(json_string_value(item))));
            n++;
        }
        n += check_refs(item);
    }
    json_array_foreach(v, i, item)
        n += check_refs(item);
    return n;
}

static void test_every_reference_resolves(void **state)
{
    (void)state;
    assert_true(check_refs(doc) > 20);
}

static void test_it_is_openapi_3_1(void **state)
{
    (void)state;
    assert_string_equal(json_string_value(json_object_get(doc, "openapi")), "3.1.0");
    assert_non_null(by_pointer("#/info/title"));
    assert_string_equal(json_string_value(by_pointer("#/info/version")), TESSERA_VERSION);
    assert_string_equal(json_string_value(by_pointer("#/components/securitySchemes/token/scheme")),
                        "bearer");
}

static void test_equal_tables_give_equal_bytes(void **state)
{
    struct buf b[2];

    (void)state;
    for (int i = 0; i < 2; i++) {
        buf_init(&b[i], &cx.arena, OPENAPI_MAX);
        assert_int_equal(openapi_print(&cx, &b[i]), ERR_NONE);
    }
    assert_true(str_eq(buf_view(&b[0]), buf_view(&b[1])));
    assert_int_equal(b[0].p[b[0].n - 1], '\n');
}

/* ---- each route ---- */

static const char *seen[256];
static size_t n_seen;

static void check_id(const struct route *r, json_t *op)
{
    const char *id = json_string_value(json_object_get(op, "operationId"));

    assert_string_equal(id, r->id);
    for (size_t i = 0; i < n_seen; i++)
        assert_string_not_equal(seen[i], id);
    assert_true(n_seen < sizeof seen / sizeof *seen);
    seen[n_seen++] = id;
    assert_true(json_string_length(json_object_get(op, "summary")) > 0);
    assert_true(json_array_size(json_object_get(op, "tags")) == 1);
}

static void test_every_route_is_there_once(void **state)
{
    const char *path;
    json_t *item;
    size_t n = 0;

    (void)state;
    n_seen = 0;
    size_t rows = each_route(check_id);
    json_object_foreach(json_object_get(doc, "paths"), path, item)
        n += json_object_size(item);
    assert_int_equal(n, rows);
}

static void check_parameters(const struct route *r, json_t *op)
{
    json_t *all = json_object_get(op, "parameters"), *p;
    size_t i, in_path = 0, in_query = 0, braces = 0;

    for (const char *c = r->path; *c; c++)
        braces += *c == '{';
    json_array_foreach(all, i, p) {
        const char *name = json_string_value(json_object_get(p, "name")),
                   *in = json_string_value(json_object_get(p, "in"));

        assert_true(json_is_object(json_object_get(p, "schema")));
        for (size_t k = 0; k < i; k++)
            assert_false(
                !strcmp(json_string_value(json_object_get(json_array_get(all, k), "name")), name));
        if (!strcmp(in, "path")) {
            struct str brace = str_printf(&cx.arena, "{%s}", name);

            in_path++;
            assert_true(json_is_true(json_object_get(p, "required")));
            assert_non_null(strstr(r->path, brace.p));
            const char *format =
                json_string_value(json_object_get(json_object_get(p, "schema"), "format"));
            assert_int_equal(format != NULL, strstr(name, "_id") != NULL);
        } else if (!strcmp(in, "query")) {
            in_query++;
            assert_non_null(rec_find(r->query, str_of(name)));
        }
    }
    assert_int_equal(in_path, braces);
    assert_int_equal(in_query, r->query ? r->query->n : 0);
}

static void test_parameters_are_those_of_the_route(void **state)
{
    (void)state;
    each_route(check_parameters);
}

static void check_responses(const struct route *r, json_t *op)
{
    json_t *all = json_object_get(op, "responses"), *one;
    const char *status;
    bool is_v0 = r->flags & ROUTE_V0;

    assert_non_null(json_object_get(all, str_printf(&cx.arena, "%d", r->status).p));
    assert_int_equal(json_object_get(all, "304") != NULL,
                     r->flags & ROUTE_ETAG && !strcmp(r->method, "GET"));
    assert_int_equal(json_object_get(all, "412") != NULL, (r->flags & ROUTE_IF_MATCH) != 0);
    assert_int_equal(json_object_get(all, "429") != NULL,
                     !(r->flags & ROUTE_PUBLIC) || r->flags & ROUTE_THROTTLED);
    assert_int_equal(json_is_array(json_object_get(op, "security")),
                     (r->flags & (ROUTE_PUBLIC | ROUTE_USER | ROUTE_V0)) != 0);
    json_object_foreach(all, status, one) {
        const char *text = json_string_value(json_object_get(one, "description"));

        assert_true(text && *text);
        if (status[0] < '4')
            continue;
        json_t *content = json_object_get(one, "content");
        assert_int_equal(json_object_size(content), 1);
        assert_non_null(
            json_object_get(content, is_v0 ? "application/json" : "application/problem+json"));
        struct str rest = str_of(text); /* no code is told twice */
        while (rest.p) {
            struct str code = str_trim(str_cut(&rest, ','));
            struct str later = rest;
            while (later.p)
                assert_false(str_eq(str_trim(str_cut(&later, ',')), code));
        }
    }
}

static void test_answers_are_those_of_the_route(void **state)
{
    (void)state;
    each_route(check_responses);
}

static void check_body(const struct route *r, json_t *op)
{
    json_t *schema = json_object_get(op, "requestBody");

    assert_int_equal(schema != NULL,
                     r->body != NULL || (r->flags & (ROUTE_ARRAY_BODY | ROUTE_UPLOAD | ROUTE_RAW)));
    if (!r->body)
        return;
    struct str ref = str_printf(&cx.arena, "#/components/schemas/%s", r->body->name);
    json_t *closed = json_object_get(by_pointer(ref.p), "additionalProperties");
    assert_int_equal(closed != NULL,
                     (r->body_mode & REC_REFUSE_UNKNOWN) != 0); /* says what the decoder does */
}

static void test_bodies_are_as_strict_as_the_decoder(void **state)
{
    (void)state;
    each_route(check_body);
}

static void test_every_error_is_in_the_table_of_errors(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, &cx.arena, 65536);
    errors_markdown(&b);
    buf_char(&b, 0);
    assert_false(b.over);
    for (int e = 1; e < ERR_COUNT; e++)
        if (e != ERR_USAGE)
            assert_non_null(
                strstr(b.p, str_printf(&cx.arena, "| `%s` | %d |", err_info((enum err_code)e)->code,
                                       err_info((enum err_code)e)->status)
                                .p));
}

int main(void)
{
#define O(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        O(test_every_reference_resolves),
        O(test_it_is_openapi_3_1),
        O(test_equal_tables_give_equal_bytes),
        O(test_every_route_is_there_once),
        O(test_parameters_are_those_of_the_route),
        O(test_answers_are_those_of_the_route),
        O(test_bodies_are_as_strict_as_the_decoder),
        O(test_every_error_is_in_the_table_of_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
