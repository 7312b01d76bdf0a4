/* Webhooks as rows: what is sealed and opened again, who signs until when, disabling, examples. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "connect/hook_key.h"
#include "connect/webhook/event_example.h"
#include "connect/webhook/webhook_admin.h"
#include "connect/webhook/webhook_replay.h"
#include "vault_store.h"

static int setup(void **state)
{
    vault_setup(state);
    vault_columns_source(NULL);
    return 0;
}

#define TW(name) cmocka_unit_test_setup_teardown(name, setup, vault_teardown)

static struct webhook made(struct ctx *cx, struct db *db, const char *headers)
{
    struct webhook_new in = { .url = STR("https://example.com/"), .events = STR("[\"*\"]") };
    struct webhook w;

    if (headers)
        in.headers = str_of(headers);
    caller_scope(db, &alice);
    assert_ok(webhook_create(cx, db, &alice, &in, &w));
    return w;
}

static size_t secrets(struct ctx *cx, struct db *db, const struct webhook *w, struct str *v)
{
    size_t n = 99;
    assert_ok(webhook_secrets(cx, db, w, v, &n));
    return n;
}

UNIT_TEST(test_the_secret_of_the_creation_is_the_one_that_signs)
{
    struct str v[HOOK_SECRETS_MAX];
    struct webhook w = made(cx, db, NULL), again;

    assert_int_equal(secrets(cx, db, &w, v), 1);
    assert_true(str_eq(v[0], w.secret));
    assert_ok(hook_key_check(cx, w.secret));
    assert_ok(webhook_get(cx, db, &alice, w.id, &again));
    assert_null(again.secret.p);
}

UNIT_TEST(test_secrets_are_newest_first_and_end_with_their_grace)
{
    struct str v[HOOK_SECRETS_MAX];
    struct webhook w = made(cx, db, NULL);
    struct webhook_secret second, third;
    struct webhook_secret_new in = { .grace_s = 60 };

    REC_SET(&in, grace_s);
    assert_ok(webhook_secret_add(cx, db, &alice, w.id, &in, &second));
    assert_int_equal(secrets(cx, db, &w, v), 2);
    assert_true(str_eq(v[0], second.secret) && str_eq(v[1], w.secret));

    assert_ok(
        db_run(cx, db, "UPDATE webhook_secret SET expires_ms = 1 WHERE expires_ms > 1", NO_ARGS));
    assert_int_equal(secrets(cx, db, &w, v), 1);
    assert_ok(webhook_secret_add(cx, db, &alice, w.id, &in, &third));

    struct rec_num n;
    assert_ok(db_one(cx, db, &rec_num, "SELECT COUNT(*) AS n FROM webhook_secret", NO_ARGS, &n));
    assert_int_equal(n.n, 2); /* the one whose time was over is gone */
}

UNIT_TEST(test_headers_come_back_in_their_order)
{
    struct hook_header v[WEBHOOK_HEADERS_MAX];
    size_t n = 99;
    struct webhook w = made(cx, db, "{\"X-B\":\"2\",\"X-A\":\"a \\\"quoted\\\" \xC3\xA9\"}");

    assert_ok(webhook_headers(cx, db, &w, v, &n));
    assert_int_equal(n, 2);
    assert_str(v[0].name, "X-B");
    assert_str(v[0].value, "2");
    assert_str(v[1].name, "X-A");
    assert_str(v[1].value, "a \"quoted\" \xC3\xA9");
    assert_str(w.header_names, "[\"X-B\",\"X-A\"]");

    w = made(cx, db, NULL);
    assert_ok(webhook_headers(cx, db, &w, v, &n));
    assert_int_equal(n, 0);
}

UNIT_TEST(test_headers_of_another_webhook_do_not_open_here)
{
    struct hook_header v[WEBHOOK_HEADERS_MAX];
    size_t n;
    struct webhook one = made(cx, db, "{\"X-A\":\"1\"}"), two = made(cx, db, NULL);

    two.headers = one.headers;
    assert_fails(webhook_headers(cx, db, &two, v, &n), ERR_INTERNAL);
}

static int64_t events_of(struct ctx *cx, struct db *db, const char *type)
{
    struct rec_num n;
    assert_ok(db_one(cx, db, &rec_num,
                     "SELECT COUNT(*) AS n FROM event WHERE type = $1 AND actor_kind = 'server'",
                     ARGS(VT(str_of(type))), &n));
    return n.n;
}

UNIT_TEST(test_the_server_tells_when_it_disables_a_webhook_once)
{
    const struct caller server = { .team_id = STR(TEAM) };
    struct webhook w = made(cx, db, NULL), now;

    caller_scope(db, &server);
    assert_ok(webhook_disable(cx, db, &server, w.id, "gone"));
    assert_ok(webhook_disable(cx, db, &server, w.id, "failing"));

    assert_ok(webhook_get(cx, db, &server, w.id, &now));
    assert_str(now.state, "disabled");
    assert_str(now.disabled_reason, "gone");
    assert_int_equal(now.version, 2);
    assert_int_equal(events_of(cx, db, "webhook.disabled"), 1);
    struct rec_text kind;
    assert_ok(db_one(cx, db, &rec_text,
                     "SELECT actor_kind AS s FROM audit_log WHERE action = 'webhook.disable'",
                     NO_ARGS, &kind));
    assert_str(kind.s, "server");
}

