/* Who is next: turns of teams, priorities, limits, pauses, periods, the round of lanes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include "base/crypt.h"
#include "job_kinds.h"

/* ---- who is next ---- */

UNIT_TEST(test_claims_go_round_the_teams)
{
    for (int i = 0; i < 50; i++)
        add(cx, db, "t1", &plain, "");
    add(cx, db, "t2", &plain, "");
    add(cx, db, "t3", &plain, "");

    assert_int_equal(claim(cx, db, 4), 4);

    assert_str(claimed[0].team_id, "t1");
    assert_str(claimed[1].team_id, "t2");
    assert_str(claimed[2].team_id, "t3");
    assert_str(claimed[3].team_id, "t1");
    assert_int_equal(claim_at(cx, db, 1, STR("t1"), clock_ms()), 1); /* only t1 is left */
    assert_str(claimed[0].team_id, "t1");
}

UNIT_TEST(test_a_round_goes_on_behind_the_team_that_was_served_last)
{
    add(cx, db, "t1", &plain, "");
    add(cx, db, "t2", &plain, "");

    assert_int_equal(claim_at(cx, db, 1, STR("t1"), clock_ms()), 1);
    assert_str(claimed[0].team_id, "t2");
}

UNIT_TEST(test_a_team_with_its_share_of_the_places_waits)
{
    const struct str running[] = { STR("t1"), STR("t1") };
    struct job_claim c = { .uses = &uses,
                           .lease_ms = 1000,
                           .node = STR("n1"),
                           .want = 4,
                           .running = running,
                           .n_running = 2,
                           .team_max = 3 };
    for (int i = 0; i < 5; i++)
        add(cx, db, "t1", &plain, "");
    add(cx, db, "t2", &plain, "");
    c.now_ms = clock_ms(); /* not before they are due */

    assert_ok(job_claim(cx, db, &c));

    assert_int_equal(c.n, 2);
    assert_str(c.jobs[0].team_id, "t1");
    assert_str(c.jobs[1].team_id, "t2");
}

UNIT_TEST(test_within_a_team_the_priority_decides_then_who_waited_longest)
{
    assert_ok(job_kinds_open(cx, db, &uses));
    add(cx, db, "t1", &plain, "");
    add(cx, db, "t1", &few, "");
    add(cx, db, "t1", &urgent, "");

    assert_int_equal(claim(cx, db, 3), 3);
    assert_str(claimed[0].kind, "test.few"); /* priority 0 */
    assert_str(claimed[1].kind, "test.urgent");
    assert_str(claimed[2].kind, "test.plain");
}

UNIT_TEST(test_lanes_of_one_priority_take_turns)
{
    struct str before = STR_NONE;
    assert_ok(job_kinds_open(cx, db, &uses));
    for (int i = 0; i < 3; i++) {
        add(cx, db, "t1", &single, i ? "a" : "b");
        add(cx, db, "t1", &few, "");
    }
    int64_t now = clock_ms(); /* not before they are due */
    for (int i = 0; i < 4; i++) {
        assert_int_equal(claim_at(cx, db, 1, STR_NONE, now + 10 * i), 1);
        assert_false(str_eq(claimed[0].kind, before));
        before = str_dup(&cx->arena, claimed[0].kind);
    }
}

UNIT_TEST(test_one_job_of_a_key_runs_at_a_time_and_the_end_wakes_the_next)
{
    add(cx, db, "t1", &keyed, "a");
    add(cx, db, "t1", &keyed, "a");
    add(cx, db, "t1", &keyed, "b");

    assert_int_equal(claim(cx, db, 8), 2);
    struct job a = str_eq(claimed[0].key, STR("a")) ? claimed[0] : claimed[1];
    assert_int_equal(claim(cx, db, 8), 0);

    struct job_end end = end_of(&a, &keyed, ERR_NONE);
    assert_ok(job_finish(cx, db, &end));
    assert_int_equal(claim(cx, db, 8), 1);
    assert_str(claimed[0].key, "a");
}

