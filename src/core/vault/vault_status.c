/* The state of the vault: see vault_admin.h. Keys themselves are never printed, only their ids. */
#include "vault_admin.h"

#include "vault_columns.h"
#include "vault_key.h"

#define LISTED_MAX 1000
#define TEXT_MAX ((size_t)2 << 20)

#define AT(member) offsetof(struct vault_status, member)
static const struct field status_fields[] = {
    { .name = "master_key_id", .type = F_STR, .offset = AT(master_key_id), .flags = F_NULLABLE },
    { .name = "previous_key_id",
      .type = F_STR,
      .offset = AT(previous_key_id),
      .flags = F_NULLABLE },
    { .name = "keys_total", .type = F_INT, .offset = AT(keys_total) },
    { .name = "keys_under_previous", .type = F_INT, .offset = AT(under_previous) },
    { .name = "quarantine_total", .type = F_INT, .offset = AT(quarantine_total) },
    { .name = "columns", .type = F_JSON, .offset = AT(columns) },
    { .name = "keys", .type = F_JSON, .offset = AT(keys) },
    { .name = "rotations", .type = F_JSON, .offset = AT(rotations) },
    { .name = "quarantine", .type = F_JSON, .offset = AT(quarantine) },
};
#undef AT
const struct rec rec_vault_status =
    REC("VaultStatus", struct vault_status, status_fields, "The state of the vault.");

struct column_state {
    struct rec_bits bits;
    struct str table_name, column_name;
    int64_t texts, active, old, retired, v1, unknown;
};
#define AT(member) offsetof(struct column_state, member)
static const struct field column_fields[] = {
    { .name = "table_name", .type = F_STR, .offset = AT(table_name) },
    { .name = "column_name", .type = F_STR, .offset = AT(column_name) },
    { .name = "texts", .type = F_INT, .offset = AT(texts) },
    { .name = "active", .type = F_INT, .offset = AT(active) },
    { .name = "old", .type = F_INT, .offset = AT(old) },
    { .name = "retired", .type = F_INT, .offset = AT(retired) },
    { .name = "v1", .type = F_INT, .offset = AT(v1) },
    { .name = "unknown", .type = F_INT, .offset = AT(unknown) },
};
#undef AT
static const struct rec rec_column = REC("VaultColumn", struct column_state, column_fields, NULL);

struct rotation {
    struct rec_bits bits;
    struct str team_id, key_id, at_table, at_column;
    int64_t resealed, quarantined, started_at, seen_at;
};
#define AT(member) offsetof(struct rotation, member)
static const struct field rotation_fields[] = {
    { .name = "team_id", .type = F_STR, .offset = AT(team_id) },
    { .name = "key_id", .type = F_STR, .offset = AT(key_id) },
    { .name = "at_table", .type = F_STR, .offset = AT(at_table) },
    { .name = "at_column", .type = F_STR, .offset = AT(at_column) },
    { .name = "resealed", .type = F_INT, .offset = AT(resealed) },
    { .name = "quarantined", .type = F_INT, .offset = AT(quarantined) },
    { .name = "started_at", .type = F_TIME, .offset = AT(started_at) },
    { .name = "seen_at", .type = F_TIME, .offset = AT(seen_at) },
};
#undef AT
static const struct rec rec_rotation = REC("VaultRotation", struct rotation, rotation_fields, NULL);

struct lost {
    struct rec_bits bits;
    struct str team_id, table_name, column_name, row_id, reason;
    int64_t at;
};
#define AT(member) offsetof(struct lost, member)
static const struct field lost_fields[] = {
    { .name = "team_id", .type = F_STR, .offset = AT(team_id) },
    { .name = "table_name", .type = F_STR, .offset = AT(table_name) },
    { .name = "column_name", .type = F_STR, .offset = AT(column_name) },
    { .name = "row_id", .type = F_STR, .offset = AT(row_id) },
    { .name = "reason", .type = F_STR, .offset = AT(reason) },
    { .name = "at", .type = F_TIME, .offset = AT(at) },
};
#undef AT
static const struct rec rec_lost = REC("VaultLost", struct lost, lost_fields, NULL);

struct key_state { /* a key without the key */
    struct rec_bits bits;
    struct str team_id, purpose, id, state, kek_id;
    int64_t version, uses, created_at, retired_at;
};
#define AT(member) offsetof(struct key_state, member)
static const struct field key_fields[] = {
    { .name = "team_id", .type = F_STR, .offset = AT(team_id) },
    { .name = "purpose", .type = F_STR, .offset = AT(purpose) },
    { .name = "version", .type = F_INT, .offset = AT(version) },
    { .name = "id", .type = F_STR, .offset = AT(id) },
    { .name = "state", .type = F_STR, .offset = AT(state) },
    { .name = "master_key_id", .type = F_STR, .offset = AT(kek_id) },
    { .name = "uses", .type = F_INT, .offset = AT(uses) },
    { .name = "created_at", .type = F_TIME, .offset = AT(created_at) },
    { .name = "retired_at", .type = F_TIME, .offset = AT(retired_at), .flags = F_NULLABLE },
};
#undef AT
static const struct rec rec_key_state = REC("VaultKeyState", struct key_state, key_fields, NULL);

/* ---- lists as JSON ---- */

struct items {
    struct buf *b;
    const struct rec *r;
};

static enum err_code put_item(struct ctx *cx, void *row, void *arg)
{
    struct items *items = arg;
    (void)cx;
    if (items->b->p[items->b->n - 1] != '[')
        buf_char(items->b, ',');
    rec_encode(items->b, items->r, row);
    return ERR_NONE;
}

