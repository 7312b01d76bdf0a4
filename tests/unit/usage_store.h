/* What the tests of usage share: a store with all migrations, usage on top, writes that carry an
 * event.
 *
 * Token TOKEN of the default team exists. Usage is open and its hooks are installed, its threads
 * are not started. */
#ifndef TESSERA_TESTS_USAGE_STORE_H
#define TESSERA_TESTS_USAGE_STORE_H

#include "base/clock.h"
#include "core/token.h"
#include "core/usage_export.h"
#include "core/usage_inner.h"

#define TEAM STR(TEAM_DEFAULT)
#define TOKEN STR("00000000-0000-7000-8000-00000000000a")
#define OTHER STR("00000000-0000-7000-8000-00000000000b")
#define WAIT_US 20000000

struct ufix {
    char dir[64]; /* "" = PostgreSQL */
    struct ctx cx;
    struct str database;
    struct store *s;
    struct usage *u;
};

/* database STR_NONE: SQLite in a folder of its own. */
struct ufix *ufix_new(struct str database);
void ufix_free(struct ufix *f); /* the folder too */
void ufix_open(struct ufix *f, int64_t buffer_events);
void ufix_crash(struct ufix *f); /* close without usage_stop: pending counts are lost */
void ufix_stop(struct ufix *f);  /* flush and close in order */

/* Set-up and tear-down of a test on SQLite; it is half past noon, so no test crosses the end of an
 * hour or a day. */
int ufix_setup(void **state);
int ufix_teardown(void **state);
int64_t start_of_today(void);

struct usage_event event(struct str token, int status, int64_t at_ms);
enum err_code write_event(struct ufix *f,
                          const struct usage_event *e); /* and wait for its commit */
/* n as writes of one batch or few, all at at_ms. */
void write_many(struct ufix *f, struct str token, int n, int64_t at_ms);
int64_t ask(struct ufix *f, const char *sql);                /* column n of the first row */
bool becomes(struct ufix *f, const char *sql, int64_t want); /* within WAIT_US */
enum err_code run(struct ufix *f, const char *sql);
/* A page of the log of a key, behind row (before_ms, before_id); INT64_MAX twice = from the
 * newest. */
struct list recent(struct ufix *f, struct str token, int64_t before_ms, int64_t before_id,
                   int64_t limit);
/* Rollups and rows tell the same: per token, minute, route and class, in every grain, and over all
 * countries. */
void assert_agreement(struct ufix *f);

#endif
