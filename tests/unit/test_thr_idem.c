/* The table of running requests under threads: never two holders of one key, never a lost claim. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */
#include <pthread.h>
#include <stdatomic.h>

#include "core/idem.h"

enum { THREADS = 6, KEYS = 11, TURNS = 20000 };

static const struct caller who = { .team_id = { "t", 1 }, .token_id = { "k", 1 } };
static struct idem keys[KEYS];
static atomic_int holders[KEYS];
static atomic_int entered[KEYS];
static atomic_int broken;
static int plain[KEYS]; /* guarded by the claim alone: the sanitizer sees when it does not */

static void *run(void *arg)
{
    unsigned k = *(const unsigned *)arg;

    for (int turn = 0; turn < TURNS; turn++) {
        uint64_t claim;

        k = (k * 5 + 3) % KEYS;
        if (!idem_enter(&who, &keys[k], &claim))
            continue;
        if (atomic_fetch_add(&holders[k], 1) != 0)
            atomic_store(&broken, 1);
        plain[k]++;
        atomic_fetch_add(&entered[k], 1);
        atomic_fetch_sub(&holders[k], 1);
        idem_leave(claim);
    }
    return NULL;
}

static void test_a_claim_has_one_holder(void **state)
{
    static const char *const words[KEYS] = {
        "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"
    };
    pthread_t threads[THREADS];
    unsigned starts[THREADS];
    uint64_t claim;

    (void)state;
    for (int k = 0; k < KEYS; k++)
        keys[k] = (struct idem){ .route = STR("POST /x"), .key = str_of(words[k]) };
    for (int i = 0; i < THREADS; i++) {
        starts[i] = (unsigned)i;
        assert_int_equal(pthread_create(&threads[i], NULL, run, &starts[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(broken, 0);
    for (int k = 0; k < KEYS; k++) {
        assert_int_equal(plain[k], entered[k]);
        assert_true(idem_enter(&who, &keys[k], &claim)); /* all have left */
        idem_leave(claim);
    }
    assert_true(entered[0] + entered[1] + entered[2] > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_a_claim_has_one_holder) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
