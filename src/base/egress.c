/* Egress, the asking side: opening, taking calls over, waiting for them, closing. See egress.h. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "clock.h"
#include "egress_inner.h"

#define OWN_CAP ((size_t)1 << 20)
#define CALLS_DEFAULT 4096
#define RUNNING_DEFAULT 512
#define TOTAL_DEFAULT_MS 30000
#define CHECK_MS 5000
#define STOP_SLICE_US 100000         /* how often a waiting caller looks at its stop flag */
#define CALL_CAP ((size_t)512 << 10) /* addresses, headers, sentences */
#define KEPT_CONNECTIONS 256L

static const struct {
    const char *text;
    bool is_fault;
} classes[] = {
#define EGRESS_ROW(name, word, fault, text) { text, fault },
    EGRESS_TABLE(EGRESS_ROW)
#undef EGRESS_ROW
};
const char *const egress_class_words[] = {
#define EGRESS_WORD(name, word, fault, text) word,
    EGRESS_TABLE(EGRESS_WORD)
#undef EGRESS_WORD
        NULL
};

const char *egress_class_word(enum egress_class c)
{
    BUG_IF(c >= EGRESS_CLASSES);
    return egress_class_words[c];
}

const char *egress_class_text(enum egress_class c)
{
    BUG_IF(c >= EGRESS_CLASSES);
    return classes[c].text;
}

bool egress_class_is_fault(enum egress_class c)
{
    BUG_IF(c >= EGRESS_CLASSES);
    return classes[c].is_fault;
}

struct str egress_answer_header(const struct egress_answer *a, struct str name)
{
    struct str rest = a->head;
    while (rest.p) {
        struct str value = str_cut(&rest, '\n');
        struct str key = str_cut(&value, ':');
        if (value.p && str_eq_nocase(key, name))
            return str_trim(value);
    }
    return STR_NONE;
}

/* ---- one call ---- */

void call_free(struct call *c)
{
    struct egress *eg = c->eg;
    ctx_done(&c->cx);
    free(c);
    atomic_fetch_sub(&eg->n_calls, 1);
}

static void copy_headers(struct call *c, const struct egress_ask *ask)
{
    struct egress_header *v = ARENA_ARRAY(&c->cx.arena, struct egress_header, ask->n_headers);
    for (size_t i = 0; i < ask->n_headers; i++)
        v[i] = (struct egress_header){ str_dup(&c->cx.arena, ask->headers[i].name),
                                       str_dup(&c->cx.arena, ask->headers[i].value),
                                       ask->headers[i].is_secret };
    c->ask.headers = v;
}

static size_t answer_max(const struct egress_ask *ask)
{
    size_t n = ask->answer_max ? ask->answer_max : EGRESS_ANSWER_DEFAULT;
    return n < EGRESS_BODY_MAX ? n : EGRESS_BODY_MAX;
}

static int64_t total_ms(const struct egress_ask *ask)
{
    int64_t ms = ask->total_ms ? ask->total_ms : TOTAL_DEFAULT_MS;
    return ms < EGRESS_TIME_MAX_MS ? ms : EGRESS_TIME_MAX_MS;
}

static struct call *call_new(struct egress *eg, const struct egress_ask *ask)
{
    struct call *c = calloc(1, sizeof *c);
    BUG_IF(!c);
    BUG_IF(ask->n_headers > EGRESS_HEADERS_MAX || ask->redirects > EGRESS_REDIRECTS_MAX ||
           ask->body.n > EGRESS_BODY_MAX || ask->apart.n > EGRESS_APART_MAX);
    c->eg = eg;
    c->ask = *ask;
    c->ask.answer_max = answer_max(ask);
    /* A growing text leaves what it outgrew behind: twice the body. */
    ctx_init(&c->cx, CALL_CAP + ask->body.n + 4 * c->ask.answer_max);
    c->ask.url = str_dup(&c->cx.arena, ask->url);
    c->ask.apart = str_dup(&c->cx.arena, ask->apart);
    c->ask.body = str_dup(&c->cx.arena, ask->body.p ? ask->body : STR(""));
    copy_headers(c, ask);
    for (int i = 0; i < EGRESS_LABELS; i++)
        c->ask.labels[i] = str_dup(&c->cx.arena, ask->labels[i]);
    c->method = ask->method;
    /* POST, PUT, PATCH tell a length of 0 */
    c->has_body = ask->body.p || ask->body_file || ask->method[0] == 'P';
    c->started_us = clock_mono_us();
    c->deadline_us = c->started_us + total_ms(ask) * 1000;
    buf_init(&c->head, &c->cx.arena, EGRESS_HEAD_MAX);
    buf_init(&c->body, &c->cx.arena, c->ask.answer_max);
    return c;
}

