/* Signature Version 4: a canonical form of the request is hashed, the hash with time and scope is
 * signed by a key that is derived from the secret for one day, region and service. See s3_sign.h. */
#include "s3_sign.h"

#include <string.h>

#include "../../base/clock.h"
#include "../../base/crypt.h"

#define SIGNED "host;x-amz-content-sha256;x-amz-date"

/* "20130524T000000Z": RFC 3339 without its punctuation. */
static struct str amz_date(struct arena *a, int64_t ms)
{
    struct buf full, b;
    buf_init(&full, a, 32);
    buf_init(&b, a, 32);
    time_print_s(&full, ms);
    for (size_t i = 0; i < full.n; i++)
        if (full.p[i] != '-' && full.p[i] != ':')
            buf_char(&b, full.p[i]);
    return buf_view(&b);
}

static struct str sha256_hex(struct arena *a, struct str text)
{
    unsigned char sum[SHA256_LEN];
    crypt_sha256(text, sum);
    return hex_of(a, sum, sizeof sum);
}

static struct str signature(struct arena *a, const struct s3_key *key, struct str day,
                            struct str text)
{
    unsigned char sum[SHA256_LEN];
    struct str secret = str_printf(a, "AWS4" STR_FMT, STR_ARG(key->secret_key));
    const struct str steps[] = { day, key->region, STR("s3"), STR("aws4_request"), text };
    crypt_hmac256(secret, steps[0], sum);
    for (size_t i = 1; i < sizeof steps / sizeof *steps; i++) {
        unsigned char with[SHA256_LEN];
        memcpy(with, sum, sizeof with);
        crypt_hmac256((struct str){ (const char *)with, sizeof with }, steps[i], sum);
    }
    return hex_of(a, sum, sizeof sum);
}

void s3_sign(struct arena *a, const struct s3_key *key, const struct s3_request *rq,
             struct egress_header out[S3_SIGN_HEADERS])
{
    struct str date = amz_date(a, rq->at_ms), day = str_sub(date, 0, 8);
    struct str scope =
        str_printf(a, STR_FMT "/" STR_FMT "/s3/aws4_request", STR_ARG(day), STR_ARG(key->region));
    /* Method, path, query, a line for each header and a blank one, their names, hash of the body. */
    struct str canonical =
        str_printf(a,
                   "%s\n" STR_FMT "\n\nhost:" STR_FMT "\nx-amz-content-sha256:" STR_FMT
                   "\nx-amz-date:" STR_FMT "\n\n" SIGNED "\n" STR_FMT,
                   rq->method, STR_ARG(rq->path), STR_ARG(rq->host), STR_ARG(rq->sha256),
                   STR_ARG(date), STR_ARG(rq->sha256));
    struct str text = str_printf(a, "AWS4-HMAC-SHA256\n" STR_FMT "\n" STR_FMT "\n" STR_FMT,
                                 STR_ARG(date), STR_ARG(scope), STR_ARG(sha256_hex(a, canonical)));
    out[0] = (struct egress_header){ STR("X-Amz-Content-Sha256"), rq->sha256, false };
    out[1] = (struct egress_header){ STR("X-Amz-Date"), date, false };
    out[2] = (struct egress_header){ STR("Authorization"),
                                     str_printf(a,
                                                "AWS4-HMAC-SHA256 Credential=" STR_FMT "/" STR_FMT
                                                ", SignedHeaders=" SIGNED ", Signature=" STR_FMT,
                                                STR_ARG(key->access_key), STR_ARG(scope),
                                                STR_ARG(signature(a, key, day, text))),
                                     true };
}
