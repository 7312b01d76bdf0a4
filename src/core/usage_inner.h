/* What the files of usage share and nobody else sees.
 *
 * usage_count.c  counts in memory, by minute, team, token, route, class
 * usage_bulk.c   many rows into a table with few statements
 * usage_month.c  days beyond their time into months
 * usage_rollup.c counts into usage_rollup and the tokens; rows left out by a crash
 * usage_write.c  the hooks of the writers, one stream each
 * usage_note.c   the bounded buffer and its flusher thread
 * usage_keep.c   the housekeeping thread; retention, which a job does; forgetting; usage_day.c (SQLite),
 * usage_part.c (PostgreSQL)
 * usage_read.c   dashboard, key statistics; usage_series.c time series, routes,
 * countries; usage_recent.c, usage_export.c the request log
 * usage.c        opening, starting, stopping */
#ifndef TESSERA_CORE_USAGE_INNER_H
#define TESSERA_CORE_USAGE_INNER_H

#include <pthread.h>
#include <stdatomic.h>

#include "hist.h"
#include "usage.h"

#define USAGE_ID_MAX 64        /* longest team or token id, with its NUL */
#define USAGE_PENDING_MAX 4096 /* keys that a writer counts before it must flush */
#define USAGE_DROPS_MAX 1024   /* keys of dropped events between two flights */
#define USAGE_SHARDS 8
#define USAGE_CHUNK_BYTES ((size_t)65536)
#define USAGE_CHUNK_EVENTS 256
#define USAGE_FLIGHT_CHUNKS 16
#define USAGE_FLIGHT_EVENTS 2048
#define USAGE_STEP_ROWS 500 /* rows moved or deleted by one step of housekeeping */
#define USAGE_FOLD_ROWS                                                                            \
    4096 /* rows folded into the rollups by one transaction; at most USAGE_PENDING_MAX */
/* PostgreSQL: the class of the advisory locks by which a writer's session shows that its stream is
 * alive ("te"). The session's end, however it comes, frees the lock, so an abandoned stream is
 * known at once and never guessed from a clock. */
#define USAGE_LOCK_CLASS "29797"
#define USAGE_PASS_ROWS 100000    /* SQLite: of them move at most in one pass */
#define USAGE_HOT_ROWS 500000     /* SQLite: rows that the main file keeps at most */
#define USAGE_TEAM_TOKEN STR("*") /* token_id and route of the sums over a whole team */

