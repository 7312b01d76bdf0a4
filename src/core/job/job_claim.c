/* Who is next: claims, leases, and the round of lanes. See job.h for the order.
 *
 * A claim locks the lane it takes from, so that the limit of a key holds over all nodes; and the row
 * of the kind where that has a limit. What another node holds at the moment is passed over. */
#include "../../base/clock.h"
#include "../../base/crypt.h"
#include "job_inner.h"

#define WAKE_MAX 500 /* lanes that come due in one claim */
#define EXPIRE_MAX 100
#define REST_MAX 200

/* When the first job of the lane l is due. A scalar subquery, so that no planner turns it into a
 * join over all ready jobs. */
#define SQL_FIRST_DUE                                                                              \
    "(SELECT j.due_ms FROM job j WHERE j.team_id = l.team_id AND j.kind = l.kind AND "             \
    "j.lane = l.lane AND j.state = 'ready' ORDER BY j.due_ms LIMIT 1)"
#define DUE_NEVER "9223372036854775807"

struct lane {
    struct rec_bits bits;
    struct str team_id, kind, lane;
    int64_t idle_ms, due_ms;
};
#define AT(member) offsetof(struct lane, member)
static const struct field lane_fields[] = {
    { "team_id", F_STR, AT(team_id), 0, 0, 0, NULL, NULL, NULL },
    { "kind", F_STR, AT(kind), 0, 0, 0, NULL, NULL, NULL },
    { "lane", F_STR, AT(lane), 0, 0, 0, NULL, NULL, NULL },
    { "idle_ms", F_INT, AT(idle_ms), 0, 0, 0, NULL, NULL, NULL },
    { "due_ms", F_INT, AT(due_ms), 0, 0, 0, NULL, NULL, NULL },
};
static const struct rec rec_lane = REC("JobLane", struct lane, lane_fields, "A lane.");

/* ---- one turn ---- */

struct turns {
    struct job_claim *c;
    uint32_t open;     /* bit i: kind i of the table may be taken */
    struct str cursor; /* team that had its turn; STR_NONE: begin the round */
    struct str full;   /* team with as many jobs here as one may have */
    struct str lease_token;
};

/* The lane whose turn it is, locked. NOT_FOUND: none behind the cursor. */
static enum err_code next_lane(struct ctx *cx, struct db *db, const struct turns *t,
                               struct lane *out)
{
    const struct job_uses *uses = t->c->uses;
    struct val v[3 + JOB_KINDS_MAX] = { VT(t->cursor.p ? t->cursor : STR("")), VI(t->c->now_ms),
                                        VT(t->full.p ? t->full : STR("-")) };
    size_t n = 3;
    struct buf sql;
    buf_init(&sql, &cx->arena, 4096);
    buf_printf(&sql,
               "SELECT l.team_id AS team_id, l.kind AS kind, l.lane AS lane FROM job_lane l WHERE "
               "l.wake_ms = 0 AND l.team_id %s $1 AND " SQL_FIRST_DUE " <= $2 AND l.team_id <> $3 "
               "AND NOT EXISTS (SELECT 1 FROM job_pause p WHERE p.team_id = l.team_id AND "
               "p.kind = l.kind) AND l.kind IN (",
               t->cursor.p ? ">" : ">=");
    for (size_t i = 0; i < uses->n; i++) {
        if (!(t->open >> i & 1))
            continue;
        buf_printf(&sql, n > 3 ? ", $%zu" : "$%zu", n + 1);
        v[n++] = VT(str_of(uses->v[i].kind->name));
    }
    buf_lit(&sql, ") ORDER BY l.team_id, l.priority, l.served LIMIT 1 {claim}");
    if (n == 3)
        return ERR_NOT_FOUND;
    return db_one(cx, db, &rec_lane, str_cstr(&cx->arena, buf_view(&sql)), (struct args){ v, n },
                  out);
}

static enum err_code count(struct ctx *cx, struct db *db, const char *sql, struct args args,
                           int64_t *out)
{
    struct rec_num n;
    enum err_code e = db_one(cx, db, &rec_num, sql, args, &n);
    *out = n.n;
    return e;
}

