/* Integration tokens, also called API keys: one entity, one table. Rows, secrets, lifecycle. The
 * in-memory directory that authenticates is token_dir.h; what administrators do over the API, with
 * its checks and audit rows, is token_admin.h.
 *
 * Only the SHA-256 (hex) of a secret (token_key.h), its first and its last four characters are
 * stored. Every change takes the next value of the change feed 'token' (row rev), inside the same
 * transaction, so that directories of all nodes can follow: the feed's row is taken first, and its
 * lock makes the order of revs the order of commits. Owner of table integration_tokens and of that
 * feed. */
#ifndef TESSERA_CORE_TOKEN_H
#define TESSERA_CORE_TOKEN_H

#include "../base/clock.h"
#include "../store/store.h"
#include "caller.h"
#include "token_key.h"

#define TOKEN_RATE_DEFAULT 1000
#define TOKEN_RATE_MAX INT64_C(1000000000)
#define TOKEN_NAME_MAX 200 /* characters */
#define TOKEN_DESCRIPTION_MAX 2000
#define TOKEN_METADATA_MAX 65536 /* bytes of JSON text */
#define TOKEN_ENDPOINTS_MAX 100
#define TOKEN_IPS_MAX 256
#define TOKEN_DAYS_MAX 365
#define TOKEN_GRACE_S_MAX INT64_C(2592000) /* 30 days */
#define TOKEN_SOON_MS (7 * DAY_MS)         /* less than that is left: "expires soon" */
#define TEAM_DEFAULT "00000000-0000-7000-8000-000000000001"

struct token {
    struct rec_bits bits;
    struct str id, team_id, name, description, token_prefix, token_last4, status, scopes, limits,
        allowed_endpoints, allowed_ips, metadata, created_by;
    struct str previous_prefix, previous_last4;
    struct str token_hash, previous_hash; /* secret: never printed */
    struct str token;    /* the secret, only in the reply of create and regenerate */
    struct str masked;   /* these four are made by token_show */
    struct str previous; /* {"masked","until"} while a grace time runs */
    struct str warnings; /* array of sentences */
    int64_t expires_soon;
    int64_t rate_limit, use_count, rev;
    int64_t previous_until_ms, expires_ms, last_used_ms, created_ms, updated_ms;
};
/* token_rec.c. All of one struct: */
extern const struct rec rec_token;        /* `token show`: {"id","name","prefix",…}; no secret */
extern const struct rec rec_token_secret; /* `token create`, `token regenerate`: with "token" */
extern const struct rec rec_api_key;      /* reply of /v1/api-keys */
extern const struct rec rec_api_key_secret; /* reply of create and regenerate: with "token" */
extern const struct rec rec_token_audit;    /* what the audit log keeps */
extern const struct rec rec_token_event;    /* `data` of its events */
extern const struct rec rec_token_row;      /* the stored columns, to read them */
/* Every column that is read into a reply; none of the hashes. */
#define TOKEN_COLUMNS                                                                              \
    "id, name, description, token_prefix, token_last4, previous_prefix, previous_last4, "          \
    "previous_until_ms, status, rate_limit, scopes, limits, allowed_endpoints, allowed_ips, "      \
    "metadata, expires_ms, last_used_ms, use_count, created_by, created_ms, updated_ms, rev"

struct token_new { /* also the body of a change */
    struct rec_bits bits;
    struct str name, description, scopes, limits, allowed_endpoints, allowed_ips, metadata;
    struct str created_by;
    int64_t rate_limit, expires_ms, expires_in_days;
};
extern const struct rec rec_token_patch;
extern const struct rec rec_token_new;

/* All run inside a unit of work of the caller's transaction; `team_id` names the team, and the
 * unit's database scope is left set to it. An active token whose expiry has passed reads as
 * "expired". */
/* Mint a token; out->token holds the sole copy of the secret and lives in cx. INVALID_FIELD names
 * what is wrong (scope words, named limits, CIDRs, endpoints "METHOD /path" or "/path/…" with * as
 * last character). */
enum err_code token_create(struct ctx *cx, struct db *db, struct str team_id,
                           const struct token_new *in, struct token *out);
enum err_code token_get(struct ctx *cx, struct db *db, struct str team_id, struct str id,
                        struct token *out);
enum err_code token_list(struct ctx *cx, struct db *db, struct str team_id, struct list *out);
/* Change what is given in `in` (has: the new value, nul: cleared; metadata is merged, RFC 7396).
 * *before is the token as it was. */
enum err_code token_update(struct ctx *cx, struct db *db, struct str team_id, struct str id,
                           const struct token_new *in, struct token *before, struct token *out);
/* Enable or disable; NOT_FOUND for unknown and deleted ones. */
enum err_code token_set_enabled(struct ctx *cx, struct db *db, struct str team_id, struct str id,
                                bool is_enabled, struct token *out);
/* New secret; the old one stops at once, or grace_ms from now (never later than the token's
 * expiry). */
enum err_code token_regenerate(struct ctx *cx, struct db *db, struct str team_id, struct str id,
                               int64_t grace_ms, struct token *out);
/* Revoke for ever (tombstone). Usage rows and rollups go too unless keep_usage: in small steps by
 * usage_forget_mark(). */
enum err_code token_delete(struct ctx *cx, struct db *db, struct str team_id, struct str id);
/* Locks every token until the commit: the beginning of a change that reads first. */
enum err_code token_lock(struct ctx *cx, struct db *db);
/* Fill what is derived from a row: masked, previous, warnings, expires_soon, status "expired". */
void token_show(struct ctx *cx, struct token *t, int64_t now_ms);

/* token_check.c: fields of a new or changed token, which need no database. */
enum err_code token_check(struct ctx *cx, const struct token_new *in, int64_t now_ms);
/* scopes as stored: words in table order, wildcards resolved; STR_NONE gives the default. */
enum err_code token_read_scopes(struct ctx *cx, struct str json, struct str *out);
/* limits as stored. */
enum err_code token_read_limits(struct ctx *cx, struct str json, struct str *out);
/* expires_in_days becomes expires_ms; both, and more than TOKEN_DAYS_MAX days, are refused. */
enum err_code token_read_expiry(struct ctx *cx, struct token_new *in, int64_t now_ms);

#endif
