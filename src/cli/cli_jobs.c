/* `tessera jobs …`: look at jobs, retry and cancel them, pause kinds; directly on the database, beside
 * a running server, which notices within a second.
 *
 * Jobs belong to a team (--team, else the default one) or to the server itself (--server). */
#include "cli.h"

#include "../base/clock.h"
#include "job_kinds.h"

static const char doc_server[] = "jobs of the server itself instead of a team's";

const struct option_row options_jobs[] = {
    { "team", false, CLI_TEAM_DOC },
    { "server", true, doc_server },
    { "json", true, "print JSON" },
    { 0 },
};
const struct option_row options_jobs_list[] = {
    { "state", false, "comma separated: ready, running, done, dead, cancelled" },
    { "kind", false, "only this kind" },
    { "limit", false, "how many, newest first (1–200, default 50)" },
    { "team", false, CLI_TEAM_DOC },
    { "server", true, doc_server },
    { "json", true, "print JSON" },
    { 0 },
};
const struct option_row options_jobs_kinds[] = {
    { "team", false, "slug or id of a team: only for it (default: for all teams)" },
    { "json", true, "print JSON" },
    { 0 },
};

struct jobs_job {
    struct caller who;
    enum err_code (*act)(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                         struct job *out);
    struct str id;
    struct job_query query;
    const struct job_kind *kind;
    bool is_paused;
    struct job job;
    struct job_kind_row row;
    struct page page;
};

static void scope(struct db *db, const struct caller *who)
{
    if (who->team_id.n)
        caller_scope(db, who);
    else
        db_scope_system(db);
}

/* The team of --team, of --server, or the default one. */
static enum err_code open_as(struct cli *c, struct store **s, struct caller *who)
{
    enum err_code e = cli_store(c, s);
    who->team_id = STR("");
    if (!e && !cli_option(c, cli_command(c), "server").p)
        e = cli_team(c, *s, &who->team_id);
    return e;
}

static void print_json(struct cli *c, const struct rec *r, const void *obj)
{
    struct buf b;
    buf_init(&b, &c->cx->arena, (size_t)1 << 20);
    rec_encode(&b, r, obj);
    buf_char(&b, '\n');
    cli_print(&b);
}

/* ---- one job ---- */

static enum err_code act_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct jobs_job *j = arg;
    scope(db, &j->who);
    return j->act(cx, db, &j->who, j->id, &j->job);
}

static void print_line(struct buf *b, const char *label, struct str value)
{
    if (value.n)
        buf_printf(b, "%-12s" STR_FMT "\n", label, STR_ARG(value));
}

static void print_time(struct buf *b, const char *label, int64_t ms)
{
    if (!ms)
        return;
    buf_printf(b, "%-12s", label);
    time_print_ms(b, ms);
    buf_char(b, '\n');
}

static void print_job(struct cli *c, const struct job *job)
{
    struct buf b;
    buf_init(&b, &c->cx->arena, (size_t)1 << 20);
    print_line(&b, "id", job->id);
    print_line(&b, "kind", job->kind);
    print_line(&b, "key", job->key);
    print_line(&b, "state", job->state);
    buf_printf(&b, "%-12s%lld of %lld\n%-12s%lld %%\n", "attempt", (long long)job->attempt,
               (long long)job->attempts, "progress", (long long)job->progress);
    print_line(&b, "note", job->note);
    print_line(&b, "error", job->error);
    print_line(&b, "payload", job->payload);
    print_line(&b, "cancelling", job->is_cancelled ? STR("asked to stop") : STR_NONE);
    print_time(&b, "due", job->due_ms);
    print_time(&b, "created", job->created_ms);
    print_time(&b, "started", job->started_ms);
    print_time(&b, "finished", job->finished_ms);
    cli_print(&b);
}

static enum err_code act(struct cli *c, struct jobs_job *j)
{
    struct store *s;
    j->id = c->words[0];
    enum err_code e = open_as(c, &s, &j->who);
    if (!e)
        e = j->act == job_get ? store_read(c->cx, s, act_unit, j) : store_tx(c->cx, s, act_unit, j);
    if (e)
        return e;
    if (c->as_json)
        print_json(c, &rec_job, &j->job);
    else
        print_job(c, &j->job);
    return ERR_NONE;
}

enum err_code cmd_jobs_show(struct cli *c)
{
    return act(c, &(struct jobs_job){ .act = job_get });
}

enum err_code cmd_jobs_retry(struct cli *c)
{
    return act(c, &(struct jobs_job){ .act = job_retry });
}

enum err_code cmd_jobs_cancel(struct cli *c)
{
    return act(c, &(struct jobs_job){ .act = job_cancel });
}

/* ---- list ---- */

static enum err_code list_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct jobs_job *j = arg;
    const struct cursor_key key = { .b = { 0 } };
    scope(db, &j->who);
    return job_list(cx, db, &j->who, &j->query, key, &j->page);
}

static void print_row(struct buf *b, const void *row)
{
    const struct job *job = row;
    buf_printf(b, STR_FMT "  %-9.*s  %-20.*s  %lld/%lld  ", STR_ARG(job->id), STR_ARG(job->state),
               STR_ARG(job->kind), (long long)job->attempt, (long long)job->attempts);
    time_print_s(b, job->created_ms);
    buf_printf(b, "  " STR_FMT "\n", STR_ARG(job->error));
}

enum err_code cmd_jobs_list(struct cli *c)
{
    static const char *const names[] = { "state", "kind", "limit", NULL };
    struct store *s;
    struct jobs_job j = { .act = NULL };
    enum err_code e = cli_query(c, &rec_job_query, names, &j.query);
    if (!e)
        e = open_as(c, &s, &j.who);
    if (!e)
        e = store_read(c->cx, s, list_unit, &j);
    if (!e)
        cli_rows(c, &rec_job, &j.page.rows, print_row);
    return e;
}

/* ---- kinds ---- */

static enum err_code pause_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct jobs_job *j = arg;
    scope(db, &j->who);
    return job_kind_pause(cx, db, &j->who, j->kind, j->is_paused, &j->row);
}

static enum err_code set_paused(struct cli *c, bool is_paused)
{
    struct store *s;
    struct jobs_job j = { .who = { .team_id = STR("") }, .is_paused = is_paused };
    const struct job_uses uses = job_kinds(c->cx, NULL);
    const struct job_use *use = job_use_of(&uses, c->words[0]);
    if (!use)
        return fail(c->cx, NOT_FOUND, "there is no kind of job " STR_FMT, STR_ARG(c->words[0]));
    j.kind = use->kind;
    enum err_code e = cli_store(c, &s);
    if (!e && cli_option(c, cli_command(c), "team").p)
        e = cli_team(c, s, &j.who.team_id);
    if (!e)
        e = store_tx(c->cx, s, pause_unit, &j);
    if (!e && c->as_json)
        print_json(c, &rec_job_kind, &j.row);
    return e;
}

enum err_code cmd_jobs_pause(struct cli *c)
{
    return set_paused(c, true);
}

enum err_code cmd_jobs_resume(struct cli *c)
{
    return set_paused(c, false);
}
