/* tessera: the subcommand table. To add a command: a row here, its function in cli/. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypt.h"
#include "base/fault.h"
#include "cli/cli.h"

extern char **environ;

const struct command commands[] = {
    { "serve", "", 0, 0, options_none, cmd_serve, "Run the server" },
    { "migrate", "", 0, 0, options_none, cmd_migrate,
      "Bring the database to this program's schema" },
    { "token create", "", 0, 0, options_token_create, cmd_token_create,
      "Make a token and show it once", true },
    { "token list", "", 0, 0, options_token, cmd_token_list, "List the tokens" },
    { "token show", "ID", 1, 1, options_token, cmd_token_show, "Show a token (never its secret)" },
    { "token enable", "ID", 1, 1, options_token, cmd_token_enable,
      "Let a disabled token work again" },
    { "token disable", "ID", 1, 1, options_token, cmd_token_disable, "Stop a token, reversibly" },
    { "token regenerate", "ID", 1, 1, options_token_regenerate, cmd_token_regenerate,
      "Give a token a new secret" },
    { "token delete", "ID", 1, 1, options_token_delete, cmd_token_delete,
      "Revoke a token for ever" },
    { "team create", "NAME", 1, 1, options_team_create, cmd_team_create, "Make a team", true },
    { "team list", "", 0, 0, options_json, cmd_team_list, "List the teams" },
    { "user create", "", 0, 0, options_user_create, cmd_user_create, "Make a user", true },
    { "user list", "", 0, 0, options_user_list, cmd_user_list, "List the users" },
    { "user reset-link", "EMAIL", 1, 1, options_none, cmd_user_reset_link,
      "Print a link that sets a new password" },
    { "user role", "EMAIL ROLE", 2, 2, options_user_role, cmd_user_role,
      "Give a user a role in a team, adding them when they are not in it" },
    { "user disable", "EMAIL", 1, 1, options_json, cmd_user_disable,
      "Sign a user out everywhere and keep them out" },
    { "user enable", "EMAIL", 1, 1, options_json, cmd_user_enable,
      "Let a disabled user sign in again" },
    { "user totp-off", "EMAIL", 1, 1, options_none, cmd_user_totp_off,
      "Switch a user's second factor off" },
    { "stats", "", 0, 0, options_stats, cmd_stats, "Dashboard figures of the team or one token" },
    { "jobs list", "", 0, 0, options_jobs_list, cmd_jobs_list, "List jobs, newest first" },
    { "jobs show", "ID", 1, 1, options_jobs, cmd_jobs_show, "Show a job" },
    { "jobs retry", "ID", 1, 1, options_jobs, cmd_jobs_retry, "Try a dead or cancelled job again" },
    { "jobs cancel", "ID", 1, 1, options_jobs, cmd_jobs_cancel,
      "Cancel a job, or ask one that runs to stop" },
    { "jobs pause", "KIND", 1, 1, options_jobs_kinds, cmd_jobs_pause,
      "Let jobs of a kind wait, for all teams or one" },
    { "jobs resume", "KIND", 1, 1, options_jobs_kinds, cmd_jobs_resume, "End a pause" },
    { "integrations list", "", 0, 0, options_integrations_list, cmd_integrations_list,
      "List integrations" },
    { "integrations show", "ID", 1, 1, options_integrations, cmd_integrations_show,
      "Show an integration" },
    { "integrations log", "ID", 1, 1, options_integrations_log, cmd_integrations_log,
      "List the webhooks that came in, newest first" },
    { "integrations enable", "ID", 1, 1, options_integrations, cmd_integrations_enable,
      "Take webhooks again" },
    { "integrations disable", "ID", 1, 1, options_integrations, cmd_integrations_disable,
      "Take no webhooks" },
    { "integrations replay", "ID", 1, 1, options_integrations_replay, cmd_integrations_replay,
      "Let webhooks be processed again" },
    { "webhooks list", "", 0, 0, options_webhooks_list, cmd_webhooks_list,
      "List webhooks, newest first" },
    { "webhooks show", "ID", 1, 1, options_webhooks, cmd_webhooks_show, "Show a webhook" },
    { "webhooks test", "ID", 1, 1, options_webhooks_test, cmd_webhooks_test,
      "Send an example of an event to a webhook" },
    { "webhooks replay", "ID", 1, 1, options_webhooks_replay, cmd_webhooks_replay,
      "Send the events of a range of time again, or that of one delivery" },
    { "webhooks recover", "ID", 1, 1, options_webhooks_recover, cmd_webhooks_recover,
      "Send what has not arrived in a range of time" },
    { "webhooks enable", "ID", 1, 1, options_webhooks, cmd_webhooks_enable,
      "Let a disabled webhook be sent to again" },
    { "webhooks disable", "ID", 1, 1, options_webhooks, cmd_webhooks_disable,
      "Send nothing to a webhook" },
    { "backup", "PATH", 1, 1, options_none, cmd_backup,
      "Copy the database consistently while it runs" },
    { "audit verify", "", 0, 0, options_audit_verify, cmd_audit_verify,
      "Check that no row of the audit log was changed or removed" },
    { "audit export", "", 0, 0, options_audit_export, cmd_audit_export,
      "Print the audit log of a team" },
    { "hook verify", "KIND", 1, 1, options_hook_verify, cmd_hook_verify,
      "Check the signature of a webhook, and say why when it does not hold" },
    { "vault rotate", "", 0, 0, options_vault_rotate, cmd_vault_rotate,
      "Give secrets new data keys, or with --master a new master key" },
    { "vault status", "", 0, 0, options_json, cmd_vault_status,
      "Show the keys of stored secrets and what is sealed under them" },
    { "openapi", "", 0, 0, options_none, cmd_openapi, "Print the OpenAPI description" },
    { "errors", "", 0, 0, options_errors, cmd_errors, "Print the table of errors" },
    { "roles", "", 0, 0, options_roles, cmd_roles, "Print the table of roles and scopes" },
    { "config", "", 0, 0, options_config, cmd_config,
      "Show the settings, their values and where they come from" },
    { "version", "", 0, 0, options_none, cmd_version, "Print the version" },
    { 0 },
};

static void usage_of(FILE *to, const struct command *c)
{
    fprintf(to, "  %s%s%-*s %s\n", c->name, *c->words ? " " : "", (int)(24 - strlen(c->name)),
            c->words, c->doc);
    for (const struct option_row *o = c->options; o->name; o++)
        fprintf(to, "      --%s%-*s %s\n", o->name, (int)(20 - strlen(o->name)),
                o->is_flag ? "" : " VALUE", o->doc);
}

/* Of the commands whose first word is `group`; STR_NONE or no such word: of all. */
static void usage(FILE *to, struct str group)
{
    bool has_group = false;
    fputs("usage: tessera COMMAND [--setting VALUE …] [options]\n\n", to);
    for (int pass = 0; pass < 2 && !has_group; pass++)
        for (const struct command *c = commands; c->name; c++) {
            struct str name = str_of(c->name);
            if (pass || str_eq(str_cut(&name, ' '), group)) {
                usage_of(to, c);
                has_group = true;
            }
        }
    fputs("\nSettings come from --config FILE, TESSERA_* and flags; see `tessera config "
          "--explain`.\n",
          to);
}

