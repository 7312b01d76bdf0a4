/* Kinds as rows that all nodes share: when a periodic one is due, what is paused. See job.h. */
#include "../../base/clock.h"
#include "../../base/log.h"
#include "../audit.h"
#include "job_inner.h"

#define AT(member) offsetof(struct job_kind_row, member)
static const struct field kind_fields[] = {
    { "name", F_STR, AT(name), 0, 0, 0, NULL, "Name of the kind", "\"jobs.sweep\"" },
    { "description", F_STR, AT(doc), 0, 0, 0, NULL, "What its jobs do", NULL },
    { "timeout_ms", F_INT, AT(timeout_ms), 0, 0, 0, NULL, "Longest run", NULL },
    { "attempts", F_INT, AT(attempts), 0, 0, 0, NULL, "Attempts before a job is dead", NULL },
    { "concurrency", F_INT, AT(concurrency), 0, 0, 0, NULL,
      "Jobs that run at once over all nodes; 0 = no limit", NULL },
    { "concurrency_per_key", F_INT, AT(per_key), 0, 0, 0, NULL,
      "Jobs of one key that run at once; 0 = no limit", NULL },
    { "priority", F_INT, AT(priority), 0, 0, 9, NULL, "The least goes first within a team", NULL },
    { "period_ms", F_INT, AT(period_ms), 0, 0, 0, NULL,
      "A job is made each period by the server itself; 0 = it is not periodic", NULL },
    { "single", F_BOOL, AT(is_single), 0, 0, 0, NULL,
      "A second waiting job of the same key is not added", NULL },
    { "paused", F_BOOL, AT(is_paused), 0, 0, 0, NULL, "The team has paused it for itself", NULL },
    { "paused_everywhere", F_BOOL, AT(is_paused_everywhere), 0, 0, 0, NULL,
      "The operator has paused it for all teams", NULL },
};
const struct rec rec_job_kind =
    REC("JobKind", struct job_kind_row, kind_fields, "What jobs of one kind may do.");

const struct job_use *job_use_of(const struct job_uses *uses, struct str kind)
{
    for (size_t i = 0; i < uses->n; i++)
        if (str_eq(kind, str_of(uses->v[i].kind->name)))
            return &uses->v[i];
    return NULL;
}

/* ---- periods ---- */

enum err_code job_kinds_open(struct ctx *cx, struct db *db, const struct job_uses *uses)
{
    enum err_code e = ERR_NONE;
    for (size_t i = 0; i < uses->n && !e; i++) {
        const struct job_kind *k = uses->v[i].kind;
        /* A periodic one is due at once the first time. */
        e = db_run(cx, db,
                   "INSERT INTO job_kind (kind, next_ms, is_paused) VALUES ($1, $2, 0) "
                   "ON CONFLICT DO NOTHING",
                   ARGS(VT(str_of(k->name)), VI(k->period_ms ? 1 : 0)));
    }
    return e;
}

enum err_code job_kinds_due(struct ctx *cx, struct db *db, const struct job_uses *uses,
                            int64_t now_ms)
{
    for (size_t i = 0; i < uses->n; i++) {
        const struct job_kind *k = uses->v[i].kind;
        struct rec_num taken;
        if (!k->period_ms)
            continue;
        /* Whoever moves the time on makes the job; what was missed is made up by one. */
        enum err_code e =
            db_one(cx, db, &rec_num,
                   "UPDATE job_kind SET next_ms = $2 WHERE kind = $1 AND "
                   "next_ms <= $3 RETURNING 1 AS n",
                   ARGS(VT(str_of(k->name)), VI(now_ms - now_ms % k->period_ms + k->period_ms),
                        VI(now_ms)),
                   &taken);
        if (!e)
            e = job_add(cx, db, STR(""), &(struct job_new){ .kind = k }, NULL);
        if (e && e != ERR_NOT_FOUND)
            return e;
    }
    return ERR_NONE;
}

/* ---- pauses ---- */

