/* Facts about fields that hold objects (F_REC), arrays of objects (F_RECS) and any JSON (F_JSON):
 * whole paths in the problems, what is kept, what is written, their schemas. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <string.h>

#include "base/json.h"
#include "base/rec.h"

struct step {
    struct rec_bits bits;
    struct str name;
    int64_t n;
};
static const struct field step_fields[] = {
    { "name", F_STR, offsetof(struct step, name), .flags = F_REQUIRED, .max = 5 },
    { "n", F_INT, offsetof(struct step, n), .min = 1, .max = 9 },
};
static const struct rec step = REC("Step", struct step, step_fields, NULL);

struct limit {
    struct rec_bits bits;
    struct str name, steps;
    int64_t window;
};
static const struct field limit_fields[] = {
    { "name", F_STR, offsetof(struct limit, name), .flags = F_REQUIRED, .max = 5 },
    { "window", F_INT, offsetof(struct limit, window), .flags = F_REQUIRED, .min = 1, .max = 60 },
    { "steps", F_RECS, offsetof(struct limit, steps), .of = &step },
};
static const struct rec limit = REC("Limit", struct limit, limit_fields, NULL);

struct thing {
    struct rec_bits bits;
    struct str one, limits, any, loose;
};
#define AT(member) .offset = offsetof(struct thing, member)
static const struct field body_fields[] = {
    { "one", F_REC, AT(one), .flags = F_NULLABLE, .of = &step },
    { "limits", F_RECS, AT(limits), .flags = F_NULLABLE, .min = 1, .max = 3, .of = &limit },
    { "any", F_JSON, AT(any), .max = 20 },
};
static const struct rec body = REC("Thing", struct thing, body_fields, NULL);
static const struct field must_fields[] = {
    { "one", F_REC, AT(one), .flags = F_REQUIRED, .of = &step },
    { "limits", F_RECS, AT(limits), .flags = F_REQUIRED, .of = &limit },
    { "any", F_JSON, AT(any), .flags = F_REQUIRED },
    { "loose", F_RECS, AT(loose), .of = &step },
};
static const struct rec must = REC("Must", struct thing, must_fields, NULL);

#define V1 REC_REFUSE_UNKNOWN

static int setup(void **state)
{
    static struct ctx cx;
    ctx_init(&cx, CTX_CAP_DEFAULT);
    *state = &cx;
    return 0;
}

static int teardown(void **state)
{
    ctx_done(*state);
    return 0;
}

static void assert_str(struct str got, const char *want)
{
    if (!got.p || !str_eq(got, str_of(want)))
        print_error("got  \"" STR_FMT "\"\nwant \"%s\"\n", STR_ARG(got), want);
    assert_true(got.p && str_eq(got, str_of(want)));
}

static enum err_code decode(struct ctx *cx, const struct rec *r, const char *json, unsigned mode,
                            struct thing *out)
{
    json_t *v = json_read(cx, str_of(json));
    assert_non_null(v);
    return rec_decode(cx, r, v, mode, STR_NONE, out);
}

/* "field: sentence" of every problem, one a line. */
static struct str problems(struct ctx *cx)
{
    struct buf b;
    buf_init(&b, &cx->arena, 1 << 16);
    for (size_t i = 0; i < cx->n_fields; i++)
        buf_printf(&b, "%s" STR_FMT ": " STR_FMT, i ? "\n" : "", STR_ARG(cx->fields[i].field),
                   STR_ARG(cx->fields[i].text));
    return buf_view(&b);
}

static void test_good_ones_are_kept_as_text(void **state)
{
    struct thing t;
    assert_int_equal(decode(*state, &body,
                            "{\"one\":{\"name\":\"a\"},\"limits\":[{\"name\":\"h\",\"window\":5,"
                            "\"steps\":[{\"name\":\"x\",\"n\":2}]}],\"any\":[1,null]}",
                            V1, &t),
                     ERR_NONE);
    assert_str(t.one, "{\"name\":\"a\"}");
    assert_str(t.limits, "[{\"name\":\"h\",\"window\":5,\"steps\":[{\"name\":\"x\",\"n\":2}]}]");
    assert_str(t.any, "[1,null]");
    assert_true(REC_HAS(&t, one) && REC_HAS(&t, limits) && REC_HAS(&t, any));
    assert_false(REC_IS_NULL(&t, one));
}

