/* The audit log: what gets in, the chain, and what the check finds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <string.h>

#include "base/json.h"
#include "core/audit.h"
#include "core_store.h"

#define OTHER_TEAM "00000000-0000-7000-8000-000000000002"
#define KEY STR("00112233445566778899aabbccddeeff")

static void note(struct ctx *cx, struct db *db, const struct caller *who, const char *action)
{
    assert_ok(audit_write(cx, db, who,
                          &(struct audit_entry){ .action = action,
                                                 .target_type = "thing",
                                                 .target_id = STR("t1"),
                                                 .after = STR("{\"a\":1}") }));
}

static void notes(struct ctx *cx, struct db *db, int n)
{
    for (int i = 0; i < n; i++)
        note(cx, db, &alice, "thing.create");
}

static struct page listed(struct ctx *cx, struct db *db, const struct audit_query *in)
{
    struct page page;
    assert_ok(audit_list(cx, db, &alice, in, (struct cursor_key){ { 1 } }, &page));
    return page;
}

static struct audit_check checked(struct ctx *cx, struct db *db, struct str head)
{
    struct audit_check c;
    assert_ok(audit_verify(cx, db, STR(TEAM), head, &c));
    return c;
}

static void sql(struct ctx *cx, struct db *db, const char *text)
{
    assert_ok(db_run(cx, db, text, NO_ARGS));
}

static void without_triggers(struct ctx *cx, struct db *db)
{
    sql(cx, db, "DROP TRIGGER audit_log_no_update");
    sql(cx, db, "DROP TRIGGER audit_log_no_delete");
}

static void assert_tampered(struct ctx *cx, struct db *db, int64_t seq, const char *why)
{
    struct audit_check c = checked(cx, db, STR_NONE);
    assert_false(c.is_intact);
    assert_int_equal(c.bad_seq, seq);
    assert_non_null(strstr(str_cstr(&cx->arena, c.why), why));
}

/* ---- what gets in ---- */

UNIT_TEST(test_a_row_says_who_did_what_from_where)
{
    struct caller who = alice;
    who.ip = STR("203.0.113.7");
    who.agent = STR("curl/8\xff");
    cx->request_id = STR("req-1");
    assert_ok(audit_write(cx, db, &who,
                          &(struct audit_entry){ "api_key.update", "api_key", STR("k1"),
                                                 STR("{\"a\":1}"), STR("{\"a\":2}") }));
    struct page page = listed(cx, db, &(struct audit_query){ 0 });
    const struct audit_row *r = page.rows.v;
    assert_int_equal(page.rows.n, 1);
    assert_int_equal(r->seq, 1);
    assert_true(r->at_ms > 0);
    assert_str(r->actor_kind, "key");
    assert_str(r->actor_id, TOKEN_A);
    assert_str(r->actor_name, "alice");
    assert_str(r->ip, "203.0.113.7");
    assert_str(r->agent, "curl/8?");
    assert_str(r->request_id, "req-1");
    assert_str(r->action, "api_key.update");
    assert_str(r->target_type, "api_key");
    assert_str(r->target_id, "k1");
    assert_str(r->before, "{\"a\":1}");
    assert_str(r->after, "{\"a\":2}");
    assert_str(r->prev_hash, "");
}

UNIT_TEST(test_a_very_long_name_is_cut_between_characters)
{
    char name[1002];
    struct caller who = alice;
    for (size_t i = 0; i < sizeof name; i += 2)
        memcpy(name + i, "\xc3\xa4", 2);
    memmove(name + 1, name, sizeof name - 2);
    name[0] = 'x';
    who.token_name = (struct str){ name, 1001 };
    note(cx, db, &who, "thing.create");
    const struct audit_row *r = listed(cx, db, &(struct audit_query){ 0 }).rows.v;
    assert_true(r->actor_name.n <= AUDIT_TEXT_MAX && r->actor_name.n >= AUDIT_TEXT_MAX - 1);
    assert_true(str_is_utf8(r->actor_name));
}

