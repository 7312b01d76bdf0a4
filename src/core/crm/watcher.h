/* Watchers: who wants to hear about a ticket: users of the team, agents, contacts. Owner of table
 * ticket_watcher. All need a ticket that the caller sees: NOT_FOUND. */
#ifndef TESSERA_CORE_CRM_WATCHER_H
#define TESSERA_CORE_CRM_WATCHER_H

#include "../../store/store.h"
#include "../caller.h"
#include "../listing.h"

#define WATCHERS_MAX 200 /* of one ticket */

struct watcher {
    struct rec_bits bits;
    struct str id, kind;
    int64_t created_ms;
};
extern const struct rec rec_watcher;
extern const struct rec rec_watcher_new; /* {"kind", "id"}; a user may leave both out: itself */

/* UNIQUE when it watches already; INVALID_FIELD names id when there is nobody of that kind and id
 * in the team; CONFLICT at WATCHERS_MAX. */
enum err_code watcher_add(struct ctx *cx, struct db *db, const struct caller *who,
                          struct str ticket_id, const struct watcher *in, struct watcher *out);
enum err_code watcher_remove(struct ctx *cx, struct db *db, const struct caller *who,
                             struct str ticket_id, struct str id);
/* By id. */
enum err_code watcher_list(struct ctx *cx, struct db *db, const struct caller *who,
                           struct str ticket_id, const struct page_ask *ask, struct page *out);

#endif
