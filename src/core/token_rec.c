/* The field tables of integration tokens (API keys): the command line's documents, the replies and
 * bodies of /v1/api-keys, the audit log's picture, the stored row. Data only. */
#include "token.h"
#include "token_window.h"

static const char *const statuses[] = { "active", "disabled", "expired", NULL };

/* ---- objects inside ---- */

struct key_limit {
    struct rec_bits bits;
    struct str name;
    int64_t requests, window_ms;
};
#define LIMIT(member) offsetof(struct key_limit, member)
static const struct field limit_fields[] = {
    { "name", F_STR, LIMIT(name), F_REQUIRED, 1, WINDOW_NAME_MAX, NULL,
      "1 to 32 of a-z, 0-9, _ and -; \"hour\" is rate_limit", "\"burst\"" },
    { "requests", F_INT, LIMIT(requests), F_REQUIRED, 1, WINDOW_REQUESTS_MAX, NULL,
      "So many requests", "50" },
    { "window", F_INT, LIMIT(window_ms), F_REQUIRED, WINDOW_MS_MIN, WINDOW_MS_MAX, NULL,
      "in a sliding window of so many milliseconds", "10000" },
};
static const struct rec rec_key_limit =
    REC("ApiKeyLimit", struct key_limit, limit_fields, "A named limit of an API key.");

struct key_previous {
    struct rec_bits bits;
    struct str masked;
    int64_t until;
};
static const struct field previous_fields[] = {
    { "masked", F_STR, offsetof(struct key_previous, masked), 0, 0, 0, NULL,
      "The secret before the last regenerate", "\"stk_…a1B2\"" },
    { "until", F_TIME, offsetof(struct key_previous, until), 0, 0, 0, NULL, "When it stops working",
      NULL },
};
static const struct rec rec_key_previous =
    REC("ApiKeyPrevious", struct key_previous, previous_fields, "A secret in its grace time.");

/* ---- what is shown ---- */

#define AT(member) offsetof(struct token, member)
/* clang-format off */
#define ID_ROW { "id", F_UUID, AT(id), 0, 0, 0, NULL, "Identifier", NULL }
#define NAME_ROWS \
    { "name", F_STR, AT(name), 0, 0, 0, NULL, "Name; tickets show it as their source", \
      "\"CRM\"" }, \
    { "description", F_STR, AT(description), F_NULLABLE, 0, 0, NULL, "What the key is for", NULL }
#define PREFIX_ROW { "prefix", F_STR, AT(token_prefix), 0, 0, 0, NULL, \
      "First characters of the secret", "\"stk_live_a1B2\"" }
#define MASKED_ROW { "masked", F_STR, AT(masked), 0, 0, 0, NULL, \
      "First 4 and last 4 characters of the secret", "\"stk_…a1B2\"" }
#define STATUS_ROW { "status", F_ENUM, AT(status), 0, 0, 0, statuses, \
      "active, disabled, or expired", NULL }
#define SCOPES_ROW { "scopes", F_STRS, AT(scopes), 0, 0, 0, scope_words, "What the key may do", \
      NULL }
#define LIMIT_ROWS \
    { "rate_limit", F_INT, AT(rate_limit), 0, 0, 0, NULL, "Requests an hour", "1000" }, \
    { "limits", F_RECS, AT(limits), 0, 0, WINDOW_RULES_MAX, NULL, \
      "Named limits beside the hourly one", NULL, &rec_key_limit }
#define LIST_ROWS \
    { "allowed_endpoints", F_STRS, AT(allowed_endpoints), F_NULLABLE, 0, 0, NULL, \
      "Only these endpoints; null = all", "[\"POST /v1/tickets\"]" }, \
    { "allowed_ips", F_STRS, AT(allowed_ips), F_NULLABLE, 0, 0, NULL, \
      "Only from these addresses; null = all", "[\"10.0.0.0/8\"]" }, \
    { "metadata", F_OBJECT, AT(metadata), 0, 0, 0, NULL, "Custom metadata", NULL }
