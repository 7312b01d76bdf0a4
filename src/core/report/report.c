/* Saved reports: see report.h. A change is one UPDATE … RETURNING guarded by the version that was
 * read. */
#include "report.h"

#include "../../base/clock.h"
#include "../../base/crypt.h"
#include "../audit.h"
#include "../ticket.h"
#include "report_def.h"

#define COLUMNS                                                                                    \
    "id, name, description, definition, created_by, version, created_ms AS created_at, "           \
    "updated_ms AS updated_at"

#define AT(member) offsetof(struct report, member)
static const struct field report_fields[] = {
    { "id", F_UUID, AT(id), 0, 0, 0, NULL, "Report identifier", NULL },
    { "name", F_STR, AT(name), 0, 0, 0, NULL, "Name", "\"Tickets by week\"" },
    { "description", F_STR, AT(description), F_NULLABLE, 0, 0, NULL, "What it is for", NULL },
    { "definition", F_REC, AT(definition), 0, 0, 0, NULL, "What it shows", NULL,
      &rec_report_definition },
    { "created_by", F_UUID, AT(created_by), F_NULLABLE, 0, 0, NULL,
      "Id of the API key or user that created it", NULL },
    { "version", F_INT, AT(version), 0, 0, 0, NULL,
      "Grows by one with each change; the ETag is made from it", "1" },
    { "created_at", F_TIME, AT(created_ms), 0, 0, 0, NULL, "When it was created", NULL },
    { "updated_at", F_TIME, AT(updated_ms), 0, 0, 0, NULL, "When it last changed", NULL },
};
const struct rec rec_report = REC("Report", struct report, report_fields, "A saved report.");

#define IN(member) offsetof(struct report_new, member)
static const struct field new_fields[] = {
    { "name", F_STR, IN(name), F_REQUIRED | F_SINGLE_LINE, 1, REPORT_TITLE_MAX, NULL, "Name",
      "\"Tickets by week\"" },
    { "description", F_STR, IN(description), F_NULLABLE, 0, REPORT_DESCRIPTION_MAX, NULL,
      "What it is for", NULL },
    { "definition", F_REC, IN(definition), F_REQUIRED, 0, 0, NULL, "What it shows", NULL,
      &rec_report_definition },
};
const struct rec rec_report_new =
    REC("ReportNew", struct report_new, new_fields, "A report to save.");
const struct rec rec_report_patch = REC("ReportPatch", struct report_new, new_fields,
                                        "Changes to a report (JSON merge patch: null clears); the "
                                        "definition changes as a whole.");

static const struct field query_fields[] = {
    { "q", F_STR, offsetof(struct report_query, q), 0, 1, 200, NULL,
      "Text that the name contains, letter case ignored", NULL },
    LISTING_QUERY_ROWS(struct report_query),
};
const struct rec rec_report_query =
    REC("ReportQuery", struct report_query, query_fields, "Filters of the report list.");

static enum err_code audit(struct ctx *cx, struct db *db, const struct caller *who,
                           const char *action, const struct report *before,
                           const struct report *after)
{
    return audit_write(cx, db, who,
                       &(struct audit_entry){ action, "report", before ? before->id : after->id,
                                              audit_json(cx, &rec_report, before),
                                              audit_json(cx, &rec_report, after) });
}

/* The text to be stored. */
static enum err_code judge(struct ctx *cx, struct str definition, struct str *text)
{
    struct report_def *d = ARENA_NEW(&cx->arena, struct report_def);
    enum err_code e = report_def_parse(cx, definition, "definition", clock_ms(), d);
    if (!e)
        *text = d->text;
    return e;
}

enum err_code report_create(struct ctx *cx, struct db *db, const struct caller *who,
                            const struct report_new *in, struct report *out)
{
    struct str definition, subject = caller_subject(who);
    enum err_code e = judge(cx, in->definition, &definition);
    if (!e)
        e = db_one(cx, db, &rec_report,
                   "INSERT INTO report (team_id, id, name, description, definition, version, "
                   "created_by, created_ms, updated_ms) VALUES ($1, $2, $3, $4, $5, 1, $6, $7, $7) "
                   "RETURNING " COLUMNS,
                   ARGS(VT(who->team_id), VT(uuid7(&cx->arena)), VT(in->name), VT(in->description),
                        VT(definition), VT(subject.n ? subject : STR_NONE), VI(clock_ms())),
                   out);
    return e ? e : audit(cx, db, who, "report.create", NULL, out);
}

