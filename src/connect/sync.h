/* Syncs: what a team wants kept the same here and in the system behind an integration, which way, how
 * often, field by field. Owner of table sync.
 *
 * A sync is what its worker goes by. The server moves no data: whoever does reports each run
 * (sync_run.h), and what is known of the last one stands in the sync. There is no state but that.
 *
 * `version`, and with it the ETag, grows with each change and with each run, since both are shown.
 * If-Match lets pass what was read since the last change: a run that was reported meanwhile has
 * touched nothing that a change could overwrite.
 *
 * A deleted sync is a row until its runs are old (sync_run.c sweeps). All functions run inside a unit
 * of work in the caller's scope. */
#ifndef TESSERA_CONNECT_SYNC_H
#define TESSERA_CONNECT_SYNC_H

#include "../core/caller.h"
#include "../core/cursor.h"
#include "../core/listing.h"
#include "../store/store.h"

#define SYNC_NAME_MAX 200
#define SYNC_MAPPINGS_MAX 100
#define SYNC_MAPPINGS_BYTES ((size_t)64 << 10) /* of all mappings of one as JSON */
#define SYNC_FIELD_MAX 200                     /* characters of the name of a field */
#define SYNC_TRANSFORMER_MAX 2000
#define SYNC_INTERVAL_MIN_MS 60000
#define SYNC_INTERVAL_MAX_MS (30 * DAY_MS)
#define SYNCS_MAX 1000   /* of a team */
#define SYNCS_OF_MAX 100 /* of an integration, since they are deleted with it in one unit */

struct sync {
    struct rec_bits bits;
    struct str team_id, id, integration_id, name, direction, field_mappings, conflict_resolution,
        last_status;
    int64_t is_enabled, interval_ms, last_run_ms, version, config_version, created_ms, updated_ms;
};
extern const struct rec rec_sync;
extern const struct rec rec_sync_row; /* as stored */

struct sync_mapping {
    struct rec_bits bits;
    struct str local_field, remote_field, transformer;
    int64_t is_bidirectional;
};
extern const struct rec rec_sync_mapping;

struct sync_new {
    struct rec_bits bits;
    struct str integration_id, name, direction, field_mappings, conflict_resolution;
    int64_t is_enabled, interval_ms;
};
extern const struct rec rec_sync_new;
extern const struct rec rec_sync_patch;

struct sync_query {
    struct rec_bits bits;
    struct str integration_id, last_status, cursor;
    int64_t is_enabled, limit;
};
extern const struct rec rec_sync_query;

extern const char *const sync_statuses[]; /* of a run: success, partial, error; NULL-terminated */

struct versions;
/* INVALID_FIELD names the field: integration_id when the team has no such integration,
 * field_mappings[i].… for a field that another mapping writes too. CONFLICT at SYNCS_MAX and at
 * SYNCS_OF_MAX. */
enum err_code sync_create(struct ctx *cx, struct db *db, const struct caller *who,
                          const struct sync_new *in, struct sync *out);
/* NOT_FOUND, also for another team's; INVALID_PARAMETER when id is no UUID. */
enum err_code sync_get(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                       struct sync *out);
/* Merge patch; the integration stays. PRECONDITION_FAILED unless one of the versions allowed is
 * that of the last change or later; CONFLICT when another request changed it meanwhile. */
enum err_code sync_update(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                          const struct sync_new *patch, const struct versions *allowed,
                          struct sync *out);
/* No run is taken any more, and those there are cannot be read. */
enum err_code sync_delete(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                          const struct versions *allowed);
/* With their integration, each with its audit row and its event; at most SYNCS_OF_MAX. In the unit
 * that deletes the integration, after the change of its row, which sync_create waits for. */
enum err_code sync_delete_all(struct ctx *cx, struct db *db, const struct caller *who,
                              struct str integration_id);
/* A run of it that ended with this status is reported at that time; *out: the sync after it. As
 * sync_get. */
enum err_code sync_ran(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                       struct str status, int64_t at_ms, struct sync *out);
/* In the order they were made. */
enum err_code sync_list(struct ctx *cx, struct db *db, const struct caller *who,
                        const struct sync_query *in, struct cursor_key key, struct page *out);

/* In the system's scope: at most n rows of syncs that were deleted before go; *gone counts. */
enum err_code sync_purge(struct ctx *cx, struct db *db, int64_t before_ms, int64_t n,
                         int64_t *gone);

/* Whether the mappings may stand together, and their JSON text with all members there, in *out. No
 * field may be written twice: on this side where data comes in (pull, bidirectional), on the other
 * where it goes out (push, and bidirectional of those mappings that are). INVALID_FIELD names the
 * later one. `text` is JSON of an array as rec_sync_new lets it in. Lives in cx; any thread. */
enum err_code sync_mappings_check(struct ctx *cx, struct str direction, struct str text,
                                  struct str *out);

#endif
