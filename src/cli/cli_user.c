/* `tessera user …`: make, list, promote, disable users, print reset links; directly on the database,
 * beside a running server.
 *
 * The password comes from --password-file or standard input, never from the command line, where
 * every user of the machine could read it. */
#include "cli.h"

#include <stdio.h>

#include "../base/crypt.h"
#include "../core/people/member.h"
#include "../core/people/reset.h"
#include "../core/people/user.h"
#include "../core/token.h"

#define LIST_MAX ((size_t)64 << 20)

static const char doc_team[] = "slug or id of the team (default: the default team)";

const struct option_row options_user_create[] = {
    { "email", false, "e-mail address" },
    { "name", false, "shown name" },
    { "role", false, "owner, admin, agent or viewer (default admin)" },
    { "team", false, doc_team },
    { "password-file", false, "file with the password (- or absent: standard input)" },
    { "generate", true, "make a password and print it once" },
    { "json", true, "print JSON" },
    { 0 },
};
const struct option_row options_user_list[] = {
    { "team", false, "only this team (slug or id), with the roles" },
    { "json", true, "print JSON" },
    { 0 },
};
const struct option_row options_user_role[] = {
    { "team", false, doc_team },
    { "json", true, "print JSON" },
    { 0 },
};

struct user_job {
    struct user_new in;
    struct str team; /* slug or id, or STR_NONE */
    bool is_enabled;
    struct user out;
    struct str token;
    struct list list;
};

/* The command line acts in the team that --team names. */
static enum err_code act_in(struct ctx *cx, struct db *db, struct str team, struct caller *who)
{
    *who = (struct caller){ .team_id = STR(TEAM_DEFAULT) };
    enum err_code e = team.p ? member_team(cx, db, team, &who->team_id) : ERR_NONE;
    caller_scope(db, who);
    return e;
}

static enum err_code create_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct user_job *j = arg;
    struct caller who;
    enum err_code e = act_in(cx, db, j->team, &who);
    return e ? e : user_create(cx, db, &who, &j->in, &j->out);
}

static enum err_code read_password(struct cli *c, struct str path, struct str *out)
{
    char line[1024];
    bool is_stdin = !path.n || str_eq(path, STR("-"));
    FILE *f = is_stdin ? stdin : fopen(str_cstr(&c->cx->arena, path), "re");
    if (!f)
        return fail(c->cx, USAGE, "--password-file: cannot open " STR_FMT, STR_ARG(path));
    char *got = fgets(line, sizeof line, f);
    if (!is_stdin)
        fclose(f);
    if (!got)
        return fail(c->cx, USAGE, "no password was given on the first line");
    struct str s = str_of(line);
    if (s.n && s.p[s.n - 1] == '\n')
        s.n--;
    *out = str_dup(&c->cx->arena, s);
    return ERR_NONE;
}

enum err_code cmd_user_create(struct cli *c)
{
    const struct command *cmd = cli_command(c);
    struct store *s;
    struct user_job j = { .in = { .email = cli_option(c, cmd, "email"),
                                  .name = cli_option(c, cmd, "name"),
                                  .role = cli_option(c, cmd, "role") },
                          .team = cli_option(c, cmd, "team") };
    bool is_made = cli_option(c, cmd, "generate").p;
    enum err_code e = ERR_NONE;
    if (!j.in.email.p)
        return fail(c->cx, USAGE, "--email is needed");
    if (!j.in.role.p)
        j.in.role = STR("admin");
    if (is_made) {
        unsigned char raw[15];
        crypt_random(raw, sizeof raw);
        j.in.password = base64url_of(&c->cx->arena, raw, sizeof raw);
    } else {
        e = read_password(c, cli_option(c, cmd, "password-file"), &j.in.password);
    }
    if (!e)
        e = cli_store(c, &s);
    if (!e)
        e = store_tx(c->cx, s, create_unit, &j);
    if (e)
        return e;
    struct buf b;
    buf_init(&b, &c->cx->arena, 65536);
    if (c->as_json) {
        rec_encode(&b, &rec_member, &j.out);
        if (is_made) {
            b.n--; /* the closing brace */
            buf_printf(&b, ",\"password\":\"" STR_FMT "\"}", STR_ARG(j.in.password));
        }
        buf_char(&b, '\n');
    } else {
        buf_printf(&b, "user " STR_FMT " (" STR_FMT ") created\n", STR_ARG(j.out.email),
                   STR_ARG(j.out.role));
        if (is_made)
            buf_printf(&b, "password (shown once): " STR_FMT "\n", STR_ARG(j.in.password));
    }
    cli_print(&b);
    return ERR_NONE;
}

static enum err_code run_unit(struct cli *c,
                              enum err_code (*unit)(struct ctx *cx, struct db *db, void *arg),
                              struct user_job *j)
{
    struct store *s;
    enum err_code e = cli_store(c, &s);
    return e ? e : store_tx(c->cx, s, unit, j);
}

/* ---- list ---- */

static enum err_code list_team(struct ctx *cx, struct db *db, const struct caller *who,
                               struct list *out)
{
    struct member_query all = { .limit = LISTING_LIMIT_MAX };
    const struct cursor_key key = { .b = { 0 } };
    struct page page;
    struct user *v = NULL;
    size_t n = 0;
    do {
        enum err_code e = member_list(cx, db, who, &all, key, &page);
        if (e)
            return e;
        struct user *more = ARENA_ARRAY(&cx->arena, struct user, n + page.rows.n + 1);
        for (size_t i = 0; i < n + page.rows.n; i++)
            more[i] = i < n ? v[i] : ((const struct user *)page.rows.v)[i - n];
        v = more;
        n += page.rows.n;
        all.cursor = page.next_cursor;
    } while (page.next_cursor.p && ctx_ok(cx));
    *out = (struct list){ v, n };
    return cx->err;
}

