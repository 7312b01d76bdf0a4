/* Codes of the second factor against the vectors of RFC 4226 appendix D and RFC 6238 appendix B. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <string.h>

#include "core/people/totp.h"

#define SECRET STR("12345678901234567890")

static void assert_code(int64_t step, const char *want)
{
    char code[TOTP_DIGITS + 1];

    totp_code(SECRET, step, code);
    assert_string_equal(code, want);
}

static void test_rfc_4226_appendix_d(void **state)
{
    static const char *const want[] = { "755224", "287082", "359152", "969429", "338314",
                                        "254676", "287922", "162583", "399871", "520489" };
    (void)state;

    for (int i = 0; i < 10; i++)
        assert_code(i, want[i]);
}

/* The eight digits of the document, the last six of which are ours. */
static void test_rfc_6238_appendix_b(void **state)
{
    static const struct {
        int64_t at_s;
        const char *want;
    } rows[] = {
        { 59, "94287082" },         { 1111111109, "07081804" }, { 1111111111, "14050471" },
        { 1234567890, "89005924" }, { 2000000000, "69279037" }, { 20000000000, "65353130" },
    };
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_code(rows[i].at_s / TOTP_STEP_S, rows[i].want + 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc_4226_appendix_d),
        cmocka_unit_test(test_rfc_6238_appendix_b),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
