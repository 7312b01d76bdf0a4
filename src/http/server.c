/* Starting, reloading and stopping the HTTP server.
 *
 * Stop: end the acceptor (no new connections), answer what runs (suspended requests included:
 * libmicrohttpd aborts when it is stopped with suspended connections), then close. Answers given
 * meanwhile carry Connection: close. */
#include "exchange.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../base/clock.h"
#include "../base/log.h"

#define CONNECTION_MEMORY ((size_t)16 << 10) /* headers of one request included */
#define BACKLOG 1024
#define SUSPENDED_US ((int64_t)30 * 1000000)

static enum err_code listen_open(struct ctx *cx, struct server *s)
{
    struct sockaddr_storage sa;
    socklen_t len;
    if (!listen_parse(s->conf->listen, &sa, &len))
        return fail(cx, USAGE, "listen: \"" STR_FMT "\" is not an address like 127.0.0.1:8080",
                    STR_ARG(s->conf->listen));
    int fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1, zero = 0;
    if (fd < 0)
        return fail(cx, USAGE, "listen: %s", strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (sa.ss_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&sa, len) || listen(fd, BACKLOG)) {
        int why = errno;
        close(fd);
        return fail(cx, UNAVAILABLE, "listen: cannot listen on " STR_FMT ": %s",
                    STR_ARG(s->conf->listen), strerror(why));
    }
    len = sizeof sa;
    getsockname(fd, (struct sockaddr *)&sa, &len);
    struct buf b;
    buf_init(&b, &s->arena, 128);
    struct ip ip = ip_of_sockaddr((struct sockaddr *)&sa);
    if (sa.ss_family == AF_INET6)
        buf_char(&b, '[');
    ip_print(&b, &ip);
    if (sa.ss_family == AF_INET6)
        buf_char(&b, ']');
    buf_char(&b, ':');
    buf_i64(&b, ntohs(sa.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&sa)->sin6_port
                                               : ((struct sockaddr_in *)&sa)->sin_port));
    s->address = buf_view(&b);
    s->listen_fd = fd;
    return ERR_NONE;
}

/* Each connection is a descriptor; the default soft limit of 1024 would be the first thing to run
 * out. */
static void raise_files(int64_t connections)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r))
        return;
    rlim_t want = (rlim_t)connections + 256;
    if (r.rlim_cur < want) {
        r.rlim_cur = r.rlim_max < want ? r.rlim_max : want;
        setrlimit(RLIMIT_NOFILE, &r);
    }
}

static void mhd_log(void *cls, const char *fmt, va_list ap)
{
    (void)cls;
    char line[512];
    int n = vsnprintf(line, sizeof line, fmt, ap);
    while (n > 0 && (size_t)n < sizeof line && line[n - 1] == '\n')
        n--;
    log_debug(
        NULL, "http.mhd",
        KVS("text", ((struct str){ line, n > 0 && (size_t)n < sizeof line ? (size_t)n : 0 })));
}

/* The acceptor's `take`. libmicrohttpd closes what it does not keep (limit per address, memory). */
static bool take(void *arg, int fd, const struct sockaddr *from, socklen_t from_len)
{
    struct server *s = arg;
    return MHD_add_connection(s->mhd, fd, from, from_len) == MHD_YES;
}

/* libmicrohttpd splits its limit of connections over its threads, and closes what comes to a full
 * one; the limit is the acceptor's, so each thread is allowed all of them. */
static enum err_code daemon_start(struct ctx *cx, struct server *s)
{
    struct MHD_OptionItem tls[2] = { { MHD_OPTION_END, 0, NULL }, { MHD_OPTION_END, 0, NULL } };
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC |
                     MHD_USE_ERROR_LOG | MHD_USE_NO_LISTEN_SOCKET;
    if (s->tls) {
        tls_options(s->tls, tls);
        flags |= MHD_USE_TLS;
    }
    s->mhd = MHD_start_daemon(
        flags, 0, NULL, NULL, exchange_step, s, MHD_OPTION_EXTERNAL_LOGGER, mhd_log, NULL,
        MHD_OPTION_THREAD_POOL_SIZE, (unsigned)s->conf->event_threads, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)(s->conf->max_connections * s->conf->event_threads),
        MHD_OPTION_PER_IP_CONNECTION_LIMIT, (unsigned)s->conf->max_connections_per_ip,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)s->conf->idle_timeout_s,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY, MHD_OPTION_URI_LOG_CALLBACK,
        exchange_begin, s, MHD_OPTION_NOTIFY_COMPLETED, exchange_end, s,
        MHD_OPTION_NOTIFY_CONNECTION, conn_notify, s, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
    if (!s->mhd)
        return fail(cx, USAGE, "cannot start the HTTP server (threads, memory or TLS set-up)");
    return ERR_NONE;
}

