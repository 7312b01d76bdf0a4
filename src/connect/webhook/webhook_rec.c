/* The field tables of webhooks as clients see and send them. Data only. */
#include "webhook_admin.h"

static const char *const payloads[] = { "full", "thin", NULL };
static const char *const states[] = { "enabled", "disabled", NULL };
static const char *const reasons[] = { "manual", "gone", "failing", NULL };
static const char *const kinds[] = { "hmac", "ed25519", NULL };

#define EXAMPLE_SECRET "\"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\""
#define EXAMPLE_PUBLIC "\"whpk_A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=\""

/* ---- shown ---- */

#define AT(member) offsetof(struct webhook, member)
/* clang-format off */
#define SHOWN_ROWS \
    { "id", F_UUID, AT(id), 0, 0, 0, NULL, "Webhook identifier", NULL }, \
    { "url", F_STR, AT(url), 0, 0, 0, NULL, "Where events are sent", \
      "\"https://example.com/hooks/tessera\"" }, \
    { "description", F_STR, AT(description), F_NULLABLE, 0, 0, NULL, "What it is for", NULL }, \
    { "events", F_STRS, AT(events), 0, 0, 0, NULL, \
      "Types of events that it gets: ticket.created, all of a noun as ticket.*, or all as *", \
      "[\"ticket.*\"]" }, \
    { "filter", F_RECS, AT(filter), F_NULLABLE, 0, WEBHOOK_CONDITIONS_MAX, NULL, \
      "Conditions on an event; all must hold", NULL, &rec_webhook_condition }, \
    { "header_names", F_STRS, AT(header_names), 0, 0, 0, NULL, \
      "Names of the headers that are sent besides the server's own; their values are not shown", \
      "[\"Authorization\"]" }, \
    { "payload", F_ENUM, AT(payload), 0, 0, 0, payloads, \
      "full: the resource is in it; thin: only its id", NULL }, \
    { "ordered", F_BOOL, AT(is_ordered), 0, 0, 0, NULL, \
      "Events of one entity are sent one at a time in their order", NULL }, \
    { "state", F_ENUM, AT(state), 0, 0, 0, states, "Whether events are sent", NULL }, \
    { "disabled_reason", F_ENUM, AT(disabled_reason), F_NULLABLE, 0, 0, reasons, \
      "Why it is disabled: by somebody, because the receiver answered 410, or because nothing " \
      "arrived for 5 days", NULL }, \
    { "failing_since", F_TIME, AT(failing_ms), F_NULLABLE, 0, 0, NULL, \
      "Since when nothing arrived; null when the last attempt did", NULL }, \
    { "last_success_at", F_TIME, AT(success_ms), F_NULLABLE, 0, 0, NULL, \
      "When something last arrived", NULL }, \
    { "created_by", F_UUID, AT(created_by), F_NULLABLE, 0, 0, NULL, \
      "Id of the API key or user that created it", NULL }, \
    { "version", F_INT, AT(version), 0, 0, 0, NULL, \
      "Grows by one with each change; the ETag is made from it", "1" }, \
    { "created_at", F_TIME, AT(created_ms), 0, 0, 0, NULL, "When it was created", NULL }, \
    { "updated_at", F_TIME, AT(updated_ms), 0, 0, 0, NULL, "When it last changed", NULL }
/* clang-format on */

static const struct field webhook_fields[] = { SHOWN_ROWS };
const struct rec rec_webhook =
    REC("Webhook", struct webhook, webhook_fields, "Where events of the team are sent.");

static const struct field made_fields[] = {
    SHOWN_ROWS,
    { "secret", F_STR, AT(secret), F_NULLABLE, 0, 0, NULL,
      "The signing secret, shown this once; null for ed25519, whose private key stays here",
      EXAMPLE_SECRET },
    { "public_key", F_STR, AT(public_key), F_NULLABLE, 0, 0, NULL,
      "Of ed25519: what the receiver verifies with", EXAMPLE_PUBLIC },
};
const struct rec rec_webhook_made =
    REC("WebhookMade", struct webhook, made_fields, "A webhook and its secret, shown once.");

/* ---- sent ---- */

#define IN(member) offsetof(struct webhook_new, member)
/* clang-format off */
#define SENT_ROWS \
    { "url", F_STR, IN(url), F_REQUIRED | F_SINGLE_LINE, 1, WEBHOOK_URL_MAX, NULL, \
      "http or https, without user name; private addresses only where the operator allows them", \
      "\"https://example.com/hooks/tessera\"" }, \
    { "description", F_STR, IN(description), F_NULLABLE, 0, WEBHOOK_DESCRIPTION_MAX, NULL, \
      "What it is for", NULL }, \
    { "events", F_STRS, IN(events), F_REQUIRED, 1, WEBHOOK_EVENTS_MAX, NULL, \
      "Types of events (GET /v1/event-types), all of a noun as ticket.*, or all as *", \
      "[\"ticket.*\"]" }, \
    { "filter", F_RECS, IN(filter), F_NULLABLE, 0, WEBHOOK_CONDITIONS_MAX, NULL, \
      "Conditions on an event; all must hold", NULL, &rec_webhook_condition }, \
    { "headers", F_OBJECT, IN(headers), F_NULLABLE, 0, WEBHOOK_HEADERS_BYTES, NULL, \
      "More headers, at most 20, name to value; values are kept as secrets. In a change null " \
      "removes one, and what is not named stays", "{\"Authorization\": \"Bearer …\"}" }, \
    { "payload", F_ENUM, IN(payload), 0, 0, 0, payloads, \
      "full: the resource is in it (default); thin: only its id", NULL }, \
    { "ordered", F_BOOL, IN(is_ordered), 0, 0, 0, NULL, \
      "Send events of one entity one at a time in their order: a failed one holds up those " \
      "behind it (default false)", NULL }
