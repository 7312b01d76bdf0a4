/* `tessera integrations …`: look at integrations and at what came in, switch them, let webhooks be
 * processed again; directly on the database, beside a running server, which notices at once. */
#include "cli.h"

#include "../base/clock.h"
#include "../connect/in/webhook_log.h"
#include "../connect/integration.h"

const struct option_row options_integrations[] = { CLI_TEAM_ROW, CLI_JSON_ROW, { 0 } };
const struct option_row options_integrations_list[] = {
    { "kind", false, "comma separated: github, slack …" },
    { "limit", false, "how many, in the order they were made (1–200, default 50)" },
    CLI_TEAM_ROW,
    CLI_JSON_ROW,
    { 0 },
};
const struct option_row options_integrations_log[] = {
    { "state", false, "comma separated: received, processed, ignored, failed" },
    { "event-type", false, "only this type" },
    { "limit", false, "how many, newest first (1–200, default 50)" },
    CLI_TEAM_ROW,
    CLI_JSON_ROW,
    { 0 },
};
const struct option_row options_integrations_replay[] = {
    { "event", false, "id of one webhook in the log (default: all of the integration)" },
    CLI_TEAM_ROW,
    CLI_JSON_ROW,
    { 0 },
};

struct task {
    struct caller who;
    struct str base, id, event_id;
    enum err_code (*act)(struct ctx *cx, struct db *db, struct task *t);
    bool is_enabled;
    struct integration_query query;
    struct webhook_log_query log_query;
    struct integration i;
    struct job job;
    struct page page;
};

static enum err_code act_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct task *t = arg;
    caller_scope(db, &t->who);
    return t->act(cx, db, t);
}

static enum err_code run(struct cli *c, struct task *t, bool is_read)
{
    struct store *s;
    t->base = c->conf.public_url;
    if (c->n_words)
        t->id = c->words[0];
    enum err_code e = cli_store(c, &s);
    if (!e)
        e = cli_team(c, s, &t->who.team_id);
    if (e)
        return e;
    return is_read ? store_read(c->cx, s, act_unit, t) : store_tx(c->cx, s, act_unit, t);
}

/* ---- printing ---- */

static void put_integration(struct buf *b, const void *row)
{
    const struct integration *i = row;
    buf_printf(b, STR_FMT "  %-8.*s  %-8s  %-9s  " STR_FMT "  " STR_FMT "\n", STR_ARG(i->id),
               STR_ARG(i->kind), i->is_enabled ? "enabled" : "disabled",
               i->has_secret ? "" : "no secret", STR_ARG(i->hook_url), STR_ARG(i->name));
}

static void put_log(struct buf *b, const void *row)
{
    const struct webhook_log *w = row;
    buf_printf(b, STR_FMT "  ", STR_ARG(w->id));
    time_print_ms(b, w->received_ms);
    buf_printf(b, "  %-9.*s  " STR_FMT "  " STR_FMT "\n", STR_ARG(w->state), STR_ARG(w->event_type),
               STR_ARG(w->error));
}

static void put_job(struct buf *b, const void *row)
{
    const struct job *job = row;
    buf_printf(b, STR_FMT "  " STR_FMT "  " STR_FMT "\n", STR_ARG(job->id), STR_ARG(job->kind),
               STR_ARG(job->state));
}

struct printer {
    const struct rec *r;
    void (*put)(struct buf *b, const void *row);
};
static const struct printer of_integration = { &rec_integration, put_integration };
static const struct printer of_log = { &rec_webhook_log, put_log };
static const struct printer of_job = { &rec_job, put_job };

static enum err_code print_one(struct cli *c, enum err_code e, const struct printer *p,
                               const void *obj)
{
    struct buf b;
    if (e)
        return e;
    buf_init(&b, &c->cx->arena, CLI_LIST_MAX);
    if (c->as_json) {
        rec_encode(&b, p->r, obj);
        buf_char(&b, '\n');
    } else {
        p->put(&b, obj);
    }
    cli_print(&b);
    return ERR_NONE;
}

static enum err_code print_all(struct cli *c, enum err_code e, const struct printer *p,
                               const struct list *rows)
{
    if (!e)
        cli_rows(c, p->r, rows, p->put);
    return e;
}

/* ---- looking ---- */

static enum err_code do_list(struct ctx *cx, struct db *db, struct task *t)
{
    const struct cursor_key key = { .b = { 0 } };
    return integration_list(cx, db, &t->who, t->base, &t->query, key, &t->page);
}

enum err_code cmd_integrations_list(struct cli *c)
{
    static const char *const names[] = { "kind", "limit", NULL };
    struct task t = { .act = do_list };
    enum err_code e = cli_query(c, &rec_integration_query, names, &t.query);
    return print_all(c, e ? e : run(c, &t, true), &of_integration, &t.page.rows);
}

static enum err_code do_show(struct ctx *cx, struct db *db, struct task *t)
{
    return integration_get(cx, db, &t->who, t->base, t->id, &t->i);
}

enum err_code cmd_integrations_show(struct cli *c)
{
    struct task t = { .act = do_show };
    return print_one(c, run(c, &t, true), &of_integration, &t.i);
}

static enum err_code do_log(struct ctx *cx, struct db *db, struct task *t)
{
    const struct cursor_key key = { .b = { 0 } };
    enum err_code e = do_show(cx, db, t);
    t->log_query.integration_id = t->i.id;
    REC_SET(&t->log_query, integration_id);
    return e ? e : webhook_log_list(cx, db, &t->who, &t->log_query, key, &t->page);
}

enum err_code cmd_integrations_log(struct cli *c)
{
    static const char *const names[] = { "state", "event-type", "limit", NULL };
    struct task t = { .act = do_log };
    enum err_code e = cli_query(c, &rec_webhook_log_query, names, &t.log_query);
    return print_all(c, e ? e : run(c, &t, true), &of_log, &t.page.rows);
}

/* ---- changing ---- */

static enum err_code do_set(struct ctx *cx, struct db *db, struct task *t)
{
    return integration_enable(cx, db, &t->who, t->base, t->id, t->is_enabled, &t->i);
}

enum err_code cmd_integrations_enable(struct cli *c)
{
    struct task t = { .act = do_set, .is_enabled = true };
    return print_one(c, run(c, &t, false), &of_integration, &t.i);
}

enum err_code cmd_integrations_disable(struct cli *c)
{
    struct task t = { .act = do_set };
    return print_one(c, run(c, &t, false), &of_integration, &t.i);
}

static enum err_code do_replay(struct ctx *cx, struct db *db, struct task *t)
{
    const struct replay_in all = { .from = 0 };
    enum err_code e = do_show(cx, db, t);
    if (e)
        return e;
    return t->event_id.p ? webhook_log_replay(cx, db, &t->who, t->event_id, &t->job)
                         : webhook_log_replay_many(cx, db, &t->who, t->i.id, &all, &t->job);
}

enum err_code cmd_integrations_replay(struct cli *c)
{
    struct task t = { .act = do_replay, .event_id = cli_option(c, cli_command(c), "event") };
    return print_one(c, run(c, &t, false), &of_job, &t.job);
}
