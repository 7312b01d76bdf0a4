/* What is due, lane by lane: see send_inner.h.
 *
 * A lane is a webhook with something waiting; its wake_ms says when it is to be looked at next. Lanes
 * that are due are taken in the order of wake_ms and written anew when they were looked at, so they
 * take turns, and the cost of a turn depends on the lanes that are due, never on how much waits in
 * them. What another node holds at the moment is passed over. */
#include <openssl/crypto.h>
#include <string.h>

#include "../../base/crypt.h"
#include "../../base/log.h"
#include "send_inner.h"

/* A full lane is looked at again by any node; here the end of a delivery does so earlier. */
#define LANE_FULL_MS 1000
#define LANE_SHUT_MS 60000 /* one whose secrets do not open */
#define EXPIRE_MAX 200     /* leases a turn */
#define END_MAX 200        /* deliveries of a webhook that sends no more, a turn */
#define EVENTS_AT_ONCE 16
#define INLINE_MAX "16384" /* characters of data that are read with the row */
#define BODY_REST 1024     /* bytes of a body beside data and previous, about */

#define AT(member) offsetof(struct sending, member)
static const struct field sending_fields[] = {
    { "team_id", F_STR, AT(team_id) },
    { "webhook_id", F_STR, AT(webhook_id) },
    { "id", F_STR, AT(id) },
    { "event_id", F_STR, AT(event_id) },
    { "payload", F_STR, AT(payload) },
    { "is_ordered", F_INT, AT(is_ordered) },
    { "is_replay", F_INT, AT(is_replay) },
    { "attempt", F_INT, AT(attempt) },
    { "created_ms", F_INT, AT(created_ms) },
    { "due_ms", F_INT, AT(due_ms) },
};
const struct rec rec_sending =
    REC("WebhookSending", struct sending, sending_fields, "A delivery as stored.");
#define DELIVERY_COLUMNS                                                                           \
    "team_id, webhook_id, id, event_id, payload, is_ordered, is_replay, attempt, created_ms, due_ms"

#define LANE(member) offsetof(struct lane, member)
static const struct field lane_fields[] = {
    { "team_id", F_STR, LANE(team_id) },
    { "webhook_id", F_STR, LANE(webhook_id) },
};
const struct rec rec_lane = REC("WebhookLane", struct lane, lane_fields, "A lane.");

/* ---- leases that are over ---- */

static enum err_code expire(struct ctx *cx, struct db *db, struct send_turn *t)
{
    struct list over;
    enum err_code e = db_list(cx, db, &rec_sending,
                              "SELECT " DELIVERY_COLUMNS " FROM webhook_delivery WHERE "
                              "state = 'sending' AND lease_ms < $1 ORDER BY lease_ms LIMIT $2 "
                              "{claim}",
                              ARGS(VI(t->expire_ms), VI(EXPIRE_MAX)), &over);
    for (size_t i = 0; !e && i < over.n; i++) {
        const struct sending *d = (const struct sending *)over.v + i;
        e = lane_put(cx, db, d->team_id, d->webhook_id, t->now_ms);
        if (!e)
            e = db_run(cx, db,
                       "UPDATE webhook_delivery SET state = 'waiting', due_ms = $3, lease_ms = "
                       "NULL, lease_token = NULL WHERE team_id = $1 AND id = $2",
                       ARGS(VT(d->team_id), VT(d->id), VI(t->now_ms)));
    }
    if (!e && over.n)
        log_warn(NULL, "webhook.leases_over", KVI("deliveries", (int64_t)over.n));
    t->has_more |= over.n == EXPIRE_MAX;
    return e;
}

/* ---- the events of what is due ---- */

struct sized {
    struct rec_bits bits;
    struct str id, type, subject_id, entity, actor_kind, actor_id, actor_name, data, previous;
    int64_t seq, at_ms, size;
};
#define SIZED(member) offsetof(struct sized, member)
static const struct field sized_fields[] = {
    { "id", F_STR, SIZED(id) },
    { "type", F_STR, SIZED(type) },
    { "subject_id", F_STR, SIZED(subject_id) },
    { "entity", F_STR, SIZED(entity) },
    { "actor_kind", F_STR, SIZED(actor_kind) },
    { "actor_id", F_STR, SIZED(actor_id) },
    { "actor_name", F_STR, SIZED(actor_name) },
    { "data", F_STR, SIZED(data) },
    { "previous", F_STR, SIZED(previous) },
    { "seq", F_INT, SIZED(seq) },
    { "at_ms", F_INT, SIZED(at_ms) },
    { "size", F_INT, SIZED(size) },
};
static const struct rec rec_sized =
    REC("EventSized", struct sized, sized_fields, "An event, its data if that is small.");

