/* Reading events: see event_read.h. */
#include "event_read.h"

#include "../base/crypt.h"
#include "../base/json.h"

/* Ids are made just before or after the time that is stored with them; the index over them narrows
 * a range of times down to this. */
#define SLACK_MS 60000

const char *const event_words[] = {
#define EVENT_WORD(name, word, noun, entity, doc) word,
    EVENT_TABLE(EVENT_WORD)
#undef EVENT_WORD
        NULL,
};

/* ---- field tables ---- */

static const char *const actor_kinds[] = { "key", "user", "cli", "server", NULL };

struct event_actor {
    struct rec_bits bits;
    struct str kind, id, name;
};
#define ACTOR(member) offsetof(struct event_actor, member)
static const struct field actor_fields[] = {
    { "kind", F_ENUM, ACTOR(kind), 0, 0, 0, actor_kinds,
      "An API key, a user, the command line, or the server by itself", NULL },
    { "id", F_UUID, ACTOR(id), F_NULLABLE, 0, 0, NULL, "Of the key or the user", NULL },
    { "name", F_STR, ACTOR(name), F_NULLABLE, 0, 0, NULL, "Its name at that time", "\"CRM\"" },
};
const struct rec rec_event_actor =
    REC("EventActor", struct event_actor, actor_fields, "Who did it.");

#define AT(member) offsetof(struct event_shown, member)
/* clang-format off */
#define SHOWN_ROWS \
    { "id", F_UUID, AT(id), 0, 0, 0, NULL, \
      "Identifier of the event, the same at every delivery of it", NULL }, \
    { "type", F_ENUM, AT(type), 0, 0, 0, event_words, "What happened", NULL }, \
    { "occurred_at", F_TIME, AT(at_ms), 0, 0, 0, NULL, "When", NULL }, \
    { "team_id", F_UUID, AT(team_id), 0, 0, 0, NULL, "In which team", NULL }, \
    { "sequence", F_INT, AT(seq), 0, 0, 0, NULL, \
      "Rises; events of one entity have it in their order", "4711" }, \
    { "entity", F_STR, AT(entity), 0, 0, 0, NULL, \
      "What events are kept in order for: noun and id", \
      "\"ticket:01900000-0000-7000-8000-000000000001\"" }
/* clang-format on */
static const struct field event_fields[] = {
    SHOWN_ROWS,
    { "actor", F_REC, AT(actor), 0, 0, 0, NULL, "Who did it", NULL, &rec_event_actor },
    { "data", F_JSON, AT(data), 0, 0, 0, NULL, "The resource as the API shows it, as it was then",
      NULL },
    { "previous", F_JSON, AT(previous), F_NULLABLE, 0, 0, NULL,
      "Of an update: the members that changed, as they were before", NULL },
};
const struct rec rec_event =
    REC("Event", struct event_shown, event_fields, "Something that happened in the team.");

static const struct field stored_fields[] = {
    SHOWN_ROWS,
    { "actor_kind", F_STR, AT(actor_kind) },
    { "actor_id", F_STR, AT(actor_id) },
    { "actor_name", F_STR, AT(actor_name) },
    { "data", F_STR, AT(data) },
    { "previous", F_STR, AT(previous) },
};
static const struct rec rec_stored =
    REC("EventStored", struct event_shown, stored_fields, "An event as stored.");
#define COLUMNS                                                                                    \
    "id, type, at_ms AS occurred_at, team_id, seq AS sequence, entity, actor_kind, actor_id, "     \
    "actor_name, data, previous"

#define Q(member) offsetof(struct event_query, member)
static const struct field query_fields[] = {
    { "type", F_ENUMS, Q(type), 0, 0, EVENT_TYPES, event_words, "Only these types", NULL },
    { "subject_id", F_UUID, Q(subject_id), 0, 0, 0, NULL, "Only of this ticket, comment, contact …",
      NULL },
    { "from", F_TIME, Q(from), 0, 0, 0, NULL, "Not before this time", NULL },
    { "to", F_TIME, Q(to), 0, 0, 0, NULL, "Before this time", NULL },
    LISTING_QUERY_ROWS(struct event_query),
};
const struct rec rec_event_query =
    REC("EventQuery", struct event_query, query_fields, "Filters of the list of events.");

/* ---- reading ---- */

static void put_member(struct buf *b, const char *name, struct str text)
{
    buf_printf(b, "%c\"%s\":", b->n ? ',' : '{', name);
    if (text.n)
        json_write_str(b, text);
    else
        buf_lit(b, "null");
}

static void show(struct ctx *cx, struct event_shown *ev)
{
    struct buf b;
    buf_init(&b, &cx->arena, 65536);
    put_member(&b, "kind", ev->actor_kind);
    put_member(&b, "id", ev->actor_id);
    put_member(&b, "name", ev->actor_name);
    buf_char(&b, '}');
    BUG_IF(b.over);
    ev->actor = buf_view(&b);
    REC_SET(ev, actor);
}

void event_between(struct listing *l, const int64_t *from, const int64_t *to)
{
    struct arena *a = &l->cx->arena;
    if (from) {
        listing_and(l, " AND id >= ", VT(uuid7_least(a, *from - SLACK_MS)), "");
        listing_and(l, " AND at_ms >= ", VI(*from), "");
    }
    if (to) {
        listing_and(l, " AND id < ", VT(uuid7_least(a, *to + SLACK_MS)), "");
        listing_and(l, " AND at_ms < ", VI(*to), "");
    }
}

enum err_code event_list(struct ctx *cx, struct db *db, const struct caller *who,
                         const struct event_query *in, struct cursor_key key, struct page *out)
{
    static const struct listing_from from = { .r = &rec_stored,
                                              .kind = "events",
                                              .columns = COLUMNS,
                                              .table = "event",
                                              .id = "id",
                                              .is_down = true,
                                              .id_at = AT(id) };
    const struct page_ask ask = { .cursor = in->cursor, .limit = in->limit, .key = &key };
    struct listing l;
    listing_init(&l, cx, " WHERE team_id = ", VT(who->team_id));
    buf_lit(&l.sql, " AND webhook_id IS NULL");
    if (REC_HAS(in, type))
        listing_words(&l, "type", in->type);
    if (REC_HAS(in, subject_id))
        listing_and(&l, " AND subject_id = ", VT(in->subject_id), "");
    event_between(&l, REC_HAS(in, from) ? &in->from : NULL, REC_HAS(in, to) ? &in->to : NULL);
    enum err_code e = listing_page(&l, db, &from, &ask, out);
    for (size_t i = 0; !e && i < out->rows.n; i++)
        show(cx, (struct event_shown *)out->rows.v + i);
    return e;
}

enum err_code event_get(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                        struct event_shown *out)
{
    enum err_code e = path_id(cx, "event_id", &id);
    if (e)
        return e;
    e = db_one(cx, db, &rec_stored, "SELECT " COLUMNS " FROM event WHERE team_id = $1 AND id = $2",
               ARGS(VT(who->team_id), VT(id)), out);
    if (!e)
        show(cx, out);
    return e == ERR_NOT_FOUND ? fail(cx, NOT_FOUND, "Event not found") : e;
}

enum err_code event_load(struct ctx *cx, struct db *db, struct str team_id, struct str id,
                         struct event *out)
{
    return db_one(cx, db, &rec_event_row,
                  "SELECT " EVENT_COLUMNS " FROM event WHERE team_id = $1 AND id = $2",
                  ARGS(VT(team_id), VT(id)), out);
}