void egress_wake(void *arg)
{
    const struct egress *eg = arg;
    uint64_t one = 1;
    ssize_t n = write(eg->event, &one, sizeof one); /* full means: it is awake */
    BUG_IF(n < 0 && errno != EAGAIN);
}

/* Ends on the asker's thread, in few steps: it may be one of very many. */
static void not_taken(struct egress *eg, const struct egress_ask *ask, enum egress_class class)
{
    struct egress_record r = { .method = ask->method,
                               .endpoint = STR(""),
                               .class = class,
                               .error = str_of(egress_class_text(class)),
                               .at_ms = clock_ms(),
                               .labels = ask->labels };
    atomic_fetch_add(&eg->ended[class], 1);
    if (eg->conf.record)
        eg->conf.record(eg->conf.record_arg, &r);
}

static struct egress_answer answer_of(enum egress_class class)
{
    return (struct egress_answer){ .class = class, .error = str_of(egress_class_text(class)) };
}

/* Hands the call to the thread; false: it stops. */
static bool submit(struct call *c)
{
    struct egress *eg = c->eg;
    bool is_stopping;
    pthread_mutex_lock(&eg->lock);
    is_stopping = eg->is_stopping;
    if (!is_stopping) {
        *eg->inbox_end = c;
        eg->inbox_end = &c->next;
    }
    pthread_mutex_unlock(&eg->lock);
    if (!is_stopping)
        egress_wake(eg);
    return !is_stopping;
}

static bool has_room(struct egress *eg)
{
    if (atomic_fetch_add(&eg->n_calls, 1) < eg->conf.calls_max)
        return true;
    atomic_fetch_sub(&eg->n_calls, 1);
    return false;
}

void egress_start(struct egress *eg, const struct egress_ask *ask,
                  void (*done)(void *arg, const struct egress_answer *a), void *arg)
{
    enum egress_class class = EGRESS_BUSY;
    if (has_room(eg)) {
        struct call *c = call_new(eg, ask);
        c->done = done;
        c->arg = arg;
        if (submit(c))
            return;
        call_free(c);
        class = EGRESS_STOPPED;
    }
    struct egress_answer a = answer_of(class);
    not_taken(eg, ask, class);
    done(arg, &a);
}

/* ---- waiting ---- */

struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t done;
    bool is_done; /* lock */
    struct arena *arena;
    struct egress_answer *out;
};

static void waiter_done(void *arg, const struct egress_answer *a)
{
    struct waiter *w = arg;
    pthread_mutex_lock(&w->lock);
    *w->out = *a;
    w->out->head = str_dup(w->arena, a->head);
    w->out->body = str_dup(w->arena, a->body);
    w->out->error = str_dup(w->arena, a->error);
    w->is_done = true;
    pthread_cond_signal(&w->done);
    pthread_mutex_unlock(&w->lock);
}

/* The call may be gone at any moment, so it is touched only under the lock that says it is not. */
static void wait_done(struct ctx *cx, struct egress *eg, struct waiter *w, struct call *c)
{
    bool is_given_up = false;
    pthread_mutex_lock(&w->lock);
    while (!w->is_done) {
        int64_t end = clock_mono_us() + STOP_SLICE_US;
        struct timespec at = { .tv_sec = (time_t)(end / 1000000),
                               .tv_nsec = (long)(end % 1000000) * 1000 };
        pthread_cond_timedwait(&w->done, &w->lock, &at);
        if (w->is_done || is_given_up || !cx->stop || !atomic_load(cx->stop))
            continue;
        is_given_up = true;
        atomic_store(&c->is_given_up, true);
        atomic_store(&eg->has_given_up, true);
        egress_wake(eg);
    }
    pthread_mutex_unlock(&w->lock);
}

