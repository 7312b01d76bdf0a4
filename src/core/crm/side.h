/* Side tables: the keys of a row, each with the row's id, for finding it by one of them. A row's
 * keys are worked out from the row itself, so the old ones are known without reading the table.
 *
 * A side table has three text columns: team_id, the key, the id of the row. Inside a unit of
 * work. */
#ifndef TESSERA_CORE_CRM_SIDE_H
#define TESSERA_CORE_CRM_SIDE_H

#include "../../store/store.h"

#define KEYS_MAX 128

struct keys { /* no key twice */
    size_t n;
    struct str v[KEYS_MAX];
};
/* Adds a key that is not in yet; false when there is no room. */
bool keys_add(struct keys *k, struct str key);

#define SIDE_BATCH 8 /* keys in one statement */
struct side {
    const char *add, *add_batch, *drop_batch;
};
#define SIDE(table, key, owner)                                                                    \
    {                                                                                              \
        .add = "INSERT INTO " table " (team_id, " key ", " owner ") VALUES ($1, $3, $2) "          \
               "ON CONFLICT DO NOTHING",                                                           \
        .add_batch = "INSERT INTO " table " (team_id, " key ", " owner ") VALUES ($1, $3, $2), "   \
                     "($1, $4, $2), ($1, $5, $2), ($1, $6, $2), ($1, $7, $2), ($1, $8, $2), "      \
                     "($1, $9, $2), ($1, $10, $2) ON CONFLICT DO NOTHING",                         \
        .drop_batch = "DELETE FROM " table " WHERE team_id = $1 AND " owner " = $2 AND " key       \
                      " IN ($3, $4, $5, $6, $7, $8, $9, $10)",                                     \
    }

struct side_change {
    const struct side *side;
    struct str team_id, id;
    const struct keys *old, *now; /* NULL = none */
};
/* Drops what is gone, adds what is new. */
enum err_code side_apply(struct ctx *cx, struct db *db, const struct side_change *c);

#endif
