/* Webhooks as administrators make, change and look at them; their secrets and headers.
 *
 * All run inside a unit in the scope of who->team_id, and each change writes its audit row there.
 * Addresses are judged before the unit (egress_check_url), since that waits for a name server. */
#ifndef TESSERA_CONNECT_WEBHOOK_WEBHOOK_ADMIN_H
#define TESSERA_CONNECT_WEBHOOK_WEBHOOK_ADMIN_H

#include "../../core/ticket.h"
#include "webhook.h"

#define WEBHOOK_DESCRIPTION_MAX 500
#define WEBHOOK_GRACE_MAX_S ((int64_t)7 * 86400)
#define WEBHOOK_GRACE_DEFAULT_S ((int64_t)86400)

struct webhook_new {
    struct rec_bits bits;
    struct str url, description, events, filter, headers, payload, secret, secret_kind;
    int64_t is_ordered;
};
extern const struct rec rec_webhook_new;
extern const struct rec rec_webhook_patch;
extern const struct rec rec_webhook_made; /* with secret and public_key */

struct webhook_query {
    struct rec_bits bits;
    struct str state, q, cursor;
    int64_t limit;
};
extern const struct rec rec_webhook_query;

/* What can be said without the database, of a body or a patch: INVALID_FIELD and MISSING_FIELD,
 * every problem named. */
enum err_code webhook_check(struct ctx *cx, const struct webhook_new *in);

/* `in` has passed webhook_check and its address was judged. CONFLICT when the team has
 * WEBHOOKS_MAX, NOT_CONFIGURED without a master key. */
enum err_code webhook_create(struct ctx *cx, struct db *db, const struct caller *who,
                             const struct webhook_new *in, struct webhook *out);
/* Merge patch. PRECONDITION_FAILED when the version is not among `allowed` (NULL = any). */
enum err_code webhook_update(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                             const struct webhook_new *patch, const struct versions *allowed,
                             struct webhook *out);
/* Fine when it is so already. Enabling begins anew: nothing counts as failing. */
enum err_code webhook_set_enabled(struct ctx *cx, struct db *db, const struct caller *who,
                                  struct str id, bool is_enabled, struct webhook *out);
/* Forgets its secrets and headers; what waits to be sent there is told to the engine. */
enum err_code webhook_delete(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                             const struct versions *allowed);
/* Newest first. */
enum err_code webhook_list(struct ctx *cx, struct db *db, const struct caller *who,
                           const struct webhook_query *in, struct cursor_key key, struct page *out);

/* ---- secrets: webhook_secret.c */

struct webhook_secret {
    struct rec_bits bits;
    struct str team_id, webhook_id, id, kind, hint, public_key;
    struct str sealed; /* as stored */
    struct str shown;  /* {"set":true,"hint":…} */
    struct str secret; /* in the answer to its making alone */
    int64_t created_ms, expires_ms;
};
extern const struct rec rec_webhook_secret;
extern const struct rec rec_webhook_secret_made;

struct webhook_secret_new {
    struct rec_bits bits;
    struct str kind, secret;
    int64_t grace_s;
};
extern const struct rec rec_webhook_secret_new;

/* INVALID_FIELD names secret or `kind_field`: the secret cannot sign, or is of another kind. */
enum err_code webhook_secret_check(struct ctx *cx, struct str secret, struct str kind,
                                   const char *kind_field);
/* The row alone, without audit, without a look at the others. secret STR_NONE: made here. */
enum err_code webhook_secret_put(struct ctx *cx, struct db *db, const struct webhook *w,
                                 const struct webhook_secret_new *in, struct webhook_secret *out);
/* Takes the place of those before, which sign too for grace_s yet. CONFLICT when HOOK_SECRETS_MAX
 * are live. */
enum err_code webhook_secret_add(struct ctx *cx, struct db *db, const struct caller *who,
                                 struct str webhook_id, const struct webhook_secret_new *in,
                                 struct webhook_secret *out);
/* The live ones, newest first. */
enum err_code webhook_secret_list(struct ctx *cx, struct db *db, const struct caller *who,
                                  struct str webhook_id, struct page *out);
/* CONFLICT for the one that does not expire: add another one first. */
enum err_code webhook_secret_delete(struct ctx *cx, struct db *db, const struct caller *who,
                                    struct str webhook_id, struct str id);

/* ---- headers: webhook_headers.c */

/* Of a body: names and values that may be sent, null where is_patch. INVALID_FIELD names
 * "headers.NAME". */
enum err_code webhook_headers_check(struct ctx *cx, struct str text);
/* Merges `text` (STR_NONE: nothing; is_null: all go) into the headers of w and seals them:
 * w->headers and w->header_names are what is to be stored. INVALID_FIELD when they become too
 * many. */
enum err_code webhook_headers_merge(struct ctx *cx, struct db *db, struct webhook *w,
                                    struct str text, bool is_null);

#endif