#define EXPIRY_ROW { "expires_at", F_TIME, AT(expires_ms), F_NULLABLE, 0, 0, NULL, \
      "When it stops working; null = never", NULL }
#define SOON_ROWS \
    { "expires_soon", F_BOOL, AT(expires_soon), 0, 0, 0, NULL, "Less than 7 days are left", \
      NULL }, \
    { "warnings", F_STRS, AT(warnings), 0, 0, 0, NULL, "What needs somebody's attention", \
      "[\"expires in 3 days\"]" }
#define USE_ROWS \
    { "last_used_at", F_TIME, AT(last_used_ms), F_NULLABLE, 0, 0, NULL, \
      "When it was last used; a second or two late", NULL }, \
    { "use_count", F_INT, AT(use_count), 0, 0, 0, NULL, "How often it was used", NULL }
#define PREVIOUS_ROW { "previous", F_REC, AT(previous), F_NULLABLE, 0, 0, NULL, \
      "The old secret, while its grace time runs", NULL, &rec_key_previous }
#define BY_ROW { "created_by", F_STR, AT(created_by), F_NULLABLE, 0, 0, NULL, \
      "Id of the user or key that made it; null = the command line", NULL }
#define TIME_ROWS \
    { "created_at", F_TIME, AT(created_ms), 0, 0, 0, NULL, "When it was created", NULL }, \
    { "updated_at", F_TIME, AT(updated_ms), 0, 0, 0, NULL, "When it was last changed", NULL }
#define SECRET_ROW { "token", F_STR, AT(token), 0, 0, 0, NULL, \
      "The secret; it is shown this once", NULL }
/* clang-format on */

#define TOKEN_ROWS                                                                                 \
    NAME_ROWS, PREFIX_ROW, MASKED_ROW, STATUS_ROW, LIMIT_ROWS, SCOPES_ROW, LIST_ROWS, EXPIRY_ROW,  \
        USE_ROWS, TIME_ROWS
static const struct field token_fields[] = { ID_ROW, TOKEN_ROWS };
const struct rec rec_token =
    REC("Token", struct token, token_fields, "An integration token, without its secret.");

static const struct field secret_fields[] = { ID_ROW, SECRET_ROW, TOKEN_ROWS };
const struct rec rec_token_secret =
    REC("TokenSecret", struct token, secret_fields, "A new token, or one with a new secret.");

#define KEY_ROWS                                                                                   \
    NAME_ROWS, MASKED_ROW, STATUS_ROW, SCOPES_ROW, LIMIT_ROWS, LIST_ROWS, EXPIRY_ROW, SOON_ROWS,   \
        USE_ROWS, PREVIOUS_ROW, BY_ROW, TIME_ROWS
static const struct field key_fields[] = { ID_ROW, KEY_ROWS };
const struct rec rec_api_key =
    REC("ApiKey", struct token, key_fields, "An API key, without its secret.");

static const struct field key_secret_fields[] = { ID_ROW, SECRET_ROW, KEY_ROWS };
const struct rec rec_api_key_secret = REC("ApiKeySecret", struct token, key_secret_fields,
                                          "A new API key, or one with a new secret.");

static const struct field audit_fields[] = { NAME_ROWS,  MASKED_ROW, STATUS_ROW, SCOPES_ROW,
                                             LIMIT_ROWS, LIST_ROWS,  EXPIRY_ROW, PREVIOUS_ROW };
const struct rec rec_token_audit =
    REC("ApiKeyAudit", struct token, audit_fields, "An API key in the audit log.");

static const struct field event_fields[] = { ID_ROW,     NAME_ROWS,  MASKED_ROW, STATUS_ROW,
                                             SCOPES_ROW, LIMIT_ROWS, LIST_ROWS,  EXPIRY_ROW,
                                             BY_ROW,     TIME_ROWS };
const struct rec rec_token_event =
    REC("ApiKeyEvent", struct token, event_fields, "An API key as its events show it.");