static enum err_code outcome(struct ctx *cx, const struct egress_answer *a)
{
    if (a->class == EGRESS_OK)
        return ERR_NONE;
    if (a->class == EGRESS_INVALID || a->class == EGRESS_DENIED)
        return fail(cx, INVALID_FIELD, STR_FMT, STR_ARG(a->error));
    cx->retry_after_s = (a->try_again_ms + 999) / 1000;
    return fail(cx, UNAVAILABLE, STR_FMT, STR_ARG(a->error));
}

static enum err_code call_and_wait(struct ctx *cx, struct egress *eg, const struct egress_ask *ask,
                                   bool is_check, struct egress_answer *out)
{
    struct waiter w = { .arena = &cx->arena, .out = out };
    struct call *c;
    pthread_condattr_t attr;
    BUG_IF(pthread_mutex_init(&w.lock, NULL) || pthread_condattr_init(&attr) ||
           pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) || pthread_cond_init(&w.done, &attr));
    pthread_condattr_destroy(&attr);
    if (!has_room(eg)) {
        not_taken(eg, ask, EGRESS_BUSY);
        *out = answer_of(EGRESS_BUSY);
    } else {
        c = call_new(eg, ask);
        c->done = waiter_done;
        c->arg = &w;
        c->is_check = is_check;
        if (cx->deadline_us && cx->deadline_us < c->deadline_us)
            c->deadline_us = cx->deadline_us;
        if (submit(c)) {
            wait_done(cx, eg, &w, c);
        } else {
            call_free(c);
            not_taken(eg, ask, EGRESS_STOPPED);
            *out = answer_of(EGRESS_STOPPED);
        }
    }
    pthread_cond_destroy(&w.done);
    pthread_mutex_destroy(&w.lock);
    return outcome(cx, out);
}

enum err_code egress_call(struct ctx *cx, struct egress *eg, const struct egress_ask *ask,
                          struct egress_answer *out)
{
    *out = (struct egress_answer){ .class = EGRESS_STOPPED };
    return ctx_ok(cx) ? call_and_wait(cx, eg, ask, false, out) : cx->err;
}

enum err_code egress_check_url(struct ctx *cx, struct egress *eg, struct str url)
{
    struct egress_ask ask = { .method = "GET", .url = url, .total_ms = CHECK_MS };
    struct egress_answer out;
    return ctx_ok(cx) ? call_and_wait(cx, eg, &ask, true, &out) : cx->err;
}

enum err_code egress_judge_form(struct ctx *cx, const struct egress_allow *allow,
                                const struct egress_url *url)
{
    bool is_named = egress_allow_has_name(allow, url->host);
    bool is_listed = is_named || (url->is_ip && cidrs_match(allow->ranges, &url->ip));
    if (!is_listed && !egress_port_is_fine(url->port))
        return fail(cx, INVALID_FIELD, "Port %d must not be called: 80, 443 and from 1024 on may",
                    url->port);
    if (url->is_ip && !is_named && egress_addr_refused(allow, &url->ip))
        return fail(cx, INVALID_FIELD, "%s", egress_class_text(EGRESS_DENIED));
    return ERR_NONE;
}

enum err_code egress_check_form(struct ctx *cx, const struct egress *eg, struct str url)
{
    struct egress_url u;
    enum err_code e = egress_url_parse(cx, url, &u);
    return e ? e : egress_judge_form(cx, &eg->allow, &u);
}

void egress_counts(struct egress *eg, struct egress_counts *out)
{
    *out = (struct egress_counts){ .calls = atomic_load(&eg->n_calls),
                                   .running = atomic_load(&eg->n_running),
                                   .waiting = atomic_load(&eg->n_waiting),
                                   .hosts_resting = atomic_load(&eg->n_resting) };
    for (int i = 0; i < EGRESS_CLASSES; i++)
        out->ended[i] = atomic_load(&eg->ended[i]);
}

/* ---- opening and closing ---- */

static enum err_code proxy_check(struct ctx *cx, struct str proxy)
{
    CURLU *u = curl_url();
    char *scheme = NULL;
    bool is_fine;
    BUG_IF(!u);
    is_fine =
        !curl_url_set(u, CURLUPART_URL, str_cstr(&cx->arena, proxy), CURLU_NON_SUPPORT_SCHEME) &&
        !curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) &&
        (!strcmp(scheme, "http") || !strcmp(scheme, "https") || !strcmp(scheme, "socks5"));
    curl_free(scheme);
    curl_url_cleanup(u);
    return is_fine
               ? ERR_NONE
               : fail(cx, USAGE,
                      "egress_proxy must be http://, https:// or socks5:// and a host and port");
}

