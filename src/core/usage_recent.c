/* The newest rows of a token or a team: the table, and on SQLite the day files behind it, newest
 * first.
 *
 * The main file is read first: a row that moves meanwhile is seen there or in its day file, never
 * in neither, and ids tell where the main file ended. Any thread. */
#include <string.h>

#include "usage_inner.h"

#define RECENT_MAX 1000

static const struct field row_fields[] = {
    { .name = "id",
      .type = F_INT,
      .offset = offsetof(struct usage_row, id),
      .doc = "Number of the row" },
    { .name = "token_id",
      .type = F_STR,
      .flags = F_NULLABLE,
      .offset = offsetof(struct usage_row, token_id),
      .doc = "The token" },
    { .name = "endpoint",
      .type = F_STR,
      .offset = offsetof(struct usage_row, endpoint),
      .doc = "Pattern of the route" },
    { .name = "method",
      .type = F_STR,
      .offset = offsetof(struct usage_row, method),
      .doc = "HTTP method" },
    { .name = "status_code",
      .type = F_INT,
      .offset = offsetof(struct usage_row, status_code),
      .doc = "Status of the answer" },
    { .name = "response_time_us",
      .type = F_INT,
      .offset = offsetof(struct usage_row, response_time_us),
      .doc = "Microseconds until the answer was ready" },
    { .name = "ip_address",
      .type = F_STR,
      .flags = F_NULLABLE,
      .offset = offsetof(struct usage_row, ip_address),
      .doc = "Address of the client" },
    { .name = "user_agent",
      .type = F_STR,
      .flags = F_NULLABLE,
      .offset = offsetof(struct usage_row, user_agent),
      .doc = "User-Agent header, cut" },
    { .name = "request_payload",
      .type = F_STR,
      .flags = F_NULLABLE,
      .offset = offsetof(struct usage_row, request_payload),
      .doc = "Body of a POST or PATCH, secrets masked, cut" },
    { .name = "error_message",
      .type = F_STR,
      .flags = F_NULLABLE,
      .offset = offsetof(struct usage_row, error_message),
      .doc = "Code of the error" },
    { .name = "created_at",
      .type = F_TIME,
      .offset = offsetof(struct usage_row, created_ms),
      .doc = "When the request arrived" },
};
const struct rec rec_usage_row = REC("UsageRow", struct usage_row, row_fields, "One request.");

#define SQL_ROWS                                                                                     \
    "SELECT id, token_id, endpoint, method, status_code, response_time_us, ip_address, user_agent, " \
    "request_payload, error_message, created_ms AS created_at FROM integration_token_usage WHERE "
#define TOKEN "token_id = $5 AND team_id = $1 AND "
#define TEAM "team_id = $1 AND "
#define BY_ID "id < $2 ORDER BY id DESC LIMIT $3"
/* PostgreSQL prunes partitions by time. */
#define BY_TIME                                                                                    \
    "created_ms <= $4 AND (created_ms < $4 OR id < $2) ORDER BY created_ms DESC, id DESC LIMIT $3"
#define SQL_WHEN "SELECT created_ms AS n FROM integration_token_usage WHERE id = $1"

struct recent {
    struct str team_id, token_id;
    int64_t below; /* id */
    int64_t before_ms;
    int64_t limit;
    struct usage_row *rows; /* room for the first limit */
    size_t n;
};

static enum err_code read_some(struct ctx *cx, struct db *db, void *arg)
{
    struct recent *r = arg;
    struct list got;
    bool is_postgres = db_is_postgres(db); /* its rows are found by time: see BY_TIME */
    const char *sql = is_postgres ? (r->token_id.p ? SQL_ROWS TOKEN BY_TIME : SQL_ROWS TEAM BY_TIME)
                                  : (r->token_id.p ? SQL_ROWS TOKEN BY_ID : SQL_ROWS TEAM BY_ID);
    struct rec_num when = { .n = INT64_MAX };
    struct args args;
    enum err_code e = ERR_NONE;

    db_scope(db, r->team_id, STR(""));
    if (is_postgres && r->below != INT64_MAX)
        e = db_one(cx, db, &rec_num, SQL_WHEN, ARGS(VI(r->below)), &when);
    if (e == ERR_NOT_FOUND)
        return ERR_NONE; /* gone with its partition, and all older ones with it */
    args = ARGS(VT(r->team_id), VI(r->below), VI(r->limit - (int64_t)r->n), VI(when.n),
                VT(r->token_id));
    args.n -= !r->token_id.p; /* the text for a team has no $5 */
    if (!e)
        e = db_list(cx, db, &rec_usage_row, sql, args, &got);
    if (e)
        return e;
    if (got.n)
        memcpy(r->rows + r->n, got.v, got.n * sizeof *r->rows);
    r->n += got.n;
    if (r->n)
        r->below = r->rows[r->n - 1].id;
    return ERR_NONE;
}

static enum err_code read_days(struct ctx *cx, struct usage *u, struct recent *r)
{
    struct list days;
    enum err_code e = day_list(cx, u, &days);

    for (size_t i = 0; i < days.n && !e && (int64_t)r->n < r->limit; i++) {
        struct store *s;

        e = day_open(cx, u, ((int64_t *)days.v)[i], false, &s);
        if (e == ERR_NOT_FOUND) {
            e = ERR_NONE; /* retired meanwhile */
            continue;
        }
        if (e)
            return e;
        e = store_read(cx, s, read_some, r);
        store_close(s);
    }
    return e;
}

enum err_code usage_recent(struct ctx *cx, struct usage *u, struct str team_id, struct str token_id,
                           int64_t before_id, int64_t limit, struct list *out)
{
    struct recent r = { .team_id = team_id,
                        .token_id = token_id,
                        .below = before_id > 0 ? before_id : INT64_MAX,
                        .limit = limit < 1            ? 1
                                 : limit > RECENT_MAX ? RECENT_MAX
                                                      : limit };
    enum err_code e;

    r.rows = ARENA_ARRAY(&cx->arena, struct usage_row, (size_t)r.limit);
    e = store_read(cx, u->store, read_some, &r);
    if (!e && !store_is_postgres(u->store) && (int64_t)r.n < r.limit)
        e = read_days(cx, u, &r);
    if (e)
        return e;
    *out = (struct list){ r.rows, r.n };
    return ERR_NONE;
}
