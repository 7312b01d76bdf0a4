/* The audit log: who changed what, from where, from what to what. Owner of tables audit_log and
 * audit_head.
 *
 * A row is written in the transaction of the change itself, so neither exists without the other.
 * Rows of a team form a chain: each holds a hash over its content and the hash before it, keyed
 * with the master key where there is one; audit_verify finds the first row that was changed,
 * removed or put in between. Secrets never get in: before and after are printed by field tables,
 * which leave F_SECRET members out. */
#ifndef TESSERA_CORE_AUDIT_H
#define TESSERA_CORE_AUDIT_H

#include "../store/store.h"
#include "caller.h"

struct audit_entry {
    const char *action;      /* "api_key.create": noun.verb, static text */
    const char *target_type; /* "api_key" */
    struct str target_id;
    struct str before, after; /* JSON text of an object or STR_NONE; see audit_json */
};

/* In the unit of the change, after it; who->team_id names the team (and the unit's scope must be
 * it). */
enum err_code audit_write(struct ctx *cx, struct db *db, const struct caller *who,
                          const struct audit_entry *entry);
/* The object by its table, secrets left out. NULL gives STR_NONE. Lives in cx. */
struct str audit_json(struct ctx *cx, const struct rec *r, const void *obj);
/* The key of the chain: from the master key; without a call (or a master key) the chain is plain
 * SHA-256. Once, at start. */
void audit_setup(struct str master_key);

#endif
