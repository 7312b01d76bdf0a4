/* The ticket list: filters, order, pages that neither lose nor repeat a row, cursors bound to their
 * list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */
#include <stdio.h>
#include <string.h>

#include "api/page.h"
#include "core_store.h"

static const struct cursor_key key = { { 7 } };

/* The query as it comes: "name=value&…", values as they are. */
static enum err_code ask(struct ctx *cx, struct db *db, const struct caller *who, const char *text,
                         struct page *page)
{
    struct rec_param params[32];
    struct ticket_query q;
    struct str rest = str_of(text);
    size_t n = 0;

    while (rest.n) {
        params[n].value = str_cut(&rest, '&');
        params[n].name = str_cut(&params[n].value, '=');
        n++;
    }
    enum err_code e = rec_decode_query(cx, &rec_ticket_query, params, n, &q);
    return e ? e : ticket_list(cx, db, who, &q, key, page);
}

static size_t count(struct ctx *cx, struct db *db, const char *text)
{
    struct page page;

    assert_ok(ask(cx, db, &alice, text, &page));
    return page.rows.n;
}

static void make(struct ctx *cx, struct db *db, int n)
{
    char title[32];

    for (int i = 0; i < n; i++) {
        snprintf(title, sizeof title, "t%02d", i);
        ticket_made(cx, db, &alice, title);
    }
}

/* Walks all pages of `limit` rows and returns the titles, joined. After each page a ticket is added
 * that sorts before the first page when the order is downwards. */
static struct str walk(struct ctx *cx, struct db *db, const char *query, int limit, bool adds)
{
    struct buf out;
    struct page page = { .next_cursor = STR("") };
    struct str cursor = STR_NONE;

    buf_init(&out, &cx->arena, 65536);
    for (int turns = 0; page.next_cursor.p; turns++) {
        struct str text =
            str_printf(&cx->arena, "%s&limit=%d" STR_FMT STR_FMT, query, limit,
                       STR_ARG(cursor.p ? STR("&cursor=") : STR("")), STR_ARG(cursor));
        assert_true(turns < 100);
        assert_ok(ask(cx, db, &alice, str_cstr(&cx->arena, text), &page));
        assert_true(page.rows.n <= (size_t)limit);
        for (size_t i = 0; i < page.rows.n; i++) {
            buf_str(&out, ((const struct ticket *)page.rows.v)[i].title);
            buf_char(&out, ' ');
        }
        cursor = page.next_cursor;
        if (adds)
            ticket_made(cx, db, &alice, "new");
    }
    return buf_view(&out);
}

UNIT_TEST(test_pages_join_to_the_whole_list)
{
    make(cx, db, 7);
    for (int limit = 1; limit <= 8; limit++) {
        assert_str(walk(cx, db, "sort=created_at", limit, false), "t00 t01 t02 t03 t04 t05 t06 ");
        assert_str(walk(cx, db, "sort=-created_at", limit, false), "t06 t05 t04 t03 t02 t01 t00 ");
        assert_str(walk(cx, db, "sort=updated_at", limit, false), "t00 t01 t02 t03 t04 t05 t06 ");
        assert_str(walk(cx, db, "sort=-updated_at", limit, false), "t06 t05 t04 t03 t02 t01 t00 ");
    }
}

UNIT_TEST(test_new_tickets_do_not_move_the_pages)
{
    make(cx, db, 5);
    assert_str(walk(cx, db, "sort=-created_at", 2, true), "t04 t03 t02 t01 t00 ");
    assert_str(walk(cx, db, "sort=-updated_at&q=T0", 2, true), "t04 t03 t02 t01 t00 ");
}

UNIT_TEST(test_equal_times_are_told_apart_by_id)
{
    make(cx, db, 6);
    assert_ok(db_run(cx, db, "UPDATE tickets SET updated_ms = 5000", NO_ARGS));
    assert_str(walk(cx, db, "sort=updated_at", 2, false), "t00 t01 t02 t03 t04 t05 ");
    assert_str(walk(cx, db, "sort=-updated_at", 1, false), "t05 t04 t03 t02 t01 t00 ");
}

