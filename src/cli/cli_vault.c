/* `tessera vault …`: new keys for stored secrets, and their state; beside running servers. */
#include "cli.h"

#include <stdio.h>

#include "../base/json.h"
#include "../core/vault/vault_admin.h"

#define BATCH_DEFAULT 200
#define STATUS_MAX ((size_t)16 << 20)

const struct option_row options_vault_rotate[] = {
    { "team", false, "slug or id of one team, - for what belongs to no team (default: all)" },
    { "master", true, "wrap all keys under master_key instead of master_key_previous" },
    { "dry-run", true, "say what would be done, change nothing" },
    { "batch", false, "rows a transaction, 1 to 1000 (default 200)" },
    { "json", true, "print JSON" },
    { 0 },
};

struct tally { /* of a whole run */
    int64_t teams, quarantined;
};

static enum err_code read_ask(struct cli *c, struct vault_ask *ask)
{
    const struct command *cmd = cli_command(c);
    struct str batch = cli_option(c, cmd, "batch");
    *ask = (struct vault_ask){ .batch = BATCH_DEFAULT,
                               .is_dry = cli_option(c, cmd, "dry-run").p != NULL };
    if (batch.p &&
        (!str_to_i64(batch, &ask->batch) || ask->batch < 1 || ask->batch > VAULT_BATCH_MAX))
        return fail(c->cx, USAGE, "--batch must be from 1 to %d", VAULT_BATCH_MAX);
    if (cli_option(c, cmd, "master").p && cli_option(c, cmd, "team").p)
        return fail(c->cx, USAGE, "--master is for the keys of all teams: it takes no --team");
    return ERR_NONE;
}

static void print_json(struct cli *c, const struct rec *r, const void *obj)
{
    struct buf b;
    buf_init(&b, &c->cx->arena, STATUS_MAX);
    rec_encode(&b, r, obj);
    buf_char(&b, '\n');
    cli_print(&b);
    fflush(stdout);
}

static enum err_code must_open_all(struct cli *c, int64_t quarantined)
{
    if (!quarantined)
        return ERR_NONE;
    return fail(c->cx, CONFLICT,
                "%lld secrets do not open; they were left as they are (tessera vault status)",
                (long long)quarantined);
}

/* ---- data keys ---- */

static void print_rotated(struct cli *c, const struct vault_rotated *r)
{
    struct str team = r->team_id.n ? r->team_id : STR("-");
    if (c->as_json) {
        print_json(c, &rec_vault_rotated, r);
        return;
    }
    if (!r->version) {
        printf("team " STR_FMT ": no secrets\n", STR_ARG(team));
        return;
    }
    printf("team " STR_FMT ": version %lld, %lld secrets %s%s", STR_ARG(team),
           (long long)r->version, (long long)r->resealed,
           r->is_dry ? "would be sealed anew" : "sealed anew", r->is_resumed ? " (continued)" : "");
    if (r->quarantined)
        printf(", %lld do not open", (long long)r->quarantined);
    if (!r->is_dry)
        printf(", %lld older versions retired, %lld kept", (long long)r->retired,
               (long long)r->kept);
    printf("\n");
}

static enum err_code rotate_one(struct cli *c, struct store *s, const struct vault_ask *ask,
                                struct tally *t)
{
    struct vault_rotated done;
    enum err_code e = vault_rotate(c->cx, s, ask, &done);
    if (e)
        return e;
    t->teams++;
    t->quarantined += done.quarantined;
    print_rotated(c, &done);
    return ERR_NONE;
}

static enum err_code rotate_all(struct cli *c, struct store *s, struct vault_ask *ask,
                                struct tally *t)
{
    struct list teams = { .n = 0 };
    ask->team_id = STR("");
    enum err_code e = rotate_one(c, s, ask, t);
    do {
        teams.n = 0;
        if (!e)
            e = vault_teams(c->cx, s, ask->team_id, &teams);
        const struct rec_text *v = teams.v;
        for (size_t i = 0; !e && i < teams.n; i++) {
            ask->team_id = v[i].s;
            e = rotate_one(c, s, ask, t);
        }
    } while (!e && teams.n);
    return e;
}

