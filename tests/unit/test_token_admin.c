/* Facts about who may administer which API key: nobody hands out more than it holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <string.h>

#include "core_store.h"

#include "core/token_admin.h"

#define USER_ID "01900000-0000-7000-8000-0000000000aa"

static const struct caller cli = { .team_id = { TEAM, 36 } };

static struct caller user(enum role r)
{
    return (struct caller){ .team_id = STR(TEAM),
                            .user_id = STR(USER_ID),
                            .user_name = STR("Ann"),
                            .role = r,
                            .scopes = role_actions(r) };
}

static struct token_new named(const char *scopes)
{
    struct token_new in = { .name = STR("k"), .scopes = str_of(scopes) };
    REC_SET(&in, name);
    if (scopes)
        REC_SET(&in, scopes);
    return in;
}

static struct token made(struct ctx *cx, struct db *db, const char *scopes)
{
    struct token_new in = named(scopes);
    struct token t = { .rev = 0 };
    caller_scope(db, &cli);
    assert_ok(key_create(cx, db, &cli, &in, &t));
    return t;
}

UNIT_TEST(test_an_admin_cannot_give_admin_full)
{
    struct caller admin = user(ROLE_ADMIN), owner = user(ROLE_OWNER);
    struct token_new all = named("[\"admin:full\"]"), most = named("[\"integrations:write\"]");
    struct token t;
    caller_scope(db, &admin);
    assert_int_equal(key_create(cx, db, &admin, &all, &t), ERR_INSUFFICIENT_ROLE);
    assert_non_null(strstr(str_cstr(&cx->arena, cx->err_text), "admin:full"));
    ctx_clear(cx);
    assert_ok(key_create(cx, db, &admin, &most, &t));
    assert_str(t.created_by, USER_ID);
    assert_ok(key_create(cx, db, &owner, &all, &t));
}

UNIT_TEST(test_an_agent_cannot_give_what_its_role_lacks)
{
    struct caller agent = user(ROLE_AGENT);
    struct token_new in = named("[\"tickets:write\",\"agents:write\"]");
    struct token t;
    caller_scope(db, &agent);
    assert_fails(key_create(cx, db, &agent, &in, &t), ERR_INSUFFICIENT_ROLE);
}

UNIT_TEST(test_an_admin_cannot_take_over_a_stronger_key)
{
    struct token strong = made(cx, db, "[\"admin:full\"]"), t;
    struct caller admin = user(ROLE_ADMIN);
    struct token_new rename = { .name = STR("mine") };
    REC_SET(&rename, name);

    assert_fails(key_regenerate(cx, db, &admin, strong.id, 0, &t), ERR_INSUFFICIENT_ROLE);
    assert_fails(key_update(cx, db, &admin, strong.id, &rename, NULL, &t), ERR_INSUFFICIENT_ROLE);
    assert_ok(key_set_enabled(cx, db, &admin, strong.id, false, &t));
    assert_fails(key_set_enabled(cx, db, &admin, strong.id, true, &t), ERR_INSUFFICIENT_ROLE);
    assert_ok(key_delete(cx, db, &admin, strong.id, NULL));
}

UNIT_TEST(test_an_admin_cannot_widen_a_key_beyond_itself)
{
    struct token weak = made(cx, db, "[\"tickets:read\"]"), t;
    struct caller admin = user(ROLE_ADMIN);
    struct token_new wider = { .scopes = STR("[\"tickets:read\",\"admin:full\"]") };
    REC_SET(&wider, scopes);

    assert_fails(key_update(cx, db, &admin, weak.id, &wider, NULL, &t), ERR_INSUFFICIENT_ROLE);
    assert_ok(key_get(cx, db, &admin, weak.id, &t));
    assert_int_equal(scopes_of_json(t.scopes), SCOPE(TICKETS_READ));
}

UNIT_TEST(test_a_key_of_another_team_is_not_there)
{
    struct token t, out;
    struct caller other = user(ROLE_OWNER);
    struct token_new rename = { .name = STR("mine") };
    struct page page;
    const struct cursor_key key = { { 0 } };
    REC_SET(&rename, name);
    t = made(cx, db, NULL);
    other.team_id = STR("01900000-0000-7000-8000-0000000000ff");
    caller_scope(db, &other);

    assert_fails(key_get(cx, db, &other, t.id, &out), ERR_NOT_FOUND);
    assert_fails(key_update(cx, db, &other, t.id, &rename, NULL, &out), ERR_NOT_FOUND);
    assert_fails(key_set_enabled(cx, db, &other, t.id, false, &out), ERR_NOT_FOUND);
    assert_fails(key_regenerate(cx, db, &other, t.id, 0, &out), ERR_NOT_FOUND);
    assert_fails(key_delete(cx, db, &other, t.id, NULL), ERR_NOT_FOUND);
    assert_ok(key_list(cx, db, &other, &(struct key_query){ .limit = 0 }, &key, &page));
    assert_int_equal(page.rows.n, 0);
    assert_ok(key_get(cx, db, &cli, t.id, &out));
}

UNIT_TEST(test_days_and_a_time_are_not_both_an_expiry)
{
    struct token_new in = { .expires_in_days = 365 };
    int64_t now = clock_ms();
    REC_SET(&in, expires_in_days);
    (void)db;
    assert_ok(token_read_expiry(cx, &in, now));
    assert_int_equal(in.expires_ms, now + 365 * DAY_MS);
    assert_fails(token_read_expiry(cx, &in, now), ERR_INVALID_FIELD);
    in.bits.has = 0;
    in.expires_ms = now + 365 * DAY_MS + 1;
    REC_SET(&in, expires_ms);
    assert_fails(token_read_expiry(cx, &in, now), ERR_INVALID_FIELD);
    in.expires_ms = now;
    assert_fails(token_read_expiry(cx, &in, now), ERR_INVALID_FIELD);
}

int main(void)
{
    crypt_init();
    const struct CMUnitTest tests[] = {
        TC(test_an_admin_cannot_give_admin_full),
        TC(test_an_agent_cannot_give_what_its_role_lacks),
        TC(test_an_admin_cannot_take_over_a_stronger_key),
        TC(test_an_admin_cannot_widen_a_key_beyond_itself),
        TC(test_a_key_of_another_team_is_not_there),
        TC(test_days_and_a_time_are_not_both_an_expiry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
