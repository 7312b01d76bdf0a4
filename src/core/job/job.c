/* Rows of jobs: adding, the setter of states, what follows from the end of a run. See job.h. */
#include "job.h"

#include "../../base/clock.h"
#include "../../base/crypt.h"
#include "../../base/log.h"
#include "job_inner.h"

/* ---- field tables ---- */

const char *const job_states[] = { "ready", "running", "done", "dead", "cancelled", NULL };

#define AT(member) offsetof(struct job, member)
#define PUBLIC_ROWS                                                                                  \
    { "id", F_UUID, AT(id), 0, 0, 0, NULL, "Job identifier", NULL },                                 \
        { "kind",           F_STR, AT(kind), 0, 0, 0, NULL, "What it does: GET /v1/job-kinds",       \
          "\"report.send\"" },                                                                       \
        { "key", F_STR, AT(key), 0, 0, 0, NULL, "What it is about; empty = nothing in particular",   \
          NULL },                                                                                    \
        { "state",    F_ENUM,                                                                        \
          AT(state),  0,                                                                             \
          0,          0,                                                                             \
          job_states, "ready waits for due_at; dead has failed for good and is kept",                \
          NULL },                                                                                    \
        { "progress", F_INT, AT(progress), 0, 0, 100, NULL, "Percent", NULL },                       \
        { "note", F_STR, AT(note), F_NULLABLE, 0, 0, NULL, "What it is at", NULL },                  \
        { "attempt", F_INT, AT(attempt), 0, 0, 0, NULL, "Attempts so far", NULL },                   \
        { "attempts", F_INT, AT(attempts), 0, 0, 0, NULL, "Attempts at most", NULL },                \
        { "error", F_STR, AT(error), F_NULLABLE, 0, 0, NULL, "Why the last attempt failed", NULL },  \
        { "payload", F_JSON, AT(payload), F_NULLABLE, 0, 0, NULL, "What it was asked to do", NULL }, \
        { "cancel_requested",                                                                        \
          F_BOOL,                                                                                    \
          AT(is_cancelled),                                                                          \
          0,                                                                                         \
          0,                                                                                         \
          0,                                                                                         \
          NULL,                                                                                      \
          "It runs and has been asked to stop",                                                      \
          NULL },                                                                                    \
        { "due_at", F_TIME, AT(due_ms), 0,                                                           \
          0,        0,      NULL,       "When the next attempt is due, or the last was",             \
          NULL },                                                                                    \
        { "created_at", F_TIME, AT(created_ms), 0, 0, 0, NULL, "When it was asked for", NULL },      \
        { "started_at",                                                                              \
          F_TIME,                                                                                    \
          AT(started_ms),                                                                            \
          F_NULLABLE,                                                                                \
          0,                                                                                         \
          0,                                                                                         \
          NULL,                                                                                      \
          "When the last attempt began",                                                             \
          NULL },                                                                                    \
    {                                                                                                \
        "finished_at", F_TIME, AT(finished_ms), F_NULLABLE, 0, 0, NULL,                              \
            "When it was done, dead or cancelled", NULL                                              \
    }

static const struct field job_fields[] = { PUBLIC_ROWS };
const struct rec rec_job = REC("Job", struct job, job_fields, "Work in the background.");

#define INNER(name, type, member)                                                                  \
    {                                                                                              \
        name, type, AT(member), 0, 0, 0, NULL, NULL, NULL                                          \
    }
static const struct field row_fields[] = {
    PUBLIC_ROWS,
    INNER("team_id", F_STR, team_id),
    INNER("lane", F_STR, lane),
    INNER("is_single", F_INT, is_single),
    INNER("priority", F_INT, priority),
    INNER("lease_token", F_STR, lease_token),
    INNER("lease_ms", F_INT, lease_ms),
    INNER("created_by_kind", F_STR, created_by_kind),
    INNER("created_by_id", F_STR, created_by_id),
};
const struct rec rec_job_row = REC("JobRow", struct job, row_fields, "A job with its inside.");

/* ---- what was made ready in this thread's batch ---- */

/* A unit and the end of its batch run on one thread, the writer's; so what a batch has added is known
 * there without a lock. */
static _Thread_local int64_t noted_due = -1;

