/* What happened to a ticket: who changed what from what to what. Owner of table ticket_activity.
 *
 * A row is written in the transaction of the change. The creation has none: the ticket's own row
 * tells it. Long texts are cut, so that a row stays small whatever is changed. */
#ifndef TESSERA_CORE_CRM_ACTIVITY_H
#define TESSERA_CORE_CRM_ACTIVITY_H

#include "../../store/store.h"
#include "../caller.h"
#include "../listing.h"

#define ACTIVITY_TEXT_MAX 500 /* characters of a value that are shown */
#define ACTIVITY_CHANGES_MAX 16

struct activity_change {
    const char *field;
    struct str from, to; /* JSON text; STR_NONE = null */
};

struct activity {
    struct rec_bits bits;
    struct str id, ticket_id, actor_kind, actor_id, actor_name, action, changes;
    int64_t created_ms;
};
extern const struct rec rec_activity;

extern const struct rec rec_activity_change; /* one of `changes`; contacts have the same */
/* The JSON array that `changes` holds. */
struct str activity_changes(struct ctx *cx, const struct activity_change *changes, size_t n);
/* A text as the JSON string of its first ACTIVITY_TEXT_MAX characters; STR_NONE stays it. */
struct str activity_text(struct ctx *cx, struct str s);
/* JSON text as it is, or as a cut string when it is longer than that. */
struct str activity_json(struct ctx *cx, struct str json);

/* One row; action is static text: one of activity_actions. No changes is fine. */
enum err_code activity_write(struct ctx *cx, struct db *db, const struct caller *who,
                             struct str ticket_id, const char *action,
                             const struct activity_change *changes, size_t n);
/* The usual row about something that came (from null) or went (to null). */
enum err_code activity_note(struct ctx *cx, struct db *db, const struct caller *who,
                            struct str ticket_id, const char *action,
                            struct activity_change change);
/* Newest first; the ticket must be visible to the caller: NOT_FOUND. */
enum err_code activity_list(struct ctx *cx, struct db *db, const struct caller *who,
                            struct str ticket_id, const struct page_ask *ask, struct page *out);

extern const char *const activity_actions[]; /* NULL-terminated */

#endif
