/* One transfer: what libcurl is told, what it may do, what its end means.
 *
 * The connection goes to the judged address by CURLOPT_CONNECT_TO, which leaves Host, SNI and the
 * certificate's name alone, needs no resolution, and is part of what a kept connection is found
 * again by: one that was made for another address is never reused. Through a proxy it makes the
 * tunnel's target the address, so the proxy resolves nothing either. The two callbacks that see
 * addresses check once more. Egress thread only. */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "egress_inner.h"

#define CONNECT_DEFAULT_MS 5000
#define CONNECT_MIN_MS 250
#define KEEP_S 60L            /* a quiet connection is not used after this */
#define SLOWEST_BYTES_S 1024L /* files: slower than this for SLOW_S ends the transfer */
#define SLOW_S 30L

/* ---- what libcurl calls ---- */

static size_t take_head(char *p, size_t size, size_t n, void *arg)
{
    struct call *c = arg;
    struct str line = { p, size * n };
    if (str_starts(line, STR("HTTP/"))) /* of 1xx answers only the last one is kept */
        buf_reset(&c->head);
    c->head_seen += line.n;
    buf_str(&c->head, line);
    c->is_head_over = c->head.over || c->head_seen > 2 * EGRESS_HEAD_MAX;
    return c->is_head_over ? 0 : line.n;
}

static bool is_for_file(const struct call *c)
{
    return c->ask.answer_file && easy_status(c) / 100 == 2;
}

static size_t take_file(struct call *c, const char *p, size_t len)
{
    c->is_body_over = (int64_t)len > c->ask.answer_file_max - c->filed;
    if (c->is_body_over)
        return 0;
    c->is_file_bad = !spool_add(c->ask.answer_file, p, len);
    c->filed += (int64_t)len;
    c->got += (int64_t)len;
    return c->is_file_bad ? 0 : len;
}

static size_t take_body(char *p, size_t size, size_t n, void *arg)
{
    struct call *c = arg;
    size_t len = size * n, room = c->ask.answer_max - c->body.n;
    if (is_for_file(c))
        return take_file(c, p, len);
    buf_add(&c->body, p, len < room ? len : room);
    c->got += (int64_t)(len < room ? len : room);
    if (len <= room && !c->body.over)
        return len;
    c->is_cut = c->ask.is_cut && !c->body.over;
    c->is_body_over = !c->is_cut;
    return 0;
}

static size_t give_file(char *to, size_t size, size_t n, void *arg)
{
    struct call *c = arg;
    ssize_t some = pread(spool_fd(c->ask.body_file), to, size * n, c->body_at);
    c->is_file_bad = some < 0;
    if (some < 0)
        return CURL_READFUNC_ABORT;
    c->body_at += some;
    return (size_t)some;
}

/* libcurl sends it anew when a kept connection turns out to be dead. */
static int seek_file(void *arg, curl_off_t to, int origin)
{
    struct call *c = arg;
    if (origin != SEEK_SET)
        return CURL_SEEKFUNC_CANTSEEK;
    c->body_at = to;
    return CURL_SEEKFUNC_OK;
}

/* The socket is for the judged address or for the proxy. */
static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *to)
{
    struct call *c = arg;
    struct ip ip = ip_of_sockaddr(&to->addr);
    (void)purpose;
    if (c->is_direct && memcmp(ip.b, c->ips.v[c->at].b, sizeof ip.b) != 0) {
        c->is_wrong_address = true;
        return CURL_SOCKET_BAD;
    }
    return socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
}

/* Before the request is written, on a kept connection too. */
static int before_request(void *arg, char *peer, char *own, int peer_port, int own_port)
{
    struct call *c = arg;
    struct ip ip;
    (void)own, (void)peer_port, (void)own_port;
    c->is_sent = true;
    if (!c->is_direct ||
        (ip_parse(str_of(peer), &ip) && memcmp(ip.b, c->ips.v[c->at].b, sizeof ip.b) == 0))
        return CURL_PREREQFUNC_OK;
    c->is_wrong_address = true;
    return CURL_PREREQFUNC_ABORT;
}

/* ---- the request ---- */

/* libcurl copies the line: `a` is emptied for the next one. */
static void add_line(struct call *c, struct arena *a, struct str line)
{
    struct curl_slist *list = curl_slist_append(c->lines, str_cstr(a, line));
    arena_reset(a);
    BUG_IF(!list);
    c->lines = list;
}

static bool is_credential(const struct egress_header *h)
{
    return h->is_secret || str_eq_nocase(h->name, STR("authorization")) ||
           str_eq_nocase(h->name, STR("cookie"));
}

static bool is_of_body(struct str name)
{
    return str_eq_nocase(str_sub(name, 0, 8), STR("content-"));
}

