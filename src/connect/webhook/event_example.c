/* Examples of events: see event_example.h.
 *
 * A member is its field's own example, else what its type gives. A noun without a row below has an
 * id only. */
#include "event_example.h"

#include "../../core/comment.h"
#include "../../core/crm/contact.h"
#include "../../core/event_read.h"
#include "../../core/ticket.h"
#include "../../core/token.h"
#include "../integration.h"
#include "../sync.h"
#include "webhook_send.h"

#define EXAMPLE_MAX ((size_t)64 << 10)
#define EXAMPLE_ID "01900000-0000-7000-8000-000000000001"
#define EXAMPLE_ENTITY "01900000-0000-7000-8000-000000000002"
#define EXAMPLE_MS INT64_C(1767225600000) /* 2026-01-01 */

static const struct {
    const char *noun;
    const struct rec *rec;
} recs[] = {
    { "ticket", &rec_ticket },   { "comment", &rec_comment },
    { "contact", &rec_contact }, { "api_key", &rec_token_event },
    { "webhook", &rec_webhook }, { "integration", &rec_integration },
    { "sync", &rec_sync },
};

#define RUN_OF_SYNC(status, processed, created, errors, count)                                     \
    "{\"id\":\"" EXAMPLE_ENTITY "\",\"sync_id\":\"" EXAMPLE_ID "\",\"status\":\"" status           \
    "\",\"items_processed\":" processed ",\"items_created\":" created ",\"items_updated\":0,"      \
    "\"items_skipped\":0,\"error_count\":" count                                                   \
    ",\"duration_ms\":1840,\"started_at\":\"2025-12-31T23:59:58.160Z\",\"created_at\":"            \
    "\"2026-01-01T00:00:00.000Z\",\"errors\":" errors                                              \
    ",\"sync_name\":\"Issues of the shop\",\"integration_id\":\"" EXAMPLE_ENTITY "\"}"

/* What is not the resource as the API shows it. */
static const struct {
    enum event_type type;
    const char *data;
} literals[] = {
    { EVENT_WEBHOOK_FAILING, "{\"id\":\"" EXAMPLE_ID "\",\"url\":\"https://example.com/hook\","
                             "\"failing_since\":\"2026-01-01T00:00:00.000Z\",\"percent\":50,"
                             "\"disabled_at\":\"2026-01-06T00:00:00.000Z\"}" },
    { EVENT_INTEGRATION_EVENT_RECEIVED,
      "{\"integration_id\":\"" EXAMPLE_ID "\",\"kind\":\"github\",\"event_type\":\"issues.opened\","
      "\"event_key\":\"72d3162e-cc78-11e3-81ab-4c9367dc0958\",\"webhook_log_id\":\"" EXAMPLE_ENTITY
      "\",\"received_at\":\"2026-01-01T00:00:00.000Z\",\"replay\":false}" },
    { EVENT_SYNC_FINISHED, RUN_OF_SYNC("success", "118", "2", "[]", "0") },
    { EVENT_SYNC_FAILED,
      RUN_OF_SYNC("error", "0", "0", "[\"401 from the other side: the token has ended\"]", "1") },
    { EVENT_REPORT_FINISHED,
      "{\"id\":\"" EXAMPLE_ENTITY "\",\"report_id\":\"" EXAMPLE_ID "\",\"state\":\"done\","
      "\"report_name\":\"Tickets by week\",\"file_url\":null}" },
};

/* What changed, where the type says that something did. */
static const struct {
    enum event_type type;
    const char *previous;
} changes[] = {
    { EVENT_TICKET_UPDATED, "{\"priority\":\"low\"}" },
    { EVENT_TICKET_STATUS_CHANGED, "{\"status\":\"waiting\"}" },
    { EVENT_TICKET_ASSIGNED, "{\"assignee_id\":null}" },
    { EVENT_CONTACT_UPDATED, "{\"company\":\"Acme\"}" },
    { EVENT_CONTACT_MERGED, "{\"merged_from\":[\"" EXAMPLE_ENTITY "\"]}" },
    { EVENT_INTEGRATION_UPDATED, "{\"name\":\"Repositories\"}" },
    { EVENT_SYNC_UPDATED, "{\"interval_ms\":3600000}" },
    { EVENT_API_KEY_UPDATED, "{\"rate_limit\":500}" },
    { EVENT_API_KEY_ENABLED, "{\"status\":\"disabled\"}" },
    { EVENT_API_KEY_DISABLED, "{\"status\":\"active\"}" },
    { EVENT_WEBHOOK_DISABLED, "{\"state\":\"enabled\",\"disabled_reason\":null}" },
};

/* ---- values ---- */

static void put_time(struct buf *b)
{
    buf_char(b, '"');
    time_print_ms(b, EXAMPLE_MS);
    buf_char(b, '"');
}

