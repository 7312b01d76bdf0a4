/* The command line: a table of commands, their options, exit codes (0 done, 1 refused, 2 usage).
 *
 * Settings flags (--database …) are taken out before a command sees its words, so every command
 * understands them. */
#ifndef TESSERA_CLI_CLI_H
#define TESSERA_CLI_CLI_H

#include "../api/settings.h"
#include "../store/store.h"

#define CLI_OPTIONS_MAX 16
#define CLI_GIVEN_MAX 128 /* options on one command line */
#define CLI_TEAM_DOC "slug or id of the team (default: the default team)"

#define CLI_LIST_MAX ((size_t)8 << 20) /* bytes of a printed list */

struct option_row {   /* of a command */
    const char *name; /* "rate-limit" */
    bool is_flag;     /* takes no value */
    const char *doc;
};
#define CLI_TEAM_ROW                                                                               \
    {                                                                                              \
        "team", false, CLI_TEAM_DOC                                                                \
    }
#define CLI_JSON_ROW                                                                               \
    {                                                                                              \
        "json", true, "print JSON"                                                                 \
    }
struct cli_given { /* an option as it was given */
    int row;       /* of the command's options */
    struct str value;
};
struct cli {
    struct ctx *cx;
    struct conf conf;
    enum conf_source *sources;
    int n_words; /* positional words behind the command's name */
    struct str words[4];
    struct str values[CLI_OPTIONS_MAX];    /* by option row; the last one given; NULL when absent */
    struct cli_given given[CLI_GIVEN_MAX]; /* all of them, in order */
    int n_given;
    bool as_json; /* --json */
};
struct command {
    const char *name;  /* "token create" */
    const char *words; /* "ID" for the usage text */
    int min_words, max_words;
    const struct option_row *options; /* name NULL ends it */
    enum err_code (*run)(struct cli *c);
    const char *doc;
    bool may_create; /* the database when there is none */
};

/* The value of an option, STR_NONE when absent (flags: "" when given). */
struct str cli_option(const struct cli *c, const struct command *cmd, const char *name);
/* The values of an option that may be given several times: start with *at = 0, false at the end. */
bool cli_option_next(const struct cli *c, const struct command *cmd, const char *name, int *at,
                     struct str *value);
/* Open the database of the settings for a command (no threads), bring it to this program's schema,
 * open the vault. The store is closed at exit of the command. */
enum err_code cli_store(struct cli *c, struct store **out);
/* Opens the vault with the master keys of the settings and keys the audit log. Part of cli_store. */
enum err_code cli_vault(struct cli *c, struct store *s);
/* The id of the team that the option --team (slug or id) names; the default team without it.
 * NOT_FOUND. Lives in c->cx. */
enum err_code cli_team(struct cli *c, struct store *s, struct str *team_id);
void cli_print(struct buf *b); /* stdout */
/* The command's options as the query of a list: `options` names them, NULL ends it; the parameter
 * of "event-type" is event_type. As rec_decode_query. */
enum err_code cli_query(struct cli *c, const struct rec *r, const char *const *options, void *out);
/* Print rows of r's struct: a JSON array, or what `put` makes of each. */
void cli_rows(struct cli *c, const struct rec *r, const struct list *rows,
              void (*put)(struct buf *b, const void *row));

/* The settings as they are now in file, environment and flags (SIGHUP). Their texts live in cx. */
enum err_code cli_conf_again(struct ctx *cx, struct conf *out);

extern const struct command commands[]; /* name NULL ends it; main.c */
const struct command *cli_command(const struct cli *c);

enum err_code cmd_serve(struct cli *c);
enum err_code cmd_migrate(struct cli *c);
enum err_code cmd_backup(struct cli *c);
enum err_code cmd_openapi(struct cli *c);
enum err_code cmd_errors(struct cli *c);
enum err_code cmd_config(struct cli *c);
enum err_code cmd_roles(struct cli *c);
enum err_code cmd_jobs_list(struct cli *c);
enum err_code cmd_jobs_show(struct cli *c);
enum err_code cmd_jobs_retry(struct cli *c);
enum err_code cmd_jobs_cancel(struct cli *c);
enum err_code cmd_jobs_pause(struct cli *c);
enum err_code cmd_jobs_resume(struct cli *c);
enum err_code cmd_integrations_list(struct cli *c);
enum err_code cmd_integrations_show(struct cli *c);
enum err_code cmd_integrations_log(struct cli *c);
enum err_code cmd_integrations_enable(struct cli *c);
enum err_code cmd_integrations_disable(struct cli *c);
enum err_code cmd_integrations_replay(struct cli *c);
enum err_code cmd_webhooks_list(struct cli *c);
enum err_code cmd_webhooks_show(struct cli *c);
enum err_code cmd_webhooks_test(struct cli *c);
enum err_code cmd_webhooks_replay(struct cli *c);
enum err_code cmd_webhooks_recover(struct cli *c);
enum err_code cmd_webhooks_enable(struct cli *c);
enum err_code cmd_webhooks_disable(struct cli *c);
enum err_code cmd_audit_verify(struct cli *c);
enum err_code cmd_audit_export(struct cli *c);
enum err_code cmd_hook_verify(struct cli *c);
enum err_code cmd_version(struct cli *c);
enum err_code cmd_vault_rotate(struct cli *c);
enum err_code cmd_vault_status(struct cli *c);
enum err_code cmd_stats(struct cli *c);
enum err_code cmd_user_create(struct cli *c);
enum err_code cmd_user_list(struct cli *c);
enum err_code cmd_user_reset_link(struct cli *c);
enum err_code cmd_user_role(struct cli *c);
enum err_code cmd_user_disable(struct cli *c);
enum err_code cmd_user_enable(struct cli *c);
enum err_code cmd_user_totp_off(struct cli *c);
enum err_code cmd_team_create(struct cli *c);
enum err_code cmd_team_list(struct cli *c);
enum err_code cmd_token_create(struct cli *c);
enum err_code cmd_token_list(struct cli *c);
enum err_code cmd_token_show(struct cli *c);
enum err_code cmd_token_enable(struct cli *c);
enum err_code cmd_token_disable(struct cli *c);
enum err_code cmd_token_regenerate(struct cli *c);
enum err_code cmd_token_delete(struct cli *c);

/* The API description packed with gzip: a megabyte that is asked for now and then. Lives in cx. */
enum err_code openapi_packed(struct ctx *cx, struct str *out);

extern const struct option_row options_jobs[], options_jobs_list[], options_jobs_kinds[];
extern const struct option_row options_integrations[], options_integrations_list[],
    options_integrations_log[], options_integrations_replay[];
extern const struct option_row options_webhooks[], options_webhooks_list[], options_webhooks_test[],
    options_webhooks_replay[], options_webhooks_recover[];
extern const struct option_row options_user_list[], options_user_role[];
extern const struct option_row options_vault_rotate[];
extern const struct option_row options_audit_verify[], options_audit_export[], options_roles[];
extern const struct option_row options_hook_verify[];
extern const struct option_row options_token_create[], options_token_regenerate[],
    options_token_delete[], options_token[], options_json[], options_user_create[],
    options_config[], options_errors[], options_stats[], options_none[], options_team_create[];

#endif
