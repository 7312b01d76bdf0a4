/* Egress, among its own files: egress.c (asking, opening), egress_run.c (the thread: what becomes of
 * a call), egress_easy.c (one transfer: libcurl's options and callbacks), egress_host.c, egress_dns.c.
 *
 * A call belongs to whoever asks until it is in the inbox, from then on to the egress thread, which
 * frees it. Only `is_given_up` is written by others later. */
#ifndef TESSERA_BASE_EGRESS_INNER_H
#define TESSERA_BASE_EGRESS_INNER_H

#include <curl/curl.h>
#include <pthread.h>

#include "egress.h"
#include "egress_host.h"

#define EGRESS_TRIES_MAX 3 /* addresses of a name that are tried */
/* Lookups that wait or hang. Their hosts stay in the table though nobody calls them any more, so it
 * has that many places more than there are calls. */
#define EGRESS_LOOKUPS_MAX 1024

enum call_state {
    CALL_NEW,       /* not in line yet */
    CALL_IN_LINE,   /* of its host */
    CALL_RESOLVING, /* has a place, waits for the addresses */
    CALL_RUNNING,   /* a transfer of libcurl */
};

struct call {
    struct call *next, *prev; /* all calls of the thread; next: also the inbox */
    struct call *next_in_line;
    struct ctx cx; /* everything below lives in it */
    enum call_state state;
    struct egress *eg;
    struct egress_ask ask; /* own copy */
    void (*done)(void *arg, const struct egress_answer *a);
    void *arg;
    bool is_check; /* ends when it is judged */
    atomic_bool is_given_up;
    int64_t started_us, deadline_us;

    /* of this hop */
    const char *method;
    bool has_body, drops_secrets;
    bool is_exempt;       /* the operator's own address: the deny list does not apply */
    struct str first_key; /* of the first hop's host */
    int hops;
    struct egress_url url;
    struct host *host;
    struct egress_ips ips; /* judged */
    size_t at;             /* of ips: where to connect to */
    bool is_direct;        /* not through the proxy */

    /* of this transfer */
    CURL *easy;
    struct curl_slist *lines, *to;
    struct buf head, body;
    size_t head_seen;
    int64_t body_at, filed; /* bytes of body_file read, of answer_file written */
    bool is_head_over, is_body_over, is_cut, is_wrong_address, is_file_bad;
    bool is_sent;      /* or about to be: there is a connection */
    int64_t sent, got; /* bytes of bodies, all hops */
};

struct egress {
    struct arena arena; /* settings */
    struct egress_conf conf;
    struct egress_allow allow;
    const char *proxy, *ca_file, *agent; /* NULL or text */
    CURLM *multi;
    pthread_t thread;
    int epoll, event; /* event: eventfd that wakes the thread */

    pthread_mutex_t lock;
    struct call *inbox, **inbox_end; /* lock */
    bool is_stopping;                /* lock */
    atomic_llong n_calls;
    atomic_llong n_running, n_waiting, n_resting;
    atomic_llong ended[EGRESS_CLASSES];
    atomic_bool has_given_up;

    /* the thread's own */
    struct call *calls;
    struct hosts hosts;
    struct egress_dns *dns;
    int64_t n_lookups;
    int64_t curl_at_us; /* libcurl wants to be called then; -1 = not */
    int64_t sweep_at_us;
};

/* egress.c */
bool egress_class_is_fault(enum egress_class c);
void egress_wake(void *arg); /* any thread; arg is the egress */
/* INVALID_FIELD when the port or an address written in the URL is refused. */
enum err_code egress_judge_form(struct ctx *cx, const struct egress_allow *allow,
                                const struct egress_url *url);
void call_free(struct call *c);

/* egress_run.c */
void *egress_main(void *arg); /* arg is the egress */

/* egress_easy.c */
bool easy_start(struct call *c, int64_t now_us); /* false: libcurl would not */
void easy_stop(struct call *c); /* takes the transfer out of libcurl; again is fine */
enum egress_class easy_class(const struct call *c, CURLcode rc);
int easy_status(const struct call *c);

#endif
