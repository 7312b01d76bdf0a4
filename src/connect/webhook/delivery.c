/* Deliveries and lanes: see webhook_send.h.
 *
 * Order. Of an ordered webhook only the first open delivery of an entity is due; the others wait
 * with DUE_BEHIND, and the end of one makes the next one due. So what may be sent is found by due_ms
 * alone, however many wait behind. */
#include "../../base/crypt.h"
#include "send_inner.h"

/* A unit and the end of its batch run on one thread, the writer's. */
static _Thread_local bool is_noted;

bool delivery_noted(void)
{
    bool was = is_noted;
    is_noted = false;
    return was;
}

enum err_code lane_put(struct ctx *cx, struct db *db, struct str team_id, struct str webhook_id,
                       int64_t wake_ms)
{
    return db_run(cx, db,
                  "INSERT INTO webhook_lane (team_id, webhook_id, wake_ms) VALUES ($1, $2, $3) "
                  "ON CONFLICT (team_id, webhook_id) DO UPDATE SET wake_ms = excluded.wake_ms "
                  "WHERE webhook_lane.wake_ms > excluded.wake_ms",
                  ARGS(VT(team_id), VT(webhook_id), VI(wake_ms)));
}

enum err_code lane_wake(struct ctx *cx, struct db *db, struct str team_id, struct str webhook_id,
                        int64_t wake_ms)
{
    is_noted = true;
    return lane_put(cx, db, team_id, webhook_id, wake_ms);
}

#define SQL_INSERT                                                                                 \
    "INSERT INTO webhook_delivery (team_id, id, webhook_id, event_id, event_seq, event_type, "     \
    "entity, payload, is_ordered, is_replay, state, attempt, due_ms, created_ms) SELECT $1, $2, "  \
    "$3, $4, CAST($5 AS BIGINT), $6, $7, $8, CAST($9 AS INTEGER), CAST($10 AS INTEGER), "          \
    "'waiting', 0, CASE WHEN $9 = 1 AND EXISTS (SELECT 1 FROM webhook_delivery WHERE "             \
    "team_id = $1 AND webhook_id = $3 AND entity = $7 AND is_ordered = 1 AND "                     \
    "state IN ('waiting', 'sending')) THEN " SQL_BEHIND " ELSE CAST($11 AS BIGINT) END, "          \
    "CAST($11 AS BIGINT) ON CONFLICT (team_id, webhook_id, event_id) WHERE is_replay = 0 DO "      \
    "NOTHING"

enum err_code delivery_insert(struct ctx *cx, struct db *db, const struct delivery_new *in,
                              int64_t now_ms, struct str *id)
{
    const struct event *ev = in->ev;
    const struct webhook *w = in->webhook;
    struct rec_text row;
    struct args args = ARGS(VT(w->team_id), VT(uuid7(&cx->arena)), VT(w->id), VT(ev->id),
                            VI(ev->seq), VT(ev->type), VT(ev->entity), VT(w->payload),
                            VI(w->is_ordered), VI(in->is_replay), VI(now_ms));
    if (!id)
        return db_run(cx, db, SQL_INSERT, args);
    enum err_code e = db_one(cx, db, &rec_text, SQL_INSERT " RETURNING id AS s", args, &row);
    *id = e ? STR_NONE : row.s;
    return e == ERR_NOT_FOUND ? ERR_NONE : e;
}

/* Scalar subqueries, so that the index gives the order: a join would sort all that wait behind. */
#define SQL_OF(column)                                                                             \
    "(SELECT o." column " FROM webhook_delivery o WHERE o.team_id = $1 AND o.id = $2)"

enum err_code delivery_next(struct ctx *cx, struct db *db, struct str team_id, struct str id,
                            int64_t now_ms)
{
    return db_run(cx, db,
                  "UPDATE webhook_delivery SET due_ms = $3 WHERE team_id = $1 AND id = "
                  "(SELECT n.id FROM webhook_delivery n WHERE n.team_id = $1 AND "
                  "n.webhook_id = " SQL_OF("webhook_id") " AND n.entity = " SQL_OF(
                      "entity") " AND n.is_ordered = 1 AND n.state IN ('waiting', 'sending') "
                                "ORDER BY n.event_seq LIMIT 1) AND due_ms = " SQL_BEHIND,
                  ARGS(VT(team_id), VT(id), VI(now_ms)));
}

enum err_code delivery_add(struct ctx *cx, struct db *db, const struct delivery_new *in,
                           struct str *id)
{
    int64_t now_ms = clock_ms();
    enum err_code e = lane_wake(cx, db, in->webhook->team_id, in->webhook->id, now_ms);
    return e ? e : delivery_insert(cx, db, in, now_ms, id);
}

enum err_code deliveries_look(struct ctx *cx, struct db *db, struct str team_id,
                              struct str webhook_id)
{
    return lane_wake(cx, db, team_id, webhook_id, 0);
}
