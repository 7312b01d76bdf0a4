/* Adding an attachment: look, note, write, commit; see attachment.h for why in this order.
 *
 * When the team has the content already, nothing is written and the commit only makes sure that
 * the blob is still there; if it went in between, the whole is done once more with writing. */
#include "attachment.h"

#include "../../base/clock.h"
#include "../../base/crypt.h"
#include "../comment.h"
#include "activity.h"
#include "blob.h"

#define NONCE_BYTES 8

struct adding {
    const struct attachment_add *in;
    struct attachment made;
    struct blob_id id; /* of the object; nonce STR_NONE: the team has the content */
    bool is_gone;      /* out of commit: the blob went meanwhile */
};

static enum err_code check_name(struct ctx *cx, struct str name)
{
    bool is_fine = !str_eq(name, STR(".")) && !str_eq(name, STR(".."));
    for (size_t i = 0; i < name.n; i++)
        is_fine &= name.p[i] != '/' && name.p[i] != '\\';
    return is_fine ? ERR_NONE
                   : ctx_fail_field(cx, ERR_INVALID_PARAMETER, STR("name"),
                                    "name must be a file name without slashes");
}

static enum err_code check_comment(struct ctx *cx, struct db *db, const struct caller *who,
                                   struct str ticket_id, struct str comment_id)
{
    struct comment c;
    enum err_code e = comment_get(cx, db, who, ticket_id, comment_id, &c);
    if (e != ERR_NOT_FOUND)
        return e;
    ctx_clear(cx);
    return ctx_fail_field(cx, ERR_INVALID_PARAMETER, STR("comment_id"),
                          "comment_id must be that of a comment of this ticket");
}

static enum err_code check_place(struct ctx *cx, struct db *db, const struct attachment_add *in,
                                 struct str *ticket_id)
{
    struct ticket t;
    struct rec_num n;
    enum err_code e = ticket_get(cx, db, in->who, in->ticket_id, &t);
    if (!e && REC_HAS(in->query, comment_id))
        e = check_comment(cx, db, in->who, t.id, in->query->comment_id);
    if (!e)
        e = db_one(cx, db, &rec_num,
                   "SELECT COUNT(*) AS n FROM attachment WHERE team_id = $1 AND ticket_id = $2",
                   ARGS(VT(in->who->team_id), VT(t.id)), &n);
    if (!e && n.n >= ATTACHMENTS_MAX)
        return fail(cx, CONFLICT, "A ticket has at most %d attachments", ATTACHMENTS_MAX);
    if (!e)
        *ticket_id = t.id;
    return e;
}

/* ---- the units ---- */

static enum err_code look_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct adding *a = arg;
    struct rec_num n;
    caller_scope(db, a->in->who);
    enum err_code e = check_place(cx, db, a->in, &a->made.ticket_id);
    if (e)
        return e;
    if (!a->in->blobs)
        return fail(cx, NOT_CONFIGURED, ATTACHMENTS_NO_PLACE);
    e = db_one(cx, db, &rec_num, "SELECT 1 AS n FROM blob WHERE team_id = $1 AND sha256 = $2",
               ARGS(VT(a->id.team_id), VT(a->id.sha256)), &n);
    a->is_gone = e == ERR_NOT_FOUND;
    return a->is_gone ? ERR_NONE : e;
}

static enum err_code note_unit(struct ctx *cx, struct db *db, void *arg)
{
    const struct adding *a = arg;
    caller_scope(db, a->in->who);
    return db_run(
        cx, db,
        "INSERT INTO blob_loose (team_id, sha256, nonce, due_ms, is_taken) "
        "VALUES ($1, $2, $3, $4, 0)",
        ARGS(VT(a->id.team_id), VT(a->id.sha256), VT(a->id.nonce), VI(clock_ms() + BLOB_LOOSE_MS)));
}