static enum err_code list_text(struct ctx *cx, struct db *db, const struct rec *r, const char *sql,
                               struct str *out)
{
    struct buf b;
    struct items items = { &b, r };
    buf_init(&b, &cx->arena, TEXT_MAX);
    buf_char(&b, '[');
    enum err_code e = db_each(cx, db, r, sql, ARGS(VI(LISTED_MAX)), put_item, &items);
    buf_char(&b, ']');
    *out = buf_view(&b);
    return e;
}

/* ---- columns ---- */

static enum err_code column_state(struct ctx *cx, struct db *db, const struct vault_column *c,
                                  struct column_state *out)
{
    struct str team = c->team ? str_printf(&cx->arena, "t.%s", c->team) : STR("''");
    struct str sql = str_printf(
        &cx->arena,
        "SELECT COUNT(*) AS texts, COUNT(CASE WHEN k.state = 'active' THEN 1 END) AS active, "
        "COUNT(CASE WHEN k.state = 'old' THEN 1 END) AS old, "
        "COUNT(CASE WHEN k.state = 'retired' THEN 1 END) AS retired, "
        "COUNT(CASE WHEN t.%s LIKE 'v1.%%' THEN 1 END) AS v1, "
        "COUNT(CASE WHEN k.state IS NULL AND t.%s NOT LIKE 'v1.%%' THEN 1 END) AS unknown "
        "FROM %s t LEFT JOIN vault_key k ON k.team_id = " STR_FMT " AND "
        "k.id = substr(t.%s, 4, 16) AND k.purpose = 'data' WHERE t.%s IS NOT NULL",
        c->column, c->column, c->table, STR_ARG(team), c->column, c->column);
    enum err_code e = db_one(cx, db, &rec_column, sql.p, NO_ARGS, out);
    out->table_name = str_of(c->table);
    out->column_name = str_of(c->column);
    REC_SET(out, table_name);
    REC_SET(out, column_name);
    return e;
}

static enum err_code columns_text(struct ctx *cx, struct db *db, struct str *out)
{
    struct buf b;
    struct items items = { &b, &rec_column };
    struct column_state state;
    enum err_code e = ERR_NONE;
    buf_init(&b, &cx->arena, TEXT_MAX);
    buf_char(&b, '[');
    for (const struct vault_column *c = vault_columns(); c->table && !e; c++) {
        e = column_state(cx, db, c, &state);
        if (!e)
            e = put_item(cx, &state, &items);
    }
    buf_char(&b, ']');
    *out = buf_view(&b);
    return e;
}

/* ---- the whole ---- */

static const char SQL_KEYS[] =
    "SELECT team_id, purpose, version, id, state, kek_id AS master_key_id, uses, "
    "created_ms AS created_at, retired_ms AS retired_at FROM vault_key ORDER BY created_ms DESC, "
    "team_id, purpose, version DESC LIMIT $1";
static const char SQL_ROTATIONS[] =
    "SELECT team_id, key_id, at_table, at_column, resealed, quarantined, started_ms AS started_at, "
    "seen_ms AS seen_at FROM vault_rotation ORDER BY team_id LIMIT $1";
static const char SQL_LOST[] = "SELECT team_id, table_name, column_name, row_id, reason, "
                               "at_ms AS at FROM vault_quarantine ORDER BY at_ms DESC, team_id, "
                               "table_name, column_name, row_id LIMIT $1";

static enum err_code count(struct ctx *cx, struct db *db, const char *sql, int64_t *out)
{
    struct rec_num n;
    enum err_code e = db_one(cx, db, &rec_num, sql, NO_ARGS, &n);
    *out = n.n;
    return e;
}

static enum err_code count_under(struct ctx *cx, struct db *db, int64_t *out)
{
    struct rec_num n;
    enum err_code e =
        db_one(cx, db, &rec_num, "SELECT COUNT(*) AS n FROM vault_key WHERE kek_id <> $1",
               ARGS(VT(str_of(vault_masters.now.id))), &n);
    *out = vault_is_ready() ? n.n : 0;
    return e;
}

static enum err_code totals(struct ctx *cx, struct db *db, struct vault_status *s)
{
    enum err_code e = count(cx, db, "SELECT COUNT(*) AS n FROM vault_key", &s->keys_total);
    if (!e)
        e = count(cx, db, "SELECT COUNT(*) AS n FROM vault_quarantine", &s->quarantine_total);
    return e ? e : count_under(cx, db, &s->under_previous);
}

enum err_code vault_status(struct ctx *cx, struct db *db, struct vault_status *out)
{
    const struct vault_masters *m = &vault_masters;
    struct vault_status s = { .bits.has = UINT64_MAX };
    db_scope_system(db);
    enum err_code e = totals(cx, db, &s);
    if (!e)
        e = columns_text(cx, db, &s.columns);
    if (!e)
        e = list_text(cx, db, &rec_key_state, SQL_KEYS, &s.keys);
    if (!e)
        e = list_text(cx, db, &rec_rotation, SQL_ROTATIONS, &s.rotations);
    if (!e)
        e = list_text(cx, db, &rec_lost, SQL_LOST, &s.quarantine);
    if (e)
        return e;
    s.master_key_id = m->now.is_set ? str_of(m->now.id) : STR_NONE;
    s.previous_key_id = m->before.is_set ? str_of(m->before.id) : STR_NONE;
    if (!m->now.is_set)
        s.bits.has &= ~(UINT64_C(1) << (offsetof(struct vault_status, master_key_id) / 8));
    if (!m->before.is_set)
        s.bits.has &= ~(UINT64_C(1) << (offsetof(struct vault_status, previous_key_id) / 8));
    *out = s;
    return ERR_NONE;
}