/* Whether the kind has room over all nodes. Its row is locked, so that two nodes do not both take
 * the last place; one that another node holds counts as full. */
static enum err_code kind_has_room(struct ctx *cx, struct db *db, const struct job_kind *k,
                                   bool *out)
{
    struct rec_text row;
    int64_t n;
    *out = true;
    if (!k->concurrency)
        return ERR_NONE;
    enum err_code e =
        db_one(cx, db, &rec_text, "SELECT kind AS s FROM job_kind WHERE kind = $1 {claim}",
               ARGS(VT(str_of(k->name))), &row);
    *out = !e;
    if (e)
        return e == ERR_NOT_FOUND ? ERR_NONE : e;
    e = count(cx, db, "SELECT COUNT(*) AS n FROM job WHERE state = 'running' AND kind = $1",
              ARGS(VT(str_of(k->name))), &n);
    *out = n < k->concurrency;
    return e;
}

/* Whether the key of the lane has room; one that has none leaves the round for a while. */
static enum err_code lane_has_room(struct ctx *cx, struct db *db, const struct turns *t,
                                   const struct job_kind *k, const struct lane *l, bool *out)
{
    int64_t n;
    *out = true;
    if (!k->per_key || !l->lane.n)
        return ERR_NONE;
    enum err_code e = count(cx, db,
                            "SELECT COUNT(*) AS n FROM job WHERE state = 'running' AND kind = $2 "
                            "AND team_id = $1 AND lane = $3",
                            ARGS(VT(l->team_id), VT(l->kind), VT(l->lane)), &n);
    *out = n < k->per_key;
    if (e || *out)
        return e;
    return db_run(
        cx, db, "UPDATE job_lane SET wake_ms = $4 WHERE team_id = $1 AND kind = $2 AND lane = $3",
        ARGS(VT(l->team_id), VT(l->kind), VT(l->lane), VI(t->c->now_ms + JOB_LANE_FULL_MS)));
}

static enum err_code take_from(struct ctx *cx, struct db *db, struct turns *t, const struct lane *l)
{
    struct job_claim *c = t->c;
    const struct job_take take = { .team_id = l->team_id,
                                   .kind = l->kind,
                                   .lane = l->lane,
                                   .lease_token = t->lease_token,
                                   .node = c->node,
                                   .now_ms = c->now_ms,
                                   .lease_ms = c->now_ms + c->lease_ms };
    enum err_code e = job_take(cx, db, &take, &c->jobs[c->n]);
    if (e)
        return e == ERR_NOT_FOUND ? ERR_NONE : e;
    c->n++;
    return db_run(cx, db,
                  "UPDATE job_lane SET served = $4, idle_ms = 0 WHERE team_id = $1 AND kind = $2 "
                  "AND lane = $3",
                  ARGS(VT(l->team_id), VT(l->kind), VT(l->lane), VI(c->now_ms)));
}

static enum err_code one_turn(struct ctx *cx, struct db *db, struct turns *t, const struct lane *l)
{
    const struct job_use *use = job_use_of(t->c->uses, l->kind);
    bool has_room;
    BUG_IF(!use);
    enum err_code e = kind_has_room(cx, db, use->kind, &has_room);
    if (!e && !has_room) {
        t->open &= ~(UINT32_C(1) << (use - t->c->uses->v));
        return ERR_NONE;
    }
    if (!e)
        e = lane_has_room(cx, db, t, use->kind, l, &has_room);
    if (!e && has_room)
        e = take_from(cx, db, t, l);
    t->cursor = l->team_id;
    return e;
}

/* The team that may not get more here, if one may not. With team_max above half of the places there
 * is at most one. */
static struct str full_team(const struct job_claim *c)
{
    for (int i = 0; i < c->n_running + c->n; i++) {
        int same = 0;
        struct str team = i < c->n_running ? c->running[i] : c->jobs[i - c->n_running].team_id;
        for (int k = 0; k < c->n_running + c->n; k++)
            same +=
                str_eq(team, k < c->n_running ? c->running[k] : c->jobs[k - c->n_running].team_id);
        if (same >= c->team_max)
            return team;
    }
    return STR_NONE;
}

