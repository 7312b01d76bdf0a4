/* Egress, the thread: what becomes of a call.
 *
 *   new → in line of its host → (resolving) → running → done
 *            ^                                   |
 *            +---- redirect, next address -------+
 *
 * libcurl tells which sockets it waits for and when it wants to be called; epoll and its timeout do
 * the rest. Ten times a second the calls that are not libcurl's yet are looked at for their
 * deadlines. Everything here runs on the egress thread. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "clock.h"
#include "egress_inner.h"
#include "fault.h"
#include "log.h"

#define EVENTS 64
#define SWEEP_US 100000
#define HELD_MS 10                    /* a host that its rate holds back is looked at again */
#define QUIET_MS 1000                 /* nothing to do */
#define IPS_KEPT_US INT64_C(30000000) /* getaddrinfo does not tell the time to live */

/* ---- the end of a call ---- */

static void record(struct call *c, const struct egress_answer *a)
{
    const struct egress *eg = c->eg;
    struct egress_record r = { .method = c->method,
                               .endpoint = STR(""),
                               .class = a->class,
                               .status = a->status,
                               .is_success = a->class == EGRESS_OK && a->status / 100 == 2,
                               .error = a->error,
                               .at_ms = clock_ms() - a->duration_ms,
                               .duration_ms = a->duration_ms,
                               .sent_bytes = c->sent,
                               .got_bytes = c->got,
                               .redirects = c->hops,
                               .labels = c->ask.labels };
    if (c->url.text.n)
        r.endpoint = egress_url_redact(&c->cx.arena, &c->url);
    if (eg->conf.record)
        eg->conf.record(eg->conf.record_arg, &r);
}

static void unlink_call(struct call *c)
{
    if (c->prev)
        c->prev->next = c->next;
    else
        c->eg->calls = c->next;
    if (c->next)
        c->next->prev = c->prev;
}

/* Leaves the host, whatever the call did there. */
static void leave_host(struct call *c, enum egress_class class)
{
    struct egress *eg = c->eg;
    if (c->state == CALL_IN_LINE) {
        host_unqueue(&eg->hosts, c->host, c);
        atomic_fetch_sub(&eg->n_waiting, 1);
    } else if (c->state == CALL_RESOLVING || c->state == CALL_RUNNING) {
        host_leave(&eg->hosts, c->host, class, clock_mono_us());
        atomic_fetch_sub(&eg->n_running, 1);
    }
    c->state = CALL_NEW;
}

/* The call's own sentence (of a recorded error) beats the table's. */
static void finish(struct call *c, enum egress_class class)
{
    struct egress *eg = c->eg;
    struct egress_answer a = { .class = class, .head = buf_view(&c->head) };
    a.body = buf_view(&c->body);
    a.is_cut = c->is_cut;
    a.status = c->easy ? easy_status(c) : 0;
    if (class != EGRESS_OK)
        a.error = c->cx.err_text.n ? c->cx.err_text : str_of(egress_class_text(class));
    a.duration_ms = (clock_mono_us() - c->started_us) / 1000;
    if (class == EGRESS_RESTING)
        a.try_again_ms = host_rest_us(c->host, clock_mono_us()) / 1000 + 1;
    easy_stop(c);
    leave_host(c, c->is_check ? EGRESS_STOPPED : class); /* a check says nothing about the host */
    atomic_fetch_add(&eg->ended[class], 1);
    if (!c->is_check)
        record(c, &a);
    c->done(c->arg, &a);
    unlink_call(c);
    call_free(c);
}

/* ---- a hop: an address, its host, its line ---- */

static bool headers_are_fine(const struct call *c)
{
    size_t bytes = 0;
    for (size_t i = 0; i < c->ask.n_headers; i++) {
        const struct egress_header *h = &c->ask.headers[i];
        bytes += h->name.n + h->value.n;
        if (!egress_header_is_fine(h->name, h->value))
            return false;
    }
    return bytes <= EGRESS_HEAD_MAX;
}

