/* The log of deliveries: see webhook_log.h. */
#include "webhook_log.h"

#include "../../base/crypt.h"
#include "../../base/egress.h"
#include "../../core/audit.h"
#include "../../core/event_read.h"
#include "event_example.h"

const char *const delivery_words[] = { "waiting", "sending",   "delivered",
                                       "failed",  "cancelled", NULL };
static const char *const payloads[] = { "full", "thin", NULL };

#define ATTEMPTS_SHOWN 100 /* the schedule makes far fewer */
#define ATTEMPTS_TEXT_MAX ((size_t)16 << 20)

/* ---- field tables ---- */

struct attempt {
    struct rec_bits bits;
    struct str outcome, error, body;
    int64_t n, at_ms, duration_ms, status;
};
#define TRY(member) offsetof(struct attempt, member)
static const struct field attempt_fields[] = {
    { "attempt", F_INT, TRY(n), 0, 0, 0, NULL, "1, 2 …", "1" },
    { "at", F_TIME, TRY(at_ms), 0, 0, 0, NULL, "When it began", NULL },
    { "duration_ms", F_INT, TRY(duration_ms), 0, 0, 0, NULL, "How long it took", "87" },
    { "status", F_INT, TRY(status), F_NULLABLE, 0, 0, NULL, "Of the answer; null: there was none",
      "503" },
    { "outcome", F_STR, TRY(outcome), 0, 0, 0, NULL,
      "ok: there was an answer; else why not: timeout, connect, dns, tls, denied …", "\"ok\"" },
    { "error", F_STR, TRY(error), F_NULLABLE, 0, 0, NULL, "What was wrong", NULL },
    { "body", F_STR, TRY(body), F_NULLABLE, 0, 0, NULL, "The first 20 kB of the answer", NULL },
};
static const struct rec rec_attempt =
    REC("WebhookAttempt", struct attempt, attempt_fields, "One attempt at a delivery.");

#define AT(member) offsetof(struct delivery, member)
/* clang-format off */
#define SHOWN_ROWS \
    { "id", F_UUID, AT(id), 0, 0, 0, NULL, "Identifier of the delivery", NULL }, \
    { "webhook_id", F_UUID, AT(webhook_id), 0, 0, 0, NULL, "To which webhook", NULL }, \
    { "event_id", F_UUID, AT(event_id), 0, 0, 0, NULL, \
      "Which event; the receiver sees it as webhook-id", NULL }, \
    { "event_type", F_ENUM, AT(event_type), 0, 0, 0, event_words, "Its type", NULL }, \
    { "sequence", F_INT, AT(seq), 0, 0, 0, NULL, "Its number", NULL }, \
    { "entity", F_STR, AT(entity), 0, 0, 0, NULL, "What it is kept in order for", NULL }, \
    { "payload", F_ENUM, AT(payload), 0, 0, 0, payloads, "full or thin", NULL }, \
    { "replay", F_BOOL, AT(is_replay), 0, 0, 0, NULL, "It was asked for once more", NULL }, \
    { "state", F_ENUM, AT(state), 0, 0, 0, delivery_words, \
      "waiting for its next attempt, sending, delivered, failed for good, or cancelled", NULL }, \
    { "attempt", F_INT, AT(attempt), 0, 0, 0, NULL, "Attempts so far", NULL }, \
    { "status", F_INT, AT(status), F_NULLABLE, 0, 0, NULL, "Of the last answer", NULL }, \
    { "error", F_STR, AT(error), F_NULLABLE, 0, 0, NULL, "Why the last attempt failed", NULL }, \
    { "next_attempt_at", F_TIME, AT(due_ms), F_NULLABLE, 0, 0, NULL, \
      "When it is due; null: it is over, or behind another one of its entity", NULL }, \
    { "created_at", F_TIME, AT(created_ms), 0, 0, 0, NULL, "When it was begun", NULL }, \
    { "finished_at", F_TIME, AT(finished_ms), F_NULLABLE, 0, 0, NULL, "When it was over", NULL }
/* clang-format on */
static const struct field delivery_fields[] = { SHOWN_ROWS };
const struct rec rec_delivery =
    REC("WebhookDelivery", struct delivery, delivery_fields, "An event on its way to a webhook.");