static void set_headers(struct call *c)
{
    struct arena own, *a = &own; /* a call may have many transfers */
    bool has_type = false;
    arena_init(a, 8 * EGRESS_HEAD_MAX);
    for (size_t i = 0; i < c->ask.n_headers; i++) {
        const struct egress_header *h = &c->ask.headers[i];
        if ((c->drops_secrets && is_credential(h)) || (!c->has_body && is_of_body(h->name)))
            continue;
        has_type |= str_eq_nocase(h->name, STR("content-type"));
        if (str_trim(h->value).n)
            add_line(c, a,
                     str_printf(a, STR_FMT ": " STR_FMT, STR_ARG(h->name), STR_ARG(h->value)));
        else /* curl's way to say: empty */
            add_line(c, a, str_printf(a, STR_FMT ";", STR_ARG(h->name)));
    }
    if (!has_type)
        add_line(c, a, STR("Content-Type:")); /* not curl's own guess */
    add_line(c, a, STR("Expect:"));           /* no waiting for 100 */
    arena_done(a);
    curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, c->lines);
}

static void set_body_file(struct call *c)
{
    curl_easy_setopt(c->easy, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(c->easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)spool_size(c->ask.body_file));
    curl_easy_setopt(c->easy, CURLOPT_READFUNCTION, give_file);
    curl_easy_setopt(c->easy, CURLOPT_READDATA, c);
    curl_easy_setopt(c->easy, CURLOPT_SEEKFUNCTION, seek_file);
    curl_easy_setopt(c->easy, CURLOPT_SEEKDATA, c);
}

static void set_method(struct call *c)
{
    curl_easy_setopt(c->easy, CURLOPT_HTTPGET, 1L);
    if (c->has_body && c->ask.body_file) {
        set_body_file(c);
    } else if (c->has_body) {
        curl_easy_setopt(c->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)c->ask.body.n);
        curl_easy_setopt(c->easy, CURLOPT_POSTFIELDS, c->ask.body.p);
    }
    if (!strcmp(c->method, "HEAD"))
        curl_easy_setopt(c->easy, CURLOPT_NOBODY, 1L);
    else
        curl_easy_setopt(c->easy, CURLOPT_CUSTOMREQUEST, c->method);
}

/* Where it goes: always to an address, by way of the proxy when there is one. libcurl's own reading
 * of http_proxy and no_proxy is switched off by naming both. */
