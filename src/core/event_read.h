/* Events as administrators read them: the list that tools poll, and what a webhook is sent. Inside a
 * unit in the scope of who->team_id. */
#ifndef TESSERA_CORE_EVENT_READ_H
#define TESSERA_CORE_EVENT_READ_H

#include "event.h"
#include "listing.h"

struct event_shown { /* the body of a full delivery */
    struct rec_bits bits;
    struct str id, type, team_id, entity, actor, data, previous;
    struct str actor_kind, actor_id, actor_name; /* as stored */
    int64_t seq, at_ms;
};
extern const struct rec rec_event;
extern const struct rec rec_event_actor;
extern const char *const event_words[]; /* of all types, NULL-terminated */

struct event_query {
    struct rec_bits bits;
    struct str type, subject_id, cursor;
    int64_t from, to, limit;
};
extern const struct rec rec_event_query;

/* Newest first; tests are left out. */
enum err_code event_list(struct ctx *cx, struct db *db, const struct caller *who,
                         const struct event_query *in, struct cursor_key key, struct page *out);
/* NOT_FOUND; INVALID_PARAMETER when id is no UUID. */
enum err_code event_get(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                        struct event_shown *out);
/* The same as it is stored. NOT_FOUND is not recorded. */
enum err_code event_load(struct ctx *cx, struct db *db, struct str team_id, struct str id,
                         struct event *out);
/* " AND …" for what happened from `from` (NULL: any time) until before `to` (NULL: now), found by
 * the index over ids. */
void event_between(struct listing *l, const int64_t *from, const int64_t *to);

#endif
