/* Walking the rows of a sealed column in batches. Inside core/vault only. */
#ifndef TESSERA_CORE_VAULT_WALK_H
#define TESSERA_CORE_VAULT_WALK_H

#include <string.h>

#include "vault_columns.h"
#include "vault_inner.h"

#define VAULT_ROW_MAX 256 /* bytes of a row id */

struct vault_name { /* a text that outlives the unit that read it */
    char p[VAULT_ROW_MAX];
    size_t n;
};
static inline struct str vault_name_view(const struct vault_name *n)
{
    return (struct str){ n->p, n->n };
}
static inline void vault_name_set(struct vault_name *n, struct str s)
{
    BUG_IF(s.n > sizeof n->p);
    if (s.n)
        memcpy(n->p, s.p, s.n);
    n->n = s.n;
}

struct vault_walk { /* one batch */
    const struct vault_column *column;
    struct str team_id;      /* "" = no team */
    struct str like, unlike; /* patterns of the texts that are meant */
    struct str after;        /* row id; "" = from the first */
    struct str seen_by;      /* for the quarantine */
    int64_t batch;
    bool is_dry;
    /* what came of it */
    struct str last; /* the row id that was reached; lives in cx */
    bool is_end;     /* no rows behind it */
    int64_t resealed, quarantined;
};
/* Opens the next rows and seals them under the team's active key; what does not open goes to the
 * quarantine. Dry: only tries to open. Inside a unit of system scope (a write unit unless dry). */
enum err_code vault_walk_batch(struct ctx *cx, struct db *db, struct vault_walk *w);
/* The column counts for this team: its rows have a team, or belong to none. */
bool vault_column_is_of(const struct vault_column *c, struct str team_id);
/* Texts of the team in the column that match. */
enum err_code vault_column_count(struct ctx *cx, struct db *db, const struct vault_walk *w,
                                 int64_t *n);
enum err_code vault_quarantine_put(struct ctx *cx, struct db *db, const struct vault_place *at,
                                   struct str reason, struct str seen_by);
enum err_code vault_quarantine_drop(struct ctx *cx, struct db *db, const struct vault_place *at);

#endif
