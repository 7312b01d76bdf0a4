/* Runs of syncs: see sync_run.h. */
#include "sync_run.h"

#include "../base/clock.h"
#include "../base/crypt.h"
#include "../base/json.h"
#include "../core/event.h"

#define COLUMNS                                                                                    \
    "id, sync_id, status, items_processed, items_created, items_updated, items_skipped, "          \
    "error_count, duration_ms, started_ms AS started_at, created_ms AS created_at"

/* ---- field tables ---- */

#define AT(member) offsetof(struct sync_run, member)
/* clang-format off */
#define COUNT_ROW(name, doc) { #name, F_INT, AT(name), 0, 0, 0, NULL, doc, "0" }
#define LIST_ROWS \
    { "id", F_UUID, AT(id), 0, 0, 0, NULL, "Identifier of the run", NULL }, \
    { "sync_id", F_UUID, AT(sync_id), 0, 0, 0, NULL, "Of which sync", NULL }, \
    { "status", F_ENUM, AT(status), 0, 0, 0, sync_statuses, \
      "success: all went well; partial: some items did not; error: the run failed", \
      "\"success\"" }, \
    COUNT_ROW(items_processed, "Items that were looked at"), \
    COUNT_ROW(items_created, "Items that were made"), \
    COUNT_ROW(items_updated, "Items that were changed"), \
    COUNT_ROW(items_skipped, "Items that were left alone"), \
    COUNT_ROW(error_count, "How many errors it names"), \
    { "duration_ms", F_INT, AT(duration_ms), F_NULLABLE, 0, 0, NULL, \
      "How long it took, in milliseconds", "1840" }, \
    { "started_at", F_TIME, AT(started_ms), F_NULLABLE, 0, 0, NULL, \
      "When it began, by the worker's clock", NULL }, \
    { "created_at", F_TIME, AT(created_ms), 0, 0, 0, NULL, "When it was reported", NULL }
#define ERRORS_ROW \
    { "errors", F_STRS, AT(errors), 0, 0, 0, NULL, "What went wrong", \
      "[\"OPS-7: no such status\"]" }
/* clang-format on */
static const struct field list_fields[] = { LIST_ROWS };
const struct rec rec_sync_run =
    REC("SyncRun", struct sync_run, list_fields, "A run of a sync that is over.");
static const struct field full_fields[] = { LIST_ROWS, ERRORS_ROW };
const struct rec rec_sync_run_full = REC("SyncRunFull", struct sync_run, full_fields,
                                         "A run of a sync that is over, with its errors.");
static const struct field event_fields[] = {
    LIST_ROWS,
    ERRORS_ROW,
    { "sync_name", F_STR, AT(sync_name), 0, 0, 0, NULL, "Name of the sync", NULL },
    { "integration_id", F_UUID, AT(integration_id), 0, 0, 0, NULL, "What it syncs with", NULL },
};
const struct rec rec_sync_run_event =
    REC("SyncRunEvent", struct sync_run, event_fields, "A run of a sync, as events tell of it.");

#define IN(member) offsetof(struct sync_run_new, member)
/* clang-format off */
#define COUNT_IN_ROW(name, doc) { #name, F_INT, IN(name), 0, 0, SYNC_ITEMS_MAX, NULL, doc, "0" }
static const struct field new_fields[] = {
    { "status", F_ENUM, IN(status), F_REQUIRED, 0, 0, sync_statuses,
      "success: all went well; partial: some items did not; error: the run failed",
      "\"success\"" },
    COUNT_IN_ROW(items_processed, "Items that were looked at (default 0)"),
    COUNT_IN_ROW(items_created, "Items that were made (default 0)"),
    COUNT_IN_ROW(items_updated, "Items that were changed (default 0)"),
    COUNT_IN_ROW(items_skipped, "Items that were left alone (default 0)"),
    { "errors", F_STRS, IN(errors), 0, 0, SYNC_ERRORS_MAX, NULL,
      "What went wrong (default nothing): texts of 1 to 1000 characters, together at most 64 KiB; "
      "no secrets, since who may read integrations sees them",
      "[\"OPS-7: no such status\"]" },
    { "duration_ms", F_INT, IN(duration_ms), F_NULLABLE, 0, SYNC_DURATION_MAX_MS, NULL,
      "How long it took, in milliseconds", "1840" },
    { "started_at", F_TIME, IN(started_ms), F_NULLABLE, 0, 0, NULL,
      "When it began; not in the future", NULL },
};
/* clang-format on */
const struct rec rec_sync_run_new =
    REC("SyncRunNew", struct sync_run_new, new_fields, "A run of a sync that is over, to be kept.");

