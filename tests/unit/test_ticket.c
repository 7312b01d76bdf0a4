/* Tickets: create, read, change, delete; whose they are; what needs which scope. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "core_store.h"

#define ONLY(version) ((struct versions){ .n = 1, .v = { (version) } })

static struct ticket_new patch_of(struct ctx *cx, const char *json)
{
    struct ticket_new p;

    assert_ok(rec_decode(cx, &rec_ticket_patch, json_read(cx, str_of(json)),
                         REC_PATCH | REC_REFUSE_UNKNOWN, STR_NONE, &p));
    return p;
}

static enum err_code change(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                            const char *json, struct ticket *t)
{
    struct ticket_new p = patch_of(cx, json);

    return ticket_update(cx, db, who, id, &p, NULL, t);
}

UNIT_TEST(test_a_ticket_starts_with_the_defaults)
{
    struct ticket made = ticket_made(cx, db, &alice, "Printer"), t;

    assert_ok(ticket_get(cx, db, &alice, made.id, &t));
    assert_str(t.title, "Printer");
    assert_str(t.status, "open");
    assert_str(t.priority, "medium");
    assert_str(t.metadata, "{}");
    assert_str(t.integration_source, "alice");
    assert_null(t.description.p);
    assert_null(t.category.p);
    assert_int_equal(t.version, 1);
    assert_int_equal(t.created_ms, t.updated_ms);
    assert_true(str_eq(t.id, made.id));
    assert_false(REC_HAS(&made, description));
    assert_true(REC_HAS(&made, title));
}

UNIT_TEST(test_an_empty_description_is_a_value)
{
    struct ticket_new in = { .title = STR("x"), .description = STR("") };
    struct ticket t;

    caller_scope(db, &alice);
    assert_ok(ticket_create(cx, db, &alice, &in, &t));
    assert_ok(ticket_get(cx, db, &alice, t.id, &t));
    assert_non_null(t.description.p);
    assert_int_equal(t.description.n, 0);
}

UNIT_TEST(test_an_id_in_upper_case_is_the_same_ticket)
{
    struct ticket made = ticket_made(cx, db, &alice, "x"), t;
    char *upper = str_cstr(&cx->arena, made.id);
    struct str id = { upper, made.id.n };

    for (size_t i = 0; i < made.id.n; i++)
        if (upper[i] >= 'a' && upper[i] <= 'f')
            upper[i] = (char)(upper[i] - 'a' + 'A');
    assert_ok(ticket_get(cx, db, &alice, id, &t));
    assert_true(str_eq(t.id, made.id));
    assert_ok(change(cx, db, &alice, id, "{\"title\":\"y\"}", &t));
    assert_int_equal(t.version, 2);
    assert_fails(change(cx, db, &bob, id, "{\"title\":\"z\"}", &t), ERR_NOT_OWNER);
    assert_ok(ticket_delete(cx, db, &alice, id, &ONLY(2)));
}

UNIT_TEST(test_what_is_no_uuid_is_refused_by_name)
{
    static const char *const bad[] = { "", "1", "bulk", "0190000000007000800000000000000a0000",
                                       "01900000-0000-7000-8000-00000000000g" };
    struct ticket t;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(ticket_get(cx, db, &alice, str_of(bad[i]), &t), ERR_INVALID_PARAMETER);
        assert_int_equal(cx->n_fields, 1);
        assert_str(cx->fields[0].field, "ticket_id");
        ctx_clear(cx);
        assert_fails(ticket_delete(cx, db, &alice, str_of(bad[i]), NULL), ERR_INVALID_PARAMETER);
    }
}

UNIT_TEST(test_another_token_sees_nothing_and_changes_nothing)
{
    struct ticket made = ticket_made(cx, db, &alice, "mine"), t;

    caller_scope(db, &bob);
    assert_fails(ticket_get(cx, db, &bob, made.id, &t), ERR_NOT_FOUND);
    assert_fails(ticket_get_own(cx, db, &bob, made.id, &t), ERR_NOT_OWNER);
    assert_fails(change(cx, db, &bob, made.id, "{\"title\":\"his\"}", &t), ERR_NOT_OWNER);
    assert_fails(ticket_delete(cx, db, &bob, made.id, NULL), ERR_NOT_OWNER);
    assert_fails(ticket_get_own(cx, db, &bob, STR("01900000-0000-7000-8000-0000000000ff"), &t),
                 ERR_NOT_FOUND);
    caller_scope(db, &alice);
    assert_ok(ticket_get(cx, db, &alice, made.id, &t));
    assert_str(t.title, "mine");
    assert_int_equal(t.version, 1);
}

UNIT_TEST(test_another_team_learns_nothing)
{
    struct caller stranger = alice;
    struct ticket made = ticket_made(cx, db, &alice, "mine"), t;

    stranger.team_id = STR("00000000-0000-7000-8000-000000000002");
    caller_scope(db, &stranger);
    assert_fails(ticket_get_own(cx, db, &stranger, made.id, &t), ERR_NOT_FOUND);
    assert_fails(ticket_delete(cx, db, &stranger, made.id, NULL), ERR_NOT_FOUND);
}

UNIT_TEST(test_a_patch_changes_what_it_names)
{
    struct ticket t = ticket_made(cx, db, &alice, "x");
    struct str id = t.id;

    assert_ok(change(
        cx, db, &alice, id,
        "{\"description\":\"d\",\"category\":\"c\",\"metadata\":{\"a\":1.5,\"b\":[null]}}", &t));
    assert_str(t.title, "x");
    assert_str(t.description, "d");
    assert_str(t.metadata, "{\"a\":1.5,\"b\":[null]}");
    assert_int_equal(t.version, 2);
    assert_ok(change(cx, db, &alice, id, "{\"priority\":\"urgent\"}", &t));
    assert_str(t.priority, "urgent");
    assert_str(t.description, "d");
    assert_ok(change(cx, db, &alice, id,
                     "{\"description\":null,\"category\":null,\"metadata\":null}", &t));
    assert_false(REC_HAS(&t, description));
    assert_false(REC_HAS(&t, category));
    assert_str(t.metadata, "{}");
    assert_str(t.priority, "urgent");
    assert_int_equal(t.version, 4);
}

/* RFC 7396 §2 and some of its appendix. */
UNIT_TEST(test_metadata_is_merged_at_every_depth)
{
    static const char *const steps[][2] = {
        { "{\"a\":{\"b\":1,\"c\":[1,null]}}", "{\"a\":{\"b\":1,\"c\":[1,null]}}" },
        { "{\"a\":{\"b\":null,\"d\":2}}", "{\"a\":{\"c\":[1,null],\"d\":2}}" },
        { "{\"a\":{\"c\":[3]},\"e\":{\"f\":{\"g\":null}}}",
          "{\"a\":{\"c\":[3],\"d\":2},\"e\":{\"f\":{}}}" },
        { "{\"e\":\"x\",\"gone\":null}", "{\"a\":{\"c\":[3],\"d\":2},\"e\":\"x\"}" },
        { "{\"a\":null,\"e\":{\"n\":9007199254740993}}", "{\"e\":{\"n\":9007199254740993}}" },
        { "{}", "{\"e\":{\"n\":9007199254740993}}" },
    };
    struct ticket t = ticket_made(cx, db, &alice, "x");
    struct str id = t.id;

    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        struct str patch = str_printf(&cx->arena, "{\"metadata\":%s}", steps[i][0]);

        assert_ok(change(cx, db, &alice, id, patch.p, &t));
        assert_string_equal(str_cstr(&cx->arena, t.metadata), steps[i][1]);
    }
}

