/* Day files (SQLite): old usage rows leave the main file, so that it stays small and retiring a day
 * is an unlink.
 *
 * "<db>.usage/YYYY-MM-DD.db" is a store of its own with the same table and index. Rows move lowest
 * id first, a step at a time: inserted into the day file and committed there, then deleted from the
 * main file. A kill in between leaves them in both; the next step inserts nothing new and deletes.
 * Between files ids only grow with the day, so that reading newest first is reading the main file
 * and then the files from the newest to the oldest. Only rows that the rollups already have (up to
 * their stream's mark) may move.
 *
 * Threads: the housekeeper moves; a job unlinks what is too old; anyone may open to read. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "../base/clock.h"
#include "../base/log.h"
#include "usage_inner.h"

#define DAYS_MAX 4000
#define HOT_MS DAY_MS

static const struct field day_row_fields[] = {
    { .name = "id", .type = F_INT, .offset = offsetof(struct day_row, id) },
    { .name = "team_id", .type = F_STR, .offset = offsetof(struct day_row, team_id) },
    { .name = "token_id", .type = F_STR, .offset = offsetof(struct day_row, token_id) },
    { .name = "endpoint", .type = F_STR, .offset = offsetof(struct day_row, endpoint) },
    { .name = "method", .type = F_STR, .offset = offsetof(struct day_row, method) },
    { .name = "status_code", .type = F_INT, .offset = offsetof(struct day_row, status_code) },
    { .name = "response_time_us",
      .type = F_INT,
      .offset = offsetof(struct day_row, response_time_us) },
    { .name = "ip_address", .type = F_STR, .offset = offsetof(struct day_row, ip_address) },
    { .name = "user_agent", .type = F_STR, .offset = offsetof(struct day_row, user_agent) },
    { .name = "request_payload",
      .type = F_STR,
      .offset = offsetof(struct day_row, request_payload) },
    { .name = "error_message", .type = F_STR, .offset = offsetof(struct day_row, error_message) },
    { .name = "created_ms", .type = F_INT, .offset = offsetof(struct day_row, created_ms) },
    { .name = "country", .type = F_STR, .offset = offsetof(struct day_row, country) },
};
const struct rec rec_day_row =
    REC("UsageDayRow", struct day_row, day_row_fields, "A stored row of usage.");

#define SQL_TABLE                                                                                         \
    "CREATE TABLE IF NOT EXISTS integration_token_usage (id INTEGER PRIMARY KEY, team_id TEXT NOT NULL, " \
    "token_id TEXT, endpoint TEXT NOT NULL, method TEXT NOT NULL, status_code INTEGER NOT NULL, "         \
    "response_time_us BIGINT NOT NULL, ip_address TEXT, user_agent TEXT, request_payload TEXT, "          \
    "error_message TEXT, created_ms BIGINT NOT NULL, country TEXT)"
/* The index that is made last: 2. A file of before there were countries: 1. */
#define SQL_FIND_TABLE                                                                             \
    "SELECT CASE name WHEN 'integration_token_usage_team' THEN 2 ELSE 1 END AS n "                 \
    "FROM sqlite_master WHERE name IN ('integration_token_usage_team', "                           \
    "'integration_token_usage_token') ORDER BY 1 DESC LIMIT 1"
#define SQL_HAS_COUNTRY                                                                            \
    "SELECT COUNT(*) AS n FROM pragma_table_info('integration_token_usage') "                      \
    "WHERE name = 'country'"
#define SQL_ADD_COUNTRY "ALTER TABLE integration_token_usage ADD COLUMN country TEXT"
#define SQL_DROP_INDEX "DROP INDEX IF EXISTS integration_token_usage_token"
#define SQL_KEY_INDEX                                                                              \
    "CREATE INDEX IF NOT EXISTS integration_token_usage_key ON integration_token_usage "           \
    "(token_id, created_ms)"
#define SQL_TEAM_INDEX                                                                             \
    "CREATE INDEX IF NOT EXISTS integration_token_usage_team ON integration_token_usage "          \
    "(team_id, created_ms)"
