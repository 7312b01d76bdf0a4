/* New events to the webhooks that want them: see send_inner.h.
 *
 * One node at a time, since events must reach an ordered webhook in their order. Their row numbers
 * rise in the order of writing but become visible with their commits, hence the mark on each row
 * instead of a number up to which all were seen. */
#include "../../base/json.h"
#include "send_inner.h"

struct team { /* its webhooks, read once a unit */
    struct str id;
    struct list webhooks;
    bool woken[WEBHOOKS_MAX];
};

#define READ_MAX ((size_t)4 << 20) /* bytes of JSON that are read in one turn, about */

struct fan {
    struct send_turn *t;
    size_t n_read;      /* bytes of JSON */
    struct team *teams; /* room for SEND_FAN_MAX */
    size_t n_teams;
};

static enum err_code team_of(struct ctx *cx, struct db *db, struct fan *f, struct str id,
                             struct team **out)
{
    for (size_t i = f->n_teams; i-- > 0;)
        if (str_eq(f->teams[i].id, id)) {
            *out = &f->teams[i];
            return ERR_NONE;
        }
    struct team *team = *out = &f->teams[f->n_teams++];
    team->id = id;
    return db_list(cx, db, &rec_webhook_row,
                   "SELECT " WEBHOOK_COLUMNS " FROM webhook WHERE team_id = $1 AND "
                   "deleted_ms IS NULL AND state = 'enabled' ORDER BY id LIMIT $2",
                   ARGS(VT(id), VI(WEBHOOKS_MAX)), &team->webhooks);
}

struct reading { /* data and previous of an event, read when a condition asks */
    json_t *data, *previous;
    bool is_read;
};

static enum err_code read_data(struct ctx *cx, struct db *db, const struct event *ev, struct fan *f,
                               struct reading *r)
{
    struct event whole;
    if (r->is_read)
        return ERR_NONE;
    enum err_code e =
        db_one(cx, db, &rec_event_row, "SELECT data, previous FROM event WHERE seq = $1",
               ARGS(VI(ev->seq)), &whole);
    if (e)
        return e;
    r->is_read = true;
    f->n_read += whole.data.n + whole.previous.n;
    r->data = json_read(cx, whole.data);
    r->previous = whole.previous.p ? json_read(cx, whole.previous) : NULL;
    ctx_clear(cx); /* what is no JSON fits no condition */
    return ERR_NONE;
}

static enum err_code give(struct ctx *cx, struct db *db, struct fan *f, const struct event *ev)
{
    struct team *team;
    struct reading reading = { .is_read = false };
    enum err_code e = team_of(cx, db, f, ev->team_id, &team);
    for (size_t i = 0; !e && i < team->webhooks.n; i++) {
        const struct webhook *w = (const struct webhook *)team->webhooks.v + i;
        if (w->filter.p)
            e = read_data(cx, db, ev, f, &reading);
        if (e || !webhook_wants(cx, w, ev, reading.data, reading.previous))
            continue;
        if (!team->woken[i])
            e = lane_put(cx, db, w->team_id, w->id, f->t->now_ms);
        team->woken[i] = true;
        if (!e)
            e = delivery_insert(cx, db, &(struct delivery_new){ .ev = ev, .webhook = w },
                                f->t->now_ms, NULL);
    }
    return e ? e
             : db_run(cx, db, "UPDATE event SET is_new = 0 WHERE seq = $1 AND is_new = 1",
                      ARGS(VI(ev->seq)));
}

enum err_code send_fan(struct ctx *cx, struct db *db, struct send_turn *t)
{
    struct fan f = { .t = t };
    struct rec_num n;
    struct list events;
    enum err_code e = db_one(
        cx, db, &rec_num, "SELECT turns AS n FROM webhook_fan WHERE one = 1 {claim}", NO_ARGS, &n);
    t->is_elsewhere = e == ERR_NOT_FOUND;
    if (e)
        return t->is_elsewhere ? ERR_NONE : e;
    e = db_list(cx, db, &rec_event_row,
                "SELECT seq, team_id, id, type, subject_id, entity FROM event WHERE is_new = 1 "
                "ORDER BY seq LIMIT $1",
                ARGS(VI(SEND_FAN_MAX)), &events);
    if (e)
        return e;
    f.teams = ARENA_ARRAY(&cx->arena, struct team, SEND_FAN_MAX);
    while (!e && t->n_events < events.n && f.n_read < READ_MAX)
        e = give(cx, db, &f, (const struct event *)events.v + t->n_events++);
    t->has_more |= t->n_events == SEND_FAN_MAX || t->n_events < events.n;
    return e;
}
