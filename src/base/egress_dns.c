/* Resolver threads: see egress_dns.h.
 *
 * Two lists under one lock: lookups that wait, lookups that are answered. The object is freed by
 * whoever leaves last, egress_dns_close or a thread whose lookup hung. */
#include "egress_dns.h"

#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"

#define CLOSE_WAIT_US 500000 /* for lookups that are about to end */
#define STACK_BYTES ((size_t)256 << 10)

struct egress_dns {
    egress_resolve_fn *fn;
    void *arg;
    void (*wake)(void *);
    void *wake_arg;
    pthread_mutex_t lock;
    pthread_cond_t changed;                /* lock */
    struct dns_lookup *waiting, **last;    /* lock */
    struct dns_lookup *answered, **newest; /* lock */
    int n_threads, n_idle, n_waiting;      /* lock */
    bool is_stopping, is_left;             /* lock */
};

bool egress_resolve(void *arg, const char *host, struct egress_ips *out)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG }, *list = NULL;
    (void)arg;
    out->n = 0;
    if (getaddrinfo(host, NULL, &hints, &list))
        return false;
    for (struct addrinfo *i = list; i && out->n < EGRESS_IPS_MAX; i = i->ai_next) {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)(void *)i->ai_addr;
        if (i->ai_family == AF_INET6 && in6->sin6_scope_id)
            continue; /* an address of one link only */
        out->v[out->n++] = ip_of_sockaddr(i->ai_addr);
    }
    freeaddrinfo(list);
    return out->n > 0;
}

struct egress_dns *egress_dns_open(egress_resolve_fn *fn, void *arg, void (*wake)(void *),
                                   void *wake_arg)
{
    struct egress_dns *d = calloc(1, sizeof *d);
    pthread_condattr_t attr;
    BUG_IF(!d);
    d->fn = fn;
    d->arg = arg;
    d->wake = wake;
    d->wake_arg = wake_arg;
    d->last = &d->waiting;
    d->newest = &d->answered;
    BUG_IF(pthread_mutex_init(&d->lock, NULL) || pthread_condattr_init(&attr) ||
           pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) ||
           pthread_cond_init(&d->changed, &attr));
    pthread_condattr_destroy(&attr);
    return d;
}

static void drop_list(struct dns_lookup *l)
{
    while (l) {
        struct dns_lookup *next = l->next;
        free(l);
        l = next;
    }
}

static void dns_free(struct egress_dns *d)
{
    drop_list(d->waiting);
    drop_list(d->answered);
    pthread_cond_destroy(&d->changed);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

/* With the lock held: the next lookup, or NULL at the end. */
static struct dns_lookup *take(struct egress_dns *d)
{
    struct dns_lookup *l;
    d->n_idle++;
    while (!d->waiting && !d->is_stopping)
        pthread_cond_wait(&d->changed, &d->lock);
    d->n_idle--;
    if (d->is_stopping)
        return NULL;
    l = d->waiting;
    d->waiting = l->next;
    d->n_waiting--;
    if (!d->waiting)
        d->last = &d->waiting;
    return l;
}

static void *resolver_main(void *arg)
{
    struct egress_dns *d = arg;
    struct dns_lookup *l;
    bool is_last;
    pthread_mutex_lock(&d->lock);
    while ((l = take(d))) {
        pthread_mutex_unlock(&d->lock);
        l->is_found = d->fn(d->arg, l->host, &l->ips) && l->ips.n;
        l->next = NULL;
        pthread_mutex_lock(&d->lock);
        *d->newest = l;
        d->newest = &l->next;
        if (!d->is_stopping)
            d->wake(d->wake_arg);
    }
    is_last = --d->n_threads == 0 && d->is_left;
    pthread_cond_broadcast(&d->changed);
    pthread_mutex_unlock(&d->lock);
    if (is_last)
        dns_free(d);
    return NULL;
}

/* With the lock held. Signals are for other threads. */
static void thread_add(struct egress_dns *d)
{
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, old;
    sigfillset(&all);
    BUG_IF(pthread_attr_init(&attr));
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    if (!pthread_create(&thread, &attr, resolver_main, d))
        d->n_threads++;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
}

void egress_dns_ask(struct egress_dns *d, struct str host, void *owner)
{
    struct dns_lookup *l = calloc(1, sizeof *l);
    BUG_IF(!l || host.n >= sizeof l->host);
    memcpy(l->host, host.p, host.n);
    l->owner = owner;
    pthread_mutex_lock(&d->lock);
    *d->last = l;
    d->last = &l->next;
    d->n_waiting++;
    if (d->n_waiting > d->n_idle && d->n_threads < EGRESS_DNS_THREADS)
        thread_add(d);
    pthread_cond_signal(&d->changed);
    pthread_mutex_unlock(&d->lock);
}

struct dns_lookup *egress_dns_answers(struct egress_dns *d)
{
    struct dns_lookup *l;
    pthread_mutex_lock(&d->lock);
    l = d->answered;
    d->answered = NULL;
    d->newest = &d->answered;
    pthread_mutex_unlock(&d->lock);
    return l;
}

void egress_dns_close(struct egress_dns *d)
{
    int64_t end = clock_mono_us() + CLOSE_WAIT_US;
    struct timespec at = { .tv_sec = (time_t)(end / 1000000),
                           .tv_nsec = (long)(end % 1000000) * 1000 };
    bool is_last;
    pthread_mutex_lock(&d->lock);
    d->is_stopping = true;
    pthread_cond_broadcast(&d->changed);
    while (d->n_threads && pthread_cond_timedwait(&d->changed, &d->lock, &at) == 0)
        continue;
    d->is_left = true;
    is_last = d->n_threads == 0;
    pthread_mutex_unlock(&d->lock);
    if (is_last)
        dns_free(d);
}
