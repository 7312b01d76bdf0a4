/* Names to addresses on threads of their own, since getaddrinfo blocks and cannot be given up.
 *
 * Threads are started as they are needed, at most EGRESS_DNS_THREADS; a name server that hangs
 * holds a thread for as long as the system's resolver waits (resolv.conf: timeout, attempts). Who
 * asks does not wait: answers are fetched after `wake` was called. */
#ifndef TESSERA_BASE_EGRESS_DNS_H
#define TESSERA_BASE_EGRESS_DNS_H

#include "net.h"

#define EGRESS_IPS_MAX 8 /* addresses of a name that are looked at */
#define EGRESS_DNS_THREADS 16
#define EGRESS_DNS_HOST 256

struct egress_ips {
    struct ip v[EGRESS_IPS_MAX];
    size_t n;
};
/* Blocks. False: the name has no address. Tests install their own. */
typedef bool egress_resolve_fn(void *arg, const char *host, struct egress_ips *out);
bool egress_resolve(void *arg, const char *host, struct egress_ips *out); /* getaddrinfo */

struct dns_lookup {
    char host[EGRESS_DNS_HOST];
    void *owner; /* the asker's, unread here */
    struct egress_ips ips;
    bool is_found;
    struct dns_lookup *next;
};

struct egress_dns;
/* wake(wake_arg) is called on a resolver thread, under a lock: it must not block. */
struct egress_dns *egress_dns_open(egress_resolve_fn *fn, void *arg, void (*wake)(void *),
                                   void *wake_arg);
/* One thread: asks, fetches, frees. */
void egress_dns_ask(struct egress_dns *d, struct str host, void *owner);
/* All answers since the last call, oldest first; the caller frees each. */
struct dns_lookup *egress_dns_answers(struct egress_dns *d);
/* Wakes nobody any more; waits a moment for the threads. What still hangs then ends by itself. */
void egress_dns_close(struct egress_dns *d);

#endif
