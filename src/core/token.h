/* Integration tokens: rows, secrets, lifecycle. The in-memory directory that authenticates is
 * token_dir.h.
 *
 * A secret is "stk_" + base64url of 32 random bytes (43 characters); only its SHA-256 (hex) and its
 * first 8 characters are stored. Every change takes the next value of the change feed 'token' (row
 * rev), inside the same transaction, so that directories of all nodes can follow: the feed's row is
 * taken first, and its lock makes the order of revs the order of commits. Owner of table
 * integration_tokens and of that feed. */
#ifndef TESSERA_CORE_TOKEN_H
#define TESSERA_CORE_TOKEN_H

#include "../store/store.h"
#include "caller.h"

#define TOKEN_SECRET_LEN 47 /* "stk_" + 43 */
#define TOKEN_RATE_DEFAULT 1000
#define TOKEN_RATE_MAX INT64_C(1000000000)
#define TOKEN_PREFIX_LEN 8
#define TOKEN_NAME_MAX 200 /* characters */
#define TOKEN_DESCRIPTION_MAX 2000
#define TOKEN_METADATA_MAX 65536 /* bytes of JSON text */
#define TOKEN_ENDPOINTS_MAX 100
#define TOKEN_IPS_MAX 256
#define TEAM_DEFAULT "00000000-0000-7000-8000-000000000001"

struct token {
    struct rec_bits bits;
    struct str id, team_id, name, description, token_prefix, status, scopes, allowed_endpoints,
        allowed_ips, metadata, created_by;
    struct str token_hash, previous_hash; /* secret: never printed */
    struct str token; /* the secret, only in the reply of create and regenerate */
    int64_t rate_limit, use_count, rev;
    int64_t previous_until_ms, expires_ms, last_used_ms, created_ms, updated_ms;
};
extern const struct rec rec_token; /* reply and `token show`: {"id","name","prefix",…}; no secret */
extern const struct rec
    rec_token_secret;                  /* reply of create/regenerate: {"id","token","prefix",…} */
extern const struct rec rec_token_row; /* every column, for the directory */

struct token_new {
    struct rec_bits bits;
    struct str name, description, scopes, allowed_endpoints, allowed_ips, metadata;
    int64_t rate_limit, expires_ms;
};
extern const struct rec rec_token_new;

/* All run inside a unit of work of the caller's transaction; `team_id` names the team, and the
 * unit's database scope is left set to it. An active token whose expiry has passed reads as
 * "expired". */
/* Mint a token; out->token holds the sole copy of the secret and lives in cx. INVALID_FIELD names
 * what is wrong (scope words, CIDRs, endpoints "METHOD /path" or "/path/…" with * as last
 * character). */
enum err_code token_create(struct ctx *cx, struct db *db, struct str team_id,
                           const struct token_new *in, struct token *out);
enum err_code token_get(struct ctx *cx, struct db *db, struct str team_id, struct str id,
                        struct token *out);
enum err_code token_list(struct ctx *cx, struct db *db, struct str team_id, struct list *out);
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

#endif
