/* `tessera token …`: works on the database directly, beside a running server, which notices within
 * a second. */
#include "cli.h"

#include <stdio.h>

#include "../base/clock.h"
#include "../base/json.h"
#include "../core/token_admin.h"
#include "../core/token_window.h"
#include "../core/usage.h"

const struct option_row options_token[] = {
    { "team", false, CLI_TEAM_DOC },
    { "json", true, "print JSON" },
    { 0 },
};
const struct option_row options_token_create[] = {
    { "name", false, "what the token is for (needed)" },
    { "description", false, "more words" },
    { "rate-limit", false, "requests an hour (default 1000)" },
    { "limit", false, "comma separated named limits, \"burst=50/10s,day=10000/1d\"" },
    { "expires-in", false, "90d, 12h, 30m …; never when absent" },
    { "scopes", false, "comma separated (default: the four of tickets)" },
    { "allowed-ips", false, "comma separated addresses and CIDRs" },
    { "allowed-endpoints", false, "comma separated, \"POST /v1/tickets\" or \"/v1/*\"" },
    { "metadata", false, "a JSON object" },
    { "team", false, CLI_TEAM_DOC },
    { "json", true, "print JSON" },
    { 0 },
};
const struct option_row options_token_regenerate[] = {
    { "grace", false, "how long the old secret goes on working (default: not at all)" },
    { "team", false, CLI_TEAM_DOC },
    { "json", true, "print JSON" },
    { 0 },
};
const struct option_row options_token_delete[] = {
    { "keep-usage", true, "keep the usage log of the token" },
    { "team", false, CLI_TEAM_DOC },
    { "json", true, "print JSON" },
    { 0 },
};

enum token_verb {
    TOKEN_CREATE,
    TOKEN_SHOW,
    TOKEN_ENABLE,
    TOKEN_DISABLE,
    TOKEN_REGENERATE,
    TOKEN_DELETE
};

struct token_job {
    enum token_verb verb;
    struct str team_id, id;
    struct token_new in;
    int64_t grace_ms;
    bool keep_usage;
    struct token out;
    struct list list;
};

/* Who changes it, for the audit log: the command line. */
static enum err_code token_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct token_job *j = arg;
    const struct caller cli = { .team_id = j->team_id };
    enum err_code e;
    caller_scope(db, &cli);
    switch (j->verb) {
    case TOKEN_CREATE: return key_create(cx, db, &cli, &j->in, &j->out);
    case TOKEN_SHOW: return key_get(cx, db, &cli, j->id, &j->out);
    case TOKEN_ENABLE: return key_set_enabled(cx, db, &cli, j->id, true, &j->out);
    case TOKEN_DISABLE: return key_set_enabled(cx, db, &cli, j->id, false, &j->out);
    case TOKEN_REGENERATE: return key_regenerate(cx, db, &cli, j->id, j->grace_ms, &j->out);
    case TOKEN_DELETE:
        e = key_delete(cx, db, &cli, j->id, NULL);
        return e || j->keep_usage ? e : usage_forget_mark(cx, db, cli.team_id, j->id);
    }
    return ERR_INTERNAL;
}

static enum err_code list_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct token_job *j = arg;
    return token_list(cx, db, j->team_id, &j->list);
}

