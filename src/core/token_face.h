/* The insides of the token directory, shared by token_dir.c (follows the rows), token_face.c (makes
 * and frees faces) and token_auth.c (reads). Nobody else includes it, but the directory's tests.
 *
 * Reading and freeing. A reader holds a gate, one of GATES mutexes, from before it loads a table or
 * a face until it has copied what it gives out; a thread always takes the same gate, so threads
 * hardly ever meet there. A writer first swaps the pointer, then lets what was replaced lie on the
 * directory's list of old things, and at the end of its refresh takes and leaves every gate once:
 * whoever could still hold an old pointer has then left, and the old things are freed. So memory
 * follows the number of tokens and not that of their changes, and no reader waits for a writer
 * longer than that moment at its own gate. Lock order: token_dir.lock, a gate, windows.lock. */
#ifndef TESSERA_CORE_TOKEN_FACE_H
#define TESSERA_CORE_TOKEN_FACE_H

#include <pthread.h>
#include <stdatomic.h>

#include "token_dir.h"
#include "token_limit.h"
#include "token_table.h"
#include "token_window.h"

#define GATES 16
#define WINDOW_CELLS_MAX (2 * WINDOW_RULES_MAX)

/* The counters of a key's named limits. They are found by name and length of the window, so a
 * change of the key keeps them. The cells of a limit that was dropped stay for its return, up to
 * WINDOW_CELLS_MAX of one key: then the one that is longest out of use goes. */
struct window_cell {
    struct window_cell *next; /* writer only */
    int64_t window_ms;
    struct window w; /* windows.lock */
    char name[WINDOW_NAME_MAX + 1];
};
struct windows {
    pthread_mutex_t lock;      /* held for a few dozen instructions, never over anything else */
    struct window_cell *cells; /* writer only; the newest face's come first */
};

struct face_rule {
    struct window_rule rule;
    struct window_cell *cell;
};

struct face {              /* one block with all its text; never changes once it is published */
    struct face *next_old; /* writer only */
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

struct gate {
    pthread_mutex_t lock;
    char apart[128 - sizeof(pthread_mutex_t)]; /* no two in one cache line */
};

struct token_dir {
    struct gate gates[GATES];
    struct table *_Atomic by_hash;     /* its `older` are old things, too */
    struct wrong_tokens *wrong;        /* by address */
    struct wrong_tokens *wrong_verify; /* by who asked */
    int64_t bad_per_minute;
    struct store *store;
    atomic_llong live;     /* not deleted */
    atomic_llong expiring; /* active, with less than TOKEN_SOON_MS left */

    pthread_mutex_t lock;
    struct table *by_id;           /* lock */
    struct arena arena;            /* lock: entries, which are never freed */
    struct face *old_faces;        /* lock: replaced, perhaps still read */
    struct window_cell *old_cells; /* lock: the same */
    struct ctx parse;              /* lock: scratch, emptied after each row */
    int64_t rev;                   /* lock: feed value up to which rows were read */
    int64_t counted_rev;           /* lock: at the last count of what expires */
    int64_t counted_at_us;         /* lock: when that was, monotonic */
    bool has_new_cells;            /* lock: since token_dir_windows */

    pthread_t thread;
    bool is_started;
    pthread_mutex_t stop_lock;
    pthread_cond_t wake;
    bool is_stopping; /* stop_lock */
};

/* token_face.c; the caller holds token_dir.lock. */
/* The face of a row, with its windows' cells from *ws (made when the first named limit comes). */
struct face *face_new(struct token_dir *d, const struct token *row, struct windows **ws);
/* Put a replaced face (NULL is fine) and the cells that ws has too many on the lists of old
 * things. The face that replaces it is published. */
void face_retire(struct token_dir *d, struct face *old, struct windows *ws);
/* Wait until no reader can hold an old thing, and free them all. */
void old_free(struct token_dir *d);
/* At close, when nobody reads any more. */
void cells_free(struct window_cell *c);

#endif