#define SQL_SIZE "LENGTH(data) + LENGTH(COALESCE(previous, ''))"

/* Of up to EVENTS_AT_ONCE deliveries; the same statement however many there are. */
static enum err_code load_events(struct ctx *cx, struct db *db, const struct sending *v, size_t n,
                                 struct list *out)
{
    struct val ids[1 + EVENTS_AT_ONCE] = { VT(v->team_id) };
    for (size_t i = 0; i < EVENTS_AT_ONCE; i++)
        ids[1 + i] = VT(v[i < n ? i : n - 1].event_id);
    return db_list(cx, db, &rec_sized,
                   "SELECT id, type, subject_id, entity, actor_kind, actor_id, actor_name, seq, "
                   "at_ms, " SQL_SIZE " AS size, CASE WHEN " SQL_SIZE " <= " INLINE_MAX
                   " THEN data END AS data, CASE WHEN " SQL_SIZE " <= " INLINE_MAX
                   " THEN previous END AS previous FROM event WHERE team_id = $1 AND id IN "
                   "($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
                   (struct args){ ids, 1 + EVENTS_AT_ONCE }, out);
}

static struct sized *event_of(const struct list *events, struct str id)
{
    for (size_t i = 0; i < events->n; i++)
        if (str_eq(((struct sized *)events->v)[i].id, id))
            return (struct sized *)events->v + i;
    return NULL;
}

static enum err_code load_data(struct ctx *cx, struct db *db, struct str team_id, struct sized *s)
{
    struct event whole;
    enum err_code e = db_one(cx, db, &rec_event_row,
                             "SELECT data, previous FROM event WHERE team_id = $1 AND id = $2",
                             ARGS(VT(team_id), VT(s->id)), &whole);
    s->data = whole.data;
    s->previous = whole.previous;
    return e;
}

static const struct event *event_from(struct ctx *cx, struct str team_id, const struct sized *s)
{
    struct event *ev = ARENA_NEW(&cx->arena, struct event);
    *ev = (struct event){ .team_id = team_id,
                          .id = s->id,
                          .type = s->type,
                          .subject_id = s->subject_id,
                          .entity = s->entity,
                          .actor_kind = s->actor_kind,
                          .actor_id = s->actor_id,
                          .actor_name = s->actor_name,
                          .data = s->data,
                          .previous = s->previous,
                          .seq = s->seq,
                          .at_ms = s->at_ms };
    return ev;
}

/* ---- one lane ---- */

struct look { /* at a lane */
    struct send_turn *t;
    const struct lane *lane;
    const struct gate *gate;
    struct send_target *to;
    size_t bytes; /* claimed here in this turn */
    bool is_full; /* something due had to be left */
};

static enum err_code end_delivery(struct ctx *cx, struct db *db, const struct sending *d,
                                  const char *why, int64_t now_ms)
{
    enum err_code e = db_run(cx, db,
                             "UPDATE webhook_delivery SET state = 'failed', error = $3, "
                             "finished_ms = $4 WHERE team_id = $1 AND id = $2",
                             ARGS(VT(d->team_id), VT(d->id), VT(str_of(why)), VI(now_ms)));
    return e || !d->is_ordered ? e : delivery_next(cx, db, d->team_id, d->id, now_ms);
}

