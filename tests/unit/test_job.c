/* Jobs as rows: moves, waits, what follows from an end, leases, what people do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <stdio.h>

#include "base/crypt.h"
#include "job_kinds.h"

/* ---- pure ---- */

static void test_only_the_moves_of_the_table_are_allowed(void **state)
{
    static const char *const allowed[] = { "ready running", "ready cancelled", "running done",
                                           "running ready", "running dead",    "running cancelled",
                                           "dead ready",    "cancelled ready" };
    int n = 0;
    (void)state;
    for (int from = 0; from < JOB_STATES; from++)
        for (int to = 0; to < JOB_STATES; to++) {
            char both[40];
            bool want = false;
            snprintf(both, sizeof both, "%s %s", job_states[from], job_states[to]);
            for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++)
                want |= str_eq(str_of(both), str_of(allowed[i]));
            assert_int_equal(job_may_move((enum job_state)from, (enum job_state)to), want);
            n += want;
        }
    assert_int_equal(n, 8);
    for (int s = 0; s < JOB_STATES; s++)
        assert_int_equal(job_state_of(str_of(job_states[s])), s);
    assert_int_equal(job_state_of(STR("asleep")), JOB_STATES);
}

static void test_the_waits_grow_and_the_last_repeats(void **state)
{
    static const int64_t want[] = { 1000, 5000, 60000, 60000, 60000 };
    (void)state;
    for (int64_t i = 0; i < 5; i++)
        assert_int_equal(job_wait_ms(&plain, i + 1, 0), want[i]);
}

static void test_jitter_stays_within_its_percent_and_varies(void **state)
{
    struct job_kind k = plain;
    int64_t least = INT64_MAX, most = 0;
    (void)state;
    k.jitter = 20;
    for (int i = 0; i < 2000; i++) {
        int64_t w = job_wait_ms(&k, 2, 0);
        assert_in_range(w, 4000, 6000);
        least = w < least ? w : least;
        most = w > most ? w : most;
    }
    assert_true(least < 4100 && most > 5900);
}

static void test_retry_after_beats_the_schedule_and_is_bounded(void **state)
{
    (void)state;
    assert_int_equal(job_wait_ms(&plain, 1, 90000), 90000);
    assert_int_equal(job_wait_ms(&plain, 3, 7), 7);
    assert_int_equal(job_wait_ms(&plain, 1, INT64_MAX), JOB_RETRY_AFTER_MAX_MS);
}

static void test_what_follows_from_an_end(void **state)
{
    struct job job = { .attempt = 1, .attempts = 3, .state = STR("running") };
    struct job_end end = end_of(&job, &plain, ERR_UNAVAILABLE);
    int64_t now = end.now_ms;
    (void)state;

    struct job_move m = job_verdict(&end);
    assert_int_equal(m.to, JOB_READY);
    assert_int_equal(m.due_ms, now + 1000);
    assert_int_equal(m.attempt, 1);
    assert_str(m.error, "because");

    end.is_drained = true;
    m = job_verdict(&end);
    assert_int_equal(m.to, JOB_READY);
    assert_int_equal(m.attempt, 0); /* a stop costs no attempt */
    assert_int_equal(m.due_ms, now);

    end.is_cancelled = true;
    assert_int_equal(job_verdict(&end).to, JOB_CANCELLED);

    end = end_of(&job, &plain, ERR_NONE);
    end.is_cancelled = end.is_drained = true;
    assert_int_equal(job_verdict(&end).to, JOB_DONE); /* it was faster */

    end = end_of(&job, &plain, ERR_NOT_FOUND);
    assert_int_equal(job_verdict(&end).to, JOB_DEAD); /* can never go well */

    job.attempt = 3;
    end = end_of(&job, &plain, ERR_UNAVAILABLE);
    end.retry_after_ms = 5;
    m = job_verdict(&end);
    assert_int_equal(m.to, JOB_DEAD);
    assert_str(m.error, "because");
}

