/* Facts about conf.c: which source wins, what is refused and named, what is shown. */
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

#include "base/conf.h"

#define HEX64 "00112233445566778899AABBCCDDEEFF00112233445566778899aabbccddeeff"
#define LOW64 "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

struct sample {
    struct str listen;
    struct str log_level;
    int64_t threads;
    int64_t cors;
    struct str proxies;
    struct str master_key;
    struct str password;
};

static const char *const levels[] = { "debug", "info", NULL };
static const struct conf_row rows[] = {
    { "listen", CONF_STR, 0, offsetof(struct sample, listen), "127.0.0.1:8080", 0, 0, NULL,
      "Where to listen." },
    { "log_level", CONF_STR, CONF_RELOAD, offsetof(struct sample, log_level), "info", 0, 0, levels,
      "How much to log." },
    { "threads", CONF_INT, 0, offsetof(struct sample, threads), "2", 1, 64, NULL, "Threads." },
    { "cors", CONF_BOOL, 0, offsetof(struct sample, cors), "true", 0, 0, NULL, "Answer CORS." },
    { "trusted_proxies", CONF_CIDRS, 0, offsetof(struct sample, proxies), NULL, 0, 0, NULL,
      "Proxies." },
    { "master_key", CONF_KEY, CONF_SECRET, offsetof(struct sample, master_key), NULL, 0, 0, NULL,
      "Key." },
    { "password", CONF_STR, CONF_SECRET, offsetof(struct sample, password), NULL, 0, 0, NULL,
      "Password." },
};
#define N_ROWS (sizeof(rows) / sizeof(*rows))
static const struct conf_table table = { rows, N_ROWS, sizeof(struct sample) };

static struct ctx cx;
static struct sample conf;
static enum conf_source sources[N_ROWS];
static char *argv[16];
static int argc;
static char path[64];

static int setup(void **state)
{
    (void)state;
    ctx_init(&cx, CTX_CAP_DEFAULT);
    memset(&conf, 0xEE, sizeof(conf));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    ctx_done(&cx);
    if (*path)
        unlink(path);
    *path = '\0';
    return 0;
}

/* Load with NULL-ended lists of arguments (behind the program's name) and environment entries. */
static enum err_code load(const char *const *args, const char *const *env)
{
    static const char *const none[] = { NULL };

    argc = 0;
    argv[argc++] = (char *)(uintptr_t) "prog";
    for (; args && *args; args++)
        argv[argc++] = (char *)(uintptr_t)*args;
    argv[argc] = NULL;
    ctx_clear(&cx);
    return conf_load(&cx, &table, &argc, argv, (char **)(uintptr_t)(env ? env : none), &conf,
                     sources);
}
#define LIST(...) ((const char *const[]){ __VA_ARGS__, NULL })

