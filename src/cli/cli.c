/* Helpers of all commands, and the small commands. */
#include "cli.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../api/openapi.h"
#include "../base/clock.h"
#include "../core/audit.h"
#include "../core/people/member.h"
#include "../core/token.h"
#include "../core/usage.h"
#include "../core/vault/vault.h"
#include "../http/gzip.h"

const struct option_row options_none[] = { { 0 } };
const struct option_row options_json[] = { { "json", true, "print JSON" }, { 0 } };
const struct option_row options_errors[] = { { "markdown", true, "as docs/errors.md" }, { 0 } };
const struct option_row options_config[] = { { "explain", true, "values and sources" },
                                             { "markdown", true, "as docs/config.md" },
                                             { 0 } };
const struct option_row options_stats[] = { { "json", true, "print JSON" },
                                            { "token", false, "figures of this token ID" },
                                            { "team", false, CLI_TEAM_DOC },
                                            { 0 } };

struct str cli_option(const struct cli *c, const struct command *cmd, const char *name)
{
    for (int i = 0; cmd->options[i].name; i++)
        if (!strcmp(cmd->options[i].name, name))
            return c->values[i];
    return STR_NONE;
}

bool cli_option_next(const struct cli *c, const struct command *cmd, const char *name, int *at,
                     struct str *value)
{
    while (*at < c->n_given) {
        const struct cli_given *g = &c->given[(*at)++];
        if (strcmp(cmd->options[g->row].name, name) != 0)
            continue;
        *value = g->value;
        return true;
    }
    return false;
}

void cli_print(struct buf *b)
{
    fwrite(b->p, 1, b->n, stdout);
}

enum err_code cli_query(struct cli *c, const struct rec *r, const char *const *options, void *out)
{
    struct rec_param params[CLI_OPTIONS_MAX];
    size_t n = 0;

    for (size_t i = 0; options[i]; i++) {
        struct str value = cli_option(c, cli_command(c), options[i]);
        char *name = str_cstr(&c->cx->arena, str_of(options[i]));

        for (char *p = name; *p; p++)
            if (*p == '-')
                *p = '_';
        if (value.p)
            params[n++] = (struct rec_param){ str_of(name), value };
    }
    return rec_decode_query(c->cx, r, params, n, out);
}

void cli_rows(struct cli *c, const struct rec *r, const struct list *rows,
              void (*put)(struct buf *b, const void *row))
{
    struct buf b;

    buf_init(&b, &c->cx->arena, CLI_LIST_MAX);
    buf_lit(&b, c->as_json ? "[" : "");
    for (size_t i = 0; i < rows->n; i++) {
        const void *row = (const char *)rows->v + i * r->size;

        if (!c->as_json) {
            put(&b, row);
            continue;
        }
        buf_lit(&b, i ? ",\n" : "");
        rec_encode(&b, r, row);
    }
    buf_lit(&b, c->as_json ? "]\n" : "");
    cli_print(&b);
}

static void close_store(void *s)
{
    store_close(s);
}

static enum err_code open_store(struct cli *c, struct store **out)
{
    struct store_conf conf = { .database = c->conf.database,
                               .pg_writers = 1,
                               .pg_readers = 1,
                               .queue_max = c->conf.queue_max };
    enum err_code e = store_open(c->cx, &conf, out);
    if (!e)
        arena_defer(&c->cx->arena, close_store, *out);
    return e;
}

enum err_code cli_vault(struct cli *c, struct store *s)
{
    enum err_code e = vault_start(c->cx, s, c->conf.master_key, c->conf.master_key_previous);
    if (!e)
        audit_setup(vault_mac_key(VAULT_AUDIT));
    return e;
}

/* A mistyped path must not become an empty database that answers "no tokens": only commands that
 * make something create one. */
static enum err_code must_exist(struct cli *c)
{
    struct str path = c->conf.database, scheme = STR("sqlite:");
    if (cli_command(c)->may_create || !str_starts(path, scheme))
        return ERR_NONE;
    path = str_sub(path, scheme.n, path.n);
    if (!access(str_cstr(&c->cx->arena, path), F_OK))
        return ERR_NONE;
    return fail(c->cx, NOT_FOUND, "there is no database at " STR_FMT " (tessera migrate makes one)",
                STR_ARG(path));
}

enum err_code cli_store(struct cli *c, struct store **out)
{
    int applied;
    enum err_code e = must_exist(c);
    if (!e)
        e = open_store(c, out);
    if (!e)
        e = store_migrate(c->cx, *out, &applied);
    return e ? e : cli_vault(c, *out);
}

struct team_job {
    struct str name, id;
};

static enum err_code team_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct team_job *j = arg;
    return member_team(cx, db, j->name, &j->id);
}

