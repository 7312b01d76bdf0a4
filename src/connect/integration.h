/* Integrations: what a team has joined to the server. Owner of table integration.
 *
 * Today an integration is where the webhooks of another system arrive: its kind says how they are
 * signed (hook_scheme.h), its secrets (integration_secret.h) check them. Its syncs (sync.h) say what
 * is to be the same on both sides. All functions run inside a
 * unit of work in the caller's scope. */
#ifndef TESSERA_CONNECT_INTEGRATION_H
#define TESSERA_CONNECT_INTEGRATION_H

#include "../core/caller.h"
#include "../core/cursor.h"
#include "../core/listing.h"
#include "../store/store.h"

#define INTEGRATION_NAME_MAX 200
#define INTEGRATION_TYPES_MAX 50 /* patterns of event types */
#define INTEGRATION_URL_MAX 2000
#define INTEGRATION_MAX 1000 /* of a team */
#define AWAIT_S_DEFAULT 600
#define AWAIT_S_MAX 3600

struct integration {
    struct rec_bits bits;
    struct str id, kind, name, event_types, scheme, callback_url, hook_url, verification_token;
    int64_t is_enabled, has_secret, await_until_ms, handshake_ms, version, created_ms, updated_ms;
};
extern const struct rec rec_integration;

struct integration_new {
    struct rec_bits bits;
    struct str kind, name, event_types, scheme, callback_url;
    int64_t is_enabled;
};
extern const struct rec rec_integration_new;
extern const struct rec rec_integration_patch;

struct integration_query {
    struct rec_bits bits;
    struct str q, kind, cursor;
    int64_t is_enabled, limit;
};
extern const struct rec rec_integration_query;

struct integration_await {
    struct rec_bits bits;
    int64_t seconds;
};
extern const struct rec rec_integration_await;

struct versions;
/* `base` is the setting public_url, "" without one: hook_url is then a path.
 * INVALID_FIELD names the field; CONFLICT at INTEGRATION_MAX. One of a kind whose handshake brings
 * the secret awaits it from now on for AWAIT_S_DEFAULT. */
enum err_code integration_create(struct ctx *cx, struct db *db, const struct caller *who,
                                 struct str base, const struct integration_new *in,
                                 struct integration *out);
/* NOT_FOUND, also for another team's; INVALID_PARAMETER when id is no UUID. With a token of a
 * handshake that still has to be confirmed, when the caller may change integrations. */
enum err_code integration_get(struct ctx *cx, struct db *db, const struct caller *who,
                              struct str base, struct str id, struct integration *out);
/* Merge patch; the kind stays. PRECONDITION_FAILED unless the version is one of those allowed;
 * CONFLICT when another request changed it meanwhile. */
enum err_code integration_update(struct ctx *cx, struct db *db, const struct caller *who,
                                 struct str base, struct str id,
                                 const struct integration_new *patch,
                                 const struct versions *allowed, struct integration *out);
/* Switches it on or off, whatever it was. CONFLICT when another request changed it meanwhile. */
enum err_code integration_enable(struct ctx *cx, struct db *db, const struct caller *who,
                                 struct str base, struct str id, bool is_enabled,
                                 struct integration *out);
/* A handshake may bring a secret from now on for so many seconds (1 to AWAIT_S_MAX). CONFLICT for a
 * kind whose handshake brings none. */
enum err_code integration_await(struct ctx *cx, struct db *db, const struct caller *who,
                                struct str base, struct str id, int64_t seconds,
                                struct integration *out);
/* Nothing is taken for it any more, its secrets and its syncs are gone; its log stays until it is
 * old. */
enum err_code integration_delete(struct ctx *cx, struct db *db, const struct caller *who,
                                 struct str id, const struct versions *allowed);
/* Until the end of the unit nobody deletes it: for what is made for it. NOT_FOUND. */
enum err_code integration_hold(struct ctx *cx, struct db *db, const struct caller *who,
                               struct str id);
/* In the order they were made. */
enum err_code integration_list(struct ctx *cx, struct db *db, const struct caller *who,
                               struct str base, const struct integration_query *in,
                               struct cursor_key key, struct page *out);

/* Whether a pattern of event_types lets the type in: "issues" itself, "issues.*" what begins with
 * "issues.", "*" any. A type that is not said (STR_NONE) is let in by "*" alone. `patterns` is JSON
 * text of an array of strings; an empty array lets all in. */
bool event_type_wanted(struct ctx *cx, struct str patterns, struct str type);

#endif
