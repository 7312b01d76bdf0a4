/* Blobs in a bucket of an S3-compatible store: PUT, GET, DELETE of <endpoint>/<bucket>/<key>.
 *
 * Calls go through egress, from and to files, signed here (s3_sign.h). The hash of the content is
 * known beforehand and signed too, so the store refuses what was damaged on its way, and what comes
 * back is hashed again. Path style addressing, because every compatible store knows it. No
 * redirects, https only (plain http to this machine). */
#include "blob_inner.h"

#include <string.h>

#include "../../base/clock.h"
#include "../../base/crypt.h"
#include "../../base/log.h"

#define CONNECT_MS 10000
#define TRANSFER_MS EGRESS_TIME_MAX_MS /* below the time that an upload is loose (attachment.c) */
#define DELETE_MS 10000                /* housekeeping, which the stop of the server waits for */
#define WORDS_MAX 400                  /* of the store's own error text, for the log */
#define EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static bool is_loopback(struct str host)
{
    struct str name = host;
    if (name.n && name.p[0] == '[')
        return str_starts(host, STR("[::1]"));
    name = str_cut(&host, ':');
    return str_eq(name, STR("127.0.0.1")) || str_eq(name, STR("localhost"));
}

static bool endpoint_is_fine(struct str url, bool *is_plain)
{
    *is_plain = str_starts(url, STR("http://"));
    if (!*is_plain && !str_starts(url, STR("https://")))
        return false;
    struct str host = str_sub(url, *is_plain ? 7 : 8, url.n);
    for (size_t i = 0; i < host.n; i++)
        if ((unsigned char)host.p[i] <= ' ' || strchr("/?#@\\", host.p[i]))
            return false;
    return host.n && (!*is_plain || is_loopback(host));
}

static bool is_plain_name(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_", s.p[i]))
            return false;
    return s.n > 0;
}

/* As libcurl will write it: what is signed must be what is sent. */
static struct str host_header(struct arena *a, const struct egress_url *url)
{
    bool is_six = memchr(url->host.p, ':', url->host.n) != NULL;
    const char *open = is_six ? "[" : "", *close = is_six ? "]" : "";
    if (url->port == (url->is_tls ? 443 : 80))
        return str_printf(a, "%s" STR_FMT "%s", open, STR_ARG(url->host), close);
    return str_printf(a, "%s" STR_FMT "%s:%d", open, STR_ARG(url->host), close, url->port);
}

enum err_code blob_s3_setup(struct ctx *cx, const struct blobs_conf *conf, struct blobs *b)
{
    struct arena *a = &cx->arena;
    struct str endpoint = conf->endpoint;
    struct egress_url url;
    bool is_plain;
    if (endpoint.n && endpoint.p[endpoint.n - 1] == '/')
        endpoint.n--;
    bool is_fine = endpoint_is_fine(endpoint, &is_plain);
    if (is_fine && egress_url_parse(cx, endpoint, &url)) {
        ctx_clear(cx);
        is_fine = false;
    }
    if (!is_fine)
        return fail(cx, USAGE,
                    "s3_endpoint must be https://host[:port] (http:// only to this "
                    "machine), without a path");
    if (!is_plain_name(conf->bucket))
        return fail(cx, USAGE, "s3_bucket is not a bucket name");
    if (!is_plain_name(conf->region))
        return fail(cx, USAGE, "s3_region is not a region name");
    if (!conf->access_key.n || memchr(conf->access_key.p, ':', conf->access_key.n))
        return fail(cx, USAGE, "s3_access_key is needed with s3_bucket");
    if (!conf->secret_key.n)
        return fail(cx, USAGE, "s3_secret_key is needed with s3_bucket");
    b->key = (struct s3_key){ str_dup(a, conf->region), str_dup(a, conf->access_key),
                              str_dup(a, conf->secret_key) };
    b->host = host_header(a, &url);
    b->base = str_printf(a, "%s://" STR_FMT, is_plain ? "http" : "https", STR_ARG(b->host));
    b->bucket = str_dup(a, conf->bucket);
    b->backend = &blob_s3;
    return ERR_NONE;
}

