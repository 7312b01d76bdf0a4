/* Lists: pages by integer column and by id, up and down; cursors and what they are bound to; large
 * rows; filters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <string.h>

#include "core/listing.h"
#include "core_store.h"

struct row {
    struct rec_bits bits;
    struct str id, word;
    int64_t num, at;
};
#define AT(member) offsetof(struct row, member)
static const struct field row_fields[] = {
    { .name = "id", .type = F_STR, .offset = AT(id) },
    { .name = "word", .type = F_STR, .offset = AT(word) },
    { .name = "num", .type = F_INT, .offset = AT(num) },
    { .name = "at", .type = F_INT, .offset = AT(at) },
};
static const struct rec rec_row = REC("Row", struct row, row_fields, NULL);

static const struct listing_from by_at_down = {
    .r = &rec_row,
    .kind = "rows:-at",
    .columns = "id, word, num, at",
    .table = "listed",
    .id = "id",
    .by = "at",
    .is_down = true,
    .id_at = AT(id),
    .by_at = AT(at),
};
static const struct cursor_key key = { { 7 } };

static void put(struct ctx *cx, struct db *db, int64_t num, struct str word, int64_t at)
{
    struct str id = str_printf(&cx->arena, "r%02lld", (long long)num);
    assert_ok(db_run(cx, db,
                     "INSERT INTO listed (team, id, word, num, at) VALUES ('t', $1, $2, $3, $4)",
                     ARGS(VT(id), VT(word), VI(num), VI(at))));
}

/* Nine rows; three share each time. */
static void filled(struct ctx *cx, struct db *db)
{
    assert_ok(db_run(cx, db,
                     "CREATE TABLE listed (team TEXT, id TEXT, word TEXT, num INTEGER, at INTEGER)",
                     NO_ARGS));
    for (int64_t i = 1; i <= 9; i++)
        put(cx, db, i, i % 2 ? STR("odd") : STR("even"), 100 + (i - 1) / 3);
}

static enum err_code page_of(struct ctx *cx, struct db *db, const struct listing_from *from,
                             const struct page_ask *ask, struct page *out)
{
    struct listing l;
    listing_init(&l, cx, " WHERE team = ", VT(STR("t")));
    return listing_page(&l, db, from, ask, out);
}

/* The numbers of all pages, "9 8 7 | 6 …": a bar between pages. */
static struct str walked(struct ctx *cx, struct db *db, const struct listing_from *from,
                         int64_t limit)
{
    struct page_ask ask = { .limit = limit, .key = &key };
    struct buf b;
    buf_init(&b, &cx->arena, 1000);
    for (int i = 0; i < 20; i++) {
        struct page page;
        assert_ok(page_of(cx, db, from, &ask, &page));
        const struct row *rows = page.rows.v;
        for (size_t k = 0; k < page.rows.n; k++)
            buf_printf(&b, "%lld ", (long long)rows[k].num);
        ask.cursor = page.next_cursor;
        if (!ask.cursor.p)
            return buf_view(&b);
        buf_lit(&b, "| ");
    }
    return STR("paging does not end");
}

UNIT_TEST(test_pages_by_a_column_break_ties_by_the_id)
{
    struct listing_from up = by_at_down;
    up.is_down = false;
    up.kind = "rows:at";
    filled(cx, db);
    assert_str(walked(cx, db, &by_at_down, 2), "9 8 | 7 6 | 5 4 | 3 2 | 1 ");
    assert_str(walked(cx, db, &up, 2), "1 2 | 3 4 | 5 6 | 7 8 | 9 ");
    assert_str(walked(cx, db, &up, 4), "1 2 3 4 | 5 6 7 8 | 9 ");
}

UNIT_TEST(test_pages_by_the_id_alone)
{
    struct listing_from from = by_at_down;
    from.by = NULL;
    filled(cx, db);
    assert_str(walked(cx, db, &from, 4), "9 8 7 6 | 5 4 3 2 | 1 ");
    from.is_down = false;
    assert_str(walked(cx, db, &from, 8), "1 2 3 4 5 6 7 8 | 9 ");
}

UNIT_TEST(test_pages_by_an_integer_id)
{
    struct listing_from from = by_at_down;
    from.by = NULL;
    from.id = "num";
    from.id_is_int = true;
    from.id_at = AT(num);
    filled(cx, db);
    put(cx, db, 10, STR("even"), 200); /* as a text it would come between 1 and 2 */
    assert_str(walked(cx, db, &from, 4), "10 9 8 7 | 6 5 4 3 | 2 1 ");
}

UNIT_TEST(test_a_page_that_is_just_full_has_no_next)
{
    struct page page;
    filled(cx, db);
    assert_ok(page_of(cx, db, &by_at_down, &(struct page_ask){ .limit = 9, .key = &key }, &page));
    assert_int_equal(page.rows.n, 9);
    assert_null(page.next_cursor.p);
    assert_int_equal(page.total, -1);
}

UNIT_TEST(test_rows_that_come_in_between_move_nothing)
{
    struct page page;
    struct page_ask ask = { .limit = 4, .key = &key };
    filled(cx, db);
    assert_ok(page_of(cx, db, &by_at_down, &ask, &page));
    put(cx, db, 50, STR("new"), 500);
    ask.cursor = page.next_cursor;
    assert_ok(page_of(cx, db, &by_at_down, &ask, &page));
    assert_int_equal(((const struct row *)page.rows.v)->num, 5);
}