/* From here on the listening socket is the acceptor's. */
static enum err_code accept_start(struct ctx *cx, struct server *s)
{
    s->acceptor = (struct acceptor){
        .listen_fd = s->listen_fd, .max = s->conf->max_connections, .take = take, .arg = s
    };
    enum err_code e = acceptor_start(cx, &s->acceptor);
    if (!e)
        s->listen_fd = 0;
    return e;
}

enum err_code server_start(struct ctx *cx, const struct conf *conf, struct app *app,
                           struct server **out)
{
    struct arena arena;
    arena_init(&arena, (size_t)8 << 20);
    struct server *s = ARENA_NEW(&arena, struct server);
    s->arena = arena;
    s->conf = conf;
    s->app = app;
    app->metrics = metrics_print;
    struct str bad = STR_NONE;
    enum err_code e = ERR_NONE;
    if (!cidrs_parse(&s->arena, conf->trusted_proxies, &s->trusted, &bad))
        e = fail(cx, USAGE, "trusted_proxies: \"" STR_FMT "\" is not an address or CIDR",
                 STR_ARG(bad));
    router_build(&s->arena);
    s->stats = ARENA_ARRAY(&s->arena, struct route_stat, (size_t)router_count() + 1);
    metrics_bind(s);
    raise_files(conf->max_connections);
    if (!e && (conf->tls_cert.n || conf->tls_key.n))
        e = tls_open(cx, conf->tls_cert, conf->tls_key, &s->tls);
    if (!e)
        e = listen_open(cx, s);
    if (!e)
        e = conns_start(cx, s);
    if (!e)
        e = slow_start(cx, conf->slow_threads, &s->slow);
    if (!e)
        e = daemon_start(cx, s);
    if (!e)
        e = accept_start(cx, s);
    if (e) {
        server_stop(s);
        return e;
    }
    *out = s;
    return ERR_NONE;
}

struct str server_address(const struct server *s)
{
    return s->address;
}

enum err_code server_reload(struct ctx *cx, struct server *s)
{
    return s->tls ? tls_reload(cx, s->tls) : ERR_NONE;
}

static void wait_for_requests(struct server *s)
{
    int64_t until = clock_mono_us() + s->conf->drain_timeout_s * 1000000;
    while (atomic_load(&s->in_flight) > 0 && clock_mono_us() < until)
        nanosleep(&(struct timespec){ 0, 5000000 }, NULL);
    /* Slow peers may be cut off, but what the store has must come back first, and nothing may follow
     * it there: libmicrohttpd aborts when it is stopped with a suspended connection. */
    atomic_store(&s->is_closing, true);
    until = clock_mono_us() + SUSPENDED_US;
    while (atomic_load(&s->suspended) > 0 && clock_mono_us() < until)
        nanosleep(&(struct timespec){ 0, 5000000 }, NULL);
    int64_t left = atomic_load(&s->in_flight), stuck = atomic_load(&s->suspended);
    if (stuck)
        log_error(NULL, "http.stop_timeout", KVI("suspended", stuck));
    if (left)
        log_warn(NULL, "http.drain_timeout", KVI("in_flight", left));
}

void server_stop(struct server *s)
{
    if (!s)
        return;
    atomic_store(&s->is_stopping, true);
    acceptor_stop(&s->acceptor);
    if (s->listen_fd > 0)
        close(s->listen_fd);
    if (s->mhd) {
        wait_for_requests(s);
        MHD_stop_daemon(s->mhd);
    }
    acceptor_close(&s->acceptor);
    slow_stop(s->slow);
    conns_stop(s);
    tls_close(s->tls);
    metrics_bind(NULL);
    struct arena arena = s->arena;
    arena_done(&arena);
}
