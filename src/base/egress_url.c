/* Reading addresses of calls: see egress_url.h. libcurl's own reader does the work, so that nothing
 * is understood in two ways; its handle is what the transfer gets. */
#include "egress_url.h"

#include <curl/curl.h>
#include <string.h>

#define HEADER_VALUE_MAX 8192
#define SECRET_SEGMENT 20 /* bytes of a path segment from which on it may be a secret */
#define SHOWN 4           /* of these */

static void url_done(void *handle)
{
    curl_url_cleanup(handle);
}

static struct str part(struct ctx *cx, CURLU *u, CURLUPart what, unsigned flags)
{
    char *p = NULL;
    struct str s = STR_NONE;
    if (!curl_url_get(u, what, &p, flags))
        s = str_dup(&cx->arena, str_of(p));
    curl_free(p);
    return s;
}

static bool is_clean(struct str text)
{
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (c <= ' ' || c >= 0x7F || c == '\\')
            return false;
    }
    return true;
}

/* What stands between the two slashes and the path. */
static struct str authority_of(struct str text, size_t scheme)
{
    size_t end = scheme;
    while (end < text.n && !strchr("/?#", text.p[end]))
        end++;
    return str_sub(text, scheme, end - scheme);
}

static bool is_name(struct str host)
{
    for (size_t i = 0; i < host.n; i++) {
        char c = host.p[i];
        bool is_fine = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
                       (c == '.' && i && host.p[i - 1] != '.');
        if (!is_fine)
            return false;
    }
    return host.n > 0 && host.n <= EGRESS_HOST_MAX;
}

static struct str lower(struct ctx *cx, struct str s)
{
    char *p = str_cstr(&cx->arena, s);
    for (size_t i = 0; i < s.n; i++)
        p[i] = (char)(p[i] >= 'A' && p[i] <= 'Z' ? p[i] + ('a' - 'A') : p[i]);
    return (struct str){ p, s.n };
}

static enum err_code read_host(struct ctx *cx, struct egress_url *out)
{
    struct str host = lower(cx, part(cx, out->handle, CURLUPART_HOST, 0));
    struct buf b;
    if (part(cx, out->handle, CURLUPART_ZONEID, 0).p)
        return fail(cx, INVALID_FIELD, "The address must not name a zone of an interface");
    out->is_ip = egress_host_ip_parse(host, &out->ip);
    if (out->is_ip) {
        buf_init(&b, &cx->arena, 64);
        ip_print(&b, &out->ip);
        out->host = buf_view(&b);
        return ERR_NONE;
    }
    if (host.n > 1 && host.p[host.n - 1] == '.')
        host.n--;
    if (!is_name(host) || egress_host_is_numeric(host))
        return fail(cx, INVALID_FIELD, "The host of the address is not a name or an IP address");
    out->host = host;
    return ERR_NONE;
}

static enum err_code read_port(struct ctx *cx, struct egress_url *out)
{
    int64_t port = 0;
    struct str text = part(cx, out->handle, CURLUPART_PORT, CURLU_DEFAULT_PORT);
    if (!str_to_i64(text, &port) || port < 1 || port > 65535)
        return fail(cx, INVALID_FIELD, "The port of the address is not valid");
    out->port = (int)port;
    return ERR_NONE;
}

static enum err_code read_parts(struct ctx *cx, struct egress_url *out)
{
    enum err_code e = read_host(cx, out);
    if (!e)
        e = read_port(cx, out);
    if (e)
        return e;
    curl_url_set(out->handle, CURLUPART_FRAGMENT, NULL, 0);
    out->text = part(cx, out->handle, CURLUPART_URL, 0);
    out->key = str_printf(&cx->arena, STR_FMT ":%d", STR_ARG(out->host), out->port);
    return out->text.n ? ERR_NONE : fail(cx, INVALID_FIELD, "The address is not a valid URL");
}

