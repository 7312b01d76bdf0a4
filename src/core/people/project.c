/* Projects: see project.h. Changes are one UPDATE … RETURNING guarded by the version that was
 * read. */
#include "project.h"

#include "../../base/clock.h"
#include "../../base/crypt.h"
#include "../audit.h"
#include "../ticket.h"

#define COLUMNS                                                                                    \
    "id, key, name, description, status, version, created_ms AS created_at, "                      \
    "updated_ms AS updated_at"

static const char *const statuses[] = { "active", "archived", NULL };

#define AT(member) offsetof(struct project, member)
static const struct field project_fields[] = {
    { "id", F_UUID, AT(id), 0, 0, 0, NULL, "Project identifier", NULL },
    { "key", F_STR, AT(key), 0, 0, 0, NULL, "Short name, unique in the team", "\"SUP\"" },
    { "name", F_STR, AT(name), 0, 0, 0, NULL, "Name", "\"Support\"" },
    { "description", F_STR, AT(description), F_NULLABLE, 0, 0, NULL, "What it is for", NULL },
    { "status", F_ENUM, AT(status), 0, 0, 0, statuses, "An archived project takes no new tickets",
      NULL },
    { "version", F_INT, AT(version), 0, 0, 0, NULL,
      "Grows by one with each change; the ETag is made from it", "1" },
    { "created_at", F_TIME, AT(created_ms), 0, 0, 0, NULL, "When it was made", NULL },
    { "updated_at", F_TIME, AT(updated_ms), 0, 0, 0, NULL, "When it last changed", NULL },
};
const struct rec rec_project = REC("Project", struct project, project_fields,
                                   "A part of a team that tickets are filed under.");

#define IN(member) offsetof(struct project_new, member)
static const struct field new_fields[] = {
    { "key", F_STR, IN(key), F_REQUIRED | F_SINGLE_LINE, PROJECT_KEY_MIN, PROJECT_KEY_MAX, NULL,
      "Short name, unique in the team: A–Z and 0–9, a letter first", "\"SUP\"" },
    { "name", F_STR, IN(name), F_REQUIRED | F_SINGLE_LINE, 1, PROJECT_NAME_MAX, NULL, "Name",
      "\"Support\"" },
    { "description", F_STR, IN(description), F_NULLABLE, 0, PROJECT_DESCRIPTION_MAX, NULL,
      "What it is for", NULL },
    { "status", F_ENUM, IN(status), 0, 0, 0, statuses, "Status (default active)", NULL },
};
const struct rec rec_project_new =
    REC("ProjectNew", struct project_new, new_fields, "A project to create.");
const struct rec rec_project_patch = REC("ProjectPatch", struct project_new, new_fields,
                                         "Changes to a project (JSON merge patch: null clears).");

static const struct field query_fields[] = {
    { "q", F_STR, offsetof(struct project_query, q), 0, 1, 200, NULL,
      "Text that key or name contains, letter case ignored", NULL },
    { "status", F_ENUMS, offsetof(struct project_query, status), 0, 0, 2, statuses,
      "Only these statuses (comma separated)", NULL },
    LISTING_QUERY_ROWS(struct project_query),
};
const struct rec rec_project_query =
    REC("ProjectQuery", struct project_query, query_fields, "Filters of the project list.");

static enum err_code check_key(struct ctx *cx, struct str key)
{
    bool is_fine = key.n >= PROJECT_KEY_MIN && key.n <= PROJECT_KEY_MAX;
    for (size_t i = 0; i < key.n && is_fine; i++)
        is_fine =
            (key.p[i] >= 'A' && key.p[i] <= 'Z') || (i > 0 && key.p[i] >= '0' && key.p[i] <= '9');
    return is_fine ? ERR_NONE
                   : ctx_fail_field(cx, ERR_INVALID_FIELD, STR("key"),
                                    "key must be %d to %d of A–Z and 0–9, a letter first",
                                    PROJECT_KEY_MIN, PROJECT_KEY_MAX);
}

static enum err_code key_is_taken(struct ctx *cx, struct str key)
{
    ctx_clear(cx);
    return fail(cx, UNIQUE, "The team has a project with the key " STR_FMT " already",
                STR_ARG(key));
}

static enum err_code audit(struct ctx *cx, struct db *db, const struct caller *who,
                           const char *action, const struct project *before,
                           const struct project *after)
{
    return audit_write(cx, db, who,
                       &(struct audit_entry){ action, "project", before ? before->id : after->id,
                                              audit_json(cx, &rec_project, before),
                                              audit_json(cx, &rec_project, after) });
}

enum err_code project_create(struct ctx *cx, struct db *db, const struct caller *who,
                             const struct project_new *in, struct project *out)
{
    enum err_code e = check_key(cx, in->key);
    if (e)
        return e;
    e = db_one(cx, db, &rec_project,
               "INSERT INTO project (team_id, id, key, name, description, status, version, "
               "created_ms, updated_ms) VALUES ($1, $2, $3, $4, $5, $6, 1, $7, $7) "
               "RETURNING " COLUMNS,
               ARGS(VT(who->team_id), VT(uuid7(&cx->arena)), VT(in->key), VT(in->name),
                    VT(in->description), VT(REC_HAS(in, status) ? in->status : STR("active")),
                    VI(clock_ms())),
               out);
    if (e == ERR_UNIQUE)
        return key_is_taken(cx, in->key);
    return e ? e : audit(cx, db, who, "project.create", NULL, out);
}