static void test_a_long_reason_is_cut_at_a_character(void **state)
{
    (void)state;
    assert_str(job_cut(STR("aé"), 3), "aé");
    assert_str(job_cut(STR("aé"), 2), "a");
    assert_str(job_cut(STR("éé"), 3), "é");
    assert_null(job_cut(STR_NONE, 3).p);
}

/* ---- adding ---- */

UNIT_TEST(test_a_second_ready_job_of_a_single_kind_and_key_is_not_added)
{
    struct str first = add(cx, db, "t1", &single, "a");

    assert_true(str_eq(add(cx, db, "t1", &single, "a"), first));
    assert_false(str_eq(add(cx, db, "t1", &single, "b"), first));
    assert_false(str_eq(add(cx, db, "t2", &single, "a"), first));
    assert_false(str_eq(add(cx, db, "t1", &plain, "a"), add(cx, db, "t1", &plain, "a")));
    assert_int_equal(ask(cx, db, "SELECT COUNT(*) AS n FROM job"), 5);

    assert_int_equal(claim_at(cx, db, 1, STR_NONE, clock_ms()), 1);
    assert_false(str_eq(add(cx, db, "t1", &single, "a"), first)); /* the first one runs */
}

UNIT_TEST(test_a_failed_job_whose_successor_waits_does_not_come_back)
{
    struct job job;
    add(cx, db, "t1", &single, "a");
    assert_int_equal(claim(cx, db, 1), 1);
    job = *claimed;
    add(cx, db, "t1", &single, "a");

    struct job_end end = end_of(&job, &single, ERR_UNAVAILABLE);
    assert_ok(job_finish(cx, db, &end));

    assert_int_equal(ask(cx, db, "SELECT COUNT(*) AS n FROM job WHERE state = 'ready'"), 1);
    assert_int_equal(ask(cx, db, "SELECT COUNT(*) AS n FROM job WHERE state = 'cancelled'"), 1);
}

UNIT_TEST(test_a_delayed_job_is_taken_when_it_is_due)
{
    int64_t now = clock_ms();
    db_scope_system(db);
    assert_ok(
        job_add(cx, db, STR("t1"), &(struct job_new){ .kind = &plain, .delay_ms = 30000 }, NULL));

    assert_int_equal(claim_at(cx, db, 1, STR_NONE, now + 29000), 0);
    assert_int_equal(claim_at(cx, db, 1, STR_NONE, now + 31000), 1);
}

/* ---- leases ---- */

UNIT_TEST(test_a_late_worker_cannot_overwrite)
{
    add(cx, db, "t1", &plain, "");
    assert_int_equal(claim(cx, db, 1), 1);
    struct job late = *claimed;
    struct job_tidy t = { &uses, clock_ms() + 61000 };
    assert_ok(job_tidy(cx, db, &t)); /* its lease is over */
    assert_int_equal(claim_at(cx, db, 1, STR_NONE, t.now_ms + 5), 1);
    struct job now = *claimed;
    assert_true(str_eq(now.id, late.id));
    assert_int_equal(now.attempt, 2);

    struct job_end end = end_of(&late, &plain, ERR_NONE);
    assert_int_equal(job_finish(cx, db, &end), ERR_NOT_FOUND);
    struct job_keep keep = { .job = &late, .lease_ms = t.now_ms + 60000 };
    assert_int_equal(job_keep(cx, db, &keep), ERR_NOT_FOUND);

    end = end_of(&now, &plain, ERR_NONE);
    assert_ok(job_finish(cx, db, &end));
    assert_int_equal(ask(cx, db, "SELECT progress AS n FROM job WHERE state = 'done'"), 100);
}

