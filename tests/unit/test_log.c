/* Facts about log.c: both line forms, escaping, maxima, levels. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/ctx.h"
#include "base/json.h"
#include "base/log.h"

static char got[65536]; /* what the last capture saw */
static int saved_stderr;
static int pipe_read;

static void capture(void)
{
    int fd[2];

    assert_int_equal(pipe(fd), 0);
    saved_stderr = dup(STDERR_FILENO);
    assert_true(dup2(fd[1], STDERR_FILENO) >= 0);
    close(fd[1]);
    pipe_read = fd[0];
}

static void capture_end(void)
{
    size_t n = 0;
    ssize_t r;

    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    while ((r = read(pipe_read, got + n, sizeof(got) - 1 - n)) > 0)
        n += (size_t)r;
    close(pipe_read);
    got[n] = '\0';
}

static int teardown(void **state)
{
    (void)state;
    log_setup(LOG_INFO, false);
    return 0;
}

static void test_text_line_has_time_level_event_and_pairs(void **state)
{
    (void)state;
    capture();
    log_warn(NULL, "disk.full", KVI("left", -5), KVC("path", "/data"), KVC("why", "no room"));
    capture_end();
    assert_int_equal(got[4], '-');
    assert_int_equal(got[23], 'Z');
    assert_string_equal(got + 24, " warn disk.full left=-5 path=/data why=\"no room\"\n");
}

static void test_request_id_comes_with_the_ctx(void **state)
{
    struct ctx cx;

    (void)state;
    ctx_init(&cx, CTX_CAP_DEFAULT);
    cx.request_id = STR("abc-1");
    capture();
    log_info(&cx, "x", KVI("n", 1));
    capture_end();
    ctx_done(&cx);
    assert_string_equal(got + 24, " info x request_id=abc-1 n=1\n");
}

static void test_secrets_are_stars(void **state)
{
    struct log_kv kv = { .key = "token", .kind = LOG_KV_SECRET, .s = STR("stk_secret") };

    (void)state;
    capture();
    log_line(NULL, LOG_INFO, "x", &kv, 1);
    capture_end();
    assert_null(strstr(got, "secret"));
    assert_string_equal(got + 24, " info x token=***\n");
}

static void test_a_value_cannot_forge_a_line(void **state)
{
    (void)state;
    capture();
    log_info(NULL, "x", KVC("a", "1\n2024 error y=\"\x1b[31m\\\x7f\xC2\x9B\xC3\xA9"),
             KVC("b", "\xFF"), KVC("c", ""), KVS("d", STR_NONE));
    capture_end();
    assert_string_equal(got + 24,
                        " info x a=\"1\\n2024 error y=\\\"\\u001b[31m\\\\\\u007f\\u009b\xC3\xA9\""
                        " b=\"\\u00ff\" c=\"\" d=-\n");
}

static void test_json_lines_are_json(void **state)
{
    json_error_t err;
    json_t *v;

    (void)state;
    log_setup(LOG_INFO, true);
    capture();
    log_error(NULL, "x", KVC("a", "q\"\\\n\x01\xFE"), KVI("n", INT64_MIN), KVS("none", STR_NONE));
    capture_end();
    v = json_loads(got, JSON_REJECT_DUPLICATES, &err);
    assert_non_null(v);
    assert_string_equal(json_string_value(json_object_get(v, "level")), "error");
    assert_string_equal(json_string_value(json_object_get(v, "event")), "x");
    assert_string_equal(json_string_value(json_object_get(v, "a")), "q\"\\\n\x01\xC3\xBE");
    assert_true(json_integer_value(json_object_get(v, "n")) == INT64_MIN);
    assert_true(json_is_null(json_object_get(v, "none")));
    json_decref(v);
}

static void test_lines_have_a_maximum_and_stay_whole(void **state)
{
    struct log_kv kv[40];
    static char big[3001];
    json_error_t err;
    json_t *v;

    (void)state;
    memset(big, '\x02', sizeof(big) - 1);
    for (size_t i = 0; i < 40; i++)
        kv[i] = KVC("k", big);
    log_setup(LOG_INFO, true);
    capture();
    log_line(NULL, LOG_INFO, "x", kv, 40);
    capture_end();
    assert_in_range(strlen(got), 1024, 8192);
    assert_int_equal(got[strlen(got) - 1], '\n');
    v = json_loads(got, 0, &err);
    assert_non_null(v);
    assert_int_equal(json_integer_value(json_object_get(v, "cut")), 1);
    assert_non_null(strstr(json_string_value(json_object_get(v, "k")), "..."));
    json_decref(v);
}

static void test_levels_filter(void **state)
{
    enum log_level level = LOG_DEBUG;

    (void)state;
    capture();
    log_debug(NULL, "hidden", KVI("n", 1));
    note(NULL, "hidden %d", 1);
    log_set_level(LOG_DEBUG);
    note(NULL, "shown %d", 2);
    log_set_level(LOG_ERROR);
    log_warn(NULL, "hidden", KVI("n", 1));
    log_error(NULL, "last", KVI("n", 1));
    capture_end();
    assert_null(strstr(got, "hidden"));
    assert_non_null(strstr(got, " debug note text=\"shown 2\"\n"));
    assert_non_null(strstr(got, " error last n=1\n"));
    assert_true(log_level_parse(STR("warn"), &level));
    assert_int_equal(level, LOG_WARN);
    assert_false(log_level_parse(STR("WARNING"), &level));
    assert_int_equal(level, LOG_WARN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_text_line_has_time_level_event_and_pairs, teardown),
        cmocka_unit_test_teardown(test_request_id_comes_with_the_ctx, teardown),
        cmocka_unit_test_teardown(test_secrets_are_stars, teardown),
        cmocka_unit_test_teardown(test_a_value_cannot_forge_a_line, teardown),
        cmocka_unit_test_teardown(test_json_lines_are_json, teardown),
        cmocka_unit_test_teardown(test_lines_have_a_maximum_and_stay_whole, teardown),
        cmocka_unit_test_teardown(test_levels_filter, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