#define SECRET_ROWS \
    { "secret_kind", F_ENUM, IN(secret_kind), 0, 0, 0, kinds, \
      "hmac: a shared secret (default); ed25519: a key pair of which you get the public half", \
      NULL }, \
    { "secret", F_STR, IN(secret), F_SECRET | F_SINGLE_LINE, 1, 400, NULL, \
      "Your own: whsec_ and base64 of 24 to 64 bytes, or whsk_; made here when absent", NULL }
/* clang-format on */

static const struct field new_fields[] = { SENT_ROWS, SECRET_ROWS };
const struct rec rec_webhook_new =
    REC("WebhookNew", struct webhook_new, new_fields, "A webhook to create.");
static const struct field patch_fields[] = { SENT_ROWS };
const struct rec rec_webhook_patch =
    REC("WebhookPatch", struct webhook_new, patch_fields,
        "Changes to a webhook (JSON merge patch: null clears); lists change as a whole.");

#define Q(member) offsetof(struct webhook_query, member)
static const struct field query_fields[] = {
    { "state", F_ENUMS, Q(state), 0, 0, 2, states, "enabled, disabled", NULL },
    { "q", F_STR, Q(q), 0, 1, 200, NULL,
      "Part of the address or the description, letter case ignored", NULL },
    LISTING_QUERY_ROWS(struct webhook_query),
};
const struct rec rec_webhook_query =
    REC("WebhookQuery", struct webhook_query, query_fields, "Filters of the list of webhooks.");

/* ---- secrets ---- */

struct secret_set {
    struct rec_bits bits;
    struct str hint;
    int64_t is_set;
};
static const struct field set_fields[] = {
    { "set", F_BOOL, offsetof(struct secret_set, is_set), 0, 0, 0, NULL, "Always true", NULL },
    { "hint", F_STR, offsetof(struct secret_set, hint), 0, 0, 0, NULL, "Its last characters",
      "\"…a1b2\"" },
};
static const struct rec rec_secret_set =
    REC("SecretHint", struct secret_set, set_fields, "A secret, which is not shown.");

#define S(member) offsetof(struct webhook_secret, member)
/* clang-format off */
#define SECRET_SHOWN_ROWS \
    { "id", F_UUID, S(id), 0, 0, 0, NULL, "Identifier of the secret", NULL }, \
    { "kind", F_ENUM, S(kind), 0, 0, 0, kinds, "hmac or ed25519", NULL }, \
    { "public_key", F_STR, S(public_key), F_NULLABLE, 0, 0, NULL, \
      "Of ed25519: what the receiver verifies with", EXAMPLE_PUBLIC }, \
    { "created_at", F_TIME, S(created_ms), 0, 0, 0, NULL, "When it was added", NULL }, \
    { "expires_at", F_TIME, S(expires_ms), F_NULLABLE, 0, 0, NULL, \
      "Until when it signs too; null: until it is replaced", NULL }
/* clang-format on */
static const struct field secret_fields[] = {
    SECRET_SHOWN_ROWS,
    { "secret", F_REC, S(shown), 0, 0, 0, NULL, "The secret, which is not shown again", NULL,
      &rec_secret_set },
};
const struct rec rec_webhook_secret =
    REC("WebhookSecret", struct webhook_secret, secret_fields, "A secret that signs.");
static const struct field secret_made_fields[] = {
    SECRET_SHOWN_ROWS,
    { "secret", F_STR, S(secret), F_NULLABLE, 0, 0, NULL,
      "The secret, shown this once; null for ed25519, whose private key stays here",
      EXAMPLE_SECRET },
};
const struct rec rec_webhook_secret_made =
    REC("WebhookSecretMade", struct webhook_secret, secret_made_fields, "A new secret.");

#define N(member) offsetof(struct webhook_secret_new, member)
static const struct field secret_new_fields[] = {
    { "kind", F_ENUM, N(kind), 0, 0, 0, kinds, "hmac (default) or ed25519", NULL },
    { "secret", F_STR, N(secret), F_SECRET | F_SINGLE_LINE, 1, 400, NULL,
      "Your own: whsec_ and base64 of 24 to 64 bytes, or whsk_; made here when absent", NULL },
    { "grace_s", F_INT, N(grace_s), 0, 0, WEBHOOK_GRACE_MAX_S, NULL,
      "How long the secrets before it sign too, in seconds (default a day, 0: not at all)",
      "86400" },
};
const struct rec rec_webhook_secret_new =
    REC("WebhookSecretNew", struct webhook_secret_new, secret_new_fields, "A secret to sign with.");
