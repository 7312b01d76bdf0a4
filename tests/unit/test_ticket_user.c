/* Tickets of signed-in users: whose they are, who sees what, who is named in history and comments. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include "base/clock.h"
#include "base/json.h"
#include "core/comment.h"
#include "core/crm/activity.h"
#include "core/crm/watcher.h"
#include "core_store.h"

#define USER "01900000-0000-7000-8000-0000000000ca"
#define USER_B "01900000-0000-7000-8000-0000000000cb"

static const struct cursor_key key = { { 1 } };

static struct caller user_of(enum role role)
{
    return (struct caller){ .team_id = STR(TEAM),
                            .user_id = STR(USER),
                            .user_name = STR("Carol"),
                            .role = role,
                            .scopes = role_actions(role) };
}

static struct str comment_of(struct ctx *cx, struct db *db, const struct caller *who,
                             struct str ticket_id)
{
    struct comment_new in = { .content = STR("x") };
    struct comment c;

    caller_scope(db, who);
    assert_ok(comment_create(cx, db, who, ticket_id, &in, &c));
    return c.id;
}

UNIT_TEST(test_a_ticket_of_a_user_has_no_token)
{
    struct caller carol = user_of(ROLE_AGENT);
    struct ticket made = ticket_made(cx, db, &carol, "by a user"), t;

    assert_ok(ticket_get(cx, db, &carol, made.id, &t));
    for (int i = 0; i < 2; i++) {
        const struct ticket *one = i ? &t : &made;
        assert_false(REC_HAS(one, token_id));
        assert_str(one->created_by_user, USER);
        assert_str(one->integration_source, "Carol");
        assert_false(REC_HAS(one, resolved_ms));
        assert_str(one->tags, "[]");
    }
    caller_scope(db, &alice);
    assert_fails(ticket_get(cx, db, &alice, made.id, &t), ERR_NOT_FOUND);
    assert_fails(ticket_get_own(cx, db, &alice, made.id, &t), ERR_NOT_OWNER);
}

UNIT_TEST(test_a_user_sees_and_changes_what_keys_of_the_team_made)
{
    struct caller carol = user_of(ROLE_AGENT);
    struct ticket a = ticket_made(cx, db, &alice, "a"), b = ticket_made(cx, db, &bob, "b"), t;
    struct ticket_new patch = { .status = STR("resolved") };
    struct ticket_query q = { .limit = 0 };
    struct page page;

    REC_SET(&patch, status);
    caller_scope(db, &carol);
    assert_ok(ticket_list(cx, db, &carol, &q, key, &page));
    assert_int_equal(page.rows.n, 2);
    assert_ok(ticket_update(cx, db, &carol, a.id, &patch, NULL, &t));
    assert_str(t.token_id, TOKEN_A);
    assert_int_equal(t.resolved_ms, t.updated_ms);
    assert_ok(ticket_delete(cx, db, &carol, b.id, NULL));
    caller_scope(db, &bob);
    assert_fails(ticket_get(cx, db, &bob, b.id, &t), ERR_NOT_FOUND);
}

UNIT_TEST(test_another_teams_user_sees_nothing)
{
    struct caller stranger = user_of(ROLE_OWNER);
    struct ticket made = ticket_made(cx, db, &alice, "a"), t;

    stranger.team_id = STR("00000000-0000-7000-8000-000000000002");
    caller_scope(db, &stranger);
    assert_fails(ticket_get(cx, db, &stranger, made.id, &t), ERR_NOT_FOUND);
    assert_fails(ticket_get_own(cx, db, &stranger, made.id, &t), ERR_NOT_FOUND);
    assert_fails(ticket_delete(cx, db, &stranger, made.id, NULL), ERR_NOT_FOUND);
}

UNIT_TEST(test_the_history_and_the_comments_name_the_user)
{
    struct caller carol = user_of(ROLE_AGENT);
    struct ticket made = ticket_made(cx, db, &alice, "a");
    struct page_ask ask = { .key = &key };
    struct comment c;
    struct page page;

    struct str id = comment_of(cx, db, &carol, made.id);
    assert_ok(comment_get(cx, db, &carol, made.id, id, &c));
    assert_str(c.author_kind, "user");
    assert_str(c.author_id, USER);
    assert_str(c.author_name, "Carol");
    assert_false(REC_HAS(&c, token_id));
    assert_ok(activity_list(cx, db, &carol, made.id, &ask, &page));
    assert_int_equal(page.rows.n, 1);
    const struct activity *a = page.rows.v;
    assert_str(a->actor_kind, "user");
    assert_str(a->actor_id, USER);
    assert_str(a->actor_name, "Carol");
}

UNIT_TEST(test_a_comment_is_deleted_by_its_author_and_by_admins)
{
    struct caller carol = user_of(ROLE_AGENT), dan = user_of(ROLE_AGENT),
                  boss = user_of(ROLE_ADMIN);
    struct ticket made = ticket_made(cx, db, &alice, "a");
    struct comment c;

    dan.user_id = boss.user_id = STR(USER_B);
    struct str first = comment_of(cx, db, &carol, made.id);
    struct str second = comment_of(cx, db, &carol, made.id);
    caller_scope(db, &dan);
    assert_fails(comment_delete(cx, db, &dan, made.id, first), ERR_INSUFFICIENT_ROLE);
    assert_ok(comment_delete(cx, db, &carol, made.id, first));
    assert_ok(comment_delete(cx, db, &boss, made.id, second));
    assert_fails(comment_get(cx, db, &carol, made.id, first, &c), ERR_NOT_FOUND);
}

UNIT_TEST(test_a_user_watches_for_itself_without_naming_itself)
{
    struct caller carol = user_of(ROLE_AGENT);
    struct ticket made = ticket_made(cx, db, &alice, "a");
    struct watcher in = { .id = STR_NONE }, w;

    caller_scope(db, &carol);
    assert_ok(watcher_add(cx, db, &carol, made.id, &in, &w));
    assert_str(w.kind, "user");
    assert_str(w.id, USER);
    assert_fails(watcher_add(cx, db, &carol, made.id, &in, &w), ERR_UNIQUE);
    assert_ok(watcher_remove(cx, db, &carol, made.id, STR(USER)));
    assert_fails(watcher_remove(cx, db, &carol, made.id, STR(USER)), ERR_NOT_FOUND);
    caller_scope(db, &alice);
    assert_fails(watcher_add(cx, db, &alice, made.id, &in, &w), ERR_MISSING_FIELD);
}

UNIT_TEST(test_the_document_hides_the_team_from_a_key_that_sees_all)
{
    struct caller all = bob, v0;
    struct ticket made = ticket_made(cx, db, &alice, "a"), t;

    all.scopes = SCOPE(ADMIN_FULL);
    v0 = all;
    v0.is_own_only = true;
    caller_scope(db, &all);
    assert_ok(ticket_get(cx, db, &all, made.id, &t));
    caller_scope(db, &v0);
    assert_fails(ticket_get(cx, db, &v0, made.id, &t), ERR_NOT_FOUND);
    assert_fails(ticket_get_own(cx, db, &v0, made.id, &t), ERR_NOT_OWNER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TC(test_a_ticket_of_a_user_has_no_token),
        TC(test_a_user_sees_and_changes_what_keys_of_the_team_made),
        TC(test_another_teams_user_sees_nothing),
        TC(test_the_history_and_the_comments_name_the_user),
        TC(test_a_comment_is_deleted_by_its_author_and_by_admins),
        TC(test_a_user_watches_for_itself_without_naming_itself),
        TC(test_the_document_hides_the_team_from_a_key_that_sees_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