struct secretive {
    struct rec_bits bits;
    struct str id, password, metadata, limits, any, tags;
    int64_t n;
};
#define AT(member) offsetof(struct secretive, member)
static const struct field inner_fields[] = {
    { .name = "token", .type = F_STR, .offset = AT(id) },
};
static const struct rec rec_inner = REC("Inner", struct secretive, inner_fields, NULL);
static const struct field secretive_fields[] = {
    { .name = "id", .type = F_STR, .offset = AT(id) },
    { .name = "password", .type = F_STR, .offset = AT(password), .flags = F_SECRET },
    { .name = "metadata", .type = F_OBJECT, .offset = AT(metadata) },
    { .name = "limits", .type = F_RECS, .offset = AT(limits), .of = &rec_inner },
    { .name = "any", .type = F_JSON, .offset = AT(any) },
    { .name = "tags", .type = F_STRS, .offset = AT(tags) },
    { .name = "n", .type = F_INT, .offset = AT(n) },
};
static const struct rec rec_secretive = REC("Secretive", struct secretive, secretive_fields, NULL);

UNIT_TEST(test_secrets_are_left_out_and_secret_sounding_members_masked)
{
    struct secretive s = { .bits.has = ~UINT64_C(0),
                           .id = STR("x"),
                           .password = STR("hunter2"),
                           .metadata =
                               STR("{\"api_key\":\"k\",\"n\":91.563,\"in\":[{\"PassWord\":1}]}"),
                           .limits = STR("[{\"token\":\"t\"}]"),
                           .any = STR("\"plain\""),
                           .tags = STR("[\"secret\"]"),
                           .n = 7 };
    (void)db;
    assert_str(
        audit_json(cx, &rec_secretive, &s),
        "{\"id\":\"x\",\"metadata\":{\"api_key\":\"***\",\"n\":91.563,\"in\":[{\"PassWord\":"
        "\"***\"}]},\"limits\":[{\"token\":\"***\"}],\"any\":\"plain\",\"tags\":[\"secret\"],"
        "\"n\":7}");
    assert_str(s.metadata, "{\"api_key\":\"k\",\"n\":91.563,\"in\":[{\"PassWord\":1}]}");
    assert_null(audit_json(cx, &rec_secretive, NULL).p);
}

UNIT_TEST(test_json_without_secrets_is_kept_as_it_is)
{
    struct secretive s = { .bits.has = ~UINT64_C(0), .metadata = STR("{\"b\" : 1}") };
    (void)db;
    s.bits.has = UINT64_C(1) << (AT(metadata) / 8);
    struct str text = audit_json(cx, &rec_secretive, &s);
    assert_non_null(strstr(str_cstr(&cx->arena, text), "\"metadata\":{\"b\" : 1}"));
    assert_int_equal(cx->err, ERR_NONE);
}

/* ---- the chain ---- */

UNIT_TEST(test_rows_are_numbered_and_chained_by_team)
{
    struct caller other = bob;
    other.team_id = STR(OTHER_TEAM);
    note(cx, db, &alice, "thing.create");
    note(cx, db, &other, "thing.create");
    note(cx, db, &alice, "thing.delete");
    struct page page = listed(cx, db, &(struct audit_query){ 0 });
    const struct audit_row *r = page.rows.v;
    assert_int_equal(page.rows.n, 2);
    assert_int_equal(r[0].seq, 2);
    assert_int_equal(r[1].seq, 1);
    assert_true(str_eq(r[0].prev_hash, r[1].hash));
    assert_true(str_starts(r[0].hash, STR("1.-.")));
    assert_true(checked(cx, db, STR_NONE).is_intact);
}

UNIT_TEST(test_a_team_without_rows_is_intact)
{
    struct audit_check c = checked(cx, db, STR_NONE);
    assert_true(c.is_intact);
    assert_int_equal(c.rows, 0);
    assert_false(REC_HAS(&c, head));
}

