/* The log of webhooks that came in: see webhook_log.h. */
#include "webhook_log.h"

#include "../../base/clock.h"
#include "../../base/json.h"
#include "../../core/audit.h"
#include "../hook_mac.h"
#include "../integration.h"
#include "payload.h"
#include "process.h"

#define COLUMNS                                                                                    \
    "w.id AS id, w.integration_id AS integration_id, w.event_type AS event_type, w.event_key AS "  \
    "event_key, w.state AS state, CASE WHEN w.state = 'processed' THEN 1 ELSE 0 END AS "           \
    "processed, w.processed_ms AS processed_at, w.attempts AS attempts, w.error AS error, "        \
    "w.received_ms AS received_at, w.replays AS replays, w.size_bytes AS size_bytes"

static const char *const states[] = { "received", "processed", "ignored", "failed", NULL };

#define AT(member) offsetof(struct webhook_log, member)
#define LIST_ROWS                                                                                     \
    { "id", F_UUID, AT(id), 0, 0, 0, NULL, "Identifier of the event here", NULL },                    \
        { "integration_id", F_UUID, AT(integration_id), 0, 0, 0, NULL, "Where it came in", NULL },    \
        { "event_type",                                                                               \
          F_STR,                                                                                      \
          AT(event_type),                                                                             \
          F_NULLABLE,                                                                                 \
          0,                                                                                          \
          0,                                                                                          \
          NULL,                                                                                       \
          "What the sender says has happened; null: it does not",                                     \
          "\"issues\"" },                                                                             \
        { "event_key",                                                                                \
          F_STR,                                                                                      \
          AT(event_key),                                                                              \
          F_NULLABLE,                                                                                 \
          0,                                                                                          \
          0,                                                                                          \
          NULL,                                                                                       \
          "The sender's id of the event, the same at each delivery; null: it gives none",             \
          NULL },                                                                                     \
        { "state",   F_ENUM,                                                                          \
          AT(state), 0,                                                                               \
          0,         0,                                                                               \
          states,    "received waits to be processed; ignored is not among event_types",              \
          NULL },                                                                                     \
        { "processed", F_BOOL, AT(is_processed), 0, 0, 0, NULL, "Whether state is processed", NULL }, \
        { "processed_at", F_TIME, AT(processed_ms), F_NULLABLE, 0, 0, NULL, "When it was", NULL },    \
        { "attempts", F_INT, AT(attempts), 0, 0, 0, NULL, "How often it was tried", NULL },           \
        { "error", F_STR, AT(error), F_NULLABLE, 0, 0, NULL, "Why the last attempt failed", NULL },   \
        { "received_at", F_TIME, AT(received_ms), 0, 0, 0, NULL, "When it came", NULL },              \
        { "replays", F_INT, AT(replays), 0, 0, 0, NULL, "How often it was replayed", NULL },          \
    {                                                                                                 \
        "size_bytes", F_INT, AT(size_bytes), 0, 0, 0, NULL, "Bytes of the body", NULL                 \
    }
static const struct field list_fields[] = { LIST_ROWS };
const struct rec rec_webhook_log =
    REC("WebhookLog", struct webhook_log, list_fields, "A webhook that came in.");
static const struct field full_fields[] = {
    LIST_ROWS,
    { "duplicates", F_INT, AT(duplicates), 0, 0, 0, NULL,
      "Further deliveries of the same event, which were acknowledged and dropped", NULL },
    { "headers", F_OBJECT, AT(headers), 0, 0, 0, NULL,
      "Headers that say what the event is, names in lower case; none that hold secrets", NULL },
    { "payload", F_JSON, AT(payload), F_NULLABLE, 0, 0, NULL, "The body, when it is JSON", NULL },
    { "payload_base64", F_STR, AT(payload_base64), F_NULLABLE, 0, 0, NULL,
      "The body, when it is not", NULL },
};
const struct rec rec_webhook_log_full = REC("WebhookLogFull", struct webhook_log, full_fields,
                                            "A webhook that came in, with its body.");

#define ASK(member) offsetof(struct webhook_log_query, member)
static const struct field query_fields[] = {
    { "integration_id", F_UUID, ASK(integration_id), 0, 0, 0, NULL, "Only of this integration",
      NULL },
    { "event_type", F_STR, ASK(event_type), 0, 1, 100, NULL, "Only of this type", NULL },
    { "state", F_ENUMS, ASK(state), 0, 0, 4, states, "Only these states (comma separated)", NULL },
    { "processed", F_BOOL, ASK(is_processed), 0, 0, 0, NULL,
      "Only those that are processed, or not", NULL },
    { "from", F_TIME, ASK(from), 0, 0, 0, NULL, "Received at or after", NULL },
    { "to", F_TIME, ASK(to), 0, 0, 0, NULL, "Received before", NULL },
    LISTING_QUERY_ROWS(struct webhook_log_query),
};
const struct rec rec_webhook_log_query = REC("WebhookLogQuery", struct webhook_log_query,
                                             query_fields, "Filters of the log of webhooks.");

