/* Contacts: how their texts are compared, what search finds, whose they are, what merging keeps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include "base/json.h"
#include "core/crm/contact.h"
#include "core/crm/contact_activity.h"
#include "core_store.h"

static const struct cursor_key key = { { 9 } };
static const struct caller stranger = { .team_id = { "00000000-0000-7000-8000-000000000002", 36 },
                                        .token_id = { TOKEN_B, 36 },
                                        .token_name = { "stranger", 8 },
                                        .scopes = SCOPE(CONTACTS_READ) | SCOPE(CONTACTS_WRITE) };

static void make_team(struct ctx *cx, struct db *db)
{
    assert_ok(db_run(cx, db,
                     "INSERT INTO team (id, slug, name, created_ms) VALUES ($1, 'two', 'Two', 0)",
                     ARGS(VT(stranger.team_id))));
}

static struct contact made(struct ctx *cx, struct db *db, const struct caller *who,
                           const char *json)
{
    struct contact_new in;
    struct contact c = { .version = 0 };

    caller_scope(db, who);
    assert_ok(rec_decode(cx, &rec_contact_new, json_read(cx, str_of(json)), REC_REFUSE_UNKNOWN,
                         STR_NONE, &in));
    assert_ok(contact_create(cx, db, who, &in, &c));
    return c;
}

static size_t found(struct ctx *cx, struct db *db, const struct caller *who, const char *q,
                    struct page *out)
{
    struct contact_query in = { .q = str_of(q) };

    REC_SET(&in, q);
    caller_scope(db, who);
    assert_ok(contact_list(cx, db, who, &in, key, out));
    return out->rows.n;
}

/* The words, with a bar between them. */
static struct str words_of(struct ctx *cx, const char *text)
{
    struct keys k = { .n = 0 };
    struct buf b;

    words_add(cx, str_of(text), &k);
    buf_init(&b, &cx->arena, 65536);
    for (size_t i = 0; i < k.n; i++) {
        if (i)
            buf_char(&b, '|');
        buf_str(&b, k.v[i]);
    }
    return b.n ? buf_view(&b) : STR("");
}

UNIT_TEST(test_words_are_folded_runs_of_letters_and_digits)
{
    static const char *const pairs[][2] = {
        { "", "" },
        { " -.,;'\"*%_()\\", "" },
        { "Ann", "ann" },
        { "O'Neil-Smith 2nd", "o|neil|smith|2nd" },
        { "ann ANN Ann", "ann" },
        { "a.b+c@x.example", "a|b|c|x|example" },
        { "Jos\xC3\xA9 Jose\xCC\x81", "jose" },
        { "STRA\xC3\x9F"
          "E",
          "strasse" },
        { "\xEF\xAC\x81ne", "fine" },                               /* a ligature */
        { "\xE6\x9D\xB1\xE4\xBA\xAC", "\xE6\x9D\xB1\xE4\xBA\xAC" }, /* no spaces, one word */
        { "\xF0\x9F\x98\x80", "" },                                 /* a picture */
        { "a\xE2\x80\x8B"
          "b",
          "ab" },                                   /* zero width space */
        { "\xD9\xA3\xD9\xA4", "\xD9\xA3\xD9\xA4" }, /* Arabic digits */
    };

    (void)db;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        assert_true(str_eq(words_of(cx, pairs[i][0]), str_of(pairs[i][1])));
}

UNIT_TEST(test_a_long_word_is_cut_between_characters)
{
    struct keys k = { .n = 0 };
    struct buf b;

    (void)db;
    buf_init(&b, &cx->arena, 4096);
    buf_char(&b, 'x');
    for (int i = 0; i < 100; i++)
        buf_lit(&b, "\xD1\x8F"); /* two bytes each: the 64th byte is half a character */
    words_add(cx, buf_view(&b), &k);
    assert_int_equal(k.n, 1);
    assert_int_equal(k.v[0].n, WORD_MAX - 1);
    assert_true(str_is_utf8(k.v[0]));
}

UNIT_TEST(test_words_beyond_the_room_are_left_out)
{
    struct keys k = { .n = 0 };

    (void)db;
    for (int i = 0; i < 2 * KEYS_MAX; i++)
        words_add(cx, str_printf(&cx->arena, "w%d", i), &k);
    assert_int_equal(k.n, KEYS_MAX);
}

UNIT_TEST(test_phone_numbers_keep_digits_and_the_plus)
{
    (void)db;
    assert_str(phone_key(cx, STR(" +49 (30) 123-45.6/7 ")), "+49301234567");
    assert_str(phone_key(cx, STR("030 1234")), "0301234");
    assert_null(phone_key(cx, STR("12")).p);
    assert_null(phone_key(cx, STR("")).p);
    assert_null(phone_key(cx, STR("+")).p);
    assert_null(phone_key(cx, STR("123+456")).p);
    assert_null(phone_key(cx, STR("123 ext 4")).p);
    assert_null(phone_key(cx, STR("123456789012345678901")).p);
    assert_null(phone_digits(cx, STR("a1")).p);
    assert_str(phone_digits(cx, STR("(1) 2")), "12");
}