UNIT_TEST(test_the_hash_tells_missing_from_empty_and_where_a_text_ends)
{
    struct audit_row a = { .action = STR("ab"), .target_type = STR("c") };
    struct audit_row b = { .action = STR("a"), .target_type = STR("bc") };
    struct audit_row c = { .action = STR("ab"), .target_type = STR("c"), .before = STR("") };
    struct str team = STR(TEAM);
    (void)db;
    struct str ha = audit_hash(&cx->arena, team, &a, false);
    assert_true(str_eq(ha, audit_hash(&cx->arena, team, &a, false)));
    assert_false(str_eq(ha, audit_hash(&cx->arena, team, &b, false)));
    assert_false(str_eq(ha, audit_hash(&cx->arena, team, &c, false)));
    assert_false(str_eq(ha, audit_hash(&cx->arena, STR(OTHER_TEAM), &a, false)));
    assert_true(ha.n < AUDIT_HASH_MAX);
}

UNIT_TEST(test_rows_cannot_be_changed_or_deleted)
{
    notes(cx, db, 1);
    assert_fails(db_run(cx, db, "UPDATE audit_log SET action = 'x'", NO_ARGS), ERR_INTERNAL);
    assert_fails(db_run(cx, db, "DELETE FROM audit_log", NO_ARGS), ERR_INTERNAL);
    assert_int_equal(checked(cx, db, STR_NONE).rows, 1);
}

/* ---- what the check finds ---- */

UNIT_TEST(test_a_changed_column_is_found_whichever_it_is)
{
    static const char *const columns[] = {
        "at_ms",      "actor_kind", "actor_id",    "actor_name", "ip",          "agent",
        "request_id", "action",     "target_type", "target_id",  "before_json", "after_json"
    };
    notes(cx, db, 3);
    without_triggers(cx, db);
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
        struct str set =
            str_printf(&cx->arena, "UPDATE audit_log SET %s = '7' WHERE seq = 2", columns[i]);
        assert_ok(db_savepoint(cx, db));
        sql(cx, db, str_cstr(&cx->arena, set));
        assert_tampered(cx, db, 2, "content was changed");
        assert_ok(db_rollback_to(cx, db));
    }
    assert_true(checked(cx, db, STR_NONE).is_intact);
}

UNIT_TEST(test_a_row_that_was_changed_with_its_hash_breaks_the_next)
{
    struct audit_row row;
    notes(cx, db, 3);
    without_triggers(cx, db);
    assert_ok(db_one(cx, db, &rec_audit,
                     "SELECT seq, at_ms AS at, actor_kind, actor_id, 'forged' AS actor_name, ip, "
                     "agent AS user_agent, request_id, action, target_type, target_id, "
                     "before_json AS before, after_json AS after, prev_hash, hash FROM audit_log "
                     "WHERE seq = 2",
                     NO_ARGS, &row));
    struct str hash = audit_hash(&cx->arena, STR(TEAM), &row, false);
    assert_ok(db_run(cx, db, "UPDATE audit_log SET actor_name = 'forged', hash = $1 WHERE seq = 2",
                     ARGS(VT(hash))));
    assert_tampered(cx, db, 3, "does not follow");
}

UNIT_TEST(test_a_deleted_row_is_found)
{
    notes(cx, db, 4);
    without_triggers(cx, db);
    sql(cx, db, "DELETE FROM audit_log WHERE seq = 2");
    assert_tampered(cx, db, 2, "is missing");
}

UNIT_TEST(test_the_first_row_deleted_is_found)
{
    notes(cx, db, 2);
    without_triggers(cx, db);
    sql(cx, db, "DELETE FROM audit_log WHERE seq = 1");
    assert_tampered(cx, db, 1, "is missing");
}

