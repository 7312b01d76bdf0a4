/* Rotation of a team's data key: see vault_admin.h.
 *
 * Begin: the old version stops sealing, a new one starts, a row of vault_rotation says so; one
 * transaction, which waits for those who still seal under the old version. Then batches: each takes
 * the rotation's row (so two processes take turns), seals the next rows anew and moves the cursor,
 * in one transaction. End: versions under which nothing is left are retired, the row goes.
 *
 * A retired key stays in the table, wrapped: a reader that has just fetched an old text, or a row
 * that somebody puts back from a backup, still opens. */
#include "vault_admin.h"

#include "../../base/clock.h"
#include "../../base/log.h"
#include "../audit.h"
#include "../token.h"
#include "vault_key.h"
#include "vault_walk.h"

#define TEAMS_A_PAGE 100
#define BATCHES_MAX ((int64_t)100000000) /* far above any table; ends a loop that gets nowhere */

#define AT(member) offsetof(struct vault_rotated, member)
static const struct field rotated_fields[] = {
    { .name = "team_id", .type = F_STR, .offset = AT(team_id) },
    { .name = "version", .type = F_INT, .offset = AT(version) },
    { .name = "resealed", .type = F_INT, .offset = AT(resealed) },
    { .name = "quarantined", .type = F_INT, .offset = AT(quarantined) },
    { .name = "retired_versions", .type = F_INT, .offset = AT(retired) },
    { .name = "kept_versions", .type = F_INT, .offset = AT(kept) },
    { .name = "resumed", .type = F_BOOL, .offset = AT(is_resumed) },
    { .name = "dry_run", .type = F_BOOL, .offset = AT(is_dry) },
};
const struct rec rec_vault_rotated =
    REC("VaultRotated", struct vault_rotated, rotated_fields, "A rotation of a data key.");
#undef AT

struct turn { /* a row of vault_rotation */
    struct rec_bits bits;
    struct str key_id, at_table, at_column, last_row;
    int64_t resealed, quarantined;
};
#define AT(member) offsetof(struct turn, member)
static const struct field turn_fields[] = {
    { .name = "key_id", .type = F_STR, .offset = AT(key_id) },
    { .name = "at_table", .type = F_STR, .offset = AT(at_table) },
    { .name = "at_column", .type = F_STR, .offset = AT(at_column) },
    { .name = "last_row", .type = F_STR, .offset = AT(last_row) },
    { .name = "resealed", .type = F_INT, .offset = AT(resealed) },
    { .name = "quarantined", .type = F_INT, .offset = AT(quarantined) },
};
#undef AT
static const struct rec rec_turn = REC("VaultTurn", struct turn, turn_fields, NULL);
#define TURN_COLUMNS "key_id, at_table, at_column, last_row, resealed, quarantined"

struct job { /* what the units of one rotation share; each depends on `ask` and the database only */
    const struct vault_ask *ask;
    int64_t version;
    bool is_resumed, has_none, is_walked;
    int64_t retired, kept, resealed, quarantined;
};

/* ---- columns in order ---- */

/* The next column of the team's from c on; NULL at the end. */
static const struct vault_column *next_of(const struct vault_column *c, struct str team_id)
{
    while (c->table && !vault_column_is_of(c, team_id))
        c++;
    return c->table ? c : NULL;
}

static struct str like_key(struct ctx *cx, struct str key_id)
{
    return str_printf(&cx->arena, "v2." STR_FMT ".%%", STR_ARG(key_id));
}

/* How many texts of the team match, over all its columns. */
static enum err_code count_all(struct ctx *cx, struct db *db, struct str team_id, struct str like,
                               int64_t *n)
{
    struct vault_walk w = { .team_id = team_id, .like = like, .unlike = STR("") };
    int64_t one;
    *n = 0;
    for (w.column = next_of(vault_columns(), team_id); w.column;
         w.column = next_of(w.column + 1, team_id)) {
        enum err_code e = vault_column_count(cx, db, &w, &one);
        if (e)
            return e;
        *n += one;
    }
    return ERR_NONE;
}

/* ---- begin ---- */

static enum err_code turn_add(struct ctx *cx, struct db *db, struct str team_id,
                              const struct vault_key *k)
{
    const struct vault_column *c = next_of(vault_columns(), team_id);
    struct caller who = { .team_id = team_id.n ? team_id : STR(TEAM_DEFAULT), .ip = STR("") };
    int64_t now = clock_ms();
    enum err_code e =
        db_run(cx, db,
               "INSERT INTO vault_rotation (team_id, " TURN_COLUMNS ", started_ms, seen_ms) VALUES "
               "($1, $2, $3, $4, '', 0, 0, $5, $5)",
               ARGS(VT(team_id), VT(k->id), VT(str_of(c ? c->table : "")),
                    VT(str_of(c ? c->column : "")), VI(now)));
    return e ? e
             : audit_write(cx, db, &who,
                           &(struct audit_entry){ .action = "vault.rotate",
                                                  .target_type = "vault_key",
                                                  .target_id = k->id });
}