/* One delivery becomes ours. Without room for its body the lane is full. */
static enum err_code claim(struct ctx *cx, struct db *db, struct look *l, const struct sending *d,
                           struct sized *s)
{
    struct send_turn *t = l->t;
    size_t size = (size_t)s->size + BODY_REST;
    enum err_code e = ERR_NONE;
    l->is_full = !gate_has_bytes(t->gates, l->gate, size, t->bytes, l->bytes);
    if (l->is_full)
        return ERR_NONE;
    if (!s->data.p)
        e = load_data(cx, db, d->team_id, s);
    if (e)
        return e;
    t->claims[t->n++] = (struct send_claim){ d, event_from(cx, d->team_id, s), l->to, size };
    t->bytes += size;
    l->bytes += size;
    return db_run(cx, db,
                  "UPDATE webhook_delivery SET state = 'sending', lease_ms = $3, lease_token = $4 "
                  "WHERE team_id = $1 AND id = $2",
                  ARGS(VT(d->team_id), VT(d->id), VI(t->now_ms + t->lease_ms), VT(t->lease_token)));
}

static enum err_code claim_some(struct ctx *cx, struct db *db, struct look *l,
                                const struct sending *v, size_t n)
{
    struct list events;
    enum err_code e = load_events(cx, db, v, n, &events);
    for (size_t i = 0; !e && !l->is_full && i < n; i++) {
        struct sized *s = event_of(&events, v[i].event_id);
        e = s ? claim(cx, db, l, &v[i], s)
              : end_delivery(cx, db, &v[i], "The event is not kept any more", l->t->now_ms);
    }
    return e;
}

static enum err_code claim_due(struct ctx *cx, struct db *db, struct look *l)
{
    struct send_turn *t = l->t;
    struct list due;
    size_t room = (size_t)gate_room(t->gates, l->gate, (int)t->n, t->now_ms);
    if (t->n + room > SEND_CLAIMS_MAX)
        room = SEND_CLAIMS_MAX - t->n;
    l->is_full = !room;
    if (!room)
        return ERR_NONE;
    enum err_code e = db_list(
        cx, db, &rec_sending,
        "SELECT " DELIVERY_COLUMNS " FROM webhook_delivery WHERE team_id = $1 AND "
        "webhook_id = $2 AND state = 'waiting' AND due_ms <= $3 "
        "ORDER BY due_ms, event_seq LIMIT $4 {claim}",
        ARGS(VT(l->lane->team_id), VT(l->lane->webhook_id), VI(t->now_ms), VI((int64_t)room)),
        &due);
    for (size_t at = 0; !e && !l->is_full && at < due.n; at += EVENTS_AT_ONCE) {
        size_t n = due.n - at < EVENTS_AT_ONCE ? due.n - at : EVENTS_AT_ONCE;
        e = claim_some(cx, db, l, (const struct sending *)due.v + at, n);
    }
    l->is_full |= due.n == room;
    return e;
}

/* It sends no more: what waits fails, some at a time, whether it is due or not. */
static enum err_code end_some(struct ctx *cx, struct db *db, struct look *l, const char *why)
{
    struct list waiting;
    enum err_code e =
        db_list(cx, db, &rec_sending,
                "SELECT " DELIVERY_COLUMNS " FROM webhook_delivery WHERE "
                "team_id = $1 AND webhook_id = $2 AND state = 'waiting' "
                "ORDER BY due_ms, event_seq LIMIT $3 {claim}",
                ARGS(VT(l->lane->team_id), VT(l->lane->webhook_id), VI(END_MAX)), &waiting);
    for (size_t i = 0; !e && i < waiting.n; i++)
        e = end_delivery(cx, db, (const struct sending *)waiting.v + i, why, l->t->now_ms);
    return e;
}

void send_target_wipe(struct send_target *t)
{
    for (size_t i = 0; i < t->n_secrets; i++)
        OPENSSL_cleanse((void *)(uintptr_t)t->secrets[i].p, t->secrets[i].n);
    for (size_t i = 0; i < t->n_headers; i++)
        OPENSSL_cleanse((void *)(uintptr_t)t->headers[i].value.p, t->headers[i].value.n);
}

/* Its secrets and headers, opened. *is_shut: they do not open, which the operator has to mend. */
static enum err_code open_target(struct ctx *cx, struct db *db, struct send_target *to,
                                 bool *is_shut)
{
    enum err_code e = webhook_secrets(cx, db, &to->w, to->secrets, &to->n_secrets);
    if (!e)
        e = webhook_headers(cx, db, &to->w, to->headers, &to->n_headers);
    *is_shut = e != ERR_UNAVAILABLE && (e || !to->n_secrets);
    if (!*is_shut)
        return e;
    log_error(NULL, "webhook.secrets_closed", KVS("webhook", to->w.id), KVS("why", cx->err_text));
    ctx_clear(cx);
    return ERR_NONE;
}

