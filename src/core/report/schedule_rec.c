/* The field tables of schedules. Data only. */
#include "cron.h"
#include "schedule.h"
#include "schedule_target.h"

static const char *const kinds[] = { "daily", "weekly", "monthly", "cron", NULL };
static const char *const formats[] = { "json", "csv", "xlsx", NULL };
const char *const schedule_days[] = { "sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL };

#define AT(member) offsetof(struct schedule, member)
static const struct field schedule_fields[] = {
    { "id", F_UUID, AT(id), 0, 0, 0, NULL, "Schedule identifier", NULL },
    { "report_id", F_UUID, AT(report_id), 0, 0, 0, NULL, "The report", NULL },
    { "kind", F_ENUM, AT(kind), 0, 0, 0, kinds, "How often", NULL },
    { "at", F_STR, AT(at), F_NULLABLE, 0, 0, NULL, "Time of day", "\"07:30\"" },
    { "weekdays", F_STRS, AT(weekdays), F_NULLABLE, 0, 0, schedule_days, "Days of a weekly one",
      NULL },
    { "day_of_month", F_INT, AT(day_of_month), F_NULLABLE, 1, 31, NULL, "Day of a monthly one",
      NULL },
    { "cron", F_STR, AT(cron), F_NULLABLE, 0, 0, NULL, "Expression of a cron one", NULL },
    { "time_zone", F_STR, AT(time_zone), 0, 0, 0, NULL, "Time zone of its clock",
      "\"Europe/Berlin\"" },
    { "format", F_ENUM, AT(format), 0, 0, 0, formats, "Format of the file", NULL },
    { "recipients", F_STRS, AT(recipients), 0, 0, 0, NULL, "The e-mail addresses among deliveries",
      NULL },
    { "deliveries", F_RECS, AT(deliveries), 0, 0, 0, NULL, "Where the report goes", NULL,
      &rec_target },
    { "enabled", F_BOOL, AT(is_enabled), 0, 0, 0, NULL, "Whether it runs", NULL },
    { "paused_reason", F_STR, AT(paused_reason), F_NULLABLE, 0, 0, NULL,
      "Why the server has switched it off; a change of the schedule clears it", NULL },
    { "runs_as", F_UUID, AT(runs_as), F_NULLABLE, 0, 0, NULL,
      "Id of the API key or user with whose rights it runs: who changed it last", NULL },
    { "next_runs", F_STRS, AT(next_runs), 0, 0, 0, NULL,
      "The next five times it is due (RFC 3339, UTC); none while it is not enabled", NULL },
    { "version", F_INT, AT(version), 0, 0, 0, NULL,
      "Grows by one with each change; the ETag is made from it", "1" },
    { "created_by", F_UUID, AT(created_by), F_NULLABLE, 0, 0, NULL,
      "Id of the API key or user that created it", NULL },
    { "created_at", F_TIME, AT(created_ms), 0, 0, 0, NULL, "When it was created", NULL },
    { "updated_at", F_TIME, AT(updated_ms), 0, 0, 0, NULL, "When it last changed", NULL },
};
const struct rec rec_schedule =
    REC("ReportSchedule", struct schedule, schedule_fields, "When a report is due.");

#define INNER(name, type, member)                                                                  \
    {                                                                                              \
        name, type, AT(member), 0, 0, 0, NULL, NULL, NULL                                          \
    }
static const struct field row_fields[] = {
    INNER("team_id", F_STR, team_id),
    INNER("report_id", F_STR, report_id),
    INNER("id", F_STR, id),
    INNER("kind", F_STR, kind),
    INNER("at", F_STR, at),
    INNER("weekdays", F_STR, weekdays),
    INNER("day_of_month", F_INT, day_of_month),
    INNER("cron", F_STR, cron),
    INNER("time_zone", F_STR, time_zone),
    INNER("format", F_STR, format),
    INNER("runs_as", F_STR, runs_as),
    INNER("next_ms", F_INT, next_ms),
};
const struct rec rec_schedule_row =
    REC("ReportScheduleRow", struct schedule, row_fields, "What makes a run.");

#define IN(member) offsetof(struct schedule_new, member)
static const struct field new_fields[] = {
    { "kind", F_ENUM, IN(kind), F_REQUIRED, 0, 0, kinds, "How often", "\"weekly\"" },
    { "at", F_STR, IN(at), F_NULLABLE, 5, 5, NULL,
      "Time of day, HH:MM: for daily, weekly and monthly", "\"07:30\"" },
    { "weekdays", F_STRS, IN(weekdays), F_NULLABLE, 1, 7, schedule_days, "Days: for weekly",
      "[\"mon\"]" },
    { "day_of_month", F_INT, IN(day_of_month), F_NULLABLE, 1, 31, NULL,
      "Day: for monthly; in a month without it, its last day", "31" },
    { "cron", F_STR, IN(cron), F_NULLABLE, 1, CRON_TEXT_MAX, NULL,
      "Five fields: minute, hour, day of month, month, day of week; *, values, names, ranges, "
      "/steps, lists: for cron",
      "\"30 7 1,15 * mon-fri\"" },
    { "time_zone", F_STR, IN(time_zone), 0, 1, ZONE_NAME_MAX, NULL,
      "Name from the time zone database (default UTC)", "\"Europe/Berlin\"" },
    { "format", F_ENUM, IN(format), 0, 0, 0, formats, "Format of the file (default xlsx)", NULL },
    { "recipients", F_STRS, IN(recipients), 0, 1, TARGET_MAILS_MAX, NULL,
      "E-mail addresses: short for deliveries of type email. In a change they take the place of "
      "those only",
      "[\"zoe@acme.example\"]" },
    { "deliveries", F_RECS, IN(deliveries), 0, 1, TARGETS_MAX, NULL,
      "Where the report goes: this or recipients", NULL, &rec_target_new },
    { "enabled", F_BOOL, IN(is_enabled), 0, 0, 0, NULL, "Whether it runs (default true)", NULL },
};
const struct rec rec_schedule_new =
    REC("ReportScheduleNew", struct schedule_new, new_fields, "A schedule to create.");
const struct rec rec_schedule_patch =
    REC("ReportSchedulePatch", struct schedule_new, new_fields,
        "Changes to a schedule (JSON merge patch: null clears); a new kind drops the fields of the "
        "old one.");
