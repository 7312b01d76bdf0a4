/* `tessera webhooks …`: look at webhooks, test, enable and disable them, send again what they have
 * missed; directly on the database, beside a running server, which sends and notices within a
 * second. */
#include "cli.h"

#include "../base/clock.h"
#include "../connect/webhook/webhook_admin.h"
#include "../connect/webhook/webhook_replay.h"
#include "../core/report/report_def.h"

#define RANGE_ROWS                                                                                 \
    { "from", false, "what happened from then on: a date-time, or -2h, -3d (needed)" },            \
    {                                                                                              \
        "to", false, "until before then (default: now)"                                            \
    }

const struct option_row options_webhooks[] = { CLI_TEAM_ROW, CLI_JSON_ROW, { 0 } };
const struct option_row options_webhooks_list[] = {
    { "state", false, "comma separated: enabled, disabled" },
    { "limit", false, "how many, newest first (1–200, default 50)" },
    CLI_TEAM_ROW,
    CLI_JSON_ROW,
    { 0 },
};
const struct option_row options_webhooks_test[] = {
    { "event-type", false, "an example of such an event (default: webhook.test)" },
    CLI_TEAM_ROW,
    CLI_JSON_ROW,
    { 0 },
};
const struct option_row options_webhooks_replay[] = {
    RANGE_ROWS,
    { "event-type", false, "only this type; may be given several times" },
    { "state", false,
      "only events whose delivery ended so: delivered, failed, cancelled; may be "
      "given several times" },
    { "delivery", false, "the event of this delivery alone, instead of a range" },
    CLI_TEAM_ROW,
    CLI_JSON_ROW,
    { 0 },
};
const struct option_row options_webhooks_recover[] = {
    RANGE_ROWS, CLI_TEAM_ROW, CLI_JSON_ROW, { 0 }
};

struct webhooks_job {
    struct caller who;
    struct str id, event_type, delivery_id;
    enum err_code (*act)(struct ctx *cx, struct db *db, struct webhooks_job *j);
    struct webhook_query query;
    struct replay_new range;
    bool is_enabled, is_recover;
    struct webhook w;
    struct delivery delivery;
    struct job job;
    struct page page;
};

static enum err_code act_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct webhooks_job *j = arg;
    caller_scope(db, &j->who);
    return j->act(cx, db, j);
}

/* Opens the store, finds the team, runs the job as one unit. */
static enum err_code run(struct cli *c, struct webhooks_job *j, bool is_read)
{
    struct store *s;
    if (c->n_words)
        j->id = c->words[0];
    enum err_code e = cli_store(c, &s);
    if (!e)
        e = cli_team(c, s, &j->who.team_id);
    if (e)
        return e;
    return is_read ? store_read(c->cx, s, act_unit, j) : store_tx(c->cx, s, act_unit, j);
}

/* ---- printing ---- */

/* A line a member: its name, its value without quotes. */
static void print_members(struct buf *b, struct ctx *cx, const struct rec *r, const void *obj)
{
    for (size_t i = 0; i < r->n; i++) {
        const struct rec one = { .fields = &r->fields[i], .n = 1 };
        const char *name = r->fields[i].name;
        struct buf member;
        buf_init(&member, &cx->arena, CLI_LIST_MAX);
        rec_encode(&member, &one, obj);
        size_t from = str_of(name).n + 4; /* {"name": */
        struct str value = str_sub(buf_view(&member), from, member.n - from - 1);
        if (value.n > 1 && value.p[0] == '"')
            value = str_sub(value, 1, value.n - 2);
        if (!str_eq(value, STR("null")))
            buf_printf(b, "%-20s" STR_FMT "\n", name, STR_ARG(value));
    }
}

static enum err_code print(struct cli *c, enum err_code e, const struct rec *r, const void *obj)
{
    struct buf b;
    if (e)
        return e;
    buf_init(&b, &c->cx->arena, CLI_LIST_MAX);
    if (c->as_json) {
        rec_encode(&b, r, obj);
        buf_char(&b, '\n');
    } else {
        print_members(&b, c->cx, r, obj);
    }
    cli_print(&b);
    return ERR_NONE;
}

/* ---- looking ---- */

static enum err_code do_list(struct ctx *cx, struct db *db, struct webhooks_job *j)
{
    const struct cursor_key key = { .b = { 0 } };
    return webhook_list(cx, db, &j->who, &j->query, key, &j->page);
}

static void print_row(struct buf *b, const void *row)
{
    const struct webhook *w = row;
    buf_printf(b, STR_FMT "  %-8.*s  ", STR_ARG(w->id), STR_ARG(w->state));
    if (REC_HAS(w, success_ms))
        time_print_s(b, w->success_ms);
    else
        buf_lit(b, "never               ");
    buf_printf(b, "  " STR_FMT "  " STR_FMT "\n", STR_ARG(w->url), STR_ARG(w->events));
}