UNIT_TEST(test_a_full_kind_does_not_hold_up_the_others)
{
    for (int i = 0; i < 4; i++)
        add(cx, db, "t1", &few, "");
    add(cx, db, "t1", &plain, "");
    add(cx, db, "t2", &few, "");
    assert_ok(job_kinds_open(cx, db, &uses));

    assert_int_equal(claim(cx, db, 8), 3);

    assert_int_equal(ask(cx, db,
                         "SELECT COUNT(*) AS n FROM job WHERE state = 'running' AND "
                         "kind = 'test.few'"),
                     2);
}

UNIT_TEST(test_teams_take_turns_for_the_one_place_of_a_kind)
{
    const struct job_kind one_place = { .name = "test.few", KIND, .concurrency = 1 };
    const struct job_use use = { &one_place, NULL };
    const struct job_uses narrow = { &use, 1 };
    struct str from = STR_NONE;
    assert_ok(job_kinds_open(cx, db, &narrow));
    for (int i = 0; i < 20; i++)
        add(cx, db, "t1", &one_place, "");
    add(cx, db, "t2", &one_place, "");
    for (int i = 0; i < 2; i++) {
        struct job_claim c = { .uses = &narrow,
                               .now_ms = clock_ms(),
                               .lease_ms = 60000,
                               .node = STR("n1"),
                               .want = 4,
                               .from_team = from,
                               .team_max = 64 };
        assert_ok(job_claim(cx, db, &c));
        assert_int_equal(c.n, 1);
        struct job got = c.jobs[0];
        assert_true(str_eq(got.team_id, i ? STR("t2") : STR("t1")));
        from = c.from_team = c.last_team;
        assert_ok(job_claim(cx, db, &c)); /* the place is taken: the round stays where it is */
        assert_int_equal(c.n, 0);
        assert_true(str_eq(c.last_team, from));
        struct job_end end = end_of(&got, &one_place, ERR_NONE);
        assert_ok(job_finish(cx, db, &end));
    }
}

UNIT_TEST(test_a_paused_kind_waits_for_its_team_or_for_all)
{
    const struct caller one = { .team_id = STR(TEAM) }, all = { .team_id = STR("") };
    struct job_kind_row row;
    assert_ok(job_kinds_open(cx, db, &uses));
    add(cx, db, TEAM, &plain, "");
    add(cx, db, "t2", &plain, "");

    assert_ok(job_kind_pause(cx, db, &one, &plain, true, &row));
    assert_true(row.is_paused && !row.is_paused_everywhere);
    assert_int_equal(claim(cx, db, 8), 1);
    assert_str(claimed[0].team_id, "t2");
    assert_ok(job_kind_pause(cx, db, &one, &plain, false, &row));
    assert_ok(job_kind_pause(cx, db, &all, &plain, true, &row));
    assert_true(row.is_paused_everywhere);
    assert_int_equal(claim(cx, db, 8), 0);
    assert_ok(job_kind_pause(cx, db, &all, &plain, false, &row));
    assert_int_equal(claim(cx, db, 8), 1);
}

UNIT_TEST(test_kinds_that_this_program_does_not_know_are_left_alone)
{
    const struct job_kind other = { .name = "test.other", KIND };
    add(cx, db, "t1", &other, "");

    assert_int_equal(claim(cx, db, 8), 0);
    assert_int_equal(ask(cx, db, "SELECT COUNT(*) AS n FROM job WHERE state = 'ready'"), 1);
}

/* ---- periods ---- */

