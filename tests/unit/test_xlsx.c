/* Facts about xlsx.c, read back from the packed file: cells, what a sheet cannot hold, full sheets. */
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
#include <zlib.h>

#include "base/xlsx.h"

#define FILE_MAX ((size_t)1 << 20)
#define SHEET_MAX ((size_t)8 << 20)

struct fix {
    struct ctx cx;
    char dir[64], path[96];
    struct xlsx *x;
    unsigned char file[FILE_MAX];
    size_t n;
    char sheet[SHEET_MAX];
};

static int setup(void **state)
{
    struct fix *f = calloc(1, sizeof *f);

    assert_non_null(f);
    ctx_init(&f->cx, CTX_CAP_DEFAULT);
    snprintf(f->dir, sizeof f->dir, "/tmp/tessera-xlsx-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof f->path, "%s/book.xlsx", f->dir);
    assert_int_equal(xlsx_open(&f->cx, str_of(f->path), str_of(f->dir), &f->x), ERR_NONE);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fix *f = *state;

    unlink(f->path);
    assert_int_equal(rmdir(f->dir), 0); /* no temporary file is left */
    ctx_done(&f->cx);
    free(f);
    return 0;
}

static void head(struct fix *f, size_t n)
{
    const struct str names[] = { STR("a"), STR("b"), STR("c"), STR("d"), STR("e") };

    xlsx_head(f->x, names, n);
}

static void done(struct fix *f)
{
    assert_int_equal(xlsx_done(&f->cx, f->x), ERR_NONE);
    FILE *in = fopen(f->path, "rb");
    assert_non_null(in);
    f->n = fread(f->file, 1, FILE_MAX, in);
    fclose(in);
    assert_true(f->n > 100 && f->n < FILE_MAX);
}

/* The local header of a member: its name stands behind 30 fixed bytes. NULL when it is not there. */
static const unsigned char *member(const struct fix *f, const char *name)
{
    size_t n = strlen(name);

    for (size_t i = 0; i + 30 + n < f->n; i++)
        if (!memcmp(f->file + i, "PK\3\4", 4) && !memcmp(f->file + i + 30, name, n))
            return f->file + i;
    return NULL;
}

/* The XML of a sheet. */
static const char *sheet(struct fix *f, int number)
{
    char name[64];
    snprintf(name, sizeof name, "xl/worksheets/sheet%d.xml", number);
    const unsigned char *p = member(f, name);
    assert_non_null(p);
    size_t skip = 30 + (size_t)(p[26] | p[27] << 8) + (size_t)(p[28] | p[29] << 8);
    z_stream z = { .next_in = (unsigned char *)(uintptr_t)(p + skip),
                   .avail_in = (unsigned)(f->n - (size_t)(p - f->file) - skip),
                   .next_out = (unsigned char *)f->sheet,
                   .avail_out = SHEET_MAX - 1 };
    assert_int_equal(inflateInit2(&z, -15), Z_OK);
    assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
    f->sheet[z.total_out] = '\0';
    inflateEnd(&z);
    return f->sheet;
}

static void assert_has(const char *text, const char *part)
{
    if (!strstr(text, part))
        print_error("no %s in %.2000s\n", part, text);
    assert_non_null(strstr(text, part));
}

static void test_cells_have_their_kinds(void **state)
{
    struct fix *f = *state;

    head(f, 5);
    xlsx_text(f->x, STR("=1+1"));
    xlsx_int(f->x, -7);
    xlsx_real(f->x, 2.5);
    xlsx_bool(f->x, true);
    xlsx_time(f->x, INT64_C(1774656000000)); /* 2026-03-28 */
    assert_true(xlsx_end(f->x));
    done(f);

    const char *xml = sheet(f, 1);
    assert_has(xml, "<c r=\"A1\" s=\"1\" t=\"inlineStr\"><is><t>a</t></is></c>");
    assert_has(xml, "<c r=\"A2\" t=\"inlineStr\"><is><t>=1+1</t></is></c>");
    assert_has(xml, "<c r=\"B2\"><v>-7</v></c><c r=\"C2\"><v>2.5</v></c>");
    assert_has(xml, "<c r=\"D2\" t=\"b\"><v>1</v></c><c r=\"E2\" s=\"2\"><v>46109</v></c>");
    assert_null(strstr(xml, "<f>"));
}

static void test_what_xml_cannot_hold_is_left_out(void **state)
{
    struct fix *f = *state;

    head(f, 5);
    xlsx_text(f->x, STR("a\x01\x1F\r<&>\"b"));
    xlsx_text(f->x, STR("\xEF\xBF\xBEx\xEF\xBF\xBF\xEF\xBF\xBD"));
    xlsx_text(f->x, STR("_x0041_ _xZZZZ_ _x"));
    xlsx_text(f->x, STR("\xC3("));
    xlsx_text(f->x, STR_NONE);
    assert_true(xlsx_end(f->x));
    done(f);

    const char *xml = sheet(f, 1);
    assert_has(xml, "<t>a&lt;&amp;&gt;\"b</t>");
    assert_has(xml, "<t>x\xEF\xBF\xBD</t>");
    assert_has(xml, "<t>_x005F_x0041_ _xZZZZ_ _x</t>");
    assert_has(xml, "<t>?(</t>");
    assert_null(strstr(xml, "r=\"E2\""));
}

static void test_long_texts_are_cut_at_utf16_units(void **state)
{
    struct fix *f = *state;
    struct buf b;

    buf_init(&b, &f->cx.arena, 300000);
    buf_char(&b, 'x');
    for (int i = 0; i < 20000; i++)
        buf_lit(&b, "\xF0\x9F\x98\x80"); /* two units each */
    head(f, 1);
    xlsx_text(f->x, buf_view(&b));
    assert_true(xlsx_end(f->x));
    done(f);

    const char *xml = strstr(sheet(f, 1), "r=\"A2\"");
    const char *text = strstr(xml, "<t>") + 3;
    assert_int_equal(strstr(text, "</t>") - text, 1 + 4 * 16383);
}

static void test_a_full_sheet_goes_on_under_the_same_header(void **state)
{
    struct fix *f = *state;

    head(f, 1);
    xlsx_rows_max(f->x, 3);
    for (int i = 1; i <= 5; i++) {
        xlsx_int(f->x, i);
        assert_true(xlsx_end(f->x));
    }
    done(f);

    assert_has(sheet(f, 1), "<c r=\"A3\"><v>2</v></c></row></sheetData>");
    for (int i = 2; i <= 3; i++)
        assert_has(sheet(f, i), "<is><t>a</t></is>");
    assert_has(sheet(f, 3), "<c r=\"A2\"><v>5</v></c></row></sheetData>");
    assert_null(member(f, "xl/worksheets/sheet4.xml"));
}

static void test_a_dropped_workbook_leaves_nothing(void **state)
{
    struct fix *f = *state;

    head(f, 1);
    for (int i = 0; i < 1000; i++) {
        xlsx_text(f->x, STR("text"));
        assert_true(xlsx_end(f->x));
    }
    xlsx_drop(f->x);
    xlsx_drop(NULL);

    assert_int_equal(access(f->path, F_OK), -1);
}

static void test_a_file_that_cannot_be_made_is_told(void **state)
{
    struct fix *f = *state;
    struct xlsx *other;

    head(f, 1);
    xlsx_drop(f->x);
    assert_int_equal(xlsx_open(&f->cx, STR("/nowhere/at/all.xlsx"), str_of(f->dir), &other),
                     ERR_NONE);
    f->x = other;
    head(f, 1);
    assert_int_equal(xlsx_done(&f->cx, other), ERR_UNAVAILABLE);
}

struct thing {
    struct rec_bits bits;
    struct str name, hidden;
    int64_t is_on, n;
};
static const struct field thing_fields[] = {
    { .name = "name", .type = F_STR, .offset = offsetof(struct thing, name) },
    { .name = "hidden",
      .type = F_STR,
      .flags = F_SECRET,
      .offset = offsetof(struct thing, hidden) },
    { .name = "is_on", .type = F_BOOL, .offset = offsetof(struct thing, is_on) },
    { .name = "n", .type = F_INT, .offset = offsetof(struct thing, n) },
};
static const struct rec rec_thing = REC("Thing", struct thing, thing_fields, "A thing.");

static void test_a_record_is_a_row_without_its_secrets(void **state)
{
    struct fix *f = *state;
    struct thing t = { .name = STR("x"), .hidden = STR("no"), .n = 3 };

    REC_SET(&t, name);
    REC_SET(&t, hidden);
    REC_SET(&t, n);
    xlsx_rec_head(f->x, &rec_thing);
    assert_true(xlsx_rec_row(f->x, &rec_thing, &t));
    done(f);

    const char *xml = sheet(f, 1);
    assert_has(xml, "<t>is_on</t></is></c><c r=\"C1\"");
    assert_has(xml, "<is><t>x</t></is></c><c r=\"C2\"><v>3</v></c></row>");
    assert_null(strstr(xml, "no<"));
    assert_null(strstr(xml, "hidden"));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_cells_have_their_kinds),
        T(test_what_xml_cannot_hold_is_left_out),
        T(test_long_texts_are_cut_at_utf16_units),
        T(test_a_full_sheet_goes_on_under_the_same_header),
        T(test_a_dropped_workbook_leaves_nothing),
        T(test_a_file_that_cannot_be_made_is_told),
        T(test_a_record_is_a_row_without_its_secrets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
