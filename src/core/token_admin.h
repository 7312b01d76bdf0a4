/* API keys as administrators see them: the rows of token.h with what the API adds, that is who may
 * hand out which scopes, If-Match, lists, and an audit row for every change in its transaction.
 *
 * Every function runs inside a unit of work; `who` names the team and is asked what it holds. The
 * command line (neither key nor user) holds everything. A caller may hand out only scopes that it
 * holds itself, so it may change, enable or regenerate only keys whose scopes it holds (else a new
 * secret of a stronger key would be its own); disable and delete stop a key and are always
 * allowed. */
#ifndef TESSERA_CORE_TOKEN_ADMIN_H
#define TESSERA_CORE_TOKEN_ADMIN_H

#include "listing.h"
#include "ticket.h"
#include "token.h"

struct key_query {
    struct rec_bits bits;
    struct str status, q, cursor;
    int64_t expires_before, limit;
};
extern const struct rec rec_key_query;

/* Newest first. */
enum err_code key_list(struct ctx *cx, struct db *db, const struct caller *who,
                       const struct key_query *in, const struct cursor_key *cursors,
                       struct page *out);
enum err_code key_get(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                      struct token *out);

/* INSUFFICIENT_SCOPE or INSUFFICIENT_ROLE name the scope that the caller lacks;
 * PRECONDITION_FAILED when the key's rev is not among `allowed` (NULL = any). */
enum err_code key_create(struct ctx *cx, struct db *db, const struct caller *who,
                         const struct token_new *in, struct token *out);
enum err_code key_update(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                         const struct token_new *in, const struct versions *allowed,
                         struct token *out);
/* CONFLICT when a key would disable itself. */
enum err_code key_set_enabled(struct ctx *cx, struct db *db, const struct caller *who,
                              struct str id, bool is_enabled, struct token *out);
enum err_code key_regenerate(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                             int64_t grace_ms, struct token *out);
/* CONFLICT when a key would delete itself. Its usage stays; usage_forget_mark() removes that. */
enum err_code key_delete(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                         const struct versions *allowed);

#endif
