/* The insides of the token directory, shared by token_dir.c (writes) and token_auth.c (reads).
 * Nobody else includes it. */
#ifndef TESSERA_CORE_TOKEN_FACE_H
#define TESSERA_CORE_TOKEN_FACE_H

#include <pthread.h>
#include <stdatomic.h>

#include "token_dir.h"
#include "token_limit.h"
#include "token_table.h"
#include "token_window.h"

/* The counters of a key's named limits. They are found by name and length of the window, so a
 * change of the key keeps them; the cells of a limit that was dropped stay for its return. */
struct window_cell {
    struct window_cell *next; /* writer only */
    struct str name;
    int64_t window_ms;
    struct window w; /* windows.lock */
};
struct windows {
    pthread_mutex_t lock;      /* held for a few dozen instructions, never over anything else */
    struct window_cell *cells; /* writer only */
};

struct face_rule {
    struct window_rule rule;
    struct window_cell *cell;
};

struct face { /* never changes once it is published */
    unsigned char hash[SHA256_LEN], previous[SHA256_LEN];
    int64_t previous_until_ms; /* 0 = no previous secret */
    int64_t expires_ms;        /* INT64_MAX = never */
    int64_t rate_limit;
    uint64_t scopes;
    struct str name, metadata;
    struct str policy; /* the value of RateLimit-Policy, NUL-terminated */
    struct cidrs ips;
    struct endpoints endpoints;
    struct face_rule *rules;
    size_t n_rules;
    struct windows *windows;     /* of the rules; NULL without any */
    bool has_ips, has_endpoints; /* a list that could not be read matches nothing */
    bool is_active, is_deleted;
};

struct entry {
    struct hour_count used;
    /* The counter is written by every request, the rest by none. */
    char apart[64 - sizeof(struct hour_count)];
    struct face *_Atomic face;
    struct str id, team_id;
    struct windows *windows; /* writer only; NULL until the first named limit */
};

struct token_dir {
    struct table *_Atomic by_hash;
    struct wrong_tokens *wrong;        /* by address */
    struct wrong_tokens *wrong_verify; /* by who asked */
    int64_t bad_per_minute;
    struct store *store;
    atomic_llong live;     /* not deleted */
    atomic_llong expiring; /* active, with less than TOKEN_SOON_MS left */

    pthread_mutex_t lock;
    struct table *by_id;   /* lock */
    struct arena arena;    /* lock: entries, faces and their text */
    struct ctx parse;      /* lock: scratch, emptied after each row */
    int64_t rev;           /* lock: feed value up to which rows were read */
    int64_t counted_rev;   /* lock: at the last count of what expires */
    int64_t counted_at_us; /* lock: when that was, monotonic */

    pthread_t thread;
    bool is_started;
    pthread_mutex_t stop_lock;
    pthread_cond_t wake;
    bool is_stopping; /* stop_lock */
};

#endif
