/* What the parts of the blob store share: the backend's calls and the settings they need. */
#ifndef TESSERA_CORE_CRM_BLOB_INNER_H
#define TESSERA_CORE_CRM_BLOB_INNER_H

#include "blob.h"
#include "s3_sign.h"

struct blob_backend {
    enum err_code (*put)(struct ctx *cx, const struct blobs *b, const struct blob_id *id,
                         const struct spool *content);
    /* `size`: what was put; from elsewhere more than that is not read. */
    enum err_code (*get)(struct ctx *cx, const struct blobs *b, const struct blob_id *id,
                         int64_t size, struct spool **out);
    enum err_code (*drop)(struct ctx *cx, const struct blobs *b, const struct blob_id *id);
};
struct blobs { /* lives in the arena of blobs_open */
    const struct blob_backend *backend;
    struct str dir, tmp_dir;
    /* S3 */
    struct egress *egress; /* of blobs_use_egress */
    struct str base, host; /* https://host, host; with the port unless it is the scheme's own */
    struct str bucket;
    struct s3_key key;
};
extern const struct blob_backend blob_disk, blob_s3;

/* "<team_id>/<aa>/<sha256>-<nonce>" */
struct str blob_path(struct arena *a, const struct blob_id *id);
/* Checks the s3_* settings and fills b's part. */
enum err_code blob_s3_setup(struct ctx *cx, const struct blobs_conf *conf, struct blobs *b);

#endif
