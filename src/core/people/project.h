/* Projects: parts of a team that tickets are filed under. Owner of table project.
 *
 * All run inside a unit of work in the caller's scope. */
#ifndef TESSERA_CORE_PEOPLE_PROJECT_H
#define TESSERA_CORE_PEOPLE_PROJECT_H

#include "../../store/store.h"
#include "../caller.h"
#include "../cursor.h"
#include "../listing.h"

#define PROJECT_KEY_MIN 2 /* A–Z and 0–9, a letter first */
#define PROJECT_KEY_MAX 10
#define PROJECT_NAME_MAX 200
#define PROJECT_DESCRIPTION_MAX 10000

struct project {
    struct rec_bits bits;
    struct str id, key, name, description, status;
    int64_t version, created_ms, updated_ms;
};
extern const struct rec rec_project;

struct project_new {
    struct rec_bits bits;
    struct str key, name, description, status;
};
extern const struct rec rec_project_new;
extern const struct rec rec_project_patch;

struct project_query {
    struct rec_bits bits;
    struct str q, status, cursor;
    int64_t limit;
};
extern const struct rec rec_project_query;

struct versions;
/* INVALID_FIELD names key; UNIQUE when the team has a project of that key. */
enum err_code project_create(struct ctx *cx, struct db *db, const struct caller *who,
                             const struct project_new *in, struct project *out);
/* NOT_FOUND, also for another team's; INVALID_PARAMETER when id is no UUID. */
enum err_code project_get(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                          struct project *out);
/* Merge patch. PRECONDITION_FAILED unless the version is one of those allowed; UNIQUE as for
 * create; CONFLICT when another request changed it meanwhile. */
enum err_code project_update(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                             const struct project_new *patch, const struct versions *allowed,
                             struct project *out);
/* CONFLICT while it has tickets. */
enum err_code project_delete(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                             const struct versions *allowed);
/* In the order they were made. */
enum err_code project_list(struct ctx *cx, struct db *db, const struct caller *who,
                           const struct project_query *in, struct cursor_key key, struct page *out);
/* For those who refer to a project: INVALID_FIELD naming `field` when the team has no such project
 * or it is archived. */
enum err_code project_must_exist(struct ctx *cx, struct db *db, struct str team_id,
                                 struct str project_id, const char *field);

#endif
