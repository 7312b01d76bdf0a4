/* Facts about field tables: what is taken, which sentence each mistake gets, what is written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/rec.h"

struct thing {
    struct rec_bits bits;
    struct str id;
    struct str title;
    struct str note;
    struct str priority;
    struct str metadata;
    struct str tags;
    struct str secret;
    int64_t count;
    int64_t is_open;
    int64_t due_at;
    int64_t made_at;
};

static const char *const priorities[] = { "low", "medium", "high", "urgent", NULL };
static const char *const colours[] = { "red", "blue", NULL };

#define AT(member) .offset = offsetof(struct thing, member)
static const struct field body_fields[] = {
    { "id", F_UUID, AT(id), .flags = F_READ_ONLY },
    { "title", F_STR, AT(title), .flags = F_REQUIRED | F_SINGLE_LINE, .max = 10,
      .doc = "A \"name\"", .example = "\"Hi\"" },
    { "note", F_STR, AT(note), .flags = F_NULLABLE, .min = 2 },
    { "priority", F_ENUM, AT(priority), .words = priorities },
    { "metadata", F_OBJECT, AT(metadata), .flags = F_NULLABLE, .max = 20 },
    { "tags", F_STRS, AT(tags), .max = 2, .words = colours },
    { "secret", F_STR, AT(secret), .flags = F_SECRET },
    { "count", F_INT, AT(count), .min = 1, .max = 200 },
    { "is_open", F_BOOL, AT(is_open) },
    { "due_at", F_TIME, AT(due_at), .flags = F_NULLABLE },
};
static const struct rec body = REC("ThingBody", struct thing, body_fields, "What to make.");

static const struct field reply_fields[] = {
    { "id", F_UUID, AT(id) },
    { "title", F_STR, AT(title) },
    { "note", F_STR, AT(note), .flags = F_NULLABLE },
    { "priority", F_ENUM, AT(priority), .flags = F_NULLABLE, .words = priorities },
    { "metadata", F_OBJECT, AT(metadata), .flags = F_NULLABLE | F_OMIT_NULL },
    { "tags", F_STRS, AT(tags), .flags = F_OMIT_NULL },
    { "secret", F_STR, AT(secret), .flags = F_SECRET },
    { "count", F_INT, AT(count) },
    { "is_open", F_BOOL, AT(is_open) },
    { "due_at", F_TIME, AT(due_at), .flags = F_NULLABLE },
    { "made_at", F_TIME_S, AT(made_at) },
};
static const struct rec reply = REC("Thing", struct thing, reply_fields, NULL);

static const struct field query_fields[] = {
    { "priority", F_ENUMS, AT(priority), .words = priorities },
    { "q", F_STR, AT(title), .max = 5 },
    { "limit", F_INT, AT(count), .min = 1, .max = 200 },
    { "open", F_BOOL, AT(is_open) },
    { "after", F_TIME, AT(due_at) },
    { "id", F_UUID, AT(id), .flags = F_REQUIRED },
};
static const struct rec query = REC("ThingQuery", struct thing, query_fields, NULL);

#define ID "0190a5c0-7b1c-7def-8123-456789abcdef"
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
    assert_non_null(got.p);
    if (got.n != strlen(want) || memcmp(got.p, want, got.n) != 0)
        print_error("got \"" STR_FMT "\", want \"%s\"\n", STR_ARG(got), want);
    assert_int_equal(got.n, strlen(want));
    assert_memory_equal(got.p, want, got.n);
}

static enum err_code decode(struct ctx *cx, const char *json, unsigned mode, struct thing *out)
{
    json_t *v = json_read(cx, str_of(json));

    assert_non_null(v);
    return rec_decode(cx, &body, v, mode, STR_NONE, out);
}

/* Every sentence recorded, in order, joined by "; ". */
static struct str problems(struct ctx *cx)
{
    struct buf b;

    buf_init(&b, &cx->arena, 1 << 16);
    for (size_t i = 0; i < cx->n_fields; i++) {
        buf_lit(&b, i ? "; " : "");
        buf_str(&b, cx->fields[i].text);
    }
    return buf_view(&b);
}