UNIT_TEST(test_two_rows_in_the_other_order_are_found)
{
    notes(cx, db, 4);
    without_triggers(cx, db);
    sql(cx, db, "UPDATE audit_log SET seq = 99 WHERE seq = 2");
    sql(cx, db, "UPDATE audit_log SET seq = 2 WHERE seq = 3");
    sql(cx, db, "UPDATE audit_log SET seq = 3 WHERE seq = 99");
    assert_tampered(cx, db, 2, "does not follow");
}

UNIT_TEST(test_cut_off_rows_are_found_by_the_head)
{
    notes(cx, db, 3);
    without_triggers(cx, db);
    sql(cx, db, "DELETE FROM audit_log WHERE seq = 3");
    assert_tampered(cx, db, 3, "newest rows are missing");
    sql(cx, db, "DELETE FROM audit_log");
    assert_tampered(cx, db, 1, "newest rows are missing");
}

UNIT_TEST(test_a_head_that_was_put_back_or_removed_is_found)
{
    notes(cx, db, 3);
    sql(cx, db, "UPDATE audit_head SET hash = 'x'");
    assert_tampered(cx, db, 3, "head names another hash");
    sql(cx, db, "UPDATE audit_head SET seq = 2, hash = (SELECT hash FROM audit_log WHERE seq = 2)");
    assert_tampered(cx, db, 3, "not covered by the head");
    sql(cx, db, "DELETE FROM audit_head");
    assert_tampered(cx, db, 1, "not covered by the head");
}

UNIT_TEST(test_a_kept_head_finds_rows_cut_off_together_with_the_head)
{
    notes(cx, db, 3);
    struct str kept = checked(cx, db, STR_NONE).head;
    notes(cx, db, 1);
    assert_true(checked(cx, db, kept).is_intact);
    without_triggers(cx, db);
    sql(cx, db, "DELETE FROM audit_log WHERE seq > 2");
    sql(cx, db, "UPDATE audit_head SET seq = 2, hash = (SELECT hash FROM audit_log WHERE seq = 2)");
    assert_true(checked(cx, db, STR_NONE).is_intact);
    struct audit_check c = checked(cx, db, kept);
    assert_false(c.is_intact);
    assert_int_equal(c.bad_seq, 3);
    note(cx, db, &bob, "thing.delete"); /* another row takes the number */
    c = checked(cx, db, kept);
    assert_false(c.is_intact);
    assert_int_equal(c.bad_seq, 3);
}