static enum err_code run_job(struct cli *c, struct token_job *j)
{
    struct store *s;
    enum err_code e = cli_store(c, &s);
    if (!e)
        e = cli_team(c, s, &j->team_id);
    if (e)
        return e;
    e = j->verb == TOKEN_SHOW ? store_read(c->cx, s, token_unit, j)
                              : store_tx(c->cx, s, token_unit, j);
    if (e == ERR_NOT_FOUND || e == ERR_INVALID_PARAMETER) {
        ctx_clear(c->cx);
        return fail(c->cx, NOT_FOUND, "there is no token " STR_FMT, STR_ARG(j->id));
    }
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

static void print_time(struct buf *b, const char *label, bool has, int64_t ms)
{
    buf_printf(b, "%-18s", label);
    if (has)
        time_print_ms(b, ms);
    else
        buf_lit(b, "-");
    buf_char(b, '\n');
}

static void print_limits(struct cli *c, struct buf *b, struct str json)
{
    struct window_rules rules;
    struct window_bad bad;
    if (!window_rules_parse(c->cx, json, &rules, &bad))
        return;
    for (size_t i = 0; i < rules.n; i++)
        buf_printf(b, "%-18s%lld in %.10g s (" STR_FMT ")\n", "limit",
                   (long long)rules.v[i].requests, (double)rules.v[i].window_ms / 1000,
                   STR_ARG(rules.v[i].name));
}

static void print_token(struct cli *c, const struct token *t)
{
    struct buf b;
    buf_init(&b, &c->cx->arena, (size_t)1 << 20);
    buf_printf(&b, "%-18s" STR_FMT "\n%-18s" STR_FMT "\n", "id", STR_ARG(t->id), "name",
               STR_ARG(t->name));
    if (t->description.p)
        buf_printf(&b, "%-18s" STR_FMT "\n", "description", STR_ARG(t->description));
    buf_printf(&b, "%-18s" STR_FMT "…\n%-18s" STR_FMT "\n", "prefix", STR_ARG(t->token_prefix),
               "status", STR_ARG(t->status));
    buf_printf(&b, "%-18s%lld an hour\n", "rate limit", (long long)t->rate_limit);
    print_limits(c, &b, t->limits);
    buf_printf(&b, "%-18s" STR_FMT "\n", "scopes", STR_ARG(t->scopes));
    if (t->allowed_endpoints.p)
        buf_printf(&b, "%-18s" STR_FMT "\n", "allowed endpoints", STR_ARG(t->allowed_endpoints));
    if (t->allowed_ips.p)
        buf_printf(&b, "%-18s" STR_FMT "\n", "allowed ips", STR_ARG(t->allowed_ips));
    print_time(&b, "expires", REC_HAS(t, expires_ms), t->expires_ms);
    print_time(&b, "last used", REC_HAS(t, last_used_ms), t->last_used_ms);
    buf_printf(&b, "%-18s%lld\n", "use count", (long long)t->use_count);
    print_time(&b, "created", true, t->created_ms);
    if (t->token.p)
        buf_printf(&b, "%-18s" STR_FMT "\n\nKeep the token now: it is not shown again.\n", "token",
                   STR_ARG(t->token));
    cli_print(&b);
}

static void print_result(struct cli *c, const struct rec *r, const struct token *t)
{
    if (c->as_json)
        print_json(c, r, t);
    else
        print_token(c, t);
}

/* "a, b" as a JSON array of strings. */
static struct str list_json(struct cli *c, struct str text)
{
    struct buf b;
    buf_init(&b, &c->cx->arena, 65536);
    buf_char(&b, '[');
    while (text.p) {
        struct str one = str_trim(str_cut(&text, ','));
        if (!one.n)
            continue;
        if (b.n > 1)
            buf_char(&b, ',');
        json_write_str(&b, one);
    }
    buf_char(&b, ']');
    return buf_view(&b);
}

static void put_list(struct cli *c, const char *option, struct token_new *in, struct str *to,
                     uint64_t bit)
{
    struct str text = cli_option(c, cli_command(c), option);
    if (!text.p)
        return;
    *to = list_json(c, text);
    in->bits.has |= bit;
}

/* "burst=50/10s,day=10000/1d" as the JSON of named limits; what is in it is checked later. */
static enum err_code limits_json(struct cli *c, struct str text, struct str *out)
{
    struct buf b;
    struct str rest = text;
    buf_init(&b, &c->cx->arena, 65536);
    buf_char(&b, '[');
    while (rest.p) {
        struct str number = str_trim(str_cut(&rest, ',')), name = str_cut(&number, '='), window;
        int64_t requests = 0, ms = 0;
        window = number;
        number = str_cut(&window, '/');
        if (!str_to_i64(number, &requests) || !duration_parse(window, &ms))
            return fail(c->cx, USAGE, "--limit: \"" STR_FMT "\" is not NAME=REQUESTS/WINDOW, …",
                        STR_ARG(text));
        buf_lit(&b, b.n > 1 ? ",{\"name\":" : "{\"name\":");
        json_write_str(&b, name);
        buf_printf(&b, ",\"requests\":%lld,\"window\":%lld}", (long long)requests, (long long)ms);
    }
    buf_char(&b, ']');
    *out = buf_view(&b);
    return ERR_NONE;
}

#define BIT(member) (UINT64_C(1) << (offsetof(struct token_new, member) / 8))

static enum err_code create_input(struct cli *c, struct token_new *in)
{
    const struct command *cmd = cli_command(c);
    struct str rate = cli_option(c, cmd, "rate-limit"), expires = cli_option(c, cmd, "expires-in"),
               meta = cli_option(c, cmd, "metadata"), limit = cli_option(c, cmd, "limit");
    int64_t ms;
    in->name = cli_option(c, cmd, "name");
    if (!in->name.p)
        return fail(c->cx, USAGE, "--name is needed");
    in->bits.has |= BIT(name);
    in->description = cli_option(c, cmd, "description");
    if (in->description.p)
        in->bits.has |= BIT(description);
    if (rate.p && !str_to_i64(rate, &in->rate_limit))
        return fail(c->cx, USAGE, "--rate-limit: \"" STR_FMT "\" is not a number", STR_ARG(rate));
    if (rate.p)
        in->bits.has |= BIT(rate_limit);
    if (limit.p && limits_json(c, limit, &in->limits))
        return c->cx->err;
    if (expires.p && !duration_parse(expires, &ms))
        return fail(c->cx, USAGE, "--expires-in: \"" STR_FMT "\" is not a duration like 90d or 12h",
                    STR_ARG(expires));
    if (expires.p) {
        in->expires_ms = clock_ms() + ms;
        in->bits.has |= BIT(expires_ms);
    }
    if (meta.p) {
        json_t *v = json_read(c->cx, meta);
        if (!v || !json_is_object(v)) {
            ctx_clear(c->cx);
            return fail(c->cx, USAGE, "--metadata is not a JSON object");
        }
        in->metadata = json_text(c->cx, v);
        in->bits.has |= BIT(metadata);
    }
    put_list(c, "scopes", in, &in->scopes, BIT(scopes));
    put_list(c, "allowed-ips", in, &in->allowed_ips, BIT(allowed_ips));
    put_list(c, "allowed-endpoints", in, &in->allowed_endpoints, BIT(allowed_endpoints));
    return ERR_NONE;
}

enum err_code cmd_token_create(struct cli *c)
{
    struct token_job j = { .verb = TOKEN_CREATE };
    enum err_code e = create_input(c, &j.in);
    if (!e)
        e = run_job(c, &j);
    if (!e)
        print_result(c, &rec_token_secret, &j.out);
    return e;
}

static enum err_code run_verb(struct cli *c, enum token_verb verb)
{
    struct token_job j = { .verb = verb, .id = c->words[0] };
    enum err_code e = run_job(c, &j);
    if (!e)
        print_result(c, &rec_token, &j.out);
    return e;
}

enum err_code cmd_token_show(struct cli *c)
{
    return run_verb(c, TOKEN_SHOW);
}

enum err_code cmd_token_enable(struct cli *c)
{
    return run_verb(c, TOKEN_ENABLE);
}

enum err_code cmd_token_disable(struct cli *c)
{
    return run_verb(c, TOKEN_DISABLE);
}

enum err_code cmd_token_regenerate(struct cli *c)
{
    struct token_job j = { .verb = TOKEN_REGENERATE, .id = c->words[0] };
    struct str grace = cli_option(c, cli_command(c), "grace");
    if (grace.p && !duration_parse(grace, &j.grace_ms))
        return fail(c->cx, USAGE, "--grace: \"" STR_FMT "\" is not a duration like 1h",
                    STR_ARG(grace));
    enum err_code e = run_job(c, &j);
    if (!e)
        print_result(c, &rec_token_secret, &j.out);
    return e;
}

enum err_code cmd_token_delete(struct cli *c)
{
    struct token_job j = { .verb = TOKEN_DELETE,
                           .id = c->words[0],
                           .keep_usage = cli_option(c, cli_command(c), "keep-usage").p };
    enum err_code e = run_job(c, &j);
    if (e)
        return e;
    if (c->as_json)
        printf("{\"id\":\"" STR_FMT "\",\"deleted\":true}\n", STR_ARG(j.id));
    else
        printf("token " STR_FMT " deleted\n", STR_ARG(j.id));
    return ERR_NONE;
}

enum err_code cmd_token_list(struct cli *c)
{
    struct token_job j = { 0 };
    struct store *s;
    enum err_code e = cli_store(c, &s);
    if (!e)
        e = cli_team(c, s, &j.team_id);
    if (!e)
        e = store_read(c->cx, s, list_unit, &j);
    if (e)
        return e;
    struct buf b;
    buf_init(&b, &c->cx->arena, (size_t)64 << 20);
    buf_lit(&b, c->as_json ? "[" : "");
    const struct token *t = j.list.v;
    for (size_t i = 0; i < j.list.n; i++) {
        if (c->as_json) {
            buf_lit(&b, i ? ",\n" : "");
            rec_encode(&b, &rec_token, &t[i]);
        } else {
            buf_printf(&b, STR_FMT "  " STR_FMT "…  %-8.*s  %10lld/h  " STR_FMT "\n",
                       STR_ARG(t[i].id), STR_ARG(t[i].token_prefix), STR_ARG(t[i].status),
                       (long long)t[i].rate_limit, STR_ARG(t[i].name));
        }
    }
    buf_lit(&b, c->as_json ? "]\n" : "");
    cli_print(&b);
    return ERR_NONE;
}