static enum err_code conf_read(struct ctx *cx, struct egress *eg, const struct egress_conf *conf)
{
    struct ctx own;
    enum err_code e;
    eg->conf = *conf;
    eg->conf.calls_max = conf->calls_max ? conf->calls_max : CALLS_DEFAULT;
    eg->conf.running_max = conf->running_max ? conf->running_max : RUNNING_DEFAULT;
    eg->proxy = conf->proxy.n ? str_cstr(&eg->arena, conf->proxy) : NULL;
    eg->ca_file = conf->ca_file.n ? str_cstr(&eg->arena, conf->ca_file) : NULL;
    eg->agent =
        conf->user_agent.n ? str_cstr(&eg->arena, conf->user_agent) : "tessera/" TESSERA_VERSION;
    if (eg->proxy && (e = proxy_check(cx, conf->proxy)))
        return e;
    if (eg->ca_file && access(eg->ca_file, R_OK))
        return fail(cx, USAGE, "egress_ca_file cannot be read");
    /* The list must outlive cx: it is read into a ctx whose arena then becomes ours. */
    own = (struct ctx){ .arena = eg->arena };
    e = egress_allow_parse(&own, conf->allow, &eg->allow);
    eg->arena = own.arena;
    return e ? fail(cx, USAGE, STR_FMT, STR_ARG(own.err_text)) : ERR_NONE;
}

static void eg_free(struct egress *eg)
{
    if (eg->multi)
        curl_multi_cleanup(eg->multi);
    if (eg->epoll >= 0)
        close(eg->epoll);
    if (eg->event >= 0)
        close(eg->event);
    pthread_mutex_destroy(&eg->lock);
    hosts_done(&eg->hosts);
    arena_done(&eg->arena);
    free(eg);
    curl_global_cleanup();
}

/* Signals are for other threads; SIGPIPE of a closed connection must reach nobody. */
static bool thread_start(struct egress *eg)
{
    sigset_t all, old;
    bool is_started;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    is_started = !pthread_create(&eg->thread, NULL, egress_main, eg);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return is_started;
}

enum err_code egress_open(struct ctx *cx, const struct egress_conf *conf, struct egress **out)
{
    struct egress *eg = calloc(1, sizeof *eg);
    enum err_code e;
    BUG_IF(!eg || curl_global_init(CURL_GLOBAL_DEFAULT) || pthread_mutex_init(&eg->lock, NULL));
    arena_init(&eg->arena, OWN_CAP);
    eg->inbox_end = &eg->inbox;
    eg->curl_at_us = -1;
    eg->epoll = epoll_create1(EPOLL_CLOEXEC);
    eg->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    eg->multi = curl_multi_init();
    e = conf_read(cx, eg, conf);
    if (!e && (eg->epoll < 0 || eg->event < 0 || !eg->multi))
        e = fail(cx, UNAVAILABLE, "no file descriptors for outbound calls");
    if (e) {
        eg_free(eg);
        return e;
    }
    curl_multi_setopt(eg->multi, CURLMOPT_MAXCONNECTS, KEPT_CONNECTIONS);
    hosts_init(&eg->hosts, (size_t)eg->conf.calls_max + EGRESS_LOOKUPS_MAX, &eg->conf);
    eg->dns = egress_dns_open(conf->resolve ? conf->resolve : egress_resolve, conf->resolve_arg,
                              egress_wake, eg);
    if (!thread_start(eg)) {
        egress_dns_close(eg->dns);
        eg_free(eg);
        return fail(cx, UNAVAILABLE, "no thread for outbound calls");
    }
    *out = eg;
    return ERR_NONE;
}

void egress_close(struct egress *eg)
{
    if (!eg)
        return;
    pthread_mutex_lock(&eg->lock);
    eg->is_stopping = true;
    pthread_mutex_unlock(&eg->lock);
    egress_wake(eg);
    pthread_join(eg->thread, NULL);
    egress_dns_close(eg->dns); /* while there is an eventfd to wake */
    eg_free(eg);
}
