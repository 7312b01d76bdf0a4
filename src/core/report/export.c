/* Rows of exports: see export.h. */
#include "export.h"

#include "../../base/clock.h"
#include "../audit.h"

#define COLUMNS                                                                                    \
    "id, kind, report_id, name, format, state, progress, n_rows AS rows, size_bytes AS size, "     \
    "error, created_ms AS created_at, finished_ms AS finished_at, expires_ms AS expires_at"
/* $2 is the caller's id, or "" when it sees all of the team. */
#define SEEN "(CAST($2 AS TEXT) = '' OR created_by_id = $2)"

static const char *const states[] = { "queued", "running", "done", "failed", NULL };
static const char *const kinds[] = { "report", "usage", "tickets", "contacts", NULL };
static const char *const sources[] = { "usage", "tickets", "contacts", NULL };
static const char *const all_formats[] = { "json", "csv", "ndjson", "xlsx", NULL };
static const char *const row_formats[] = { "csv", "ndjson", "xlsx", NULL };
static const char *const report_formats[] = { "json", "csv", "xlsx", NULL };

#define AT(member) offsetof(struct export, member)
static const struct field export_fields[] = {
    { "id", F_UUID, AT(id), 0, 0, 0, NULL, "Export identifier", NULL },
    { "kind", F_ENUM, AT(kind), 0, 0, 0, kinds, "What is exported", NULL },
    { "report_id", F_UUID, AT(report_id), F_NULLABLE, 0, 0, NULL, "The report", NULL },
    { "name", F_STR, AT(name), 0, 0, 0, NULL, "Name of the file without its ending", NULL },
    { "format", F_ENUM, AT(format), 0, 0, 0, all_formats, "Format of the file", NULL },
    { "state", F_ENUM, AT(state), 0, 0, 0, states, "How far it is", NULL },
    { "progress", F_INT, AT(progress), 0, 0, 100, NULL,
      "Percent; 100 only when it is done. Of the request log an estimate", NULL },
    { "rows", F_INT, AT(rows), 0, 0, 0, NULL, "Rows written so far", NULL },
    { "size", F_INT, AT(size), F_NULLABLE, 0, 0, NULL, "Bytes of the finished file", NULL },
    { "error", F_STR, AT(error), F_NULLABLE, 0, 0, NULL, "Why it failed", NULL },
    { "created_at", F_TIME, AT(created_ms), 0, 0, 0, NULL, "When it was asked for", NULL },
    { "finished_at", F_TIME, AT(finished_ms), F_NULLABLE, 0, 0, NULL, "When it was done or failed",
      NULL },
    { "expires_at", F_TIME, AT(expires_ms), 0, 0, 0, NULL, "When it and its file are removed",
      NULL },
};
const struct rec rec_export = REC("Export", struct export, export_fields, "A file being made.");

#define IN(member) offsetof(struct export_new, member)
static const struct field new_fields[] = {
    { "source", F_ENUM, IN(source), F_REQUIRED, 0, 0, sources, "What is exported", "\"usage\"" },
    { "format", F_ENUM, IN(format), F_REQUIRED, 0, 0, row_formats, "Format of the file",
      "\"xlsx\"" },
    { "filters", F_RECS, IN(filters), 0, 0, REPORT_FILTERS_MAX, NULL,
      "Conditions that all must hold: on the fields of GET /v1/reports/fields; of usage only eq on "
      "key_id, route, method, status, status_class, ip, country",
      NULL, &rec_report_filter },
    { "from", F_STR, IN(from), F_NULLABLE, 1, 40, NULL,
      "Only created at or after this time: RFC 3339, now, or relative as -30d", "\"-30d\"" },
    { "to", F_STR, IN(to), F_NULLABLE, 1, 40, NULL, "Only created before this time", NULL },
};
const struct rec rec_export_new =
    REC("ExportNew", struct export_new, new_fields, "An export to start.");

#define RE(member) offsetof(struct export_report_new, member)
static const struct field report_new_fields[] = {
    { "format", F_ENUM, RE(format), F_REQUIRED, 0, 0, report_formats, "Format of the file",
      "\"xlsx\"" },
    { "from", F_STR, RE(from), F_NULLABLE, 1, 40, NULL, "Instead of the definition's from", NULL },
    { "to", F_STR, RE(to), F_NULLABLE, 1, 40, NULL, "Instead of the definition's to", NULL },
};
const struct rec rec_export_report_new = REC("ReportExportNew", struct export_report_new,
                                             report_new_fields, "An export of a report to start.");

static struct str seen_by(const struct caller *who)
{
    return scope_granted(who->scopes, SCOPE(ADMIN_FULL)) ? STR("") : caller_subject(who);
}

static enum err_code audit(struct ctx *cx, struct db *db, const struct caller *who,
                           const char *action, const struct export *before,
                           const struct export *after)
{
    return audit_write(cx, db, who,
                       &(struct audit_entry){ action, "export", before ? before->id : after->id,
                                              audit_json(cx, &rec_export, before),
                                              audit_json(cx, &rec_export, after) });
}

