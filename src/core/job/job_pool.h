/* The object behind struct jobs, for its two files: the workers (job_run.c) and the keeper
 * (job_keeper.c).
 *
 * The lock guards what its field's comment says; no store call is made under it. A slot's job and ctx
 * are the worker's while is_busy, yet the keeper reads the job's ids under the lock. */
#ifndef TESSERA_CORE_JOB_JOB_POOL_H
#define TESSERA_CORE_JOB_JOB_POOL_H

#include <pthread.h>
#include <stdatomic.h>

#include "job_inner.h"

#define WORKERS_MAX 64
#define NEVER INT64_MAX

struct job_slot {
    struct jobs *j;
    pthread_t thread;
    pthread_cond_t given;
    atomic_int stop;         /* the ctx of the run looks at it */
    bool is_busy;            /* lock */
    bool is_cancelled;       /* lock: somebody asked it to stop */
    bool is_told;            /* lock: progress or note is not stored yet */
    int64_t progress;        /* lock */
    char note[JOB_NOTE_MAX]; /* lock */
    size_t note_n;           /* lock */
    int64_t renew_us;        /* lock: when its lease is due for renewal */
    int64_t over_us;         /* lock: until when it is renewed */
    struct ctx cx;
    struct job job;
    const struct job_use *use;
    struct job_run run;
};

struct jobs {
    struct jobs_conf conf;
    struct arena arena; /* j itself lives in it */
    struct str node;
    int team_max;
    pthread_t keeper;
    bool has_keeper;
    int n_workers; /* threads that were started */
    pthread_mutex_t lock;
    pthread_cond_t wake; /* of the keeper */
    int64_t soon_ms;     /* lock: when a claim is worth it (wall clock) */
    bool is_signalled;   /* lock: jobs were added since the last claim */
    bool is_over;        /* lock: workers may go */
    atomic_bool is_stopping;
    int64_t complain_us; /* lock: when a stop has taken too long; 0 = not stopping */
    char last_team[64];  /* keeper */
    bool has_last;       /* keeper */
    struct job_slot slots[WORKERS_MAX];
};

/* All under the lock. Wait on a condition until a monotonic time in µs, or a signal. */
void jobs_wait(struct jobs *j, pthread_cond_t *c, int64_t us);
/* A claim is worth it at ms (wall clock), or earlier. */
void jobs_claim_by(struct jobs *j, int64_t ms);

void *jobs_keeper(void *arg); /* thread; arg is the struct jobs */

#endif