/* Kinds that are paused for all teams stay out. */
static enum err_code open_kinds(struct ctx *cx, struct db *db, struct turns *t)
{
    const struct job_uses *uses = t->c->uses;
    struct list paused;
    enum err_code e = db_list(
        cx, db, &rec_text, "SELECT kind AS s FROM job_kind WHERE is_paused = 1", NO_ARGS, &paused);
    for (size_t i = 0; !e && i < uses->n; i++) {
        bool is_paused = false;
        for (size_t k = 0; k < paused.n; k++)
            is_paused |=
                str_eq(((const struct rec_text *)paused.v)[k].s, str_of(uses->v[i].kind->name));
        t->open |= is_paused ? 0 : UINT32_C(1) << i;
    }
    return e;
}

enum err_code job_claim(struct ctx *cx, struct db *db, struct job_claim *c)
{
    struct turns t = { .c = c, .cursor = c->from_team, .lease_token = uuid7(&cx->arena) };
    int left = 4 * (c->want + JOB_KINDS_MAX); /* turns that bring nothing are few, and bounded */
    c->jobs = ARENA_ARRAY(&cx->arena, struct job, (size_t)c->want);
    c->n = 0;
    db_scope_system(db);
    enum err_code e = db_run(cx, db,
                             "UPDATE job_lane SET wake_ms = 0 WHERE (team_id, kind, lane) IN "
                             "(SELECT team_id, kind, lane FROM job_lane WHERE wake_ms > 0 AND "
                             "wake_ms <= $1 ORDER BY wake_ms LIMIT $2 {claim})",
                             ARGS(VI(c->now_ms), VI(WAKE_MAX)));
    if (!e)
        e = open_kinds(cx, db, &t);
    while (!e && c->n < c->want && left-- > 0) {
        struct lane l;
        t.full = full_team(c);
        e = next_lane(cx, db, &t, &l);
        if (!e)
            e = one_turn(cx, db, &t, &l);
        else if (e != ERR_NOT_FOUND || !t.cursor.p)
            break;
        else {
            t.cursor = STR_NONE; /* a new round */
            e = ERR_NONE;
        }
    }
    c->last_team = c->n ? c->jobs[c->n - 1].team_id : c->from_team;
    return e == ERR_NOT_FOUND ? ERR_NONE : e;
}

/* ---- leases ---- */

enum err_code job_keep(struct ctx *cx, struct db *db, struct job_keep *k)
{
    struct rec_num n;
    db_scope_system(db);
    enum err_code e = db_one(cx, db, &rec_num,
                             "UPDATE job SET lease_ms = $4, progress = $5, note = $6 WHERE "
                             "team_id = $1 AND id = $2 AND state = 'running' AND lease_token = $3 "
                             "RETURNING is_cancelled AS n",
                             ARGS(VT(k->job->team_id), VT(k->job->id), VT(k->job->lease_token),
                                  VI(k->lease_ms), VI(k->progress), VT(k->note)),
                             &n);
    k->is_cancelled = n.n;
    return e;
}

static enum err_code expire(struct ctx *cx, struct db *db, int64_t now_ms)
{
    struct list over;
    enum err_code e = db_list(cx, db, &rec_job_row,
                              "SELECT " JOB_COLUMNS " FROM job WHERE state = 'running' AND "
                              "lease_ms < $1 ORDER BY lease_ms LIMIT $2 {claim}",
                              ARGS(VI(now_ms), VI(EXPIRE_MAX)), &over);
    for (size_t i = 0; !e && i < over.n; i++) {
        const struct job *job = (const struct job *)over.v + i;
        const struct job_end end = { .job = job,
                                     .err = ERR_UNAVAILABLE,
                                     .why = STR("the node that ran it was not heard of any more"),
                                     .retry_after_ms = 1,
                                     .is_cancelled = job->is_cancelled,
                                     .now_ms = now_ms };
        e = job_finish(cx, db, &end);
        if (e == ERR_NOT_FOUND)
            e = ERR_NONE;
    }
    return e;
}

/* ---- the round of lanes ---- */

#define SQL_RESTING                                                                                \
    "FROM job_lane l WHERE l.wake_ms = 0 AND (l.idle_ms = 0 OR l.idle_ms < $2) AND "               \
    "COALESCE(" SQL_FIRST_DUE ", " DUE_NEVER ") > $1"