static const struct field whole_fields[] = {
    SHOWN_ROWS,
    { "attempts", F_RECS, AT(attempts), 0, 0, 0, NULL, "What was tried, oldest first", NULL,
      &rec_attempt },
    { "body", F_JSON, AT(body), F_NULLABLE, 0, 0, NULL,
      "What is sent; null when the event is no longer kept", NULL },
};
const struct rec rec_delivery_whole = REC("WebhookDeliveryWhole", struct delivery, whole_fields,
                                          "An event on its way, with what was tried.");

/* "due_at" is what is stored; a delivery that is over has none. */
#define COLUMNS                                                                                    \
    "id, webhook_id, event_id, event_type, event_seq AS sequence, entity, payload, "               \
    "is_replay AS replay, state, attempt, status, error, CASE WHEN state = 'waiting' AND "         \
    "due_ms < 9223372036854775807 THEN due_ms END AS next_attempt_at, created_ms AS created_at, "  \
    "finished_ms AS finished_at"

#define Q(member) offsetof(struct delivery_query, member)
static const struct field query_fields[] = {
    { "state", F_ENUMS, Q(state), 0, 0, 5, delivery_words, "Only these states", NULL },
    { "event_type", F_ENUMS, Q(event_type), 0, 0, EVENT_TYPES, event_words,
      "Only events of these types", NULL },
    { "event_id", F_UUID, Q(event_id), 0, 0, 0, NULL, "Only of this event", NULL },
    { "from", F_TIME, Q(from), 0, 0, 0, NULL, "Begun not before this time", NULL },
    { "to", F_TIME, Q(to), 0, 0, 0, NULL, "Begun before this time", NULL },
    LISTING_QUERY_ROWS(struct delivery_query),
};
const struct rec rec_delivery_query = REC("WebhookDeliveryQuery", struct delivery_query,
                                          query_fields, "Filters of the log of deliveries.");

/* ---- reading ---- */

/* As with events: ids narrow a range of times down (event_read.h). */
static void between(struct listing *l, const struct delivery_query *in)
{
    struct arena *a = &l->cx->arena;
    if (REC_HAS(in, from)) {
        listing_and(l, " AND id >= ", VT(uuid7_least(a, in->from - 60000)), "");
        listing_and(l, " AND created_ms >= ", VI(in->from), "");
    }
    if (REC_HAS(in, to)) {
        listing_and(l, " AND id < ", VT(uuid7_least(a, in->to + 60000)), "");
        listing_and(l, " AND created_ms < ", VI(in->to), "");
    }
}

enum err_code delivery_list(struct ctx *cx, struct db *db, const struct caller *who,
                            struct str webhook_id, const struct delivery_query *in,
                            struct cursor_key key, struct page *out)
{
    static const struct listing_from from = { .r = &rec_delivery,
                                              .kind = "webhook_deliveries",
                                              .columns = COLUMNS,
                                              .table = "webhook_delivery",
                                              .id = "id",
                                              .is_down = true,
                                              .id_at = AT(id) };
    const struct page_ask ask = { .cursor = in->cursor, .limit = in->limit, .key = &key };
    struct listing l;
    struct webhook w;
    enum err_code e = webhook_get(cx, db, who, webhook_id, &w);
    if (e)
        return e;
    listing_init(&l, cx, " WHERE team_id = ", VT(who->team_id));
    listing_and(&l, " AND webhook_id = ", VT(w.id), "");
    if (REC_HAS(in, state))
        listing_words(&l, "state", in->state);
    if (REC_HAS(in, event_type))
        listing_words(&l, "event_type", in->event_type);
    if (REC_HAS(in, event_id))
        listing_and(&l, " AND event_id = ", VT(in->event_id), "");
    between(&l, in);
    return listing_page(&l, db, &from, &ask, out);
}

static enum err_code load(struct ctx *cx, struct db *db, const struct webhook *w, struct str id,
                          struct delivery *out)
{
    enum err_code e = path_id(cx, "delivery_id", &id);
    if (e)
        return e;
    e = db_one(cx, db, &rec_delivery,
               "SELECT " COLUMNS
               " FROM webhook_delivery WHERE team_id = $1 AND webhook_id = $2 AND id = $3",
               ARGS(VT(w->team_id), VT(w->id), VT(id)), out);
    return e == ERR_NOT_FOUND ? fail(cx, NOT_FOUND, "Delivery not found") : e;
}

