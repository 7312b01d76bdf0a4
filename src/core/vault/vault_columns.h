/* The columns that hold sealed texts: one table, which sealing, rotation, status and the tests
 * read.
 *
 * To add one: a row here, vault_place of it in vault_seal and vault_open. Sealing into a column
 * without a row is a bug and aborts. Inside core/vault only. */
#ifndef TESSERA_CORE_VAULT_COLUMNS_H
#define TESSERA_CORE_VAULT_COLUMNS_H

#include "../../base/str.h"

struct vault_column {
    const char *table, *column;
    const char *row;  /* SQL: the row id, a text that is unique in the team, 1 to 256 bytes */
    const char *team; /* the column with the team, NULL: the rows belong to no team */
};

/* `table` NULL ends it. */
const struct vault_column *vault_columns(void);
const struct vault_column *vault_column_find(struct str table, struct str column);
/* Seam for tests: another table; NULL = the real one. */
void vault_columns_source(const struct vault_column *other);

#endif
