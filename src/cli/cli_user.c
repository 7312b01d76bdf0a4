/* `tessera user create`: the password comes from --password-file or standard input, never from the
 * command line, where every user of the machine could read it. */
#include "cli.h"

#include <stdio.h>

#include "../base/crypt.h"
#include "../core/token.h"
#include "../core/user.h"

const struct option_row options_user_create[] = {
    { "email", false, "e-mail address" },
    { "name", false, "shown name" },
    { "role", false, "owner, admin, agent or viewer (default admin)" },
    { "password-file", false, "file with the password (- or absent: standard input)" },
    { "generate", true, "make a password and print it once" },
    { "json", true, "print JSON" },
    { 0 },
};

struct user_job {
    struct user_new in;
    struct user out;
};

static enum err_code user_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct user_job *j = arg;
    return user_create(cx, db, STR(TEAM_DEFAULT), &j->in, &j->out);
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
                                  .role = cli_option(c, cmd, "role") } };
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
        e = store_tx(c->cx, s, user_unit, &j);
    if (e)
        return e;
    struct buf b;
    buf_init(&b, &c->cx->arena, 65536);
    if (c->as_json) {
        rec_encode(&b, &rec_user, &j.out);
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