#define Q(member) offsetof(struct sync_run_query, member)
static const struct field query_fields[] = {
    { "status", F_ENUMS, Q(status), 0, 0, 3, sync_statuses,
      "Only those that ended so (comma separated)", NULL },
    { "from", F_TIME, Q(from), 0, 0, 0, NULL, "Reported at or after", NULL },
    { "to", F_TIME, Q(to), 0, 0, 0, NULL, "Reported before", NULL },
    LISTING_QUERY_ROWS(struct sync_run_query),
};
const struct rec rec_sync_run_query = REC("SyncRunQuery", struct sync_run_query, query_fields,
                                          "Filters of the list of runs of a sync.");

/* ---- adding ---- */

static enum err_code bad(struct ctx *cx, const char *field, const char *why)
{
    return ctx_fail_field(cx, ERR_INVALID_FIELD, str_of(field), "%s %s", field, why);
}

/* *count: how many there are. */
static enum err_code check_errors(struct ctx *cx, struct str errors, int64_t *count)
{
    json_t *list = json_read(cx, errors), *one;
    size_t i;
    if (!list)
        return cx->err;
    json_array_foreach(list, i, one) {
        size_t n = str_chars((struct str){ json_string_value(one), json_string_length(one) });
        if (n < 1 || n > SYNC_ERROR_MAX)
            return bad(cx, "errors", "must hold texts of 1 to 1000 characters");
    }
    *count = (int64_t)json_array_size(list);
    return errors.n > SYNC_ERRORS_BYTES ? bad(cx, "errors", "must have at most 65536 bytes of JSON")
                                        : ERR_NONE;
}

/* The event is about the sync, and kept in order with its changes. */
static enum err_code tell(struct ctx *cx, struct db *db, const struct caller *who,
                          const struct sync *of, const struct sync_run *r)
{
    struct sync_run told = *r;
    told.sync_name = of->name;
    told.integration_id = of->integration_id;
    REC_SET(&told, sync_name);
    REC_SET(&told, integration_id);
    bool is_failed = str_eq(r->status, STR("error"));
    return event_emit(
        cx, db, who,
        &(struct event_new){ .type = is_failed ? EVENT_SYNC_FAILED : EVENT_SYNC_FINISHED,
                             .subject_id = of->id,
                             .rec = &rec_sync_run_event,
                             .obj = &told });
}

enum err_code sync_run_add(struct ctx *cx, struct db *db, const struct caller *who,
                           struct str sync_id, const struct sync_run_new *in, struct sync_run *out)
{
    struct sync of;
    struct str errors = REC_HAS(in, errors) ? in->errors : STR("[]");
    int64_t count = 0, now = clock_ms();
    enum err_code e = check_errors(cx, errors, &count);
    if (!e && REC_HAS(in, started_ms) && in->started_ms > now + SYNC_CLOCK_SLACK_MS)
        e = bad(cx, "started_at", "must not be in the future");
    if (!e)
        e = sync_ran(cx, db, who, sync_id, in->status, now, &of);
    if (!e)
        e = db_one(cx, db, &rec_sync_run_full,
                   "INSERT INTO sync_run (team_id, id, sync_id, status, items_processed, "
                   "items_created, items_updated, items_skipped, errors, error_count, duration_ms, "
                   "started_ms, created_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, "
                   "$12, $13) RETURNING " COLUMNS ", errors",
                   ARGS(VT(who->team_id), VT(uuid7(&cx->arena)), VT(of.id), VT(in->status),
                        VI(in->items_processed), VI(in->items_created), VI(in->items_updated),
                        VI(in->items_skipped), VT(errors), VI(count),
                        VI_OR_NULL(REC_HAS(in, duration_ms), in->duration_ms),
                        VI_OR_NULL(REC_HAS(in, started_ms), in->started_ms), VI(now)),
                   out);
    return e ? e : tell(cx, db, who, &of, out);
}