static void note_due(int64_t due_ms)
{
    if (noted_due < 0 || due_ms < noted_due)
        noted_due = due_ms;
}

int64_t job_noted_due(void)
{
    int64_t due = noted_due;
    noted_due = -1;
    return due;
}

/* ---- adding ---- */

/* The lane of the job is in the round when the job is due. A lane that is in it already is not
 * written, so that adds do not wait for each other. */
static enum err_code lane_wake(struct ctx *cx, struct db *db, const struct job *job, int64_t due_ms)
{
    int64_t wake = due_ms > clock_ms() ? due_ms : 0;
    struct args args =
        ARGS(VT(job->team_id), VT(job->kind), VT(job->lane), VI(job->priority), VI(wake));
    enum err_code e =
        db_run(cx, db,
               "INSERT INTO job_lane (team_id, kind, lane, priority, served, wake_ms, idle_ms) "
               "VALUES ($1, $2, $3, $4, 0, $5, 0) ON CONFLICT DO NOTHING",
               args);
    if (!e)
        e = db_run(
            cx, db,
            "UPDATE job_lane SET wake_ms = $4, idle_ms = 0 WHERE team_id = $1 AND kind = $2 AND "
            "lane = $3 AND wake_ms > $4",
            ARGS(VT(job->team_id), VT(job->kind), VT(job->lane), VI(wake)));
    note_due(due_ms);
    return e;
}

#define SQL_ADD                                                                                    \
    "INSERT INTO job (team_id, id, kind, key, lane, is_single, state, priority, payload, "         \
    "attempt, attempts, due_ms, is_cancelled, progress, created_by_kind, created_by_id, "          \
    "created_ms) VALUES ($1, $2, $3, $4, $5, $6, 'ready', $7, $8, 0, $9, $10, 0, 0, $11, $12, "    \
    "$13) ON CONFLICT DO NOTHING"

static enum err_code insert(struct ctx *cx, struct db *db, const struct job *job, struct str *id)
{
    struct rec_text made;
    struct args args = ARGS(VT(job->team_id), VT(job->id), VT(job->kind), VT(job->key),
                            VT(job->lane), VI(job->is_single), VI(job->priority), VT(job->payload),
                            VI(job->attempts), VI(job->due_ms), VT(job->created_by_kind),
                            VT(job->created_by_id), VI(job->created_ms));
    if (!id)
        return db_run(cx, db, SQL_ADD, args);
    enum err_code e = db_one(cx, db, &rec_text, SQL_ADD " RETURNING id AS s", args, &made);
    if (e == ERR_NOT_FOUND)
        e = db_one(cx, db, &rec_text,
                   "SELECT id AS s FROM job WHERE team_id = $1 AND kind = $2 AND key = $3 AND "
                   "state = 'ready' AND is_single = 1",
                   ARGS(VT(job->team_id), VT(job->kind), VT(job->key)), &made);
    if (!e)
        *id = made.s;
    return e == ERR_NOT_FOUND ? fail(cx, CONFLICT, "A job of this kind is just being started") : e;
}

enum err_code job_add(struct ctx *cx, struct db *db, struct str team_id, const struct job_new *in,
                      struct str *id)
{
    const struct job_kind *k = in->kind;
    const struct caller *who = in->who;
    struct str key = in->key.p ? in->key : STR(""), subject = who ? caller_subject(who) : STR_NONE;
    int64_t now = clock_ms();
    BUG_IF(key.n > JOB_KEY_MAX || in->payload.n > JOB_PAYLOAD_MAX);
    struct job job = { .team_id = team_id,
                       .id = uuid7(&cx->arena),
                       .kind = str_of(k->name),
                       .key = key,
                       .lane = k->per_key ? key : STR(""),
                       .is_single = k->is_single,
                       .priority = k->priority,
                       .payload = in->payload,
                       .attempts = k->attempts,
                       .due_ms = now + in->delay_ms,
                       .created_by_kind = who ? str_of(caller_kind(who)) : STR_NONE,
                       .created_by_id = subject.n ? subject : STR_NONE,
                       .created_ms = now };
    enum err_code e = insert(cx, db, &job, id);
    return e ? e : lane_wake(cx, db, &job, job.due_ms);
}