UNIT_TEST(test_filters_join)
{
    make(cx, db, 4);
    assert_ok(db_run(cx, db,
                     "UPDATE tickets SET status = 'closed', category = 'net' WHERE title = 't01'",
                     NO_ARGS));
    assert_ok(db_run(cx, db,
                     "UPDATE tickets SET priority = 'urgent', category = '' WHERE title = 't02'",
                     NO_ARGS));
    assert_ok(db_run(cx, db,
                     "UPDATE tickets SET created_ms = 1000, updated_ms = 2000 WHERE title = 't03'",
                     NO_ARGS));
    assert_int_equal(count(cx, db, "status=open"), 3);
    assert_int_equal(count(cx, db, "status=open,closed"), 4);
    assert_int_equal(count(cx, db, "status=closed&priority=urgent"), 0);
    assert_int_equal(count(cx, db, "priority=urgent,low"), 1);
    assert_int_equal(count(cx, db, "category=net"), 1);
    assert_int_equal(count(cx, db, "category="), 1);
    assert_int_equal(count(cx, db, "created_before=1970-01-01T00:00:01Z"), 0);
    assert_int_equal(count(cx, db, "created_before=1970-01-01T00:00:01.001Z"), 1);
    assert_int_equal(count(cx, db, "created_after=1970-01-01T00:00:01Z"), 4);
    assert_int_equal(count(cx, db, "updated_after=1970-01-01T00:00:02.001Z"), 3);
    assert_int_equal(
        count(cx, db, "updated_before=1970-01-01T00:00:02.001Z&updated_after=1970-01-01T00:00:02Z"),
        1);
}

UNIT_TEST(test_repeated_words_are_one_word)
{
    struct buf b;

    make(cx, db, 2);
    buf_init(&b, &cx->arena, 65536);
    buf_lit(&b, "status=open");
    for (int i = 0; i < 200; i++)
        buf_lit(&b, i % 2 ? ",open" : ",closed");
    buf_lit(&b, "&priority=medium");
    for (int i = 0; i < 200; i++)
        buf_lit(&b, ",medium");
    buf_lit(
        &b,
        "&category=x&created_after=2000-01-01&created_before=2100-01-01&updated_after=2000-01-01&updated_before=2100-01-01&q=t&count=true"
        "&sort=updated_at");
    assert_int_equal(count(cx, db, str_cstr(&cx->arena, buf_view(&b))), 0);
    assert_int_equal(count(cx, db, "status=open,open,waiting,open"), 2);
}

UNIT_TEST(test_search_is_literal_and_ignores_case)
{
    struct ticket_new in = { .title = STR("plain"), .description = STR("50%_off \\ Now") };
    struct ticket t;

    caller_scope(db, &alice);
    assert_ok(ticket_create(cx, db, &alice, &in, &t));
    ticket_made(cx, db, &alice, "Other Title");
    assert_int_equal(count(cx, db, "q=0%_O"), 1);
    assert_int_equal(count(cx, db, "q=%"), 1);
    assert_int_equal(count(cx, db, "q=_"), 1);
    assert_int_equal(count(cx, db, "q=\\ n"), 1);
    assert_int_equal(count(cx, db, "q=TITLE"), 1);
    assert_int_equal(count(cx, db, "q=zzz"), 0);
}

UNIT_TEST(test_only_live_tickets_of_the_token_are_listed)
{
    struct page page;
    struct ticket gone = ticket_made(cx, db, &alice, "gone");

    make(cx, db, 2);
    ticket_made(cx, db, &bob, "his");
    assert_ok(ticket_delete(cx, db, &alice, gone.id, NULL));
    assert_int_equal(count(cx, db, "limit=200"), 2);
    assert_ok(ask(cx, db, &bob, "count=true", &page));
    assert_int_equal(page.rows.n, 1);
    assert_int_equal(page.total, 1);
}

UNIT_TEST(test_the_total_counts_all_pages)
{
    struct page page;

    make(cx, db, 5);
    assert_ok(ask(cx, db, &alice, "limit=2&count=true", &page));
    assert_int_equal(page.total, 5);
    assert_ok(ask(cx, db, &alice,
                  str_cstr(&cx->arena, str_printf(&cx->arena, "limit=2&count=true&cursor=" STR_FMT,
                                                  STR_ARG(page.next_cursor))),
                  &page));
    assert_int_equal(page.total, 5);
    assert_ok(ask(cx, db, &alice, "limit=5&count=false", &page));
    assert_int_equal(page.total, -1);
    assert_null(page.next_cursor.p);
}