/* False: the call has ended. */
static bool hop(struct call *c, struct str address)
{
    struct egress *eg = c->eg;
    if (egress_url_parse(&c->cx, address, &c->url)) {
        finish(c, c->hops ? EGRESS_REDIRECT : EGRESS_INVALID);
        return false;
    }
    if (c->ask.apart.n)
        c->url.key = str_printf(&c->cx.arena, STR_FMT "/" STR_FMT, STR_ARG(c->url.key),
                                STR_ARG(c->ask.apart));
    if (!headers_are_fine(c)) {
        finish(c, EGRESS_INVALID);
        return false;
    }
    if (!c->hops)
        c->first_key = c->url.key;
    /* What the operator's host redirects to is not the operator's word. */
    c->is_exempt = c->ask.is_operators && str_eq(c->first_key, c->url.key);
    if (!c->is_exempt && egress_judge_form(&c->cx, &eg->allow, &c->url)) {
        finish(c, EGRESS_DENIED);
        return false;
    }
    c->host = host_get(&eg->hosts, &c->url);
    host_enqueue(&eg->hosts, c->host, c);
    c->state = CALL_IN_LINE;
    atomic_fetch_add(&eg->n_waiting, 1);
    return true;
}

/* ---- addresses ---- */

static bool is_loopback(const struct ip *ip)
{
    static const struct ip six = { { [15] = 1 } };
    return (ip->b[10] == 0xFF && ip->b[11] == 0xFF && ip->b[12] == 127) ||
           !memcmp(ip, &six, sizeof six);
}

/* This machine is never asked for by way of a proxy: to the proxy it is another one. */
static void transfer(struct call *c)
{
    int64_t now = clock_mono_us();
    c->is_direct = !c->eg->proxy || is_loopback(&c->ips.v[c->at]);
    c->state = CALL_RUNNING;
    if (now >= c->deadline_us)
        finish(c, EGRESS_TIMEOUT);
    else if (fault_hit(FAULT_EGRESS) || !easy_start(c, now))
        finish(c, EGRESS_BROKEN);
}

/* Of the host's addresses those that may be called, EGRESS_TRIES_MAX at most. */
static void judge(struct call *c, const struct egress_ips *ips)
{
    const struct egress_allow *allow = &c->eg->allow;
    bool is_free = c->is_exempt || egress_allow_has_name(allow, c->url.host);
    c->ips.n = c->at = 0;
    for (size_t i = 0; i < ips->n && c->ips.n < EGRESS_TRIES_MAX; i++)
        if (is_free || !egress_addr_refused(allow, &ips->v[i]))
            c->ips.v[c->ips.n++] = ips->v[i];
    if (!c->ips.n)
        finish(c, EGRESS_DENIED);
    else if (c->is_check)
        finish(c, EGRESS_OK);
    else
        transfer(c);
}

/* The call has a place at its host. */
static void start(struct call *c, int64_t now_us)
{
    struct host *h = c->host;
    atomic_fetch_sub(&c->eg->n_waiting, 1);
    atomic_fetch_add(&c->eg->n_running, 1);
    c->state = CALL_RESOLVING;
    if (host_rest_us(h, now_us) && !c->is_check &&
        !c->is_exempt) { /* the operator's pace themselves */
        finish(c, EGRESS_RESTING);
    } else if (c->url.is_ip) {
        judge(c, &(struct egress_ips){ .v = { c->url.ip }, .n = 1 });
    } else if (now_us < h->ips_until_us) {
        judge(c, &h->ips);
    } else if (!h->is_resolving && c->eg->n_lookups >= EGRESS_LOOKUPS_MAX) {
        finish(c, EGRESS_BUSY);
    } else {
        c->next_in_line = h->asked;
        h->asked = c;
        if (!h->is_resolving) {
            egress_dns_ask(c->eg->dns, h->name, h);
            c->eg->n_lookups++;
        }
        h->is_resolving = true;
    }
}

static void resolved(struct egress *eg, struct dns_lookup *l)
{
    struct host *h = l->owner;
    struct call *c = h->asked;
    eg->n_lookups--;
    h->asked = NULL;
    h->is_resolving = false;
    h->ips = l->ips;
    h->ips_until_us = l->is_found ? clock_mono_us() + IPS_KEPT_US : 0;
    while (c) { /* none of them starts another lookup meanwhile: this list is ours */
        struct call *next = c->next_in_line;
        if (l->is_found)
            judge(c, &l->ips);
        else
            finish(c, EGRESS_DNS);
        c = next;
    }
    free(l);
}

