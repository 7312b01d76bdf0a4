/* What happened to a contact: who changed what from what to what. Owner of table
 * contact_activity. Rows are written in the transaction of the change; merging moves none: the
 * history of a contact is its own and that of those merged into it. */
#ifndef TESSERA_CORE_CRM_CONTACT_ACTIVITY_H
#define TESSERA_CORE_CRM_CONTACT_ACTIVITY_H

#include "../../store/store.h"
#include "../caller.h"
#include "activity.h"

struct contact_activity {
    struct rec_bits bits;
    struct str id, contact_id, actor_kind, actor_id, actor_name, action, changes;
    int64_t created_ms;
};
extern const struct rec rec_contact_activity;

struct contact_event {
    struct str contact_id;
    const char *action; /* created, updated, merged (others into it), merged_into, deleted */
    const struct activity_change *changes;
    size_t n;
};
enum err_code contact_activity_write(struct ctx *cx, struct db *db, const struct caller *who,
                                     const struct contact_event *ev);
/* Newest first. Of a merged contact: that of the one that took it over. NOT_FOUND. */
enum err_code contact_activity_list(struct ctx *cx, struct db *db, const struct caller *who,
                                    struct str contact_id, const struct page_ask *ask,
                                    struct page *out);

#endif
