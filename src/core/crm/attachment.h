/* Files on tickets and comments. Owner of tables attachment, blob and blob_loose (the latter two
 * with blob.c's housekeeping).
 *
 * The row says what it is and whose; the content is a blob (blob.h), kept once per team and hash.
 * Who sees the ticket sees its attachments; but those of an internal comment only who sees that.
 *
 * How neither a row without an object nor an object that nobody knows can come to be, whatever is
 * killed when: an upload first notes its object in blob_loose (one unit), then writes it, then in
 * one unit makes blob and attachment and takes the note back. Removing the last attachment of a
 * blob moves it to blob_loose in the same unit; housekeeping deletes the object later. */
#ifndef TESSERA_CORE_CRM_ATTACHMENT_H
#define TESSERA_CORE_CRM_ATTACHMENT_H

#include "../../base/spool.h"
#include "../../store/store.h"
#include "../caller.h"
#include "../listing.h"

#define ATTACHMENTS_MAX 1000 /* of one ticket */
#define ATTACHMENT_NAME_MAX 255
#define ATTACHMENTS_NO_PLACE                                                                       \
    "The server has no place for attachments: attachment_dir or s3_bucket must be set"
#define BLOB_LOOSE_MS HOUR_MS /* an upload is done within this time, or is swept */

struct blobs;

struct attachment {
    struct rec_bits bits;
    struct str id, ticket_id, comment_id, name, media_type, sha256, created_by_kind, created_by_id,
        created_by_name, nonce; /* nonce: of its blob; not shown */
    int64_t size, created_ms;
};
extern const struct rec rec_attachment;

struct attachment_query { /* of the upload */
    struct rec_bits bits;
    struct str name, comment_id;
};
extern const struct rec rec_attachment_query;

/* The type and subtype of a Content-Type header in lower case, without parameters; no header is
 * application/octet-stream. UNSUPPORTED_MEDIA when it is none, or not in `allowed` (the setting
 * attachment_types; empty: all are). */
enum err_code attachment_type(struct ctx *cx, struct str header, struct str allowed,
                              struct str *out);
/* As what it is sent: what a browser could run becomes application/octet-stream. */
const char *attachment_shown_type(struct ctx *cx, struct str media_type);

struct attachment_add {
    struct store *store;
    const struct blobs *blobs; /* NULL: NOT_CONFIGURED */
    const struct caller *who;
    struct str ticket_id;
    const struct attachment_query *query;
    struct str media_type; /* of attachment_type() */
    const struct spool *content;
};
/* Runs units of its own: not inside one. INVALID_PARAMETER names name or comment_id; INVALID_FIELD:
 * nothing was sent; NOT_FOUND: the ticket; CONFLICT at ATTACHMENTS_MAX. */
enum err_code attachment_add(struct ctx *cx, const struct attachment_add *in,
                             struct attachment *out);

/* What the ticket's history says of it: its name only when it is not on a comment, because that may
 * be an internal one. JSON text. */
struct str attachment_told(struct ctx *cx, const struct attachment *a);

/* The rest runs inside a unit. */
enum err_code attachment_get(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                             struct attachment *out);
/* Oldest first. */
enum err_code attachment_list(struct ctx *cx, struct db *db, const struct caller *who,
                              struct str ticket_id, const struct page_ask *ask, struct page *out);
enum err_code attachment_delete(struct ctx *cx, struct db *db, const struct caller *who,
                                struct str id);
/* All of one comment, which is going. */
enum err_code attachments_of_comment_delete(struct ctx *cx, struct db *db, const struct caller *who,
                                            struct str comment_id);

#endif
