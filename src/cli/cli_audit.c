/* `tessera audit …`: the chain is checked and exported by whoever runs the program, beside a
 * running server. `tessera roles`: who may do what. */
#include "cli.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../core/audit.h"
#include "../core/token.h"

const struct option_row options_audit_verify[] = {
    { "team", false, "slug or id of one team (default: all)" },
    { "head", false, "SEQ:HASH that an earlier check of this team printed" },
    { "json", true, "print JSON" },
    { 0 },
};
const struct option_row options_audit_export[] = {
    { "team", false, "slug or id of the team (default: default)" },
    { "format", false, "ndjson (default) or csv" },
    { 0 },
};
const struct option_row options_roles[] = { { "markdown", true, "as docs/roles.md" }, { 0 } };

/* ---- teams ---- */

struct chain { /* a team that has a log, and the check of it */
    struct rec_bits bits;
    struct str id, slug; /* a team that is gone has no slug */
};
static const struct field chain_fields[] = {
    { .name = "id", .type = F_STR, .offset = offsetof(struct chain, id) },
    { .name = "slug", .type = F_STR, .offset = offsetof(struct chain, slug) },
};
static const struct rec rec_chain = REC("Chain", struct chain, chain_fields, NULL);

struct job {
    struct str team, head; /* options */
    struct list chains;
    struct audit_check *checks;
};

/* A head without rows and rows without a head are both to be looked at. */
static const char SQL_CHAINS[] =
    "SELECT c.team_id AS id, t.slug AS slug FROM (SELECT team_id FROM audit_head UNION SELECT "
    "team_id FROM audit_log) c LEFT JOIN team t ON t.id = c.team_id ORDER BY c.team_id";
static const char SQL_TEAM[] = "SELECT id, slug FROM team WHERE id = $1 OR slug = $1";

static enum err_code find_team(struct ctx *cx, struct db *db, struct str team, struct list *out)
{
    enum err_code e = db_list(cx, db, &rec_chain, SQL_TEAM, ARGS(VT(team)), out);
    if (!e && !out->n)
        return fail(cx, NOT_FOUND, "there is no team " STR_FMT, STR_ARG(team));
    return e;
}

/* ---- verify ---- */

static enum err_code verify_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct job *j = arg;
    db_scope_system(db);
    enum err_code e = j->team.p ? find_team(cx, db, j->team, &j->chains)
                                : db_list(cx, db, &rec_chain, SQL_CHAINS, NO_ARGS, &j->chains);
    const struct chain *c = j->chains.v;
    j->checks = ARENA_ARRAY(&cx->arena, struct audit_check, j->chains.n + 1);
    for (size_t i = 0; !e && i < j->chains.n; i++)
        e = audit_verify(cx, db, c[i].id, j->head, &j->checks[i]);
    return e;
}

static void print_check(const struct chain *team, const struct audit_check *c)
{
    struct str name = team->slug.p ? team->slug : team->id;
    printf("%-9s " STR_FMT ": %lld row%s", c->is_intact ? "intact" : "TAMPERED", STR_ARG(name),
           (long long)c->rows, c->rows == 1 ? "" : "s");
    if (c->unkeyed)
        printf(", %lld of them without a master key", (long long)c->unkeyed);
    if (!c->is_intact)
        printf("; row %lld: " STR_FMT, (long long)c->bad_seq, STR_ARG(c->why));
    printf("\n");
    if (c->is_intact && c->head.p)
        printf("          head " STR_FMT "\n", STR_ARG(c->head));
}

static void print_json(struct cli *c, const struct job *j)
{
    struct buf b;
    buf_init(&b, &c->cx->arena, (size_t)8 << 20);
    buf_char(&b, '[');
    for (size_t i = 0; i < j->chains.n; i++) {
        buf_lit(&b, i ? ",\n" : "");
        rec_encode(&b, &rec_audit_check, &j->checks[i]);
    }
    buf_lit(&b, "]\n");
    cli_print(&b);
}

