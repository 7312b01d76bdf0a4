/* Where the contents of attachments are: a folder, or a bucket of any S3-compatible store.
 *
 * An object is named by its team, the SHA-256 of its content, and a nonce that is new with each
 * write: <team_id>/<aa>/<sha256>-<nonce>. So one that is being removed is never the one that an
 * upload has just written. The tables blob and blob_loose (attachment.c, blob_row.c) say which
 * exist: a row in one of them is durable before the object is written, and an object is durable
 * when blob_put returns.
 *
 * Threads: any; struct blobs does not change after blobs_use_egress. No call while a unit of work or a
 * lock is held: all of them do I/O. */
#ifndef TESSERA_CORE_CRM_BLOB_H
#define TESSERA_CORE_CRM_BLOB_H

#include "../../base/spool.h"

struct blobs;
struct egress;
struct store;

struct blobs_conf {
    struct str dir;     /* folder; not used with a bucket */
    struct str tmp_dir; /* for what is read from a bucket */
    struct str endpoint, region, bucket, access_key, secret_key;
};
struct blob_id {
    struct str team_id, sha256, nonce; /* lower case, from the tables: never a client's text */
};

/* *out lives in cx; NULL when neither folder nor bucket is set. USAGE names the setting. */
enum err_code blobs_open(struct ctx *cx, const struct blobs_conf *conf, struct blobs **out);
/* How a bucket is reached; before the first blob_put, get, drop. NULL blobs, or a folder, are fine. */
void blobs_use_egress(struct blobs *b, struct egress *eg);
/* Durable when it returns. UNAVAILABLE when it cannot be stored. */
enum err_code blob_put(struct ctx *cx, const struct blobs *b, const struct blob_id *id,
                       const struct spool *content);
/* The caller closes *out. NOT_FOUND when it is not there; UNAVAILABLE when it cannot be read or is
 * not what was put (by its size; from a bucket by its SHA-256 too). */
enum err_code blob_get(struct ctx *cx, const struct blobs *b, const struct blob_id *id,
                       int64_t size, struct spool **out);
/* One that is not there is fine. */
enum err_code blob_drop(struct ctx *cx, const struct blobs *b, const struct blob_id *id);

/* Housekeeping: removes the loose objects that are due at now_ms, at most a few hundred a call.
 * *gone counts them. */
enum err_code blobs_sweep(struct ctx *cx, const struct blobs *b, struct store *s, int64_t now_ms,
                          int64_t *gone);

#endif
