/* Tickets: one set of functions under the document's API and /v1/tickets. Owner of table tickets.
 *
 * A key sees only the tickets that it created, in SQL (and by row-level security on PostgreSQL);
 * users, and keys with admin:full in /v1, see all of their team (caller_sees). All run inside a unit
 * of work; call caller_scope first there. A change writes its activity rows in the same unit. */
#ifndef TESSERA_CORE_TICKET_H
#define TESSERA_CORE_TICKET_H

#include "../store/store.h"
#include "caller.h"
#include "cursor.h"
#include "listing.h"

#define TICKET_TITLE_MAX 500 /* characters, from the document */
#define TICKET_DESCRIPTION_MAX 100000
#define TICKET_CATEGORY_MAX 200
#define TICKET_METADATA_MAX 65536 /* bytes of JSON text */
/* What a struct ticket is read from; tickets of users have no token. */
#define TICKET_COLUMNS                                                                             \
    "id, title, description, status, priority, category, metadata, COALESCE(tags, '[]') AS tags, " \
    "project_id, assignee_id, contact_id, NULLIF(token_id, '') AS token_id, created_by_user, "     \
    "integration_source, version, created_ms AS created_at, updated_ms AS updated_at, "            \
    "resolved_ms AS resolved_at"

struct ticket {
    struct rec_bits bits;
    struct str id, title, description, status, priority, category, metadata, tags, project_id,
        assignee_id, contact_id, token_id, created_by_user, integration_source;
    int64_t version, created_ms, updated_ms, resolved_ms;
};
extern const struct rec rec_ticket;           /* /v1 */
extern const struct rec rec_ticket_v0;        /* the document's GET */
extern const struct rec rec_ticket_v0_new;    /* the document's create: no updated_at */
extern const struct rec rec_ticket_v0_status; /* the document's status: id, status, updated_at */

struct ticket_new {
    struct rec_bits bits;
    struct str title, description, status, priority, category, metadata, tags, project_id,
        assignee_id, contact_id;
};
extern const struct rec rec_ticket_new;    /* /v1 body */
extern const struct rec rec_ticket_v0_in;  /* the document's body (no status) */
extern const struct rec rec_ticket_patch;  /* /v1 merge patch */
extern const struct rec rec_ticket_status; /* {"status"} */
extern const struct rec rec_ticket_assign; /* {"assignee_id"}: null = nobody */

struct ticket_query {
    struct rec_bits bits;
    struct str status, priority, category, q, sort,
        cursor; /* comma lists; sort: created_at, -created_at, updated_at, -updated_at */
    struct str project_id, assignee_id, contact_id, tag; /* assignee_id: or "none" */
    int64_t created_after, created_before, updated_after, updated_before, limit, count;
};
extern const struct rec rec_ticket_query;

/* What If-Match allows. NULL or is_any: every version. */
#define VERSIONS_MAX 16
struct versions {
    bool is_any;
    int n;
    int64_t v[VERSIONS_MAX];
};

/* INVALID_FIELD names tags, or a reference to what is not there. */
enum err_code ticket_create(struct ctx *cx, struct db *db, const struct caller *who,
                            const struct ticket_new *in, struct ticket *out);
/* NOT_FOUND when absent, deleted, or of another token. INVALID_PARAMETER when id is no UUID. */
enum err_code ticket_get(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                         struct ticket *out);
/* As ticket_get, but a live ticket of the same team and another token is NOT_OWNER (401 in the
 * document's API). */
enum err_code ticket_get_own(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                             struct ticket *out);
/* The version must be one of those allowed: PRECONDITION_FAILED. */
enum err_code ticket_check_version(struct ctx *cx, const struct ticket *t,
                                   const struct versions *allowed);
/* A status change to resolved or closed, or away from them, needs tickets:resolve:
 * INSUFFICIENT_SCOPE. */
enum err_code ticket_may_resolve(struct ctx *cx, const struct caller *who, struct str from,
                                 struct str to);
bool ticket_is_done(struct str status); /* resolved or closed */
/* Merge patch (RFC 7396, metadata is merged at every depth). The version must be one of those
 * allowed (PRECONDITION_FAILED). A status change to resolved or closed, or away from them, needs
 * tickets:resolve. CONFLICT when another request changed it meanwhile. */
enum err_code ticket_update(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                            const struct ticket_new *patch, const struct versions *allowed,
                            struct ticket *out);
enum err_code ticket_delete(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                            const struct versions *allowed);
/* At most in->limit rows; fewer when they are very large. */
enum err_code ticket_list(struct ctx *cx, struct db *db, const struct caller *who,
                          const struct ticket_query *in, struct cursor_key key, struct page *out);

#endif
