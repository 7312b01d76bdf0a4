/* How much of each webhook may be under way: windows, shares, bytes, rests, places. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */
#include <stdio.h>
#include <stdlib.h>

#include "connect/webhook/send_inner.h"

#define NOW_MS clock_ms()

static int setup(void **state)
{
    struct gates *g = calloc(1, sizeof *g);
    assert_non_null(g);
    g->total = 256;
    *state = g;
    return 0;
}

static int teardown(void **state)
{
    free(*state);
    return 0;
}

static struct gate *gate_n(struct gates *g, int n)
{
    char id[32];
    snprintf(id, sizeof id, "webhook-%d", n);
    return gate_get(g, STR("team"), str_of(id));
}

static void end(struct gates *g, struct gate *gate, int n, enum egress_class class)
{
    for (int i = 0; i < n; i++) {
        gate_enter(g, gate, 10);
        gate_leave(g, gate, 10, class, 0);
    }
}

static void test_a_window_grows_with_answers_and_halves_without(void **state)
{
    struct gates *g = *state;
    struct gate *gate = gate_n(g, 1);
    g->total = 400;
    assert_int_equal(gate_room(g, NULL, 0, NOW_MS), 4);
    assert_int_equal(gate_room(g, gate, 0, NOW_MS), 4);
    end(g, gate, 200, EGRESS_OK);
    assert_int_equal(gate_room(g, gate, 0, NOW_MS), GATE_WINDOW_MAX);
    end(g, gate, 1, EGRESS_TIMEOUT);
    assert_int_equal(gate_room(g, gate, 0, NOW_MS), GATE_WINDOW_MAX / 2);
    end(g, gate, 1, EGRESS_STOPPED);
    assert_int_equal(gate_room(g, gate, 0, NOW_MS), GATE_WINDOW_MAX / 2);
    end(g, gate, 20, EGRESS_CONNECT);
    assert_int_equal(gate_room(g, gate, 0, NOW_MS), 1);
    assert_int_equal(g->n, 0);
    assert_int_equal(g->bytes, 0);
}

static void test_what_is_under_way_takes_from_the_room(void **state)
{
    struct gates *g = *state;
    struct gate *gate = gate_n(g, 1);
    gate_enter(g, gate, 10);
    gate_enter(g, gate, 10);
    assert_int_equal(gate_room(g, gate, 0, NOW_MS), 2);
    gate_enter(g, gate, 10);
    gate_enter(g, gate, 10);
    assert_int_equal(gate_room(g, gate, 0, NOW_MS), 0);
}

/* However many webhooks hold all that they may, the next one may send. */
static void test_the_greedy_leave_room_for_who_comes_next(void **state)
{
    struct gates *g = *state;
    for (int i = 0; i < 60; i++) {
        struct gate *gate = gate_n(g, i);
        gate->window = GATE_WINDOW_MAX;
        for (int room = gate_room(g, gate, 0, NOW_MS); room > 0; room--)
            gate_enter(g, gate, 10);
    }
    assert_true(g->n < g->total);
    assert_true(gate_room(g, gate_n(g, 60), 0, NOW_MS) == 1);
    assert_int_equal(gate_room(g, NULL, g->total - g->n, NOW_MS), 0);
}

static void test_a_resting_host_has_no_room_until_it_is_over(void **state)
{
    struct gates *g = *state;
    struct gate *gate = gate_n(g, 1);
    gate_enter(g, gate, 10);
    gate_leave(g, gate, 10, EGRESS_RESTING, 5000);
    assert_int_equal(gate_room(g, gate, 0, NOW_MS), 0);
    assert_int_equal(gate_room(g, gate, 0, NOW_MS + 6000), 2);
}

static void test_bodies_are_bounded_in_all_and_for_each(void **state)
{
    struct gates *g = *state;
    struct gate *gate = gate_n(g, 1);
    assert_true(gate_has_bytes(g, gate, GATE_BYTES_MAX / 2, 0, 0)); /* one alone always may */
    assert_false(gate_has_bytes(g, gate, GATE_BYTES_MAX + 1, 0, 0));
    assert_false(gate_has_bytes(g, gate, 10, GATE_BYTES_MAX, 0));
    gate_enter(g, gate, GATE_BYTES_MAX / 4);
    assert_false(gate_has_bytes(g, gate, GATE_BYTES_MAX / 4, 0, 0));
    assert_true(gate_has_bytes(g, gate_n(g, 2), GATE_BYTES_MAX / 4, 0, 0));
    assert_true(gate_has_bytes(g, NULL, 10, 0, 20));
}

/* Places go from the idle one that was not used for longest; those with something under way stay. */
static void test_places_are_used_again(void **state)
{
    struct gates *g = *state;
    gate_enter(g, gate_n(g, 0), 10);
    end(g, gate_n(g, 1), 10, EGRESS_OK);
    for (int i = 2; i < 3 * GATES_MAX; i++)
        gate_n(g, i);
    assert_int_equal(g->n_gates, GATES_MAX);
    assert_non_null(gate_find(g, STR("webhook-0")));
    assert_int_equal(gate_find(g, STR("webhook-0"))->n, 1);
    assert_null(gate_find(g, STR("webhook-1")));
    assert_int_equal(gate_n(g, 1)->window, 4);
}

#define TG(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TG(test_a_window_grows_with_answers_and_halves_without),
        TG(test_what_is_under_way_takes_from_the_room),
        TG(test_the_greedy_leave_room_for_who_comes_next),
        TG(test_a_resting_host_has_no_room_until_it_is_over),
        TG(test_bodies_are_bounded_in_all_and_for_each),
        TG(test_places_are_used_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