/* A call that gives up while its host resolves. */
static void unask(struct call *c)
{
    struct call **at = &c->host->asked;
    while (*at && *at != c)
        at = &(*at)->next_in_line;
    if (*at)
        *at = c->next_in_line;
}

/* ---- the end of a transfer ---- */

static bool is_redirect(int status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/* 303 asks with GET, and 301 and 302 do after a POST (RFC 9110 §15.4); 307 and 308 keep both. */
static void method_after(struct call *c, int status)
{
    bool is_head = !strcmp(c->method, "HEAD");
    if ((status == 303 && !is_head) || (status < 303 && !strcmp(c->method, "POST"))) {
        c->method = "GET";
        c->has_body = false;
    }
}

/* Follow to `to`. From TLS to clear text never; a body goes to no other host. */
static void follow(struct call *c, struct str to, int status)
{
    struct str old_key = c->url.key;
    bool was_tls = c->url.is_tls;
    easy_stop(c);
    leave_host(c, EGRESS_OK);
    method_after(c, status);
    if (c->hops++ >= c->ask.redirects) {
        finish(c, EGRESS_REDIRECT);
        return;
    }
    if (!hop(c, to))
        return;
    bool is_elsewhere = !str_eq(old_key, c->url.key) || was_tls != c->url.is_tls;
    c->drops_secrets |= is_elsewhere;
    if ((was_tls && !c->url.is_tls) || (is_elsewhere && c->has_body))
        finish(c, EGRESS_REDIRECT);
}

static void ended(struct call *c, CURLcode rc)
{
    enum egress_class class = fault_hit(FAULT_ANSWER) ? EGRESS_BROKEN : easy_class(c, rc);
    bool may_retry = class == EGRESS_CONNECT && c->at + 1 < c->ips.n;
    if (may_retry && clock_mono_us() < c->deadline_us) {
        easy_stop(c);
        c->at++;
        transfer(c);
        return;
    }
    if (class == EGRESS_OK && c->ask.redirects && is_redirect(easy_status(c))) {
        char *to = NULL;
        curl_easy_getinfo(c->easy, CURLINFO_REDIRECT_URL, &to);
        if (to) {
            follow(c, str_dup(&c->cx.arena, str_of(to)), easy_status(c));
            return;
        }
    }
    finish(c, class);
}

static void collect(struct egress *eg)
{
    CURLMsg *m;
    int left;
    while ((m = curl_multi_info_read(eg->multi, &left))) {
        struct call *c = NULL;
        CURLcode rc = m->data.result; /* m dies with its handle */
        if (m->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)(void *)&c);
        ended(c, rc);
    }
}

/* ---- libcurl's wishes ---- */

static int want_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *known)
{
    struct egress *eg = arg;
    struct epoll_event ev = { .data.fd = fd };
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        epoll_ctl(eg->epoll, EPOLL_CTL_DEL, fd, NULL);
        return 0;
    }
    ev.events = (what & CURL_POLL_IN ? (uint32_t)EPOLLIN : 0) |
                (what & CURL_POLL_OUT ? (uint32_t)EPOLLOUT : 0);
    if (epoll_ctl(eg->epoll, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &ev))
        log_error(NULL, "egress.epoll_failed", KVI("errno", errno)); /* the call will time out */
    curl_multi_assign(eg->multi, fd, eg);
    return 0;
}

static int want_time(CURLM *multi, long ms, void *arg)
{
    struct egress *eg = arg;
    (void)multi;
    eg->curl_at_us = ms < 0 ? -1 : clock_mono_us() + ms * INT64_C(1000);
    return 0;
}

static void curl_time(struct egress *eg)
{
    int running;
    if (eg->curl_at_us < 0 || clock_mono_us() < eg->curl_at_us)
        return;
    eg->curl_at_us = -1; /* libcurl says anew */
    curl_multi_socket_action(eg->multi, CURL_SOCKET_TIMEOUT, 0, &running);
}

static void on_event(struct egress *eg, const struct epoll_event *ev)
{
    uint64_t n;
    int running, what = 0;
    if (ev->data.fd == eg->event) {
        while (read(eg->event, &n, sizeof n) > 0)
            continue;
        return;
    }
    what |= ev->events & EPOLLIN ? CURL_CSELECT_IN : 0;
    what |= ev->events & EPOLLOUT ? CURL_CSELECT_OUT : 0;
    what |= ev->events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0;
    curl_multi_socket_action(eg->multi, ev->data.fd, what, &running);
}

