/* Reading a key set from a file or by HTTP: see jwks.h. The address is the operator's own setting;
 * still it is not left for another one (no redirects), and not asked in clear text over a network:
 * who can change the keys on their way can sign in as anyone. */
#include "jwks.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define TIMEOUT_MS 10000L
#define CONNECT_MS 5000L

bool jwks_source_is_remote(struct str source)
{
    return str_starts(source, STR("https://")) || str_starts(source, STR("http://"));
}

static bool is_loopback(const char *host)
{
    return !strcmp(host, "127.0.0.1") || !strcmp(host, "[::1]") || !strcmp(host, "localhost");
}

enum err_code jwks_source_check(struct ctx *cx, struct str source)
{
    char *host = NULL, *user = NULL;
    if (!jwks_source_is_remote(source))
        return ERR_NONE;
    CURLU *u = curl_url();
    BUG_IF(!u);
    bool is_fine = !curl_url_set(u, CURLUPART_URL, str_cstr(&cx->arena, source), 0) &&
                   !curl_url_get(u, CURLUPART_HOST, &host, 0) &&
                   curl_url_get(u, CURLUPART_USER, &user, 0) &&
                   (str_starts(source, STR("https://")) || is_loopback(host));
    curl_free(host);
    curl_free(user);
    curl_url_cleanup(u);
    return is_fine ? ERR_NONE
                   : fail(cx, USAGE,
                          "jwt_jwks must be an https:// address (http:// for this "
                          "machine alone) without a password in it, or a file");
}

/* ---- file ---- */

static enum err_code load_file(struct ctx *cx, struct str path, struct str *text)
{
    char *p = arena_alloc(&cx->arena, JWKS_BYTES_MAX + 1);
    size_t n = 0;
    ssize_t got = 1;
    int fd = open(str_cstr(&cx->arena, path), O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail(cx, UNAVAILABLE, "the file cannot be opened");
    while (n <= JWKS_BYTES_MAX && (got = read(fd, p + n, JWKS_BYTES_MAX + 1 - n)) > 0)
        n += (size_t)got;
    close(fd);
    if (got < 0)
        return fail(cx, UNAVAILABLE, "the file cannot be read");
    if (n > JWKS_BYTES_MAX)
        return fail(cx, UNAVAILABLE, "the file is larger than %zu bytes", JWKS_BYTES_MAX);
    *text = (struct str){ p, n };
    return ERR_NONE;
}

/* ---- HTTP ---- */

static size_t take(char *p, size_t size, size_t n, void *arg)
{
    struct buf *b = arg;
    buf_add(b, p, size * n);
    return b->over ? 0 : size * n;
}

static int progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const atomic_int *stop = arg;
    (void)a, (void)b, (void)c, (void)d;
    return stop && atomic_load(stop);
}

static CURL *request(const char *url, struct buf *into, const atomic_int *stop)
{
    CURL *c = curl_easy_init();
    BUG_IF(!c);
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, TIMEOUT_MS);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
    curl_easy_setopt(c, CURLOPT_MAXFILESIZE, (long)JWKS_BYTES_MAX);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "tessera/" TESSERA_VERSION);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, into);
    curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, progress);
    curl_easy_setopt(c, CURLOPT_XFERINFODATA, (void *)(uintptr_t)stop);
    if (!strncmp(url, "http://", 7)) /* this machine: never by way of a proxy */
        curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
    return c;
}

static enum err_code load_url(struct ctx *cx, struct str url, const atomic_int *stop,
                              struct str *text)
{
    struct buf body;
    long status = 0;
    buf_init(&body, &cx->arena, JWKS_BYTES_MAX);
    CURL *c = request(str_cstr(&cx->arena, url), &body, stop);
    CURLcode rc = curl_easy_perform(c);
    curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_cleanup(c);
    if (rc)
        return fail(cx, UNAVAILABLE, "%s",
                    body.over ? "the answer is too large" : curl_easy_strerror(rc));
    if (status != 200)
        return fail(cx, UNAVAILABLE, "the answer has status %ld, not 200", status);
    *text = buf_view(&body);
    return ERR_NONE;
}

enum err_code jwks_load(struct ctx *cx, struct str source, const atomic_int *stop, struct str *text)
{
    return jwks_source_is_remote(source) ? load_url(cx, source, stop, text)
                                         : load_file(cx, source, text);
}