UNIT_TEST(test_a_cursor_belongs_to_its_filters_order_and_token)
{
    static const char *const other[] = { "status=closed", "sort=created_at", "sort=updated_at",
                                         "q=t", "category=t" };
    struct page page, next;

    make(cx, db, 3);
    assert_ok(ask(cx, db, &alice, "limit=1", &page));
    struct str cursor = page.next_cursor;
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
        struct str text = str_printf(&cx->arena, "%s&cursor=" STR_FMT, other[i], STR_ARG(cursor));

        assert_fails(ask(cx, db, &alice, str_cstr(&cx->arena, text), &next), ERR_INVALID_PARAMETER);
    }
    struct str text = str_printf(&cx->arena, "limit=3&cursor=" STR_FMT, STR_ARG(cursor));
    assert_fails(ask(cx, db, &bob, str_cstr(&cx->arena, text), &next), ERR_INVALID_PARAMETER);
    assert_ok(
        ask(cx, db, &alice, str_cstr(&cx->arena, text), &next)); /* another page size is fine */
    assert_int_equal(next.rows.n, 2);
}

UNIT_TEST(test_values_out_of_range_are_refused)
{
    static const char *const bad[] = { "limit=0",
                                       "limit=201",
                                       "limit=-1",
                                       "limit=x",
                                       "limit=",
                                       "cursor=",
                                       "q=",
                                       "status=",
                                       "status=new",
                                       "status=open,",
                                       "sort=title",
                                       "count=1",
                                       "page=2",
                                       "limit=1&limit=1",
                                       "created_after=yesterday",
                                       "limit=99999999999999999999" };
    struct page page;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_fails(ask(cx, db, &alice, bad[i], &page), ERR_INVALID_PARAMETER);
}

UNIT_TEST(test_a_page_of_huge_tickets_ends_early)
{
    size_t n = TICKET_DESCRIPTION_MAX, total = 0;
    char *text = arena_alloc(&cx->arena, n);
    struct page page = { .next_cursor = STR_NONE };
    struct str cursor = STR_NONE;
    int pages = 0;

    memset(text, 'd', n);
    caller_scope(db, &alice);
    for (int i = 0; i < 60; i++) {
        struct ticket_new in = { .title = STR("x"), .description = { text, n } };
        struct ticket t;

        assert_ok(ticket_create(cx, db, &alice, &in, &t));
    }
    do {
        struct str query =
            str_printf(&cx->arena, "limit=200" STR_FMT STR_FMT,
                       STR_ARG(cursor.p ? STR("&cursor=") : STR("")), STR_ARG(cursor));
        assert_ok(ask(cx, db, &alice, str_cstr(&cx->arena, query), &page));
        assert_true(page.rows.n > 0);
        total += page.rows.n;
        cursor = page.next_cursor;
        pages++;
    } while (cursor.p && pages < 60);
    assert_int_equal(total, 60);
    assert_true(pages > 1);
}

UNIT_TEST(test_the_next_link_repeats_the_parameters)
{
    struct page page = { .next_cursor = STR("NEXT"), .total = -1 };
    struct req rq = { .path = STR("/v1/tickets"),
                      .query_text = STR("status=open&cursor=OLD&q=%C3%A9+>\"<") };
    struct reply rp = { .n_headers = 0 };

    (void)db;
    buf_init(&rp.body, &cx->arena, 4096);
    page_put(cx, &rq, &rp, &rec_ticket, &page);
    assert_str(buf_view(&rp.body), "{\"data\":[],\"next_cursor\":\"NEXT\"}");
    assert_string_equal(rp.headers[0].name, "Link");
    assert_str(rp.headers[0].value,
               "</v1/tickets?status=open&q=%C3%A9+%3E%22%3C&cursor=NEXT>; rel=\"next\"");
    page.next_cursor = STR_NONE;
    rp.n_headers = 0;
    buf_reset(&rp.body);
    page_put(cx, &rq, &rp, &rec_ticket, &page);
    assert_int_equal(rp.n_headers, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TC(test_pages_join_to_the_whole_list),
        TC(test_new_tickets_do_not_move_the_pages),
        TC(test_equal_times_are_told_apart_by_id),
        TC(test_filters_join),
        TC(test_repeated_words_are_one_word),
        TC(test_search_is_literal_and_ignores_case),
        TC(test_only_live_tickets_of_the_token_are_listed),
        TC(test_the_total_counts_all_pages),
        TC(test_a_cursor_belongs_to_its_filters_order_and_token),
        TC(test_values_out_of_range_are_refused),
        TC(test_a_page_of_huge_tickets_ends_early),
        TC(test_the_next_link_repeats_the_parameters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
