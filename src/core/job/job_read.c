/* What people do with jobs: look, retry, cancel. See job.h. */
#include "../../base/clock.h"
#include "../audit.h"
#include "job_inner.h"

#define QU(member) offsetof(struct job_query, member)
static const struct field query_fields[] = {
    { "state", F_ENUMS, QU(state), 0, 0, JOB_STATES, job_states,
      "Only these states (comma separated)", NULL },
    { "kind", F_STR, QU(kind), F_SINGLE_LINE, 1, 64, NULL, "Only this kind", NULL },
    LISTING_QUERY_ROWS(struct job_query),
};
const struct rec rec_job_query =
    REC("JobQuery", struct job_query, query_fields, "Filters of the list of jobs.");

/* Whose jobs the caller sees: "" = all of the team. */
static struct str seen_by(const struct caller *who)
{
    bool sees_all = !who->token_id.p && !who->user_id.p; /* the command line */
    return sees_all || scope_granted(who->scopes, SCOPE(JOBS_MANAGE)) ? STR("")
                                                                      : caller_subject(who);
}

enum err_code job_list(struct ctx *cx, struct db *db, const struct caller *who,
                       const struct job_query *in, struct cursor_key key, struct page *out)
{
    static const struct listing_from from = { .r = &rec_job_row,
                                              .kind = "jobs:-id",
                                              .columns = JOB_COLUMNS,
                                              .table = "job",
                                              .id = "id",
                                              .is_down = true,
                                              .id_at = offsetof(struct job, id) };
    struct page_ask ask = { .cursor = in->cursor, .limit = in->limit, .key = &key };
    struct str seen = seen_by(who);
    struct listing l;
    listing_init(&l, cx, " WHERE team_id = ", VT(who->team_id));
    if (seen.n)
        listing_and(&l, " AND created_by_id = ", VT(seen), "");
    if (REC_HAS(in, state))
        listing_words(&l, "state", in->state);
    if (REC_HAS(in, kind))
        listing_and(&l, " AND kind = ", VT(in->kind), "");
    return listing_page(&l, db, &from, &ask, out);
}

enum err_code job_get(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                      struct job *out)
{
    enum err_code e = path_id(cx, "job_id", &id);
    if (e)
        return e;
    e = db_one(cx, db, &rec_job_row,
               "SELECT " JOB_COLUMNS " FROM job WHERE team_id = $1 AND id = $2 AND "
               "(CAST($3 AS TEXT) = '' OR created_by_id = $3)",
               ARGS(VT(who->team_id), VT(id), VT(seen_by(who))), out);
    return e == ERR_NOT_FOUND ? fail(cx, NOT_FOUND, "Job not found") : e;
}

static enum err_code moved_meanwhile(struct ctx *cx)
{
    return fail(cx, CONFLICT, "The job has just moved on; read it again");
}

/* The row as it is now, and the audit row; jobs of the server have none. */
static enum err_code changed(struct ctx *cx, struct db *db, const struct caller *who,
                             const char *action, const struct job *was, struct job *out)
{
    enum err_code e = job_get(cx, db, who, was->id, out);
    if (e || !who->team_id.n)
        return e;
    return audit_write(cx, db, who,
                       &(struct audit_entry){ action, "job", was->id, audit_json(cx, &rec_job, was),
                                              audit_json(cx, &rec_job, out) });
}

enum err_code job_retry(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                        struct job *out)
{
    struct job was;
    enum err_code e = job_get(cx, db, who, id, &was);
    if (e)
        return e;
    if (!job_may_move(job_state_of(was.state), JOB_READY) || job_state_of(was.state) == JOB_RUNNING)
        return fail(cx, CONFLICT, "Only a dead or cancelled job can be tried again");
    e = job_move(cx, db,
                 &(struct job_move){
                     .job = &was, .to = JOB_READY, .due_ms = clock_ms(), .error = was.error });
    if (e == ERR_UNIQUE) {
        ctx_clear(cx);
        return fail(cx, CONFLICT, "Another job of this kind and key waits already");
    }
    if (e == ERR_NOT_FOUND)
        return moved_meanwhile(cx);
    return e ? e : changed(cx, db, who, "job.retry", &was, out);
}

enum err_code job_cancel(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                         struct job *out)
{
    struct job was;
    struct rec_num asked;
    enum err_code e = job_get(cx, db, who, id, &was);
    if (e)
        return e;
    enum job_state state = job_state_of(was.state);
    if (state == JOB_READY)
        e = job_move(
            cx, db,
            &(struct job_move){
                .job = &was, .to = JOB_CANCELLED, .attempt = was.attempt, .error = was.error });
    else if (state == JOB_RUNNING)
        e = db_one(cx, db, &rec_num,
                   "UPDATE job SET is_cancelled = 1 WHERE team_id = $1 AND id = $2 AND "
                   "state = 'running' AND lease_token = $3 RETURNING 1 AS n",
                   ARGS(VT(was.team_id), VT(was.id), VT(was.lease_token)), &asked);
    else
        return fail(cx, CONFLICT, "The job is over");
    if (e == ERR_NOT_FOUND)
        return moved_meanwhile(cx);
    return e ? e : changed(cx, db, who, "job.cancel", &was, out);
}