static enum err_code read_attempts(struct ctx *cx, struct db *db, const struct webhook *w,
                                   struct delivery *d)
{
    struct list rows;
    struct buf b;
    enum err_code e = db_list(cx, db, &rec_attempt,
                              "SELECT n AS attempt, at_ms AS at, duration_ms, status, outcome, "
                              "error, body FROM webhook_attempt WHERE team_id = $1 AND "
                              "delivery_id = $2 ORDER BY n LIMIT CAST($3 AS INTEGER)",
                              ARGS(VT(w->team_id), VT(d->id), VI(ATTEMPTS_SHOWN)), &rows);
    if (e)
        return e;
    buf_init(&b, &cx->arena, ATTEMPTS_TEXT_MAX);
    buf_char(&b, '[');
    for (size_t i = 0; i < rows.n; i++) {
        buf_lit(&b, i ? "," : "");
        rec_encode(&b, &rec_attempt, (struct attempt *)rows.v + i);
    }
    buf_char(&b, ']');
    BUG_IF(b.over);
    d->attempts = buf_view(&b);
    REC_SET(d, attempts);
    return ERR_NONE;
}

enum err_code delivery_get(struct ctx *cx, struct db *db, const struct caller *who,
                           struct str webhook_id, struct str id, struct delivery *out)
{
    struct webhook w;
    struct event ev;
    enum err_code e = webhook_get(cx, db, who, webhook_id, &w);
    if (!e)
        e = load(cx, db, &w, id, out);
    if (!e)
        e = read_attempts(cx, db, &w, out);
    if (e)
        return e;
    e = event_load(cx, db, w.team_id, out->event_id, &ev);
    if (!e) {
        out->body = webhook_body(cx, &ev, out->payload);
        REC_SET(out, body);
    }
    return e == ERR_NOT_FOUND ? ERR_NONE : e;
}

/* ---- asking ---- */

enum err_code webhook_must_send(struct ctx *cx, const struct webhook *w)
{
    return str_eq(w->state, STR("enabled"))
               ? ERR_NONE
               : fail(cx, CONFLICT, "The webhook is disabled; enable it first");
}

static enum err_code add(struct ctx *cx, struct db *db, const struct caller *who,
                         const struct delivery_new *in, struct delivery *out)
{
    struct str id;
    enum err_code e = delivery_add(cx, db, in, &id);
    if (!e)
        e = load(cx, db, in->webhook, id, out);
    if (e)
        return e;
    return audit_write(cx, db, who,
                       &(struct audit_entry){ in->is_replay ? "webhook.replay" : "webhook.test",
                                              "webhook", in->webhook->id, STR_NONE,
                                              audit_json(cx, &rec_delivery, out) });
}

enum err_code webhook_test(struct ctx *cx, struct db *db, const struct caller *who,
                           struct str webhook_id, struct str event_type, struct delivery *out)
{
    struct webhook w;
    struct event_new in;
    struct event ev;
    enum event_type type = event_type.p ? event_type_of(event_type) : EVENT_WEBHOOK_TEST;
    enum err_code e = webhook_get(cx, db, who, webhook_id, &w);
    if (!e && type == EVENT_TYPES)
        e = ctx_fail_field(cx, ERR_INVALID_FIELD, STR("event_type"),
                           "event_type is not a type of event");
    if (!e)
        e = webhook_must_send(cx, &w);
    if (e)
        return e;
    event_example(cx, type, &in);
    if (type == EVENT_WEBHOOK_TEST) {
        in.subject_id = w.id;
        in.rec = &rec_webhook;
        in.obj = &w;
    }
    e = event_emit_to(cx, db, who, &in, w.id, &ev);
    return e ? e : add(cx, db, who, &(struct delivery_new){ &ev, &w, false }, out);
}

enum err_code delivery_replay(struct ctx *cx, struct db *db, const struct caller *who,
                              struct str webhook_id, struct str id, struct delivery *out)
{
    struct webhook w;
    struct event ev;
    struct delivery was;
    enum err_code e = webhook_get(cx, db, who, webhook_id, &w);
    if (!e)
        e = load(cx, db, &w, id, &was);
    if (!e)
        e = webhook_must_send(cx, &w);
    if (e)
        return e;
    e = event_load(cx, db, w.team_id, was.event_id, &ev);
    if (e == ERR_NOT_FOUND)
        return fail(cx, CONFLICT, "The event is no longer kept");
    return e ? e : add(cx, db, who, &(struct delivery_new){ &ev, &w, true }, out);
}