UNIT_TEST(test_a_renewed_lease_holds_and_progress_is_kept)
{
    int64_t now = clock_ms();
    add(cx, db, "t1", &plain, "");
    assert_int_equal(claim(cx, db, 1), 1);
    struct job_keep keep = {
        .job = claimed, .lease_ms = now + 200000, .progress = 40, .note = STR("half way")
    };
    assert_ok(job_keep(cx, db, &keep));

    assert_ok(job_tidy(cx, db, &(struct job_tidy){ &uses, now + 100000 }));

    assert_int_equal(ask(cx, db,
                         "SELECT COUNT(*) AS n FROM job WHERE state = 'running' AND "
                         "progress = 40 AND note = 'half way'"),
                     1);
}

UNIT_TEST(test_a_job_that_takes_its_nodes_down_dies_in_the_end)
{
    int64_t now = clock_ms();
    add(cx, db, "t1", &plain, "");
    for (int i = 0; i < 3; i++) {
        now += 100;
        assert_int_equal(claim_at(cx, db, 1, STR_NONE, now), 1);
        now += 61000;
        assert_ok(job_tidy(cx, db, &(struct job_tidy){ &uses, now }));
    }
    assert_int_equal(ask(cx, db,
                         "SELECT COUNT(*) AS n FROM job WHERE state = 'dead' AND "
                         "error LIKE '%not heard of%' AND attempt = 3"),
                     1);
}

/* ---- people ---- */

UNIT_TEST(test_a_ready_job_is_cancelled_and_can_be_tried_again)
{
    const struct caller who = { .team_id = STR(TEAM) };
    struct str id = add(cx, db, TEAM, &plain, "");
    struct job job;

    assert_ok(job_cancel(cx, db, &who, id, &job));
    assert_str(job.state, "cancelled");
    assert_true(REC_HAS(&job, finished_ms));
    assert_int_equal(claim(cx, db, 1), 0);
    assert_fails(job_cancel(cx, db, &who, id, &job), ERR_CONFLICT);
    assert_ok(job_retry(cx, db, &who, id, &job));
    assert_str(job.state, "ready");
    assert_false(REC_HAS(&job, finished_ms));
    assert_fails(job_retry(cx, db, &who, id, &job), ERR_CONFLICT);
    assert_int_equal(claim(cx, db, 1), 1);
}

UNIT_TEST(test_a_running_job_is_asked_to_stop)
{
    const struct caller who = { .team_id = STR(TEAM) };
    struct str id = add(cx, db, TEAM, &plain, "");
    struct job_look look = { .now_ms = clock_ms() };
    struct job job;
    assert_int_equal(claim(cx, db, 1), 1);

    assert_ok(job_cancel(cx, db, &who, id, &job));

    assert_str(job.state, "running");
    assert_true(job.is_cancelled);
    assert_ok(job_look(cx, db, &look));
    assert_int_equal(look.cancelled.n, 1);
    struct job_end end = end_of(claimed, &plain, ERR_UNAVAILABLE);
    end.is_cancelled = true;
    assert_ok(job_finish(cx, db, &end));
    assert_ok(job_get(cx, db, &who, id, &job));
    assert_str(job.state, "cancelled");
    assert_false(job.is_cancelled);
}

UNIT_TEST(test_a_dead_job_tries_again_with_all_its_attempts)
{
    const struct caller who = { .team_id = STR(TEAM) };
    struct str id = add(cx, db, TEAM, &plain, "");
    struct job job;
    assert_int_equal(claim(cx, db, 1), 1);
    struct job_end end = end_of(claimed, &plain, ERR_NOT_FOUND);
    assert_ok(job_finish(cx, db, &end));
    assert_ok(job_get(cx, db, &who, id, &job));
    assert_str(job.state, "dead");
    assert_str(job.error, "because");

    assert_ok(job_retry(cx, db, &who, id, &job));
    assert_int_equal(job.attempt, 0);
    assert_str(job.error, "because");
    assert_int_equal(claim(cx, db, 1), 1);
}

