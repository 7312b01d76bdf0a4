/* Facts about integration tokens as rows, on SQLite: minting, what is refused, lifecycle, the
 * change feed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crypt.h"
#include "core/token.h"

static char folder[64];
static struct store *store;
static struct ctx cx; /* of one test */

static int setup(void **state)
{
    char path[96];
    int applied;
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/tessera-token.XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "sqlite:%s/t.db", folder);
    ctx_init(&cx, CTX_CAP_DEFAULT);
    assert_int_equal(
        store_open(&cx, &(struct store_conf){ .database = str_of(path), .queue_max = 100 }, &store),
        ERR_NONE);
    assert_int_equal(store_migrate(&cx, store, &applied), ERR_NONE);
    return 0;
}

static int teardown(void **state)
{
    static const char *const files[] = { "t.db", "t.db-wal", "t.db-shm" };
    char path[96];
    (void)state;
    store_close(store);
    ctx_done(&cx);
    clock_shift_ms(0);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, files[i]);
        unlink(path);
    }
    rmdir(folder);
    return 0;
}

/* ---- units of work ---- */

enum verb { CREATE, GET, LIST, ENABLE, DISABLE, REGENERATE, DELETE, ROW, FEED };
struct call {
    enum verb verb;
    struct str team, id;
    const struct token_new *in;
    int64_t grace_ms;
    struct token out;
    struct list list;
    int64_t feed;
};

static enum err_code run_call(struct ctx *c, struct db *db, void *arg)
{
    struct call *k = arg;
    struct rec_num n;
    enum err_code e = ERR_INTERNAL;
    switch (k->verb) {
    case CREATE: return token_create(c, db, k->team, k->in, &k->out);
    case GET: return token_get(c, db, k->team, k->id, &k->out);
    case LIST: return token_list(c, db, k->team, &k->list);
    case ENABLE: return token_set_enabled(c, db, k->team, k->id, true, &k->out);
    case DISABLE: return token_set_enabled(c, db, k->team, k->id, false, &k->out);
    case REGENERATE: return token_regenerate(c, db, k->team, k->id, k->grace_ms, &k->out);
    case DELETE: return token_delete(c, db, k->team, k->id);
    case ROW:
        return db_one(c, db, &rec_token_row, "SELECT * FROM integration_tokens WHERE id = $1",
                      ARGS(VT(k->id)), &k->out);
    case FEED:
        e = db_one(c, db, &rec_num, "SELECT value AS n FROM change_feed WHERE name = 'token'",
                   NO_ARGS, &n);
        k->feed = n.n;
    }
    return e;
}

static enum err_code call(struct call *k)
{
    if (!k->team.p)
        k->team = STR(TEAM_DEFAULT);
    ctx_clear(&cx);
    return store_tx(&cx, store, run_call, k);
}

static struct token made(const struct token_new *in)
{
    struct call k = { .verb = CREATE, .in = in };
    assert_int_equal(call(&k), ERR_NONE);
    return k.out;
}

static struct token row_of(struct str id)
{
    struct call k = { .verb = ROW, .id = id };
    assert_int_equal(call(&k), ERR_NONE);
    return k.out;
}

static struct token got(struct str id)
{
    struct call k = { .verb = GET, .id = id };
    assert_int_equal(call(&k), ERR_NONE);
    return k.out;
}

static int64_t feed(void)
{
    struct call k = { .verb = FEED };
    assert_int_equal(call(&k), ERR_NONE);
    return k.feed;
}

static struct str json_of(const struct rec *r, const struct token *t)
{
    struct buf b;
    buf_init(&b, &cx.arena, 8192);
    rec_encode(&b, r, t);
    return buf_view(&b);
}

static struct str hash_of(struct str secret)
{
    unsigned char digest[SHA256_LEN];
    crypt_sha256(secret, digest);
    return hex_of(&cx.arena, digest, sizeof digest);
}

static bool contains(struct str text, const char *part)
{
    return strstr(str_cstr(&cx.arena, text), part) != NULL;
}

#define assert_str(s, literal) assert_string_equal(str_cstr(&cx.arena, (s)), (literal))

/* ---- create ---- */

