/* Syncs as rows: which mappings may stand together, what a run and a change do to the versions, what
 * an integration takes with it, what is old. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include "base/clock.h"
#include "connect/integration.h"
#include "connect/sync_run.h"
#include "core_store.h"

#define AB "{\"local_field\":\"a\",\"remote_field\":\"b\",\"bidirectional\":true}"
#define AC "{\"local_field\":\"a\",\"remote_field\":\"c\",\"bidirectional\":true}"
#define CB "{\"local_field\":\"c\",\"remote_field\":\"b\",\"bidirectional\":true}"
#define CB_IN "{\"local_field\":\"c\",\"remote_field\":\"b\",\"bidirectional\":false}"

static struct integration joined(struct ctx *cx, struct db *db)
{
    struct integration_new in = { .kind = STR("github"), .name = STR("x") };
    struct integration i = { .version = 0 };
    caller_scope(db, &alice);
    assert_ok(integration_create(cx, db, &alice, STR(""), &in, &i));
    return i;
}

static enum err_code make(struct ctx *cx, struct db *db, struct str integration_id,
                          struct sync *out)
{
    struct sync_new in = { .integration_id = integration_id,
                           .name = STR("x"),
                           .direction = STR("pull") };
    return sync_create(cx, db, &alice, &in, out);
}

static struct sync made(struct ctx *cx, struct db *db)
{
    struct sync s = { .version = 0 };
    struct integration i = joined(cx, db);
    assert_ok(make(cx, db, i.id, &s));
    return s;
}

static struct sync_run ran(struct ctx *cx, struct db *db, const struct sync *s, const char *status)
{
    struct sync_run_new in = { .status = str_of(status) };
    struct sync_run r = { .created_ms = 0 };
    assert_ok(sync_run_add(cx, db, &alice, s->id, &in, &r));
    return r;
}

static enum err_code rename_at(struct ctx *cx, struct db *db, const struct sync *s, int64_t version,
                               struct sync *out)
{
    struct sync_new patch = { .name = STR("renamed") };
    struct versions allowed = { .n = 1, .v = { version } };
    REC_SET(&patch, name);
    return sync_update(cx, db, &alice, s->id, &patch, &allowed, out);
}

static int64_t count(struct ctx *cx, struct db *db, const char *sql)
{
    struct rec_num n;
    assert_ok(db_one(cx, db, &rec_num, sql, NO_ARGS, &n));
    return n.n;
}

/* ---- mappings ---- */

UNIT_TEST(test_stored_mappings_have_all_members)
{
    struct str out;
    (void)db;
    assert_ok(sync_mappings_check(cx, STR("pull"), STR("[" AB "]"), &out));
    assert_str(out, "[{\"local_field\":\"a\",\"remote_field\":\"b\",\"bidirectional\":true,"
                    "\"transformer\":null}]");
    assert_ok(sync_mappings_check(cx, STR("pull"), out, &out));
    assert_ok(sync_mappings_check(cx, STR("push"), STR("[]"), &out));
    assert_str(out, "[]");
}

UNIT_TEST(test_what_is_written_twice_follows_the_direction)
{
    static const struct {
        const char *direction, *mappings;
        bool is_fine;
    } cases[] = {
        { "pull", "[" AB "," CB "]", true },
        { "pull", "[" AB "," AC "]", false },
        { "push", "[" AB "," AC "]", true },
        { "push", "[" AB "," CB "]", false },
        { "push", "[" AB "," CB_IN "]", false },
        { "bidirectional", "[" AB "," AC "]", false },
        { "bidirectional", "[" AB "," CB "]", false },
        { "bidirectional", "[" AB "," CB_IN "]", true },
        { "pull", "[" AB "," AB "]", false },
    };
    (void)db;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct str out = STR_NONE;
        enum err_code e =
            sync_mappings_check(cx, str_of(cases[i].direction), str_of(cases[i].mappings), &out);
        assert_int_equal(e, cases[i].is_fine ? ERR_NONE : ERR_INVALID_FIELD);
        assert_int_equal(out.p != NULL, cases[i].is_fine);
        ctx_clear(cx);
    }
}

UNIT_TEST(test_mappings_that_are_too_large_together_are_refused)
{
    struct buf b;
    struct str out = STR_NONE;
    (void)db;
    buf_init(&b, &cx->arena, (size_t)1 << 20);
    for (int i = 0; i < 40; i++) {
        buf_printf(&b, "%c{\"local_field\":\"f%d\",\"remote_field\":\"x\",\"bidirectional\":true,",
                   i ? ',' : '[', i);
        buf_lit(&b, "\"transformer\":\"");
        for (int k = 0; k < 2000; k++)
            buf_char(&b, 'z');
        buf_lit(&b, "\"}");
    }
    buf_char(&b, ']');
    assert_fails(sync_mappings_check(cx, STR("pull"), buf_view(&b), &out), ERR_INVALID_FIELD);
    assert_null(out.p);
}

/* ---- versions ---- */

UNIT_TEST(test_runs_stand_in_the_way_of_no_change)
{
    struct sync s = made(cx, db), now;
    ran(cx, db, &s, "success");
    ran(cx, db, &s, "error");
    assert_ok(sync_get(cx, db, &alice, s.id, &now));
    assert_int_equal(now.version, 3);
    assert_int_equal(now.config_version, 1);
    assert_int_equal(now.updated_ms, s.updated_ms);
    assert_str(now.last_status, "error");

    assert_fails(rename_at(cx, db, &s, 0, &now), ERR_PRECONDITION_FAILED);
    assert_fails(rename_at(cx, db, &s, 4, &now), ERR_PRECONDITION_FAILED);
    assert_ok(rename_at(cx, db, &s, 2, &now));
    assert_int_equal(now.version, 4);
    assert_int_equal(now.config_version, 4);
    assert_str(now.last_status, "error");

    assert_fails(rename_at(cx, db, &s, 3, &now), ERR_PRECONDITION_FAILED);
    ran(cx, db, &s, "partial");
    assert_ok(rename_at(cx, db, &s, 4, &now));
    assert_int_equal(now.version, 6);
}