static void test_a_good_body_fills_the_struct(void **state)
{
    struct thing t;

    enum err_code e = decode(*state,
                             "{\"title\":\"Hello\",\"note\":null,\"priority\":\"high\","
                             "\"metadata\":{\"b\":1.0,\"a\":[2]},\"tags\":[\"red\"],\"count\":7,"
                             "\"is_open\":true,\"due_at\":\"2024-01-15T12:30:00.5+02:00\"}",
                             V1, &t);

    assert_int_equal(e, ERR_NONE);
    assert_str(t.title, "Hello");
    assert_str(t.priority, "high");
    assert_str(t.metadata, "{\"b\":1.0,\"a\":[2]}");
    assert_str(t.tags, "[\"red\"]");
    assert_int_equal(t.count, 7);
    assert_int_equal(t.is_open, 1);
    assert_int_equal(t.due_at, INT64_C(1705314600500));
    assert_true(REC_HAS(&t, title) && REC_HAS(&t, count) && REC_HAS(&t, due_at));
    assert_false(REC_HAS(&t, note) || REC_HAS(&t, id) || REC_HAS(&t, secret));
    assert_true(REC_IS_NULL(&t, note));
    assert_false(REC_IS_NULL(&t, title) || REC_IS_NULL(&t, secret));
}

static void test_each_mistake_has_its_sentence(void **state)
{
    static const struct {
        const char *json;
        enum err_code code;
        const char *sentence;
    } cases[] = {
        { "{}", ERR_MISSING_FIELD, "title is required" },
        { "{\"title\":null}", ERR_MISSING_FIELD, "title is required" },
        { "{\"title\":\" \\t\\n\"}", ERR_MISSING_FIELD, "title is required" },
        { "{\"title\":5}", ERR_INVALID_FIELD, "title must be a string" },
        { "{\"title\":\"12345678901\"}", ERR_INVALID_FIELD, "title must be at most 10 characters" },
        { "{\"title\":\"a\\nb\"}", ERR_INVALID_FIELD, "title must not contain control characters" },
        { "{\"title\":\"a\\u0085\"}", ERR_INVALID_FIELD,
          "title must not contain control characters" },
        { "{\"title\":\"a\",\"note\":\"x\"}", ERR_INVALID_FIELD,
          "note must be at least 2 characters" },
        { "{\"title\":\"a\",\"priority\":\"High\"}", ERR_INVALID_FIELD,
          "priority must be one of low, medium, high, urgent" },
        { "{\"title\":\"a\",\"priority\":3}", ERR_INVALID_FIELD,
          "priority must be one of low, medium, high, urgent" },
        { "{\"title\":\"a\",\"metadata\":[]}", ERR_INVALID_FIELD, "metadata must be an object" },
        { "{\"title\":\"a\",\"metadata\":\"{}\"}", ERR_INVALID_FIELD,
          "metadata must be an object" },
        { "{\"title\":\"a\",\"metadata\":{\"long\":\"0123456789\"}}", ERR_INVALID_FIELD,
          "metadata must be at most 20 bytes" },
        { "{\"title\":\"a\",\"tags\":\"red\"}", ERR_INVALID_FIELD,
          "tags must be an array of strings" },
        { "{\"title\":\"a\",\"tags\":[1]}", ERR_INVALID_FIELD, "tags must be an array of strings" },
        { "{\"title\":\"a\",\"tags\":[\"red\",\"red\",\"red\"]}", ERR_INVALID_FIELD,
          "tags must have at most 2 items" },
        { "{\"title\":\"a\",\"tags\":[\"green\"]}", ERR_INVALID_FIELD,
          "tags must hold only red, blue" },
        { "{\"title\":\"a\",\"count\":1.0}", ERR_INVALID_FIELD, "count must be an integer" },
        { "{\"title\":\"a\",\"count\":\"1\"}", ERR_INVALID_FIELD, "count must be an integer" },
        { "{\"title\":\"a\",\"count\":0}", ERR_INVALID_FIELD, "count must be between 1 and 200" },
        { "{\"title\":\"a\",\"count\":201}", ERR_INVALID_FIELD, "count must be between 1 and 200" },
        { "{\"title\":\"a\",\"is_open\":1}", ERR_INVALID_FIELD, "is_open must be true or false" },
        { "{\"title\":\"a\",\"is_open\":\"true\"}", ERR_INVALID_FIELD,
          "is_open must be true or false" },
        { "{\"title\":\"a\",\"due_at\":\"soon\"}", ERR_INVALID_FIELD,
          "due_at must be an RFC 3339 date-time" },
        { "{\"title\":\"a\",\"due_at\":17}", ERR_INVALID_FIELD,
          "due_at must be an RFC 3339 date-time" },
        { "{\"title\":\"a\",\"id\":\"" ID "\"}", ERR_INVALID_FIELD, "id cannot be set" },
        { "{\"title\":\"a\",\"x\":1}", ERR_INVALID_FIELD, "unknown field \"x\"" },
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ctx *cx = *state;
        struct thing t;
        ctx_clear(cx);
        assert_int_equal(decode(cx, cases[i].json, V1, &t), cases[i].code);
        assert_int_equal(cx->err, cases[i].code);
        assert_str(problems(cx), cases[i].sentence);
        assert_str(cx->err_text, cases[i].sentence);
    }
}

