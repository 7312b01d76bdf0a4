/* The table of sealed columns: see vault_columns.h. */
#include "vault_columns.h"

static const struct vault_column rows[] = {
    { "app_user", "totp_secret", "id", NULL },
    { "totp_pending", "secret", "user_id", NULL },
    { "webhook", "headers", "id", "team_id" },
    { "webhook_secret", "secret", "id", "team_id" },
    { "integration_secret", "secret", "id", "team_id" },
    { 0 },
};
static const struct vault_column *source = rows; /* written before threads */

const struct vault_column *vault_columns(void)
{
    return source;
}

const struct vault_column *vault_column_find(struct str table, struct str column)
{
    for (const struct vault_column *c = source; c->table; c++)
        if (str_eq(str_of(c->table), table) && str_eq(str_of(c->column), column))
            return c;
    return NULL;
}

void vault_columns_source(const struct vault_column *other)
{
    source = other ? other : rows;
}
