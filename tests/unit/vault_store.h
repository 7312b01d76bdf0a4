/* What the tests of the vault share: a migrated store with a vault open on it, two more sealed
 * columns in tables of the tests' own, texts in and out. */
#ifndef TESSERA_TESTS_VAULT_STORE_H
#define TESSERA_TESTS_VAULT_STORE_H

#include "core/vault/vault_admin.h"
#include "core/vault/vault_columns.h"
#include "core_store.h"

#define MASTER_A STR("0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0")
#define MASTER_B STR("ff1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0")
#define OTHER_TEAM "00000000-0000-7000-8000-000000000002"

/* team_secret and team_note belong to teams; app_user and totp_pending to none, as in the program. */
static const struct vault_column test_columns[] = {
    { "app_user", "totp_secret", "id", NULL },
    { "totp_pending", "secret", "user_id", NULL },
    { "team_secret", "secret", "id", "team_id" },
    { "team_note", "body", "kind || '/' || id", "team_id" },
    { 0 },
};

static inline struct vault_place user_place(const char *id)
{
    return (struct vault_place){ "totp_pending", "secret", STR_NONE, str_of(id) };
}
static inline struct vault_place team_place(const char *team, const char *id)
{
    return (struct vault_place){ "team_secret", "secret", str_of(team), str_of(id) };
}
static inline struct vault_place note_place(const char *team, const char *kind_id)
{
    return (struct vault_place){ "team_note", "body", str_of(team), str_of(kind_id) };
}

static inline void vault_again(struct fix *f, struct str master, struct str previous)
{
    assert_int_equal(vault_start(&f->cx, f->s, master, previous), ERR_NONE);
}

static inline int vault_setup(void **state)
{
    crypt_init();
    core_setup(state);
    struct fix *f = *state;
    vault_columns_source(test_columns);
    assert_int_equal(exec(f, "CREATE TABLE team_secret (team_id TEXT NOT NULL, id TEXT NOT NULL, "
                             "secret TEXT, PRIMARY KEY (team_id, id))"),
                     ERR_NONE);
    assert_int_equal(exec(f, "CREATE TABLE team_note (team_id TEXT NOT NULL, kind TEXT NOT NULL, "
                             "id TEXT NOT NULL, body TEXT, PRIMARY KEY (team_id, kind, id))"),
                     ERR_NONE);
    vault_again(f, MASTER_A, STR_NONE);
    return 0;
}

static inline int vault_teardown(void **state)
{
    vault_stop();
    vault_columns_source(NULL);
    return store_teardown(state);
}

#define TV(name) cmocka_unit_test_setup_teardown(name, vault_setup, vault_teardown)

static inline struct str sealed(struct ctx *cx, struct db *db, struct vault_place at,
                                struct str plain)
{
    struct str text = STR_NONE;
    db_scope_system(db);
    assert_int_equal(vault_seal(cx, db, &at, plain, &text), ERR_NONE);
    return text;
}
static inline void opens(struct ctx *cx, struct db *db, struct vault_place at, struct str text,
                         struct str want)
{
    struct str plain;
    assert_int_equal(vault_open(cx, db, &at, text, &plain), ERR_NONE);
    assert_true(str_eq(plain, want));
}
static inline void refuses(struct ctx *cx, struct db *db, struct vault_place at, struct str text,
                           enum err_code code)
{
    struct str plain = STR("untouched");
    assert_int_equal(vault_open(cx, db, &at, text, &plain), code);
    assert_true(str_eq(plain, STR("untouched")));
    ctx_clear(cx);
}

#endif
