/* Events: what happened in a team, for those outside who want to know. Owner of table event.
 *
 * A row is written in the unit of the change, whoever made it, so that neither exists without the
 * other; connect/webhook/ carries it out. One table of types serves the writers, the check of what
 * webhooks subscribe to, OpenAPI and the documents. Teams without any webhook write none.
 *
 * Each event has a number (sequence) that rises in the order of writing. Events of one entity (a
 * ticket with its comments, a contact …) have it in the order of their commits. */
#ifndef TESSERA_CORE_EVENT_H
#define TESSERA_CORE_EVENT_H

#include "../store/store.h"
#include "caller.h"

#define EVENT_DATA_MAX ((size_t)2 << 20) /* bytes of data, and of previous */

/* NAME, wire word, noun of what it is about, noun of the entity it is kept in order with, sentence.
 * Append only within a noun; the words are what clients subscribe to. */
/* clang-format off */
#define EVENT_TABLE(X)                                                                             \
    X(TICKET_CREATED,        "ticket.created",        "ticket",  "ticket",  "A ticket was created") \
    X(TICKET_UPDATED,        "ticket.updated",        "ticket",  "ticket",  "Something of a ticket changed; `previous` holds what") \
    X(TICKET_STATUS_CHANGED, "ticket.status_changed", "ticket",  "ticket",  "The status of a ticket changed (beside ticket.updated)") \
    X(TICKET_ASSIGNED,       "ticket.assigned",       "ticket",  "ticket",  "A ticket got another assignee or none (beside ticket.updated)") \
    X(TICKET_DELETED,        "ticket.deleted",        "ticket",  "ticket",  "A ticket was deleted") \
    X(COMMENT_CREATED,       "comment.created",       "comment", "ticket",  "A ticket was commented on") \
    X(COMMENT_DELETED,       "comment.deleted",       "comment", "ticket",  "A comment was deleted") \
    X(CONTACT_CREATED,       "contact.created",       "contact", "contact", "A contact was created") \
    X(CONTACT_UPDATED,       "contact.updated",       "contact", "contact", "Something of a contact changed; `previous` holds what") \
    X(CONTACT_MERGED,        "contact.merged",        "contact", "contact", "Other contacts were merged into this one; `previous.merged_from` holds their ids") \
    X(CONTACT_DELETED,       "contact.deleted",       "contact", "contact", "A contact was deleted") \
    X(API_KEY_CREATED,       "api_key.created",       "api_key", "api_key", "An API key was created") \
    X(API_KEY_UPDATED,       "api_key.updated",       "api_key", "api_key", "Something of an API key changed") \
    X(API_KEY_ENABLED,       "api_key.enabled",       "api_key", "api_key", "An API key was enabled") \
    X(API_KEY_DISABLED,      "api_key.disabled",      "api_key", "api_key", "An API key was disabled") \
    X(API_KEY_REGENERATED,   "api_key.regenerated",   "api_key", "api_key", "An API key got a new secret") \
    X(API_KEY_DELETED,       "api_key.deleted",       "api_key", "api_key", "An API key was deleted") \
    X(API_KEY_EXPIRING,      "api_key.expiring",      "api_key", "api_key", "An API key expires soon") \
    X(INTEGRATION_CREATED,   "integration.created",   "integration", "integration", "An integration was created") \
    X(INTEGRATION_UPDATED,   "integration.updated",   "integration", "integration", "Something of an integration changed") \
    X(INTEGRATION_DELETED,   "integration.deleted",   "integration", "integration", "An integration was deleted") \
    X(INTEGRATION_EVENT_RECEIVED, "integration.event_received", "integration", "integration", "An integration received a webhook") \
    X(SYNC_CREATED,          "sync.created",          "sync",    "sync",    "A sync was created") \
    X(SYNC_UPDATED,          "sync.updated",          "sync",    "sync",    "Something of a sync changed; `previous` holds what") \
    X(SYNC_DELETED,          "sync.deleted",          "sync",    "sync",    "A sync was deleted, by itself or with its integration") \
    X(SYNC_FINISHED,         "sync.finished",         "sync",    "sync",    "A run of a sync was reported that ended in success or in part; `data` is the run") \
    X(SYNC_FAILED,           "sync.failed",           "sync",    "sync",    "A run of a sync was reported that failed; `data` is the run") \
    X(REPORT_FINISHED,       "report.finished",       "report",  "report",  "A scheduled report was run") \
    X(WEBHOOK_FAILING,       "webhook.failing",       "webhook", "webhook", "Nothing arrives at a webhook; it will be disabled") \
    X(WEBHOOK_DISABLED,      "webhook.disabled",      "webhook", "webhook", "A webhook was disabled because nothing arrived") \
    X(WEBHOOK_TEST,          "webhook.test",          "webhook", "webhook", "Somebody asked for a test; goes to that webhook alone")
/* clang-format on */
enum event_type {
#define EVENT_ENUM(name, word, noun, entity, doc) EVENT_##name,
    EVENT_TABLE(EVENT_ENUM)
#undef EVENT_ENUM
        EVENT_TYPES
};
struct event_type_row {
    const char *word, *noun, *entity, *doc;
};
extern const struct event_type_row event_types[]; /* by enum event_type, EVENT_TYPES of them */
/* EVENT_TYPES when it is none. */
enum event_type event_type_of(struct str word);

struct event;
struct event_new {
    enum event_type type;
    struct str subject_id; /* of the ticket, the comment … */
    struct str entity_id;  /* STR_NONE: the subject's */
    const struct rec *rec; /* `data` is obj by its table, without F_SECRET */
    const void *obj;
    struct str data;     /* when rec is NULL: JSON text of an object */
    struct str previous; /* JSON text of an object with the old values; STR_NONE = none */
    bool is_servers;     /* the server did it by itself, who says no more than the team */
};
/* In the unit of the change, after it, in the scope of who->team_id. Nothing is waited for. Runs
 * the webhooks' engine of this node once the unit is committed (event_noted). */
enum err_code event_emit(struct ctx *cx, struct db *db, const struct caller *who,
                         const struct event_new *in);
/* A test: for this webhook alone, of which it tells whoever asks it to, not the fan. The row is in
 * *out, its data in cx. In the scope of who->team_id. */
enum err_code event_emit_to(struct ctx *cx, struct db *db, const struct caller *who,
                            const struct event_new *in, struct str webhook_id, struct event *out);
/* What differs between two states by the table of the data: the old values as a JSON object, or
 * STR_NONE when nothing does. version and updated_at are not looked at. Lives in cx. */
struct str event_previous(struct ctx *cx, const struct rec *r, const void *old, const void *now);
/* Whether this thread's batch has emitted; asking forgets it. For the hook after a commit. */
bool event_noted(void);

/* ---- rows, as they are read ---- */

struct event {
    struct rec_bits bits;
    struct str team_id, id, type, subject_id, entity, actor_kind, actor_id, actor_name, data,
        previous;
    int64_t seq, at_ms;
};
extern const struct rec rec_event_row;
#define EVENT_COLUMNS                                                                              \
    "seq, team_id, id, type, subject_id, entity, actor_kind, actor_id, actor_name, data, "         \
    "previous, at_ms"

#endif
