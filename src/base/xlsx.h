/* An XLSX workbook written row by row in constant memory (libxlsxwriter): rows go to a temporary
 * file at once and are packed when the workbook is done.
 *
 * Every text is a text, never a formula; what XML or Excel cannot hold is left out: control
 * characters, and what is behind the 32,767th UTF-16 unit of a cell. A sheet that is full is
 * continued on the next one under the same header. One thread at a time. */
#ifndef TESSERA_BASE_XLSX_H
#define TESSERA_BASE_XLSX_H

#include "rec.h"

#define XLSX_ROWS_MAX 1048576 /* of a sheet, the header included */
#define XLSX_COLUMNS_MAX 64
#define XLSX_TEXT_MAX 32767 /* UTF-16 units of a cell */

struct xlsx;

/* A workbook that xlsx_done will write to the file `path`; temporary files are in tmp_dir.
 * UNAVAILABLE when they cannot be made. */
enum err_code xlsx_open(struct ctx *cx, struct str path, struct str tmp_dir, struct xlsx **out);
/* The header, which every sheet begins with; before the first row, at most XLSX_COLUMNS_MAX. */
void xlsx_head(struct xlsx *x, const struct str *names, size_t n);
/* The next cell of the row. */
void xlsx_text(struct xlsx *x, struct str s); /* STR_NONE: an empty cell */
void xlsx_int(struct xlsx *x, int64_t v);
void xlsx_real(struct xlsx *x, double v);
void xlsx_bool(struct xlsx *x, bool v);
void xlsx_time(struct xlsx *x, int64_t ms); /* shown as that wall time in UTC */
/* The row is over. False when it cannot be kept: every later call fails too. */
bool xlsx_end(struct xlsx *x);

/* The header and a row by a field table: F_SECRET fields are left out, JSON is its text. */
void xlsx_rec_head(struct xlsx *x, const struct rec *r);
bool xlsx_rec_row(struct xlsx *x, const struct rec *r, const void *obj);

/* Pack and write the file; x is gone afterwards. UNAVAILABLE when anything failed: then a part of
 * the file may be there. Takes seconds for a million rows. */
enum err_code xlsx_done(struct ctx *cx, struct xlsx *x);
void xlsx_drop(struct xlsx *x);                /* without writing the file; NULL is fine */
void xlsx_rows_max(struct xlsx *x, int64_t n); /* tests only: a sheet is full with n rows */

#endif