UNIT_TEST(test_merged_metadata_keeps_its_maximum)
{
    struct ticket t = ticket_made(cx, db, &alice, "x");
    struct str id = t.id;
    char *text = arena_zalloc(&cx->arena, 40001);

    memset(text, 'm', 40000);
    assert_ok(change(cx, db, &alice, id,
                     str_printf(&cx->arena, "{\"metadata\":{\"a\":\"%s\"}}", text).p, &t));
    assert_fails(change(cx, db, &alice, id,
                        str_printf(&cx->arena, "{\"metadata\":{\"b\":\"%s\"}}", text).p, &t),
                 ERR_INVALID_FIELD);
    assert_ok(change(cx, db, &alice, id, "{\"metadata\":{\"b\":1}}", &t));
    assert_int_equal(t.version, 3);
}

UNIT_TEST(test_what_has_no_empty_state_cannot_be_cleared)
{
    static const char *const bad[] = { "{\"title\":null}", "{\"status\":null}",
                                       "{\"priority\":null}", "{\"title\":\" \"}",
                                       "{\"id\":\"x\"}" };

    (void)db;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct ticket_new p;

        assert_fails(rec_decode(cx, &rec_ticket_patch, json_read(cx, str_of(bad[i])),
                                REC_PATCH | REC_REFUSE_UNKNOWN, STR_NONE, &p),
                     ERR_INVALID_FIELD);
    }
}

UNIT_TEST(test_a_version_must_match_when_asked)
{
    struct ticket t = ticket_made(cx, db, &alice, "x");
    struct ticket_new p = patch_of(cx, "{\"title\":\"y\"}");
    struct str id = t.id;

    assert_fails(ticket_update(cx, db, &alice, id, &p, &ONLY(2), &t), ERR_PRECONDITION_FAILED);
    assert_fails(ticket_update(cx, db, &alice, id, &p, &ONLY(0), &t), ERR_PRECONDITION_FAILED);
    assert_ok(ticket_update(cx, db, &alice, id, &p, &ONLY(1), &t));
    assert_fails(ticket_delete(cx, db, &alice, id, &ONLY(1)), ERR_PRECONDITION_FAILED);
    assert_ok(ticket_delete(cx, db, &alice, id, &ONLY(2)));
}