UNIT_TEST(test_a_caller_sees_its_own_jobs_and_who_manages_them_all)
{
    struct caller owner = alice;
    struct job_query all = { .limit = 10 };
    struct page page;
    struct str id;
    struct job job;
    owner.scopes = SCOPE(ADMIN_FULL);
    caller_scope(db, &alice);
    assert_ok(job_add(cx, db, STR(TEAM), &(struct job_new){ .kind = &plain, .who = &alice }, &id));
    assert_ok(job_add(cx, db, STR(TEAM), &(struct job_new){ .kind = &plain, .who = &bob }, NULL));
    const struct cursor_key key = { .b = { 0 } };

    assert_ok(job_list(cx, db, &alice, &all, key, &page));
    assert_int_equal(page.rows.n, 1);
    assert_ok(job_list(cx, db, &owner, &all, key, &page));
    assert_int_equal(page.rows.n, 2);
    assert_fails(job_get(cx, db, &bob, id, &job), ERR_NOT_FOUND);
    assert_ok(job_get(cx, db, &owner, id, &job));
}

static void test_old_jobs_go_and_dead_ones_stay_longer(void **state)
{
    struct fix *f = *state;
    int64_t day = DAY_MS, now = clock_ms();
    static const struct {
        const char *team, *state;
        int64_t days;
        bool stays;
    } rows[] = {
        { "t1", "done", 6, true }, { "t1", "done", 8, false },   { "t1", "cancelled", 8, false },
        { "t1", "dead", 8, true }, { "t1", "dead", 91, false },  { "", "done", 2, false },
        { "", "dead", 2, true },   { "t1", "ready", 400, true },
    };
    int stay = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bool is_over = !str_eq(str_of(rows[i].state), STR("ready"));
        struct str sql = str_printf(
            &f->cx.arena,
            "INSERT INTO job (team_id, id, kind, key, lane, is_single, state, priority, attempt, "
            "attempts, due_ms, is_cancelled, progress, created_ms, finished_ms) VALUES ('%s', "
            "'%zu', 'x', '', '', 0, '%s', 0, 0, 1, 0, 0, 0, 0, %s%lld)",
            rows[i].team, i, rows[i].state, is_over ? "" : "NULL --",
            (long long)(now - rows[i].days * day));
        sql = is_over ? sql : str_printf(&f->cx.arena, STR_FMT "\n)", STR_ARG(sql));
        assert_int_equal(exec(f, str_cstr(&f->cx.arena, sql)), ERR_NONE);
        stay += rows[i].stays;
    }

    assert_int_equal(job_sweep(&f->cx, f->s, 7, 90), ERR_NONE);

    assert_int_equal(number(f, "SELECT COUNT(*) AS n FROM job"), stay);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct str sql =
            str_printf(&f->cx.arena, "SELECT COUNT(*) AS n FROM job WHERE id = '%zu'", i);
        assert_int_equal(number(f, str_cstr(&f->cx.arena, sql)), rows[i].stays);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_the_moves_of_the_table_are_allowed),
        cmocka_unit_test(test_the_waits_grow_and_the_last_repeats),
        cmocka_unit_test(test_jitter_stays_within_its_percent_and_varies),
        cmocka_unit_test(test_retry_after_beats_the_schedule_and_is_bounded),
        cmocka_unit_test(test_what_follows_from_an_end),
        cmocka_unit_test(test_a_long_reason_is_cut_at_a_character),
        TC(test_a_second_ready_job_of_a_single_kind_and_key_is_not_added),
        TC(test_a_failed_job_whose_successor_waits_does_not_come_back),
        TC(test_a_delayed_job_is_taken_when_it_is_due),
        TC(test_a_late_worker_cannot_overwrite),
        TC(test_a_renewed_lease_holds_and_progress_is_kept),
        TC(test_a_job_that_takes_its_nodes_down_dies_in_the_end),
        TC(test_a_ready_job_is_cancelled_and_can_be_tried_again),
        TC(test_a_running_job_is_asked_to_stop),
        TC(test_a_dead_job_tries_again_with_all_its_attempts),
        TC(test_a_caller_sees_its_own_jobs_and_who_manages_them_all),
        TC(test_old_jobs_go_and_dead_ones_stay_longer),
    };
    crypt_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
