/* Comments: on own tickets only, oldest first, page by page. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */
#include <stdio.h>

#include "core/comment.h"
#include "core_store.h"

static const struct cursor_key key = { { 7 } };

static struct comment said(struct ctx *cx, struct db *db, struct str ticket_id, const char *text)
{
    struct comment_new in = { .content = str_of(text) };
    struct comment c = { .is_internal = 9 };

    assert_ok(comment_create(cx, db, &alice, ticket_id, &in, &c));
    return c;
}

UNIT_TEST(test_a_comment_is_kept_as_said)
{
    struct ticket t = ticket_made(cx, db, &alice, "x");
    struct comment_new in = { .content = STR("intern \xC3\xA9"), .is_internal = 1 };
    struct comment_query q = { .limit = 0 };
    struct comment made;
    struct page page;

    REC_SET(&in, is_internal);
    assert_ok(comment_create(cx, db, &alice, t.id, &in, &made));
    said(cx, db, t.id, "plain");
    assert_ok(comment_list(cx, db, &alice, t.id, &q, key, &page));
    assert_int_equal(page.rows.n, 2);
    const struct comment *c = page.rows.v;
    assert_true(str_eq(c[0].id, made.id));
    assert_true(str_eq(c[0].ticket_id, t.id));
    assert_str(c[0].content, "intern \xC3\xA9");
    assert_int_equal(c[0].is_internal, 1);
    assert_int_equal(c[0].created_ms, made.created_ms);
    assert_str(c[0].integration_source, "alice");
    assert_int_equal(c[1].is_internal, 0);
    assert_null(page.next_cursor.p);
}

UNIT_TEST(test_only_the_own_live_ticket_takes_comments)
{
    struct ticket t = ticket_made(cx, db, &alice, "x");
    struct comment_new in = { .content = STR("x") };
    struct comment_query q = { .limit = 0 };
    struct comment c;
    struct page page;

    caller_scope(db, &bob);
    assert_fails(comment_create(cx, db, &bob, t.id, &in, &c), ERR_NOT_OWNER);
    assert_fails(comment_list(cx, db, &bob, t.id, &q, key, &page), ERR_NOT_FOUND);
    caller_scope(db, &alice);
    assert_fails(
        comment_create(cx, db, &alice, STR("01900000-0000-7000-8000-0000000000ff"), &in, &c),
        ERR_NOT_FOUND);
    assert_fails(comment_create(cx, db, &alice, STR("nonsense"), &in, &c), ERR_INVALID_PARAMETER);
    assert_ok(ticket_delete(cx, db, &alice, t.id, NULL));
    assert_fails(comment_create(cx, db, &alice, t.id, &in, &c), ERR_NOT_FOUND);
    assert_fails(comment_list(cx, db, &alice, t.id, &q, key, &page), ERR_NOT_FOUND);
}

UNIT_TEST(test_pages_are_in_order_and_complete)
{
    struct ticket t = ticket_made(cx, db, &alice, "x"), other = ticket_made(cx, db, &alice, "y");
    struct comment_query q = { .limit = 2 };
    struct page page;
    char text[16];
    int n = 0;

    for (int i = 0; i < 5; i++) {
        snprintf(text, sizeof text, "c%d", i);
        said(cx, db, t.id, text);
        said(cx, db, other.id, "elsewhere");
    }
    REC_SET(&q, limit);
    do {
        assert_ok(comment_list(cx, db, &alice, t.id, &q, key, &page));
        assert_true(page.rows.n > 0 && page.rows.n <= 2);
        for (size_t i = 0; i < page.rows.n; i++) {
            snprintf(text, sizeof text, "c%d", n++);
            assert_true(str_eq(((const struct comment *)page.rows.v)[i].content, str_of(text)));
        }
        q.cursor = page.next_cursor;
        REC_SET(&q, cursor);
    } while (page.next_cursor.p && n < 10);
    assert_int_equal(n, 5);
}

UNIT_TEST(test_a_cursor_belongs_to_its_ticket_in_either_case)
{
    struct ticket t = ticket_made(cx, db, &alice, "x"), other = ticket_made(cx, db, &alice, "y");
    struct comment_query q = { .limit = 1 };
    struct page page;
    char *upper = str_cstr(&cx->arena, t.id);

    for (size_t i = 0; i < t.id.n; i++)
        if (upper[i] >= 'a' && upper[i] <= 'f')
            upper[i] = (char)(upper[i] - 'a' + 'A');
    said(cx, db, (struct str){ upper, t.id.n }, "1");
    said(cx, db, t.id, "2");
    REC_SET(&q, limit);
    assert_ok(comment_list(cx, db, &alice, t.id, &q, key, &page));
    q.cursor = page.next_cursor;
    REC_SET(&q, cursor);
    assert_fails(comment_list(cx, db, &alice, other.id, &q, key, &page), ERR_INVALID_PARAMETER);
    assert_ok(comment_list(cx, db, &alice, (struct str){ upper, t.id.n }, &q, key, &page));
    assert_int_equal(page.rows.n, 1);
    assert_str(((const struct comment *)page.rows.v)->content, "2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TC(test_a_comment_is_kept_as_said),
        TC(test_only_the_own_live_ticket_takes_comments),
        TC(test_pages_are_in_order_and_complete),
        TC(test_a_cursor_belongs_to_its_ticket_in_either_case),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
