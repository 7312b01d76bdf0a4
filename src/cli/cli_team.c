/* `tessera team …`: make and list teams, directly on the database, beside a running server. */
#include "cli.h"

#include "../core/people/team.h"

const struct option_row options_team_create[] = {
    { "slug", false, "short name (default: from NAME)" },
    { "owner", false, "e-mail address of the user who becomes its owner" },
    { "json", true, "print JSON" },
    { 0 },
};

struct team_job {
    struct team_new in;
    struct str owner; /* e-mail or STR_NONE */
    struct team out;
    struct list list;
};

static enum err_code create_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct team_job *j = arg;
    struct caller who = { .ip = STR("") };
    struct str owner_id = STR_NONE;
    enum err_code e = j->owner.p ? team_user_by_email(cx, db, j->owner, &owner_id) : ERR_NONE;
    return e ? e : team_create(cx, db, &who, &j->in, owner_id, &j->out);
}

static enum err_code list_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct team_job *j = arg;
    return team_list_all(cx, db, &j->list);
}

static void put_team(struct cli *c, struct buf *b, const struct team *t)
{
    if (c->as_json)
        rec_encode(b, &rec_team, t);
    else
        buf_printf(b, STR_FMT "  %-24.*s  " STR_FMT "\n", STR_ARG(t->id), STR_ARG(t->slug),
                   STR_ARG(t->name));
}

enum err_code cmd_team_create(struct cli *c)
{
    const struct command *cmd = cli_command(c);
    struct team_job j = { .in = { .name = str_trim(c->words[0]),
                                  .slug = cli_option(c, cmd, "slug") },
                          .owner = cli_option(c, cmd, "owner") };
    struct store *s;
    struct buf b;
    if (!str_is_utf8(j.in.name) || !j.in.name.n || str_chars(j.in.name) > TEAM_NAME_MAX)
        return fail(c->cx, USAGE, "NAME must be 1 to %d characters", TEAM_NAME_MAX);
    enum err_code e = cli_store(c, &s);
    if (!e)
        e = store_tx(c->cx, s, create_unit, &j);
    if (e)
        return e;
    buf_init(&b, &c->cx->arena, 65536);
    put_team(c, &b, &j.out);
    buf_lit(&b, c->as_json ? "\n" : "");
    cli_print(&b);
    return ERR_NONE;
}

enum err_code cmd_team_list(struct cli *c)
{
    struct team_job j = { .owner = STR_NONE };
    struct store *s;
    struct buf b;
    enum err_code e = cli_store(c, &s);
    if (!e)
        e = store_read(c->cx, s, list_unit, &j);
    if (e)
        return e;
    const struct team *t = j.list.v;
    buf_init(&b, &c->cx->arena, (size_t)64 << 20);
    buf_lit(&b, c->as_json ? "[" : "");
    for (size_t i = 0; i < j.list.n; i++) {
        buf_lit(&b, c->as_json && i ? ",\n" : "");
        put_team(c, &b, &t[i]);
    }
    buf_lit(&b, c->as_json ? "]\n" : "");
    cli_print(&b);
    return ERR_NONE;
}