#define SQL_PUT                                                                                    \
    "INSERT INTO integration_token_usage (" DAY_ROW_COLUMNS ") "                                   \
    "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT (id) DO NOTHING"
#define SQL_LOWEST "SELECT " DAY_ROW_COLUMNS " FROM integration_token_usage ORDER BY id LIMIT $1"
/* Bounded: counting all rows of a large table would cost more than moving some. */
#define SQL_COUNT                                                                                  \
    "SELECT COUNT(*) AS n FROM (SELECT 1 FROM integration_token_usage LIMIT $1) AS some"
#define SQL_STREAMS "SELECT stream, mark FROM usage_stream"
#define SQL_DELETE "DELETE FROM integration_token_usage WHERE id >= $1 AND id <= $2"
#define SQL_FORGET                                                                                 \
    "DELETE FROM integration_token_usage WHERE id IN (SELECT id FROM integration_token_usage "     \
    "WHERE token_id = $1 AND team_id = $2 LIMIT $3) RETURNING id AS n"

/* ---- files */

static const char *folder_of(struct arena *a, struct usage *u)
{
    return str_cstr(a, str_printf(a, STR_FMT ".usage", STR_ARG(store_path(u->store))));
}

static const char *path_of(struct arena *a, struct usage *u, int64_t day)
{
    struct buf b;

    buf_init(&b, a, 64);
    time_print_s(&b, day * DAY_MS);
    return str_cstr(a, str_printf(a, "%s/%.10s.db", folder_of(a, u), b.p));
}

/* The day of a file's name; false when it is not one of ours. */
static bool day_of_name(struct str name, int64_t *day)
{
    int64_t ms;

    if (name.n != 13 || !str_eq(str_sub(name, 10, 3), STR(".db")) ||
        !time_parse(str_sub(name, 0, 10), &ms))
        return false;
    *day = ms / DAY_MS;
    return true;
}

static int newest_first(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x < y) - (x > y);
}

enum err_code day_list(struct ctx *cx, struct usage *u, struct list *out)
{
    DIR *dir = opendir(folder_of(&cx->arena, u));
    int64_t *days = ARENA_ARRAY(&cx->arena, int64_t, DAYS_MAX);
    struct dirent *entry;
    size_t n = 0;

    if (!dir && errno != ENOENT)
        return ctx_fail_plain(cx, ERR_UNAVAILABLE);
    while (dir && n < DAYS_MAX && (entry = readdir(dir)) != NULL)
        n += day_of_name(str_of(entry->d_name), &days[n]);
    if (dir)
        closedir(dir);
    qsort(days, n, sizeof *days, newest_first);
    *out = (struct list){ days, n };
    return ERR_NONE;
}

/* Makes what is missing, in an old file too. */
static enum err_code make_table(struct ctx *cx, struct db *db, void *arg)
{
    static const char *const indexes[] = { SQL_DROP_INDEX, SQL_KEY_INDEX, SQL_TEAM_INDEX };
    struct rec_num has;
    enum err_code e = db_run(cx, db, SQL_TABLE, NO_ARGS);

    (void)arg;
    if (!e)
        e = db_one(cx, db, &rec_num, SQL_HAS_COUNTRY, NO_ARGS, &has);
    if (!e && !has.n)
        e = db_run(cx, db, SQL_ADD_COUNTRY, NO_ARGS);
    for (size_t i = 0; i < sizeof indexes / sizeof *indexes && !e; i++)
        e = db_run(cx, db, indexes[i], NO_ARGS);
    return e;
}

/* A file whose making was cut short has no table, and no rows. */
static enum err_code find_table(struct ctx *cx, struct db *db, void *arg)
{
    return db_one(cx, db, &rec_num, SQL_FIND_TABLE, NO_ARGS, arg);
}

static enum err_code day_ready(struct ctx *cx, struct store *s, bool may_create)
{
    struct rec_num found = { .n = 0 };
    enum err_code e = may_create ? ERR_NONE : store_read(cx, s, find_table, &found);

    return e || found.n == 2 ? e : store_tx(cx, s, make_table, NULL);
}

