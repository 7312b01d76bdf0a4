/* The secrets of integrations: several at once, so that one can be rotated without a gap. Owner of
 * table integration_secret; the texts are sealed by core/vault and never come back.
 *
 * All functions run inside a unit of work in the caller's scope. */
#ifndef TESSERA_CONNECT_INTEGRATION_SECRET_H
#define TESSERA_CONNECT_INTEGRATION_SECRET_H

#include "integration.h"

#define INTEGRATION_SECRET_MIN 8
#define INTEGRATION_SECRET_MAX 512

struct integration_secret {
    struct rec_bits bits;
    struct str id, hint, secret; /* secret: only when it was made here, once */
    int64_t set, is_unconfirmed, created_ms, expires_ms;
};
extern const struct rec rec_integration_secret;     /* as it is listed */
extern const struct rec rec_integration_secret_new; /* as it is shown once */

struct integration_secret_in {
    struct rec_bits bits;
    struct str secret;
    int64_t others_expire_ms;
};
extern const struct rec rec_integration_secret_in;

/* Adds one: the given text, or a new one where the kind lets the receiver choose (out->secret then
 * holds it, the only time). INVALID_FIELD, MISSING_FIELD name the field; CONFLICT when there are
 * HOOK_SECRETS_MAX live ones; NOT_CONFIGURED without a master key. */
enum err_code secret_add(struct ctx *cx, struct db *db, const struct caller *who,
                         struct str integration_id, const struct integration_secret_in *in,
                         struct integration_secret *out);
/* All live ones, oldest first, without their texts. */
enum err_code secret_list(struct ctx *cx, struct db *db, const struct caller *who,
                          struct str integration_id, struct list *out);
/* NOT_FOUND. */
enum err_code secret_remove(struct ctx *cx, struct db *db, const struct caller *who,
                            struct str integration_id, struct str id);

/* The token of a handshake that nobody has confirmed yet; STR_NONE without one. */
enum err_code secret_unconfirmed(struct ctx *cx, struct db *db, struct str team_id,
                                 struct str integration_id, struct str *out);

struct shaken { /* what a handshake brought */
    struct str team_id, integration_id, secret, ip;
    bool must_be_shown; /* the sender asks for it back by hand */
    int64_t now_ms;
};
/* Keeps it and awaits no other. NOT_FOUND (not recorded): none is awaited any more. */
enum err_code secret_shaken(struct ctx *cx, struct db *db, const struct shaken *s);
/* An event was signed with it: it is not shown any more. */
enum err_code secret_confirm(struct ctx *cx, struct db *db, struct str team_id,
                             struct str integration_id, struct str id);
/* Removes those that have expired, at most 500; in the system's scope. *gone counts. */
enum err_code secret_purge(struct ctx *cx, struct db *db, int64_t now_ms, int64_t *gone);

#endif
