/* AWS Signature Version 4 of one request to an S3-compatible store: header form, no query.
 *
 * Source: "Authenticating Requests (AWS Signature Version 4)" of the Amazon S3 API reference. */
#ifndef TESSERA_CORE_CRM_S3_SIGN_H
#define TESSERA_CORE_CRM_S3_SIGN_H

#include "../../base/egress.h"

#define S3_SIGN_HEADERS 3

struct s3_key {
    struct str region, access_key, secret_key;
};
struct s3_request {
    const char *method;
    struct str host;   /* as the Host header will say: no port when it is the scheme's own */
    struct str path;   /* "/bucket/key": only letters, digits and "-._/", so nothing to encode */
    struct str sha256; /* of the body, lower-case hex */
    int64_t at_ms;
};

/* The headers to send with it; they live in a. Any thread. */
void s3_sign(struct arena *a, const struct s3_key *key, const struct s3_request *rq,
             struct egress_header out[S3_SIGN_HEADERS]);

#endif
