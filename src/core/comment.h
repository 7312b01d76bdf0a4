/* Comments on tickets. Owner of table ticket_comments. Call caller_scope first in the unit.
 *
 * Who sees the ticket sees its comments; but a key without admin:full sees internal ones only when
 * it wrote them. */
#ifndef TESSERA_CORE_COMMENT_H
#define TESSERA_CORE_COMMENT_H

#include "ticket.h"

#define COMMENT_MAX 50000 /* characters */

struct comment {
    struct rec_bits bits;
    struct str id, ticket_id, content, author_kind, author_id, author_name, token_id,
        integration_source;
    int64_t is_internal, created_ms;
};
extern const struct rec rec_comment;     /* /v1 */
extern const struct rec rec_comment_new; /* /v1 body: content, is_internal */
extern const struct rec
    rec_comment_v0_new; /* the document's body: the same fields, unknown ones are ignored */

struct comment_new {
    struct rec_bits bits;
    struct str content;
    int64_t is_internal;
};
struct comment_query {
    struct rec_bits bits;
    struct str cursor;
    int64_t limit;
};
extern const struct rec rec_comment_query;

/* The ticket must be the caller's: NOT_FOUND, or NOT_OWNER as ticket_get_own. */
enum err_code comment_create(struct ctx *cx, struct db *db, const struct caller *who,
                             struct str ticket_id, const struct comment_new *in,
                             struct comment *out);
/* NOT_FOUND when the comment is not one of this ticket that the caller may see. */
enum err_code comment_get(struct ctx *cx, struct db *db, const struct caller *who,
                          struct str ticket_id, struct str id, struct comment *out);
/* For good, with its attachments. By its author, an admin, or a key with admin:full:
 * else INSUFFICIENT_ROLE. */
enum err_code comment_delete(struct ctx *cx, struct db *db, const struct caller *who,
                             struct str ticket_id, struct str id);
/* Oldest first. */
enum err_code comment_list(struct ctx *cx, struct db *db, const struct caller *who,
                           struct str ticket_id, const struct comment_query *in,
                           struct cursor_key key, struct page *out);

#endif
