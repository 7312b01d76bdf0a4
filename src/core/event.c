/* Events: see event.h. */
#include "event.h"

#include "../base/clock.h"
#include "../base/crypt.h"

const struct event_type_row event_types[] = {
#define EVENT_ROW(name, word, noun, entity, doc) { word, noun, entity, doc },
    EVENT_TABLE(EVENT_ROW)
#undef EVENT_ROW
};

enum event_type event_type_of(struct str word)
{
    for (int i = 0; i < EVENT_TYPES; i++)
        if (str_eq(word, str_of(event_types[i].word)))
            return (enum event_type)i;
    return EVENT_TYPES;
}

#define AT(member) offsetof(struct event, member)
static const struct field row_fields[] = {
    { "seq", F_INT, AT(seq) },
    { "team_id", F_STR, AT(team_id) },
    { "id", F_STR, AT(id) },
    { "type", F_STR, AT(type) },
    { "subject_id", F_STR, AT(subject_id) },
    { "entity", F_STR, AT(entity) },
    { "actor_kind", F_STR, AT(actor_kind) },
    { "actor_id", F_STR, AT(actor_id) },
    { "actor_name", F_STR, AT(actor_name) },
    { "data", F_STR, AT(data) },
    { "previous", F_STR, AT(previous) },
    { "at_ms", F_INT, AT(at_ms) },
};
const struct rec rec_event_row = REC("EventRow", struct event, row_fields, "An event as stored.");

/* A unit and the end of its batch run on one thread, the writer's. */
static _Thread_local bool is_noted;

bool event_noted(void)
{
    bool was = is_noted;
    is_noted = false;
    return was;
}

static struct str data_of(struct ctx *cx, const struct event_new *in)
{
    struct buf b;
    if (!in->rec)
        return in->data;
    buf_init(&b, &cx->arena, EVENT_DATA_MAX);
    rec_encode(&b, in->rec, in->obj);
    BUG_IF(b.over);
    return buf_view(&b);
}

/* The field alone as an object, {"name":value}, without its braces. */
static struct str member(struct ctx *cx, const struct field *f, const void *obj)
{
    struct buf b;
    struct rec one = { .fields = f, .n = 1 };
    buf_init(&b, &cx->arena, EVENT_DATA_MAX);
    rec_encode(&b, &one, obj);
    BUG_IF(b.over);
    return str_sub(buf_view(&b), 1, b.n - 2);
}

struct str event_previous(struct ctx *cx, const struct rec *r, const void *old, const void *now)
{
    struct buf b;
    buf_init(&b, &cx->arena, EVENT_DATA_MAX);
    for (size_t i = 0; i < r->n; i++) {
        const struct field *f = &r->fields[i];
        struct str name = str_of(f->name);
        if ((f->flags & F_SECRET) || str_eq(name, STR("version")) ||
            str_eq(name, STR("updated_at")))
            continue;
        struct str was = member(cx, f, old);
        if (str_eq(was, member(cx, f, now)))
            continue;
        buf_char(&b, b.n ? ',' : '{');
        buf_str(&b, was);
    }
    if (!b.n)
        return STR_NONE;
    buf_char(&b, '}');
    BUG_IF(b.over);
    return buf_view(&b);
}

static struct str entity_of(struct ctx *cx, const struct event_new *in)
{
    struct str id = in->entity_id.p ? in->entity_id : in->subject_id;
    return str_printf(&cx->arena, "%s:" STR_FMT, event_types[in->type].entity, STR_ARG(id));
}

enum err_code event_emit(struct ctx *cx, struct db *db, const struct caller *who,
                         const struct event_new *in)
{
    const struct event_type_row *type = &event_types[in->type];
    is_noted = true;
    return db_run(
        cx, db,
        "INSERT INTO event (team_id, id, type, subject_id, entity, actor_kind, actor_id, "
        "actor_name, data, previous, at_ms, is_new) SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, "
        "$10, CAST($11 AS BIGINT), 1 WHERE EXISTS (SELECT 1 FROM webhook WHERE team_id = $1 AND "
        "deleted_ms IS NULL)",
        ARGS(VT(who->team_id), VT(uuid7(&cx->arena)), VT(str_of(type->word)), VT(in->subject_id),
             VT(entity_of(cx, in)), VT(in->is_servers ? STR("server") : str_of(caller_kind(who))),
             VT(caller_subject(who)), VT(caller_name(who)), VT(data_of(cx, in)), VT(in->previous),
             VI(clock_ms())));
}

enum err_code event_emit_to(struct ctx *cx, struct db *db, const struct caller *who,
                            const struct event_new *in, struct str webhook_id, struct event *out)
{
    return db_one(
        cx, db, &rec_event_row,
        "INSERT INTO event (team_id, id, type, subject_id, entity, actor_kind, actor_id, "
        "actor_name, data, previous, at_ms, is_new, webhook_id) VALUES ($1, $2, $3, $4, $5, $6, "
        "$7, $8, $9, $10, $11, 0, $12) RETURNING " EVENT_COLUMNS,
        ARGS(VT(who->team_id), VT(uuid7(&cx->arena)), VT(str_of(event_types[in->type].word)),
             VT(in->subject_id), VT(entity_of(cx, in)), VT(str_of(caller_kind(who))),
             VT(caller_subject(who)), VT(caller_name(who)), VT(data_of(cx, in)), VT(in->previous),
             VI(clock_ms()), VT(webhook_id)),
        out);
}