/* When a lane without a due job is looked at again; 0 = it may go. */
static int64_t rest_until(const struct lane *l, int64_t now_ms)
{
    int64_t doubt = l->idle_ms + JOB_LANE_DOUBT_MS;
    bool has_job = rec_bit(&l->bits.has, AT(due_ms));
    if (now_ms < doubt)
        return has_job && l->due_ms < doubt ? l->due_ms : doubt;
    return has_job ? l->due_ms : 0;
}

static enum err_code rest(struct ctx *cx, struct db *db, int64_t now_ms)
{
    struct list lanes;
    enum err_code e = db_list(cx, db, &rec_lane,
                              "SELECT l.team_id AS team_id, l.kind AS kind, l.lane AS lane, "
                              "l.idle_ms AS idle_ms, " SQL_FIRST_DUE " AS due_ms " SQL_RESTING
                              " LIMIT $3 {claim}",
                              ARGS(VI(now_ms), VI(now_ms - JOB_LINGER_MS), VI(REST_MAX)), &lanes);
    for (size_t i = 0; !e && i < lanes.n; i++) {
        const struct lane *l = (const struct lane *)lanes.v + i;
        int64_t until = l->idle_ms ? rest_until(l, now_ms) : now_ms;
        struct args args = ARGS(VT(l->team_id), VT(l->kind), VT(l->lane), VI(until));
        const char *sql = !l->idle_ms ? "UPDATE job_lane SET idle_ms = $4 WHERE team_id = $1 AND "
                                        "kind = $2 AND lane = $3"
                          : until     ? "UPDATE job_lane SET wake_ms = $4 WHERE team_id = $1 AND "
                                        "kind = $2 AND lane = $3"
                                      : "DELETE FROM job_lane WHERE team_id = $1 AND kind = $2 AND "
                                        "lane = $3";
        args.n = until ? 4 : 3;
        e = db_run(cx, db, sql, args);
    }
    return e;
}

enum err_code job_tidy(struct ctx *cx, struct db *db, const struct job_tidy *t)
{
    db_scope_system(db);
    enum err_code e = expire(cx, db, t->now_ms);
    if (!e)
        e = rest(cx, db, t->now_ms);
    return e ? e : job_kinds_due(cx, db, t->uses, t->now_ms);
}

/* ---- looking ---- */

static const struct {
    const char *sql;
    bool has_linger; /* takes $2 */
} untidy[] = {
    { "SELECT 1 AS n FROM job WHERE state = 'running' AND lease_ms < $1 LIMIT 1", false },
    { "SELECT 1 AS n FROM job_kind WHERE next_ms > 0 AND next_ms <= $1 LIMIT 1", false },
    { "SELECT 1 AS n " SQL_RESTING " LIMIT 1", true },
};

enum err_code job_look(struct ctx *cx, struct db *db, struct job_look *l)
{
    struct rec_num n;
    struct val v[] = { VI(l->now_ms), VI(l->now_ms - JOB_LINGER_MS) };
    db_scope_system(db);
    enum err_code e = db_one(cx, db, &rec_num,
                             "SELECT COALESCE((SELECT wake_ms FROM job_lane WHERE wake_ms = 0 "
                             "LIMIT 1), (SELECT MIN(wake_ms) FROM job_lane WHERE wake_ms > 0), -1) "
                             "AS n",
                             NO_ARGS, &n);
    l->wake_ms = n.n;
    l->is_untidy = false;
    for (size_t i = 0; i < sizeof untidy / sizeof *untidy; i++) {
        if ((e && e != ERR_NOT_FOUND) || l->is_untidy)
            continue;
        e = db_one(cx, db, &rec_num, untidy[i].sql,
                   (struct args){ v, untidy[i].has_linger ? 2 : 1 }, &n);
        l->is_untidy = !e;
    }
    if (e && e != ERR_NOT_FOUND)
        return e;
    return db_list(cx, db, &rec_text,
                   "SELECT id AS s FROM job WHERE state = 'running' AND is_cancelled = 1", NO_ARGS,
                   &l->cancelled);
}