UNIT_TEST(test_what_a_person_disables_is_no_event)
{
    struct webhook w = made(cx, db, NULL), now;

    assert_ok(webhook_set_enabled(cx, db, &alice, w.id, false, &now));

    assert_str(now.disabled_reason, "manual");
    assert_int_equal(events_of(cx, db, "webhook.disabled"), 0);
    assert_fails(webhook_must_send(cx, &now), ERR_CONFLICT);
}

UNIT_TEST(test_every_type_has_an_example_that_is_json)
{
    struct list types;
    (void)db;
    event_types_show(cx, STR(TEAM), &types);
    const struct event_type_shown *v = types.v;

    assert_int_equal(types.n, EVENT_TYPES);
    for (size_t i = 0; i < types.n; i++) {
        json_t *body = json_read(cx, v[i].example);
        if (!body)
            print_error("%.*s\n", STR_ARG(v[i].example));
        assert_non_null(body);
        assert_true(json_is_object(json_object_get(body, "data")));
        assert_string_equal(json_string_value(json_object_get(body, "type")), event_types[i].word);
    }
}

UNIT_TEST(test_a_test_is_no_new_event_and_has_one_delivery)
{
    struct delivery d;
    struct rec_num n;
    struct webhook w = made(cx, db, NULL);

    assert_ok(webhook_test(cx, db, &alice, w.id, STR_NONE, &d));

    assert_str(d.state, "waiting");
    assert_str(d.event_type, "webhook.test");
    assert_ok(db_one(cx, db, &rec_num,
                     "SELECT COUNT(*) AS n FROM event WHERE is_new = 0 AND webhook_id = $1",
                     ARGS(VT(w.id)), &n));
    assert_int_equal(n.n, 1);
    assert_ok(webhook_delete(cx, db, &alice, w.id, NULL));
    assert_fails(webhook_test(cx, db, &alice, w.id, STR_NONE, &d), ERR_NOT_FOUND);
}

UNIT_TEST(test_the_place_of_a_replay_is_kept_by_the_holder_of_its_lease_alone)
{
    struct replay_new in = { .from = clock_ms() - 60000 };
    struct webhook w = made(cx, db, NULL);
    const struct replay_ask ask = { w.id, &in, false };
    struct job job;
    struct rec_text payload;

    REC_SET(&in, from);
    assert_ok(replay_start(cx, db, &alice, &ask, &job));
    job.team_id = w.team_id;
    job.lease_token = STR("mine");
    assert_fails(job_resume_at(cx, db, &job, STR("{}")), ERR_UNAVAILABLE); /* nobody runs it */
    assert_ok(db_run(cx, db, "UPDATE job SET state = 'running', lease_token = 'others'", NO_ARGS));
    assert_fails(job_resume_at(cx, db, &job, STR("{}")), ERR_UNAVAILABLE);
    assert_ok(db_run(cx, db, "UPDATE job SET lease_token = 'mine'", NO_ARGS));
    assert_ok(job_resume_at(cx, db, &job, STR("{\"count\":7}")));

    assert_ok(db_one(cx, db, &rec_text, "SELECT payload AS s FROM job WHERE id = $1",
                     ARGS(VT(job.id)), &payload));
    assert_str(payload.s, "{\"count\":7}");
}

UNIT_TEST(test_the_least_id_of_a_time_is_not_behind_ids_made_then)
{
    int64_t now = clock_ms();
    (void)db;
    struct str before = uuid7_least(&cx->arena, now), id = uuid7(&cx->arena),
               after = uuid7_least(&cx->arena, now + 3600000);

    assert_true(uuid_is_valid(before) && uuid_is_valid(after));
    assert_true(memcmp(before.p, id.p, UUID_TEXT) <= 0);
    assert_true(memcmp(id.p, after.p, UUID_TEXT) < 0);
    assert_str(uuid7_least(&cx->arena, -1), "00000000-0000-7000-8000-000000000000");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TW(test_the_secret_of_the_creation_is_the_one_that_signs),
        TW(test_secrets_are_newest_first_and_end_with_their_grace),
        TW(test_headers_come_back_in_their_order),
        TW(test_headers_of_another_webhook_do_not_open_here),
        TW(test_the_server_tells_when_it_disables_a_webhook_once),
        TW(test_what_a_person_disables_is_no_event),
        TW(test_every_type_has_an_example_that_is_json),
        TW(test_a_test_is_no_new_event_and_has_one_delivery),
        TW(test_the_place_of_a_replay_is_kept_by_the_holder_of_its_lease_alone),
        TW(test_the_least_id_of_a_time_is_not_behind_ids_made_then),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