static void test_problems_inside_name_their_whole_path(void **state)
{
    static const struct {
        const char *json, *problems;
    } cases[] = {
        { "{\"one\":{}}", "one.name: one.name is required" },
        { "{\"one\":{\"name\":\"a\",\"n\":0}}", "one.n: one.n must be between 1 and 9" },
        { "{\"one\":{\"name\":\"a\",\"z\":0}}", "one.z: unknown field \"one.z\"" },
        { "{\"one\":[]}", "one: one must be an object" },
        { "{\"one\":\"{}\"}", "one: one must be an object" },
        { "{\"limits\":{}}", "limits: limits must be an array of objects" },
        { "{\"limits\":[]}", "limits: limits must have at least 1 item" },
        { "{\"limits\":[1,2,3,4]}", "limits: limits must have at most 3 items" },
        { "{\"limits\":[7]}", "limits[0]: limits[0] must be an object" },
        { "{\"limits\":[null]}", "limits[0]: limits[0] must be an object" },
        { "{\"limits\":[{\"name\":\"a\",\"window\":1},{\"name\":\"b\",\"window\":61}]}",
          "limits[1].window: limits[1].window must be between 1 and 60" },
        { "{\"limits\":[{\"name\":\"toolong\",\"window\":\"1\",\"x\":1},{\"window\":2}]}",
          "limits[0].name: limits[0].name must be at most 5 characters\n"
          "limits[0].window: limits[0].window must be an integer\n"
          "limits[0].x: unknown field \"limits[0].x\"\n"
          "limits[1].name: limits[1].name is required" },
        { "{\"limits\":[{\"name\":\"a\",\"window\":1,\"steps\":[{\"name\":\"b\"},{\"n\":0}]}]}",
          "limits[0].steps[1].name: limits[0].steps[1].name is required\n"
          "limits[0].steps[1].n: limits[0].steps[1].n must be between 1 and 9" },
        { "{\"any\":\"0123456789012345678\"}", "any: any must be at most 20 bytes" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ctx *cx = *state;
        struct thing t;
        ctx_clear(cx);
        assert_int_not_equal(decode(cx, &body, cases[i].json, V1, &t), ERR_NONE);
        assert_str(problems(cx), cases[i].problems);
        assert_int_not_equal(cx->err, ERR_NONE);
        assert_int_equal(t.bits.has, 0);
    }
}

static void test_the_first_problems_code_is_returned(void **state)
{
    struct ctx *cx = *state;
    struct thing t;
    assert_int_equal(decode(cx, &body, "{\"one\":{\"n\":1},\"any\":1}", V1, &t), ERR_MISSING_FIELD);
    assert_int_equal(cx->err, ERR_MISSING_FIELD);
    ctx_clear(cx);
    assert_int_equal(decode(cx, &body, "{\"one\":{\"n\":0,\"name\":\"a\"}}", V1, &t),
                     ERR_INVALID_FIELD);
}

static void test_a_prefix_stands_before_the_whole_path(void **state)
{
    struct ctx *cx = *state;
    struct thing t;
    json_t *v = json_read(cx, STR("{\"limits\":[{\"name\":\"a\"}]}"));
    rec_decode(cx, &body, v, V1, STR("keys[3]"), &t);
    assert_str(cx->fields[0].field, "keys[3].limits[0].window");
}

static void test_null_and_absence(void **state)
{
    struct ctx *cx = *state;
    struct thing t;
    assert_int_equal(decode(cx, &body, "{\"one\":null,\"any\":null}", V1, &t), ERR_NONE);
    assert_int_equal(t.bits.has, 0);
    assert_true(REC_IS_NULL(&t, one) && REC_IS_NULL(&t, any));
    assert_false(REC_IS_NULL(&t, limits));
    assert_int_equal(decode(cx, &must, "{\"one\":null}", V1, &t), ERR_MISSING_FIELD);
    assert_str(problems(cx), "one: one is required\nlimits: limits is required\n"
                             "any: any is required");
    ctx_clear(cx);
    assert_int_equal(decode(cx, &body, "{\"one\":null,\"limits\":null}", V1 | REC_PATCH, &t),
                     ERR_NONE);
    assert_true(REC_IS_NULL(&t, one) && REC_IS_NULL(&t, limits));
    assert_int_equal(decode(cx, &body, "{\"any\":null}", V1 | REC_PATCH, &t), ERR_INVALID_FIELD);
}

static void test_a_patch_replaces_what_is_inside_as_a_whole(void **state)
{
    struct ctx *cx = *state;
    struct thing t;
    assert_int_equal(decode(cx, &body, "{\"one\":{\"n\":3}}", V1 | REC_PATCH, &t),
                     ERR_MISSING_FIELD);
    assert_str(problems(cx), "one.name: one.name is required");
}

static void test_unknown_fields_inside_are_refused_only_when_asked(void **state)
{
    struct thing t;
    const char *json = "{\"one\":{\"name\":\"a\",\"z\":[1]},\"y\":2}";
    assert_int_equal(decode(*state, &body, json, REC_IGNORE_UNKNOWN, &t), ERR_NONE);
    assert_true(REC_HAS(&t, one));
}

static void test_any_json_is_any(void **state)
{
    static const char *const values[] = { "true", "false", "0",
                                          "-1.5", "\"\"",  "\"a\\\"b\"",
                                          "[]",   "{}",    "[{\"a\":[null]}]" };
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        struct ctx *cx = *state;
        struct thing t;
        struct buf b;
        struct str json = str_printf(&cx->arena, "{\"any\":%s}", values[i]);
        assert_int_equal(decode(cx, &body, str_cstr(&cx->arena, json), V1, &t), ERR_NONE);
        assert_str(t.any, values[i]);
        buf_init(&b, &cx->arena, 1000);
        rec_encode(&b, &body, &t);
        json = str_printf(&cx->arena, "{\"one\":null,\"limits\":null,\"any\":%s}", values[i]);
        assert_str(buf_view(&b), str_cstr(&cx->arena, json));
    }
}