UNIT_TEST(test_email_addresses_have_two_sides)
{
    static const char *const good[] = { "a@b", "a.b+c@d.example", "\xC3\xA9@x.example" };
    static const char *const bad[] = { "",      "a",      "@b",      "a@",      "a@b@c",
                                       "a b@c", "a@b..c", "a@.b",    "a@b.",    "<a@b>",
                                       "a,b@c", "a@b\n",  "\"a\"@b", "a@b;c@d", "a\\@b" };

    (void)db;
    (void)cx;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(email_is_fine(str_of(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(email_is_fine(str_of(bad[i])));
}

UNIT_TEST(test_search_stays_in_the_team)
{
    struct page page;

    make_team(cx, db);
    struct contact mine = made(cx, db, &alice, "{\"name\":\"Same Name\",\"emails\":[\"a@x.y\"]}");
    made(cx, db, &stranger, "{\"name\":\"Same Name\",\"emails\":[\"a@x.y\"]}");
    made(cx, db, &stranger, "{\"name\":\"Same Other\"}");
    assert_int_equal(found(cx, db, &alice, "same", &page), 1);
    assert_true(str_eq(((struct contact *)page.rows.v)->id, mine.id));
    assert_int_equal(found(cx, db, &alice, "name s a", &page), 1);
    assert_int_equal(found(cx, db, &alice, "other", &page), 0);
    assert_int_equal(found(cx, db, &stranger, "same", &page), 2);
}

UNIT_TEST(test_keys_of_one_team_share_its_contacts)
{
    struct contact c = made(cx, db, &alice, "{\"name\":\"Shared\"}"), got;

    caller_scope(db, &bob);
    assert_ok(contact_get(cx, db, &bob, c.id, &got));
    assert_str(got.name, "Shared");
    assert_ok(contact_must_exist(cx, db, alice.team_id, c.id, "contact_id"));
    assert_fails(contact_must_exist(cx, db, stranger.team_id, c.id, "contact_id"),
                 ERR_INVALID_FIELD);
    caller_scope(db, &stranger);
    assert_fails(contact_get(cx, db, &stranger, c.id, &got), ERR_NOT_FOUND);
}

UNIT_TEST(test_what_is_not_found_is_named_by_the_field)
{
    struct str none = STR("01900000-0000-7000-8000-0000000000ff");

    assert_int_equal(contact_must_exist(cx, db, alice.team_id, none, "of_whom"), ERR_INVALID_FIELD);
    assert_str(cx->fields[0].field, "of_whom");
    ctx_clear(cx);
}

UNIT_TEST(test_a_changed_contact_is_found_by_its_new_words_only)
{
    struct contact c = made(cx, db, &alice, "{\"name\":\"Old Name\",\"company\":\"Acme\"}");
    struct contact_new patch = { .name = STR("New Name") };
    struct page page;

    REC_SET(&patch, name);
    assert_ok(contact_update(cx, db, &alice, c.id, &patch, NULL, &c));
    assert_int_equal(found(cx, db, &alice, "old", &page), 0);
    assert_int_equal(found(cx, db, &alice, "new acme", &page), 1);
    assert_int_equal(c.version, 2);
}

UNIT_TEST(test_merging_leads_every_old_id_to_the_last_contact)
{
    struct contact a = made(cx, db, &alice, "{\"name\":\"A\",\"phones\":[\"5550001\"]}");
    struct contact b = made(cx, db, &alice, "{\"name\":\"B\",\"company\":\"B Ltd\"}");
    struct contact c = made(cx, db, &alice, "{\"name\":\"C\"}"), got;
    struct contact_merge in = { .from = str_printf(&cx->arena, "[\"%.36s\"]", a.id.p) };
    struct page_ask ask = { .key = &key };
    struct page page;

    assert_ok(contact_merge(cx, db, &alice, b.id, &in, NULL, &got));
    in.from = str_printf(&cx->arena, "[\"%.36s\"]", b.id.p);
    assert_ok(contact_merge(cx, db, &alice, c.id, &in, NULL, &got));
    assert_str(got.company, "B Ltd");
    assert_str(got.phones, "[\"5550001\"]");
    assert_ok(contact_get(cx, db, &alice, a.id, &got));
    assert_true(str_eq(got.id, c.id));
    assert_fails(contact_get_live(cx, db, &alice, a.id, NULL, &got), ERR_CONFLICT);
    assert_fails(contact_merge(cx, db, &alice, c.id, &in, NULL, &got), ERR_CONFLICT);
    assert_ok(contact_activity_list(cx, db, &alice, b.id, &ask, &page));
    assert_int_equal(page.rows.n, 7); /* 3 created, 2 merged, 2 merged_into */
}

UNIT_TEST(test_signs_of_patterns_mean_nothing)
{
    struct page page;

    made(cx, db, &alice, "{\"name\":\"Per Cent\"}");
    assert_int_equal(found(cx, db, &alice, "%", &page), 0);
    assert_int_equal(found(cx, db, &alice, "p%t", &page), 0);
    assert_int_equal(found(cx, db, &alice, "_er", &page), 0);
    assert_int_equal(found(cx, db, &alice, "pe*", &page), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TC(test_words_are_folded_runs_of_letters_and_digits),
        TC(test_a_long_word_is_cut_between_characters),
        TC(test_words_beyond_the_room_are_left_out),
        TC(test_phone_numbers_keep_digits_and_the_plus),
        TC(test_email_addresses_have_two_sides),
        TC(test_search_stays_in_the_team),
        TC(test_keys_of_one_team_share_its_contacts),
        TC(test_what_is_not_found_is_named_by_the_field),
        TC(test_a_changed_contact_is_found_by_its_new_words_only),
        TC(test_merging_leads_every_old_id_to_the_last_contact),
        TC(test_signs_of_patterns_mean_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
