/* Workbooks: see xlsx.h. A struct xlsx owns the workbook; libxlsxwriter keeps one row in memory. */
#include "xlsx.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xlsxwriter.h>

#include "arena.h"
#include "clock.h"
#include "log.h"

#define EPOCH_DAY 25569.0 /* 1970-01-01 as Excel counts */
#define TEXT_BYTES ((size_t)XLSX_TEXT_MAX * 3 + 8)
#define COLUMN_WIDTH 18.0
#define CELL_ARENA ((size_t)1 << 20)

struct xlsx {
    lxw_workbook *book;
    lxw_worksheet *sheet;
    lxw_format *bold, *time;
    struct arena names; /* of the header */
    struct str head[XLSX_COLUMNS_MAX];
    size_t n_head;
    lxw_row_t row;
    lxw_col_t col;
    int64_t rows_max;
    bool is_bad;
    char tmp_dir[1024];
    char text[TEXT_BYTES];
};

enum err_code xlsx_open(struct ctx *cx, struct str path, struct str tmp_dir, struct xlsx **out)
{
    struct xlsx *x = calloc(1, sizeof *x);
    BUG_IF(!x || tmp_dir.n >= sizeof x->tmp_dir);
    memcpy(x->tmp_dir, tmp_dir.p, tmp_dir.n);
    lxw_workbook_options how = { .constant_memory = LXW_TRUE,
                                 .tmpdir = x->tmp_dir,
                                 .use_zip64 = LXW_TRUE };
    x->book = workbook_new_opt(str_cstr(&cx->arena, path), &how);
    if (!x->book) {
        free(x);
        log_error(NULL, "xlsx.open_failed", KVS("dir", tmp_dir));
        return ctx_fail_plain(cx, ERR_UNAVAILABLE);
    }
    x->bold = workbook_add_format(x->book);
    x->time = workbook_add_format(x->book);
    x->rows_max = XLSX_ROWS_MAX;
    arena_init(&x->names, CELL_ARENA);
    format_set_bold(x->bold);
    format_set_num_format(x->time, "yyyy-mm-dd hh:mm:ss");
    *out = x;
    return ERR_NONE;
}

void xlsx_rows_max(struct xlsx *x, int64_t n)
{
    BUG_IF(n < 2 || n > XLSX_ROWS_MAX);
    x->rows_max = n;
}

static void note_error(struct xlsx *x, lxw_error e)
{
    if (e && !x->is_bad)
        log_error(NULL, "xlsx.write_failed", KVC("why", lxw_strerror(e)));
    x->is_bad |= e != LXW_NO_ERROR;
}

/* ---- text ---- */

/* The bytes of the character at s, 0 when it has no place in XML 1.0. */
static size_t take_char(struct str s, int *units)
{
    unsigned char c = (unsigned char)s.p[0];
    size_t n = c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
    *units = n == 4 ? 2 : 1;
    if (n == 1)
        return c < ' ' && c != '\n' && c != '\t' ? 0 : 1;
    if (n == 3 && c == 0xEF && (unsigned char)s.p[1] == 0xBF && (unsigned char)s.p[2] >= 0xBE)
        return 0; /* U+FFFE, U+FFFF */
    return n;
}

/* "_x0041_" would be read as an escape: its underscore is escaped. */
static bool is_escape(struct str s)
{
    if (s.n < 7 || s.p[0] != '_' || s.p[1] != 'x' || s.p[6] != '_')
        return false;
    for (int i = 2; i < 6; i++)
        if (!strchr("0123456789abcdefABCDEF", s.p[i]))
            return false;
    return true;
}

static bool put(struct xlsx *x, size_t *at, int *units, struct str piece, int piece_units)
{
    if (*units + piece_units > XLSX_TEXT_MAX)
        return false;
    memcpy(x->text + *at, piece.p, piece.n);
    *at += piece.n;
    *units += piece_units;
    return true;
}

static const char *clean(struct xlsx *x, struct str s)
{
    bool is_text = str_is_utf8(s), has_room = true;
    size_t at = 0;
    int units = 0;
    for (size_t i = 0; i < s.n && has_room;) {
        int n_units = 1;
        bool is_high = !is_text && (unsigned char)s.p[i] >= 0x80;
        size_t n = is_high ? 1 : take_char(str_sub(s, i, s.n), &n_units);
        if (is_high)
            has_room = put(x, &at, &units, STR("?"), 1);
        else if (n && is_escape(str_sub(s, i, 7)))
            has_room = put(x, &at, &units, STR("_x005F_"), 7);
        else if (n)
            has_room = put(x, &at, &units, str_sub(s, i, n), n_units);
        i += n ? n : n_units == 1 && (unsigned char)s.p[i] < ' ' ? 1 : 3;
    }
    x->text[at] = '\0';
    return x->text;
}

/* ---- cells ---- */