enum err_code job_resume_at(struct ctx *cx, struct db *db, const struct job *job,
                            struct str payload)
{
    struct rec_num n;
    BUG_IF(payload.n > JOB_PAYLOAD_MAX);
    enum err_code e =
        db_one(cx, db, &rec_num,
               "UPDATE job SET payload = $3 WHERE team_id = $1 AND id = $2 AND "
               "state = 'running' AND lease_token = $4 RETURNING 1 AS n",
               ARGS(VT(job->team_id), VT(job->id), VT(payload), VT(job->lease_token)), &n);
    return e == ERR_NOT_FOUND ? fail(cx, UNAVAILABLE, "Another node runs this job now") : e;
}

/* ---- moving ---- */

static const struct {
    enum job_state from, to;
    enum log_level level; /* the normal course is quiet */
} moves[] = {
    { JOB_READY, JOB_RUNNING, LOG_DEBUG }, { JOB_READY, JOB_CANCELLED, LOG_INFO },
    { JOB_RUNNING, JOB_DONE, LOG_DEBUG },  { JOB_RUNNING, JOB_READY, LOG_INFO },
    { JOB_RUNNING, JOB_DEAD, LOG_WARN },   { JOB_RUNNING, JOB_CANCELLED, LOG_INFO },
    { JOB_DEAD, JOB_READY, LOG_INFO },     { JOB_CANCELLED, JOB_READY, LOG_INFO },
};

enum job_state job_state_of(struct str word)
{
    int i = 0;
    while (job_states[i] && !str_eq(word, str_of(job_states[i])))
        i++;
    return (enum job_state)i;
}

static int move_row(enum job_state from, enum job_state to)
{
    for (size_t i = 0; i < sizeof moves / sizeof *moves; i++)
        if (moves[i].from == from && moves[i].to == to)
            return (int)i;
    return -1;
}

bool job_may_move(enum job_state from, enum job_state to)
{
    return move_row(from, to) >= 0;
}

/* $9 is the lease of a running job, else ''. Progress: full when done, from the start when ready. */
#define SQL_MOVE                                                                                   \
    "UPDATE job SET state = $3, attempt = $4, due_ms = $5, error = $6, finished_ms = $7, "         \
    "progress = COALESCE(CAST($8 AS BIGINT), progress), lease_token = NULL, lease_ms = NULL, "     \
    "is_cancelled = 0 WHERE team_id = $1 AND id = $2 AND state = $10 AND "                         \
    "COALESCE(lease_token, '') = $9 RETURNING 1 AS n"
/* The claim is the only move that is chosen by the database: one statement, and the row comes with
 * it. */
#define SQL_CLAIM                                                                                  \
    "UPDATE job SET state = 'running', attempt = attempt + 1, lease_token = $5, lease_ms = $6, "   \
    "node = $7, started_ms = $4, progress = 0, note = NULL, is_cancelled = 0 WHERE team_id = $1 "  \
    "AND id = (SELECT id FROM job WHERE team_id = $1 AND kind = $2 AND lane = $3 AND "             \
    "state = 'ready' AND due_ms <= $4 ORDER BY due_ms, id LIMIT 1 {claim}) AND "                   \
    "state = 'ready' RETURNING " JOB_COLUMNS

struct str job_cut(struct str s, size_t max)
{
    if (s.n <= max)
        return s;
    while (max && ((unsigned char)s.p[max] & 0xC0) == 0x80)
        max--;
    return str_sub(s, 0, max);
}

static void told(struct ctx *cx, const struct job *job, int row, struct str why)
{
    log_line(cx, moves[row].level, "job.moved",
             LOG_KVS(KVS("job", job->id), KVS("kind", job->kind), KVS("team", job->team_id),
                     KVC("from", job_states[moves[row].from]), KVC("to", job_states[moves[row].to]),
                     KVI("attempt", job->attempt), KVS("why", why.p ? why : STR(""))));
}

enum err_code job_take(struct ctx *cx, struct db *db, const struct job_take *t, struct job *out)
{
    int row = move_row(JOB_READY, JOB_RUNNING);
    BUG_IF(row < 0);
    enum err_code e = db_one(cx, db, &rec_job_row, SQL_CLAIM,
                             ARGS(VT(t->team_id), VT(t->kind), VT(t->lane), VI(t->now_ms),
                                  VT(t->lease_token), VI(t->lease_ms), VT(t->node)),
                             out);
    if (!e)
        told(cx, out, row, STR_NONE);
    return e;
}