/* ---- reading ---- */

enum err_code webhook_log_list(struct ctx *cx, struct db *db, const struct caller *who,
                               const struct webhook_log_query *in, struct cursor_key key,
                               struct page *out)
{
    static const struct listing_from from = { .r = &rec_webhook_log,
                                              .kind = "webhook-logs:-id",
                                              .columns = COLUMNS,
                                              .table = "webhook_log w",
                                              .id = "w.id",
                                              .is_down = true,
                                              .id_at = AT(id) };
    struct page_ask ask = { .cursor = in->cursor, .limit = in->limit, .key = &key };
    struct listing l;
    listing_init(&l, cx, " WHERE w.team_id = ", VT(who->team_id));
    if (REC_HAS(in, integration_id))
        listing_and(&l, " AND w.integration_id = ", VT(in->integration_id), "");
    if (REC_HAS(in, event_type))
        listing_and(&l, " AND w.event_type = ", VT(in->event_type), "");
    if (REC_HAS(in, state))
        listing_words(&l, "w.state", in->state);
    if (REC_HAS(in, is_processed))
        buf_lit(&l.sql,
                in->is_processed ? " AND w.state = 'processed'" : " AND w.state <> 'processed'");
    if (REC_HAS(in, from))
        listing_and(&l, " AND w.received_ms >= ", VI(in->from), "");
    if (REC_HAS(in, to))
        listing_and(&l, " AND w.received_ms < ", VI(in->to), "");
    return listing_page(&l, db, &from, &ask, out);
}

static enum err_code not_found(struct ctx *cx)
{
    return fail(cx, NOT_FOUND, "Webhook not found; it may be older than the log");
}

struct kept {
    struct rec_bits bits;
    struct str form, body;
};
static const struct field kept_fields[] = {
    { "form", F_STR, offsetof(struct kept, form), 0, 0, 0, NULL, NULL, NULL },
    { "body", F_STR, offsetof(struct kept, body), 0, 0, 0, NULL, NULL, NULL },
};
static const struct rec rec_kept = REC("WebhookKept", struct kept, kept_fields, "A stored body.");

static enum err_code read_body(struct ctx *cx, struct db *db, const struct caller *who,
                               struct str id, struct kept *out)
{
    enum err_code e =
        db_one(cx, db, &rec_kept,
               "SELECT body_form AS form, body FROM webhook_payload WHERE team_id = $1 AND id = $2",
               ARGS(VT(who->team_id), VT(id)), out);
    return e == ERR_NOT_FOUND ? not_found(cx) : e;
}

/* As JSON when it is, which costs a parse; else as base64. */
static void show_body(struct ctx *cx, const struct kept *k, struct webhook_log *out)
{
    bool is_text = str_eq(k->form, STR("text"));
    if (is_text && json_read(cx, k->body)) {
        out->payload = k->body;
        REC_SET(out, payload);
        return;
    }
    ctx_clear(cx);
    out->payload_base64 =
        is_text ? hook_base64(&cx->arena, (const unsigned char *)k->body.p, k->body.n) : k->body;
    REC_SET(out, payload_base64);
}

enum err_code webhook_log_get(struct ctx *cx, struct db *db, const struct caller *who,
                              struct str id, struct webhook_log *out)
{
    struct kept kept;
    enum err_code e = path_id(cx, "webhook_log_id", &id);
    if (e)
        return e;
    e = db_one(cx, db, &rec_webhook_log_full,
               "SELECT " COLUMNS ", p.headers AS headers, COALESCE(s.duplicates, 0) AS duplicates "
               "FROM webhook_log w JOIN webhook_payload p ON p.team_id = w.team_id AND "
               "p.id = w.id LEFT JOIN hook_seen s ON s.team_id = w.team_id AND "
               "s.integration_id = w.integration_id AND s.event_key = w.event_key AND "
               "s.event_id = w.id WHERE w.team_id = $1 AND w.id = $2",
               ARGS(VT(who->team_id), VT(id)), out);
    if (e)
        return e == ERR_NOT_FOUND ? not_found(cx) : e;
    if (out->size_bytes > (int64_t)LOG_SHOWN_MAX)
        return ERR_NONE;
    e = read_body(cx, db, who, out->id, &kept);
    if (!e)
        show_body(cx, &kept, out);
    return e;
}

enum err_code webhook_log_payload(struct ctx *cx, struct db *db, const struct caller *who,
                                  struct str id, struct str *out)
{
    struct kept kept;
    enum err_code e = path_id(cx, "webhook_log_id", &id);
    if (!e)
        e = read_body(cx, db, who, id, &kept);
    if (e)
        return e;
    return payload_bytes(&cx->arena, kept.form, kept.body, out)
               ? ERR_NONE
               : fail(cx, INTERNAL, "a stored body is damaged");
}
