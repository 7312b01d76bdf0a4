/* Agents: who may say that one is away, who may be one, when one may go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include "core/crm/agent.h"
#include "core_store.h"

#define USER "01900000-0000-7000-8000-0000000000aa"
#define OTHER_USER "01900000-0000-7000-8000-0000000000ab"

static const struct caller admin = { .team_id = { TEAM, 36 },
                                     .token_id = { TOKEN_A, 36 },
                                     .token_name = { "admin", 5 },
                                     .scopes = SCOPE(ADMIN_FULL) };

static struct caller user_of(struct str id)
{
    return (struct caller){ .team_id = { TEAM, 36 },
                            .user_id = id,
                            .user_name = STR("someone"),
                            .role = ROLE_AGENT,
                            .scopes = role_actions(ROLE_AGENT) };
}

static void join(struct ctx *cx, struct db *db, const char *user)
{
    assert_ok(db_run(cx, db,
                     "INSERT INTO team_member (team_id, user_id, role, created_ms) "
                     "VALUES ($1, $2, 'agent', 0)",
                     ARGS(VT(admin.team_id), VT(str_of(user)))));
}

static struct agent_new new_agent(const char *kind, const char *user)
{
    struct agent_new in = { .kind = str_of(kind), .name = STR("Ada"), .user_id = str_of(user) };

    REC_SET(&in, kind);
    REC_SET(&in, name);
    if (user)
        REC_SET(&in, user_id);
    return in;
}

static struct agent made(struct ctx *cx, struct db *db, const char *kind, const char *user)
{
    struct agent_new in = new_agent(kind, user);
    struct agent a;

    caller_scope(db, &admin);
    assert_ok(agent_create(cx, db, &admin, &in, &a));
    return a;
}

static enum err_code say(struct ctx *cx, struct db *db, const struct caller *who, struct str id)
{
    struct agent_new in = { .availability = STR("away") };
    struct agent a;

    REC_SET(&in, availability);
    caller_scope(db, who);
    return agent_set_availability(cx, db, who, id, &in, &a);
}

UNIT_TEST(test_a_user_says_it_for_its_own_agent_only)
{
    struct caller own = user_of(STR(USER)), other = user_of(STR(OTHER_USER));
    struct caller reader = admin;

    reader.scopes = SCOPE(AGENTS_READ);
    join(cx, db, USER);
    struct agent a = made(cx, db, "user", USER), bot = made(cx, db, "bot", NULL), now;
    assert_ok(say(cx, db, &own, a.id));
    assert_fails(say(cx, db, &other, a.id), ERR_INSUFFICIENT_ROLE);
    assert_fails(say(cx, db, &own, bot.id), ERR_INSUFFICIENT_ROLE);
    assert_fails(say(cx, db, &reader, a.id), ERR_INSUFFICIENT_SCOPE);
    assert_fails(say(cx, db, &reader, bot.id), ERR_INSUFFICIENT_SCOPE);
    assert_ok(say(cx, db, &admin, bot.id));
    assert_ok(agent_get(cx, db, &admin, a.id, &now));
    assert_str(now.availability, "away");
    assert_int_equal(now.version, 2);
}

UNIT_TEST(test_only_users_of_the_team_become_agents_each_once)
{
    struct agent_new in = new_agent("user", OTHER_USER);
    struct agent a;

    join(cx, db, USER);
    made(cx, db, "user", USER);
    assert_fails(agent_create(cx, db, &admin, &in, &a), ERR_INVALID_FIELD);
    in = new_agent("user", NULL);
    assert_fails(agent_create(cx, db, &admin, &in, &a), ERR_MISSING_FIELD);
    in = new_agent("bot", USER);
    assert_fails(agent_create(cx, db, &admin, &in, &a), ERR_INVALID_FIELD);
}

UNIT_TEST(test_a_user_is_an_agent_once)
{
    struct agent_new in = new_agent("user", USER);
    struct agent a;

    join(cx, db, USER);
    made(cx, db, "user", USER);
    assert_fails(agent_create(cx, db, &admin, &in, &a), ERR_UNIQUE);
}

UNIT_TEST(test_only_active_agents_of_the_team_are_referred_to)
{
    struct agent a = made(cx, db, "bot", NULL), now;
    struct agent_new patch = { .status = STR("inactive") };

    REC_SET(&patch, status);
    assert_ok(agent_must_exist(cx, db, admin.team_id, a.id, "assignee_id"));
    assert_fails(agent_must_exist(cx, db, STR("00000000-0000-7000-8000-000000000002"), a.id, "f"),
                 ERR_INVALID_FIELD);
    assert_ok(agent_update(cx, db, &admin, a.id, &patch, NULL, &now));
    assert_int_equal(agent_must_exist(cx, db, admin.team_id, a.id, "assignee_id"),
                     ERR_INVALID_FIELD);
    assert_str(cx->fields[0].field, "assignee_id");
    ctx_clear(cx);
}

UNIT_TEST(test_a_bot_without_open_tickets_may_go)
{
    struct agent a = made(cx, db, "bot", NULL), got;
    struct ticket t = ticket_made(cx, db, &alice, "x");

    assert_ok(db_run(cx, db, "UPDATE tickets SET assignee_id = $3 WHERE team_id = $1 AND id = $2",
                     ARGS(VT(admin.team_id), VT(t.id), VT(a.id))));
    caller_scope(db, &admin);
    assert_fails(agent_delete(cx, db, &admin, a.id, NULL), ERR_CONFLICT);
    assert_ok(db_run(cx, db, "UPDATE tickets SET status = 'closed' WHERE team_id = $1 AND id = $2",
                     ARGS(VT(admin.team_id), VT(t.id))));
    assert_ok(agent_delete(cx, db, &admin, a.id, NULL));
    assert_fails(agent_get(cx, db, &admin, a.id, &got), ERR_NOT_FOUND);
    assert_fails(agent_delete(cx, db, &admin, a.id, NULL), ERR_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TC(test_a_user_says_it_for_its_own_agent_only),
        TC(test_only_users_of_the_team_become_agents_each_once),
        TC(test_a_user_is_an_agent_once),
        TC(test_only_active_agents_of_the_team_are_referred_to),
        TC(test_a_bot_without_open_tickets_may_go),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
