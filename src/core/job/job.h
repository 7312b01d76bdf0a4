/* Durable jobs: work that outlives the request that asked for it. Owner of tables job, job_lane,
 * job_kind and job_pause.
 *
 * A job is a row, written by job_add in the transaction of whatever asks for it. Threads of any node
 * claim ready jobs under a lease (job_claim.c), run them outside any transaction (job_run.c) and
 * write how they ended. What a kind may do is a row of a table (struct job_kind), handed down from
 * `tessera serve`. States move only through job_move, by one table of moves.
 *
 * Who is next. A lane is what is served as one: a team and kind, and where the kind limits how many
 * of a key run at once, also the key. Claims go round the teams that have something due, one job a
 * turn; within a team the lane of least priority number is next, among equals the one that has
 * waited longest; within a lane the job that was due first. So the cost of a claim depends on the
 * lanes with something to do, never on how many jobs wait in them.
 *
 * A run may happen twice: a node that is killed or cut off loses its lease and another one starts
 * the job anew. Run functions must bear that. */
#ifndef TESSERA_CORE_JOB_JOB_H
#define TESSERA_CORE_JOB_JOB_H

#include "../../store/store.h"
#include "../caller.h"
#include "../cursor.h"
#include "../listing.h"

#define JOB_KINDS_MAX 32
#define JOB_KEY_MAX 200       /* bytes */
#define JOB_PAYLOAD_MAX 16384 /* bytes of JSON: ids and choices, not contents and no secrets */
#define JOB_NOTE_MAX 200      /* bytes */
#define JOB_ERROR_MAX 1000    /* bytes */
#define JOB_RETRY_AFTER_MAX_MS (7 * DAY_MS)

/* ---- kinds ---- */

struct job_run;
struct job_kind {
    const char *name; /* "report.send": noun.verb, unique */
    /* On a thread of the pool, outside any transaction; see struct job_run. Any failure but one that
     * can never go well (err.h: RETRY_NEVER) is tried again by the schedule. */
    enum err_code (*run)(struct ctx *cx, struct job_run *r);
    int64_t timeout_ms;        /* the deadline of the ctx */
    int attempts;              /* >= 1; then it is dead */
    const int64_t *backoff_ms; /* waits after the first, second … failure; the last repeats; ends
                                  with 0 */
    int jitter;                /* percent, 0–50: a wait is this much shorter or longer */
    int concurrency;           /* running at once over all nodes; 0 = no limit */
    int per_key;               /* running at once of one team and key; 0 = no limit */
    int priority;              /* 0–9 among the kinds of one team; least first */
    int64_t period_ms;         /* > 0: one is made each period for the whole installation */
    bool is_single;            /* a second ready job of the same team and key is not added */
    const char *doc;           /* one sentence */
};

/* What a run function sees. */
struct job_run {
    const struct job *job; /* with team_id, key, payload, attempt */
    struct store *store;
    void *arg;              /* of the kind: struct job_use */
    int64_t retry_after_ms; /* set it before failing: wins over the schedule (at most 7 days) */
    struct job_slot *slot;
};
/* Tell how far the run is: percent 0–100 and what it is at (cut to JOB_NOTE_MAX bytes). Cheap; the
 * row follows within about a second. Any thread. */
void job_progress(struct job_run *r, int64_t percent, struct str note);

/* In a unit of a run: what the job is asked to do from here on, should another run take it over; JSON
 * of at most JOB_PAYLOAD_MAX bytes. With it a unit counts once, however often the run is begun anew.
 * UNAVAILABLE when the lease is another's by now: the unit must fail. */
enum err_code job_resume_at(struct ctx *cx, struct db *db, const struct job *job,
                            struct str payload);

/* How long to wait before the next attempt, when `attempt` (from 1) has failed. retry_after_ms > 0
 * wins, and then k is not looked at. Rolls the dice of crypt.h for the jitter. */
int64_t job_wait_ms(const struct job_kind *k, int64_t attempt, int64_t retry_after_ms);

/* ---- rows ---- */

enum job_state { JOB_READY, JOB_RUNNING, JOB_DONE, JOB_DEAD, JOB_CANCELLED, JOB_STATES };
extern const char *const job_states[]; /* the wire words, NULL-terminated */
/* JOB_STATES when it is none. */
enum job_state job_state_of(struct str word);
/* The table of moves. */
bool job_may_move(enum job_state from, enum job_state to);

struct job {
    struct rec_bits bits;
    struct str team_id, id, kind, key, lane, state, payload, lease_token, note, error;
    struct str created_by_kind, created_by_id;
    int64_t is_single, priority, attempt, attempts, due_ms, lease_ms, is_cancelled, progress;
    int64_t created_ms, started_ms, finished_ms;
};
extern const struct rec rec_job;     /* as clients see it */
extern const struct rec rec_job_row; /* all of it */
#define JOB_COLUMNS                                                                                \
    "team_id, id, kind, key, lane, is_single, state, priority, payload, attempt, attempts, "       \
    "due_ms AS due_at, lease_token, lease_ms, is_cancelled AS cancel_requested, progress, note, "  \
    "error, created_by_kind, created_by_id, created_ms AS created_at, started_ms AS started_at, "  \
    "finished_ms AS finished_at"

