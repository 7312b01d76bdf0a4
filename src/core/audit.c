/* The audit log: see audit.h. */
#include "audit.h"

enum err_code audit_write(struct ctx *cx, struct db *db, const struct caller *who,
                          const struct audit_entry *entry)
{
    (void)cx, (void)db, (void)who, (void)entry;
    return ERR_NONE;
}

struct str audit_json(struct ctx *cx, const struct rec *r, const void *obj)
{
    (void)cx, (void)r, (void)obj;
    return STR_NONE;
}

void audit_setup(struct str master_key)
{
    (void)master_key;
}
