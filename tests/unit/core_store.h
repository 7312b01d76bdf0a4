/* What the tests of core on SQLite share: a migrated store in a folder of its own, callers, a test
 * that is one unit of work. */
#ifndef TESSERA_TESTS_CORE_STORE_H
#define TESSERA_TESTS_CORE_STORE_H

#include "core/ticket.h"
#include "sqlite_store.h"

#define TEAM "00000000-0000-7000-8000-000000000001"
#define TOKEN_A "01900000-0000-7000-8000-00000000000a"
#define TOKEN_B "01900000-0000-7000-8000-00000000000b"

#define KEY_CALLER(id, shown)                                                                      \
    {                                                                                              \
        .team_id = { TEAM, 36 }, .token_id = { id, 36 },                                           \
        .token_name = { shown, sizeof(shown) - 1 }, .scopes = SCOPES_DEFAULT                       \
    }
static const struct caller alice = KEY_CALLER(TOKEN_A, "alice");
static const struct caller bob = KEY_CALLER(TOKEN_B, "bob");

static inline int core_setup(void **state)
{
    int applied = 0;

    store_setup(state);
    struct fix *f = *state;
    assert_int_equal(store_migrate(&f->cx, f->s, &applied), ERR_NONE);
    assert_true(applied > 0);
    return 0;
}

/* static void NAME(void **state) runs the braces that follow as one unit of work with cx and db. */
#define UNIT_TEST(name)                                                                            \
    static void name##_body(struct ctx *cx, struct db *db);                                        \
    static enum err_code name##_unit(struct ctx *cx, struct db *db, void *arg)                     \
    {                                                                                              \
        (void)arg;                                                                                 \
        name##_body(cx, db);                                                                       \
        ctx_clear(cx);                                                                             \
        return ERR_NONE;                                                                           \
    }                                                                                              \
    static void name(void **state)                                                                 \
    {                                                                                              \
        struct fix *f = *state;                                                                    \
        f->is_in_unit = true;                                                                      \
        assert_int_equal(store_tx(&f->cx, f->s, name##_unit, NULL), ERR_NONE);                     \
        f->is_in_unit = false;                                                                     \
    }                                                                                              \
    static void name##_body(struct ctx *cx, struct db *db)

/* The call must fail with this code; the record is forgotten. */
#define assert_fails(call, code)                                                                   \
    do {                                                                                           \
        assert_int_equal((call), (code));                                                          \
        ctx_clear(cx);                                                                             \
    } while (0)
#define assert_ok(call) assert_int_equal((call), ERR_NONE)
#define assert_str(view, literal) assert_true(str_eq((view), STR(literal)))

#define TC(name) cmocka_unit_test_setup_teardown(name, core_setup, store_teardown)

static inline struct ticket ticket_made(struct ctx *cx, struct db *db, const struct caller *who,
                                        const char *title)
{
    struct ticket_new in = { .title = str_of(title) };
    struct ticket t = { .version = 0 };

    REC_SET(&in, title);
    caller_scope(db, who);
    assert_int_equal(ticket_create(cx, db, who, &in, &t), ERR_NONE);
    return t;
}

#endif