static void test_characters_count_not_bytes(void **state)
{
    struct thing t;

    assert_int_equal(decode(*state,
                            "{\"title\":\"\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9"
                            "\xF0\x9F\x98\x80\xF0\x9F\x98\x80\xC3\xA9\xC3\xA9\xC3\xA9\"}",
                            V1, &t),
                     ERR_NONE);
    assert_int_equal(decode(*state,
                            "{\"title\":\"\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9"
                            "\xF0\x9F\x98\x80\xF0\x9F\x98\x80\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\"}",
                            V1, &t),
                     ERR_INVALID_FIELD);
}

static void test_all_problems_come_in_table_order(void **state)
{
    struct ctx *cx = *state;
    struct thing t;

    enum err_code e =
        decode(cx, "{\"zz\":1,\"count\":0,\"aa\":2,\"id\":\"x\",\"priority\":\"no\"}", V1, &t);

    assert_int_equal(e, ERR_INVALID_FIELD);
    assert_str(problems(cx), "id cannot be set; title is required; priority must be one of low, "
                             "medium, high, urgent; count must be between 1 and 200; "
                             "unknown field \"zz\"; unknown field \"aa\"");
    assert_str(cx->fields[1].field, "title");
    assert_int_equal(cx->fields[1].code, ERR_MISSING_FIELD);
}

static void test_the_prefix_names_the_item(void **state)
{
    static const char *const prefixes[] = { "tickets[3]", "tickets[3]." };

    for (size_t i = 0; i < 2; i++) {
        struct ctx *cx = *state;
        struct thing t;
        ctx_clear(cx);

        rec_decode(cx, &body, json_read(cx, STR("{\"x\":1}")), V1, str_of(prefixes[i]), &t);
        enum err_code e = rec_decode(cx, &body, json_null(), V1, str_of(prefixes[i]), &t);

        assert_int_equal(e, ERR_INVALID_FIELD);
        assert_str(cx->fields[0].field, "tickets[3].title");
        assert_str(problems(cx), "tickets[3].title is required; unknown field \"tickets[3].x\"; "
                                 "tickets[3] must be an object");
    }
}

static void test_a_body_that_is_no_object_is_refused(void **state)
{
    struct ctx *cx = *state;
    struct thing t;

    assert_int_equal(decode(cx, "[]", 0, &t), ERR_BAD_REQUEST);
    assert_str(cx->err_text, "The body must be a JSON object");
    assert_int_equal(rec_decode(cx, &body, NULL, 0, STR_NONE, &t), ERR_BAD_REQUEST);
}

static void test_unknown_and_read_only_are_ignored_when_asked(void **state)
{
    struct thing t;

    assert_int_equal(decode(*state, "{\"title\":\"a\",\"x\":1,\"id\":5}", REC_IGNORE_UNKNOWN, &t),
                     ERR_NONE);
    assert_false(REC_HAS(&t, id));
}

static void test_a_patch_needs_nothing_and_null_clears(void **state)
{
    struct ctx *cx = *state;
    struct thing t;

    assert_int_equal(decode(cx, "{}", V1 | REC_PATCH, &t), ERR_NONE);
    assert_int_equal(decode(cx, "{\"note\":null}", V1 | REC_PATCH, &t), ERR_NONE);
    assert_true(REC_IS_NULL(&t, note));
    assert_int_equal(decode(cx, "{\"title\":\" \",\"priority\":null}", V1 | REC_PATCH, &t),
                     ERR_INVALID_FIELD);
    assert_str(problems(cx), "title must not be blank; priority cannot be null");
}

static void test_hostile_unknown_fields_cost_bounded_memory(void **state)
{
    struct ctx *cx = *state;
    struct thing t;
    struct buf b;

    buf_init(&b, &cx->arena, 1 << 21);
    buf_lit(&b, "{\"title\":\"a\"");
    for (int i = 0; i < 50000; i++)
        buf_printf(&b, ",\"k%d\":1", i);
    buf_char(&b, '}');
    json_t *v = json_read(cx, buf_view(&b));
    size_t used = cx->arena.used;

    assert_int_equal(rec_decode(cx, &body, v, V1, STR_NONE, &t), ERR_INVALID_FIELD);
    assert_int_equal(cx->n_fields, CTX_FIELD_ERRORS_MAX);
    assert_true(cx->arena.used - used < 200000);
}

