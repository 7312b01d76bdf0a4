/* The field tables of integration tokens: reply, reply with the secret, body, and the stored row.
 * Data only. */
#include "token.h"

static const char *const statuses[] = { "active", "disabled", "expired", NULL };

#define AT(member) offsetof(struct token, member)
/* clang-format off */
#define ID_ROW { "id", F_UUID, AT(id), 0, 0, 0, NULL, "Token identifier", NULL }
#define REST_ROWS \
    { "name", F_STR, AT(name), 0, 0, 0, NULL, "Name; tickets show it as their source", \
      "\"CRM\"" }, \
    { "description", F_STR, AT(description), F_NULLABLE, 0, 0, NULL, "What the token is for", \
      NULL }, \
    { "prefix", F_STR, AT(token_prefix), 0, 0, 0, NULL, "First characters of the secret", \
      "\"stk_a1B2\"" }, \
    { "status", F_ENUM, AT(status), 0, 0, 0, statuses, "active, disabled, or expired", NULL }, \
    { "rate_limit", F_INT, AT(rate_limit), 0, 0, 0, NULL, "Requests an hour", "1000" }, \
    { "scopes", F_STRS, AT(scopes), 0, 0, 0, scope_words, "What the token may do", NULL }, \
    { "allowed_endpoints", F_STRS, AT(allowed_endpoints), F_NULLABLE, 0, 0, NULL, \
      "Only these endpoints; null = all", "[\"POST /v1/tickets\"]" }, \
    { "allowed_ips", F_STRS, AT(allowed_ips), F_NULLABLE, 0, 0, NULL, \
      "Only from these addresses; null = all", \
      "[\"10.0.0.0/8\"]" }, \
    { "metadata", F_OBJECT, AT(metadata), 0, 0, 0, NULL, "Custom metadata", NULL }, \
    { "expires_at", F_TIME, AT(expires_ms), F_NULLABLE, 0, 0, NULL, \
      "When it stops working; null = never", NULL }, \
    { "last_used_at", F_TIME, AT(last_used_ms), F_NULLABLE, 0, 0, NULL, "When it was last used", \
      NULL }, \
    { "use_count", F_INT, AT(use_count), 0, 0, 0, NULL, "How often it was used", NULL }, \
    { "created_at", F_TIME, AT(created_ms), 0, 0, 0, NULL, "When it was created", NULL }, \
    { "updated_at", F_TIME, AT(updated_ms), 0, 0, 0, NULL, "When it was last changed", NULL }
/* clang-format on */

static const struct field token_fields[] = { ID_ROW, REST_ROWS };
const struct rec rec_token =
    REC("Token", struct token, token_fields, "An integration token, without its secret.");

static const struct field secret_fields[] = {
    ID_ROW,
    { "token", F_STR, AT(token), 0, 0, 0, NULL, "The secret; it is shown this once", NULL },
    REST_ROWS,
};
const struct rec rec_token_secret =
    REC("TokenSecret", struct token, secret_fields, "A new token, or one with a new secret.");

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
    HIDDEN(previous_hash),
    NUMBER(previous_until_ms),
    TEXT(status),
    NUMBER(rate_limit),
    TEXT(scopes),
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

#define IN(member) offsetof(struct token_new, member)
static const struct field new_fields[] = {
    { "name", F_STR, IN(name), F_REQUIRED | F_SINGLE_LINE, 1, TOKEN_NAME_MAX, NULL,
      "Name of the token", "\"CRM\"" },
    { "description", F_STR, IN(description), F_NULLABLE, 0, TOKEN_DESCRIPTION_MAX, NULL,
      "What the token is for", NULL },
    { "scopes", F_STRS, IN(scopes), 0, 1, SCOPE_BITS, NULL,
      "What the token may do: scopes or tickets:* (default: everything about tickets)",
      "[\"tickets:read\"]" },
    { "rate_limit", F_INT, IN(rate_limit), 0, 1, TOKEN_RATE_MAX, NULL,
      "Requests an hour (default 1000)", "1000" },
    { "allowed_endpoints", F_STRS, IN(allowed_endpoints), F_NULLABLE, 1, TOKEN_ENDPOINTS_MAX, NULL,
      "Only these endpoints: a path, with a method before it if wanted; a final * stands for any "
      "rest",
      "[\"POST /v1/tickets\"]" },
    { "allowed_ips", F_STRS, IN(allowed_ips), F_NULLABLE, 1, TOKEN_IPS_MAX, NULL,
      "Only from these addresses and networks (CIDR)", "[\"10.0.0.0/8\"]" },
    { "metadata", F_OBJECT, IN(metadata), F_NULLABLE, 0, TOKEN_METADATA_MAX, NULL,
      "Custom metadata", NULL },
    { "expires_at", F_TIME, IN(expires_ms), F_NULLABLE, 0, 0, NULL,
      "When the token stops working (default never)", NULL },
};
const struct rec rec_token_new =
    REC("TokenNew", struct token_new, new_fields, "A token to create.");