UNIT_TEST(test_a_periodic_kind_gets_one_job_a_period_whoever_asks)
{
    int64_t hour = clock_ms() / HOUR_MS * HOUR_MS;
    assert_ok(job_kinds_open(cx, db, &uses));
    db_scope_system(db);
    assert_ok(job_kinds_due(cx, db, &uses, hour + 1000));
    assert_ok(job_kinds_due(cx, db, &uses, hour + 1000));
    assert_int_equal(ask(cx, db, "SELECT COUNT(*) AS n FROM job WHERE kind = 'test.hourly'"), 1);
    assert_int_equal(claim(cx, db, 1), 1);

    assert_ok(job_kinds_due(cx, db, &uses, hour + 2000));
    assert_int_equal(ask(cx, db, "SELECT COUNT(*) AS n FROM job WHERE kind = 'test.hourly'"), 1);
    assert_ok(job_kinds_due(cx, db, &uses, hour + 5 * HOUR_MS)); /* missed ones: once */
    assert_ok(job_kinds_due(cx, db, &uses, hour + 5 * HOUR_MS));
    assert_int_equal(ask(cx, db, "SELECT COUNT(*) AS n FROM job WHERE kind = 'test.hourly'"), 2);
}

/* ---- lanes ---- */

UNIT_TEST(test_an_empty_lane_leaves_the_round_in_steps_and_comes_back)
{
    int64_t now = clock_ms();
    add(cx, db, "t1", &plain, "");
    assert_int_equal(claim(cx, db, 1), 1);
    static const char active[] = "SELECT COUNT(*) AS n FROM job_lane WHERE wake_ms = 0";
    static const char lanes[] = "SELECT COUNT(*) AS n FROM job_lane";

    assert_ok(job_tidy(cx, db, &(struct job_tidy){ &uses, now + 1000 }));
    assert_int_equal(ask(cx, db, active), 1); /* it lingers */
    assert_ok(job_tidy(cx, db, &(struct job_tidy){ &uses, now + 1000 + JOB_LINGER_MS + 1 }));
    assert_int_equal(ask(cx, db, active), 0);
    add(cx, db, "t1", &plain, "");
    assert_int_equal(ask(cx, db, active), 1);
    assert_int_equal(claim(cx, db, 1), 1);

    int64_t at = now + 10000;
    assert_ok(db_run(cx, db, "DELETE FROM job", NO_ARGS));
    assert_ok(job_tidy(cx, db, &(struct job_tidy){ &uses, at }));
    assert_ok(job_tidy(cx, db, &(struct job_tidy){ &uses, at + 5000 }));
    at += JOB_LANE_DOUBT_MS + 1;
    assert_int_equal(claim_at(cx, db, 1, STR_NONE, at), 0); /* looks once more */
    assert_ok(job_tidy(cx, db, &(struct job_tidy){ &uses, at }));
    assert_int_equal(ask(cx, db, lanes), 0);
}

UNIT_TEST(test_a_lane_whose_jobs_are_all_later_is_looked_at_when_the_first_is_due)
{
    struct job_look look = { .now_ms = clock_ms() };
    db_scope_system(db);
    assert_ok(
        job_add(cx, db, STR("t1"), &(struct job_new){ .kind = &plain, .delay_ms = 3600000 }, NULL));

    assert_ok(job_look(cx, db, &look));

    assert_in_range(look.wake_ms, look.now_ms + 3590000, look.now_ms + 3610000);
    assert_false(look.is_untidy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TC(test_claims_go_round_the_teams),
        TC(test_a_round_goes_on_behind_the_team_that_was_served_last),
        TC(test_a_team_with_its_share_of_the_places_waits),
        TC(test_within_a_team_the_priority_decides_then_who_waited_longest),
        TC(test_lanes_of_one_priority_take_turns),
        TC(test_one_job_of_a_key_runs_at_a_time_and_the_end_wakes_the_next),
        TC(test_a_full_kind_does_not_hold_up_the_others),
        TC(test_teams_take_turns_for_the_one_place_of_a_kind),
        TC(test_a_paused_kind_waits_for_its_team_or_for_all),
        TC(test_kinds_that_this_program_does_not_know_are_left_alone),
        TC(test_a_periodic_kind_gets_one_job_a_period_whoever_asks),
        TC(test_an_empty_lane_leaves_the_round_in_steps_and_comes_back),
        TC(test_a_lane_whose_jobs_are_all_later_is_looked_at_when_the_first_is_due),
    };
    crypt_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