/* Whether a turn is to be continued, and whether there is anything to turn at all. */
static enum err_code look(struct ctx *cx, struct db *db, struct job *j, struct turn *t)
{
    struct vault_key k = { .version = 0 };
    int64_t texts = 0;
    db_scope_system(db);
    enum err_code e =
        db_one(cx, db, &rec_turn, "SELECT " TURN_COLUMNS " FROM vault_rotation WHERE team_id = $1",
               ARGS(VT(j->ask->team_id)), t);
    j->is_resumed = !e;
    if (!e || e == ERR_NOT_FOUND)
        e = vault_key_active(cx, db, j->ask->team_id, &k);
    j->version = k.version;
    if (e != ERR_NOT_FOUND)
        return e;
    e = count_all(cx, db, j->ask->team_id, STR("%"), &texts);
    j->has_none = !texts;
    return e;
}

static enum err_code begin_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct job *j = arg;
    struct vault_key k;
    struct turn t;
    *j = (struct job){ .ask = j->ask };
    enum err_code e = look(cx, db, j, &t);
    if (e || j->is_resumed || j->has_none)
        return e;
    e = vault_key_turn(cx, db, j->ask->team_id, &k);
    if (!e)
        j->version = k.version;
    return e ? e : turn_add(cx, db, j->ask->team_id, &k);
}

/* ---- batches ---- */

static enum err_code move_cursor(struct ctx *cx, struct db *db, const struct vault_walk *w,
                                 const struct turn *t)
{
    const struct vault_column *c = w->column;
    if (w->is_end)
        c = next_of(c + 1, w->team_id);
    return db_run(cx, db,
                  "UPDATE vault_rotation SET at_table = $2, at_column = $3, last_row = $4, "
                  "resealed = $5, quarantined = $6 WHERE team_id = $1",
                  ARGS(VT(w->team_id), VT(str_of(c ? c->table : "")),
                       VT(str_of(c ? c->column : "")), VT(w->is_end ? STR("") : w->last),
                       VI(t->resealed + w->resealed), VI(t->quarantined + w->quarantined)));
}

static enum err_code batch_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct job *j = arg;
    struct str team_id = j->ask->team_id;
    struct turn t;
    db_scope_system(db);
    enum err_code e = db_one(cx, db, &rec_turn,
                             "UPDATE vault_rotation SET seen_ms = $2 WHERE team_id = $1 "
                             "RETURNING " TURN_COLUMNS,
                             ARGS(VT(team_id), VI(clock_ms())), &t);
    j->is_walked = e == ERR_NOT_FOUND || (!e && !t.at_table.n);
    if (j->is_walked)
        return ERR_NONE;
    if (e)
        return e;
    struct vault_walk w = { .column = vault_column_find(t.at_table, t.at_column),
                            .team_id = team_id,
                            .like = STR("%"),
                            .unlike = like_key(cx, t.key_id),
                            .after = t.last_row,
                            .seen_by = t.key_id,
                            .batch = j->ask->batch };
    if (!w.column) { /* the program that began had other columns: all of them once more */
        w.column = next_of(vault_columns(), team_id);
        w.after = STR("");
    }
    e = w.column ? vault_walk_batch(cx, db, &w) : ERR_NONE;
    return e ? e : move_cursor(cx, db, &w, &t);
}

/* ---- end ---- */

static enum err_code retire_or_keep(struct ctx *cx, struct db *db, struct job *j,
                                    const struct vault_key *k)
{
    int64_t left = 0;
    enum err_code e = count_all(cx, db, k->team_id, like_key(cx, k->id), &left);
    if (e)
        return e;
    j->retired += !left;
    j->kept += left > 0;
    if (left)
        return ERR_NONE;
    return db_run(cx, db,
                  "UPDATE vault_key SET state = 'retired', retired_ms = $4 WHERE team_id = $1 AND "
                  "purpose = 'data' AND version = $2 AND state = $3",
                  ARGS(VT(k->team_id), VI(k->version), VT(k->state), VI(clock_ms())));
}

static enum err_code retire_all(struct ctx *cx, struct db *db, struct job *j)
{
    struct list old;
    enum err_code e = db_list(cx, db, &rec_vault_key,
                              "SELECT " VAULT_KEY_COLUMNS " FROM vault_key WHERE team_id = $1 AND "
                              "purpose = 'data' AND state = 'old' ORDER BY version",
                              ARGS(VT(j->ask->team_id)), &old);
    const struct vault_key *v = old.v;
    for (size_t i = 0; !e && i < old.n; i++)
        e = retire_or_keep(cx, db, j, &v[i]);
    return e;
}

