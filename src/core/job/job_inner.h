/* What the files of jobs share and nobody else sees: claims, leases, lanes, housekeeping. */
#ifndef TESSERA_CORE_JOB_JOB_INNER_H
#define TESSERA_CORE_JOB_JOB_INNER_H

#include "job.h"

#define JOB_LINGER_MS 2000 /* an empty lane stays in the round for so long */
/* An empty lane is looked at once more after so long, for an add whose transaction had seen it in
 * the round; no transaction lasts that long (postgres.c: idle 60 s, statements 30 s). */
#define JOB_LANE_DOUBT_MS ((int64_t)120 * 1000)
#define JOB_LANE_FULL_MS 5000 /* a lane at its limit; the end of one of its jobs wakes it earlier */

/* What job_add and job_move have noted on this thread since the last call: when the earliest job that
 * they made ready is due; -1 = none. */
int64_t job_noted_due(void);

/* At most max bytes of the text, whole characters. */
struct str job_cut(struct str s, size_t max);

/* job.c: the move from ready to running: the first due job of a lane that the caller has locked.
 * NOT_FOUND (not recorded): none. */
struct job_take {
    struct str team_id, kind, lane, lease_token, node;
    int64_t now_ms, lease_ms; /* lease_ms: until when */
};
enum err_code job_take(struct ctx *cx, struct db *db, const struct job_take *t, struct job *out);

/* ---- job_claim.c; units of the system's scope ---- */

struct job_claim {
    const struct job_uses *uses;
    int64_t now_ms, lease_ms;
    struct str node;
    int want;             /* jobs at most, 1–64 */
    struct str from_team; /* the team that was served last; STR_NONE = nobody */
    /* Teams of the jobs that run here now, n_running of them: none gets more than team_max. */
    const struct str *running;
    int n_running, team_max;
    struct job *jobs; /* out: room for want, in the arena of the unit's ctx */
    int n;            /* out */
    struct str last_team;
};
/* Takes due jobs, one a turn of the teams. Runs again from its input. */
enum err_code job_claim(struct ctx *cx, struct db *db, struct job_claim *c);

/* Extends the lease of a running job and stores how far it is. NOT_FOUND (not recorded): it is not
 * ours any more. *is_cancelled: it has been asked to stop. */
struct job_keep {
    const struct job *job;
    int64_t lease_ms; /* until when */
    int64_t progress;
    struct str note;
    bool is_cancelled; /* out */
};
enum err_code job_keep(struct ctx *cx, struct db *db, struct job_keep *k);

/* Cheap questions of a pool that is about to sleep. */
struct job_look {
    int64_t now_ms;
    int64_t wake_ms;       /* out: when a lane may have something; -1 = no lane */
    bool is_untidy;        /* out: job_tidy has something to do */
    struct list cancelled; /* out: ids (rec_text) of running jobs that have been asked to stop */
};
enum err_code job_look(struct ctx *cx, struct db *db, struct job_look *l);
/* Jobs whose lease is over go back or die, empty lanes leave the round, periodic kinds get their
 * job. At most a few hundred rows a call. */
struct job_tidy {
    const struct job_uses *uses;
    int64_t now_ms;
};
enum err_code job_tidy(struct ctx *cx, struct db *db, const struct job_tidy *t);

/* ---- job_kind.c ---- */

/* Rows of kinds that are not there yet. */
enum err_code job_kinds_open(struct ctx *cx, struct db *db, const struct job_uses *uses);
/* The jobs of periodic kinds whose time has come: one a period, whichever node asks first. */
enum err_code job_kinds_due(struct ctx *cx, struct db *db, const struct job_uses *uses,
                            int64_t now_ms);

#endif
