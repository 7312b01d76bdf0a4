/* The blob store: choosing the backend, what both check, housekeeping; see blob.h. */
#include "blob_inner.h"

#include <sys/stat.h>

#include "../../base/log.h"
#include "../../store/store.h"
#include "../caller.h"

#define SWEEP_MAX 200

struct str blob_path(struct arena *a, const struct blob_id *id)
{
    return str_printf(a, STR_FMT "/%.2s/" STR_FMT "-" STR_FMT, STR_ARG(id->team_id), id->sha256.p,
                      STR_ARG(id->sha256), STR_ARG(id->nonce));
}

enum err_code blobs_open(struct ctx *cx, const struct blobs_conf *conf, struct blobs **out)
{
    struct blobs *b = ARENA_NEW(&cx->arena, struct blobs);
    struct stat st;
    *out = NULL;
    b->tmp_dir = str_dup(&cx->arena, conf->tmp_dir);
    if (conf->bucket.n) {
        enum err_code e = blob_s3_setup(cx, conf, b);
        if (!e)
            *out = b;
        return e;
    }
    if (!conf->dir.n)
        return ERR_NONE;
    const char *dir = str_cstr(&cx->arena, conf->dir);
    if ((mkdir(dir, 0700) && stat(dir, &st)) || stat(dir, &st) || !S_ISDIR(st.st_mode))
        return fail(cx, USAGE, "attachment_dir: cannot use the folder " STR_FMT,
                    STR_ARG(conf->dir));
    b->dir = (struct str){ dir, conf->dir.n };
    b->backend = &blob_disk;
    *out = b;
    return ERR_NONE;
}

void blobs_use_egress(struct blobs *b, struct egress *eg)
{
    if (b)
        b->egress = eg;
}

enum err_code blob_put(struct ctx *cx, const struct blobs *b, const struct blob_id *id,
                       const struct spool *content)
{
    return b->backend->put(cx, b, id, content);
}

enum err_code blob_get(struct ctx *cx, const struct blobs *b, const struct blob_id *id,
                       int64_t size, struct spool **out)
{
    enum err_code e = b->backend->get(cx, b, id, size, out);
    if (e || spool_size(*out) == size)
        return e;
    log_error(NULL, "blob.wrong_size", KVS("sha256", id->sha256), KVI("size", spool_size(*out)));
    spool_close(*out);
    *out = NULL;
    return ctx_fail_plain(cx, ERR_UNAVAILABLE);
}

enum err_code blob_drop(struct ctx *cx, const struct blobs *b, const struct blob_id *id)
{
    return b->backend->drop(cx, b, id);
}

/* ---- housekeeping ---- */

struct loose {
    struct rec_bits bits;
    struct str team_id, sha256, nonce;
};
#define AT(member) offsetof(struct loose, member)
static const struct field loose_fields[] = {
    { "team_id", F_STR, AT(team_id), 0, 0, 0, NULL, NULL, NULL },
    { "sha256", F_STR, AT(sha256), 0, 0, 0, NULL, NULL, NULL },
    { "nonce", F_STR, AT(nonce), 0, 0, 0, NULL, NULL, NULL },
};
static const struct rec rec_loose = REC("BlobLoose", struct loose, loose_fields, NULL);

struct sweep {
    int64_t now_ms;
    struct list due;
    const struct loose *one;
};

/* What is taken can no longer be claimed by an upload, so its object may go; a crash after this
 * leaves the row, and the next sweep takes it again. */
static enum err_code take_unit(struct ctx *cx, struct db *db, void *arg)
{
    struct sweep *s = arg;
    db_scope_system(db);
    return db_list(
        cx, db, &rec_loose,
        "UPDATE blob_loose SET is_taken = 1 WHERE (team_id, sha256, nonce) IN (SELECT "
        "team_id, sha256, nonce FROM blob_loose WHERE due_ms <= $1 ORDER BY due_ms LIMIT "
        "$2) RETURNING team_id, sha256, nonce",
        ARGS(VI(s->now_ms), VI(SWEEP_MAX)), &s->due);
}

static enum err_code forget_unit(struct ctx *cx, struct db *db, void *arg)
{
    const struct sweep *s = arg;
    db_scope_system(db);
    return db_run(cx, db,
                  "DELETE FROM blob_loose WHERE team_id = $1 AND sha256 = $2 AND nonce = $3",
                  ARGS(VT(s->one->team_id), VT(s->one->sha256), VT(s->one->nonce)));
}

static enum err_code any_unit(struct ctx *cx, struct db *db, void *arg)
{
    const struct sweep *s = arg;
    struct rec_num n;
    db_scope_system(db);
    return db_one(cx, db, &rec_num, "SELECT 1 AS n FROM blob_loose WHERE due_ms <= $1 LIMIT 1",
                  ARGS(VI(s->now_ms)), &n);
}

enum err_code blobs_sweep(struct ctx *cx, const struct blobs *b, struct store *s, int64_t now_ms,
                          int64_t *gone)
{
    struct sweep w = { .now_ms = now_ms };
    *gone = 0;
    enum err_code e = store_read(cx, s, any_unit, &w); /* most times there is nothing to write */
    if (e)
        return e == ERR_NOT_FOUND ? ERR_NONE : e;
    e = store_tx(cx, s, take_unit, &w);
    for (size_t i = 0; !e && i < w.due.n && ctx_ok(cx); i++) {
        w.one = &((const struct loose *)w.due.v)[i];
        struct blob_id id = { w.one->team_id, w.one->sha256, w.one->nonce };
        e = blob_drop(cx, b, &id);
        if (!e)
            e = store_tx(cx, s, forget_unit, &w);
        *gone += !e;
    }
    return e;
}
