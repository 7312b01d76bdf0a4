/* What is sent of an event: full and thin, the same bytes each time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include "base/json.h"
#include "connect/webhook/webhook_send.h"

#define LIT(s)                                                                                     \
    {                                                                                              \
        s, sizeof(s) - 1                                                                           \
    }
static const struct event changed = {
    .team_id = LIT("t1"),
    .id = LIT("e1"),
    .type = LIT("ticket.updated"),
    .subject_id = LIT("s1"),
    .entity = LIT("ticket:s1"),
    .actor_kind = LIT("key"),
    .actor_id = LIT("k1"),
    .actor_name = LIT("a \"name\""),
    .data = LIT("{\"title\":\"B\"}"),
    .previous = LIT("{\"title\":\"A\"}"),
    .seq = 7,
    .at_ms = 1700000000123,
};

#define HEAD(type)                                                                                 \
    "{\"id\":\"e1\",\"type\":\"" type "\",\"occurred_at\":\"2023-11-14T22:13:20.123Z\","           \
    "\"team_id\":\"t1\",\"sequence\":7,"

static void check(const struct event *ev, const char *payload, const char *want)
{
    struct ctx cx;
    ctx_init(&cx, CTX_CAP_DEFAULT);
    struct str body = webhook_body(&cx, ev, str_of(payload));
    assert_string_equal(str_cstr(&cx.arena, body), want);
    assert_non_null(json_read(&cx, body));
    assert_true(str_eq(body, webhook_body(&cx, ev, str_of(payload))));
    ctx_done(&cx);
}

static void test_full_has_the_data_and_the_old_values(void **state)
{
    (void)state;
    check(&changed, "full",
          HEAD("ticket.updated") "\"entity\":\"ticket:s1\",\"actor\":{\"kind\":\"key\","
                                 "\"id\":\"k1\",\"name\":\"a \\\"name\\\"\"},"
                                 "\"data\":{\"title\":\"B\"},\"previous\":{\"title\":\"A\"}}");
}

static void test_what_is_not_there_is_null(void **state)
{
    struct event ev = changed;
    (void)state;
    ev.actor_kind = STR("server");
    ev.actor_id = ev.actor_name = STR("");
    ev.previous = STR_NONE;
    check(&ev, "full",
          HEAD("ticket.updated") "\"entity\":\"ticket:s1\",\"actor\":{\"kind\":\"server\","
                                 "\"id\":null,\"name\":null},\"data\":{\"title\":\"B\"},"
                                 "\"previous\":null}");
}

static void test_thin_has_ids_and_where_to_look(void **state)
{
    (void)state;
    check(&changed, "thin",
          HEAD("ticket.updated") "\"entity\":\"ticket:s1\",\"actor\":{\"kind\":\"key\","
                                 "\"id\":\"k1\",\"name\":\"a \\\"name\\\"\"},\"data\":{\"id\":"
                                 "\"s1\",\"object\":\"ticket\",\"path\":\"/v1/tickets/s1\"}}");
}

static void test_a_thin_comment_is_found_under_its_ticket(void **state)
{
    struct event ev = changed;
    (void)state;
    ev.type = STR("comment.created");
    ev.subject_id = STR("c1");
    check(&ev, "thin",
          HEAD("comment.created") "\"entity\":\"ticket:s1\",\"actor\":{\"kind\":\"key\","
                                  "\"id\":\"k1\",\"name\":\"a \\\"name\\\"\"},\"data\":{\"id\":"
                                  "\"c1\",\"object\":\"comment\",\"path\":"
                                  "\"/v1/tickets/s1/comments/c1\"}}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full_has_the_data_and_the_old_values),
        cmocka_unit_test(test_what_is_not_there_is_null),
        cmocka_unit_test(test_thin_has_ids_and_where_to_look),
        cmocka_unit_test(test_a_thin_comment_is_found_under_its_ticket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
