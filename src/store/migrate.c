/* Migrations: numbered texts inside the program, applied forward, each in a transaction of its own.
 *
 * A text may hold sections for one database: a line beginning with "-- {sqlite}", "-- {postgres}"
 * or "-- {both}" says for whom the following lines are. The SHA-256 of the whole text is kept with
 * the name of what was applied: an edited applied migration, or one that this program does not
 * know, refuses. Two processes may migrate at once: the write lock (SQLite) or an advisory lock
 * (PostgreSQL) lets one at a time look what is missing and apply the next one.
 *
 * Owner: store. To add one: a file in migrations/, a line in meson.build; never edit an old one. */
#include <string.h>

#include "../base/clock.h"
#include "../base/crypt.h"
#include "../base/log.h"
#include "inner.h"

#define MIGRATIONS_MAX 10000
#define LOCK_KEY 7236846 /* any number that nobody else takes */

static const char SQL_TABLE[] = "CREATE TABLE IF NOT EXISTS schema_migration ("
                                " name TEXT NOT NULL PRIMARY KEY, checksum TEXT NOT NULL,"
                                " applied_ms BIGINT NOT NULL)";
static const char SQL_APPLIED[] = "SELECT name, checksum FROM schema_migration ORDER BY name";
static const char SQL_ADD[] =
    "INSERT INTO schema_migration (name, checksum, applied_ms) VALUES ($1, $2, $3)";

struct applied {
    struct rec_bits bits;
    struct str name, checksum;
};
static const struct field applied_fields[] = {
    { .name = "name", .type = F_STR, .offset = offsetof(struct applied, name) },
    { .name = "checksum", .type = F_STR, .offset = offsetof(struct applied, checksum) },
};
static const struct rec rec_applied =
    REC("Applied", struct applied, applied_fields, "An applied migration.");

/* --- Texts --- */

static const struct section {
    struct str mark;
    bool in_sqlite, in_postgres;
} sections[] = {
    { { "-- {sqlite}", 11 }, true, false },
    { { "-- {postgres}", 13 }, false, true },
    { { "-- {both}", 9 }, true, true },
};

static const struct section *section_of(struct str line)
{
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++)
        if (str_starts(line, sections[i].mark))
            return &sections[i];
    return NULL;
}

static const char *text_for(struct ctx *cx, const struct db *db, const char *sql)
{
    struct str rest = str_of(sql);
    bool is_wanted = true;
    struct buf b;

    buf_init(&b, &cx->arena, rest.n + 2);
    while (rest.n) {
        struct str line = str_cut(&rest, '\n');
        const struct section *sec = section_of(line);

        if (sec)
            is_wanted = db->is_postgres ? sec->in_postgres : sec->in_sqlite;
        else if (is_wanted) {
            buf_str(&b, line);
            buf_char(&b, '\n');
        }
    }
    BUG_IF(b.over);
    return str_cstr(&cx->arena, buf_view(&b));
}

static struct str checksum_of(struct ctx *cx, const struct migration *m)
{
    unsigned char sum[SHA256_LEN];

    crypt_sha256(str_of(m->sql), sum);
    return hex_of(&cx->arena, sum, sizeof sum);
}

/* --- What is applied, what is missing --- */

static const struct applied *applied_find(const struct list *l, struct str name)
{
    const struct applied *v = l->v;

    for (size_t i = 0; i < l->n; i++)
        if (str_eq(v[i].name, name))
            return &v[i];
    return NULL;
}

static bool is_known(struct str name)
{
    for (const struct migration *m = migrations; m->name; m++)
        if (str_eq(str_of(m->name), name))
            return true;
    return false;
}

static enum err_code check_applied(struct ctx *cx, const struct list *l)
{
    const struct applied *v = l->v;

    for (size_t i = 0; i < l->n; i++)
        if (!is_known(v[i].name))
            return fail(cx, CONFLICT,
                        "The database is newer than this program: it has migration " STR_FMT
                        ", which this program does not know",
                        STR_ARG(v[i].name));
    for (const struct migration *m = migrations; m->name; m++) {
        const struct applied *a = applied_find(l, str_of(m->name));

        if (a && !str_eq(a->checksum, checksum_of(cx, m)))
            return fail(
                cx, CONFLICT,
                "Migration %s was edited after it was applied to this database; put its text back"
                " and add a new migration",
                m->name);
    }
    return ERR_NONE;
}

static const struct migration *first_missing(const struct list *l)
{
    for (const struct migration *m = migrations; m->name; m++)
        if (!applied_find(l, str_of(m->name)))
            return m;
    return NULL;
}

/* --- One step --- */

struct step {
    const struct migration *m; /* applied now; NULL = nothing was missing */
};

static enum err_code lock_and_list(struct ctx *cx, struct db *db, struct list *out)
{
    enum err_code e = ERR_NONE;

    db_scope_system(db);
    if (db_is_postgres(db)) /* SQLite: the write transaction is the lock */
        e = db_run(cx, db, "SELECT pg_advisory_xact_lock($1)", ARGS(VI(LOCK_KEY)));
    if (!e)
        e = db_run(cx, db, SQL_TABLE, NO_ARGS);
    return e ? e : db_list(cx, db, &rec_applied, SQL_APPLIED, NO_ARGS, out);
}

static enum err_code step_fn(struct ctx *cx, struct db *db, void *arg)
{
    struct step *step = arg;
    struct list l = { 0 };
    enum err_code e = lock_and_list(cx, db, &l);

    step->m = NULL;
    if (!e)
        e = check_applied(cx, &l);
    if (e)
        return e;
    step->m = first_missing(&l);
    if (!step->m)
        return ERR_NONE;
    e = db->ops->exec_script(cx, db, text_for(cx, db, step->m->sql));
    if (e)
        return e;
    return db_run(cx, db, SQL_ADD,
                  ARGS(VT(str_of(step->m->name)), VT(checksum_of(cx, step->m)), VI(clock_ms())));
}

enum err_code store_migrate(struct ctx *cx, struct store *s, int *applied)
{
    struct step step = { 0 };

    *applied = 0;
    for (int i = 0; i < MIGRATIONS_MAX; i++) {
        enum err_code e = store_tx_with(cx, s, step_fn, &step, UNIT_ALONE);

        if (e)
            return e;
        if (!step.m)
            return ERR_NONE;
        log_info(cx, "store.migrated", KVC("name", step.m->name));
        ++*applied;
    }
    return fail(cx, INTERNAL, "Too many migrations");
}

static enum err_code ready_fn(struct ctx *cx, struct db *db, void *arg)
{
    struct list l = { 0 };
    enum err_code e;

    (void)arg;
    db_scope_system(db);
    e = db_list(cx, db, &rec_applied, SQL_APPLIED, NO_ARGS, &l);
    if (e)
        return e;
    if (first_missing(&l))
        return fail(cx, UNAVAILABLE, "The database is not migrated yet");
    return ERR_NONE;
}

enum err_code store_ready(struct ctx *cx, struct store *s)
{
    return store_read(cx, s, ready_fn, NULL);
}
