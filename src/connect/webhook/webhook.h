/* Webhooks out: where a team wants its events sent. Owner of tables webhook and webhook_secret.
 *
 * A webhook is an address, the types of events it wants, conditions on them, more headers and one or
 * more live secrets. Rows and what administrators do with them are here; what is sent, when and how
 * is webhook_send.h. Everything runs inside a unit in the scope of who->team_id, or of the system. */
#ifndef TESSERA_CONNECT_WEBHOOK_WEBHOOK_H
#define TESSERA_CONNECT_WEBHOOK_WEBHOOK_H

#include "../../core/event.h"
#include "../../core/listing.h"
#include "../hook_ask.h"
#include "webhook_filter.h"

#define WEBHOOKS_MAX 100 /* of a team */
#define WEBHOOK_URL_MAX 2000
#define WEBHOOK_EVENTS_MAX 50
#define WEBHOOK_HEADERS_MAX 20
#define WEBHOOK_HEADERS_BYTES 16384 /* of their JSON text */

struct webhook {
    struct rec_bits bits;
    struct str team_id, id, url, description, events, filter, headers, header_names, payload, state,
        disabled_reason, created_by;
    struct str secret, public_key; /* in the answer to its creation alone */
    int64_t is_ordered, failing_ms, notice, success_ms, version, created_ms, updated_ms;
};
extern const struct rec rec_webhook_row; /* as stored */
extern const struct rec rec_webhook;     /* as clients and the events webhook.… show it */
#define WEBHOOK_COLUMNS                                                                            \
    "team_id, id, url, description, events, filter, headers, header_names, payload, state, "       \
    "disabled_reason, created_by, is_ordered, failing_ms, notice, success_ms, version, "           \
    "created_ms, updated_ms"

/* ---- for those who send ---- */

/* Whether an event is for this webhook: by its types and its conditions. `data` and `previous` are
 * the event's, read; previous may be NULL. */
bool webhook_wants(struct ctx *cx, const struct webhook *w, const struct event *ev,
                   const json_t *data, const json_t *previous);
/* The live secrets, newest first, at most HOOK_SECRETS_MAX, opened into cx. NOT_CONFIGURED or
 * INTERNAL as vault_open. */
enum err_code webhook_secrets(struct ctx *cx, struct db *db, const struct webhook *w,
                              struct str secrets[HOOK_SECRETS_MAX], size_t *n);
/* The headers of its own, opened into cx; at most WEBHOOK_HEADERS_MAX. */
enum err_code webhook_headers(struct ctx *cx, struct db *db, const struct webhook *w,
                              struct hook_header headers[WEBHOOK_HEADERS_MAX], size_t *n);
/* Disables it, reason is one of "manual", "gone", "failing"; audit row and, unless it was a person,
 * the event webhook.disabled. Fine when it is disabled already. */
enum err_code webhook_disable(struct ctx *cx, struct db *db, const struct caller *who,
                              struct str id, const char *reason);

/* ---- among the files here ---- */

/* The live one of who's team. NOT_FOUND; INVALID_PARAMETER when id is no UUID. */
enum err_code webhook_get(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                          struct webhook *out);
/* The audit row of a change; before or after may be NULL. */
enum err_code webhook_audit(struct ctx *cx, struct db *db, const struct caller *who,
                            const char *action, const struct webhook *before,
                            const struct webhook *after);

#endif