static void begin_sheet(struct xlsx *x)
{
    x->sheet = workbook_add_worksheet(x->book, NULL);
    x->row = 0;
    if (!x->sheet) {
        note_error(x, LXW_ERROR_MEMORY_MALLOC_FAILED);
        return;
    }
    worksheet_freeze_panes(x->sheet, 1, 0);
    worksheet_set_column(x->sheet, 0, (lxw_col_t)(x->n_head ? x->n_head - 1 : 0), COLUMN_WIDTH,
                         NULL);
    for (size_t i = 0; i < x->n_head; i++)
        note_error(
            x, worksheet_write_string(x->sheet, 0, (lxw_col_t)i, clean(x, x->head[i]), x->bold));
    x->row = 1;
}

void xlsx_head(struct xlsx *x, const struct str *names, size_t n)
{
    BUG_IF(n > XLSX_COLUMNS_MAX || x->sheet);
    for (size_t i = 0; i < n; i++)
        x->head[i] = str_dup(&x->names, names[i]);
    x->n_head = n;
    begin_sheet(x);
}

static bool has_place(struct xlsx *x)
{
    if (x->is_bad)
        return false;
    BUG_IF(!x->sheet || x->col >= x->n_head);
    if (x->col == 0 && x->row >= x->rows_max)
        begin_sheet(x);
    return !x->is_bad;
}

void xlsx_text(struct xlsx *x, struct str s)
{
    if (!has_place(x))
        return;
    if (s.n)
        note_error(x, worksheet_write_string(x->sheet, x->row, x->col, clean(x, s), NULL));
    x->col++;
}

void xlsx_real(struct xlsx *x, double v)
{
    if (has_place(x))
        note_error(x, worksheet_write_number(x->sheet, x->row, x->col++, v, NULL));
}

void xlsx_int(struct xlsx *x, int64_t v)
{
    xlsx_real(x, (double)v);
}

void xlsx_bool(struct xlsx *x, bool v)
{
    if (has_place(x))
        note_error(x, worksheet_write_boolean(x->sheet, x->row, x->col++, v, NULL));
}

void xlsx_time(struct xlsx *x, int64_t ms)
{
    if (has_place(x))
        note_error(x, worksheet_write_number(x->sheet, x->row, x->col++,
                                             EPOCH_DAY + (double)ms / (double)DAY_MS, x->time));
}

bool xlsx_end(struct xlsx *x)
{
    x->col = 0;
    x->row++;
    if (!x->is_bad && x->sheet->optimize_tmpfile && ferror(x->sheet->optimize_tmpfile))
        note_error(x, LXW_ERROR_CREATING_TMPFILE);
    return !x->is_bad;
}

/* ---- by a field table ---- */

void xlsx_rec_head(struct xlsx *x, const struct rec *r)
{
    struct str names[XLSX_COLUMNS_MAX];
    size_t n = 0;
    for (size_t i = 0; i < r->n; i++)
        if (!(r->fields[i].flags & F_SECRET)) {
            BUG_IF(n == XLSX_COLUMNS_MAX);
            names[n++] = str_of(r->fields[i].name);
        }
    xlsx_head(x, names, n);
}

static void put_field(struct xlsx *x, const struct field *f, const void *obj)
{
    const char *at = (const char *)obj + f->offset;
    if (!rec_bit(&((const struct rec_bits *)obj)->has, f->offset)) {
        xlsx_text(x, STR_NONE);
        return;
    }
    if (!field_is_int(f)) {
        xlsx_text(x, *(const struct str *)(const void *)at);
        return;
    }
    int64_t v = *(const int64_t *)(const void *)at;
    if (f->type == F_BOOL)
        xlsx_bool(x, v);
    else if (f->type == F_TIME || f->type == F_TIME_S)
        xlsx_time(x, v);
    else
        xlsx_int(x, v);
}

bool xlsx_rec_row(struct xlsx *x, const struct rec *r, const void *obj)
{
    for (size_t i = 0; i < r->n; i++)
        if (!(r->fields[i].flags & F_SECRET))
            put_field(x, &r->fields[i], obj);
    return xlsx_end(x);
}

/* ---- the end ---- */

static void release(struct xlsx *x)
{
    arena_done(&x->names);
    free(x);
}

enum err_code xlsx_done(struct ctx *cx, struct xlsx *x)
{
    if (x->is_bad) {
        xlsx_drop(x);
        return ctx_fail_plain(cx, ERR_UNAVAILABLE);
    }
    note_error(x, workbook_close(x->book)); /* frees it, whatever happens */
    bool is_bad = x->is_bad;
    release(x);
    return is_bad ? ctx_fail_plain(cx, ERR_UNAVAILABLE) : ERR_NONE;
}

void xlsx_drop(struct xlsx *x)
{
    if (!x)
        return;
    lxw_workbook_free(x->book);
    release(x);
}
