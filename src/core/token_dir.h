/* The token directory: every live token in memory, so that a request is authenticated and limited
 * without I/O.
 *
 * A hash table from the SHA-256 of the secret to an entry; a thread polls the change feed every 200
 * ms and reads the rows whose rev is newer (so the CLI and other nodes are honoured well within a
 * second); token changes made by this process call token_dir_refresh after their commit. Ids stay
 * where they are until token_dir_close, also those of deleted tokens; all other text that is given
 * out is a copy in the asker's cx. Readers share no lock with each other: a change publishes a new
 * picture of its token with one pointer, and frees the old one when no reader can hold it
 * (token_face.h); counters are atomic. Order of ends: the requests, token_dir_close, store_close.
 *
 * Limits: hourly fixed window per token, reset at the top of the hour (UTC), and up to eight named
 * sliding windows (token_window.h); a request is taken from all of them or from none. What was
 * granted before a restart, and by other nodes, comes from the usage log (token_settle.h). Wrong
 * tokens are limited per address and minute. Memory: about 700 bytes a token and its metadata, however often it changes; at most
 * TOKEN_DIR_MAX tokens are loaded, more is an error at start. */
#ifndef TESSERA_CORE_TOKEN_DIR_H
#define TESSERA_CORE_TOKEN_DIR_H

#include "../base/net.h"
#include "token.h"
#include "token_window.h"

#define TOKEN_DIR_MAX 1000000

struct token_dir;

struct limit_named { /* one of the key's named limits */
    struct str name; /* lives in cx */
    int64_t limit, remaining;
    int64_t reset_s; /* until the running cell ends; when nothing remains: until one more fits */
};
#define LIMIT_HOUR 1u
#define LIMIT_NAMED(i) (2u << (i))
struct limit_state {   /* for RateLimit headers */
    int64_t limit;     /* requests an hour; 0 = nothing is known */
    int64_t remaining; /* after this request */
    int64_t reset_s;   /* seconds until the top of the hour, >= 1 */
    struct str policy; /* the value of RateLimit-Policy, NUL-terminated, lives in cx */
    struct limit_named named[WINDOW_RULES_MAX];
    size_t n_named;
    unsigned violated; /* which have nothing left: LIMIT_HOUR | LIMIT_NAMED(i)… */
};

struct auth_query {
    struct str secret; /* as sent, without "Bearer " */
    struct ip ip;
    const char *method;
    const char *route_path; /* pattern of the matched route, e.g. "/v1/tickets/{id}" */
    struct str path;        /* as sent */
    uint64_t need;          /* scope mask of the route */
    bool is_counted;        /* take one from the rate limit */
};

/* Load everything. `store` must be migrated. bad_per_minute: wrong tokens (malformed or unknown,
 * not disabled or expired ones) answered as INVALID_TOKEN per address (IPv6: /64) and minute,
 * further ones are RATE_LIMITED; 0 = no limit. */
enum err_code token_dir_open(struct ctx *cx, struct store *store, int64_t bad_per_minute,
                             struct token_dir **out);
enum err_code token_dir_start(struct ctx *cx, struct token_dir *d); /* starts the polling thread */
void token_dir_close(struct token_dir *d); /* ends the thread; NULL is fine */
/* Read the changes now. Any thread. */
enum err_code token_dir_refresh(struct ctx *cx, struct token_dir *d);

/* What token_settle.c does: counts from outside. Any thread. */
#define WINDOW_LENGTHS_MAX 128
struct window_lengths {
    int64_t ms[WINDOW_LENGTHS_MAX];
    size_t n;
};
struct token_counts {
    int64_t window_ms, index; /* the window's cell [index * window_ms, (index + 1) * window_ms) */
    int64_t running, before;  /* requests in that cell and in the one before */
};
/* Lengths of the windows that live tokens have, multiples of a minute only; the hour is the first.
 * Further ones than WINDOW_LENGTHS_MAX are left out. */
void token_dir_windows(struct token_dir *d, struct window_lengths *out);
/* Has a token got a window since token_dir_windows? */
bool token_dir_has_new_windows(struct token_dir *d);
/* At least so many requests of the token have passed in its windows of this length. Unknown tokens
 * are skipped. */
void token_dir_settle(struct token_dir *d, struct str token_id, const struct token_counts *c);

/* Authenticate and take from the limit. A call that the address list refuses takes nothing; one
 * that the endpoint list or the scopes refuse does; a denied one does not. *who is filled as far as
 * the token was recognised (also on failures, so that usage can name it; team_id.p == NULL
 * otherwise; its ids live as long as the directory, its name in cx); *limit is filled when the
 * token is valid (limit == 0 otherwise). INVALID_TOKEN
 * (unknown, disabled, expired, deleted), FORBIDDEN_ADDRESS, FORBIDDEN_ENDPOINT, INSUFFICIENT_SCOPE
 * (names the scope), RATE_LIMITED (cx->retry_after_s is set). Never blocks on I/O. Any thread. */
enum err_code token_dir_auth(struct ctx *cx, struct token_dir *d, const struct auth_query *q,
                             struct caller *who, struct limit_state *limit);

enum token_verdict {
    VERDICT_VALID,
    VERDICT_UNKNOWN,
    VERDICT_DISABLED,
    VERDICT_EXPIRED,
    VERDICT_SCOPE,
    VERDICT_ADDRESS,
    VERDICT_LIMITED
};
struct verify_query {
    struct str team_id; /* keys of other teams are unknown */
    struct str asker;   /* caller_subject(): wrong keys are counted by it */
    struct str secret;
    uint64_t need; /* scopes that the key must have */
    struct ip ip;  /* from where the key was used */
    bool has_ip;   /* without it a key with an address list is refused */
    bool is_counted;
};
struct verify_answer {
    enum token_verdict verdict;
    struct str token_id, team_id, name,
        metadata; /* ids as the directory, text in cx; or STR_NONE */
    uint64_t scopes;
    int64_t expires_ms; /* INT64_MAX = never */
    struct limit_state limit;
};
/* Judge the key of somebody else. A valid one is taken from its limits (is_counted); a refused one
 * never is. RATE_LIMITED after bad_per_minute unknown keys of one asker in a minute. Any thread. */
enum err_code token_dir_verify(struct ctx *cx, struct token_dir *d, const struct verify_query *q,
                               struct verify_answer *out);

int64_t token_dir_count(struct token_dir *d); /* all but deleted ones */
/* Active ones that expire within TOKEN_SOON_MS; up to ten seconds old. */
int64_t token_dir_expiring(struct token_dir *d);

#endif