/* Something due was left. The time of the next look is not moved on by looks before it, so that
 * other nodes come to it too. */
static enum err_code lane_full(struct ctx *cx, struct db *db, struct look *l)
{
    struct send_turn *t = l->t;
    int64_t next_ms = t->now_ms + LANE_FULL_MS;
    if (l->gate && l->gate->rest_ms > next_ms)
        next_ms = l->gate->rest_ms;
    t->full[t->n_full++] = *l->lane;
    return db_run(cx, db,
                  "UPDATE webhook_lane SET wake_ms = $3 WHERE team_id = $1 AND webhook_id = $2 "
                  "AND (wake_ms <= $4 OR wake_ms > $3)",
                  ARGS(VT(l->lane->team_id), VT(l->lane->webhook_id), VI(next_ms), VI(t->now_ms)));
}

/* When the first that waits is due; without anything that waits the lane goes. */
static enum err_code lane_next(struct ctx *cx, struct db *db, const struct look *l)
{
    struct rec_num next;
    struct args args = ARGS(VT(l->lane->team_id), VT(l->lane->webhook_id));
    enum err_code e = db_one(cx, db, &rec_num,
                             "SELECT due_ms AS n FROM webhook_delivery WHERE team_id = $1 AND "
                             "webhook_id = $2 AND state = 'waiting' "
                             "ORDER BY due_ms, event_seq LIMIT 1",
                             args, &next);
    if (e == ERR_NOT_FOUND)
        return db_run(cx, db, "DELETE FROM webhook_lane WHERE team_id = $1 AND webhook_id = $2",
                      args);
    return e ? e
             : db_run(cx, db,
                      "UPDATE webhook_lane SET wake_ms = $3 WHERE team_id = $1 AND "
                      "webhook_id = $2 AND wake_ms <> $3",
                      ARGS(args.v[0], args.v[1], VI(next.n)));
}

static enum err_code lane_shut(struct ctx *cx, struct db *db, const struct look *l)
{
    return db_run(
        cx, db, "UPDATE webhook_lane SET wake_ms = $3 WHERE team_id = $1 AND webhook_id = $2",
        ARGS(VT(l->lane->team_id), VT(l->lane->webhook_id), VI(l->t->now_ms + LANE_SHUT_MS)));
}

/* One lane, locked. */
static enum err_code look_at(struct ctx *cx, struct db *db, struct send_turn *t,
                             const struct lane *lane)
{
    struct look l = { .t = t, .lane = lane, .gate = gate_find(t->gates, lane->webhook_id) };
    bool is_shut = false;
    l.to = ARENA_NEW(&cx->arena, struct send_target);
    enum err_code e = db_one(cx, db, &rec_webhook_row,
                             "SELECT " WEBHOOK_COLUMNS " FROM webhook WHERE team_id = $1 AND "
                             "id = $2 AND deleted_ms IS NULL",
                             ARGS(VT(lane->team_id), VT(lane->webhook_id)), &l.to->w);
    if (e && e != ERR_NOT_FOUND)
        return e;
    if (e)
        e = end_some(cx, db, &l, "The webhook was deleted");
    else if (!str_eq(l.to->w.state, STR("enabled")))
        e = end_some(cx, db, &l, "The webhook is disabled");
    else
        e = open_target(cx, db, l.to, &is_shut);
    if (e)
        return e;
    if (is_shut)
        return lane_shut(cx, db, &l);
    if (l.to->n_secrets)
        e = claim_due(cx, db, &l);
    if (e)
        return e;
    return l.is_full ? lane_full(cx, db, &l) : lane_next(cx, db, &l);
}

/* ---- all lanes of a turn ---- */

