/* Facts about geo.c: countries of addresses, files that are none, a file that is replaced. */
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

#include "core/geo.h"

/* A database of IPv4 with one node: nothing for 0.0.0.0/1, a country for 128.0.0.0/1. */
#define TREE "\0\0\1\0\0\x11"
#define GAP "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
#define DATA(part, code) "\xE1" part "\xE1\x48iso_code\x42" code
#define METADATA                                                                                   \
    "\xAB\xCD\xEFMaxMind.com\xE9\x4Anode_count\xC1\x01\x4Brecord_size\xA1\x18\x4Aip_version\xA1\4" \
    "\x4D"                                                                                         \
    "database_type\x44Test\x49languages\0\4\x5B"                                                   \
    "binary_format_major_version\xA1\2\x5B"                                                        \
    "binary_format_minor_version\xA0\x4B"                                                          \
    "build_epoch\1\2\1\x4B"                                                                        \
    "description\xE0"
#define COUNTRY                                                                                    \
    "\x47"                                                                                         \
    "country"
#define REGISTERED "\x52registered_country"

struct fix {
    char path[64];
    struct ctx cx;
};

static void put(struct fix *f, const char *bytes, size_t n)
{
    FILE *file = fopen(f->path, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}
#define PUT(f, part, code)                                                                         \
    put(f, TREE GAP DATA(part, code) METADATA, sizeof(TREE GAP DATA(part, code) METADATA) - 1)

static int setup(void **state)
{
    struct fix *f = calloc(1, sizeof *f);

    snprintf(f->path, sizeof f->path, "/tmp/tessera-geo-XXXXXX");
    int fd = mkstemp(f->path);
    assert_true(fd >= 0);
    close(fd);
    ctx_init(&f->cx, CTX_CAP_DEFAULT);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fix *f = *state;

    unlink(f->path);
    ctx_done(&f->cx);
    free(f);
    return 0;
}

static struct geo *opened(struct fix *f)
{
    struct geo *g = NULL;

    assert_int_equal(geo_open(&f->cx, str_of(f->path), &g), ERR_NONE);
    assert_non_null(g);
    return g;
}

static void assert_country(struct geo *g, const char *ip, const char *want)
{
    char code[4] = "??";

    geo_country(g, str_of(ip), code);
    assert_string_equal(code, want);
}

static void test_an_address_has_the_country_of_its_network(void **state)
{
    struct fix *f = *state;

    PUT(f, COUNTRY, "DE");
    struct geo *g = opened(f);

    assert_country(g, "128.0.0.1", "DE");
    assert_country(g, "::ffff:203.0.113.9", "DE");
    assert_country(g, "127.0.0.1", "");
    assert_country(g, "2001:db8::1", ""); /* a database of IPv4 knows none */
    assert_country(g, "not an address", "");
    assert_country(g, "", "");
    geo_close(g);
}

static void test_the_registered_country_stands_in(void **state)
{
    struct fix *f = *state;

    PUT(f, REGISTERED, "NO");
    struct geo *g = opened(f);

    assert_country(g, "200.0.0.1", "NO");
    geo_close(g);
}

static void test_codes_that_are_none_are_not_taken(void **state)
{
    struct fix *f = *state;

    PUT(f, COUNTRY, "=1");
    struct geo *g = opened(f);

    assert_country(g, "200.0.0.1", "");
    geo_close(g);
}

static void test_without_a_file_nothing_is_known(void **state)
{
    struct fix *f = *state;
    struct geo *g = (struct geo *)f;

    assert_int_equal(geo_open(&f->cx, STR_NONE, &g), ERR_NONE);
    assert_null(g);
    assert_country(g, "200.0.0.1", "");
    assert_int_equal(geo_reload(&f->cx, g), ERR_NONE);
    geo_close(g);
}

static void test_a_file_that_is_none_is_refused(void **state)
{
    struct fix *f = *state;
    struct geo *g;

    put(f, "no such thing", 13);
    assert_int_equal(geo_open(&f->cx, str_of(f->path), &g), ERR_INVALID_FIELD);
    assert_non_null(strstr(str_cstr(&f->cx.arena, f->cx.err_text), "geo_database"));
    ctx_clear(&f->cx);
    assert_int_equal(geo_open(&f->cx, STR("/nowhere/at/all"), &g), ERR_INVALID_FIELD);
}

static void test_reloading_takes_the_new_file_or_keeps_the_old(void **state)
{
    struct fix *f = *state;

    PUT(f, COUNTRY, "DE");
    struct geo *g = opened(f);

    unlink(f->path); /* replaced, as by rename: the mapped file stays whole */
    put(f, "broken", 6);
    assert_int_equal(geo_reload(&f->cx, g), ERR_INVALID_FIELD);
    ctx_clear(&f->cx);
    assert_country(g, "200.0.0.1", "DE");

    unlink(f->path);
    PUT(f, COUNTRY, "AT");
    assert_int_equal(geo_reload(&f->cx, g), ERR_NONE);
    assert_country(g, "200.0.0.1", "AT");
    geo_close(g);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_an_address_has_the_country_of_its_network),
        T(test_the_registered_country_stands_in),
        T(test_codes_that_are_none_are_not_taken),
        T(test_without_a_file_nothing_is_known),
        T(test_a_file_that_is_none_is_refused),
        T(test_reloading_takes_the_new_file_or_keeps_the_old),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