static enum err_code has_room(struct ctx *cx, struct db *db, const struct caller *who)
{
    struct rec_num n;
    enum err_code e = db_one(cx, db, &rec_num,
                             "SELECT COUNT(*) AS n FROM report_export WHERE team_id = $1 AND "
                             "finished_ms IS NULL",
                             ARGS(VT(who->team_id)), &n);
    if (!e && n.n >= EXPORTS_OPEN_MAX)
        e = fail(cx, CONFLICT, "%d exports are waiting or running; wait for one or delete one",
                 EXPORTS_OPEN_MAX);
    return e;
}

enum err_code export_insert(struct ctx *cx, struct db *db, const struct export_job *job,
                            struct str home, struct export *out)
{
    const struct caller *who = &job->who;
    enum err_code e = has_room(cx, db, who);
    if (!e)
        e = db_one(
            cx, db, &rec_export,
            "INSERT INTO report_export (team_id, id, kind, report_id, name, format, state, "
            "progress, n_rows, created_by_kind, created_by_id, created_ms, expires_ms, home, "
            "seen_ms) VALUES ($1, $2, $3, $4, $5, $6, 'queued', 0, 0, $7, $8, $9, $10, $11, $9) "
            "RETURNING " COLUMNS,
            ARGS(VT(who->team_id), VT(job->id), VT(job->kind), VT(job->report_id), VT(job->name),
                 VT(job->format), VT(str_of(caller_kind(who))), VT(caller_subject(who)),
                 VI(job->asked_ms), VI(job->asked_ms + EXPORT_KEPT_MS), VT(home)),
            out);
    return e ? e : audit(cx, db, who, "export.create", NULL, out);
}

enum err_code export_insert_done(struct ctx *cx, struct db *db, const struct export_end *to,
                                 struct str home, struct export *out)
{
    const struct export_job *job = to->job;
    return db_one(
        cx, db, &rec_export,
        "INSERT INTO report_export (team_id, id, kind, report_id, name, format, state, progress, "
        "n_rows, size_bytes, created_by_kind, created_by_id, created_ms, finished_ms, expires_ms, "
        "home, seen_ms) VALUES ($1, $2, $3, $4, $5, $6, 'done', 100, $7, $8, $9, $10, $11, $11, "
        "$12, $13, $11) RETURNING " COLUMNS,
        ARGS(VT(job->who.team_id), VT(job->id), VT(job->kind), VT(job->report_id), VT(job->name),
             VT(job->format), VI(to->rows), VI(to->size), VT(str_of(caller_kind(&job->who))),
             VT(caller_subject(&job->who)), VI(clock_ms()), VI(clock_ms() + EXPORT_KEPT_MS),
             VT(home)),
        out);
}

enum err_code export_get(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                         struct export *out)
{
    enum err_code e = path_id(cx, "export_id", &id);
    if (e)
        return e;
    e = db_one(cx, db, &rec_export,
               "SELECT " COLUMNS " FROM report_export WHERE team_id = $1 AND " SEEN " AND id = $3",
               ARGS(VT(who->team_id), VT(seen_by(who)), VT(id)), out);
    return e == ERR_NOT_FOUND ? fail(cx, NOT_FOUND, "Export not found") : e;
}

enum err_code export_list(struct ctx *cx, struct db *db, const struct caller *who,
                          const struct list_query *in, struct cursor_key key, struct page *out)
{
    static const struct listing_from from = { .r = &rec_export,
                                              .kind = "exports:-id",
                                              .columns = COLUMNS,
                                              .table = "report_export",
                                              .id = "id",
                                              .is_down = true,
                                              .id_at = offsetof(struct export, id) };
    struct page_ask ask = { .cursor = in->cursor, .limit = in->limit, .key = &key };
    struct str seen = seen_by(who);
    struct listing l;
    listing_init(&l, cx, " WHERE team_id = ", VT(who->team_id));
    if (seen.n)
        listing_and(&l, " AND created_by_id = ", VT(seen), "");
    return listing_page(&l, db, &from, &ask, out);
}

enum err_code export_remove(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                            struct export *out)
{
    struct rec_num gone;
    enum err_code e = export_get(cx, db, who, id, out);
    if (e)
        return e;
    e = db_one(cx, db, &rec_num,
               "DELETE FROM report_export WHERE team_id = $1 AND id = $2 RETURNING 1 AS n",
               ARGS(VT(who->team_id), VT(out->id)), &gone);
    if (e == ERR_NOT_FOUND)
        return fail(cx, NOT_FOUND, "Export not found");
    return e ? e : audit(cx, db, who, "export.delete", out, NULL);
}

enum err_code export_move(struct ctx *cx, struct db *db, const struct export_end *to)
{
    struct rec_num found;
    int64_t now = clock_ms();
    return db_one(cx, db, &rec_num,
                  "UPDATE report_export SET state = $3, progress = $4, n_rows = $5, "
                  "size_bytes = $6, error = $7, seen_ms = $8, finished_ms = $9, "
                  "expires_ms = $10 WHERE team_id = $1 AND id = $2 AND finished_ms IS NULL "
                  "RETURNING 1 AS n",
                  ARGS(VT(to->job->who.team_id), VT(to->job->id), VT(to->state), VI(to->progress),
                       VI(to->rows), VI_OR_NULL(to->size > 0, to->size), VT(to->error), VI(now),
                       VI_OR_NULL(to->is_over, now), VI(now + EXPORT_KEPT_MS)),
                  &found);
}
