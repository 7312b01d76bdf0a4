/* Blobs in a bucket of an S3-compatible store: PUT, GET, DELETE of <endpoint>/<bucket>/<key>.
 *
 * libcurl signs (AWS Signature Version 4); the hash of the content is known beforehand and signed
 * too, so the store refuses what was damaged on its way, and what comes back is hashed again. Path
 * style addressing, because every compatible store knows it. No redirects, https only (plain http
 * to this machine), a limit on every wait. One connection a call. */
#include "blob_inner.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "../../base/crypt.h"
#include "../../base/log.h"

#define CONNECT_S 10L
#define SLOWEST_BYTES_S 1024L /* slower than this for SLOW_S ends a transfer */
#define SLOW_S 30L
#define TRANSFER_S 1800L /* must stay below the time that an upload is loose (attachment.c) */
#define DELETE_S 10L     /* housekeeping, which the stop of the server waits for */
#define WORDS_MAX 400    /* of the store's own error text, for the log */
#define EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

struct transfer {
    struct ctx *cx;
    CURL *curl;
    const struct spool *from; /* PUT */
    int64_t at;
    struct spool *to; /* GET */
    char words[WORDS_MAX];
    size_t n_words;
};

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

enum err_code blob_s3_setup(struct ctx *cx, const struct blobs_conf *conf, struct blobs *b)
{
    struct arena *a = &cx->arena;
    struct str endpoint = conf->endpoint;
    bool is_plain;
    if (endpoint.n && endpoint.p[endpoint.n - 1] == '/')
        endpoint.n--;
    if (!endpoint_is_fine(endpoint, &is_plain))
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
    if (curl_global_init(CURL_GLOBAL_DEFAULT))
        return fail(cx, UNAVAILABLE, "s3_endpoint: libcurl does not start");
    b->base = str_printf(a, STR_FMT "/" STR_FMT, STR_ARG(endpoint), STR_ARG(conf->bucket));
    b->credentials = str_cstr(a, str_printf(a, STR_FMT ":" STR_FMT, STR_ARG(conf->access_key),
                                            STR_ARG(conf->secret_key)));
    b->signing = str_cstr(a, str_printf(a, "aws:amz:" STR_FMT ":s3", STR_ARG(conf->region)));
    b->protocols = is_plain ? "http" : "https";
    b->backend = &blob_s3;
    return ERR_NONE;
}

/* ---- libcurl's callbacks ---- */

static size_t give(char *to, size_t size, size_t n, void *arg)
{
    struct transfer *t = arg;
    ssize_t some = pread(spool_fd(t->from), to, size * n, t->at);
    if (some < 0)
        return CURL_READFUNC_ABORT;
    t->at += some;
    return (size_t)some;
}

static int seek(void *arg, curl_off_t offset, int origin)
{
    struct transfer *t = arg;
    if (origin != SEEK_SET)
        return CURL_SEEKFUNC_CANTSEEK;
    t->at = offset;
    return CURL_SEEKFUNC_OK;
}

/* A good GET is the content; everything else is the store's words. */
static size_t take(char *from, size_t size, size_t n, void *arg)
{
    struct transfer *t = arg;
    long status = 0;
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
    if (t->to && status == 200)
        return spool_add(t->to, from, size * n) ? size * n : 0;
    size_t room = WORDS_MAX - t->n_words, some = size * n < room ? size * n : room;
    memcpy(t->words + t->n_words, from, some);
    t->n_words += some;
    return size * n;
}

static int is_over(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const struct transfer *t = arg;
    (void)a, (void)b, (void)c, (void)d;
    return t->cx->stop && atomic_load(t->cx->stop);
}

/* ---- one call ---- */

static void curl_done(void *curl)
{
    curl_easy_cleanup(curl);
}

static void list_done(void *list)
{
    curl_slist_free_all(list);
}

/* No "Expect:" to silence curl's own: 7.88 would sign it and then not send it. */
static struct curl_slist *headers(struct ctx *cx, struct str sha256)
{
    struct str hash = str_printf(&cx->arena, "x-amz-content-sha256: " STR_FMT, STR_ARG(sha256));
    struct curl_slist *list = curl_slist_append(NULL, str_cstr(&cx->arena, hash));
    BUG_IF(!list);
    arena_defer(&cx->arena, list_done, list);
    return list;
}

