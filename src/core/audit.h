/* The audit log: who changed what, from where, from what to what. Owner of tables audit_log and
 * audit_head.
 *
 * A row is written in the transaction of the change itself, so neither exists without the other.
 * Rows of a team form a chain: each holds a hash over its content and the hash before it, keyed
 * where there is a master key (core/vault keeps the key); audit_verify finds the first row that was changed,
 * removed or put in between. Secrets never get in: before and after are printed by field tables,
 * which leave F_SECRET members out, and members inside free JSON whose names sound secret are
 * masked.
 *
 * A hash is text: version "1", key id (8 hex digits of the key's own hash, "-" without a master
 * key), 64 hex digits. What the newest rows and the head held cannot be known once both are
 * removed or put back together: keep a head (SEQ:HASH, printed by `tessera audit verify`)
 * elsewhere and have it checked. */
#ifndef TESSERA_CORE_AUDIT_H
#define TESSERA_CORE_AUDIT_H

#include "../base/spool.h"
#include "../store/store.h"
#include "caller.h"
#include "listing.h"

#define AUDIT_HASH_MAX 80  /* longest hash text, with its NUL */
#define AUDIT_TEXT_MAX 500 /* bytes of a name or user agent that are kept */

struct audit_entry {
    const char *action;      /* "api_key.create": noun.verb, static text */
    const char *target_type; /* "api_key" */
    struct str target_id;
    struct str before, after; /* JSON text of an object or STR_NONE; see audit_json */
};

/* In the unit of the change, after it; who->team_id names the team (and the unit's scope must be
 * it). UNAVAILABLE without a master key when the team's chain is keyed: a plain row there could not
 * be told from a forged one. */
enum err_code audit_write(struct ctx *cx, struct db *db, const struct caller *who,
                          const struct audit_entry *entry);
/* The object by its table, secrets left out. NULL gives STR_NONE. Lives in cx. */
struct str audit_json(struct ctx *cx, const struct rec *r, const void *obj);
/* The key of the chain, 32 bytes, copied (vault_mac_key(VAULT_AUDIT)); without a call, or with an
 * empty one, the chain is plain SHA-256. Once, at start. */
void audit_setup(struct str key);

/* ---- reading: audit_read.c */

struct audit_row {
    struct rec_bits bits;
    int64_t seq, at_ms;
    struct str actor_kind, actor_id, actor_name, ip, agent, request_id, action, target_type,
        target_id, before, after, prev_hash, hash;
};
extern const struct rec rec_audit;
/* The row's hash over its content and its prev_hash, by the key of this process, or plain when it
 * has none or is_plain. Lives in a. */
struct str audit_hash(struct arena *a, struct str team_id, const struct audit_row *row,
                      bool is_plain);
/* The key id in a hash: "-" = plain. */
struct str audit_key_id(struct str hash);

struct audit_query {
    struct rec_bits bits;
    struct str actor_id, action, target_type, target_id, cursor, format;
    int64_t from, to, limit;
};
extern const struct rec rec_audit_query;  /* a list */
extern const struct rec rec_audit_export; /* an export: format, no paging */
/* Newest first. An action that ends in a point means all that begin with it. */
enum err_code audit_list(struct ctx *cx, struct db *db, const struct caller *who,
                         const struct audit_query *in, struct cursor_key key, struct page *out);
/* Oldest first, row by row in constant memory; `row` is valid during the call. limit and cursor
 * are not looked at. */
enum err_code audit_each(struct ctx *cx, struct db *db, const struct caller *who,
                         const struct audit_query *in,
                         enum err_code (*each)(struct ctx *cx, void *row, void *arg), void *arg);

/* ---- files: audit_export.c */

struct audit_export_ask {
    const struct caller *who;
    const struct audit_query *query;
    struct str dir; /* of the spool */
    bool as_csv;    /* else a JSON object a line */
};
/* All rows that the query chooses, oldest first, into a finished spool that is the caller's. Not
 * inside a unit. */
enum err_code audit_export(struct ctx *cx, struct store *s, const struct audit_export_ask *ask,
                           struct spool **out);

/* ---- checking: audit_verify.c */

struct audit_check { /* of one team */
    struct rec_bits bits;
    struct str team_id;
    struct str head;                /* "SEQ:HASH" of the newest row, or absent */
    struct str why;                 /* what is wrong, or absent */
    int64_t rows, bad_seq, unkeyed; /* unkeyed: rows written without a master key */
    int64_t is_intact;
};
extern const struct rec rec_audit_check;
/* Walks the whole chain in constant memory, inside a read unit whose scope sees the team. `head` is
 * a head kept from an earlier time ("SEQ:HASH") or STR_NONE. Tampering is no error of the call: it
 * is in *out. INVALID_PARAMETER when head is not of that form. */
enum err_code audit_verify(struct ctx *cx, struct db *db, struct str team_id, struct str head,
                           struct audit_check *out);

#endif