enum err_code job_move(struct ctx *cx, struct db *db, const struct job_move *m)
{
    const struct job *job = m->job;
    enum job_state from = job_state_of(job->state);
    int row = move_row(from, m->to);
    bool is_over = m->to != JOB_READY;
    struct rec_num moved;
    BUG_IF(row < 0 || m->to == JOB_RUNNING);
    enum err_code e = db_one(
        cx, db, &rec_num, SQL_MOVE,
        ARGS(VT(job->team_id), VT(job->id), VT(str_of(job_states[m->to])), VI(m->attempt),
             VI(is_over ? job->due_ms : m->due_ms), VT(job_cut(m->error, JOB_ERROR_MAX)),
             VI_OR_NULL(is_over, clock_ms()),
             VI_OR_NULL(m->to == JOB_DONE || m->to == JOB_READY, m->to == JOB_DONE ? 100 : 0),
             VT(from == JOB_RUNNING ? job->lease_token : STR("")), VT(str_of(job_states[from]))),
        &moved);
    if (e)
        return e;
    told(cx, job, row, m->error);
    if (m->to == JOB_READY)
        e = lane_wake(cx, db, job, m->due_ms);
    /* A place of the key is free. Written in any case: a claim that finds the lane full holds its
     * row, and must be waited for. */
    if (!e && from == JOB_RUNNING && job->lane.n)
        e = db_run(cx, db,
                   "UPDATE job_lane SET wake_ms = 0 WHERE team_id = $1 AND kind = $2 AND lane = $3",
                   ARGS(VT(job->team_id), VT(job->kind), VT(job->lane)));
    return e;
}

/* ---- the end of a run ---- */

int64_t job_wait_ms(const struct job_kind *k, int64_t attempt, int64_t retry_after_ms)
{
    uint32_t dice;
    if (retry_after_ms > 0)
        return retry_after_ms < JOB_RETRY_AFTER_MAX_MS ? retry_after_ms : JOB_RETRY_AFTER_MAX_MS;
    const int64_t *wait = k->backoff_ms;
    for (int64_t i = 1; i < attempt && wait[1]; i++)
        wait++;
    crypt_random(&dice, sizeof dice);
    int64_t spread = *wait * k->jitter / 100;
    return *wait - spread + (spread ? (int64_t)(dice % (uint64_t)(2 * spread + 1)) : 0);
}

struct job_move job_verdict(const struct job_end *end)
{
    const struct job *job = end->job;
    struct job_move m = { .job = job, .to = JOB_DEAD, .attempt = job->attempt, .error = end->why };
    if (!end->err) {
        m.to = JOB_DONE;
        m.error = STR_NONE;
    } else if (end->is_cancelled) {
        m.to = JOB_CANCELLED;
        m.error = STR("cancelled while it ran");
    } else if (end->is_drained) {
        m.to = JOB_READY;
        m.attempt = job->attempt > 0 ? job->attempt - 1 : 0;
        m.due_ms = end->now_ms;
        m.error = job->error;
    } else if (err_info(end->err)->retry != RETRY_NEVER && job->attempt < job->attempts) {
        m.to = JOB_READY;
        m.due_ms = end->now_ms + job_wait_ms(end->kind, job->attempt, end->retry_after_ms);
    }
    return m;
}

enum err_code job_finish(struct ctx *cx, struct db *db, const struct job_end *end)
{
    struct job_move m = job_verdict(end);
    struct rec_num twin;
    if (m.to == JOB_READY && end->job->is_single) {
        enum err_code e =
            db_one(cx, db, &rec_num,
                   "SELECT 1 AS n FROM job WHERE team_id = $1 AND kind = $2 AND "
                   "key = $3 AND state = 'ready' AND is_single = 1",
                   ARGS(VT(end->job->team_id), VT(end->job->kind), VT(end->job->key)), &twin);
        if (e && e != ERR_NOT_FOUND)
            return e;
        if (!e) {
            m.to = JOB_CANCELLED;
            m.error = STR("failed, and a later job of this kind and key waits already");
        }
    }
    return job_move(cx, db, &m);
}