/* ---- one call ---- */

/* The status, or 0 when there was no answer. `what` holds the method and the files. */
static int perform(struct ctx *cx, const struct blobs *b, const struct blob_id *id,
                   const struct egress_ask *what)
{
    struct egress_ask ask = *what;
    struct arena *a = &cx->arena;
    struct str name = blob_path(a, id);
    struct str path = str_printf(a, "/" STR_FMT "/" STR_FMT, STR_ARG(b->bucket), STR_ARG(name));
    const struct s3_request rq = { .method = ask.method,
                                   .host = b->host,
                                   .path = path,
                                   .sha256 = ask.body_file ? id->sha256 : STR(EMPTY_SHA256),
                                   .at_ms = clock_ms() };
    struct egress_header headers[S3_SIGN_HEADERS];
    struct egress_answer out;
    BUG_IF(!b->egress);
    s3_sign(a, &b->key, &rq, headers);
    ask.url = str_printf(a, STR_FMT STR_FMT, STR_ARG(b->base), STR_ARG(path));
    ask.headers = headers;
    ask.n_headers = S3_SIGN_HEADERS;
    ask.connect_ms = CONNECT_MS;
    ask.total_ms = ask.body_file || ask.answer_file ? TRANSFER_MS : DELETE_MS;
    ask.answer_max = WORDS_MAX;
    ask.is_cut = true;
    ask.is_operators = true;
    if (egress_call(cx, b->egress, &ask, &out))
        ctx_clear(cx);
    int status = out.class == EGRESS_OK ? out.status : 0;
    if (status / 100 != 2)
        log_error(NULL, "blob.s3_failed", KVC("method", ask.method), KVI("status", status),
                  KVC("why", egress_class_word(out.class)), KVS("words", out.body));
    return status;
}

static enum err_code s3_put(struct ctx *cx, const struct blobs *b, const struct blob_id *id,
                            const struct spool *content)
{
    const struct egress_ask ask = { .method = "PUT", .body_file = content };
    return perform(cx, b, id, &ask) / 100 == 2 ? ERR_NONE : ctx_fail_plain(cx, ERR_UNAVAILABLE);
}

/* Is what came what was put? */
static enum err_code check(struct ctx *cx, const struct blob_id *id, struct spool *s)
{
    unsigned char hash[SHA256_LEN];
    enum err_code e = spool_done(cx, s);
    if (e)
        return e;
    spool_sha256(s, hash);
    if (str_eq(hex_of(&cx->arena, hash, sizeof hash), id->sha256))
        return ERR_NONE;
    log_error(NULL, "blob.wrong_content", KVS("sha256", id->sha256));
    return ctx_fail_plain(cx, ERR_UNAVAILABLE);
}

static enum err_code s3_get(struct ctx *cx, const struct blobs *b, const struct blob_id *id,
                            int64_t size, struct spool **out)
{
    struct spool *s;
    enum err_code e = spool_open(cx, b->tmp_dir, &s);
    if (e)
        return e;
    const struct egress_ask ask = { .method = "GET", .answer_file = s, .answer_file_max = size };
    int status = perform(cx, b, id, &ask);
    if (status == 200)
        e = check(cx, id, s);
    else if (status == 404)
        e = fail(cx, NOT_FOUND, "The content of the attachment is gone");
    else
        e = ctx_fail_plain(cx, ERR_UNAVAILABLE);
    if (e)
        spool_close(s);
    else
        *out = s;
    return e;
}

static enum err_code s3_drop(struct ctx *cx, const struct blobs *b, const struct blob_id *id)
{
    const struct egress_ask ask = { .method = "DELETE" };
    int status = perform(cx, b, id, &ask);
    return status / 100 == 2 || status == 404 ? ERR_NONE : ctx_fail_plain(cx, ERR_UNAVAILABLE);
}

const struct blob_backend blob_s3 = { s3_put, s3_get, s3_drop };
