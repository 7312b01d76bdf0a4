/* What is sent: see webhook_body. The text is made from the stored event at each attempt and depends
 * on nothing else, so it is the same byte for byte. */
#include "../../base/json.h"
#include "send_inner.h"

#define BODY_MAX (2 * EVENT_DATA_MAX + ((size_t)64 << 10))

/* Where the API shows the subject of a thin event: `at` is put before its id. A noun without a row
 * has no page of its own. */
static const struct {
    const char *noun, *at;
} pages[] = {
    { "ticket", "/v1/tickets/" },   { "contact", "/v1/contacts/" },
    { "api_key", "/v1/api-keys/" }, { "integration", "/v1/integrations/" },
    { "webhook", "/v1/webhooks/" }, { "report", "/v1/reports/" },
    { "sync", "/v1/syncs/" },
};

/* A comment is found under its ticket, which is what it is kept in order with. */
static void put_path(struct buf *b, const struct event *ev, const char *noun)
{
    struct str entity = ev->entity, kind = str_cut(&entity, ':');
    if (str_eq(str_of(noun), STR("comment")) && str_eq(kind, STR("ticket")) && entity.p) {
        buf_lit(b, "/v1/tickets/");
        buf_str(b, entity);
        buf_lit(b, "/comments/");
        buf_str(b, ev->subject_id);
        return;
    }
    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++)
        if (str_eq(str_of(noun), str_of(pages[i].noun))) {
            buf_lit(b, pages[i].at);
            buf_str(b, ev->subject_id);
        }
}

static void put_thin(struct ctx *cx, struct buf *b, const struct event *ev)
{
    struct buf path;
    enum event_type type = event_type_of(ev->type);
    const char *noun = type < EVENT_TYPES ? event_types[type].noun : "";
    buf_init(&path, &cx->arena, 512);
    put_path(&path, ev, noun);
    buf_lit(b, "{\"id\":");
    json_write_str(b, ev->subject_id);
    buf_lit(b, ",\"object\":");
    json_write_str(b, str_of(noun));
    buf_lit(b, ",\"path\":");
    if (path.n)
        json_write_str(b, buf_view(&path));
    else
        buf_lit(b, "null");
    buf_char(b, '}');
}

static void put_text(struct buf *b, const char *name, struct str value)
{
    buf_printf(b, ",\"%s\":", name);
    if (value.n)
        json_write_str(b, value);
    else
        buf_lit(b, "null");
}

struct str webhook_body(struct ctx *cx, const struct event *ev, struct str payload)
{
    struct buf b;
    bool is_thin = str_eq(payload, STR("thin"));
    buf_init(&b, &cx->arena, BODY_MAX);
    buf_lit(&b, "{\"id\":");
    json_write_str(&b, ev->id);
    put_text(&b, "type", ev->type);
    buf_lit(&b, ",\"occurred_at\":\"");
    time_print_ms(&b, ev->at_ms);
    buf_char(&b, '"');
    put_text(&b, "team_id", ev->team_id);
    buf_printf(&b, ",\"sequence\":%lld", (long long)ev->seq);
    put_text(&b, "entity", ev->entity);
    buf_lit(&b, ",\"actor\":{\"kind\":");
    json_write_str(&b, ev->actor_kind);
    put_text(&b, "id", ev->actor_id);
    put_text(&b, "name", ev->actor_name);
    buf_lit(&b, "},\"data\":");
    if (is_thin)
        put_thin(cx, &b, ev);
    else
        buf_str(&b, ev->data);
    if (!is_thin) {
        buf_lit(&b, ",\"previous\":");
        buf_str(&b, ev->previous.p ? ev->previous : STR("null"));
    }
    buf_char(&b, '}');
    BUG_IF(b.over);
    return buf_view(&b);
}
