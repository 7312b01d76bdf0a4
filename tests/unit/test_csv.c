/* Facts about csv.c: RFC 4180, and that no cell of text is a formula. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/csv.h"

#define READ_MAX 4096

struct fix {
    struct ctx cx;
    struct spool *s;
    char text[READ_MAX];
};

static int setup(void **state)
{
    struct fix *f = calloc(1, sizeof *f);

    ctx_init(&f->cx, CTX_CAP_DEFAULT);
    assert_int_equal(spool_open(&f->cx, STR("/tmp"), &f->s), ERR_NONE);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fix *f = *state;

    spool_close(f->s);
    ctx_done(&f->cx);
    free(f);
    return 0;
}

static const char *written(struct fix *f)
{
    assert_int_equal(spool_done(&f->cx, f->s), ERR_NONE);
    ssize_t n = pread(spool_fd(f->s), f->text, READ_MAX - 1, 0);

    assert_true(n >= 0 && n < READ_MAX - 1);
    f->text[n] = '\0';
    return f->text;
}

static void test_cells_are_quoted_when_they_must_be(void **state)
{
    struct fix *f = *state;
    static const char *const texts[] = { "plain",        "a,b",   "say \"hi\"", "\"",
                                         "two\r\nlines", " room", "\xC3\xA4",   "it's" };

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (i)
            csv_sep(f->s);
        csv_text(f->s, str_of(texts[i]));
    }
    assert_true(csv_end(f->s));

    assert_string_equal(written(f), "plain,\"a,b\",\"say \"\"hi\"\"\",\"\"\"\",\"two\r\nlines\","
                                    "\" room\",\xC3\xA4,it's\r\n");
}

static void test_formulas_are_defused(void **state)
{
    struct fix *f = *state;
    static const char *const texts[] = {
        "=1+1", "+1", "-1", "@a", "\t=1", "\r=1", "=\"x\",1", "1=1"
    };

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        csv_text(f->s, str_of(texts[i]));
        csv_sep(f->s);
    }
    csv_int(f->s, -5); /* a number is no text */

    assert_string_equal(written(f), "'=1+1,'+1,'-1,'@a,'\t=1,\"'\r=1\",\"'=\"\"x\"\",1\",1=1,-5");
}

static void test_numbers_are_whole(void **state)
{
    struct fix *f = *state;

    csv_int(f->s, INT64_MIN);
    csv_sep(f->s);
    csv_int(f->s, 0);
    csv_sep(f->s);
    csv_int(f->s, INT64_MAX);

    assert_string_equal(written(f), "-9223372036854775808,0,9223372036854775807");
}

struct thing {
    struct rec_bits bits;
    struct str name, hidden, tags;
    int64_t is_on, at_ms, n;
};
static const struct field thing_fields[] = {
    { .name = "name", .type = F_STR, .offset = offsetof(struct thing, name) },
    { .name = "hidden",
      .type = F_STR,
      .flags = F_SECRET,
      .offset = offsetof(struct thing, hidden) },
    { .name = "tags", .type = F_STRS, .offset = offsetof(struct thing, tags) },
    { .name = "is_on", .type = F_BOOL, .offset = offsetof(struct thing, is_on) },
    { .name = "at", .type = F_TIME, .offset = offsetof(struct thing, at_ms) },
    { .name = "n", .type = F_INT, .offset = offsetof(struct thing, n) },
};
static const struct rec rec_thing = REC("Thing", struct thing, thing_fields, "A thing.");

static void test_a_record_is_a_line_without_its_secrets(void **state)
{
    struct fix *f = *state;
    struct thing full = { .name = STR("=x"),
                          .hidden = STR("no"),
                          .tags = STR("[\"a\",\"b\"]"),
                          .is_on = 1,
                          .at_ms = 1705314600123,
                          .n = 7 };
    struct thing none = { .n = 3 };

    full.bits.has = ~UINT64_C(0);
    assert_true(csv_head(f->s, &rec_thing));
    assert_true(csv_row(f->s, &rec_thing, &full));
    assert_true(csv_row(f->s, &rec_thing, &none));

    assert_string_equal(written(f),
                        "name,tags,is_on,at,n\r\n"
                        "'=x,\"[\"\"a\"\",\"\"b\"\"]\",true,2024-01-15T10:30:00.123Z,7\r\n"
                        ",,,,\r\n");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_cells_are_quoted_when_they_must_be),
        T(test_formulas_are_defused),
        T(test_numbers_are_whole),
        T(test_a_record_is_a_line_without_its_secrets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