enum err_code project_get(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                          struct project *out)
{
    enum err_code e = path_id(cx, "project_id", &id);
    if (e)
        return e;
    e = db_one(cx, db, &rec_project,
               "SELECT " COLUMNS " FROM project WHERE team_id = $1 AND id = $2",
               ARGS(VT(who->team_id), VT(id)), out);
    return e == ERR_NOT_FOUND ? fail(cx, NOT_FOUND, "Project not found") : e;
}

static enum err_code check_version(struct ctx *cx, const struct project *p,
                                   const struct versions *allowed)
{
    bool is_fine = !allowed || allowed->is_any;
    for (int i = 0; !is_fine && i < allowed->n; i++)
        is_fine = allowed->v[i] == p->version;
    return is_fine ? ERR_NONE
                   : fail(cx, PRECONDITION_FAILED, "The project is at version %lld now",
                          (long long)p->version);
}

static enum err_code changed_meanwhile(struct ctx *cx)
{
    return fail(cx, CONFLICT, "The project was changed by another request; read it again");
}

enum err_code project_update(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                             const struct project_new *patch, const struct versions *allowed,
                             struct project *out)
{
    struct project was, now;
    enum err_code e = project_get(cx, db, who, id, &was);
    if (!e)
        e = check_version(cx, &was, allowed);
    if (!e && REC_HAS(patch, key))
        e = check_key(cx, patch->key);
    if (e)
        return e;
    now = was;
    if (REC_HAS(patch, key))
        now.key = patch->key;
    if (REC_HAS(patch, name))
        now.name = patch->name;
    if (REC_HAS(patch, status))
        now.status = patch->status;
    if (REC_HAS(patch, description) || REC_IS_NULL(patch, description))
        now.description = patch->description;
    int64_t ms = clock_ms();
    e = db_one(cx, db, &rec_project,
               "UPDATE project SET key = $3, name = $4, description = $5, status = $6, "
               "version = version + 1, updated_ms = $7 WHERE team_id = $1 AND id = $2 AND "
               "version = $8 RETURNING " COLUMNS,
               ARGS(VT(who->team_id), VT(was.id), VT(now.key), VT(now.name), VT(now.description),
                    VT(now.status), VI(ms > was.updated_ms ? ms : was.updated_ms), VI(was.version)),
               out);
    if (e == ERR_NOT_FOUND)
        return changed_meanwhile(cx);
    if (e == ERR_UNIQUE)
        return key_is_taken(cx, now.key);
    return e ? e : audit(cx, db, who, "project.update", &was, out);
}

static enum err_code must_be_empty(struct ctx *cx, struct db *db, const struct caller *who,
                                   struct str id)
{
    struct rec_num one;
    enum err_code e = db_one(cx, db, &rec_num,
                             "SELECT 1 AS n FROM tickets WHERE team_id = $1 AND project_id = $2 "
                             "AND deleted_ms IS NULL LIMIT 1",
                             ARGS(VT(who->team_id), VT(id)), &one);
    if (e)
        return e == ERR_NOT_FOUND ? ERR_NONE : e;
    return fail(cx, CONFLICT, "The project has tickets; move them away or archive the project");
}

enum err_code project_delete(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                             const struct versions *allowed)
{
    struct project was;
    struct rec_num gone;
    enum err_code e = project_get(cx, db, who, id, &was);
    if (!e)
        e = check_version(cx, &was, allowed);
    if (!e)
        e = must_be_empty(cx, db, who, was.id);
    if (e)
        return e;
    e = db_one(cx, db, &rec_num,
               "DELETE FROM project WHERE team_id = $1 AND id = $2 AND version = $3 "
               "RETURNING 1 AS n",
               ARGS(VT(who->team_id), VT(was.id), VI(was.version)), &gone);
    if (e == ERR_NOT_FOUND)
        return changed_meanwhile(cx);
    return e ? e : audit(cx, db, who, "project.delete", &was, NULL);
}

enum err_code project_list(struct ctx *cx, struct db *db, const struct caller *who,
                           const struct project_query *in, struct cursor_key key, struct page *out)
{
    static const struct listing_from from = { .r = &rec_project,
                                              .kind = "projects:id",
                                              .columns = COLUMNS,
                                              .table = "project",
                                              .id = "id",
                                              .id_at = offsetof(struct project, id) };
    struct page_ask ask = { .cursor = in->cursor, .limit = in->limit, .key = &key };
    struct listing l;
    listing_init(&l, cx, " WHERE team_id = ", VT(who->team_id));
    if (REC_HAS(in, status))
        listing_words(&l, "status", in->status);
    if (REC_HAS(in, q)) {
        int n = listing_bind(&l, VT(listing_like(cx, in->q)));
        buf_printf(&l.sql,
                   " AND (lower(name) LIKE lower(CAST($%d AS TEXT)) ESCAPE '\\' OR "
                   "lower(key) LIKE lower(CAST($%d AS TEXT)) ESCAPE '\\')",
                   n, n);
    }
    return listing_page(&l, db, &from, &ask, out);
}

enum err_code project_must_exist(struct ctx *cx, struct db *db, struct str team_id,
                                 struct str project_id, const char *field)
{
    struct rec_text status;
    enum err_code e =
        db_one(cx, db, &rec_text, "SELECT status AS s FROM project WHERE team_id = $1 AND id = $2",
               ARGS(VT(team_id), VT(project_id)), &status);
    if (e && e != ERR_NOT_FOUND)
        return e;
    if (e)
        return ctx_fail_field(cx, ERR_INVALID_FIELD, str_of(field), "%s names no project", field);
    return str_eq(status.s, STR("active")) ? ERR_NONE
                                           : ctx_fail_field(cx, ERR_INVALID_FIELD, str_of(field),
                                                            "%s names an archived project", field);
}