/* The longest command whose words begin argv[1…]; *used counts them. */
static const struct command *find_command(int argc, char **argv, int *used)
{
    const struct command *best = NULL;
    *used = 0;
    for (const struct command *c = commands; c->name; c++) {
        struct str rest = str_of(c->name);
        int n = 0;
        bool is_match = true;
        while (rest.p && is_match) {
            struct str word = str_cut(&rest, ' ');
            n++;
            is_match = n < argc && str_eq(word, str_of(argv[n]));
        }
        if (is_match && n > *used) {
            best = c;
            *used = n;
        }
    }
    return best;
}

static int option_index(const struct command *cmd, struct str name)
{
    for (int i = 0; cmd->options[i].name; i++)
        if (str_eq(str_of(cmd->options[i].name), name))
            return i;
    return -1;
}

static enum err_code parse_option(struct cli *c, const struct command *cmd, int argc, char **argv,
                                  int *i)
{
    struct str value = str_of(argv[*i] + 2);
    struct str name = str_cut(&value, '=');
    int k = option_index(cmd, name);
    if (k < 0)
        return fail(c->cx, USAGE, "unknown option --" STR_FMT, STR_ARG(name));
    if (c->n_given == CLI_GIVEN_MAX)
        return fail(c->cx, USAGE, "more than %d options", CLI_GIVEN_MAX);
    if (cmd->options[k].is_flag) {
        c->values[k] = STR("");
        c->as_json |= str_eq(name, STR("json"));
        return ERR_NONE;
    }
    if (!value.p && *i + 1 < argc)
        value = str_of(argv[++*i]);
    if (!value.p)
        return fail(c->cx, USAGE, "--" STR_FMT " needs a value", STR_ARG(name));
    if (!str_is_utf8(value))
        return fail(c->cx, USAGE, "--" STR_FMT " is not UTF-8", STR_ARG(name));
    c->values[k] = value;
    c->given[c->n_given++] = (struct cli_given){ k, value };
    return ERR_NONE;
}