enum err_code cmd_webhooks_list(struct cli *c)
{
    static const char *const names[] = { "state", "limit", NULL };
    struct webhooks_job j = { .act = do_list };
    enum err_code e = cli_query(c, &rec_webhook_query, names, &j.query);
    if (!e)
        e = run(c, &j, true);
    if (!e)
        cli_rows(c, &rec_webhook, &j.page.rows, print_row);
    return e;
}

static enum err_code do_show(struct ctx *cx, struct db *db, struct webhooks_job *j)
{
    return webhook_get(cx, db, &j->who, j->id, &j->w);
}

enum err_code cmd_webhooks_show(struct cli *c)
{
    struct webhooks_job j = { .act = do_show };
    return print(c, run(c, &j, true), &rec_webhook, &j.w);
}

/* ---- changing ---- */

static enum err_code do_set(struct ctx *cx, struct db *db, struct webhooks_job *j)
{
    return webhook_set_enabled(cx, db, &j->who, j->id, j->is_enabled, &j->w);
}

enum err_code cmd_webhooks_enable(struct cli *c)
{
    struct webhooks_job j = { .act = do_set, .is_enabled = true };
    return print(c, run(c, &j, false), &rec_webhook, &j.w);
}

enum err_code cmd_webhooks_disable(struct cli *c)
{
    struct webhooks_job j = { .act = do_set };
    return print(c, run(c, &j, false), &rec_webhook, &j.w);
}

/* ---- sending ---- */

static enum err_code do_test(struct ctx *cx, struct db *db, struct webhooks_job *j)
{
    return webhook_test(cx, db, &j->who, j->id, j->event_type, &j->delivery);
}

enum err_code cmd_webhooks_test(struct cli *c)
{
    struct webhooks_job j = { .act = do_test,
                              .event_type = cli_option(c, cli_command(c), "event-type") };
    return print(c, run(c, &j, false), &rec_delivery, &j.delivery);
}

static enum err_code do_again(struct ctx *cx, struct db *db, struct webhooks_job *j)
{
    return delivery_replay(cx, db, &j->who, j->id, j->delivery_id, &j->delivery);
}

static enum err_code do_replay(struct ctx *cx, struct db *db, struct webhooks_job *j)
{
    const struct replay_ask ask = { j->id, &j->range, j->is_recover };
    return replay_start(cx, db, &j->who, &ask, &j->job);
}

/* The JSON array of an option's values; an absent one when it is not given. */
static void put_words(struct cli *c, json_t *body, const char *option, const char *member)
{
    json_t *list = json_array();
    struct str value;
    int at = 0;
    while (cli_option_next(c, cli_command(c), option, &at, &value))
        json_array_append_new(list, json_stringn(value.p, value.n));
    if (json_array_size(list))
        json_object_set(body, member, list);
    json_decref(list);
}

static enum err_code put_time(struct cli *c, json_t *body, const char *name)
{
    struct report_when when;
    struct str text = cli_option(c, cli_command(c), name);
    struct buf b;
    enum err_code e = report_when_parse(c->cx, text, str_of(name), &when);
    if (e || !text.p)
        return e;
    buf_init(&b, &c->cx->arena, 64);
    time_print_ms(&b, report_when_ms(&when, clock_ms()));
    json_object_set_new(body, name, json_stringn(b.p, b.n));
    return ERR_NONE;
}

/* What the options say, judged by the table of the API's body. */
static enum err_code read_range(struct cli *c, const struct rec *r, struct replay_new *out)
{
    json_t *body = json_object();
    arena_defer(&c->cx->arena, (void (*)(void *))json_decref, body);
    enum err_code e = put_time(c, body, "from");
    if (!e)
        e = put_time(c, body, "to");
    if (!e && r == &rec_replay_new) {
        put_words(c, body, "event-type", "event_types");
        put_words(c, body, "state", "state");
    }
    return e ? e : rec_decode(c->cx, r, body, REC_REFUSE_UNKNOWN, STR_NONE, out);
}

enum err_code cmd_webhooks_replay(struct cli *c)
{
    struct webhooks_job j = { .act = do_replay,
                              .delivery_id = cli_option(c, cli_command(c), "delivery") };
    if (j.delivery_id.p) {
        j.act = do_again;
        return print(c, run(c, &j, false), &rec_delivery, &j.delivery);
    }
    enum err_code e = read_range(c, &rec_replay_new, &j.range);
    return print(c, e ? e : run(c, &j, false), &rec_job, &j.job);
}

enum err_code cmd_webhooks_recover(struct cli *c)
{
    struct webhooks_job j = { .act = do_replay, .is_recover = true };
    enum err_code e = read_range(c, &rec_recover_new, &j.range);
    return print(c, e ? e : run(c, &j, false), &rec_job, &j.job);
}