static void test_a_secret_has_the_new_form_and_only_its_hash_is_stored(void **state)
{
    (void)state;
    struct token t = made(&(struct token_new){ .name = STR("CRM") });

    struct token row = row_of(t.id);

    assert_int_equal(t.token.n, TOKEN_SECRET_LEN);
    assert_true(str_starts(t.token, STR("stk_live_")));
    assert_true(token_secret_is_formed(t.token));
    assert_true(uuid_is_valid(t.id));
    assert_true(str_eq(row.token_hash, hash_of(t.token)));
    assert_true(str_eq(row.token_prefix, str_sub(t.token, 0, 13)));
    assert_true(str_eq(row.token_last4, str_sub(t.token, 42, 4)));
    assert_int_equal(
        strspn(t.token.p + 9, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"),
        30);
}

static void test_two_tokens_may_share_a_name_and_never_a_secret(void **state)
{
    (void)state;
    struct token a = made(&(struct token_new){ .name = STR("same") });
    struct token b = made(&(struct token_new){ .name = STR("same") });

    assert_false(str_eq(a.token, b.token));
    assert_false(str_eq(a.id, b.id));
}

static void test_defaults(void **state)
{
    (void)state;
    struct token t = made(&(struct token_new){ .name = STR("plain") });

    struct token g = got(t.id);

    assert_int_equal(g.rate_limit, TOKEN_RATE_DEFAULT);
    assert_int_equal(scopes_of_json(g.scopes), SCOPES_DEFAULT);
    assert_str(g.metadata, "{}");
    assert_str(g.status, "active");
    assert_int_equal(g.use_count, 0);
    assert_false(REC_HAS(&g, expires_ms));
    assert_null(g.allowed_ips.p);
}

static void test_the_secret_is_in_one_reply_only(void **state)
{
    (void)state;
    struct token t = made(&(struct token_new){ .name = STR("x") });
    const char *secret = str_cstr(&cx.arena, t.token);

    struct str first = json_of(&rec_token_secret, &t);
    struct str later = json_of(&rec_token, &t);
    struct token row = row_of(t.id);
    struct str stored = json_of(&rec_token_row, &row);

    assert_true(str_starts(
        first, str_printf(&cx.arena, "{\"id\":\"" STR_FMT "\",\"token\":\"%s\",\"name\":\"x\",",
                          STR_ARG(t.id), secret)));
    assert_true(contains(first, "\"last_used_at\":null"));
    assert_true(contains(first, "\"expires_at\":null"));
    assert_false(contains(later, secret));
    assert_false(contains(stored, str_cstr(&cx.arena, row.token_hash)));
}

static void test_every_field_is_kept(void **state)
{
    (void)state;
    struct token_new in = {
        .name = STR("full"),
        .description = STR("d"),
        .scopes = STR("[\"tickets:*\",\"reports:read\"]"),
        .allowed_endpoints = STR("[\"POST /v1/tickets\",\"/functions/v1/integration-tickets/*\"]"),
        .allowed_ips = STR("[\"127.0.0.0/8\",\"::1\"]"),
        .metadata = STR("{\"a\":1}"),
        .rate_limit = 77,
        .expires_ms = clock_ms() + DAY_MS,
    };
    REC_SET(&in, rate_limit);
    REC_SET(&in, expires_ms);

    struct token t = made(&in), g = got(t.id);

    assert_str(g.scopes, "[\"reports:read\",\"tickets:read\",\"tickets:write\",\"tickets:comment\","
                         "\"tickets:resolve\"]");
    assert_true(str_eq(g.allowed_endpoints, in.allowed_endpoints));
    assert_true(str_eq(g.allowed_ips, in.allowed_ips));
    assert_true(str_eq(g.metadata, in.metadata));
    assert_true(str_eq(g.description, in.description));
    assert_int_equal(g.rate_limit, 77);
    assert_int_equal(g.expires_ms, in.expires_ms);
    assert_true(str_eq(json_of(&rec_token, &g), json_of(&rec_token, &t)));
}

static void refused(const struct token_new *in, enum err_code code, const char *field)
{
    struct call k = { .verb = CREATE, .in = in };
    int64_t before = feed();
    assert_int_equal(call(&k), code);
    assert_int_equal(cx.n_fields, 1);
    assert_str(cx.fields[0].field, field);
    assert_int_equal(feed(), before);
}

static void test_bad_fields_are_named(void **state)
{
    static const struct {
        const char *field;
        struct token_new in;
    } rows[] = {
#define BAD(name_of_field, ...)                                                                    \
    {                                                                                              \
        name_of_field,                                                                             \
        {                                                                                          \
            .name = { "n", 1 }, __VA_ARGS__                                                        \
        }                                                                                          \
    }
#define T(literal)                                                                                 \
    {                                                                                              \
        literal, sizeof(literal) - 1                                                               \
    }
        BAD("scopes", .scopes = T("[]")),
        BAD("scopes", .scopes = T("[\"tickets:fly\"]")),
        BAD("scopes", .scopes = T("[1]")),
        BAD("scopes", .scopes = T("{}")),
        BAD("scopes", .scopes = T("nonsense")),
        BAD("allowed_ips", .allowed_ips = T("[]")),
        BAD("allowed_ips", .allowed_ips = T("[\"300.1.1.1\"]")),
        BAD("allowed_ips", .allowed_ips = T("[\"10.0.0.1/8\"]")),
        BAD("allowed_endpoints", .allowed_endpoints = T("[\"tickets\"]")),
        BAD("allowed_endpoints", .allowed_endpoints = T("[\"FLY /v1\"]")),
        BAD("allowed_endpoints", .allowed_endpoints = T("[\"/v1/*/x\"]")),
        BAD("allowed_endpoints", .allowed_endpoints = T("[\"GET  /v1\"]")),
        BAD("allowed_endpoints", .allowed_endpoints = T("[\"\"]")),
        BAD("metadata", .metadata = T("[1]")),
#undef T
#undef BAD
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        refused(&rows[i].in, ERR_INVALID_FIELD, rows[i].field);
}

static void test_bad_names_and_numbers_are_named(void **state)
{
    char *longest = ARENA_ARRAY(&cx.arena, char, TOKEN_NAME_MAX + 1);
    struct token_new rate = { .name = STR("n"), .rate_limit = 0 },
                     expiry = { .name = STR("n"), .expires_ms = clock_ms() };
    (void)state;
    REC_SET(&rate, rate_limit);
    REC_SET(&expiry, expires_ms);
    memset(longest, 'n', TOKEN_NAME_MAX + 1);

    refused(&(struct token_new){ .name = STR_NONE }, ERR_MISSING_FIELD, "name");
    refused(&(struct token_new){ .name = STR("  ") }, ERR_MISSING_FIELD, "name");
    refused(&(struct token_new){ .name = STR("a\nb") }, ERR_INVALID_FIELD, "name");
    refused(&(struct token_new){ .name = { longest, TOKEN_NAME_MAX + 1 } }, ERR_INVALID_FIELD,
            "name");
    refused(&rate, ERR_INVALID_FIELD, "rate_limit");
    rate.rate_limit = TOKEN_RATE_MAX + 1;
    refused(&rate, ERR_INVALID_FIELD, "rate_limit");
    refused(&expiry, ERR_INVALID_FIELD, "expires_at");
    made(&(struct token_new){ .name = { longest, TOKEN_NAME_MAX } });
}

/* ---- lifecycle ---- */

static void test_each_change_takes_the_next_rev(void **state)
{
    (void)state;
    int64_t rev = feed();
    struct token t = made(&(struct token_new){ .name = STR("x") });
    const enum verb verbs[] = { DISABLE, ENABLE, REGENERATE, DELETE };

    assert_int_equal(row_of(t.id).rev, rev + 1);
    for (int i = 0; i < 4; i++) {
        struct call k = { .verb = verbs[i], .id = t.id };
        assert_int_equal(call(&k), ERR_NONE);
        assert_int_equal(row_of(t.id).rev, rev + 2 + i);
        assert_int_equal(feed(), rev + 2 + i);
    }
}

static void test_an_active_token_past_its_expiry_shows_as_expired(void **state)
{
    struct token_new in = { .name = STR("x"), .expires_ms = clock_ms() + 10000 };
    struct call k = { .verb = LIST }, off = { .verb = DISABLE };
    (void)state;
    REC_SET(&in, expires_ms);
    struct token t = made(&in);
    assert_str(got(t.id).status, "active");

    clock_shift_ms(10000);

    assert_str(got(t.id).status, "expired");
    assert_int_equal(call(&k), ERR_NONE);
    assert_int_equal(k.list.n, 1);
    assert_str(((struct token *)k.list.v)->status, "expired");
    assert_str(row_of(t.id).status, "active");
    off.id = t.id;
    assert_int_equal(call(&off), ERR_NONE);
    assert_str(off.out.status, "disabled");
}

static void test_regenerate_replaces_the_secret_and_forgets_the_old_one(void **state)
{
    (void)state;
    struct token t = made(&(struct token_new){ .name = STR("x") });
    struct call k = { .verb = REGENERATE, .id = t.id };

    assert_int_equal(call(&k), ERR_NONE);
    struct token row = row_of(t.id);

    assert_true(str_eq(k.out.id, t.id));
    assert_false(str_eq(k.out.token, t.token));
    assert_true(str_eq(row.token_hash, hash_of(k.out.token)));
    assert_true(str_eq(k.out.token_prefix, str_sub(k.out.token, 0, 13)));
    assert_null(row.previous_hash.p);
    assert_false(REC_HAS(&row, previous_until_ms));
}

static void test_grace_keeps_the_old_secret_and_never_past_the_expiry(void **state)
{
    struct token_new in = { .name = STR("x"), .expires_ms = clock_ms() + 5000 };
    (void)state;
    REC_SET(&in, expires_ms);
    struct token bound = made(&in), open = made(&(struct token_new){ .name = STR("y") });
    struct call a = { .verb = REGENERATE, .id = bound.id, .grace_ms = DAY_MS };
    struct call b = { .verb = REGENERATE, .id = open.id, .grace_ms = DAY_MS };
    int64_t now = clock_ms();

    assert_int_equal(call(&a), ERR_NONE);
    assert_int_equal(call(&b), ERR_NONE);

    assert_true(str_eq(row_of(bound.id).previous_hash, hash_of(bound.token)));
    assert_int_equal(row_of(bound.id).previous_until_ms, in.expires_ms);
    assert_in_range(row_of(open.id).previous_until_ms, now + DAY_MS, clock_ms() + DAY_MS);
}

static void test_deleted_and_unknown_and_foreign_tokens_are_not_found(void **state)
{
    (void)state;
    struct token gone = made(&(struct token_new){ .name = STR("x") }),
                 there = made(&(struct token_new){ .name = STR("y") });
    struct call del = { .verb = DELETE, .id = gone.id }, list = { .verb = LIST };
    assert_int_equal(call(&del), ERR_NONE);
    const struct str ids[] = { gone.id, STR("nonsense"),
                               STR("01890000-0000-7000-8000-000000000000"), there.id };

    for (int i = 0; i < 4; i++)
        for (enum verb v = GET; v <= DELETE; v++) {
            struct call k = { .verb = v,
                              .id = ids[i],
                              .team = i == 3 ? STR("another team") : STR(TEAM_DEFAULT) };
            int64_t before = feed();
            if (v == LIST)
                continue;
            assert_int_equal(call(&k), ERR_NOT_FOUND);
            assert_int_equal(feed(), before);
        }
    assert_int_equal(call(&list), ERR_NONE);
    assert_int_equal(list.list.n, 1);
    assert_str(row_of(gone.id).status, "deleted");
}

int main(void)
{
    crypt_init();
    const struct CMUnitTest tests[] = {
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
        TEST(test_a_secret_has_the_new_form_and_only_its_hash_is_stored),
        TEST(test_two_tokens_may_share_a_name_and_never_a_secret),
        TEST(test_defaults),
        TEST(test_the_secret_is_in_one_reply_only),
        TEST(test_every_field_is_kept),
        TEST(test_bad_fields_are_named),
        TEST(test_bad_names_and_numbers_are_named),
        TEST(test_each_change_takes_the_next_rev),
        TEST(test_an_active_token_past_its_expiry_shows_as_expired),
        TEST(test_regenerate_replaces_the_secret_and_forgets_the_old_one),
        TEST(test_grace_keeps_the_old_secret_and_never_past_the_expiry),
        TEST(test_deleted_and_unknown_and_foreign_tokens_are_not_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