static void test_encoding_writes_the_text_as_json(void **state)
{
    struct ctx *cx = *state;
    struct thing t = { .one = STR("{\"name\":\"a\"}"), .limits = STR("[]"), .any = STR("") };
    struct buf b;
    t.bits.has = ~UINT64_C(0);
    buf_init(&b, &cx->arena, 1000);
    rec_encode(&b, &body, &t);
    assert_str(buf_view(&b), "{\"one\":{\"name\":\"a\"},\"limits\":[],\"any\":null}");
    assert_false(field_is_int(&body_fields[0]) || field_is_int(&body_fields[1]) ||
                 field_is_int(&body_fields[2]));
}

static void test_very_many_small_objects_end_in_a_refusal(void **state)
{
    struct ctx cx;
    struct thing t;
    json_t *v = json_object(), *items = json_array(), *empty = json_object();
    (void)state;
    ctx_init(&cx, (size_t)1 << 20);
    for (int i = 0; i < 300000; i++)
        json_array_append(items, empty);
    json_object_set_new(v, "loose", items);
    assert_int_not_equal(rec_decode(&cx, &must, v, V1, STR_NONE, &t), ERR_NONE);
    assert_true(cx.arena.used < (size_t)2 << 20);
    assert_true(cx.n_fields <= CTX_FIELD_ERRORS_MAX);
    ctx_done(&cx);
    ctx_init(&cx, (size_t)1 << 20);
    json_array_clear(items);
    json_object_set_new(empty, "name", json_string("a"));
    for (int i = 0; i < 300000; i++)
        json_array_append(items, empty);
    json_object_set_new(v, "one", json_pack("{s:s}", "name", "a"));
    json_object_set_new(v, "limits", json_array());
    json_object_set_new(v, "any", json_true());
    assert_int_equal(rec_decode(&cx, &must, v, V1, STR_NONE, &t), ERR_TOO_LARGE);
    assert_true(cx.arena.used < (size_t)2 << 20);
    ctx_done(&cx);
    json_decref(empty);
    json_decref(v);
}