static enum err_code ask(struct ctx *cx, const struct rec_param *p, size_t n, struct thing *out)
{
    ctx_clear(cx);
    return rec_decode_query(cx, &query, p, n, out);
}

static void test_query_parameters_fill_the_struct(void **state)
{
    static const struct rec_param p[] = {
        { { "limit", 5 }, { "50", 2 } },
        { { "priority", 8 }, { "low,high", 8 } },
        { { "open", 4 }, { "false", 5 } },
        { { "after", 5 }, { "2024-01-15", 10 } },
        { { "q", 1 }, { NULL, 0 } },
        { { "id", 2 }, { "0190A5C0-7B1C-7DEF-8123-456789ABCDEF", 36 } },
    };
    struct thing t;

    assert_int_equal(ask(*state, p, 6, &t), ERR_NONE);
    assert_int_equal(t.count, 50);
    assert_str(t.priority, "low,high");
    assert_true(REC_HAS(&t, is_open));
    assert_int_equal(t.is_open, 0);
    assert_int_equal(t.due_at, INT64_C(1705276800000));
    assert_str(t.title, "");
    assert_str(t.id, ID);
}

static void test_query_mistakes_are_named(void **state)
{
    static const struct rec_param p[] = {
        { { "sort", 4 }, { "x", 1 } },  { { "limit", 5 }, { "5x", 2 } },
        { { "open", 4 }, { "1", 1 } },  { { "priority", 8 }, { "low,", 4 } },
        { { "after", 5 }, { "a", 1 } }, { { "q", 1 }, { "\xFF", 1 } },
        { { "after", 5 }, { "b", 1 } },
    };
    static const struct rec_param nul = { { "q", 1 }, { "a\0b", 3 } };
    struct ctx *cx = *state;
    struct thing t;

    assert_int_equal(ask(cx, p, 7, &t), ERR_INVALID_PARAMETER);
    assert_int_equal(cx->fields[0].code, ERR_INVALID_PARAMETER);
    assert_str(problems(cx),
               "priority must be a comma separated list of low, medium, high, urgent; "
               "q must be valid UTF-8 text; limit must be an integer; open must be true or false; "
               "after is given more than once; id is required; unknown parameter \"sort\"");
    assert_int_equal(ask(cx, &nul, 1, &t), ERR_INVALID_PARAMETER);
    assert_str(problems(cx), "q must be valid UTF-8 text; id is required");
}

static void put(struct thing *t, const char *name, const char *text)
{
    const struct field *f = rec_find(&reply, str_of(name));

    assert_non_null(f);
    rec_put_text(f, t, str_of(text));
}

static struct str encoded(struct ctx *cx, const struct thing *t)
{
    struct buf b;

    buf_init(&b, &cx->arena, 10000);
    rec_encode(&b, &reply, t);
    return buf_view(&b);
}

static void test_encoding_follows_the_table(void **state)
{
    struct thing t = { .bits = { 0 } };

    put(&t, "id", ID);
    put(&t, "title", "say \"hi\"");
    put(&t, "note", NULL);
    put(&t, "metadata", "{\"a\":[1]}");
    put(&t, "secret", "s3cret");
    rec_put_int(rec_find(&reply, STR("count")), &t, -7);
    rec_put_int(rec_find(&reply, STR("is_open")), &t, 1);
    rec_put_int(rec_find(&reply, STR("due_at")), &t, INT64_C(1705314600123));
    rec_put_int(rec_find(&reply, STR("made_at")), &t, INT64_C(1705314600999));

    assert_str(encoded(*state, &t),
               "{\"id\":\"" ID "\",\"title\":\"say \\\"hi\\\"\",\"note\":null,\"priority\":null,"
               "\"metadata\":{\"a\":[1]},\"count\":-7,\"is_open\":true,"
               "\"due_at\":\"2024-01-15T10:30:00.123Z\",\"made_at\":\"2024-01-15T10:30:00Z\"}");
    put(&t, "metadata", "");
    put(&t, "title", "");
    struct str text = encoded(*state, &t);
    assert_non_null(json_read(*state, text));
    assert_null(strstr(str_cstr(&((struct ctx *)*state)->arena, text), "metadata"));
}

static void test_names_are_found_whole(void **state)
{
    (void)state;
    assert_ptr_equal(rec_find(&reply, STR("title")), &reply_fields[1]);
    assert_null(rec_find(&reply, STR("titl")));
    assert_null(rec_find(&reply, STR("titles")));
    assert_null(rec_find(&reply, STR_NONE));
}