/* The blob's row, locked until the commit. is_gone: there is none, and nothing was written. */
static enum err_code hold_blob(struct ctx *cx, struct db *db, struct adding *a)
{
    struct rec_text nonce;
    struct rec_num n;
    enum err_code e;
    if (!a->id.nonce.p) {
        e = db_one(
            cx, db, &rec_num,
            "UPDATE blob SET size = size WHERE team_id = $1 AND sha256 = $2 RETURNING 1 AS n",
            ARGS(VT(a->id.team_id), VT(a->id.sha256)), &n);
        a->is_gone = e == ERR_NOT_FOUND;
        return a->is_gone ? ERR_NONE : e;
    }
    e = db_one(cx, db, &rec_text,
               "INSERT INTO blob (team_id, sha256, nonce, size, created_ms) VALUES ($1, $2, $3, "
               "$4, $5) ON CONFLICT (team_id, sha256) DO UPDATE SET size = excluded.size RETURNING "
               "nonce AS s",
               ARGS(VT(a->id.team_id), VT(a->id.sha256), VT(a->id.nonce), VI(a->made.size),
                    VI(a->made.created_ms)),
               &nonce);
    if (e || !str_eq(nonce.s, a->id.nonce)) /* another was faster: ours stays loose and is swept */
        return e;
    e = db_one(cx, db, &rec_num,
               "DELETE FROM blob_loose WHERE team_id = $1 AND sha256 = $2 AND nonce = $3 AND "
               "is_taken = 0 RETURNING 1 AS n",
               ARGS(VT(a->id.team_id), VT(a->id.sha256), VT(a->id.nonce)), &n);
    return e == ERR_NOT_FOUND ? ctx_fail_plain(cx, ERR_UNAVAILABLE) : e; /* it took too long */
}

static enum err_code insert(struct ctx *cx, struct db *db, const struct caller *who,
                            const struct attachment *m)
{
    return db_run(cx, db,
                  "INSERT INTO attachment (team_id, id, ticket_id, comment_id, name, media_type, "
                  "size, sha256, created_by_kind, created_by_id, created_by_name, created_ms) "
                  "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
                  ARGS(VT(who->team_id), VT(m->id), VT(m->ticket_id), VT(m->comment_id),
                       VT(m->name), VT(m->media_type), VI(m->size), VT(m->sha256),
                       VT(m->created_by_kind), VT(caller_subject(who)), VT(m->created_by_name),
                       VI(m->created_ms)));
}

static enum err_code commit_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct adding *a = arg;
    const struct caller *who = a->in->who;
    a->is_gone = false;
    caller_scope(db, who);
    enum err_code e = check_place(cx, db, a->in, &a->made.ticket_id);
    if (!e)
        e = hold_blob(cx, db, a);
    if (e || a->is_gone)
        return e;
    e = insert(cx, db, who, &a->made);
    if (e)
        return e;
    return activity_note(
        cx, db, who, a->made.ticket_id, "attachment_added",
        (struct activity_change){ "attachment", STR_NONE, attachment_told(cx, &a->made) });
}

/* ---- the whole ---- */

static enum err_code write_object(struct ctx *cx, struct adding *a)
{
    unsigned char raw[NONCE_BYTES];
    crypt_random(raw, sizeof raw);
    a->id.nonce = hex_of(&cx->arena, raw, sizeof raw);
    enum err_code e = store_tx(cx, a->in->store, note_unit, a);
    return e ? e : blob_put(cx, a->in->blobs, &a->id, a->in->content);
}

static void describe(struct ctx *cx, const struct attachment_add *in, struct attachment *m)
{
    unsigned char hash[SHA256_LEN];
    spool_sha256(in->content, hash);
    *m = (struct attachment){
        .bits.has = ~UINT64_C(0),
        .id = uuid7(&cx->arena),
        .comment_id = in->query->comment_id,
        .name = REC_HAS(in->query, name) ? in->query->name : STR("file"),
        .media_type = in->media_type,
        .sha256 = hex_of(&cx->arena, hash, sizeof hash),
        .created_by_kind = str_of(caller_kind(in->who)),
        .created_by_id = caller_subject(in->who).n ? caller_subject(in->who) : STR_NONE,
        .created_by_name = caller_name(in->who),
        .size = spool_size(in->content),
        .created_ms = clock_ms(),
    };
}

enum err_code attachment_add(struct ctx *cx, const struct attachment_add *in,
                             struct attachment *out)
{
    struct adding a = { .in = in };
    describe(cx, in, &a.made);
    a.id = (struct blob_id){ in->who->team_id, a.made.sha256, STR_NONE };
    enum err_code e = check_name(cx, a.made.name);
    if (!e && !a.made.size)
        e = ctx_fail_field(cx, ERR_INVALID_FIELD, STR("body"), "The body is empty");
    if (!e)
        e = store_read(cx, in->store, look_unit, &a);
    for (int turn = 0; !e && turn < 2; turn++) {
        if (a.is_gone)
            e = write_object(cx, &a);
        if (!e)
            e = store_tx(cx, in->store, commit_unit, &a);
        if (e || !a.is_gone)
            break;
    }
    if (!e && a.is_gone)
        e = ctx_fail_plain(cx, ERR_UNAVAILABLE);
    if (!e)
        *out = a.made;
    return e;
}
