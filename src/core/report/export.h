/* Exports: files made in the background, fetched within a day. Owner of table report_export.
 *
 * An export is a row and, when it is done, a file <dir>/<id>. One worker thread makes one file after
 * the other in constant memory; at most EXPORTS_WAITING_MAX wait. The queue lives in the process: an
 * export that a restart interrupts is marked failed and has to be asked for again. Progress goes
 * into the row at most once a second. Who asked for an export sees it, and who may everything
 * (admin:full); to others it is not there.
 *
 * Threads: exports_* from any thread that may block, outside a unit of work. */
#ifndef TESSERA_CORE_REPORT_EXPORT_H
#define TESSERA_CORE_REPORT_EXPORT_H

#include "../../base/spool.h"
#include "../../store/store.h"
#include "../caller.h"
#include "../cursor.h"
#include "../listing.h"
#include "../usage.h"
#include "report_def.h"

#define EXPORTS_WAITING_MAX 32 /* of all teams */
#define EXPORTS_OPEN_MAX 5     /* queued or running of one team */
#define EXPORT_KEPT_MS ((int64_t)24 * 3600 * 1000)

struct export
{
    struct rec_bits bits;
    struct str id, kind, report_id, name, format, state, error;
    int64_t progress, rows, size, created_ms, finished_ms, expires_ms;
};
extern const struct rec rec_export;

struct export_new { /* POST /v1/exports */
    struct rec_bits bits;
    struct str source, format, filters, from, to;
};
extern const struct rec rec_export_new;
struct export_report_new { /* POST /v1/reports/{report_id}/export */
    struct rec_bits bits;
    struct str format, from, to;
};
extern const struct rec rec_export_report_new;

struct exports;
struct exports_conf {
    struct str dir; /* of the finished files; made when it is not there */
    struct store *store;
    struct usage *usage;
    int64_t usage_days; /* how long the request log is kept: for the progress */
};
/* USAGE when the folder cannot be used. */
enum err_code exports_open(struct ctx *cx, const struct exports_conf *conf, struct exports **out);
/* Marks what a stop has interrupted, removes its files, starts the worker. */
enum err_code exports_start(struct ctx *cx, struct exports *x);
/* Cancels what runs and waits for the worker; before store_close. Frees x. NULL is fine. */
void exports_close(struct exports *x);
/* Removes what has expired; now and then. */
enum err_code exports_sweep(struct ctx *cx, struct exports *x);

/* Checks the ask, writes row and audit, queues the work. INVALID_FIELD, MISSING_FIELD;
 * INSUFFICIENT_SCOPE, INSUFFICIENT_ROLE for the source; CONFLICT when the team has EXPORTS_OPEN_MAX;
 * UNAVAILABLE when too many wait. */
enum err_code exports_add(struct ctx *cx, struct exports *x, const struct caller *who,
                          const struct export_new *in, struct export *out);
/* The same of a saved report; NOT_FOUND. */
enum err_code exports_add_report(struct ctx *cx, struct exports *x, const struct caller *who,
                                 struct str report_id, const struct export_report_new *in,
                                 struct export *out);
/* The file of a finished one. CONFLICT while it is not done; NOT_FOUND. */
enum err_code exports_file(struct ctx *cx, struct exports *x, const struct caller *who,
                           struct str id, struct export *out, struct spool **file);
/* Row and file go; one that runs is stopped. */
enum err_code exports_delete(struct ctx *cx, struct exports *x, const struct caller *who,
                             struct str id);

/* ---- rows: inside a unit, in the caller's scope ---- */

enum err_code export_get(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                         struct export *out);
/* Newest first. */
enum err_code export_list(struct ctx *cx, struct db *db, const struct caller *who,
                          const struct list_query *in, struct cursor_key key, struct page *out);

/* ---- among the files of exports ---- */

struct export_job { /* all its texts live in its arena; made by exports_add, freed by the worker */
    struct arena arena;
    struct caller who;
    struct str id, kind, report_id, name, format;
    struct str definition; /* of a report */
    struct str filters;    /* JSON text of an array, of the others */
    struct report_when from, to;
    int64_t asked_ms;
    struct export_job *next;
};

/* The export of a report, made now on this thread, which may take minutes: *out is done, its file is
 * there. job is filled but for id; who->… owns it. UNAVAILABLE when cx stops. */
enum err_code exports_make(struct ctx *cx, struct exports *x, const struct export_job *job,
                           struct export *out);
/* How far the worker is. `step` is called for every row. */
struct export_progress {
    struct exports *x;
    const struct export_job *job;
    int64_t rows, total; /* total 0: not known */
    int64_t told_us;
};
/* UNAVAILABLE when the process stops, NOT_FOUND (recorded) when the row was deleted. */
enum err_code export_step(struct ctx *cx, struct export_progress *p);
/* Nothing but the file is touched for some seconds: a stop need not wait. */
void export_packing(struct export_progress *p, bool is_packing);

/* export_write.c: the file of the job at `path`. */
struct export_place {
    struct str path, tmp_dir;
    struct store *store;
    struct usage *usage;
    int64_t usage_days;
};
enum err_code export_write(struct ctx *cx, const struct export_place *at,
                           const struct export_job *job, struct export_progress *p);
/* Judges filters and range as export_write will read them. */
enum err_code export_check(struct ctx *cx, const struct export_job *job);

/* export.c: what the worker does to rows. */
enum err_code export_insert(struct ctx *cx, struct db *db, const struct export_job *job,
                            struct str home, struct export *out);
enum err_code export_remove(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                            struct export *out);
struct export_end {
    const struct export_job *job;
    struct str state, error;
    int64_t rows, size, progress;
    bool is_over;
};
/* One that is done already: `to` says its rows and size. */
enum err_code export_insert_done(struct ctx *cx, struct db *db, const struct export_end *to,
                                 struct str home, struct export *out);
/* NOT_FOUND (not recorded) when the row is gone. */
enum err_code export_move(struct ctx *cx, struct db *db, const struct export_end *to);

#endif