static void set_limits(CURL *c, const struct blobs *b)
{
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, b->protocols);
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, CONNECT_S);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, SLOWEST_BYTES_S);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, SLOW_S);
    curl_easy_setopt(c, CURLOPT_TIMEOUT, TRANSFER_S);
    curl_easy_setopt(c, CURLOPT_AWS_SIGV4, b->signing);
    curl_easy_setopt(c, CURLOPT_USERPWD, b->credentials);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "Tessera/" TESSERA_VERSION);
}

/* The status, or 0 when there was no answer. */
static long perform(const struct blobs *b, const struct blob_id *id, const char *method,
                    struct transfer *t)
{
    struct ctx *cx = t->cx;
    struct str name = blob_path(&cx->arena, id);
    struct str url = str_printf(&cx->arena, STR_FMT "/" STR_FMT, STR_ARG(b->base), STR_ARG(name));
    CURL *c = curl_easy_init();
    long status = 0;
    BUG_IF(!c);
    arena_defer(&cx->arena, curl_done, c);
    t->curl = c;
    set_limits(c, b);
    curl_easy_setopt(c, CURLOPT_URL, str_cstr(&cx->arena, url));
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers(cx, t->from ? id->sha256 : STR(EMPTY_SHA256)));
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, is_over);
    curl_easy_setopt(c, CURLOPT_XFERINFODATA, t);
    if (t->from) {
        curl_easy_setopt(c, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(c, CURLOPT_INFILESIZE_LARGE, (curl_off_t)spool_size(t->from));
        curl_easy_setopt(c, CURLOPT_READFUNCTION, give);
        curl_easy_setopt(c, CURLOPT_READDATA, t);
        curl_easy_setopt(c, CURLOPT_SEEKFUNCTION, seek);
        curl_easy_setopt(c, CURLOPT_SEEKDATA, t);
    } else {
        curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, method);
        if (!t->to)
            curl_easy_setopt(c, CURLOPT_TIMEOUT, DELETE_S);
    }
    CURLcode why = curl_easy_perform(c);
    if (why == CURLE_OK)
        curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
    if (status < 200 || status >= 300)
        log_error(NULL, "blob.s3_failed", KVC("method", method), KVI("status", status),
                  KVC("why", curl_easy_strerror(why)),
                  KVS("words", ((struct str){ t->words, t->n_words })));
    return status;
}

static enum err_code s3_put(struct ctx *cx, const struct blobs *b, const struct blob_id *id,
                            const struct spool *content)
{
    struct transfer t = { .cx = cx, .from = content };
    long status = perform(b, id, "PUT", &t);
    return status >= 200 && status < 300 ? ERR_NONE : ctx_fail_plain(cx, ERR_UNAVAILABLE);
}

static enum err_code s3_get(struct ctx *cx, const struct blobs *b, const struct blob_id *id,
                            struct spool **out)
{
    struct transfer t = { .cx = cx };
    unsigned char hash[SHA256_LEN];
    enum err_code e = spool_open(cx, b->tmp_dir, &t.to);
    if (e)
        return e;
    long status = perform(b, id, "GET", &t);
    if (status == 404)
        e = fail(cx, NOT_FOUND, "The content of the attachment is gone");
    else if (status != 200)
        e = ctx_fail_plain(cx, ERR_UNAVAILABLE);
    else
        e = spool_done(cx, t.to);
    if (!e) {
        spool_sha256(t.to, hash);
        if (!str_eq(hex_of(&cx->arena, hash, sizeof hash), id->sha256)) {
            log_error(NULL, "blob.wrong_content", KVS("sha256", id->sha256));
            e = ctx_fail_plain(cx, ERR_UNAVAILABLE);
        }
    }
    if (e)
        spool_close(t.to);
    else
        *out = t.to;
    return e;
}

static enum err_code s3_drop(struct ctx *cx, const struct blobs *b, const struct blob_id *id)
{
    struct transfer t = { .cx = cx };
    long status = perform(b, id, "DELETE", &t);
    return (status >= 200 && status < 300) || status == 404 ? ERR_NONE
                                                            : ctx_fail_plain(cx, ERR_UNAVAILABLE);
}

const struct blob_backend blob_s3 = { s3_put, s3_get, s3_drop };
