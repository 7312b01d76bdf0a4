/* Webhooks as rows, and what those who send ask of them: see webhook.h. */
#include "webhook.h"

#include "../../base/clock.h"
#include "../../base/json.h"
#include "../../core/audit.h"
#include "webhook_send.h"

#define AT(member) offsetof(struct webhook, member)
static const struct field row_fields[] = {
    { "team_id", F_STR, AT(team_id) },
    { "id", F_STR, AT(id) },
    { "url", F_STR, AT(url) },
    { "description", F_STR, AT(description) },
    { "events", F_STRS, AT(events) },
    { "filter", F_JSON, AT(filter) },
    { "headers", F_STR, AT(headers), F_SECRET },
    { "header_names", F_STRS, AT(header_names) },
    { "payload", F_STR, AT(payload) },
    { "state", F_STR, AT(state) },
    { "disabled_reason", F_STR, AT(disabled_reason) },
    { "created_by", F_STR, AT(created_by) },
    { "is_ordered", F_INT, AT(is_ordered) },
    { "failing_ms", F_INT, AT(failing_ms) },
    { "notice", F_INT, AT(notice) },
    { "success_ms", F_INT, AT(success_ms) },
    { "version", F_INT, AT(version) },
    { "created_ms", F_INT, AT(created_ms) },
    { "updated_ms", F_INT, AT(updated_ms) },
};
const struct rec rec_webhook_row =
    REC("WebhookRow", struct webhook, row_fields, "A webhook as stored.");

enum err_code webhook_get(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                          struct webhook *out)
{
    enum err_code e = path_id(cx, "webhook_id", &id);
    if (e)
        return e;
    e = db_one(cx, db, &rec_webhook_row,
               "SELECT " WEBHOOK_COLUMNS
               " FROM webhook WHERE team_id = $1 AND id = $2 AND deleted_ms IS NULL",
               ARGS(VT(who->team_id), VT(id)), out);
    return e == ERR_NOT_FOUND ? fail(cx, NOT_FOUND, "Webhook not found") : e;
}

enum err_code webhook_audit(struct ctx *cx, struct db *db, const struct caller *who,
                            const char *action, const struct webhook *before,
                            const struct webhook *after)
{
    return audit_write(cx, db, who,
                       &(struct audit_entry){ action, "webhook", before ? before->id : after->id,
                                              audit_json(cx, &rec_webhook, before),
                                              audit_json(cx, &rec_webhook, after) });
}

/* ---- what it wants ---- */

/* "*", "ticket.*" or "ticket.created". */
static bool takes_type(struct str pattern, struct str type)
{
    if (!pattern.n || pattern.p[pattern.n - 1] != '*')
        return str_eq(pattern, type);
    return str_starts(type, str_sub(pattern, 0, pattern.n - 1));
}

/* The stored form is our own printing: a flat array of words without escapes. */
static bool takes_any_of(struct str events, struct str type)
{
    struct str rest = events;
    str_cut(&rest, '"');
    while (rest.p) {
        if (takes_type(str_cut(&rest, '"'), type))
            return true;
        str_cut(&rest, '"');
    }
    return false;
}

bool webhook_wants(struct ctx *cx, const struct webhook *w, const struct event *ev,
                   const json_t *data, const json_t *previous)
{
    struct webhook_filter filter;
    if (!takes_any_of(w->events, ev->type))
        return false;
    if (!w->filter.p)
        return true;
    if (webhook_filter_parse(cx, w->filter, &filter)) {
        ctx_clear(cx); /* a row that somebody else has written */
        return false;
    }
    return webhook_filter_holds(&filter, data, previous);
}

/* ---- disabling ---- */

enum err_code webhook_disable(struct ctx *cx, struct db *db, const struct caller *who,
                              struct str id, const char *reason)
{
    struct webhook was, now;
    struct caller by = *who;
    by.is_server = !str_eq(str_of(reason), STR("manual"));
    enum err_code e = webhook_get(cx, db, who, id, &was);
    if (e || !str_eq(was.state, STR("enabled")))
        return e;
    e = db_one(cx, db, &rec_webhook_row,
               "UPDATE webhook SET state = 'disabled', disabled_reason = $3, "
               "version = version + 1, updated_ms = $4 WHERE team_id = $1 AND id = $2 AND "
               "state = 'enabled' AND deleted_ms IS NULL RETURNING " WEBHOOK_COLUMNS,
               ARGS(VT(who->team_id), VT(was.id), VT(str_of(reason)), VI(clock_ms())), &now);
    if (e) /* somebody else was first */
        return e == ERR_NOT_FOUND ? ERR_NONE : e;
    e = deliveries_look(cx, db, now.team_id, now.id);
    if (!e)
        e = webhook_audit(cx, db, &by, "webhook.disable", &was, &now);
    if (e || !by.is_server)
        return e;
    return event_emit(cx, db, &by,
                      &(struct event_new){ .type = EVENT_WEBHOOK_DISABLED,
                                           .subject_id = now.id,
                                           .rec = &rec_webhook,
                                           .obj = &now,
                                           .previous = event_previous(cx, &rec_webhook, &was, &now),
                                           .is_servers = true });
}
