/* What the tests against PostgreSQL share: a server, stores on it, units in flight.
 *
 * TESSERA_TEST_PG (a conninfo of a superuser, as a postgresql:// URL) names a server; without it
 * with_postgres.sh starts one for the run of the program, and only then pg_own_folder is set and
 * the server may be stopped. The tables item (id, name, ok, small) and item_part (item_id, n) exist
 * and are empty at the begin of each test. */
#ifndef TESSERA_TESTS_PG_SERVER_H
#define TESSERA_TESTS_PG_SERVER_H

#include <semaphore.h>

#include "store/backend.h"

#define WAIT_S 30 /* longest wait for anything */

extern char pg_conninfo[512];
extern char pg_own_folder[256]; /* "" = somebody else's server */
extern struct arena pg_texts;   /* of one test */

int pg_server_up(void **state); /* group set-up */
int pg_server_down(void **state);
int pg_test_begin(void **state); /* test set-up */

/* Run with_postgres.sh; the first line of its output into out (may be NULL). */
bool pg_script(const char *verb, const char *arg, char *out, size_t cap);
/* Straight to the server, beside the code under test: the first value of a superuser's statement as
 * a number. */
long pg_direct(const char *sql);

struct store *pg_store(const char *database, int writers); /* opened and started */

typedef enum err_code unit_fn(struct ctx *cx, struct db *db, void *arg);
enum err_code pg_tx(struct store *s, unit_fn *fn, void *arg);
enum err_code pg_read(struct store *s, unit_fn *fn, void *arg);

struct work { /* a unit in flight */
    struct unit u;
    struct ctx cx;
    sem_t done;
    enum err_code err;
    int64_t id; /* for the function */
};
void work_start(struct store *s, struct work *w, unit_fn *fn, int64_t id, uint64_t key);
enum err_code work_end(struct work *w); /* waits */
bool wait_for(sem_t *sem);              /* false: not within WAIT_S */

/* A unit: INSERT INTO item of the id of arg, a struct work. */
enum err_code add_item(struct ctx *cx, struct db *db, void *arg);

#endif
