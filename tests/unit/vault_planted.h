/* Secrets planted in three tables for the tests of rotation, and whether they all open. */
#ifndef TESSERA_TESTS_VAULT_PLANTED_H
#define TESSERA_TESTS_VAULT_PLANTED_H

#include <stdio.h>

#include "core/vault/vault_key.h"
#include "vault_store.h"

#define SECRETS 7
#define STEPS_MAX 400
#define V1_TEXT "v1.c8141b36.BwcHBwcHBwcHBwcHSOpYtMVJ9I78_15EZa_LsQEiJBHVtZQacqsV862Qhw"

/* ---- secrets in two tables of the team and one of nobody ---- */

static inline struct str plain_of(struct ctx *cx, const char *what, int i)
{
    return str_printf(&cx->arena, "%s secret %d", what, i);
}

static inline void plant_one(struct ctx *cx, struct db *db, int i)
{
    char id[16], kind_id[32];
    snprintf(id, sizeof id, "r%d", i);
    snprintf(kind_id, sizeof kind_id, "k/%s", id);
    struct str a = sealed(cx, db, team_place(TEAM, id), plain_of(cx, "team", i));
    struct str b = sealed(cx, db, note_place(TEAM, kind_id), plain_of(cx, "note", i));
    struct str c = sealed(cx, db, user_place(id), plain_of(cx, "user", i));
    assert_ok(db_run(cx, db, "INSERT INTO team_secret (team_id, id, secret) VALUES ($1, $2, $3)",
                     ARGS(VT(STR(TEAM)), VT(str_of(id)), VT(a))));
    assert_ok(db_run(cx, db,
                     "INSERT INTO team_note (team_id, kind, id, body) VALUES ($1, 'k', $2, $3)",
                     ARGS(VT(STR(TEAM)), VT(str_of(id)), VT(b))));
    assert_ok(db_run(cx, db,
                     "INSERT INTO totp_pending (user_id, secret, created_ms) VALUES ($1, $2, 1)",
                     ARGS(VT(str_of(id)), VT(c))));
}

static inline enum err_code plant_unit(struct ctx *cx, struct db *db, void *arg)
{
    (void)arg;
    for (int i = 0; i < SECRETS; i++)
        plant_one(cx, db, i);
    struct str other = sealed(cx, db, team_place(OTHER_TEAM, "r0"), STR("of the other team"));
    return db_run(cx, db, "INSERT INTO team_secret (team_id, id, secret) VALUES ($1, 'r0', $2)",
                  ARGS(VT(STR(OTHER_TEAM)), VT(other)));
}

static inline struct str text_of(struct ctx *cx, struct db *db, const char *sql, const char *id)
{
    struct rec_text t;
    assert_ok(db_one(cx, db, &rec_text, sql, ARGS(VT(str_of(id))), &t));
    return t.s;
}

static inline enum err_code all_open_unit(struct ctx *cx, struct db *db, void *arg)
{
    (void)arg;
    db_scope_system(db);
    for (int i = 0; i < SECRETS; i++) {
        char id[16], kind_id[32];
        snprintf(id, sizeof id, "r%d", i);
        snprintf(kind_id, sizeof kind_id, "k/%s", id);
        opens(cx, db, team_place(TEAM, id),
              text_of(cx, db,
                      "SELECT secret AS s FROM team_secret WHERE team_id = '" TEAM "' AND id = $1",
                      id),
              plain_of(cx, "team", i));
        opens(cx, db, note_place(TEAM, kind_id),
              text_of(cx, db, "SELECT body AS s FROM team_note WHERE id = $1", id),
              plain_of(cx, "note", i));
        opens(cx, db, user_place(id),
              text_of(cx, db, "SELECT secret AS s FROM totp_pending WHERE user_id = $1", id),
              plain_of(cx, "user", i));
    }
    opens(cx, db, team_place(OTHER_TEAM, "r0"),
          text_of(cx, db, "SELECT secret AS s FROM team_secret WHERE team_id = $1", OTHER_TEAM),
          STR("of the other team"));
    return ERR_NONE;
}

/* With nothing in memory: every key comes from its row. */
static inline void all_open(struct fix *f)
{
    vault_cache_clear();
    assert_int_equal(store_read(&f->cx, f->s, all_open_unit, NULL), ERR_NONE);
}

static inline int planted(void **state)
{
    vault_setup(state);
    struct fix *f = *state;
    assert_int_equal(store_tx(&f->cx, f->s, plant_unit, NULL), ERR_NONE);
    return 0;
}
#define TP(name) cmocka_unit_test_setup_teardown(name, planted, vault_teardown)

static inline enum err_code rotate(struct fix *f, const char *team, struct vault_rotated *out)
{
    struct vault_ask ask = { .team_id = str_of(team), .batch = 2 };
    enum err_code e = vault_rotate(&f->cx, f->s, &ask, out);
    ctx_clear(&f->cx);
    return e;
}

static inline void add_old(struct fix *f)
{
    exec(f, "INSERT INTO app_user (id, email, name, status, totp_secret, created_ms, updated_ms) "
            "VALUES ('row-1', 'a@x.org', 'A', 'active', '" V1_TEXT "', 1, 1)");
}

#endif