UNIT_TEST(test_a_sync_that_is_gone_takes_no_run_and_no_change)
{
    struct sync s = made(cx, db), now;
    struct sync_run r = ran(cx, db, &s, "success");
    struct sync_run_new in = { .status = STR("success") };
    const struct versions any = { .is_any = true };

    assert_ok(sync_delete(cx, db, &alice, s.id, &any));
    assert_fails(sync_delete(cx, db, &alice, s.id, &any), ERR_NOT_FOUND);
    assert_fails(rename_at(cx, db, &s, 1, &now), ERR_NOT_FOUND);
    assert_fails(sync_run_add(cx, db, &alice, s.id, &in, &r), ERR_NOT_FOUND);
    assert_fails(sync_run_get(cx, db, &alice, s.id, r.id, &r), ERR_NOT_FOUND);
    assert_int_equal(count(cx, db, "SELECT COUNT(*) AS n FROM sync_run"), 1);
}

/* ---- with the integration ---- */

UNIT_TEST(test_an_integration_takes_its_syncs_and_has_none_after)
{
    struct integration i = joined(cx, db);
    struct sync s, other = made(cx, db);
    const struct versions any = { .is_any = true };

    assert_ok(make(cx, db, i.id, &s));
    assert_ok(make(cx, db, i.id, &s));
    assert_ok(integration_delete(cx, db, &alice, i.id, &any));

    assert_fails(sync_get(cx, db, &alice, s.id, &s), ERR_NOT_FOUND);
    assert_fails(make(cx, db, i.id, &s), ERR_INVALID_FIELD);
    assert_ok(sync_get(cx, db, &alice, other.id, &other));
    assert_int_equal(count(cx, db,
                           "SELECT COUNT(*) AS n FROM audit_log WHERE action = "
                           "'sync.delete'"),
                     2);
}

UNIT_TEST(test_a_hundred_of_an_integration_are_all)
{
    struct integration i = joined(cx, db);
    struct sync s;
    for (int k = 0; k < SYNCS_OF_MAX; k++)
        assert_ok(make(cx, db, i.id, &s));
    assert_fails(make(cx, db, i.id, &s), ERR_CONFLICT);
    const struct versions any = { .is_any = true };
    assert_ok(sync_delete(cx, db, &alice, s.id, &any));
    assert_ok(make(cx, db, i.id, &s));
}

/* ---- how long ---- */

UNIT_TEST(test_a_purge_takes_the_oldest_and_no_more_than_it_may)
{
    struct sync s[3];
    int64_t gone = 0;
    const struct versions any = { .is_any = true };
    for (int i = 0; i < 3; i++) {
        s[i] = made(cx, db);
        assert_ok(sync_delete(cx, db, &alice, s[i].id, &any));
        assert_ok(db_run(cx, db, "UPDATE sync SET deleted_ms = $1 WHERE id = $2",
                         ARGS(VI(10 * (3 - i)), VT(s[i].id))));
    }
    made(cx, db);
    db_scope_system(db);
    assert_ok(sync_purge(cx, db, 30, 1, &gone));
    assert_int_equal(gone, 1);
    assert_int_equal(count(cx, db, "SELECT MIN(deleted_ms) AS n FROM sync"), 20);
    assert_ok(sync_purge(cx, db, 30, 9, &gone));
    assert_int_equal(gone, 1);
    assert_int_equal(count(cx, db, "SELECT COUNT(*) AS n FROM sync"), 2);
}

static enum err_code two_runs(struct ctx *cx, struct db *db, void *arg)
{
    (void)arg;
    struct sync s = made(cx, db);
    struct sync_run r = ran(cx, db, &s, "success");
    ran(cx, db, &s, "success");
    return db_run(cx, db, "UPDATE sync_run SET created_ms = $1 WHERE id = $2",
                  ARGS(VI(clock_ms() - DAY_MS - 1000), VT(r.id)));
}

static enum err_code one_run(struct ctx *cx, struct db *db, void *arg)
{
    (void)arg;
    assert_int_equal(count(cx, db, "SELECT COUNT(*) AS n FROM sync_run"), 1);
    assert_int_equal(count(cx, db, "SELECT COUNT(*) AS n FROM sync"), 1);
    return ERR_NONE;
}

static void test_a_sweep_takes_runs_of_that_age_alone(void **state)
{
    struct fix *f = *state;
    assert_ok(store_tx(&f->cx, f->s, two_runs, NULL));
    assert_ok(syncs_sweep(&f->cx, f->s, 1));
    assert_ok(store_tx(&f->cx, f->s, one_run, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TC(test_stored_mappings_have_all_members),
        TC(test_what_is_written_twice_follows_the_direction),
        TC(test_mappings_that_are_too_large_together_are_refused),
        TC(test_runs_stand_in_the_way_of_no_change),
        TC(test_a_sync_that_is_gone_takes_no_run_and_no_change),
        TC(test_an_integration_takes_its_syncs_and_has_none_after),
        TC(test_a_hundred_of_an_integration_are_all),
        TC(test_a_purge_takes_the_oldest_and_no_more_than_it_may),
        TC(test_a_sweep_takes_runs_of_that_age_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