enum err_code egress_url_parse(struct ctx *cx, struct str text, struct egress_url *out)
{
    struct egress_url u = { .is_tls = str_eq_nocase(str_sub(text, 0, 8), STR("https://")) };
    size_t scheme = u.is_tls ? 8 : 7;
    if (text.n > EGRESS_URL_MAX)
        return fail(cx, INVALID_FIELD, "The address is longer than %d bytes", EGRESS_URL_MAX);
    if (!u.is_tls && !str_eq_nocase(str_sub(text, 0, 7), STR("http://")))
        return fail(cx, INVALID_FIELD, "The address must begin with https:// or http://");
    if (!is_clean(text))
        return fail(cx, INVALID_FIELD,
                    "The address must not hold blanks, control characters, backslashes or "
                    "non-ASCII characters (write names in their xn-- form, the rest with %%)");
    struct str authority = authority_of(text, scheme);
    if (!authority.n)
        return fail(cx, INVALID_FIELD, "The address has no host");
    if (memchr(authority.p, '@', authority.n))
        return fail(cx, INVALID_FIELD, "The address must not hold a user name or password");
    u.handle = curl_url();
    BUG_IF(!u.handle);
    arena_defer(&cx->arena, url_done, u.handle);
    if (curl_url_set(u.handle, CURLUPART_URL, str_cstr(&cx->arena, text), 0))
        return fail(cx, INVALID_FIELD, "The address is not a valid URL");
    enum err_code e = read_parts(cx, &u);
    if (!e)
        *out = u;
    return e;
}

bool egress_port_is_fine(int port)
{
    return port == 80 || port == 443 || port >= 1024;
}

/* ---- for the log ---- */

/* Long, of the letters that tokens are made of, with digits, and no UUID: the last part of a Slack
 * hook, a bot token. */
static bool is_secret(struct str s)
{
    bool has_digit = false, has_letter = false;
    if (s.n < SECRET_SEGMENT)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        bool is_digit = c >= '0' && c <= '9';
        has_letter |= is_letter;
        has_digit |= is_digit;
        if (!is_letter && !is_digit && !strchr("-_.:=~%+", c))
            return false;
    }
    if (!has_digit || !has_letter)
        return false;
    if (s.n != 36)
        return true;
    for (size_t i = 0; i < s.n; i++) { /* 8-4-4-4-12: an id, not a secret */
        bool is_dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (is_dash != (s.p[i] == '-') || (!is_dash && !strchr("0123456789abcdefABCDEF", s.p[i])))
            return true;
    }
    return false;
}

static void put_path(struct buf *b, struct str path)
{
    bool is_first = true;
    while (path.p) {
        struct str segment = str_cut(&path, '/');
        if (!is_first)
            buf_char(b, '/');
        is_first = false;
        if (is_secret(segment)) {
            buf_str(b, str_sub(segment, 0, SHOWN));
            buf_lit(b, "***");
        } else {
            buf_str(b, segment);
        }
    }
}

static void put_query(struct buf *b, struct str query)
{
    char sep = '?';
    while (query.p) {
        struct str value = str_cut(&query, '&');
        struct str name = str_cut(&value, '=');
        buf_char(b, sep);
        sep = '&';
        if (!value.p) { /* a lone word may be the secret itself */
            buf_lit(b, "***");
            continue;
        }
        buf_str(b, name);
        buf_lit(b, "=***");
    }
}

struct str egress_url_redact(struct arena *a, const struct egress_url *url)
{
    struct str rest = url->text, query;
    struct buf b;
    struct str origin = authority_of(rest, url->is_tls ? 8 : 7);
    size_t at = (size_t)(origin.p - rest.p) + origin.n;
    buf_init(&b, a, 2 * EGRESS_URL_MAX);
    buf_str(&b, str_sub(rest, 0, at));
    query = str_sub(rest, at, rest.n);
    put_path(&b, str_cut(&query, '?'));
    if (query.n)
        put_query(&b, query);
    return buf_view(&b);
}

/* ---- headers ---- */

bool egress_header_is_fine(struct str name, struct str value)
{
    /* Who sets these decides where a request ends or goes: libcurl writes them. */
    static const char *const own[] = { "host",
                                       "content-length",
                                       "transfer-encoding",
                                       "connection",
                                       "te",
                                       "trailer",
                                       "upgrade",
                                       "proxy-connection",
                                       "keep-alive",
                                       "expect",
                                       "proxy-authorization" };
    if (!name.n || name.n > 128 || value.n > HEADER_VALUE_MAX)
        return false;
    for (size_t i = 0; i < name.n; i++) {
        unsigned char c = (unsigned char)name.p[i];
        if (c <= ' ' || c >= 0x7F || strchr("\"(),/:;<=>?@[\\]{}", c))
            return false;
    }
    for (size_t i = 0; i < value.n; i++) {
        unsigned char c = (unsigned char)value.p[i];
        if ((c < ' ' && c != '\t') || c == 0x7F)
            return false;
    }
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (str_eq_nocase(name, str_of(own[i])))
            return false;
    return true;
}
