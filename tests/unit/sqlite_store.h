/* What the tests of the store on SQLite share: a store in a folder of its own, statements in a
 * line.
 *
 * The tables item (id, s, n) and part (item_id → item, s) exist and are empty. The tear-down fails
 * when anything but the database and the backup of test_backup.c is left in the folder. */
#ifndef TESSERA_TESTS_SQLITE_STORE_H
#define TESSERA_TESTS_SQLITE_STORE_H

#include "store/backend.h"

struct fix {
    char dir[64];
    struct ctx cx;
    struct store *s;
    bool is_in_unit; /* a UNIT_TEST runs */
};

int store_setup(void **state);         /* opened */
int store_setup_serving(void **state); /* opened and started */
int store_teardown(void **state);

/* One statement in a transaction of its own; its failure is forgotten in f->cx. */
enum err_code exec(struct fix *f, const char *sql);
/* A unit that inserts the item of this id; and the same with its transaction. */
enum err_code insert(struct ctx *cx, struct db *db, int64_t id);
enum err_code tx_insert(struct fix *f, int64_t id);
/* What a reader sees: the column n of the first row; the rows of item. */
int64_t number(struct fix *f, const char *sql);
int64_t items(struct fix *f);

#define T(name) cmocka_unit_test_setup_teardown(name, store_setup, store_teardown)
#define T_SERVING(name) cmocka_unit_test_setup_teardown(name, store_setup_serving, store_teardown)

#endif
