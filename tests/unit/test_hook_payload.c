/* Webhooks as they are kept: headers without secrets, bodies byte for byte; which types are wanted; the
 * brake; ids of a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <stdio.h>
#include <string.h>

#include "base/crypt.h"
#include "connect/in/brake.h"
#include "connect/in/payload.h"
#include "connect/in/retention.h"
#include "connect/integration.h"

#define MEMORY ((size_t)4 << 20)

static int setup(void **state)
{
    struct ctx *cx = test_malloc(sizeof *cx);
    crypt_init();
    ctx_init(cx, MEMORY);
    *state = cx;
    return 0;
}

static int teardown(void **state)
{
    ctx_done(*state);
    test_free(*state);
    return 0;
}

static struct hook_ask ask_of(const char *kind, const struct hook_header *headers, size_t n)
{
    return (struct hook_ask){ .scheme = hook_scheme_find(str_of(kind)),
                              .headers = headers,
                              .n_headers = n,
                              .body = STR("") };
}

#define HEADER(name_, value_)                                                                      \
    {                                                                                              \
        STR(name_), STR(value_)                                                                    \
    }

static void test_headers_that_say_what_happened_are_kept(void **state)
{
    static const struct hook_header headers[] = {
        HEADER("X-GitHub-Event", "issues"),      HEADER("HOST", "desk.example"),
        HEADER("content-type", " text/plain "),  HEADER("X-GITHUB-EVENT", "again"),
        HEADER("X-GitHub-Hook-ID", "a \"b\"\n"), HEADER("Content-Typ", "no"),
    };
    struct ctx *cx = *state;
    struct hook_ask ask = ask_of("github", headers, 6);
    struct str kept = payload_headers(cx, &ask);
    assert_true(str_eq(kept, STR("{\"x-github-event\":\"issues\",\"content-type\":\"text/plain\","
                                 "\"x-github-hook-id\":\"a \\\"b\\\"\"}")));
}

static void test_no_header_that_tells_a_secret_is_kept(void **state)
{
    static const struct hook_header headers[] = {
        HEADER("X-GitHub-Token", "s"),
        HEADER("X-Hub-Signature-256", "s"),
        HEADER("X-Atlassian-Secret", "s"),
        HEADER("Authorization", "s"),
        HEADER("X-Slack-Signature", "s"),
        HEADER("webhook-signature", "s"),
        HEADER("Cookie", "s"),
        HEADER("X-Event-Api-Key", "s"),
        HEADER("X-Hook-Secret", "s"),
        HEADER("X-GitLab-Token", "s"),
        HEADER("X-Shopify-Hmac-Sha256", "s"),
        HEADER("linear-signature", "s"),
    };
    struct ctx *cx = *state;
    size_t n;
    const struct hook_scheme *all = hook_schemes(&n);
    for (size_t i = 0; i < n; i++) {
        struct hook_ask ask = ask_of(all[i].kind, headers, sizeof headers / sizeof *headers);
        assert_true(str_eq(payload_headers(cx, &ask), STR("{}")));
    }
}

static void test_kept_headers_are_bounded_and_stay_json(void **state)
{
    struct ctx *cx = *state;
    static char big[20000];
    struct hook_header headers[60];
    memset(big, 1, sizeof big); /* six bytes each when escaped */
    for (size_t i = 0; i < 60; i++)
        headers[i] = (struct hook_header){ str_printf(&cx->arena, "x-event-%zu", i),
                                           { big, i == 0 ? sizeof big : 10 * i } };
    struct hook_ask ask = ask_of("hmac", headers, 60);
    struct str kept = payload_headers(cx, &ask);
    assert_true(kept.n < HOOK_HEADERS_TEXT_MAX);
    json_t *json = json_read(cx, kept);
    assert_non_null(json);
    assert_in_range(json_object_size(json), 5, 40);
    assert_null(json_object_get(json, "x-event-0"));
}