static void write_file(const char *text)
{
    int fd;

    snprintf(path, sizeof(path), "/tmp/tessera-conf-XXXXXX");
    fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void assert_refused(const char *const *args, const char *const *env, const char *word)
{
    assert_int_equal(load(args, env), ERR_USAGE);
    if (!strstr(cx.err_text.p, word))
        print_error("\"%s\" does not name \"%s\"\n", cx.err_text.p, word);
    assert_non_null(strstr(cx.err_text.p, word));
}

static void test_defaults(void **state)
{
    (void)state;
    assert_int_equal(load(NULL, NULL), ERR_NONE);
    assert_string_equal(conf.listen.p, "127.0.0.1:8080");
    assert_int_equal(conf.threads, 2);
    assert_int_equal(conf.cors, 1);
    assert_null(conf.proxies.p);
    assert_null(conf.master_key.p);
    assert_int_equal(sources[0], CONF_DEFAULT);
}

static void test_later_sources_win(void **state)
{
    const char *config;

    (void)state;
    write_file("# settings\n\n listen = 1.1.1.1:1 \nthreads=3\r\nlog_level = debug # not a word\n");
    assert_refused(LIST("--config", path), NULL, ":5");
    unlink(path);
    write_file("# settings\n\n listen = 1.1.1.1:1 \nthreads=3\r\nlog_level=debug");
    assert_int_equal(load(LIST("--config", path, "--threads=5"),
                          LIST("TESSERA_THREADS=4", "HOME=/x", "TESSERA_LOG_LEVEL=info")),
                     ERR_NONE);
    assert_string_equal(conf.listen.p, "1.1.1.1:1");
    assert_string_equal(conf.log_level.p, "info");
    assert_int_equal(conf.threads, 5);
    assert_int_equal(sources[0], CONF_FILE);
    assert_int_equal(sources[1], CONF_ENV);
    assert_int_equal(sources[2], CONF_FLAG);
    assert_int_equal(sources[3], CONF_DEFAULT);
    config = str_printf(&cx.arena, "TESSERA_CONFIG=%s", path).p;
    assert_int_equal(load(NULL, LIST(config)), ERR_NONE);
    assert_int_equal(conf.threads, 3);
}

static void test_flags_leave_the_rest_in_place(void **state)
{
    (void)state;
    assert_int_equal(load(LIST("token", "--listen", ":1", "create", "--name", "n", "--no-cors",
                               "-v", "--", "--threads", "9"),
                          NULL),
                     ERR_NONE);
    assert_int_equal(argc, 9);
    assert_string_equal(argv[0], "prog");
    assert_string_equal(argv[1], "token");
    assert_string_equal(argv[2], "create");
    assert_string_equal(argv[3], "--name");
    assert_string_equal(argv[4], "n");
    assert_string_equal(argv[5], "-v");
    assert_string_equal(argv[6], "--");
    assert_string_equal(argv[7], "--threads");
    assert_string_equal(argv[8], "9");
    assert_null(argv[9]);
    assert_string_equal(conf.listen.p, ":1");
    assert_int_equal(conf.cors, 0);
    assert_int_equal(conf.threads, 2);
}

static void test_flag_forms(void **state)
{
    (void)state;
    assert_int_equal(load(LIST("--no-cors", "--cors", "serve"), NULL), ERR_NONE);
    assert_int_equal(conf.cors, 1);
    assert_int_equal(argc, 2); /* a switch does not eat the word behind it */
    assert_int_equal(load(LIST("--cors=off", "--listen=a=b"), NULL), ERR_NONE);
    assert_int_equal(conf.cors, 0);
    assert_string_equal(conf.listen.p, "a=b");
    assert_int_equal(load(LIST("--log_level", "debug", "--no-listen"), NULL), ERR_NONE);
    assert_int_equal(argc, 4); /* neither is a flag of ours */
    assert_refused(LIST("--threads"), NULL, "threads");
    assert_refused(LIST("--listen", "--threads=1"), NULL, "listen");
    assert_refused(LIST("--no-cors=true"), NULL, "no-cors");
    assert_refused(LIST("--config"), NULL, "config");
}

static void test_bad_values_name_key_and_source(void **state)
{
    (void)state;
    assert_refused(LIST("--threads=65"), NULL, "threads (flag threads) must be from 1 to 64");
    assert_refused(NULL, LIST("TESSERA_THREADS=x"), "threads (environment TESSERA_THREADS)");
    assert_refused(NULL, LIST("TESSERA_LOG_LEVEL=loud"), "debug, info");
    assert_refused(NULL, LIST("TESSERA_CORS=maybe"), "true or false");
    assert_refused(NULL, LIST("TESSERA_TRUSTED_PROXIES=10.0.0.0/8,10.0.0.1/8"), "10.0.0.1/8");
    assert_refused(NULL, LIST("TESSERA_LISTEN=a\nb"), "control");
    assert_refused(LIST("--threads=5"), LIST("TESSERA_THREADS="), "TESSERA_THREADS");
    assert_refused(LIST("--config", "/nonexistent/x"), NULL, "/nonexistent/x");
    write_file("no equals sign\n");
    assert_refused(LIST("--config", path), NULL, ":1");
    unlink(path);
    write_file("listen = x\ncolour = red\n");
    assert_refused(LIST("--config", path), NULL, "colour");
}

static void test_unknown_environment_names_are_refused(void **state)
{
    (void)state;
    assert_refused(NULL, LIST("TESSERA_LISTNE=x"), "TESSERA_LISTNE");
    assert_refused(NULL, LIST("TESSERA_listen=x"), "TESSERA_listen");
    assert_refused(NULL, LIST("TESSERA_=x"), "TESSERA_");
    assert_int_equal(load(NULL, LIST("TESSERA_FAULT=db:1", "TESSERA_BIN=/x", "TESSERA_TEST_PG=1",
                                     "TESSERA_CONFIG=", "TESSERAX=1", "XTESSERA_A=1")),
                     ERR_NONE);
}

static void test_key_is_digits_or_a_file(void **state)
{
    const char *env;

    (void)state;
    assert_int_equal(load(NULL, LIST("TESSERA_MASTER_KEY=" HEX64)), ERR_NONE);
    assert_true(str_eq(conf.master_key, STR(LOW64)));
    write_file("  " HEX64 "\n");
    env = str_printf(&cx.arena, "TESSERA_MASTER_KEY=%s", path).p;
    assert_int_equal(load(NULL, LIST(env)), ERR_NONE);
    assert_int_equal(conf.master_key.n, 64);
    assert_true(str_eq(conf.master_key, STR(LOW64)));
    unlink(path);
    write_file(HEX64 "0");
    env = str_printf(&cx.arena, "TESSERA_MASTER_KEY=%s", path).p;
    assert_refused(NULL, LIST(env), "64 hex digits");
    assert_refused(NULL, LIST("TESSERA_MASTER_KEY="), "master_key");
    assert_refused(NULL, LIST("TESSERA_MASTER_KEY=/tmp"), "master_key");
}

static void test_key_is_base64_with_its_padding(void **state)
{
    static const char *const good[] = {
        "TESSERA_MASTER_KEY=/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+8=",
        "TESSERA_MASTER_KEY=_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-8=",
    };
    static const char *const bad[] = {
        "TESSERA_MASTER_KEY=/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+8",  /* a path, perhaps */
        "TESSERA_MASTER_KEY=/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+9=", /* stray bits */
        "TESSERA_MASTER_KEY=/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/v==", /* 31 bytes */
        "TESSERA_MASTER_KEY=/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/.8=",
    };

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(load(NULL, LIST(good[i])), ERR_NONE);
        assert_true(
            str_eq(conf.master_key,
                   STR("ffeffeffeffeffeffeffeffeffeffeffeffeffeffeffeffeffeffeffeffeffef")));
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_refused(NULL, LIST(bad[i]), "master_key");
}

static void test_secrets_are_not_repeated(void **state)
{
    struct buf b;

    (void)state;
    assert_refused(NULL, LIST("TESSERA_MASTER_KEY=0123456789abcdef"), "master_key");
    assert_null(strstr(cx.err_text.p, "0123456789"));
    assert_refused(NULL, LIST("TESSERA_PASSWORD=hunter2\n"), "password");
    assert_null(strstr(cx.err_text.p, "hunter2"));
    assert_int_equal(load(NULL, LIST("TESSERA_PASSWORD=hunter2", "TESSERA_MASTER_KEY=" HEX64)),
                     ERR_NONE);
    buf_init(&b, &cx.arena, 10000);
    conf_explain(&b, &table, &conf, sources);
    buf_char(&b, '\0');
    assert_non_null(strstr(b.p, "password = ***  (environment)  Password.\n"));
    assert_non_null(strstr(b.p, "master_key = ***  (environment)"));
    assert_non_null(strstr(b.p, "threads = 2  (default)  Threads.\n"));
    assert_non_null(strstr(b.p, "cors = true  (default)"));
    assert_null(strstr(b.p, "hunter2"));
    assert_null(strstr(b.p, LOW64));
}

static void test_markdown_has_a_line_for_each_setting(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, &cx.arena, 10000);
    conf_markdown(&b, &table);
    assert_false(b.over);
    buf_char(&b, '\0');
    assert_non_null(strstr(b.p,
                           "| `log_level` | `TESSERA_LOG_LEVEL` | `--log-level` | debug, info | "
                           "`info` | How much to log. Reloaded on SIGHUP. |\n"));
    assert_non_null(strstr(b.p, "| whole number, 1 to 64 | `2` | Threads. |\n"));
    for (size_t i = 0; i < N_ROWS; i++)
        assert_non_null(strstr(b.p, rows[i].key));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_defaults),
        TEST(test_later_sources_win),
        TEST(test_flags_leave_the_rest_in_place),
        TEST(test_flag_forms),
        TEST(test_bad_values_name_key_and_source),
        TEST(test_unknown_environment_names_are_refused),
        TEST(test_key_is_digits_or_a_file),
        TEST(test_key_is_base64_with_its_padding),
        TEST(test_secrets_are_not_repeated),
        TEST(test_markdown_has_a_line_for_each_setting),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