UNIT_TEST(test_a_kept_head_of_another_form_is_refused)
{
    struct audit_check c;
    static const char *const bad[] = { "", "3", ":x", "x:y", "0:abc", "-1:abc", "3:" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_fails(audit_verify(cx, db, STR(TEAM), str_of(bad[i]), &c), ERR_INVALID_PARAMETER);
}

/* ---- the key ---- */

UNIT_TEST(test_with_a_master_key_a_forger_without_it_is_found)
{
    audit_setup(STR_NONE);
    notes(cx, db, 1); /* from before the key was set */
    audit_setup(KEY);
    notes(cx, db, 2);
    struct audit_check c = checked(cx, db, STR_NONE);
    assert_true(c.is_intact);
    assert_int_equal(c.unkeyed, 1);
    const struct audit_row *r = listed(cx, db, &(struct audit_query){ 0 }).rows.v;
    assert_false(str_eq(audit_key_id(r[0].hash), STR("-")));
    without_triggers(cx, db);
    struct audit_row forged = r[0];
    forged.actor_name = STR("forged");
    forged.hash = audit_hash(&cx->arena, STR(TEAM), &forged, true);
    assert_ok(db_run(cx, db, "UPDATE audit_log SET actor_name = 'forged', hash = $1 WHERE seq = 3",
                     ARGS(VT(forged.hash))));
    assert_ok(db_run(cx, db, "UPDATE audit_head SET hash = $1", ARGS(VT(forged.hash))));
    assert_tampered(cx, db, 3, "not keyed");
    audit_setup(STR_NONE);
}

UNIT_TEST(test_without_the_key_of_the_chain_nothing_is_written_and_nothing_called_intact)
{
    audit_setup(KEY);
    notes(cx, db, 1);
    audit_setup(STR_NONE);
    assert_fails(
        audit_write(cx, db, &alice, &(struct audit_entry){ .action = "a.b", .target_type = "a" }),
        ERR_UNAVAILABLE);
    assert_tampered(cx, db, 1, "another master key");
    audit_setup(STR("another key of the same length.."));
    assert_tampered(cx, db, 1, "another master key");
    audit_setup(STR_NONE);
}

/* ---- reading ---- */

UNIT_TEST(test_filters_choose_rows)
{
    struct audit_query q = { .action = STR("thing.") };
    note(cx, db, &alice, "thing.create");
    note(cx, db, &bob, "thing.delete");
    note(cx, db, &alice, "thingy.create");
    REC_SET(&q, action);
    assert_int_equal(listed(cx, db, &q).rows.n, 2);
    q.action = STR("thing.delete");
    assert_int_equal(listed(cx, db, &q).rows.n, 1);
    q.action = STR("thing");
    assert_int_equal(listed(cx, db, &q).rows.n, 0);
    q = (struct audit_query){ .actor_id = STR(TOKEN_B) };
    REC_SET(&q, actor_id);
    assert_int_equal(listed(cx, db, &q).rows.n, 1);
    q = (struct audit_query){ .target_type = STR("thing"), .target_id = STR("t1") };
    REC_SET(&q, target_type);
    REC_SET(&q, target_id);
    assert_int_equal(listed(cx, db, &q).rows.n, 3);
    q = (struct audit_query){ .to = 1 };
    REC_SET(&q, to);
    assert_int_equal(listed(cx, db, &q).rows.n, 0);
    q = (struct audit_query){ .from = 1 };
    REC_SET(&q, from);
    assert_int_equal(listed(cx, db, &q).rows.n, 3);
}

UNIT_TEST(test_pages_meet_without_gap_or_overlap)
{
    struct audit_query q = { .limit = 2 };
    int64_t want = 5;
    notes(cx, db, 5);
    do {
        struct page page = listed(cx, db, &q);
        const struct audit_row *r = page.rows.v;
        for (size_t i = 0; i < page.rows.n; i++)
            assert_int_equal(r[i].seq, want--);
        q.cursor = page.next_cursor;
    } while (q.cursor.p);
    assert_int_equal(want, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TC(test_a_row_says_who_did_what_from_where),
        TC(test_a_very_long_name_is_cut_between_characters),
        TC(test_secrets_are_left_out_and_secret_sounding_members_masked),
        TC(test_json_without_secrets_is_kept_as_it_is),
        TC(test_rows_are_numbered_and_chained_by_team),
        TC(test_a_team_without_rows_is_intact),
        TC(test_the_hash_tells_missing_from_empty_and_where_a_text_ends),
        TC(test_rows_cannot_be_changed_or_deleted),
        TC(test_a_changed_column_is_found_whichever_it_is),
        TC(test_a_row_that_was_changed_with_its_hash_breaks_the_next),
        TC(test_a_deleted_row_is_found),
        TC(test_the_first_row_deleted_is_found),
        TC(test_two_rows_in_the_other_order_are_found),
        TC(test_cut_off_rows_are_found_by_the_head),
        TC(test_a_head_that_was_put_back_or_removed_is_found),
        TC(test_a_kept_head_finds_rows_cut_off_together_with_the_head),
        TC(test_a_kept_head_of_another_form_is_refused),
        TC(test_with_a_master_key_a_forger_without_it_is_found),
        TC(test_without_the_key_of_the_chain_nothing_is_written_and_nothing_called_intact),
        TC(test_filters_choose_rows),
        TC(test_pages_meet_without_gap_or_overlap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
