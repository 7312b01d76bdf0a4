/* What the tests of jobs share: kinds, and one-line adds, claims and questions. */
#ifndef TESSERA_TESTS_JOB_KINDS_H
#define TESSERA_TESTS_JOB_KINDS_H

#include "base/clock.h"
#include "core/job/job_inner.h"
#include "core_store.h"

static inline enum err_code never_run(struct ctx *cx, struct job_run *r)
{
    (void)cx;
    (void)r;
    return ERR_NONE;
}

static const int64_t waits[] = { 1000, 5000, 60000, 0 };
#define KIND .run = never_run, .timeout_ms = 1000, .attempts = 3, .backoff_ms = waits, .doc = "x"
static const struct job_kind plain = { .name = "test.plain", KIND, .priority = 5 };
static const struct job_kind urgent = { .name = "test.urgent", KIND, .priority = 1 };
static const struct job_kind single = { .name = "test.single", KIND, .is_single = true };
static const struct job_kind keyed = { .name = "test.keyed", KIND, .per_key = 1 };
static const struct job_kind few = { .name = "test.few", KIND, .concurrency = 2 };
static const struct job_kind hourly = {
    .name = "test.hourly", KIND, .is_single = true, .period_ms = HOUR_MS
};
static const struct job_use use_rows[] = { { &plain, NULL }, { &urgent, NULL }, { &single, NULL },
                                           { &keyed, NULL }, { &few, NULL },    { &hourly, NULL } };
static const struct job_uses uses = { use_rows, sizeof use_rows / sizeof *use_rows };

static const struct job *claimed; /* by the last claim */

static inline int claim_at(struct ctx *cx, struct db *db, int want, struct str from, int64_t now)
{
    struct job_claim c = { .uses = &uses,
                           .now_ms = now,
                           .lease_ms = 60000,
                           .node = STR("n1"),
                           .want = want,
                           .from_team = from,
                           .team_max = 64 };
    assert_ok(job_claim(cx, db, &c));
    claimed = c.jobs;
    return c.n;
}

static inline int claim(struct ctx *cx, struct db *db, int want)
{
    return claim_at(cx, db, want, STR_NONE, clock_ms());
}

static inline struct str add(struct ctx *cx, struct db *db, const char *team,
                             const struct job_kind *k, const char *key)
{
    struct str id = STR_NONE;
    db_scope_system(db);
    assert_ok(
        job_add(cx, db, str_of(team), &(struct job_new){ .kind = k, .key = str_of(key) }, &id));
    return id;
}

static inline int64_t ask(struct ctx *cx, struct db *db, const char *sql)
{
    struct rec_num n;
    assert_ok(db_one(cx, db, &rec_num, sql, NO_ARGS, &n));
    return n.n;
}

static inline struct job_end end_of(const struct job *job, const struct job_kind *k,
                                    enum err_code e)
{
    return (struct job_end){
        .job = job, .kind = k, .err = e, .why = STR("because"), .now_ms = clock_ms()
    };
}

#endif