enum err_code cli_team(struct cli *c, struct store *s, struct str *team_id)
{
    struct team_job j = { .name = cli_option(c, cli_command(c), "team"), .id = STR(TEAM_DEFAULT) };
    enum err_code e = j.name.p ? store_read(c->cx, s, team_unit, &j) : ERR_NONE;
    if (!e)
        *team_id = j.id;
    return e;
}

enum err_code cmd_migrate(struct cli *c)
{
    struct store *s;
    int applied = 0;
    enum err_code e = open_store(c, &s);
    if (!e)
        e = store_migrate(c->cx, s, &applied);
    if (!e)
        printf("%d migration%s applied\n", applied, applied == 1 ? "" : "s");
    return e;
}

enum err_code cmd_backup(struct cli *c)
{
    struct store *s;
    enum err_code e = must_exist(c);
    if (!e)
        e = open_store(c, &s);
    if (!e)
        e = store_backup(c->cx, s, str_cstr(&c->cx->arena, c->words[0]));
    if (!e)
        printf("backup written to " STR_FMT "\n", STR_ARG(c->words[0]));
    return e;
}

enum err_code openapi_packed(struct ctx *cx, struct str *out)
{
    struct ctx own;
    struct buf text;
    ctx_init(&own, 4 * OPENAPI_MAX);
    buf_init(&text, &own.arena, OPENAPI_MAX);
    *out = STR_NONE;
    if (!openapi_print(&own, &text))
        *out = str_dup(&cx->arena, gzip_text(&own.arena, buf_view(&text)));
    ctx_done(&own);
    return out->p ? ERR_NONE : fail(cx, UNAVAILABLE, "no memory for the API description");
}

enum err_code cmd_openapi(struct cli *c)
{
    struct buf b;
    buf_init(&b, &c->cx->arena, OPENAPI_MAX);
    enum err_code e = openapi_print(c->cx, &b);
    if (!e)
        cli_print(&b);
    return e;
}

enum err_code cmd_errors(struct cli *c)
{
    struct buf b;
    buf_init(&b, &c->cx->arena, OPENAPI_MAX);
    errors_markdown(&b);
    cli_print(&b);
    return ERR_NONE;
}

enum err_code cmd_config(struct cli *c)
{
    struct buf b;
    buf_init(&b, &c->cx->arena, OPENAPI_MAX);
    if (cli_option(c, cli_command(c), "markdown").p)
        conf_markdown(&b, &conf_table);
    else
        conf_explain(&b, &conf_table, &c->conf, c->sources);
    cli_print(&b);
    return ERR_NONE;
}

enum err_code cmd_version(struct cli *c)
{
    (void)c;
    puts("tessera " TESSERA_VERSION);
    return ERR_NONE;
}

struct stats_job {
    struct str team_id, token_id;
    struct usage_stats stats;
};

static enum err_code stats_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct stats_job *j = arg;
    db_scope(db, j->team_id, STR(""));
    if (j->token_id.p)
        return usage_token_stats(cx, db, j->team_id, j->token_id, clock_ms(), &j->stats);
    return usage_dashboard(cx, db, j->team_id, clock_ms(), &j->stats);
}

/* `name: value` lines from a record's JSON view: people read lists, programs pass --json. */
static void print_lines(struct arena *a, const struct rec *r, const void *obj)
{
    for (size_t i = 0; i < r->n; i++) {
        const struct field *f = &r->fields[i];
        const char *at = (const char *)obj + f->offset;
        if (f->flags & F_SECRET || !rec_bit(&((const struct rec_bits *)obj)->has, f->offset))
            continue;
        if (f->type == F_TIME) {
            struct buf b;
            buf_init(&b, a, 64);
            time_print_ms(&b, *(const int64_t *)(const void *)at);
            printf("%-22s " STR_FMT "\n", f->name, STR_ARG(buf_view(&b)));
        } else if (field_is_int(f))
            printf("%-22s %lld\n", f->name, *(const long long *)(const void *)at);
        else
            printf("%-22s " STR_FMT "\n", f->name, STR_ARG(*(const struct str *)(const void *)at));
    }
}

enum err_code cmd_stats(struct cli *c)
{
    struct store *s;
    struct stats_job j = { .token_id = cli_option(c, cli_command(c), "token") };
    const struct rec *r = j.token_id.p ? &rec_usage_token : &rec_usage_dashboard;
    enum err_code e = cli_store(c, &s);
    if (!e)
        e = cli_team(c, s, &j.team_id);
    if (!e)
        e = store_read(c->cx, s, stats_unit, &j);
    if (e)
        return e;
    if (!c->as_json) {
        print_lines(&c->cx->arena, r, &j.stats);
        return ERR_NONE;
    }
    struct buf b;
    buf_init(&b, &c->cx->arena, 65536);
    rec_encode(&b, r, &j.stats);
    buf_char(&b, '\n');
    cli_print(&b);
    return ERR_NONE;
}