static enum err_code look_again(struct ctx *cx, struct db *db, struct send_turn *t)
{
    enum err_code e = ERR_NONE;
    for (size_t i = 0; !e && i < t->n_again && t->n < SEND_CLAIMS_MAX; i++) {
        struct lane lane;
        e = db_one(cx, db, &rec_lane,
                   "SELECT team_id, webhook_id FROM webhook_lane WHERE team_id = $1 AND "
                   "webhook_id = $2 {claim}",
                   ARGS(VT(t->again[i].team_id), VT(t->again[i].webhook_id)), &lane);
        if (!e)
            e = look_at(cx, db, t, &t->again[i]);
        else if (e == ERR_NOT_FOUND)
            e = ERR_NONE; /* nothing waits any more, or another node looks */
    }
    return e;
}

static enum err_code look_due(struct ctx *cx, struct db *db, struct send_turn *t)
{
    struct list lanes;
    enum err_code e = db_list(cx, db, &rec_lane,
                              "SELECT team_id, webhook_id FROM webhook_lane WHERE wake_ms <= $1 "
                              "ORDER BY wake_ms LIMIT $2 {claim}",
                              ARGS(VI(t->now_ms), VI(SEND_LANES_MAX)), &lanes);
    for (size_t i = 0; !e && i < lanes.n && t->n < SEND_CLAIMS_MAX; i++)
        e = look_at(cx, db, t, (const struct lane *)lanes.v + i);
    return e;
}

enum err_code send_turn(struct ctx *cx, struct db *db, struct send_turn *t)
{
    struct rec_num next = { .n = -1 };
    enum err_code e = ERR_NONE;
    t->n = t->n_full = t->n_events = 0;
    t->bytes = 0;
    t->has_more = t->is_elsewhere = false;
    t->lease_token = uuid7(&cx->arena);
    t->claims = ARENA_ARRAY(&cx->arena, struct send_claim, SEND_CLAIMS_MAX);
    t->full = ARENA_ARRAY(&cx->arena, struct lane, SEND_LANES_MAX + t->n_again);
    db_scope_system(db);
    if (t->expire_ms)
        e = expire(cx, db, t);
    if (!e && t->has_events)
        e = send_fan(cx, db, t);
    if (!e)
        e = look_again(cx, db, t);
    if (!e)
        e = look_due(cx, db, t);
    if (!e)
        e = db_one(cx, db, &rec_num,
                   "SELECT COALESCE((SELECT wake_ms FROM webhook_lane ORDER BY wake_ms LIMIT 1), "
                   "-1) AS n",
                   NO_ARGS, &next);
    t->next_ms = next.n;
    return e;
}

/* ---- looking ---- */

static enum err_code is_there(struct ctx *cx, struct db *db, const char *sql, struct args args,
                              bool *out)
{
    struct rec_num n;
    enum err_code e = db_one(cx, db, &rec_num, sql, args, &n);
    *out = !e;
    return e == ERR_NOT_FOUND ? ERR_NONE : e;
}

enum err_code send_look(struct ctx *cx, struct db *db, struct send_look *l)
{
    struct rec_num n = { .n = -1 };
    db_scope_system(db);
    enum err_code e =
        is_there(cx, db, "SELECT 1 AS n FROM webhook WHERE deleted_ms IS NULL LIMIT 1", NO_ARGS,
                 &l->has_webhooks);
    if (!e)
        e = is_there(cx, db, "SELECT 1 AS n FROM event WHERE is_new = 1 ORDER BY seq LIMIT 1",
                     NO_ARGS, &l->has_events);
    if (!e)
        e = is_there(cx, db,
                     "SELECT 1 AS n FROM webhook_delivery WHERE state = 'sending' AND "
                     "lease_ms < $1 LIMIT 1",
                     ARGS(VI(l->now_ms)), &l->has_expired);
    if (!e)
        e = db_one(cx, db, &rec_num,
                   "SELECT wake_ms AS n FROM webhook_lane ORDER BY wake_ms LIMIT 1", NO_ARGS, &n);
    l->next_ms = e ? -1 : n.n;
    if (e == ERR_NOT_FOUND)
        e = ERR_NONE;
    if (e || !l->counts_waiting)
        return e;
    e = db_one(cx, db, &rec_num,
               "SELECT COUNT(*) AS n FROM (SELECT 1 AS one FROM webhook_delivery WHERE "
               "state = 'waiting' LIMIT $1) AS seen",
               ARGS(VI(SEND_WAITING_SEEN)), &n);
    l->waiting = n.n;
    return e;
}