enum err_code day_open(struct ctx *cx, struct usage *u, int64_t day, bool may_create,
                       struct store **out)
{
    const char *path = path_of(&cx->arena, u, day);
    struct store_conf conf = { .database = str_printf(&cx->arena, "sqlite:%s", path) };
    enum err_code e = ERR_NOT_FOUND;
    struct store *s;

    pthread_mutex_lock(&u->days.lock);
    if (may_create || access(path, F_OK) == 0)
        e = store_open(cx, &conf, &s);
    pthread_mutex_unlock(&u->days.lock);
    if (e)
        return e;
    e = day_ready(cx, s, may_create);
    if (e)
        store_close(s);
    else
        *out = s;
    return e;
}

void day_rest(struct usage *u)
{
    store_close(u->days.open);
    u->days.open = NULL;
    pthread_mutex_lock(&u->days.lock);
    u->days.open_day = -1;
    pthread_mutex_unlock(&u->days.lock);
}

void day_drop_old(struct ctx *cx, struct usage *u, int64_t now_ms)
{
    static const char *const tails[] = { "", "-wal", "-shm" };
    struct list days = { 0 };

    if (day_list(cx, u, &days))
        return;
    for (size_t i = 0; i < days.n; i++) {
        int64_t day = ((int64_t *)days.v)[i];

        if (day >= now_ms / DAY_MS - u->conf.detail_days)
            continue;
        pthread_mutex_lock(&u->days.lock);
        bool is_busy = u->days.open_day == day; /* rows go there: at the next pass */
        for (size_t t = 0; !is_busy && t < sizeof tails / sizeof *tails; t++)
            unlink(str_cstr(&cx->arena,
                            str_printf(&cx->arena, "%s%s", path_of(&cx->arena, u, day), tails[t])));
        pthread_mutex_unlock(&u->days.lock);
        if (!is_busy)
            log_info(cx, "usage.day_dropped", KVC("file", path_of(&cx->arena, u, day)));
    }
}

/* ---- moving */

struct stream_mark {
    struct rec_bits bits;
    int64_t stream, mark;
};
static const struct field stream_mark_fields[] = {
    { .name = "stream", .type = F_INT, .offset = offsetof(struct stream_mark, stream) },
    { .name = "mark", .type = F_INT, .offset = offsetof(struct stream_mark, mark) },
};
static const struct rec rec_stream_mark =
    REC("StreamMark", struct stream_mark, stream_mark_fields, "A stream.");

struct move {
    struct list rows, streams;
    int64_t day;
    int64_t from_id, to_id;
};

static enum err_code read_lowest(struct ctx *cx, struct db *db, void *arg)
{
    struct move *m = arg;
    enum err_code e =
        db_list(cx, db, &rec_day_row, SQL_LOWEST, ARGS(VI(USAGE_STEP_ROWS)), &m->rows);

    if (!e)
        e = db_list(cx, db, &rec_stream_mark, SQL_STREAMS, NO_ARGS, &m->streams);
    return e;
}

static enum err_code count_some(struct ctx *cx, struct db *db, void *arg)
{
    return db_one(cx, db, &rec_num, SQL_COUNT, ARGS(VI(USAGE_HOT_ROWS + USAGE_PASS_ROWS)), arg);
}

enum err_code day_crowd(struct ctx *cx, struct usage *u, int64_t *excess)
{
    struct rec_num n;
    enum err_code e = store_read(cx, u->store, count_some, &n);

    if (!e)
        *excess = n.n - USAGE_HOT_ROWS;
    return e;
}

static bool is_counted(const struct move *m, int64_t id)
{
    const struct stream_mark *s = m->streams.v;

    for (size_t i = 0; i < m->streams.n; i++)
        if (s[i].stream == id >> USAGE_STREAM_SHIFT)
            return id <= (s[i].stream << USAGE_STREAM_SHIFT | s[i].mark);
    return true;
}