static void set_way(struct call *c)
{
    const struct egress *eg = c->eg;
    const struct ip *ip = &c->ips.v[c->at];
    struct buf b;
    buf_init(&b, &c->cx.arena, 128);
    buf_lit(&b, "::[");
    ip_print(&b, ip);
    if (!memchr(b.p + 3, ':', b.n - 3)) { /* IPv4 wears no brackets */
        buf_reset(&b);
        buf_lit(&b, "::");
        ip_print(&b, ip);
        buf_printf(&b, ":%d", c->url.port);
    } else {
        buf_printf(&b, "]:%d", c->url.port);
    }
    c->to = curl_slist_append(NULL, str_cstr(&c->cx.arena, buf_view(&b)));
    BUG_IF(!c->to);
    curl_easy_setopt(c->easy, CURLOPT_CONNECT_TO, c->to);
    curl_easy_setopt(c->easy, CURLOPT_PROXY, c->is_direct ? "" : eg->proxy);
    curl_easy_setopt(c->easy, CURLOPT_NOPROXY, "");
    curl_easy_setopt(c->easy, CURLOPT_HTTPPROXYTUNNEL, c->is_direct ? 0L : 1L);
    curl_easy_setopt(c->easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(c->easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(c->easy, CURLOPT_OPENSOCKETDATA, c);
    curl_easy_setopt(c->easy, CURLOPT_PREREQFUNCTION, before_request);
    curl_easy_setopt(c->easy, CURLOPT_PREREQDATA, c);
}

/* The time that is left is shared by the addresses that are left. */
static void set_limits(struct call *c, int64_t now_us)
{
    int64_t left_ms = (c->deadline_us - now_us) / 1000 + 1;
    int64_t connect_ms = c->ask.connect_ms ? c->ask.connect_ms : CONNECT_DEFAULT_MS;
    int64_t share_ms = left_ms / (int64_t)(c->ips.n - c->at);
    if (connect_ms > share_ms)
        connect_ms = share_ms > CONNECT_MIN_MS ? share_ms : CONNECT_MIN_MS;
    curl_easy_setopt(c->easy, CURLOPT_TIMEOUT_MS, (long)left_ms);
    curl_easy_setopt(c->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_ms);
    curl_easy_setopt(c->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c->easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c->easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(c->easy, CURLOPT_MAXAGE_CONN, KEEP_S);
    if (c->ask.body_file || c->ask.answer_file) {
        curl_easy_setopt(c->easy, CURLOPT_LOW_SPEED_LIMIT, SLOWEST_BYTES_S);
        curl_easy_setopt(c->easy, CURLOPT_LOW_SPEED_TIME, SLOW_S);
    }
    /* Told beforehand: nothing of it is read. The length of a HEAD is that of a GET; with a file the
     * status decides which of two limits it is (take_body). */
    if (!c->ask.is_cut && !c->ask.answer_file && strcmp(c->method, "HEAD") != 0)
        curl_easy_setopt(c->easy, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)c->ask.answer_max);
}

static void set_tls(struct call *c)
{
    curl_easy_setopt(c->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    curl_easy_setopt(c->easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(c->easy, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(c->easy, CURLOPT_SSL_VERIFYHOST, 2L);
    if (c->eg->ca_file) {
        curl_easy_setopt(c->easy, CURLOPT_CAINFO, c->eg->ca_file);
        curl_easy_setopt(c->easy, CURLOPT_PROXY_CAINFO, c->eg->ca_file);
    }
}

bool easy_start(struct call *c, int64_t now_us)
{
    c->easy = curl_easy_init();
    BUG_IF(!c->easy);
    c->is_head_over = c->is_body_over = c->is_cut = c->is_wrong_address = c->is_file_bad = false;
    c->is_sent = false;
    c->head_seen = 0;
    c->body_at = 0;
    buf_reset(&c->head);
    buf_reset(&c->body);
    curl_easy_setopt(c->easy, CURLOPT_CURLU, c->url.handle);
    curl_easy_setopt(c->easy, CURLOPT_PRIVATE, c);
    curl_easy_setopt(c->easy, CURLOPT_USERAGENT, c->eg->agent);
    curl_easy_setopt(c->easy, CURLOPT_HEADERFUNCTION, take_head);
    curl_easy_setopt(c->easy, CURLOPT_HEADERDATA, c);
    curl_easy_setopt(c->easy, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(c->easy, CURLOPT_WRITEDATA, c);
    set_method(c);
    set_headers(c);
    set_way(c);
    set_limits(c, now_us);
    set_tls(c);
    return curl_multi_add_handle(c->eg->multi, c->easy) == CURLM_OK;
}

void easy_stop(struct call *c)
{
    curl_off_t sent = 0;
    if (!c->easy)
        return;
    curl_easy_getinfo(c->easy, CURLINFO_SIZE_UPLOAD_T, &sent);
    c->sent += sent;
    curl_multi_remove_handle(c->eg->multi, c->easy);
    curl_easy_cleanup(c->easy);
    curl_slist_free_all(c->lines);
    curl_slist_free_all(c->to);
    c->easy = NULL;
    c->lines = c->to = NULL;
}

/* ---- the end ---- */

int easy_status(const struct call *c)
{
    long status = 0;
    curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
    return (int)status;
}

/* The time to connect stays 0 for a further stream of an HTTP/2 connection. */
static bool is_connected(const struct call *c)
{
    curl_off_t us = 0;
    curl_easy_getinfo(c->easy, CURLINFO_CONNECT_TIME_T, &us);
    return c->is_sent || us > 0;
}

static enum egress_class refused_by_proxy(const struct call *c, enum egress_class otherwise)
{
    long code = 0;
    if (c->is_direct)
        return otherwise;
    curl_easy_getinfo(c->easy, CURLINFO_HTTP_CONNECTCODE, &code);
    return code && code / 100 != 2 ? EGRESS_PROXY : otherwise;
}

enum egress_class easy_class(const struct call *c, CURLcode rc)
{
    if (c->is_wrong_address)
        return EGRESS_DENIED;
    if (c->is_file_bad) /* our disk, not the host's fault */
        return EGRESS_STOPPED;
    if (c->is_cut)
        return EGRESS_OK;
    if (c->is_head_over || c->is_body_over)
        return EGRESS_TOO_LARGE;
    switch ((int)rc) {
    case CURLE_OK: return EGRESS_OK;
    case CURLE_FILESIZE_EXCEEDED: return EGRESS_TOO_LARGE;
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL: return EGRESS_INVALID;
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_PROXY: return EGRESS_PROXY;
    case CURLE_COULDNT_CONNECT: return refused_by_proxy(c, EGRESS_CONNECT);
    case CURLE_OPERATION_TIMEDOUT: return is_connected(c) ? EGRESS_TIMEOUT : EGRESS_CONNECT;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_CIPHER: return EGRESS_TLS;
    default: return refused_by_proxy(c, EGRESS_BROKEN);
    }
}
