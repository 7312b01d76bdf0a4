/* Facts about arena.c: place, order of release, the cap, blocks that change threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"

#define CAP ((size_t)1 << 20)

struct trace {
    char order[8];
    size_t n;
};
struct traced {
    struct trace *t;
    char name;
};

static void record(void *obj)
{
    struct traced *o = obj;

    o->t->order[o->t->n++] = o->name;
}

static void test_allocations_are_aligned_and_apart(void **state)
{
    static const size_t sizes[] = { 0, 1, 15, 16, 17, 100, 2048, 2049, 5000, 8192, 100000 };
    unsigned char *p[11];
    struct arena a;

    (void)state;
    arena_init(&a, CAP);
    for (size_t i = 0; i < 11; i++) {
        p[i] = arena_alloc(&a, sizes[i]);
        assert_non_null(p[i]);
        assert_int_equal((uintptr_t)p[i] % 16, 0);
        memset(p[i], (int)i + 1, sizes[i]);
    }
    for (size_t i = 0; i < 11; i++) {
        for (size_t k = 0; k < sizes[i]; k++)
            assert_int_equal(p[i][k], i + 1);
    }
    arena_done(&a);
}

static void test_zalloc_clears_used_memory(void **state)
{
    static const char zeros[4000];
    struct arena a;

    (void)state;
    arena_init(&a, CAP);
    memset(arena_alloc(&a, 4000), 0xAA, 4000);
    memset(arena_alloc(&a, 1000), 0xAA, 1000);
    arena_reset(&a);
    assert_memory_equal(arena_zalloc(&a, 1000), zeros, 1000);
    assert_memory_equal(arena_zalloc(&a, 4000), zeros, 4000);
    arena_done(&a);
}

static void test_releases_run_newest_first_and_once(void **state)
{
    struct trace t = { .n = 0 };
    struct traced one = { &t, '1' }, two = { &t, '2' }, three = { &t, '3' };
    struct arena a;

    (void)state;
    arena_init(&a, CAP);
    arena_defer(&a, record, &one);
    arena_defer(&a, record, &two);
    arena_reset(&a);
    assert_int_equal(t.n, 2);
    arena_defer(&a, record, &three);
    arena_done(&a);
    arena_done(&a);
    assert_int_equal(t.n, 3);
    assert_memory_equal(t.order, "213", 3);
}

static void test_reset_gives_the_memory_back(void **state)
{
    struct arena a;
    void *first;

    (void)state;
    arena_init(&a, CAP);
    first = arena_alloc(&a, 64);
    for (int turn = 0; turn < 1000; turn++) {
        arena_reset(&a);
        assert_int_equal(a.used, 0);
        for (int i = 0; i < 100; i++)
            arena_alloc(&a, 1000);
    }
    arena_reset(&a);
    assert_false(a.over);
    assert_non_null(a.block);
    assert_non_null(first);
    arena_done(&a);
    assert_null(a.block);
}

static void test_cap_is_a_flag_up_to_twice_its_size(void **state)
{
    struct arena a;

    (void)state;
    arena_init(&a, 10000);
    arena_alloc(&a, 9000);
    assert_false(a.over);
    assert_non_null(arena_alloc(&a, 2000));
    assert_true(a.over);
    assert_non_null(arena_alloc(&a, 8000));
    arena_reset(&a);
    assert_false(a.over);
    arena_done(&a);
}

static void test_twice_the_cap_aborts(void **state)
{
    int status;
    pid_t pid = fork();

    (void)state;
    assert_true(pid >= 0);
    if (pid == 0) {
        struct arena a;

        setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
        signal(SIGABRT, SIG_DFL);
        close(STDERR_FILENO);
        arena_init(&a, 1000);
        arena_alloc(&a, 2001);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

static void *end_arenas(void *arg)
{
    struct arena *a = arg;

    for (int i = 0; i < 100; i++)
        arena_done(&a[i]);
    return NULL;
}

static void test_blocks_may_end_on_another_thread(void **state)
{
    static struct arena a[100];
    pthread_t thread;

    (void)state;
    for (int turn = 0; turn < 3; turn++) {
        for (int i = 0; i < 100; i++) {
            arena_init(&a[i], CAP);
            memset(arena_alloc(&a[i], 500), i, 500);
        }
        assert_int_equal(pthread_create(&thread, NULL, end_arenas, a), 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_null(a[99].block);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_allocations_are_aligned_and_apart),
        cmocka_unit_test(test_zalloc_clears_used_memory),
        cmocka_unit_test(test_releases_run_newest_first_and_once),
        cmocka_unit_test(test_reset_gives_the_memory_back),
        cmocka_unit_test(test_cap_is_a_flag_up_to_twice_its_size),
        cmocka_unit_test(test_twice_the_cap_aborts),
        cmocka_unit_test(test_blocks_may_end_on_another_thread),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