/* Leave in m->rows those that go now: the oldest ones, all of one day. */
static void choose(struct usage *u, struct move *m, int64_t now_ms, bool is_crowded)
{
    const struct day_row *r = m->rows.v;
    size_t n = 0;

    if (m->rows.n)
        m->day = r[0].created_ms / DAY_MS;
    if (m->day < u->days.newest)
        m->day = u->days.newest; /* a request that took until after midnight */
    while (n < m->rows.n && r[n].created_ms / DAY_MS <= m->day && is_counted(m, r[n].id) &&
           (is_crowded || r[n].created_ms < now_ms - HOT_MS))
        n++;
    m->rows.n = n;
    if (n) {
        m->from_id = r[0].id;
        m->to_id = r[n - 1].id;
    }
}

static enum err_code put_rows(struct ctx *cx, struct db *db, void *arg)
{
    const struct move *m = arg;
    const struct day_row *r = m->rows.v;
    enum err_code e = ERR_NONE;

    for (size_t i = 0; i < m->rows.n && !e; i++, r++)
        e = db_run(cx, db, SQL_PUT,
                   ARGS(VI(r->id), VT(r->team_id), VT(r->token_id), VT(r->endpoint), VT(r->method),
                        VI(r->status_code), VI(r->response_time_us), VT(r->ip_address),
                        VT(r->user_agent), VT(r->request_payload), VT(r->error_message),
                        VI(r->created_ms), VT(r->country)));
    return e;
}

static enum err_code delete_moved(struct ctx *cx, struct db *db, void *arg)
{
    const struct move *m = arg;

    return db_run(cx, db, SQL_DELETE, ARGS(VI(m->from_id), VI(m->to_id)));
}

static enum err_code open_for(struct ctx *cx, struct usage *u, int64_t day)
{
    if (u->days.open && u->days.open_day == day)
        return ERR_NONE;
    day_rest(u);
    pthread_mutex_lock(&u->days.lock);
    u->days.open_day = day;
    pthread_mutex_unlock(&u->days.lock);
    enum err_code e = day_open(cx, u, day, true, &u->days.open);
    if (e)
        day_rest(u);
    return e;
}

enum err_code day_move(struct ctx *cx, struct usage *u, int64_t now_ms, bool is_crowded,
                       size_t *moved)
{
    struct move m = { .day = 0 };
    struct list days = { 0 };
    enum err_code e = ERR_NONE;

    *moved = 0;
    if (u->days.newest < 0) {
        e = day_list(cx, u, &days);
        if (!e)
            u->days.newest = days.n ? ((int64_t *)days.v)[0] : 0;
    }
    if (!e)
        e = store_read(cx, u->store, read_lowest, &m);
    if (e)
        return e;
    choose(u, &m, now_ms, is_crowded);
    if (!m.rows.n)
        return ERR_NONE;
    e = open_for(cx, u, m.day);
    if (!e)
        e = store_tx(cx, u->days.open, put_rows, &m);
    if (!e)
        e = usage_tx(cx, u, delete_moved, &m);
    if (!e) {
        u->days.newest = m.day;
        *moved = m.rows.n;
    }
    return e;
}

/* ---- forgetting */

struct forget {
    struct str team_id, token_id;
    struct list gone;
};

static enum err_code forget_step(struct ctx *cx, struct db *db, void *arg)
{
    struct forget *f = arg;

    return db_list(cx, db, &rec_num, SQL_FORGET,
                   ARGS(VT(f->token_id), VT(f->team_id), VI(USAGE_STEP_ROWS)), &f->gone);
}

enum err_code day_forget(struct ctx *cx, struct usage *u, struct str team_id, struct str token_id)
{
    struct forget f = { .team_id = team_id, .token_id = token_id };
    struct list days = { 0 };
    enum err_code e = day_list(cx, u, &days);

    for (size_t i = 0; i < days.n && !e && !usage_is_stopping(u); i++) {
        struct store *s;

        e = day_open(cx, u, ((int64_t *)days.v)[i], false, &s);
        if (e) {
            e = e == ERR_NOT_FOUND ? ERR_NONE : e;
            continue;
        }
        do {
            e = store_tx(cx, s, forget_step, &f);
        } while (!e && f.gone.n == USAGE_STEP_ROWS && !usage_is_stopping(u));
        store_close(s);
    }
    return e;
}