static enum err_code list_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct user_job *j = arg;
    struct caller who;
    enum err_code e = act_in(cx, db, j->team, &who);
    if (e)
        return e;
    return j->team.p ? list_team(cx, db, &who, &j->list) : member_list_all(cx, db, &j->list);
}

enum err_code cmd_user_list(struct cli *c)
{
    struct user_job j = { .team = cli_option(c, cli_command(c), "team") };
    const struct rec *r = j.team.p ? &rec_member : &rec_user;
    struct buf b;
    enum err_code e = run_unit(c, list_unit, &j);
    if (e)
        return e;
    const struct user *u = j.list.v;
    buf_init(&b, &c->cx->arena, LIST_MAX);
    buf_lit(&b, c->as_json ? "[" : "");
    for (size_t i = 0; i < j.list.n; i++) {
        if (c->as_json) {
            buf_lit(&b, i ? ",\n" : "");
            rec_encode(&b, r, &u[i]);
        } else {
            buf_printf(&b, STR_FMT "  %-8.*s  %-32.*s  " STR_FMT "\n", STR_ARG(u[i].id),
                       STR_ARG(j.team.p ? u[i].role : u[i].status), STR_ARG(u[i].email),
                       STR_ARG(u[i].name));
        }
    }
    buf_lit(&b, c->as_json ? "]\n" : "");
    cli_print(&b);
    return ERR_NONE;
}

/* ---- reset link ---- */

static enum err_code no_user(struct ctx *cx, struct str email)
{
    return fail(cx, NOT_FOUND, "there is no user " STR_FMT, STR_ARG(email));
}

static enum err_code link_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct user_job *j = arg;
    struct caller who = { .ip = STR("") };
    enum err_code e = user_by_email(cx, db, j->in.email, &j->out);
    if (e == ERR_NOT_FOUND)
        return no_user(cx, j->in.email);
    if (!e && !str_eq(j->out.status, STR("active")))
        return fail(cx, CONFLICT, "the user is disabled");
    if (!e)
        e = reset_issue(cx, db, j->out.id, RESET_PASSWORD, &j->token);
    return e ? e
             : user_audit(cx, db, &who,
                          &(struct user_event){ "user.reset_link", j->out.id, NULL, NULL });
}

enum err_code cmd_user_reset_link(struct cli *c)
{
    struct user_job j = { .in.email = c->words[0] };
    enum err_code e = run_unit(c, link_unit, &j);
    if (e)
        return e;
    struct str url = reset_url(&c->cx->arena, c->conf.public_url, j.token);
    printf("reset link (works once, for one hour): " STR_FMT "\n", STR_ARG(url));
    return ERR_NONE;
}

/* ---- role, disable, enable ---- */

static enum err_code role_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct user_job *j = arg;
    struct caller who;
    struct user found;
    struct member_new in = { .email = j->in.email, .role = j->in.role };
    if (role_of(j->in.role) == ROLE_NONE)
        return fail(cx, USAGE, "ROLE must be one of owner, admin, agent, viewer");
    enum err_code e = user_by_email(cx, db, j->in.email, &found);
    if (e == ERR_NOT_FOUND)
        return no_user(cx, j->in.email);
    if (!e)
        e = act_in(cx, db, j->team, &who);
    if (e)
        return e;
    e = member_set_role(cx, db, &who, found.id, j->in.role, &j->out);
    if (e != ERR_NOT_FOUND)
        return e;
    ctx_clear(cx); /* not in the team yet */
    return member_add(cx, db, &who, &in, &j->out, &j->token);
}

static enum err_code print_user(struct cli *c, const struct rec *r, const struct user *u,
                                const char *what)
{
    struct buf b;
    buf_init(&b, &c->cx->arena, 65536);
    if (c->as_json)
        rec_encode(&b, r, u);
    else
        buf_printf(&b, "user " STR_FMT " %s", STR_ARG(u->email), what);
    buf_char(&b, '\n');
    cli_print(&b);
    return ERR_NONE;
}

enum err_code cmd_user_role(struct cli *c)
{
    struct user_job j = { .in = { .email = c->words[0], .role = c->words[1] },
                          .team = cli_option(c, cli_command(c), "team") };
    enum err_code e = run_unit(c, role_unit, &j);
    if (e)
        return e;
    struct str what = str_printf(&c->cx->arena, "is " STR_FMT " now", STR_ARG(j.out.role));
    return print_user(c, &rec_member, &j.out, str_cstr(&c->cx->arena, what));
}

static enum err_code enable_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct user_job *j = arg;
    struct caller who = { .ip = STR("") };
    return user_set_enabled(cx, db, &who, j->in.email, j->is_enabled, &j->out);
}

enum err_code cmd_user_disable(struct cli *c)
{
    struct user_job j = { .in.email = c->words[0] };
    enum err_code e = run_unit(c, enable_unit, &j);
    return e ? e : print_user(c, &rec_user, &j.out, "disabled");
}

enum err_code cmd_user_enable(struct cli *c)
{
    struct user_job j = { .in.email = c->words[0], .is_enabled = true };
    enum err_code e = run_unit(c, enable_unit, &j);
    return e ? e : print_user(c, &rec_user, &j.out, "enabled");
}
