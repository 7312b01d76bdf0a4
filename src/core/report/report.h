/* Saved reports. Owner of table report.
 *
 * A report belongs to the team; what it shows depends on who runs it. All run inside a unit of work
 * in the caller's scope, and changes write their audit row there. */
#ifndef TESSERA_CORE_REPORT_REPORT_H
#define TESSERA_CORE_REPORT_REPORT_H

#include "../../store/store.h"
#include "../caller.h"
#include "../cursor.h"
#include "../listing.h"

#define REPORT_TITLE_MAX 200
#define REPORT_DESCRIPTION_MAX 10000

struct report {
    struct rec_bits bits;
    struct str id, name, description, definition, created_by;
    int64_t version, created_ms, updated_ms;
};
extern const struct rec rec_report;

struct report_new {
    struct rec_bits bits;
    struct str name, description, definition;
};
extern const struct rec rec_report_new;
extern const struct rec rec_report_patch;

struct report_query {
    struct rec_bits bits;
    struct str q, cursor;
    int64_t limit;
};
extern const struct rec rec_report_query;

struct versions;
/* INVALID_FIELD, MISSING_FIELD name the place in the definition. */
enum err_code report_create(struct ctx *cx, struct db *db, const struct caller *who,
                            const struct report_new *in, struct report *out);
/* NOT_FOUND; INVALID_PARAMETER when id is no UUID. */
enum err_code report_get(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                         struct report *out);
/* Merge patch; a given definition takes the place of the whole old one. PRECONDITION_FAILED unless
 * the version is one of those allowed; CONFLICT when another request changed it meanwhile. */
enum err_code report_update(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                            const struct report_new *patch, const struct versions *allowed,
                            struct report *out);
/* Its schedules go too. */
enum err_code report_delete(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                            const struct versions *allowed);
/* In the order they were made. */
enum err_code report_list(struct ctx *cx, struct db *db, const struct caller *who,
                          const struct report_query *in, struct cursor_key key, struct page *out);

#endif