static void put_value(struct buf *b, const struct field *f)
{
    if (str_eq(str_of(f->name), STR("id"))) { /* the event names it too */
        buf_lit(b, "\"" EXAMPLE_ID "\"");
        return;
    }
    if (f->example) {
        buf_lit(b, f->example);
        return;
    }
    if (f->flags & F_NULLABLE) {
        buf_lit(b, "null");
        return;
    }
    switch (f->type) {
    case F_UUID: buf_lit(b, "\"" EXAMPLE_ENTITY "\""); return;
    case F_ENUM:
    case F_ENUMS: buf_printf(b, "\"%s\"", f->words[0]); return;
    case F_INT: buf_i64(b, f->min > 0 ? f->min : 0); return;
    case F_BOOL: buf_lit(b, "false"); return;
    case F_TIME:
    case F_TIME_S: put_time(b); return;
    case F_STRS:
    case F_RECS: buf_lit(b, "[]"); return;
    case F_OBJECT:
    case F_REC:
    case F_JSON: buf_lit(b, "{}"); return;
    case F_STR: buf_printf(b, "\"%s\"", f->name); return;
    }
}

static struct str example_of(struct ctx *cx, const struct rec *r)
{
    struct buf b;
    buf_init(&b, &cx->arena, EXAMPLE_MAX);
    for (size_t i = 0; i < r->n; i++) {
        const struct field *f = &r->fields[i];
        if (f->flags & F_SECRET)
            continue;
        buf_printf(&b, "%c\"%s\":", b.n ? ',' : '{', f->name);
        put_value(&b, f);
    }
    buf_char(&b, '}');
    BUG_IF(b.over);
    return buf_view(&b);
}

void event_example(struct ctx *cx, enum event_type type, struct event_new *out)
{
    const struct event_type_row *row = &event_types[type];
    *out = (struct event_new){ .type = type,
                               .subject_id = STR(EXAMPLE_ID),
                               .data = STR("{\"id\":\"" EXAMPLE_ID "\"}") };
    if (!str_eq(str_of(row->noun), str_of(row->entity)))
        out->entity_id = STR(EXAMPLE_ENTITY);
    for (size_t i = 0; i < sizeof recs / sizeof *recs; i++)
        if (str_eq(str_of(row->noun), str_of(recs[i].noun)))
            out->data = example_of(cx, recs[i].rec);
    for (size_t i = 0; i < sizeof literals / sizeof *literals; i++)
        if (literals[i].type == type)
            out->data = str_of(literals[i].data);
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++)
        if (changes[i].type == type)
            out->previous = str_of(changes[i].previous);
}

/* ---- the list of types ---- */

#define AT(member) offsetof(struct event_type_shown, member)
static const struct field type_fields[] = {
    { "type", F_STR, AT(type), 0, 0, 0, NULL, "What webhooks subscribe to", "\"ticket.created\"" },
    { "noun", F_STR, AT(noun), 0, 0, 0, NULL, "What it is about; all of them: noun.*",
      "\"ticket\"" },
    { "description", F_STR, AT(doc), 0, 0, 0, NULL, "When it is written", NULL },
    { "example", F_REC, AT(example), 0, 0, 0, NULL, "What a webhook with a full payload gets", NULL,
      &rec_event },
};
const struct rec rec_event_type =
    REC("EventType", struct event_type_shown, type_fields, "A type of event.");

static struct str body_of(struct ctx *cx, struct str team_id, enum event_type type)
{
    struct event_new in;
    event_example(cx, type, &in);
    struct str id = in.entity_id.p ? in.entity_id : in.subject_id;
    const struct event ev = { .team_id = team_id,
                              .id = STR(EXAMPLE_ENTITY),
                              .type = str_of(event_types[type].word),
                              .subject_id = in.subject_id,
                              .entity = str_printf(&cx->arena, "%s:" STR_FMT,
                                                   event_types[type].entity, STR_ARG(id)),
                              .actor_kind = STR("user"),
                              .actor_id = STR(EXAMPLE_ID),
                              .actor_name = STR("Ada"),
                              .data = in.data,
                              .previous = in.previous,
                              .seq = 4711,
                              .at_ms = EXAMPLE_MS };
    return webhook_body(cx, &ev, STR("full"));
}

void event_types_show(struct ctx *cx, struct str team_id, struct list *out)
{
    struct event_type_shown *v = ARENA_ARRAY(&cx->arena, struct event_type_shown, EVENT_TYPES);
    for (int i = 0; i < EVENT_TYPES; i++) {
        v[i].type = str_of(event_types[i].word);
        v[i].noun = str_of(event_types[i].noun);
        v[i].doc = str_of(event_types[i].doc);
        v[i].example = body_of(cx, team_id, (enum event_type)i);
        REC_SET(&v[i], type);
        REC_SET(&v[i], noun);
        REC_SET(&v[i], doc);
        REC_SET(&v[i], example);
    }
    *out = (struct list){ v, EVENT_TYPES };
}