static void test_bodies_come_back_byte_for_byte(void **state)
{
    static const struct {
        struct str body;
        const char *form;
    } cases[] = {
        { STR(""), "text" },         { STR("{\"a\": 1}\r\n"), "text" },
        { STR("\xc3\xa9"), "text" }, { STR("\xff\xfe"), "base64" },
        { STR("a\0b"), "base64" },
    };
    struct ctx *cx = *state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct hook_ask ask = ask_of("github", NULL, 0);
        const char *form;
        struct str back;
        ask.body = cases[i].body;
        struct str kept = payload_body(cx, &ask, &form);
        assert_string_equal(form, cases[i].form);
        assert_true(str_is_utf8(kept));
        assert_true(payload_bytes(&cx->arena, str_of(form), kept, &back));
        assert_int_equal(back.n, cases[i].body.n);
        assert_memory_equal(back.p, cases[i].body.p, back.n);
    }
    struct str none;
    assert_false(payload_bytes(&cx->arena, STR("base64"), STR("%%%"), &none));
}

static void test_the_client_state_of_every_item_is_masked(void **state)
{
    struct ctx *cx = *state;
    struct hook_ask ask = ask_of("teams", NULL, 0);
    const char *form;
    ask.body = STR("{\"value\":[{\"clientState\":\"s\\u0065cret\",\"n\":1.5},{\"clientState\":"
                   "\"secret\"}]}");
    struct str kept = payload_body(cx, &ask, &form);
    assert_true(str_eq(kept, STR("{\"value\":[{\"clientState\":\"***\",\"n\":1.5},{\"clientState\":"
                                 "\"***\"}]}")));
}

static void test_which_types_are_wanted(void **state)
{
    static const struct {
        const char *patterns, *type;
        bool is_wanted;
    } cases[] = {
        { "[]", "issues", true },
        { "[]", NULL, true },
        { "[\"*\"]", NULL, true },
        { "[\"*\"]", "issues", true },
        { "[\"issues\"]", "issues", true },
        { "[\"issues\"]", "issues.opened", false },
        { "[\"issues.*\"]", "issues.opened", true },
        { "[\"issues.*\"]", "issues", false },
        { "[\"issues.*\"]", "issue", false },
        { "[\"push\",\"issues\"]", "issues", true },
        { "[\"push\"]", NULL, false },
        { "[\"push.*\"]", NULL, false },
    };
    struct ctx *cx = *state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(event_type_wanted(cx, str_of(cases[i].patterns), str_of(cases[i].type)),
                         cases[i].is_wanted);
}

static void test_ids_of_a_time_part_older_from_newer(void **state)
{
    struct ctx *cx = *state;
    struct str id = uuid7(&cx->arena);
    uint64_t ms = 0;
    for (size_t i = 0; i < 13; i++)
        if (id.p[i] != '-') {
            unsigned char digit;
            char two[3] = { '0', id.p[i], '\0' };
            assert_true(hex_parse(str_of(two), &digit, 1));
            ms = ms << 4 | digit;
        }
    struct str same = hook_id_of_time(&cx->arena, (int64_t)ms);
    struct str later = hook_id_of_time(&cx->arena, (int64_t)ms + 1);
    assert_true(uuid_is_valid(same));
    assert_true(memcmp(same.p, id.p, 36) < 0);
    assert_true(memcmp(later.p, id.p, 36) > 0);
    assert_true(
        str_eq(hook_id_of_time(&cx->arena, 0), STR("00000000-0000-0000-0000-000000000000")));
}

static void test_the_brake_counts_by_address_and_integration_within_a_minute(void **state)
{
    struct brake *b = brake_open(3);
    struct str ip = STR("192.0.2.1"), one = STR("one"), two = STR("two");
    int64_t now = INT64_C(1790000000000);
    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_true(brake_is_open(b, ip, one, now));
        assert_true(brake_note(b, ip, one, now)); /* told in the log */
    }
    assert_false(brake_is_open(b, ip, one, now));
    assert_false(brake_note(b, ip, one, now));
    assert_true(brake_is_open(b, ip, two, now));
    assert_true(brake_is_open(b, STR("192.0.2.2"), one, now));
    assert_true(brake_is_open(b, ip, one, now + 60000));
    brake_close(b);

    b = brake_open(0);
    for (int i = 0; i < 100000; i++)
        brake_note(b, ip, one, now);
    assert_true(brake_is_open(b, ip, one, now));
    brake_close(b);
    brake_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_headers_that_say_what_happened_are_kept, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_no_header_that_tells_a_secret_is_kept, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_kept_headers_are_bounded_and_stay_json, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_bodies_come_back_byte_for_byte, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_client_state_of_every_item_is_masked, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_which_types_are_wanted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ids_of_a_time_part_older_from_newer, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_the_brake_counts_by_address_and_integration_within_a_minute, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