static enum err_code end_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct job *j = arg;
    struct turn t;
    db_scope_system(db);
    j->retired = j->kept = 0;
    enum err_code e = db_one(
        cx, db, &rec_turn, "DELETE FROM vault_rotation WHERE team_id = $1 RETURNING " TURN_COLUMNS,
        ARGS(VT(j->ask->team_id)), &t);
    if (e == ERR_NOT_FOUND) /* another process ended it */
        return ERR_NONE;
    j->resealed = t.resealed;
    j->quarantined = t.quarantined;
    if (!e)
        e = retire_all(cx, db, j);
    /* What this rotation did not meet again was replaced or deleted since. */
    return e ? e
             : db_run(cx, db,
                      "DELETE FROM vault_quarantine WHERE team_id = $1 AND seen_by <> $2 AND "
                      "table_name <> 'vault_key'",
                      ARGS(VT(j->ask->team_id), VT(t.key_id)));
}

/* ---- dry ---- */

struct dry {
    struct vault_walk walk;
    struct vault_name after, next;
};

static enum err_code dry_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct dry *d = arg;
    db_scope_system(db);
    d->walk.after = vault_name_view(&d->after);
    enum err_code e = vault_walk_batch(cx, db, &d->walk);
    if (!e)
        vault_name_set(&d->next, d->walk.last);
    return e;
}

static enum err_code dry_column(struct ctx *cx, struct store *s, struct job *j, struct dry *d)
{
    enum err_code e = ERR_NONE;
    d->after.n = 0;
    do {
        struct ctx one;
        ctx_init(&one, CTX_CAP_DEFAULT);
        e = store_read(&one, s, dry_unit, d);
        ctx_done(&one);
        j->resealed += d->walk.resealed;
        j->quarantined += d->walk.quarantined;
        d->after = d->next;
    } while (!e && !d->walk.is_end);
    return e ? ctx_fail_plain(cx, e) : ERR_NONE;
}

struct look_job {
    struct job *job;
    struct turn turn;
};

static enum err_code look_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct look_job *l = arg;
    return look(cx, db, l->job, &l->turn);
}

static enum err_code rotate_dry(struct ctx *cx, struct store *s, struct job *j)
{
    struct str team_id = j->ask->team_id;
    struct look_job l = { .job = j };
    enum err_code e = store_read(cx, s, look_unit, &l);
    if (e || j->has_none)
        return e;
    struct dry d = { .walk = { .team_id = team_id,
                               .like = STR("%"),
                               .unlike = j->is_resumed ? like_key(cx, l.turn.key_id) : STR(""),
                               .batch = j->ask->batch,
                               .is_dry = true } };
    j->version += !j->is_resumed;
    for (d.walk.column = next_of(vault_columns(), team_id); !e && d.walk.column;
         d.walk.column = next_of(d.walk.column + 1, team_id))
        e = dry_column(cx, s, j, &d);
    return e;
}

/* ---- the whole ---- */

static void report(const struct job *j, struct vault_rotated *out)
{
    *out = (struct vault_rotated){ .team_id = j->ask->team_id,
                                   .version = j->has_none ? 0 : j->version,
                                   .resealed = j->resealed,
                                   .quarantined = j->quarantined,
                                   .retired = j->retired,
                                   .kept = j->kept,
                                   .is_resumed = j->is_resumed,
                                   .is_dry = j->ask->is_dry };
    out->bits.has = UINT64_MAX;
}

static enum err_code batches(struct ctx *cx, struct store *s, struct job *j)
{
    enum err_code e = ERR_NONE;
    for (int64_t i = 0; i < BATCHES_MAX && !e && !j->is_walked; i++) {
        struct ctx one;
        ctx_init(&one, CTX_CAP_DEFAULT);
        e = store_tx(&one, s, batch_unit, j);
        if (e)
            ctx_fail(cx, e, STR_FMT, STR_ARG(one.err_text));
        ctx_done(&one);
    }
    return e;
}

enum err_code vault_rotate(struct ctx *cx, struct store *s, const struct vault_ask *ask,
                           struct vault_rotated *out)
{
    struct job j = { .ask = ask };
    enum err_code e = vault_must_be_ready(cx);
    BUG_IF(ask->batch < 1 || ask->batch > VAULT_BATCH_MAX || !ask->team_id.p);
    if (!e)
        e = ask->is_dry ? rotate_dry(cx, s, &j) : store_tx(cx, s, begin_unit, &j);
    if (!e && !ask->is_dry && !j.has_none) {
        e = batches(cx, s, &j);
        if (!e)
            e = store_tx(cx, s, end_unit, &j);
    }
    if (!e)
        report(&j, out);
    return e;
}

struct teams_job {
    struct str after;
    struct list list;
};

static enum err_code teams_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct teams_job *t = arg;
    db_scope_system(db);
    return db_list(cx, db, &rec_text,
                   "SELECT DISTINCT team_id AS s FROM vault_key WHERE purpose = 'data' AND "
                   "team_id > $1 ORDER BY team_id LIMIT $2",
                   ARGS(VT(t->after), VI(TEAMS_A_PAGE)), &t->list);
}

enum err_code vault_teams(struct ctx *cx, struct store *s, struct str after, struct list *out)
{
    struct teams_job t = { .after = after };
    enum err_code e = store_read(cx, s, teams_unit, &t);
    if (!e)
        *out = t.list;
    return e;
}