/* ---- reading ---- */

enum err_code sync_run_get(struct ctx *cx, struct db *db, const struct caller *who,
                           struct str sync_id, struct str id, struct sync_run *out)
{
    struct sync of;
    enum err_code e = path_id(cx, "sync_run_id", &id);
    if (!e)
        e = sync_get(cx, db, who, sync_id, &of);
    if (e)
        return e;
    e = db_one(cx, db, &rec_sync_run_full,
               "SELECT " COLUMNS
               ", errors FROM sync_run WHERE team_id = $1 AND id = $2 AND sync_id = $3",
               ARGS(VT(who->team_id), VT(id), VT(of.id)), out);
    return e == ERR_NOT_FOUND ? fail(cx, NOT_FOUND, "Run not found; it may be too old") : e;
}

enum err_code sync_run_list(struct ctx *cx, struct db *db, const struct caller *who,
                            struct str sync_id, const struct sync_run_query *in,
                            struct cursor_key key, struct page *out)
{
    static const struct listing_from from = { .r = &rec_sync_run,
                                              .kind = "sync-runs:-id",
                                              .columns = COLUMNS,
                                              .table = "sync_run",
                                              .id = "id",
                                              .is_down = true,
                                              .id_at = AT(id) };
    const struct page_ask ask = { .cursor = in->cursor, .limit = in->limit, .key = &key };
    struct listing l;
    struct sync of;
    enum err_code e = sync_get(cx, db, who, sync_id, &of);
    if (e)
        return e;
    listing_init(&l, cx, " WHERE team_id = ", VT(who->team_id));
    listing_and(&l, " AND sync_id = ", VT(of.id), "");
    if (REC_HAS(in, status))
        listing_words(&l, "status", in->status);
    if (REC_HAS(in, from))
        listing_and(&l, " AND created_ms >= ", VI(in->from), "");
    if (REC_HAS(in, to))
        listing_and(&l, " AND created_ms < ", VI(in->to), "");
    return listing_page(&l, db, &from, &ask, out);
}

/* ---- how long ---- */

#define SWEEP_MAX 500 /* rows a unit */

struct sweep {
    int64_t before_ms;
    int64_t n; /* out: rows that went */
};

static enum err_code runs_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct sweep *s = arg;
    struct list gone;
    db_scope_system(db);
    enum err_code e = db_list(cx, db, &rec_num,
                              "DELETE FROM sync_run WHERE (team_id, id) IN (SELECT team_id, id "
                              "FROM sync_run WHERE created_ms < $1 ORDER BY created_ms LIMIT $2) "
                              "RETURNING 1 AS n",
                              ARGS(VI(s->before_ms), VI(SWEEP_MAX)), &gone);
    s->n = e ? 0 : (int64_t)gone.n;
    return e;
}

static enum err_code syncs_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct sweep *s = arg;
    db_scope_system(db);
    return sync_purge(cx, db, s->before_ms, SWEEP_MAX, &s->n);
}

/* Runs first: a sync that was deleted so long ago has none left then. */
enum err_code syncs_sweep(struct ctx *cx, struct store *store, int64_t days)
{
    static enum err_code (*const units[])(struct ctx *, struct db *, void *) = { runs_unit,
                                                                                 syncs_unit };
    struct sweep s = { .before_ms = clock_ms() - days * DAY_MS };
    enum err_code e = ERR_NONE;
    for (size_t i = 0; !e && i < sizeof units / sizeof *units; i++) {
        do {
            struct ctx step;
            ctx_init(&step, CTX_CAP_DEFAULT);
            e = store_tx(&step, store, units[i], &s);
            if (e)
                ctx_fail(cx, e, STR_FMT, STR_ARG(step.err_text));
            ctx_done(&step);
        } while (!e && s.n == SWEEP_MAX && ctx_ok(cx));
    }
    return e ? e : cx->err;
}
