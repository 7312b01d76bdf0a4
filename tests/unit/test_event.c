/* Events: written beside each change once the team has a webhook, in one order, without secrets. */
#define _GNU_SOURCE /* memmem */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <string.h>

#include "base/json.h"
#include "core/comment.h"
#include "core/crm/contact.h"
#include "core/event.h"
#include "core/token_admin.h"
#include "core_store.h"

static void have_webhook(struct ctx *cx, struct db *db)
{
    caller_scope(db, &alice);
    assert_ok(db_run(cx, db,
                     "INSERT INTO webhook (team_id, id, url, events, header_names, payload, "
                     "is_ordered, state, notice, version, created_ms, updated_ms) VALUES ($1, "
                     "'w', 'https://example.com/', '[]', '[]', 'full', 0, 'enabled', 0, 1, 1, 1)",
                     ARGS(VT(STR(TEAM)))));
}

static struct list events(struct ctx *cx, struct db *db)
{
    struct list l;

    assert_ok(db_list(cx, db, &rec_event_row,
                      "SELECT " EVENT_COLUMNS " FROM event WHERE team_id = $1 ORDER BY seq",
                      ARGS(VT(STR(TEAM))), &l));
    return l;
}

static void assert_types(struct ctx *cx, struct db *db, const char *const *words, size_t n)
{
    struct list l = events(cx, db);
    const struct event *v = l.v;

    assert_int_equal(l.n, n);
    for (size_t i = 0; i < n; i++)
        assert_true(str_eq(v[i].type, str_of(words[i])));
    for (size_t i = 1; i < n; i++)
        assert_true(v[i].seq > v[i - 1].seq);
}

UNIT_TEST(test_a_team_without_webhooks_writes_no_events)
{
    ticket_made(cx, db, &alice, "Printer");
    assert_int_equal(events(cx, db).n, 0);
}

UNIT_TEST(test_a_ticket_tells_of_its_life_with_the_old_values)
{
    have_webhook(cx, db);
    struct ticket made = ticket_made(cx, db, &alice, "Printer"), t;
    struct ticket_new patch = { .title = STR("Scanner"), .status = STR("pending") };
    REC_SET(&patch, title);
    REC_SET(&patch, status);
    assert_ok(ticket_update(cx, db, &alice, made.id, &patch, NULL, &t));
    assert_ok(ticket_update(cx, db, &alice, made.id, &(struct ticket_new){ 0 }, NULL, &t));
    assert_ok(ticket_delete(cx, db, &alice, made.id, NULL));

    static const char *const words[] = { "ticket.created", "ticket.updated",
                                         "ticket.status_changed", "ticket.deleted" };
    assert_types(cx, db, words, 4);
    const struct event *v = events(cx, db).v;
    assert_null(v[0].previous.p);
    assert_str(v[1].previous, "{\"title\":\"Printer\",\"status\":\"open\"}");
    json_t *data = json_read(cx, v[1].data);
    assert_string_equal(json_string_value(json_object_get(data, "title")), "Scanner");
    assert_string_equal(json_string_value(json_object_get(data, "status")), "pending");
    assert_str(v[1].actor_kind, "key");
    assert_str(v[1].actor_name, "alice");
    assert_true(str_eq(v[1].subject_id, made.id));
    assert_true(str_eq(str_sub(v[1].entity, 7, 36), made.id));
}

UNIT_TEST(test_comments_are_in_order_with_their_ticket)
{
    have_webhook(cx, db);
    struct ticket t = ticket_made(cx, db, &alice, "Printer");
    struct comment_new in = { .content = STR("hello") };
    struct comment c;
    assert_ok(comment_create(cx, db, &alice, t.id, &in, &c));
    assert_ok(comment_delete(cx, db, &alice, t.id, c.id));

    static const char *const words[] = { "ticket.created", "comment.created", "comment.deleted" };
    assert_types(cx, db, words, 3);
    const struct event *v = events(cx, db).v;
    assert_true(str_eq(v[0].entity, v[1].entity));
    assert_true(str_eq(v[0].entity, v[2].entity));
    assert_true(str_eq(v[1].subject_id, c.id));
}

UNIT_TEST(test_contacts_tell_when_something_changed)
{
    have_webhook(cx, db);
    struct contact_new in = { .name = STR("Ada") }, patch = { .company = STR("Engines") };
    struct contact c, other;
    struct contact_merge merge = { 0 };
    REC_SET(&in, name);
    REC_SET(&patch, company);
    assert_ok(contact_create(cx, db, &alice, &in, &c));
    assert_ok(contact_create(cx, db, &alice, &in, &other));
    assert_ok(contact_update(cx, db, &alice, c.id, &patch, NULL, &c));
    assert_ok(contact_update(cx, db, &alice, c.id, &patch, NULL, &c));
    merge.from = str_printf(&cx->arena, "[\"" STR_FMT "\"]", STR_ARG(other.id));
    REC_SET(&merge, from);
    assert_ok(contact_merge(cx, db, &alice, c.id, &merge, NULL, &c));
    assert_ok(contact_delete(cx, db, &alice, c.id, NULL));

    static const char *const words[] = { "contact.created", "contact.created", "contact.updated",
                                         "contact.merged", "contact.deleted" };
    assert_types(cx, db, words, 5);
    const struct event *v = events(cx, db).v;
    assert_str(v[2].previous, "{\"company\":null}");
    json_t *was = json_object_get(json_read(cx, v[3].previous), "merged_from");
    assert_true(str_eq(str_of(json_string_value(json_array_get(was, 0))), other.id));
}

UNIT_TEST(test_events_of_keys_hold_no_secret)
{
    static const struct caller cli = { .team_id = { TEAM, 36 } };
    have_webhook(cx, db);
    struct token_new in = { .name = STR("billing") };
    struct token t, again;
    REC_SET(&in, name);
    assert_ok(key_create(cx, db, &cli, &in, &t));
    assert_ok(key_set_enabled(cx, db, &cli, t.id, false, &again));
    assert_ok(key_set_enabled(cx, db, &cli, t.id, true, &again));
    assert_ok(key_regenerate(cx, db, &cli, t.id, 0, &again));
    assert_ok(key_delete(cx, db, &cli, t.id, NULL));

    static const char *const words[] = { "api_key.created", "api_key.disabled", "api_key.enabled",
                                         "api_key.regenerated", "api_key.deleted" };
    assert_types(cx, db, words, 5);
    const struct event *v = events(cx, db).v;
    for (size_t i = 0; i < 5; i++) {
        assert_null(memmem(v[i].data.p, v[i].data.n, t.token.p, t.token.n));
        assert_null(memmem(v[i].data.p, v[i].data.n, again.token.p, again.token.n));
        assert_str(v[i].actor_kind, "cli");
    }
    assert_str(v[1].previous, "{\"status\":\"active\"}");
}

static void test_the_table_of_types_gives_each_word_once(void **state)
{
    (void)state;
    for (int i = 0; i < EVENT_TYPES; i++)
        assert_int_equal(event_type_of(str_of(event_types[i].word)), i);
    assert_int_equal(event_type_of(STR("ticket.eaten")), EVENT_TYPES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TC(test_a_team_without_webhooks_writes_no_events),
        TC(test_a_ticket_tells_of_its_life_with_the_old_values),
        TC(test_comments_are_in_order_with_their_ticket),
        TC(test_contacts_tell_when_something_changed),
        TC(test_events_of_keys_hold_no_secret),
        cmocka_unit_test(test_the_table_of_types_gives_each_word_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
