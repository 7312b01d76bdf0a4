/* The field tables of syncs: see sync.h. Data only. */
#include "../base/clock.h"
#include "sync.h"

static const char *const directions[] = { "pull", "push", "bidirectional", NULL };
static const char *const resolutions[] = { "local", "remote", "manual", NULL };
const char *const sync_statuses[] = { "success", "partial", "error", NULL };

#define EXAMPLE_MAPPINGS                                                                           \
    "[{\"local_field\": \"title\", \"remote_field\": \"summary\", \"bidirectional\": true, "       \
    "\"transformer\": null}]"

/* ---- mappings ---- */

#define M(member) offsetof(struct sync_mapping, member)
static const struct field mapping_fields[] = {
    { "local_field", F_STR, M(local_field), F_REQUIRED | F_SINGLE_LINE, 1, SYNC_FIELD_MAX, NULL,
      "Name of the field here", "\"title\"" },
    { "remote_field", F_STR, M(remote_field), F_REQUIRED | F_SINGLE_LINE, 1, SYNC_FIELD_MAX, NULL,
      "Name of the field there", "\"summary\"" },
    { "bidirectional", F_BOOL, M(is_bidirectional), F_REQUIRED, 0, 0, NULL,
      "In a bidirectional sync: whether the field goes both ways, or from there to here only; means "
      "nothing in the others",
      "true" },
    { "transformer", F_STR, M(transformer), F_NULLABLE, 1, SYNC_TRANSFORMER_MAX, NULL,
      "What the worker does with the value on its way; any text, which is kept and not run here",
      NULL },
};
const struct rec rec_sync_mapping =
    REC("SyncFieldMapping", struct sync_mapping, mapping_fields, "A field here and a field there.");

/* ---- shown ---- */

#define AT(member) offsetof(struct sync, member)
/* clang-format off */
#define SHOWN_ROWS \
    { "id", F_UUID, AT(id), 0, 0, 0, NULL, "Sync identifier", NULL }, \
    { "team_id", F_UUID, AT(team_id), 0, 0, 0, NULL, "Whose it is", NULL }, \
    { "integration_id", F_UUID, AT(integration_id), 0, 0, 0, NULL, "What it syncs with", NULL }, \
    { "name", F_STR, AT(name), 0, 0, 0, NULL, "Name", "\"Issues of the shop\"" }, \
    { "enabled", F_BOOL, AT(is_enabled), 0, 0, 0, NULL, \
      "Whether its worker should run it", "true" }, \
    { "direction", F_ENUM, AT(direction), 0, 0, 0, directions, \
      "pull: from there to here; push: from here to there; bidirectional: both", "\"pull\"" }, \
    { "interval_ms", F_INT, AT(interval_ms), F_NULLABLE, 0, 0, NULL, \
      "How often its worker should run it, in milliseconds; null: only when somebody asks", \
      "300000" }, \
    { "field_mappings", F_RECS, AT(field_mappings), 0, 0, 0, NULL, \
      "Which field is which", EXAMPLE_MAPPINGS, &rec_sync_mapping }, \
    { "conflict_resolution", F_ENUM, AT(conflict_resolution), 0, 0, 0, resolutions, \
      "What holds when a field was changed on both sides: what is here, what is there, or what " \
      "somebody chooses", "\"manual\"" }, \
    { "last_run_at", F_TIME, AT(last_run_ms), F_NULLABLE, 0, 0, NULL, \
      "When a run was last reported; null: none was", NULL }, \
    { "last_status", F_ENUM, AT(last_status), F_NULLABLE, 0, 0, sync_statuses, \
      "How that run ended", "\"success\"" }, \
    { "version", F_INT, AT(version), 0, 0, 0, NULL, \
      "Grows by one with each change and each run; the ETag is made from it", "1" }, \
    { "created_at", F_TIME, AT(created_ms), 0, 0, 0, NULL, "When it was made", NULL }, \
    { "updated_at", F_TIME, AT(updated_ms), 0, 0, 0, NULL, \
      "When it was last changed; runs do not count", NULL }
/* clang-format on */
static const struct field sync_fields[] = { SHOWN_ROWS };
const struct rec rec_sync = REC("Sync", struct sync, sync_fields,
                                "What is kept the same here and in another system, and how.");
static const struct field row_fields[] = {
    SHOWN_ROWS,
    { "config_version", F_INT, AT(config_version), 0, 0, 0, NULL, NULL, NULL },
};
const struct rec rec_sync_row = REC("SyncRow", struct sync, row_fields, "A sync as stored.");

/* ---- sent ---- */

#define IN(member) offsetof(struct sync_new, member)
/* clang-format off */
#define SENT_ROWS \
    { "name", F_STR, IN(name), F_REQUIRED | F_SINGLE_LINE, 1, SYNC_NAME_MAX, NULL, "Name", \
      "\"Issues of the shop\"" }, \
    { "enabled", F_BOOL, IN(is_enabled), 0, 0, 0, NULL, \
      "Whether its worker should run it (default true)", "true" }, \
    { "direction", F_ENUM, IN(direction), F_REQUIRED, 0, 0, directions, \
      "pull: from there to here; push: from here to there; bidirectional: both", "\"pull\"" }, \
    { "interval_ms", F_INT, IN(interval_ms), F_NULLABLE, SYNC_INTERVAL_MIN_MS, \
      SYNC_INTERVAL_MAX_MS, NULL, \
      "How often its worker should run it, in milliseconds: a minute to 30 days; null (default): " \
      "only when somebody asks", "300000" }, \
    { "field_mappings", F_RECS, IN(field_mappings), 0, 0, SYNC_MAPPINGS_MAX, NULL, \
      "Which field is which (default none); no field may be written by two of them, and together " \
      "they have at most 64 KiB", EXAMPLE_MAPPINGS, &rec_sync_mapping }, \
    { "conflict_resolution", F_ENUM, IN(conflict_resolution), 0, 0, 0, resolutions, \
      "What holds when a field was changed on both sides: what is here, what is there, or what " \
      "somebody chooses (manual, default)", "\"manual\"" }
/* clang-format on */
static const struct field new_fields[] = {
    { "integration_id", F_UUID, IN(integration_id), F_REQUIRED, 0, 0, NULL,
      "What it syncs with; stays", NULL },
    SENT_ROWS,
};
const struct rec rec_sync_new = REC("SyncNew", struct sync_new, new_fields, "A sync to create.");
static const struct field patch_fields[] = { SENT_ROWS };
const struct rec rec_sync_patch =
    REC("SyncPatch", struct sync_new, patch_fields,
        "Changes to a sync (JSON merge patch: null clears); field_mappings change as a whole.");

#define Q(member) offsetof(struct sync_query, member)
static const struct field query_fields[] = {
    { "integration_id", F_UUID, Q(integration_id), 0, 0, 0, NULL, "Only with this integration",
      NULL },
    { "enabled", F_BOOL, Q(is_enabled), 0, 0, 0, NULL, "Only those that are enabled, or not",
      NULL },
    { "last_status", F_ENUMS, Q(last_status), 0, 0, 3, sync_statuses,
      "Only those whose last run ended so (comma separated)", NULL },
    LISTING_QUERY_ROWS(struct sync_query),
};
const struct rec rec_sync_query =
    REC("SyncQuery", struct sync_query, query_fields, "Filters of the list of syncs.");