/* ---- as stored ---- */

/* clang-format off */
#define TEXT(column) { #column, F_STR, AT(column) }
#define HIDDEN(column) { #column, F_STR, AT(column), F_SECRET }
#define NUMBER(column) { #column, F_INT, AT(column) }
/* clang-format on */
static const struct field row_fields[] = {
    TEXT(team_id),
    TEXT(id),
    TEXT(name),
    TEXT(description),
    HIDDEN(token_hash),
    TEXT(token_prefix),
    TEXT(token_last4),
    HIDDEN(previous_hash),
    TEXT(previous_prefix),
    TEXT(previous_last4),
    NUMBER(previous_until_ms),
    TEXT(status),
    NUMBER(rate_limit),
    TEXT(scopes),
    TEXT(limits),
    TEXT(allowed_endpoints),
    TEXT(allowed_ips),
    TEXT(metadata),
    NUMBER(expires_ms),
    NUMBER(last_used_ms),
    NUMBER(use_count),
    TEXT(created_by),
    NUMBER(created_ms),
    NUMBER(updated_ms),
    NUMBER(rev),
};
const struct rec rec_token_row = REC("TokenRow", struct token, row_fields, "A stored token.");

/* ---- bodies ---- */

#define IN(member) offsetof(struct token_new, member)
/* clang-format off */
#define BODY_ROWS(name_flags) \
    { "name", F_STR, IN(name), (name_flags) | F_SINGLE_LINE, 1, TOKEN_NAME_MAX, NULL, \
      "Name of the key", "\"CRM\"" }, \
    { "description", F_STR, IN(description), F_NULLABLE, 0, TOKEN_DESCRIPTION_MAX, NULL, \
      "What the key is for", NULL }, \
    { "scopes", F_STRS, IN(scopes), 0, 1, SCOPE_BITS, NULL, \
      "What the key may do: scopes or tickets:* (default: everything about tickets)", \
      "[\"tickets:read\"]" }, \
    { "rate_limit", F_INT, IN(rate_limit), 0, 1, TOKEN_RATE_MAX, NULL, \
      "Requests an hour (default 1000)", "1000" }, \
    { "limits", F_RECS, IN(limits), F_NULLABLE, 0, WINDOW_RULES_MAX, NULL, \
      "Named limits beside the hourly one; a request is taken from all or from none", \
      "[{\"name\":\"burst\",\"requests\":50,\"window\":10000}]", &rec_key_limit }, \
    { "allowed_endpoints", F_STRS, IN(allowed_endpoints), F_NULLABLE, 1, TOKEN_ENDPOINTS_MAX, NULL, \
      "Only these endpoints: a path, with a method before it if wanted; a final * stands for any " \
      "rest", "[\"POST /v1/tickets\"]" }, \
    { "allowed_ips", F_STRS, IN(allowed_ips), F_NULLABLE, 1, TOKEN_IPS_MAX, NULL, \
      "Only from these addresses and networks (CIDR)", "[\"10.0.0.0/8\"]" }, \
    { "metadata", F_OBJECT, IN(metadata), F_NULLABLE, 0, TOKEN_METADATA_MAX, NULL, \
      "Custom metadata", NULL }, \
    { "expires_at", F_TIME, IN(expires_ms), F_NULLABLE, 0, 0, NULL, \
      "When the key stops working, at most 365 days ahead (null: never)", NULL }, \
    { "expires_in_days", F_INT, IN(expires_in_days), 0, 1, TOKEN_DAYS_MAX, NULL, \
      "The same, as days from now", "90" }
static const struct field new_fields[] = { BODY_ROWS(F_REQUIRED) };
const struct rec rec_token_new =
    REC("ApiKeyNew", struct token_new, new_fields, "An API key to create.");
static const struct field patch_fields[] = { BODY_ROWS(0) };
const struct rec rec_token_patch =
    REC("ApiKeyPatch", struct token_new, patch_fields, "What to change of an API key.");
/* clang-format on */