/* ---- schemas ---- */

#define STEP                                                                                       \
    "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\",\"minLength\":1,"          \
    "\"maxLength\":5,\"pattern\":\"[^ \\\\t-\\\\r]\"},\"n\":{\"type\":[\"integer\",\"null\"],"     \
    "\"format\":\"int64\",\"minimum\":1,\"maximum\":9}},\"required\":[\"name\"],"                  \
    "\"additionalProperties\":false}"

static struct str schema(struct ctx *cx, const struct field *f, bool is_reply)
{
    struct buf b;
    buf_init(&b, &cx->arena, 10000);
    field_schema(&b, f, is_reply);
    assert_non_null(json_read(cx, buf_view(&b)));
    return buf_view(&b);
}

static void test_schemas_of_a_body(void **state)
{
    struct ctx *cx = *state;
    assert_str(schema(cx, &must_fields[0], false), "{\"allOf\":[" STEP "]}");
    assert_str(schema(cx, &body_fields[0], false), "{\"anyOf\":[" STEP ",{\"type\":\"null\"}]}");
    assert_str(schema(cx, &must_fields[3], false),
               "{\"allOf\":[{\"type\":\"array\",\"items\":" STEP "}]}");
    assert_non_null(strstr(str_cstr(&cx->arena, schema(cx, &body_fields[1], false)),
                           ",\"minItems\":1,\"maxItems\":3},{\"type\":\"null\"}]}"));
    assert_str(schema(cx, &must_fields[2], false),
               "{\"type\":[\"object\",\"array\",\"string\",\"number\",\"boolean\"]}");
}

static void test_schemas_of_a_reply(void **state)
{
    static const struct field any = { "any", F_JSON, AT(any), .doc = "Any \"value\"",
                                      .example = "1" };
    struct ctx *cx = *state;
    assert_str(schema(cx, &any, true), "{\"description\":\"Any \\\"value\\\"\",\"examples\":[1]}");
    assert_str(schema(cx, &must_fields[0], true),
               "{\"allOf\":[{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\","
               "\"maxLength\":5},\"n\":{\"type\":\"integer\",\"format\":\"int64\",\"minimum\":1,"
               "\"maximum\":9}},\"required\":[\"name\",\"n\"],\"additionalProperties\":false}]}");
}

static void test_a_whole_body_schema_is_valid_json(void **state)
{
    struct ctx *cx = *state;
    struct buf b;
    buf_init(&b, &cx->arena, 20000);
    rec_schema_body(&b, &body, V1);
    json_t *p = json_object_get(json_read(cx, buf_view(&b)), "properties");
    assert_int_equal(json_object_size(p), 3);
    assert_int_equal(json_object_size(json_object_get(p, "any")), 0); /* null is absence */
    buf_reset(&b);
    rec_schema_body(&b, &body, V1 | REC_PATCH);
    p = json_object_get(json_read(cx, buf_view(&b)), "properties");
    assert_non_null(json_object_get(json_object_get(p, "one"), "anyOf"));
    assert_non_null(json_object_get(json_object_get(p, "any"), "type"));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_good_ones_are_kept_as_text),
        T(test_problems_inside_name_their_whole_path),
        T(test_the_first_problems_code_is_returned),
        T(test_a_prefix_stands_before_the_whole_path),
        T(test_null_and_absence),
        T(test_a_patch_replaces_what_is_inside_as_a_whole),
        T(test_unknown_fields_inside_are_refused_only_when_asked),
        T(test_any_json_is_any),
        T(test_encoding_writes_the_text_as_json),
        T(test_very_many_small_objects_end_in_a_refusal),
        T(test_schemas_of_a_body),
        T(test_schemas_of_a_reply),
        T(test_a_whole_body_schema_is_valid_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
