/* Activity: see activity.h. */
#include "activity.h"

#include "../../base/clock.h"
#include "../../base/crypt.h"
#include "../../base/json.h"
#include "../ticket.h"

#define CHANGES_TEXT_MAX ((size_t)256 << 10)

const char *const activity_actions[] = {
    "updated",       "status_changed",   "assigned",           "tags_changed",
    "watcher_added", "watcher_removed",  "comment_added",      "comment_removed",
    "deleted",       "attachment_added", "attachment_removed", NULL,
};
static const char *const kinds[] = { "key", "user", "cli", NULL };

struct change_row {
    struct rec_bits bits;
    struct str field, from, to;
};
#define C(member) offsetof(struct change_row, member)
static const struct field change_fields[] = {
    { "field", F_STR, C(field), 0, 0, 0, NULL, "What changed", "\"status\"" },
    { "from", F_JSON, C(from), F_NULLABLE, 0, 0, NULL, "The value before, null = none",
      "\"open\"" },
    { "to", F_JSON, C(to), F_NULLABLE, 0, 0, NULL, "The value after, null = none", "\"resolved\"" },
};
const struct rec rec_activity_change =
    REC("ActivityChange", struct change_row, change_fields,
        "One changed field; values longer than 500 characters are shown as the string of their "
        "beginning.");

#define AT(member) offsetof(struct activity, member)
static const struct field fields[] = {
    { "id", F_UUID, AT(id), 0, 0, 0, NULL, "Activity identifier", NULL },
    { "ticket_id", F_UUID, AT(ticket_id), 0, 0, 0, NULL, "The ticket", NULL },
    { "actor_kind", F_ENUM, AT(actor_kind), 0, 0, 0, kinds, "An API key, a user, the command line",
      NULL },
    { "actor_id", F_UUID, AT(actor_id), F_NULLABLE, 0, 0, NULL, "Id of the key or the user", NULL },
    { "actor_name", F_STR, AT(actor_name), 0, 0, 0, NULL, "Its name at that time", NULL },
    { "action", F_ENUM, AT(action), 0, 0, 0, activity_actions, "What was done", NULL },
    { "changes", F_RECS, AT(changes), 0, 0, 0, NULL, "What changed, from what to what", NULL,
      &rec_activity_change },
    { "created_at", F_TIME, AT(created_ms), 0, 0, 0, NULL, "When", NULL },
};
const struct rec rec_activity =
    REC("Activity", struct activity, fields, "One entry of a ticket's history.");

/* The first characters of valid UTF-8. */
static struct str first_chars(struct str s)
{
    size_t n = 0, chars = 0;
    while (n < s.n) {
        if (((unsigned char)s.p[n] & 0xC0) != 0x80 && chars++ == ACTIVITY_TEXT_MAX)
            break;
        n++;
    }
    return str_sub(s, 0, n);
}

struct str activity_text(struct ctx *cx, struct str s)
{
    struct buf b;
    if (!s.p)
        return STR_NONE;
    buf_init(&b, &cx->arena, (size_t)ACTIVITY_TEXT_MAX * 6 + 2);
    json_write_str(&b, first_chars(s));
    return buf_view(&b);
}

struct str activity_json(struct ctx *cx, struct str json)
{
    return json.p && str_chars(json) > ACTIVITY_TEXT_MAX ? activity_text(cx, json) : json;
}

struct str activity_changes(struct ctx *cx, const struct activity_change *changes, size_t n)
{
    struct buf b;
    buf_init(&b, &cx->arena, CHANGES_TEXT_MAX);
    buf_char(&b, '[');
    for (size_t i = 0; i < n; i++) {
        const struct activity_change *c = &changes[i];
        struct change_row row = { .field = str_of(c->field), .from = c->from, .to = c->to };
        row.bits.has = ~UINT64_C(0);
        if (i)
            buf_char(&b, ',');
        rec_encode(&b, &rec_activity_change, &row);
    }
    buf_char(&b, ']');
    BUG_IF(b.over);
    return buf_view(&b);
}

enum err_code activity_write(struct ctx *cx, struct db *db, const struct caller *who,
                             struct str ticket_id, const char *action,
                             const struct activity_change *changes, size_t n)
{
    BUG_IF(n > ACTIVITY_CHANGES_MAX);
    return db_run(cx, db,
                  "INSERT INTO ticket_activity (team_id, ticket_id, id, actor_kind, actor_id, "
                  "actor_name, action, changes, created_ms) "
                  "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
                  ARGS(VT(who->team_id), VT(ticket_id), VT(uuid7(&cx->arena)),
                       VT(str_of(caller_kind(who))), VT(caller_subject(who)), VT(caller_name(who)),
                       VT(str_of(action)), VT(activity_changes(cx, changes, n)), VI(clock_ms())));
}

enum err_code activity_note(struct ctx *cx, struct db *db, const struct caller *who,
                            struct str ticket_id, const char *action, struct activity_change change)
{
    return activity_write(cx, db, who, ticket_id, action, &change, 1);
}

enum err_code activity_list(struct ctx *cx, struct db *db, const struct caller *who,
                            struct str ticket_id, const struct page_ask *ask, struct page *out)
{
    struct ticket t;
    struct listing l;
    enum err_code e = ticket_get(cx, db, who, ticket_id, &t);
    if (e)
        return e;
    listing_init(&l, cx, " WHERE team_id = ", VT(who->team_id));
    listing_and(&l, " AND ticket_id = ", VT(t.id), "");
    struct listing_from from = {
        .r = &rec_activity,
        .kind = "activity",
        .columns = "id, ticket_id, actor_kind, NULLIF(actor_id, '') AS actor_id, actor_name, "
                   "action, changes, created_ms AS created_at",
        .table = "ticket_activity",
        .id = "id",
        .is_down = true,
        .id_at = AT(id),
    };
    return listing_page(&l, db, &from, ask, out);
}