/* ---- the loop ---- */

static bool take_inbox(struct egress *eg)
{
    struct call *c, *next;
    bool is_stopping;
    pthread_mutex_lock(&eg->lock);
    c = eg->inbox;
    eg->inbox = NULL;
    eg->inbox_end = &eg->inbox;
    is_stopping = eg->is_stopping;
    pthread_mutex_unlock(&eg->lock);
    for (; c; c = next) {
        next = c->next;
        c->prev = NULL;
        c->next = eg->calls;
        if (eg->calls)
            eg->calls->prev = c;
        eg->calls = c;
        hop(c, c->ask.url);
    }
    return is_stopping;
}

static void take_addresses(struct egress *eg)
{
    struct dns_lookup *l = egress_dns_answers(eg->dns);
    while (l) {
        struct dns_lookup *next = l->next;
        resolved(eg, l);
        l = next;
    }
}

static void start_calls(struct egress *eg)
{
    struct call *c;
    int64_t now = clock_mono_us();
    while (atomic_load(&eg->n_running) < eg->conf.running_max && (c = hosts_next(&eg->hosts, now)))
        start(c, now);
    atomic_store(&eg->n_resting, eg->hosts.n_resting);
}

/* Deadlines of calls that libcurl does not keep, and calls that were given up. */
static void sweep(struct egress *eg)
{
    int64_t now = clock_mono_us();
    struct call *next;
    if (now < eg->sweep_at_us && !atomic_load(&eg->has_given_up))
        return;
    eg->sweep_at_us = now + SWEEP_US;
    atomic_store(&eg->has_given_up, false);
    for (struct call *c = eg->calls; c; c = next) {
        bool is_late = now >= c->deadline_us && c->state != CALL_RUNNING;
        bool is_given_up = atomic_load(&c->is_given_up);
        next = c->next;
        if (!is_late && !is_given_up)
            continue;
        if (c->state == CALL_RESOLVING)
            unask(c);
        finish(c, is_given_up                  ? EGRESS_STOPPED
                  : c->state == CALL_RESOLVING ? EGRESS_DNS
                                               : EGRESS_BUSY);
    }
}

static int timeout_ms(const struct egress *eg)
{
    int64_t ms = eg->calls ? SWEEP_US / 1000 : QUIET_MS;
    if (eg->hosts.ready && atomic_load(&eg->n_running) < eg->conf.running_max)
        ms = HELD_MS;
    if (eg->curl_at_us >= 0) {
        int64_t left = (eg->curl_at_us - clock_mono_us() + 999) / 1000;
        ms = left < 0 ? 0 : left < ms ? left : ms;
    }
    return (int)ms;
}

static void stop_calls(struct egress *eg)
{
    while (eg->calls) {
        struct call *c = eg->calls;
        if (c->state == CALL_RESOLVING)
            unask(c);
        finish(c, EGRESS_STOPPED);
    }
}

void *egress_main(void *arg)
{
    struct egress *eg = arg;
    struct epoll_event ev = { .events = EPOLLIN, .data.fd = eg->event }, events[EVENTS];
    BUG_IF(epoll_ctl(eg->epoll, EPOLL_CTL_ADD, eg->event, &ev));
    curl_multi_setopt(eg->multi, CURLMOPT_SOCKETFUNCTION, want_socket);
    curl_multi_setopt(eg->multi, CURLMOPT_SOCKETDATA, eg);
    curl_multi_setopt(eg->multi, CURLMOPT_TIMERFUNCTION, want_time);
    curl_multi_setopt(eg->multi, CURLMOPT_TIMERDATA, eg);
    while (!take_inbox(eg)) {
        take_addresses(eg);
        sweep(eg);
        start_calls(eg);
        int n = epoll_wait(eg->epoll, events, EVENTS, timeout_ms(eg));
        for (int i = 0; i < n; i++)
            on_event(eg, &events[i]);
        curl_time(eg);
        collect(eg);
    }
    stop_calls(eg);
    return NULL;
}