UNIT_TEST(test_the_total_counts_all_pages)
{
    struct page page;
    struct page_ask ask = { .limit = 2, .is_counted = true, .key = &key };
    filled(cx, db);
    assert_ok(page_of(cx, db, &by_at_down, &ask, &page));
    assert_int_equal(page.total, 9);
    ask.cursor = page.next_cursor;
    assert_ok(page_of(cx, db, &by_at_down, &ask, &page));
    assert_int_equal(page.total, 9);
}

UNIT_TEST(test_no_rows_are_an_empty_page)
{
    struct page page;
    struct listing l;
    filled(cx, db);
    listing_init(&l, cx, " WHERE team = ", VT(STR("another")));
    assert_ok(listing_page(&l, db, &by_at_down,
                           &(struct page_ask){ .key = &key, .is_counted = true }, &page));
    assert_int_equal(page.rows.n, 0);
    assert_int_equal(page.total, 0);
    assert_null(page.next_cursor.p);
}

UNIT_TEST(test_a_cursor_belongs_to_its_order_filters_and_key)
{
    static const struct cursor_key other_key = { { 8 } };
    struct listing_from other = by_at_down;
    struct page page;
    struct page_ask ask = { .limit = 2, .key = &key };
    struct listing l;
    filled(cx, db);
    assert_ok(page_of(cx, db, &by_at_down, &ask, &page));
    ask.cursor = page.next_cursor;

    other.kind = "rows:at";
    assert_fails(page_of(cx, db, &other, &ask, &page), ERR_INVALID_PARAMETER);
    listing_init(&l, cx, " WHERE team = ", VT(STR("u")));
    assert_fails(listing_page(&l, db, &by_at_down, &ask, &page), ERR_INVALID_PARAMETER);
    listing_init(&l, cx, " WHERE team = ", VT(STR("t")));
    listing_and(&l, " AND num > ", VI(1), "");
    assert_fails(listing_page(&l, db, &by_at_down, &ask, &page), ERR_INVALID_PARAMETER);
    ask.key = &other_key;
    assert_fails(page_of(cx, db, &by_at_down, &ask, &page), ERR_INVALID_PARAMETER);
    ask.key = &key;
    ask.cursor = STR("nonsense");
    assert_int_equal(page_of(cx, db, &by_at_down, &ask, &page), ERR_INVALID_PARAMETER);
    assert_str(cx->fields[0].field, "cursor");
}

UNIT_TEST(test_a_page_of_very_large_rows_ends_early)
{
    struct page_ask ask = { .limit = 9, .key = &key };
    struct page page;
    int64_t n = 0;
    filled(cx, db);
    assert_ok(db_run(cx, db, "UPDATE listed SET word = hex(zeroblob(500000))", NO_ARGS));
    do {
        assert_ok(page_of(cx, db, &by_at_down, &ask, &page));
        assert_true(page.rows.n >= 1 && page.rows.n < 9);
        n += (int64_t)page.rows.n;
        ask.cursor = page.next_cursor;
    } while (ask.cursor.p);
    assert_int_equal(n, 9);
}

UNIT_TEST(test_words_are_one_filter_and_repeat_no_argument)
{
    struct listing l;
    struct page page;
    filled(cx, db);
    listing_init(&l, cx, " WHERE team = ", VT(STR("t")));
    listing_words(&l, "word", STR("even,none,even,even"));
    assert_int_equal(l.n, 3);
    assert_ok(listing_page(&l, db, &by_at_down, &(struct page_ask){ .key = &key }, &page));
    assert_int_equal(page.rows.n, 4);
}

UNIT_TEST(test_like_takes_its_text_literally)
{
    static const struct {
        const char *text;
        size_t n;
    } cases[] = { { "50%", 1 }, { "_", 1 }, { "\\", 1 }, { "%", 1 }, { "o", 5 }, { "", 12 } };
    filled(cx, db);
    put(cx, db, 20, STR("50% a"), 1);
    put(cx, db, 21, STR("a_b"), 1);
    put(cx, db, 22, STR("a\\b"), 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct listing l;
        struct page page;
        listing_init(&l, cx, " WHERE team = ", VT(STR("t")));
        listing_and(&l, " AND word LIKE ", VT(listing_like(cx, str_of(cases[i].text))),
                    " ESCAPE '\\'");
        assert_ok(listing_page(&l, db, &by_at_down, &(struct page_ask){ .key = &key }, &page));
        assert_int_equal(page.rows.n, cases[i].n);
    }
}

UNIT_TEST(test_ids_of_paths)
{
    struct str id = STR("0190A5C0-7b1c-7def-8123-456789ABCDEF");
    static const char *const bad[] = { "", "1", "0190a5c0-7b1c-7def-8123-456789abcde",
                                       "0190a5c0-7b1c-7def-8123-456789abcdeg" };
    (void)db;
    assert_ok(path_id(cx, "thing_id", &id));
    assert_str(id, "0190a5c0-7b1c-7def-8123-456789abcdef");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        id = str_of(bad[i]);
        assert_int_equal(path_id(cx, "thing_id", &id), ERR_INVALID_PARAMETER);
        assert_str(cx->fields[0].field, "thing_id");
        ctx_clear(cx);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TC(test_pages_by_a_column_break_ties_by_the_id),
        TC(test_pages_by_the_id_alone),
        TC(test_pages_by_an_integer_id),
        TC(test_a_page_that_is_just_full_has_no_next),
        TC(test_rows_that_come_in_between_move_nothing),
        TC(test_the_total_counts_all_pages),
        TC(test_no_rows_are_an_empty_page),
        TC(test_a_cursor_belongs_to_its_order_filters_and_key),
        TC(test_a_page_of_very_large_rows_ends_early),
        TC(test_words_are_one_filter_and_repeat_no_argument),
        TC(test_like_takes_its_text_literally),
        TC(test_ids_of_paths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
