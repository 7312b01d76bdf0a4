/* Checking the chain of a team: see audit.h.
 *
 * One pass over the rows in order. Each row must be the next number, name the hash before it and
 * hash to what it says; the head must name a row that was passed. The head is read first and again
 * at the end, so rows that are written meanwhile are no tampering. Only the hash of the last row is
 * kept, so memory is constant; each row is hashed in an arena of its own.
 *
 * Leaves out: the newest rows and the head being removed together. A head that was kept elsewhere
 * finds that. */
#include "audit.h"

#include <string.h>

#define ROW_CAP ((size_t)32 << 20)

struct mark { /* a link of the chain */
    int64_t seq;
    char hash[AUDIT_HASH_MAX];
};

struct walk {
    struct str team_id;
    struct mark last, head, kept; /* seq 0 = none */
    bool is_head_met, is_kept_met, has_keyed;
    int64_t rows, unkeyed, bad_seq;
    const char *why;    /* static text; NULL = nothing found */
    struct arena arena; /* of one row */
};

#define AT(member) offsetof(struct audit_check, member)
static const struct field check_fields[] = {
    { .name = "team_id", .type = F_STR, .offset = AT(team_id) },
    { .name = "intact", .type = F_BOOL, .offset = AT(is_intact) },
    { .name = "rows", .type = F_INT, .offset = AT(rows) },
    { .name = "unkeyed_rows", .type = F_INT, .offset = AT(unkeyed) },
    { .name = "head", .type = F_STR, .offset = AT(head), .flags = F_NULLABLE },
    { .name = "bad_seq", .type = F_INT, .offset = AT(bad_seq), .flags = F_NULLABLE },
    { .name = "why", .type = F_STR, .offset = AT(why), .flags = F_NULLABLE },
};
const struct rec rec_audit_check =
    REC("AuditCheck", struct audit_check, check_fields, "What a check of a chain found.");

static void mark_set(struct mark *m, int64_t seq, struct str hash)
{
    size_t n = hash.n < sizeof m->hash ? hash.n : sizeof m->hash - 1;
    m->seq = seq;
    if (n)
        memcpy(m->hash, hash.p, n);
    m->hash[n] = '\0';
}

static bool mark_is(const struct mark *m, const struct audit_row *row)
{
    return m->seq == row->seq && str_eq(str_of(m->hash), row->hash);
}

/* Only the first finding counts: what follows it is its consequence. */
static void found(struct walk *w, int64_t seq, const char *why)
{
    if (w->why)
        return;
    w->bad_seq = seq;
    w->why = why;
}

static void judge_content(struct walk *w, const struct audit_row *row)
{
    bool is_plain = str_eq(audit_key_id(row->hash), STR("-"));
    struct str now = audit_hash(&w->arena, w->team_id, row, is_plain);

    w->unkeyed += is_plain;
    if (is_plain && w->has_keyed)
        found(w, row->seq, "the row is not keyed, although rows before it are");
    else if (!str_eq(audit_key_id(now), audit_key_id(row->hash)))
        found(w, row->seq, "the row is keyed with another master key, so it cannot be checked");
    else if (!str_eq(now, row->hash))
        found(w, row->seq, "the row's content was changed");
    w->has_keyed |= !is_plain;
}

static enum err_code judge_row(struct ctx *cx, void *arg_row, void *arg)
{
    const struct audit_row *row = arg_row;
    struct walk *w = arg;
    (void)cx;
    arena_reset(&w->arena);
    w->rows++;
    if (row->seq != w->last.seq + 1)
        found(w, w->last.seq + 1, "the row is missing");
    else if (!str_eq(row->prev_hash, str_of(w->last.hash)))
        found(w, row->seq, "the row does not follow the row before it");
    else
        judge_content(w, row);
    w->is_head_met |= mark_is(&w->head, row);
    w->is_kept_met |= mark_is(&w->kept, row);
    if (w->head.seq == row->seq && !mark_is(&w->head, row))
        found(w, row->seq, "the head names another hash for the row");
    if (w->kept.seq == row->seq && !mark_is(&w->kept, row))
        found(w, row->seq, "the given head names another hash for the row");
    mark_set(&w->last, row->seq, row->hash);
    return ERR_NONE;
}

/* ---- heads ---- */

static enum err_code read_head(struct ctx *cx, struct db *db, struct str team_id, struct mark *out)
{
    struct audit_row head; /* its members seq and hash */
    enum err_code e =
        db_one(cx, db, &rec_audit, "SELECT seq, hash FROM audit_head WHERE team_id = $1",
               ARGS(VT(team_id)), &head);
    *out = (struct mark){ 0 };
    if (!e)
        mark_set(out, head.seq, head.hash);
    return e == ERR_NOT_FOUND ? ERR_NONE : e;
}

static enum err_code read_kept(struct ctx *cx, struct str head, struct mark *out)
{
    int64_t seq = 0;
    struct str rest = head;
    struct str number = str_cut(&rest, ':');
    if (!head.p)
        return ERR_NONE;
    if (!rest.n || rest.n >= AUDIT_HASH_MAX || !str_to_i64(number, &seq) || seq < 1)
        return ctx_fail_field(cx, ERR_INVALID_PARAMETER, STR("head"),
                              "head must be SEQ:HASH as `tessera audit verify` prints it");
    mark_set(out, seq, rest);
    return ERR_NONE;
}

/* What only the end can tell. `now` is the head after the walk. */
static void judge_end(struct walk *w, const struct mark *now)
{
    if (w->head.seq && !w->is_head_met)
        found(w, w->last.seq + 1, "the newest rows are missing: the head is ahead of them");
    if (w->kept.seq && !w->is_kept_met)
        found(w, w->last.seq + 1, "the newest rows are missing: the given head is ahead of them");
    if (w->last.seq > now->seq)
        found(w, now->seq + 1, "the row is not covered by the head");
}

static void report(struct ctx *cx, const struct walk *w, struct audit_check *out)
{
    *out = (struct audit_check){
        .team_id = w->team_id, .rows = w->rows, .unkeyed = w->unkeyed, .is_intact = !w->why
    };
    REC_SET(out, team_id);
    REC_SET(out, rows);
    REC_SET(out, unkeyed);
    REC_SET(out, is_intact);
    if (w->last.seq) {
        out->head = str_printf(&cx->arena, "%lld:%s", (long long)w->last.seq, w->last.hash);
        REC_SET(out, head);
    }
    if (w->why) {
        out->why = str_of(w->why);
        out->bad_seq = w->bad_seq;
        REC_SET(out, why);
        REC_SET(out, bad_seq);
    }
}

enum err_code audit_verify(struct ctx *cx, struct db *db, struct str team_id, struct str head,
                           struct audit_check *out)
{
    struct walk w = { .team_id = team_id };
    struct mark now;
    enum err_code e = read_kept(cx, head, &w.kept);
    if (!e)
        e = read_head(cx, db, team_id, &w.head);
    if (e)
        return e;
    arena_init(&w.arena, ROW_CAP);
    e = audit_each(cx, db, &(struct caller){ .team_id = team_id }, &(struct audit_query){ 0 },
                   judge_row, &w);
    arena_done(&w.arena);
    if (!e)
        e = read_head(cx, db, team_id, &now);
    if (e)
        return e;
    judge_end(&w, &now);
    report(cx, &w, out);
    return ERR_NONE;
}