static enum err_code rotate_data(struct cli *c, struct store *s, struct vault_ask *ask)
{
    struct str team = cli_option(c, cli_command(c), "team");
    struct tally t = { 0 };
    enum err_code e = ERR_NONE;
    if (!team.p) {
        e = rotate_all(c, s, ask, &t);
    } else {
        if (str_eq(team, STR("-")))
            ask->team_id = STR("");
        else
            e = cli_team(c, s, &ask->team_id);
        if (!e)
            e = rotate_one(c, s, ask, &t);
    }
    return e ? e : must_open_all(c, t.quarantined);
}

/* ---- the master key ---- */

static enum err_code rotate_master(struct cli *c, struct store *s, const struct vault_ask *ask)
{
    struct vault_rewrapped r;
    enum err_code e = vault_rewrap(c->cx, s, ask, &r);
    if (e)
        return e;
    if (c->as_json)
        print_json(c, &rec_vault_rewrapped, &r);
    else
        printf("master key " STR_FMT ": %lld keys %s, %lld secrets from before the vault %s, "
               "%lld keys and %lld secrets do not open\n",
               STR_ARG(r.master_key_id), (long long)r.rewrapped,
               r.is_dry ? "would be wrapped anew" : "wrapped anew", (long long)r.resealed,
               r.is_dry ? "would be sealed anew" : "sealed anew", (long long)r.damaged,
               (long long)r.quarantined);
    return must_open_all(c, r.damaged + r.quarantined);
}

enum err_code cmd_vault_rotate(struct cli *c)
{
    struct vault_ask ask;
    struct store *s;
    enum err_code e = read_ask(c, &ask);
    if (!e)
        e = cli_store(c, &s);
    if (e)
        return e;
    if (cli_option(c, cli_command(c), "master").p)
        return rotate_master(c, s, &ask);
    return rotate_data(c, s, &ask);
}

/* ---- status ---- */

static enum err_code status_unit(struct ctx *cx, struct db *db, void *arg)
{
    return vault_status(cx, db, arg);
}

static void print_value(const char *name, const json_t *v)
{
    if (json_is_integer(v))
        printf("  %s=%lld", name, (long long)json_integer_value(v));
    else if (json_is_string(v))
        printf("  %s=%s", name, *json_string_value(v) ? json_string_value(v) : "-");
}

/* A line for each object of an array: what is not null, as name=value. */
static void print_list(struct cli *c, const char *title, struct str list)
{
    const json_t *all = json_read(c->cx, list);
    json_t *item, *v;
    const char *name;
    size_t i;
    printf("%s\n", title);
    if (!json_array_size(all))
        printf("  none\n");
    json_array_foreach(all, i, item) {
        json_object_foreach(item, name, v)
            print_value(name, v);
        printf("\n");
    }
}

static void print_status(struct cli *c, const struct vault_status *s)
{
    struct str none = STR("none: no secrets are stored");
    printf("master key " STR_FMT "\n", STR_ARG(s->master_key_id.p ? s->master_key_id : none));
    if (s->previous_key_id.p)
        printf("previous   " STR_FMT ", %lld keys under it\n", STR_ARG(s->previous_key_id),
               (long long)s->under_previous);
    printf("keys       %lld\n", (long long)s->keys_total);
    printf("quarantine %lld\n", (long long)s->quarantine_total);
    print_list(c, "columns", s->columns);
    print_list(c, "keys, newest first", s->keys);
    print_list(c, "rotations that have not ended", s->rotations);
    print_list(c, "secrets that do not open, newest first", s->quarantine);
}

enum err_code cmd_vault_status(struct cli *c)
{
    struct vault_status status;
    struct store *s;
    enum err_code e = cli_store(c, &s);
    if (!e)
        e = store_read(c->cx, s, status_unit, &status);
    if (e)
        return e;
    if (c->as_json)
        print_json(c, &rec_vault_status, &status);
    else
        print_status(c, &status);
    return ERR_NONE;
}