enum err_code cmd_audit_verify(struct cli *c)
{
    struct job j = { .team = cli_option(c, cli_command(c), "team"),
                     .head = cli_option(c, cli_command(c), "head") };
    struct store *s;
    size_t n_bad = 0;
    if (j.head.p && !j.team.p)
        return fail(c->cx, USAGE, "--head is of one team: --team is needed");
    enum err_code e = cli_store(c, &s);
    if (!e)
        e = store_read(c->cx, s, verify_unit, &j);
    if (e)
        return e == ERR_INVALID_PARAMETER ? ERR_USAGE : e;
    for (size_t i = 0; i < j.chains.n; i++) {
        n_bad += !j.checks[i].is_intact;
        if (!c->as_json)
            print_check((const struct chain *)j.chains.v + i, &j.checks[i]);
    }
    if (c->as_json)
        print_json(c, &j);
    else if (!j.chains.n)
        puts("no rows");
    return n_bad ? fail(c->cx, CONFLICT, "the audit log was tampered with") : ERR_NONE;
}

/* ---- export ---- */

static enum err_code team_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct job *j = arg;
    db_scope_system(db);
    return find_team(cx, db, j->team, &j->chains);
}

static enum err_code copy_out(struct ctx *cx, struct spool *s)
{
    char piece[65536];
    off_t at = 0;
    ssize_t n;
    while ((n = pread(spool_fd(s), piece, sizeof piece, at)) > 0) {
        if (fwrite(piece, 1, (size_t)n, stdout) != (size_t)n)
            break;
        at += n;
    }
    return at == spool_size(s) ? ERR_NONE : fail(cx, UNAVAILABLE, "cannot write the whole export");
}

enum err_code cmd_audit_export(struct cli *c)
{
    struct job j = { .team = cli_option(c, cli_command(c), "team") };
    struct str format = cli_option(c, cli_command(c), "format");
    bool as_csv = str_eq(format, STR("csv"));
    struct store *s;
    struct spool *file;
    if (format.p && !as_csv && !str_eq(format, STR("ndjson")))
        return fail(c->cx, USAGE, "--format is ndjson or csv");
    if (!j.team.p)
        j.team = STR(TEAM_DEFAULT);
    enum err_code e = cli_store(c, &s);
    if (!e)
        e = store_read(c->cx, s, team_unit, &j);
    if (e)
        return e;
    struct caller who = { .team_id = ((const struct chain *)j.chains.v)->id };
    struct audit_query all = { .format = format };
    e = audit_export(c->cx, s, &(struct audit_export_ask){ &who, &all, c->conf.tmp_dir, as_csv },
                     &file);
    if (e)
        return e;
    e = copy_out(c->cx, file);
    spool_close(file);
    return e;
}

/* ---- roles ---- */

static void put_roles(struct buf *b, int from, int to)
{
    buf_lit(b, "| action | viewer | agent | admin | owner | |\n|---|---|---|---|---|---|\n");
    for (int i = from; i < to; i++) {
        buf_printf(b, "| `%s` |", action_rows[i].wire);
        for (enum role r = ROLE_VIEWER; r <= ROLE_OWNER; r++)
            buf_lit(b, action_rows[i].least <= r ? " yes |" : " |");
        buf_printf(b, " %s |\n", action_rows[i].doc);
    }
}

enum err_code cmd_roles(struct cli *c)
{
    struct buf b;
    buf_init(&b, &c->cx->arena, 65536);
    buf_lit(&b, "# Roles and scopes\n\nGenerated by `tessera roles --markdown` from the table in "
                "`src/core/caller.h`.\n\n"
                "A signed-in user has one role in each team; it says which actions the user may do "
                "there. An API key carries scopes: the actions of the first table. A call without "
                "its action is answered 403: `insufficient_role` names the least role, "
                "`insufficient_scope` the scope. In the API reference each call has its action in "
                "`x-scopes` and the least role in `x-least-role`.\n\n"
                "## What keys may carry\n\n");
    put_roles(&b, 0, SCOPE_BITS);
    buf_lit(&b, "\nA wildcard (`tickets:*`) is all scopes of a noun; `admin:full` is in no "
                "wildcard.\n\n## Administration\n\nNo key carries these by name; a key with "
                "`admin:full` may do them all.\n\n");
    put_roles(&b, SCOPE_BITS, ACTION_BITS);
    cli_print(&b);
    return ERR_NONE;
}
