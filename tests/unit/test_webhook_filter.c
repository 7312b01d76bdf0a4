/* Conditions of webhooks: what is let in, what each operator means, what a webhook wants. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include "base/json.h"
#include "connect/webhook/webhook.h"

static const char DATA[] = "{\"status\":\"open\",\"priority\":\"high\",\"n\":3,\"real\":2.0,"
                           "\"nothing\":null,\"done\":false,\"title\":\"The printer is on fire\","
                           "\"tags\":[\"vip\",\"eu\"],\"metadata\":{\"plan\":{\"name\":\"gold\"}},"
                           "\"list\":[{\"a\":1},{\"a\":2}]}";
static const char PREVIOUS[] = "{\"status\":\"new\",\"assignee_id\":null}";

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

static bool holds(struct ctx *cx, const char *conditions)
{
    struct webhook_filter f;
    enum err_code e = webhook_filter_parse(cx, str_of(conditions), &f);
    if (e)
        print_error("%s: %.*s\n", conditions, STR_ARG(cx->err_text));
    assert_int_equal(e, ERR_NONE);
    return webhook_filter_holds(&f, json_read(cx, str_of(DATA)), json_read(cx, str_of(PREVIOUS)));
}

#define ONE(path, op, value) "[{\"path\":\"" path "\",\"op\":\"" op "\",\"value\":" value "}]"
#define BARE(path, op) "[{\"path\":\"" path "\",\"op\":\"" op "\"}]"

static void test_each_operator_holds_where_it_should_and_nowhere_else(void **state)
{
    static const struct {
        const char *conditions;
        bool holds;
    } cases[] = {
        { "[]", true },
        { ONE("data.status", "eq", "\"open\""), true },
        { ONE("data.status", "eq", "\"Open\""), false },
        { ONE("data.n", "eq", "3"), true },
        { ONE("data.n", "eq", "3.0"), true },
        { ONE("data.n", "eq", "\"3\""), false },
        { ONE("data.real", "eq", "2"), true },
        { ONE("data.done", "eq", "false"), true },
        { ONE("data.done", "eq", "null"), false },
        { ONE("data.nothing", "eq", "null"), true },
        { ONE("data.absent", "eq", "null"), true },
        { ONE("data.absent", "ne", "\"x\""), true },
        { ONE("data.status", "ne", "\"open\""), false },
        { ONE("data.priority", "in", "[\"low\",\"high\"]"), true },
        { ONE("data.priority", "in", "[\"low\"]"), false },
        { ONE("data.absent", "in", "[\"low\",null]"), true },
        { ONE("data.priority", "not_in", "[\"low\"]"), true },
        { ONE("data.priority", "not_in", "[\"high\"]"), false },
        { ONE("data.title", "contains", "\"printer\""), true },
        { ONE("data.title", "contains", "\"scanner\""), false },
        { ONE("data.tags", "contains", "\"vip\""), true },
        { ONE("data.tags", "contains", "\"vi\""), false },
        { ONE("data.n", "contains", "3"), false },
        { BARE("data.status", "exists"), true },
        { BARE("data.nothing", "exists"), false },
        { ONE("data.nothing", "exists", "false"), true },
        { ONE("data.status", "exists", "false"), false },
        { BARE("data.status", "changed"), true },
        { BARE("data.assignee_id", "changed"), true },
        { BARE("data.title", "changed"), false },
        { ONE("data.title", "changed", "false"), true },
        { BARE("previous.status", "changed"), true },
        { ONE("previous.status", "eq", "\"new\""), true },
        { ONE("data.metadata.plan.name", "eq", "\"gold\""), true },
        { ONE("data.list.1.a", "eq", "2"), true },
        { ONE("data.list.2.a", "eq", "2"), false },
        { ONE("data.list.-1.a", "eq", "null"), true },
        { ONE("data.status.more", "eq", "null"), true },
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (holds(*state, cases[i].conditions) != cases[i].holds)
            print_error("%s\n", cases[i].conditions);
        assert_int_equal(holds(*state, cases[i].conditions), cases[i].holds);
    }
}

static void test_all_conditions_must_hold(void **state)
{
    assert_true(holds(*state, "[{\"path\":\"data.status\",\"op\":\"eq\",\"value\":\"open\"},"
                              "{\"path\":\"data.n\",\"op\":\"ne\",\"value\":4}]"));
    assert_false(holds(*state, "[{\"path\":\"data.status\",\"op\":\"eq\",\"value\":\"open\"},"
                               "{\"path\":\"data.n\",\"op\":\"ne\",\"value\":3}]"));
}

static void test_nothing_has_changed_without_previous(void **state)
{
    struct webhook_filter f;
    json_t *data = json_read(*state, str_of(DATA));

    assert_int_equal(webhook_filter_parse(*state, STR(BARE("data.status", "changed")), &f), 0);
    assert_false(webhook_filter_holds(&f, data, NULL));
}

static void test_what_is_wrong_is_named(void **state)
{
    struct ctx *cx = *state;
    static const struct {
        const char *conditions, *field;
    } cases[] = {
        { BARE("status", "exists"), "filter[0].path" },
        { BARE("data", "exists"), "filter[0].path" },
        { BARE("data.", "exists"), "filter[0].path" },
        { BARE("data..a", "exists"), "filter[0].path" },
        { BARE("data.1.2.3.4.5.6.7.8.9.10", "exists"), "filter[0].path" },
        { BARE("data.a", "like"), "filter[0].op" },
        { BARE("data.a", "eq"), "filter[0].value" },
        { ONE("data.a", "eq", "[1]"), "filter[0].value" },
        { ONE("data.a", "in", "1"), "filter[0].value" },
        { ONE("data.a", "in", "[]"), "filter[0].value" },
        { ONE("data.a", "in", "[[1]]"), "filter[0].value" },
        { ONE("data.a", "contains", "null"), "filter[0].value" },
        { ONE("data.a", "exists", "1"), "filter[0].value" },
        { "[{\"op\":\"exists\"}]", "filter[0].path" },
        { "[{\"path\":\"data.a\",\"op\":\"exists\",\"x\":1}]", "filter[0].x" },
        { "{}", "filter" },
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct webhook_filter f;
        assert_int_not_equal(webhook_filter_parse(cx, str_of(cases[i].conditions), &f), ERR_NONE);
        assert_true(cx->n_fields > 0);
        if (!str_eq(cx->fields[0].field, str_of(cases[i].field)))
            print_error("%s\n", cases[i].conditions);
        assert_true(str_eq(cx->fields[0].field, str_of(cases[i].field)));
        ctx_clear(cx);
    }
}

static void test_a_webhook_wants_its_types_only(void **state)
{
    static const struct {
        const char *events, *type;
        bool wants;
    } cases[] = {
        { "[\"*\"]", "ticket.created", true },
        { "[\"ticket.*\"]", "ticket.created", true },
        { "[\"ticket.*\"]", "comment.created", false },
        { "[\"ticket.created\"]", "ticket.created", true },
        { "[\"ticket.created\"]", "ticket.deleted", false },
        { "[\"comment.*\", \"ticket.deleted\"]", "ticket.deleted", true },
        { "[\"api_key.*\"]", "api_key.created", true },
        { "[]", "ticket.created", false },
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct webhook w = { .events = str_of(cases[i].events) };
        const struct event ev = { .type = str_of(cases[i].type) };
        assert_int_equal(webhook_wants(*state, &w, &ev, NULL, NULL), cases[i].wants);
    }
}

static void test_a_webhook_wants_what_its_conditions_say(void **state)
{
    struct webhook w = { .events = STR("[\"*\"]"),
                         .filter = STR(ONE("data.status", "eq", "\"open\"")) };
    const struct event ev = { .type = STR("ticket.created") };
    json_t *data = json_read(*state, str_of(DATA));

    assert_true(webhook_wants(*state, &w, &ev, data, NULL));
    w.filter = STR(ONE("data.status", "eq", "\"closed\""));
    assert_false(webhook_wants(*state, &w, &ev, data, NULL));
}

#define TF(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TF(test_each_operator_holds_where_it_should_and_nowhere_else),
        TF(test_all_conditions_must_hold),
        TF(test_nothing_has_changed_without_previous),
        TF(test_what_is_wrong_is_named),
        TF(test_a_webhook_wants_its_types_only),
        TF(test_a_webhook_wants_what_its_conditions_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