static void test_schema_of_a_body(void **state)
{
    struct ctx *cx = *state;
    struct buf b;

    buf_init(&b, &cx->arena, 10000);
    rec_schema_body(&b, &body, V1);
    assert_str(
        buf_view(&b),
        "{\"type\":\"object\",\"description\":\"What to make.\",\"properties\":{"
        "\"title\":{\"type\":\"string\",\"minLength\":1,\"maxLength\":10,"
        "\"pattern\":\"[^ \\\\t-\\\\r]\",\"description\":\"A \\\"name\\\"\",\"examples\":[\"Hi\"]},"
        "\"note\":{\"type\":[\"string\",\"null\"],\"minLength\":2},"
        "\"priority\":{\"type\":[\"string\",\"null\"],\"enum\":[\"low\",\"medium\",\"high\","
        "\"urgent\",null]},"
        "\"metadata\":{\"type\":[\"object\",\"null\"]},"
        "\"tags\":{\"type\":[\"array\",\"null\"],\"items\":{\"type\":\"string\",\"enum\":["
        "\"red\",\"blue\"]},\"maxItems\":2},"
        "\"secret\":{\"type\":[\"string\",\"null\"],\"writeOnly\":true},"
        "\"count\":{\"type\":[\"integer\",\"null\"],\"format\":\"int64\",\"minimum\":1,"
        "\"maximum\":200},\"is_open\":{\"type\":[\"boolean\",\"null\"]},"
        "\"due_at\":{\"type\":[\"string\",\"null\"],\"format\":\"date-time\"}},"
        "\"required\":[\"title\"],\"additionalProperties\":false}");

    buf_reset(&b);
    rec_schema_body(&b, &body, REC_PATCH);
    json_t *patch = json_read(cx, buf_view(&b));
    assert_null(json_object_get(patch, "required"));
    assert_null(json_object_get(patch, "additionalProperties"));
    json_t *count = json_object_get(json_object_get(patch, "properties"), "count");
    assert_string_equal(json_string_value(json_object_get(count, "type")), "integer");
}

static void test_schema_of_a_reply(void **state)
{
    struct ctx *cx = *state;
    struct buf b;

    buf_init(&b, &cx->arena, 10000);
    rec_schema_reply(&b, &reply);
    json_t *s = json_read(cx, buf_view(&b));
    assert_non_null(s);
    json_t *p = json_object_get(s, "properties");

    assert_str(
        json_text(cx, json_object_get(s, "required")),
        "[\"id\",\"title\",\"note\",\"priority\",\"count\",\"is_open\",\"due_at\",\"made_at\"]");
    assert_true(json_is_false(json_object_get(s, "additionalProperties")));
    assert_null(json_object_get(p, "secret"));
    assert_str(
        json_text(cx, json_object_get(p, "priority")),
        "{\"type\":[\"string\",\"null\"],\"enum\":[\"low\",\"medium\",\"high\",\"urgent\",null]}");
    assert_str(json_text(cx, json_object_get(p, "metadata")), "{\"type\":\"object\"}");
    assert_str(json_text(cx, json_object_get(p, "id")),
               "{\"type\":\"string\",\"format\":\"uuid\"}");
}

static void test_schema_of_a_query_list(void **state)
{
    struct ctx *cx = *state;
    struct buf b;

    buf_init(&b, &cx->arena, 10000);
    field_schema(&b, &query_fields[0], false);
    assert_str(buf_view(&b),
               "{\"type\":\"array\",\"items\":{\"type\":\"string\",\"enum\":[\"low\",\"medium\","
               "\"high\",\"urgent\"]},\"minItems\":1}");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_a_good_body_fills_the_struct),
        T(test_each_mistake_has_its_sentence),
        T(test_characters_count_not_bytes),
        T(test_all_problems_come_in_table_order),
        T(test_the_prefix_names_the_item),
        T(test_a_body_that_is_no_object_is_refused),
        T(test_unknown_and_read_only_are_ignored_when_asked),
        T(test_a_patch_needs_nothing_and_null_clears),
        T(test_hostile_unknown_fields_cost_bounded_memory),
        T(test_query_parameters_fill_the_struct),
        T(test_query_mistakes_are_named),
        T(test_encoding_follows_the_table),
        T(test_names_are_found_whole),
        T(test_schema_of_a_body),
        T(test_schema_of_a_reply),
        T(test_schema_of_a_query_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