/* X(column, index) for all 40 columns of the histogram */
/* clang-format off */
#define HIST_COLUMNS_10(X, t, i)                                                                        \
    X(t##0, i) X(t##1, i + 1) X(t##2, i + 2) X(t##3, i + 3) X(t##4, i + 4)                         \
    X(t##5, i + 5) X(t##6, i + 6) X(t##7, i + 7) X(t##8, i + 8) X(t##9, i + 9)
#define HIST_COLUMNS(X)                                                                               \
    HIST_COLUMNS_10(X, b0, 0)  HIST_COLUMNS_10(X, b1, 10)  HIST_COLUMNS_10(X, b2, 20)  HIST_COLUMNS_10(X, b3, 30)
/* clang-format on */

/* ---- usage_count.c */
struct count {
    uint64_t hash;
    char grain; /* m, h, d, M; t = for ever */
    unsigned char team_n, token_n;
    char team[USAGE_ID_MAX], token[USAGE_ID_MAX];
    struct str method, endpoint; /* static text, or text that outlives the counts; no method:
                                    endpoint is the route */
    int64_t bucket_ms, n, sum_us;
    int64_t errors;  /* answered with 4xx or 5xx */
    int64_t last_ms; /* the newest request */
    int class;
    uint32_t b[HIST_BUCKETS];
};
struct counts { /* a map with a fixed number of places */
    struct count *v;
    size_t n, cap;
    uint32_t *slots; /* index + 1 into v; 0 = free */
    size_t n_slots;  /* a power of two */
};
void counts_init(struct counts *c, struct arena *a, size_t cap);
void counts_clear(struct counts *c);
/* Count one request by its minute. False when there is no room for a new key. */
bool counts_event(struct counts *c, const struct usage_event *e);
/* The same by hour and country, which stands in `token` ("" = not known). Requests without a team
 * are not counted. */
bool counts_place(struct counts *c, const struct usage_event *e);
/* Counts whose detail was dropped: nobody knows where they came from. There must be room. */
void counts_nowhere(struct counts *c, const struct counts *from);
/* Add what `from` holds. There must be room. */
void counts_merge(struct counts *c, const struct counts *from);
/* Add one entry under another grain, and as the sum of the team when `is_team`. There must be
 * room. */
void counts_widen(struct counts *c, const struct count *from, char grain, bool is_team);
/* Order of usage_rollup's primary key: locks are taken in the same order everywhere. */
int count_compare(const struct count *a, const struct count *b);

/* ---- usage_bulk.c */
struct bulk_col {
    const char *name;
    bool is_text;
};
struct bulk {
    const char *sql_row;  /* SQLite: one row */
    const char *sql_many; /* PostgreSQL: arrays, one per column */
    const struct bulk_col *cols;
    size_t n_cols;
};
#define BULK_COLS_MAX 64
/* `tail` follows the values (ON CONFLICT …). The texts live in a. */
void bulk_init(struct bulk *b, struct arena *a, const char *table, const struct bulk_col *cols,
               size_t n_cols, const char *tail);
/* Write n rows; `row` fills v (n_cols values) for row i, texts may live in a. */
enum err_code bulk_put(struct ctx *cx, struct db *db, const struct bulk *b, size_t n,
                       void (*row)(struct arena *a, const void *arg, size_t i, struct val *v),
                       const void *arg);

/* ---- usage_write.c */
struct flight;
struct stream { /* of one writer; touched by its thread only unless said otherwise */
    struct usage *u;
    int writer;
    atomic_llong number; /* 0 = none taken yet; written by the writer */
    int64_t seq;         /* the last one given out */
    int64_t seq_done;    /* the last committed one: what pending covers */
    struct counts pending;
    struct counts places;    /* the same requests by country */
    atomic_bool has_pending; /* for the flusher */
    /* The running batch. */
    struct usage_event **events;
    size_t n_events;
    struct flight *flight;
    bool is_leisurely; /* rows of finished requests only: others go first on the core */
    bool has_taken;    /* the stream's number was taken in this transaction */
    bool has_flushed;  /* pending was written in this transaction, up to seq_done */
    bool is_lost;      /* another node has taken the stream for abandoned and counted its rows */
    bool is_given_back;
    /* The flush of once a second. */
    struct unit flush;
    struct ctx flush_cx;
    atomic_bool is_last; /* flush, then give the stream back; set by the flusher */
    bool is_flushing;    /* u->lock */
    int64_t flushed_us;  /* the flusher's */
};
void streams_init(struct usage *u);
void streams_done(struct usage *u);
enum err_code usage_before_commit(struct ctx *cx, struct db *db, void *arg, int writer,
                                  struct unit *const *units, size_t n);
void usage_after_commit(void *arg, int writer, bool is_committed);
/* The unit that writes a stream's pending counts; arg is the stream. `ran` belongs to it. */
enum err_code stream_flush_run(struct ctx *cx, struct db *db, void *arg);
void stream_flush_ran(struct unit *unit, enum err_code e);
/* Look up where the requests came from. The flusher's: there nobody waits for it. */
void flight_locate(struct usage *u, struct flight *f);
/* At most max bytes, cut between characters. */
struct str usage_cut(struct str s, size_t max);

/* ---- usage_note.c */
struct chunk { /* events grow from the start of data, their texts from its end */
    struct chunk *next;
    size_t n;
    size_t strings_at;
    _Alignas(16) char data[USAGE_CHUNK_BYTES];
};
struct shard {
    pthread_mutex_t lock;
    struct chunk *chunk; /* lock; being filled, may be NULL */
    int64_t noted;       /* lock */
    char apart[64];      /* two shards never share a cache line */
};
struct notes {
    struct shard shards[USAGE_SHARDS];
    pthread_mutex_t lock;           /* after a shard's lock */
    struct chunk *free;             /* lock */
    struct chunk *full, **full_end; /* lock; oldest first */
    struct counts drops;            /* lock; counts of events whose detail was dropped */
    int64_t dropped;                /* lock */
    atomic_bool is_idle;            /* the flusher sleeps long: wake it */
};
struct flight { /* what is on its way to the store; the flusher's while !is_out */
    struct usage *u;
    struct unit unit;
    struct ctx cx;
    struct chunk *chunks[USAGE_FLIGHT_CHUNKS];
    size_t n_chunks;
    struct counts drops;
    bool is_out;       /* u->lock */
    bool is_committed; /* the writer's until done */
    int tries;
    int64_t started_us, retry_at_us;
    long long stored_before; /* rows stored when it first started */
    uint64_t turn;           /* which writer comes next */
};
void notes_init(struct usage *u);
void notes_done(struct usage *u);
enum err_code flight_run(struct ctx *cx, struct db *db,
                         void *arg); /* marks the unit; the hook inserts its events */
void *flusher_main(void *arg);

/* ---- usage_rollup.c */
void rollup_init(struct usage *u);
/* Add the counts (grain m) to all grains of usage_rollup, and to the tokens' use_count and
 * last_used_ms; those by country to usage_country. */
enum err_code rollup_write(struct ctx *cx, struct db *db, struct usage *u, const struct counts *c,
                           const struct counts *places);
/* Add entries, all different, to usage_rollup as they are. */
enum err_code rollup_add(struct ctx *cx, struct db *db, struct usage *u, const struct count *v,
                         size_t n);
/* Fold the rows of abandoned streams that no rollup has: on SQLite all that are not ours (a file
 * has one server at a time), on PostgreSQL those whose lock is free. */
enum err_code rollup_recover(struct ctx *cx, struct usage *u);

/* ---- usage_day.c (SQLite) */
struct day_row { /* a whole row of integration_token_usage */
    struct rec_bits bits;
    int64_t id, status_code, response_time_us, created_ms;
    struct str team_id, token_id, endpoint, method, ip_address, user_agent, request_payload,
        error_message, country;
};
extern const struct rec rec_day_row;
#define DAY_ROW_COLUMNS                                                                                \
    "id, team_id, token_id, endpoint, method, status_code, response_time_us, ip_address, user_agent, " \
    "request_payload, error_message, created_ms, country"
struct days {
    pthread_mutex_t
        lock;           /* opening against unlinking: an opened file must not be born again empty */
    struct store *open; /* the housekeeper's: the file that rows go to */
    int64_t open_day;   /* lock for all but the housekeeper's reading: its day; -1 = none */
    int64_t newest;     /* the housekeeper's: the newest file's day; -1 = not known yet */
};
/* Days (since 1970) that have a file, newest first; int64_t in out. */
enum err_code day_list(struct ctx *cx, struct usage *u, struct list *out);
/* Open the file of a day. NOT_FOUND (not recorded) when it has none and !may_create. Close with
 * store_close. */
enum err_code day_open(struct ctx *cx, struct usage *u, int64_t day, bool may_create,
                       struct store **out);
/* Move one step of old rows out of the main file. *moved = rows. Housekeeping thread. */
enum err_code day_move(struct ctx *cx, struct usage *u, int64_t now_ms, bool is_crowded,
                       size_t *moved);
/* How many rows the main file has beyond USAGE_HOT_ROWS (negative: room), counted up to one pass's worth. */
enum err_code day_crowd(struct ctx *cx, struct usage *u, int64_t *excess);
void day_drop_old(struct ctx *cx, struct usage *u, int64_t now_ms);
/* Delete a token's rows from all files, in steps. */
enum err_code day_forget(struct ctx *cx, struct usage *u, struct str team_id, struct str token_id);
void day_rest(struct usage *u); /* close the file that rows went to */

/* ---- usage_month.c */
/* Turns the team's rollups of days before before_ms into months, in steps. */
enum err_code month_fold(struct ctx *cx, struct usage *u, struct str team_id, int64_t before_ms);

/* ---- usage_part.c (PostgreSQL) */
/* Make the partitions of today and the next days, drop those that are too old. */
enum err_code part_keep(struct ctx *cx, struct usage *u, int64_t now_ms);

/* ---- usage_series.c, usage_series_rec.c */
struct usage_group { /* sums of rollups */
    struct rec_bits bits;
    struct str key, name;
    int64_t bucket_ms;
    int64_t requests, errors, limited, ok, redirects, client, server;
    int64_t sum_us, average_us, p95_us;
    int64_t b[HIST_BUCKETS];
};
_Static_assert(sizeof(struct usage_group) <= 512, "a record is at most 512 bytes");
extern const struct rec rec_usage_point, rec_usage_country; /* over it, as rec_usage_route */

/* ---- usage_recent.c */
struct usage_filter;
struct row_ask {
    struct str team_id;
    const struct usage_filter *f; /* checked */
    int64_t before_ms, before_id; /* rows before this one in the order of (created_ms, id) */
    int64_t limit;                /* 1 … USAGE_READ_MAX */
};
#define USAGE_READ_MAX 1000
/* The newest rows that match, newest first, day files included; struct usage_row in out. May
 * block. */
enum err_code usage_rows(struct ctx *cx, struct usage *u, const struct row_ask *ask,
                         struct list *out);

/* ---- usage_keep.c */
void *keeper_main(void *arg);
bool usage_is_stopping(struct usage *u);
/* The rest between two steps. False when stopping. */
bool usage_pause(struct usage *u);
/* One pass of everything, what the job does included: for tests. */
void keep_pass(struct usage *u, int64_t now_ms);

/* ---- usage.c */
/* A transaction of its own on a writer, waited for. Never from a writer's or an event thread. */
enum err_code usage_tx(struct ctx *cx, struct usage *u,
                       enum err_code (*fn)(struct ctx *cx, struct db *db, void *arg), void *arg);
/* Wait on `wake` with u->lock held until signalled, at most us. */
void usage_wait(struct usage *u, pthread_cond_t *wake, int64_t us);

struct usage {
    struct arena arena; /* everything that lives as long as we; filled at open only */
    struct store *store;
    struct usage_conf conf;
    struct store_hooks hooks;
    struct bulk rows, rollups, countries;
    struct stream *streams;
    int n_streams;
    struct notes notes;
    struct flight flight;
    struct days days;
    atomic_llong stored, flush_failures;
    pthread_t flusher, keeper;
    bool has_flusher, has_keeper;
    pthread_mutex_t lock; /* innermost */
    pthread_cond_t wake_flusher, wake_keeper;
    bool is_stopping; /* lock: the housekeeper ends */
    bool is_draining; /* lock: the flusher flushes all and ends */
};

#endif