static bool is_among(const struct list *names, const char *name)
{
    for (size_t i = 0; i < names->n; i++)
        if (str_eq(((const struct rec_text *)names->v)[i].s, str_of(name)))
            return true;
    return false;
}

static void fill(struct job_kind_row *row, const struct job_kind *k)
{
    *row = (struct job_kind_row){ .bits = { .has = ~UINT64_C(0) },
                                  .name = str_of(k->name),
                                  .doc = str_of(k->doc),
                                  .timeout_ms = k->timeout_ms,
                                  .attempts = k->attempts,
                                  .concurrency = k->concurrency,
                                  .per_key = k->per_key,
                                  .priority = k->priority,
                                  .period_ms = k->period_ms,
                                  .is_single = k->is_single };
}

enum err_code job_kind_list(struct ctx *cx, struct db *db, const struct caller *who,
                            const struct job_uses *uses, struct list *out)
{
    struct list here, everywhere;
    struct job_kind_row *rows = ARENA_ARRAY(&cx->arena, struct job_kind_row, uses->n + 1);
    enum err_code e =
        db_list(cx, db, &rec_text, "SELECT kind AS s FROM job_pause WHERE team_id = $1",
                ARGS(VT(who->team_id)), &here);
    if (!e)
        e = db_list(cx, db, &rec_text, "SELECT kind AS s FROM job_kind WHERE is_paused = 1",
                    NO_ARGS, &everywhere);
    for (size_t i = 0; !e && i < uses->n; i++) {
        fill(&rows[i], uses->v[i].kind);
        rows[i].is_paused = is_among(&here, uses->v[i].kind->name);
        rows[i].is_paused_everywhere = is_among(&everywhere, uses->v[i].kind->name);
    }
    *out = (struct list){ rows, uses->n };
    return e;
}

static enum err_code pause_everywhere(struct ctx *cx, struct db *db, const struct job_kind *kind,
                                      bool is_paused)
{
    return db_run(cx, db,
                  "INSERT INTO job_kind (kind, next_ms, is_paused) VALUES ($1, $2, $3) "
                  "ON CONFLICT (kind) DO UPDATE SET is_paused = excluded.is_paused",
                  ARGS(VT(str_of(kind->name)), VI(kind->period_ms ? 1 : 0), VI(is_paused)));
}

static enum err_code pause_team(struct ctx *cx, struct db *db, const struct caller *who,
                                const struct job_kind *kind, bool is_paused)
{
    struct args args = ARGS(VT(who->team_id), VT(str_of(kind->name)), VI(clock_ms()));
    if (is_paused)
        return db_run(cx, db,
                      "INSERT INTO job_pause (team_id, kind, paused_ms) VALUES ($1, $2, $3) "
                      "ON CONFLICT DO NOTHING",
                      args);
    args.n = 2;
    return db_run(cx, db, "DELETE FROM job_pause WHERE team_id = $1 AND kind = $2", args);
}

enum err_code job_kind_pause(struct ctx *cx, struct db *db, const struct caller *who,
                             const struct job_kind *kind, bool is_paused, struct job_kind_row *out)
{
    const struct job_use use = { .kind = kind };
    const struct job_uses one = { &use, 1 };
    struct list was, now;
    enum err_code e = job_kind_list(cx, db, who, &one, &was);
    if (!e)
        e = who->team_id.n ? pause_team(cx, db, who, kind, is_paused)
                           : pause_everywhere(cx, db, kind, is_paused);
    if (!e)
        e = job_kind_list(cx, db, who, &one, &now);
    if (e)
        return e;
    *out = *(const struct job_kind_row *)now.v;
    log_info(cx, is_paused ? "job.kind_paused" : "job.kind_resumed", KVC("kind", kind->name),
             KVS("team", who->team_id));
    if (!who->team_id.n)
        return ERR_NONE;
    return audit_write(cx, db, who,
                       &(struct audit_entry){ is_paused ? "job_kind.pause" : "job_kind.resume",
                                              "job_kind", str_of(kind->name),
                                              audit_json(cx, &rec_job_kind, was.v),
                                              audit_json(cx, &rec_job_kind, out) });
}
