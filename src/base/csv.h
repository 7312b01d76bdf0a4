/* CSV on its way into a spool: RFC 4180, UTF-8, CRLF, a header line.
 *
 * A cell of text is quoted when it must be. Text that a spreadsheet would take for a formula (it
 * begins with = + - @, a tab or a carriage return) gets an apostrophe before it. A full disk shows
 * in the spool: csv_end and csv_row answer false, spool_done fails. One thread at a time. */
#ifndef TESSERA_BASE_CSV_H
#define TESSERA_BASE_CSV_H

#include "rec.h"
#include "spool.h"

/* One cell; STR_NONE is an empty one. The caller puts csv_sep between cells, csv_end after the
 * last. */
void csv_text(struct spool *s, struct str text);
void csv_int(struct spool *s, int64_t v);
void csv_time(struct spool *s, int64_t ms); /* RFC 3339 with milliseconds */
void csv_sep(struct spool *s);
bool csv_end(struct spool *s);

/* A whole line by a field table: the names, or the values of one object (a missing one is an empty
 * cell; F_BOOL true/false; JSON as its text). F_SECRET fields are left out. */
bool csv_head(struct spool *s, const struct rec *r);
bool csv_row(struct spool *s, const struct rec *r, const void *obj);

#endif