struct job_new {
    const struct job_kind *kind;
    struct str key;           /* "" or STR_NONE = none */
    struct str payload;       /* JSON text of an object, or STR_NONE */
    int64_t delay_ms;         /* 0 = at once */
    const struct caller *who; /* who asked and may look at it; NULL = the server */
};
/* In the unit of what asks for it, in the scope of team_id ('' in the system's scope: a job of the
 * server). Worker threads of this node wake when the unit is committed. With id == NULL nothing is
 * waited for; else *id is the new job's or, of a single kind, the one's that waits already. */
enum err_code job_add(struct ctx *cx, struct db *db, struct str team_id, const struct job_new *in,
                      struct str *id);

struct job_move {
    const struct job *job; /* as it was read: state and lease_token must still hold */
    enum job_state to;
    int64_t attempt;  /* the new count */
    int64_t due_ms;   /* to ready */
    struct str error; /* kept; STR_NONE clears */
};
/* The one setter of states. BUG on a move that the table lacks. NOT_FOUND (not recorded): the row
 * has moved meanwhile, or its lease is another's. UNIQUE: it is of a single kind, would be ready,
 * and another one is. Writes one log line, again when its batch runs again. */
enum err_code job_move(struct ctx *cx, struct db *db, const struct job_move *m);

/* How a run ended, and what follows from it: pure. */
struct job_end {
    const struct job *job;
    const struct job_kind *kind;
    enum err_code err; /* of the run */
    struct str why;
    int64_t retry_after_ms;
    bool is_drained;   /* the node stops: the attempt does not count */
    bool is_cancelled; /* it was asked to stop */
    int64_t now_ms;
};
struct job_move job_verdict(const struct job_end *end);
/* job_verdict, then job_move; a job of a single kind whose successor waits already is cancelled
 * instead of going back. In a unit of the system's scope. Errors of job_move. */
enum err_code job_finish(struct ctx *cx, struct db *db, const struct job_end *end);

/* ---- what people do: inside a unit, in the caller's scope; job_read.c ---- */

struct job_query {
    struct rec_bits bits;
    struct str state, kind, cursor;
    int64_t limit;
};
extern const struct rec rec_job_query;
/* With jobs:manage all of the team, else those that the caller asked for; newest first. */
enum err_code job_list(struct ctx *cx, struct db *db, const struct caller *who,
                       const struct job_query *in, struct cursor_key key, struct page *out);
enum err_code job_get(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                      struct job *out);
/* A dead or cancelled one becomes ready now, with all its attempts. CONFLICT in other states. */
enum err_code job_retry(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                        struct job *out);
/* A ready one is cancelled; a running one is asked to stop. CONFLICT when it is over. */
enum err_code job_cancel(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                         struct job *out);

/* ---- kinds as rows; job_kind.c ---- */

struct job_kind_row {
    struct rec_bits bits;
    struct str name, doc;
    int64_t timeout_ms, attempts, concurrency, per_key, priority, period_ms, is_single, is_paused,
        is_paused_everywhere;
};
extern const struct rec rec_job_kind;
struct job_use { /* a kind and what its run function gets */
    const struct job_kind *kind;
    void *arg;
};
struct job_uses {
    const struct job_use *v;
    size_t n; /* at most JOB_KINDS_MAX */
};
const struct job_use *job_use_of(const struct job_uses *uses, struct str kind); /* NULL: unknown */
/* All kinds in the table's order, with what the caller's team has paused. */
enum err_code job_kind_list(struct ctx *cx, struct db *db, const struct caller *who,
                            const struct job_uses *uses, struct list *out);
/* Pauses or resumes a kind for the caller's team; with team_id "" (the command line, in the system's
 * scope) for all teams. NOT_FOUND. Jobs that run go on. */
enum err_code job_kind_pause(struct ctx *cx, struct db *db, const struct caller *who,
                             const struct job_kind *kind, bool is_paused, struct job_kind_row *out);

/* ---- the pool; job_run.c ---- */

struct jobs;
struct jobs_conf {
    struct store *store;
    struct job_uses uses; /* lives as long as the pool */
    int64_t workers;      /* 0–64; 0: this node runs none */
    int64_t lease_ms;     /* >= 1000 */
    int64_t drain_ms;     /* how long jobs_stop is patient before it complains */
};
/* Any thread; starts none. BUG on a kind whose row is not sound. */
struct jobs *jobs_open(const struct jobs_conf *conf);
/* Writes the rows of the kinds and starts the threads; after store_start. */
enum err_code jobs_start(struct ctx *cx, struct jobs *j);
/* The store has ended a batch on this (its writer's) thread: wakes the pool when jobs were added. */
void jobs_committed(struct jobs *j, bool is_committed);
/* Claims no more, tells running jobs to stop, waits for them; those not done are ready again. Before
 * what the run functions use is closed, and before store_close. Frees j. NULL is fine. */
void jobs_close(struct jobs *j);
const struct job_uses *jobs_uses(const struct jobs *j); /* NULL: no kinds */

/* Removes done and cancelled jobs that were over done_days ago (of the server itself: one day), dead
 * ones after dead_days. In units of its own, outside any other. */
enum err_code job_sweep(struct ctx *cx, struct store *store, int64_t done_days, int64_t dead_days);

#endif
