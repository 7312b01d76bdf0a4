/* Fault points: the Nth pass fails, and only it; modes; bad texts are ignored. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fault.h"

static int disarm(void **state)
{
    (void)state;
    fault_setup(NULL);
    return 0;
}

static void test_nothing_fires_unarmed(void **state)
{
    (void)state;
    for (int kind = 0; kind < FAULT_KINDS; kind++)
        assert_false(fault_hit((enum fault_kind)kind));
    assert_false(fault_fired());
}

static void test_only_the_nth_pass_of_its_kind_fires(void **state)
{
    (void)state;
    fault_arm(FAULT_DB, 3);

    assert_false(fault_hit(FAULT_DB));
    assert_false(fault_hit(FAULT_COMMIT));
    assert_false(fault_hit(FAULT_DB));
    assert_false(fault_fired());
    assert_true(fault_hit(FAULT_DB));
    assert_true(fault_fired());
    assert_false(fault_hit(FAULT_DB));
}

static void test_arming_again_forgets(void **state)
{
    (void)state;
    fault_arm(FAULT_DB, 1);
    assert_true(fault_hit(FAULT_DB));

    fault_arm(FAULT_SEND, 1);

    assert_false(fault_fired());
    assert_false(fault_hit(FAULT_DB));
    assert_true(fault_hit(FAULT_SEND));
}

static void test_mode_on_fires_from_the_nth_on(void **state)
{
    (void)state;
    fault_setup("commit:2:on");

    assert_false(fault_hit(FAULT_COMMIT));
    assert_true(fault_hit(FAULT_COMMIT));
    assert_true(fault_hit(FAULT_COMMIT));
}

static void test_mode_kill_ends_the_process(void **state)
{
    int status = 0;
    pid_t pid;

    (void)state;
    pid = fork();
    if (pid == 0) {
        fault_setup("committed:2:kill");
        if (fault_hit(FAULT_COMMITTED))
            _exit(1);
        fault_hit(FAULT_COMMITTED);
        _exit(2);
    }

    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGKILL);
}

static void test_bad_texts_arm_nothing(void **state)
{
    static const char *const bad[] = { "",     "db",     "db:",        "db:0",     "db:-1",
                                       "db:x", "disk:1", "db:1:maybe", "db:1:on:2" };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        fault_setup(bad[i]);
        assert_false(fault_hit(FAULT_DB));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_nothing_fires_unarmed, disarm),
        cmocka_unit_test_teardown(test_only_the_nth_pass_of_its_kind_fires, disarm),
        cmocka_unit_test_teardown(test_arming_again_forgets, disarm),
        cmocka_unit_test_teardown(test_mode_on_fires_from_the_nth_on, disarm),
        cmocka_unit_test_teardown(test_mode_kill_ends_the_process, disarm),
        cmocka_unit_test_teardown(test_bad_texts_arm_nothing, disarm),
    };

    return cmocka_run_group_tests_name("fault", tests, NULL, NULL);
}
