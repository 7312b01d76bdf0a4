/* Reading a key set from a file or by HTTP: see jwks.h. The address is the operator's own setting;
 * still it is not left for another one (no redirects), and not asked in clear text over a network:
 * who can change the keys on their way can sign in as anyone. */
#include "../../base/egress.h"
#include "jwks.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define TIMEOUT_MS 10000
#define CONNECT_MS 5000

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

static enum err_code load_url(struct ctx *cx, struct egress *eg, struct str url, struct str *text)
{
    struct egress_answer a;
    struct egress_ask ask = { .method = "GET",
                              .url = url,
                              .connect_ms = CONNECT_MS,
                              .total_ms = TIMEOUT_MS,
                              .answer_max = JWKS_BYTES_MAX,
                              .is_operators = true }; /* a setting; often of a private network */
    BUG_IF(!eg);
    if (egress_call(cx, eg, &ask, &a)) {
        ctx_clear(cx);
        return fail(cx, UNAVAILABLE, STR_FMT, STR_ARG(a.error));
    }
    if (a.status != 200)
        return fail(cx, UNAVAILABLE, "the answer has status %d, not 200", a.status);
    *text = a.body;
    return ERR_NONE;
}

enum err_code jwks_load(struct ctx *cx, struct egress *eg, struct str source, struct str *text)
{
    return jwks_source_is_remote(source) ? load_url(cx, eg, source, text)
                                         : load_file(cx, source, text);
}