UNIT_TEST(test_a_deleted_ticket_is_gone_for_all)
{
    struct ticket t = ticket_made(cx, db, &alice, "x");
    struct str id = t.id;

    assert_ok(ticket_delete(cx, db, &alice, id, NULL));
    assert_fails(ticket_get(cx, db, &alice, id, &t), ERR_NOT_FOUND);
    assert_fails(ticket_delete(cx, db, &alice, id, NULL), ERR_NOT_FOUND);
    assert_fails(change(cx, db, &alice, id, "{}", &t), ERR_NOT_FOUND);
    assert_fails(ticket_get_own(cx, db, &bob, id, &t), ERR_NOT_FOUND);
}

UNIT_TEST(test_a_change_never_goes_back_in_time)
{
    struct ticket t = ticket_made(cx, db, &alice, "x");
    int64_t before = t.updated_ms;

    clock_shift_ms(-HOUR_MS);
    enum err_code e = change(cx, db, &alice, t.id, "{\"title\":\"y\"}", &t);
    clock_shift_ms(0);
    assert_ok(e);
    assert_true(t.updated_ms >= before);
}

/* To and from resolved and closed; not between the others, not when nothing changes. */
UNIT_TEST(test_resolving_and_reopening_need_the_scope)
{
    static const char *const words[] = { "open", "in_progress", "waiting", "resolved", "closed" };
    struct caller plain = alice, admin = alice;

    plain.scopes = SCOPE(TICKETS_READ) | SCOPE(TICKETS_WRITE);
    admin.scopes = SCOPE(ADMIN_FULL);
    for (int from = 0; from < 5; from++)
        for (int to = 0; to < 5; to++) {
            struct ticket t = ticket_made(cx, db, &alice, "x");
            struct ticket_new p = { .status = str_of(words[from]) };

            REC_SET(&p, status);
            assert_ok(ticket_update(cx, db, &alice, t.id, &p, NULL, &t));
            p.status = str_of(words[to]);
            bool is_free = from == to || (from < 3 && to < 3);
            assert_fails(ticket_update(cx, db, &plain, t.id, &p, NULL, &t),
                         is_free ? ERR_NONE : ERR_INSUFFICIENT_SCOPE);
            assert_ok(ticket_update(cx, db, &admin, t.id, &p, NULL, &t));
            assert_true(str_eq(t.status, p.status));
        }
}

UNIT_TEST(test_a_ticket_born_resolved_needs_the_scope)
{
    struct caller plain = alice;
    struct ticket_new in = { .title = STR("x"), .status = STR("closed") };
    struct ticket t;

    plain.scopes = SCOPE(TICKETS_WRITE);
    REC_SET(&in, status);
    caller_scope(db, &plain);
    assert_fails(ticket_create(cx, db, &plain, &in, &t), ERR_INSUFFICIENT_SCOPE);
    assert_ok(ticket_create(cx, db, &alice, &in, &t));
    assert_str(t.status, "closed");
}

UNIT_TEST(test_the_document_form_ignores_what_it_does_not_know)
{
    struct ticket_new in;
    json_t *j =
        json_read(cx, STR("{\"title\":\"x\",\"status\":\"closed\",\"zz\":1,\"priority\":null}"));
    struct ticket t;

    assert_ok(rec_decode(cx, &rec_ticket_v0_in, j, REC_IGNORE_UNKNOWN, STR_NONE, &in));
    caller_scope(db, &alice);
    assert_ok(ticket_create(cx, db, &alice, &in, &t));
    assert_str(t.status, "open");
    assert_str(t.priority, "medium");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TC(test_a_ticket_starts_with_the_defaults),
        TC(test_an_empty_description_is_a_value),
        TC(test_an_id_in_upper_case_is_the_same_ticket),
        TC(test_what_is_no_uuid_is_refused_by_name),
        TC(test_another_token_sees_nothing_and_changes_nothing),
        TC(test_another_team_learns_nothing),
        TC(test_a_patch_changes_what_it_names),
        TC(test_metadata_is_merged_at_every_depth),
        TC(test_merged_metadata_keeps_its_maximum),
        TC(test_what_has_no_empty_state_cannot_be_cleared),
        TC(test_a_version_must_match_when_asked),
        TC(test_a_deleted_ticket_is_gone_for_all),
        TC(test_a_change_never_goes_back_in_time),
        TC(test_resolving_and_reopening_need_the_scope),
        TC(test_a_ticket_born_resolved_needs_the_scope),
        TC(test_the_document_form_ignores_what_it_does_not_know),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
