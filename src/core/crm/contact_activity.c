/* Activity of contacts: see contact_activity.h. */
#include "contact_activity.h"

#include "../../base/clock.h"
#include "../../base/crypt.h"
#include "contact.h"

static const char *const actions[] = { "created",     "updated", "merged",
                                       "merged_into", "deleted", NULL };
static const char *const kinds[] = { "key", "user", "cli", NULL };

#define AT(member) offsetof(struct contact_activity, member)
static const struct field fields[] = {
    { "id", F_UUID, AT(id), 0, 0, 0, NULL, "Activity identifier", NULL },
    { "contact_id", F_UUID, AT(contact_id), 0, 0, 0, NULL,
      "The contact; one that was merged into it when it happened to that one", NULL },
    { "actor_kind", F_ENUM, AT(actor_kind), 0, 0, 0, kinds, "An API key, a user, the command line",
      NULL },
    { "actor_id", F_UUID, AT(actor_id), F_NULLABLE, 0, 0, NULL, "Id of the key or the user", NULL },
    { "actor_name", F_STR, AT(actor_name), 0, 0, 0, NULL, "Its name at that time", NULL },
    { "action", F_ENUM, AT(action), 0, 0, 0, actions, "What was done", NULL },
    { "changes", F_RECS, AT(changes), 0, 0, 0, NULL, "What changed, from what to what", NULL,
      &rec_activity_change },
    { "created_at", F_TIME, AT(created_ms), 0, 0, 0, NULL, "When", NULL },
};
const struct rec rec_contact_activity =
    REC("ContactActivity", struct contact_activity, fields, "One entry of a contact's history.");

enum err_code contact_activity_write(struct ctx *cx, struct db *db, const struct caller *who,
                                     const struct contact_event *ev)
{
    return db_run(cx, db,
                  "INSERT INTO contact_activity (team_id, contact_id, id, actor_kind, actor_id, "
                  "actor_name, action, changes, created_ms) "
                  "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
                  ARGS(VT(who->team_id), VT(ev->contact_id), VT(uuid7(&cx->arena)),
                       VT(str_of(caller_kind(who))), VT(caller_subject(who)), VT(caller_name(who)),
                       VT(str_of(ev->action)), VT(activity_changes(cx, ev->changes, ev->n)),
                       VI(clock_ms())));
}

enum err_code contact_activity_list(struct ctx *cx, struct db *db, const struct caller *who,
                                    struct str contact_id, const struct page_ask *ask,
                                    struct page *out)
{
    static const struct listing_from from = {
        .r = &rec_contact_activity,
        .kind = "contact_activity",
        .columns = "id, contact_id, actor_kind, NULLIF(actor_id, '') AS actor_id, actor_name, "
                   "action, changes, created_ms AS created_at",
        .table = "contact_activity",
        .id = "id",
        .is_down = true,
        .id_at = AT(id),
    };
    struct contact c;
    struct listing l;
    enum err_code e = contact_get(cx, db, who, contact_id, &c);
    if (e)
        return e;
    listing_init(&l, cx, " WHERE team_id = ", VT(who->team_id));
    int id = listing_bind(&l, VT(c.id));
    buf_printf(&l.sql,
               " AND contact_id IN (SELECT id FROM contact WHERE team_id = $1 AND "
               "(id = $%d OR merged_into = $%d))",
               id, id);
    return listing_page(&l, db, &from, ask, out);
}
