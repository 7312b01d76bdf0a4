/* `tessera user totp-off`: the way back for who lost both the authenticator app and the recovery
 * codes. Needs no master key, so it also helps when that was lost. */
#include "cli.h"

#include <stdio.h>

#include "../core/people/team.h"
#include "../core/people/totp.h"

static enum err_code off_unit(struct ctx *cx, struct db *db, void *arg)
{
    const struct str *email = arg;
    struct caller who = { .ip = STR("") };
    struct str id;
    enum err_code e = team_user_by_email(cx, db, *email, &id);
    return e ? e : totp_disable(cx, db, &who, id);
}

enum err_code cmd_user_totp_off(struct cli *c)
{
    struct store *s;
    enum err_code e = cli_store(c, &s);
    if (!e)
        e = store_tx(c->cx, s, off_unit, &c->words[0]);
    if (!e)
        printf("the second factor of " STR_FMT " is off\n", STR_ARG(c->words[0]));
    return e;
}
