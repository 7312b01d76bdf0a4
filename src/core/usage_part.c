/* Day partitions (PostgreSQL): made some days ahead, dropped when too old.
 *
 * A partition is built as a table of its own and attached, which disturbs running requests less
 * than creating it in place; rows that already sit in the default partition for that day (nobody
 * made it in time) move over in the same transaction. Row-level security is switched on for each,
 * because a partition that is named directly does not ask its parent. Several nodes may do this at
 * once: an advisory lock lets one work, the others find it done. */
#include "../base/clock.h"
#include "../base/log.h"
#include "usage_inner.h"

#define DAYS_AHEAD 3
#define PARENT "integration_token_usage"

#define SQL_PARTS                                                                                  \
    "SELECT c.relname AS s FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "              \
    "WHERE i.inhparent = '" PARENT "'::regclass ORDER BY c.relname"
#define SQL_LOCK "SELECT CASE WHEN pg_try_advisory_xact_lock(7355608) THEN 1 ELSE 0 END AS n"

struct part {
    int64_t from_ms;
    struct str name;
    struct list all;
};

static enum err_code list_parts(struct ctx *cx, struct db *db, void *arg)
{
    struct part *p = arg;

    return db_list(cx, db, &rec_text, SQL_PARTS, NO_ARGS, &p->all);
}

static struct str name_of(struct ctx *cx, int64_t ms)
{
    struct buf b;

    buf_init(&b, &cx->arena, 64);
    time_print_s(&b, ms);
    return str_printf(&cx->arena, PARENT "_%.4s%.2s%.2s", b.p, b.p + 5, b.p + 8);
}

/* The first ms of the day in a partition's name; false for the default one. */
static bool day_of(struct ctx *cx, struct str name, int64_t *ms)
{
    struct str d = str_sub(name, sizeof PARENT, 8);

    if (d.n != 8 || name.n != sizeof PARENT + 8)
        return false;
    return time_parse(str_printf(&cx->arena, "%.4s-%.2s-%.2s", d.p, d.p + 4, d.p + 6), ms);
}

static bool has_part(const struct list *all, struct str name)
{
    for (size_t i = 0; i < all->n; i++)
        if (str_eq(((struct rec_text *)all->v)[i].s, name))
            return true;
    return false;
}

static enum err_code run(struct ctx *cx, struct db *db, struct str sql)
{
    return db_run(cx, db, str_cstr(&cx->arena, sql), NO_ARGS);
}

/* True when this transaction has the lock. */
static enum err_code part_lock(struct ctx *cx, struct db *db, bool *has_it)
{
    struct rec_num got;
    enum err_code e;

    db_scope_system(db);
    e = db_run(cx, db, "SET LOCAL lock_timeout = '2s'", NO_ARGS);
    if (!e)
        e = db_one(cx, db, &rec_num, SQL_LOCK, NO_ARGS, &got);
    *has_it = !e && got.n;
    return e;
}

static enum err_code make_part(struct ctx *cx, struct db *db, void *arg)
{
    struct part *p = arg;
    struct arena *a = &cx->arena;
    long long from = p->from_ms, to = p->from_ms + DAY_MS;
    bool has_it;
    enum err_code e = part_lock(cx, db, &has_it);

    if (!e)
        e = list_parts(cx, db, p);
    if (e || !has_it || has_part(&p->all, p->name))
        return e;
    e = run(cx, db, str_printf(a, "CREATE TABLE " STR_FMT " (LIKE " PARENT ")", STR_ARG(p->name)));
    if (!e)
        e = run(cx, db,
                str_printf(a,
                           "WITH moved AS (DELETE FROM " PARENT
                           "_rest WHERE created_ms >= %lld AND created_ms < %lld "
                           "RETURNING *) INSERT INTO " STR_FMT " SELECT * FROM moved",
                           from, to, STR_ARG(p->name)));
    if (!e)
        e = run(cx, db,
                str_printf(a,
                           "ALTER TABLE " PARENT " ATTACH PARTITION " STR_FMT
                           " FOR VALUES FROM (%lld) TO (%lld)",
                           STR_ARG(p->name), from, to));
    if (!e)
        e = run(
            cx, db,
            str_printf(a, "ALTER TABLE " STR_FMT " ENABLE ROW LEVEL SECURITY", STR_ARG(p->name)));
    if (!e)
        e = run(
            cx, db,
            str_printf(a, "ALTER TABLE " STR_FMT " FORCE ROW LEVEL SECURITY", STR_ARG(p->name)));
    return e ? e
             : run(cx, db,
                   str_printf(a,
                              "CREATE POLICY tenant ON " STR_FMT
                              " USING (team_id = current_setting('tessera.team', "
                              "true) OR current_setting('tessera.system', true) = 'on')",
                              STR_ARG(p->name)));
}

static enum err_code drop_part(struct ctx *cx, struct db *db, void *arg)
{
    struct part *p = arg;
    bool has_it;
    enum err_code e = part_lock(cx, db, &has_it);

    if (e || !has_it)
        return e;
    return run(cx, db, str_printf(&cx->arena, "DROP TABLE IF EXISTS " STR_FMT, STR_ARG(p->name)));
}

enum err_code part_keep(struct ctx *cx, struct usage *u, int64_t now_ms)
{
    int64_t today = now_ms - now_ms % DAY_MS;
    struct part all = { 0 };
    enum err_code e = store_read(cx, u->store, list_parts, &all);

    for (int d = 0; d <= DAYS_AHEAD && !e; d++) {
        struct part p = { .from_ms = today + d * DAY_MS };

        p.name = name_of(cx, p.from_ms);
        if (!has_part(&all.all, p.name))
            e = usage_tx(cx, u, make_part, &p);
    }
    for (size_t i = 0; i < all.all.n && !e; i++) {
        struct part p = { .name = ((struct rec_text *)all.all.v)[i].s };

        if (!day_of(cx, p.name, &p.from_ms) || p.from_ms >= today - u->conf.detail_days * DAY_MS)
            continue;
        e = usage_tx(cx, u, drop_part, &p);
        if (!e)
            log_info(cx, "usage.partition_dropped", KVS("table", p.name));
    }
    return e;
}