static enum err_code parse_words(struct cli *c, const struct command *cmd, int argc, char **argv,
                                 int from)
{
    for (int i = from; i < argc; i++) {
        if (!strncmp(argv[i], "--", 2)) {
            enum err_code e = parse_option(c, cmd, argc, argv, &i);
            if (e)
                return e;
        } else if (c->n_words == cmd->max_words) {
            return fail(c->cx, USAGE, "unexpected word \"%s\"", argv[i]);
        } else {
            c->words[c->n_words++] = str_of(argv[i]);
        }
    }
    if (c->n_words < cmd->min_words)
        return fail(c->cx, USAGE, "usage: tessera %s %s", cmd->name, cmd->words);
    return ERR_NONE;
}

static const struct command *running;
static char **arguments; /* as the process got them; conf_load edits its copy */
static int n_arguments;

static char **arguments_copy(struct ctx *cx)
{
    char **copy = ARENA_ARRAY(&cx->arena, char *, (size_t)n_arguments + 1);
    memcpy(copy, arguments, sizeof *copy * (size_t)n_arguments);
    return copy;
}

enum err_code cli_conf_again(struct ctx *cx, struct conf *out)
{
    int argc = n_arguments;
    return conf_load(cx, &conf_table, &argc, arguments_copy(cx), environ, out, NULL);
}

const struct command *cli_command(const struct cli *c)
{
    (void)c;
    return running;
}

static int run(struct cli *c)
{
    int used = 0, argc = n_arguments;
    char **argv = arguments_copy(c->cx);
    enum err_code e = conf_load(c->cx, &conf_table, &argc, argv, environ, &c->conf, c->sources);
    if (!e) {
        running = find_command(argc, argv, &used);
        if (!running) {
            usage(stderr, argc > 1 ? str_of(argv[1]) : STR_NONE);
            return 2;
        }
        e = parse_words(c, running, argc, argv, used + 1);
    }
    if (!e)
        e = running->run(c);
    if (e)
        fprintf(stderr, "tessera: " STR_FMT "\n",
                STR_ARG(c->cx->err_text.p ? c->cx->err_text : str_of(err_info(e)->text)));
    for (size_t i = 1; e && i < c->cx->n_fields; i++)
        fprintf(stderr, "tessera: " STR_FMT "\n", STR_ARG(c->cx->fields[i].text));
    return e == ERR_NONE ? 0 : e == ERR_USAGE ? 2 : 1;
}

static bool asks_help(int argc, char **argv)
{
    bool found = argc > 1 && !strcmp(argv[1], "help");
    for (int i = 1; i < argc; i++)
        found |= !strcmp(argv[i], "--help") || !strcmp(argv[i], "-h");
    return found;
}

int main(int argc, char **argv)
{
    struct ctx cx;
    enum conf_source sources[128];
    struct cli c = { .cx = &cx, .sources = sources };
    if (asks_help(argc, argv)) {
        usage(stdout, str_of(argv[!strcmp(argv[1], "help") && argc > 2 ? 2 : 1]));
        return 0;
    }
    ctx_init(&cx, CTX_CAP_DEFAULT);
    crypt_init();
    fault_setup(getenv("TESSERA_FAULT"));
    arguments = argv;
    n_arguments = argc;
    int rc = run(&c);
    ctx_done(&cx);
    return fflush(stdout) ? 1 : rc;
}