enum err_code report_get(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                         struct report *out)
{
    enum err_code e = path_id(cx, "report_id", &id);
    if (e)
        return e;
    e = db_one(cx, db, &rec_report,
               "SELECT " COLUMNS
               " FROM report WHERE team_id = $1 AND id = $2 AND deleted_ms IS NULL",
               ARGS(VT(who->team_id), VT(id)), out);
    return e == ERR_NOT_FOUND ? fail(cx, NOT_FOUND, "Report not found") : e;
}

static enum err_code get_at(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                            const struct versions *allowed, struct report *out)
{
    enum err_code e = report_get(cx, db, who, id, out);
    bool is_fine = !allowed || allowed->is_any;
    for (int i = 0; !e && !is_fine && i < allowed->n; i++)
        is_fine = allowed->v[i] == out->version;
    if (e || is_fine)
        return e;
    return fail(cx, PRECONDITION_FAILED, "The report is at version %lld now",
                (long long)out->version);
}

static enum err_code changed_meanwhile(struct ctx *cx)
{
    return fail(cx, CONFLICT, "The report was changed by another request; read it again");
}

enum err_code report_update(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                            const struct report_new *patch, const struct versions *allowed,
                            struct report *out)
{
    struct report was, now;
    enum err_code e = get_at(cx, db, who, id, allowed, &was);
    now = was;
    if (!e && REC_HAS(patch, definition))
        e = judge(cx, patch->definition, &now.definition);
    if (e)
        return e;
    if (REC_HAS(patch, name))
        now.name = patch->name;
    if (REC_HAS(patch, description) || REC_IS_NULL(patch, description))
        now.description = patch->description;
    int64_t ms = clock_ms();
    e = db_one(cx, db, &rec_report,
               "UPDATE report SET name = $3, description = $4, definition = $5, "
               "version = version + 1, updated_ms = $6 WHERE team_id = $1 AND id = $2 AND "
               "version = $7 AND deleted_ms IS NULL RETURNING " COLUMNS,
               ARGS(VT(who->team_id), VT(was.id), VT(now.name), VT(now.description),
                    VT(now.definition), VI(ms > was.updated_ms ? ms : was.updated_ms),
                    VI(was.version)),
               out);
    if (e == ERR_NOT_FOUND)
        return changed_meanwhile(cx);
    return e ? e : audit(cx, db, who, "report.update", &was, out);
}

enum err_code report_delete(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                            const struct versions *allowed)
{
    struct report was;
    struct rec_num gone;
    enum err_code e = get_at(cx, db, who, id, allowed, &was);
    if (!e)
        e = db_run(cx, db, "DELETE FROM report_schedule WHERE team_id = $1 AND report_id = $2",
                   ARGS(VT(who->team_id), VT(was.id)));
    if (e)
        return e;
    e = db_one(cx, db, &rec_num,
               "UPDATE report SET deleted_ms = $3, version = version + 1 WHERE team_id = $1 AND "
               "id = $2 AND version = $4 AND deleted_ms IS NULL RETURNING 1 AS n",
               ARGS(VT(who->team_id), VT(was.id), VI(clock_ms()), VI(was.version)), &gone);
    if (e == ERR_NOT_FOUND)
        return changed_meanwhile(cx);
    return e ? e : audit(cx, db, who, "report.delete", &was, NULL);
}

enum err_code report_list(struct ctx *cx, struct db *db, const struct caller *who,
                          const struct report_query *in, struct cursor_key key, struct page *out)
{
    static const struct listing_from from = { .r = &rec_report,
                                              .kind = "reports:id",
                                              .columns = COLUMNS,
                                              .table = "report",
                                              .id = "id",
                                              .id_at = offsetof(struct report, id) };
    struct page_ask ask = { .cursor = in->cursor, .limit = in->limit, .key = &key };
    struct listing l;
    listing_init(&l, cx, " WHERE team_id = ", VT(who->team_id));
    buf_lit(&l.sql, " AND deleted_ms IS NULL");
    if (REC_HAS(in, q))
        listing_and(&l, " AND lower(name) LIKE lower(CAST(", VT(listing_like(cx, in->q)),
                    " AS TEXT)) ESCAPE '\\'");
    return listing_page(&l, db, &from, &ask, out);
}
