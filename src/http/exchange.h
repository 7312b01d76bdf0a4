/* One request and its answer inside the server. Private to http/.
 *
 * Owner: the event thread of its connection, except between suspend and resume, when the store's thread has it. */
#ifndef TESSERA_HTTP_EXCHANGE_H
#define TESSERA_HTTP_EXCHANGE_H

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

#include "../core/idem.h"
#include "../core/people/identity.h"
#include "accept.h"
#include "server.h"

#define HEADER_VALUE_MAX 4096
#define RAW_BYTES_MAX                                                                              \
    (INT64_C(256) << 20)           /* of all bodies of webhooks that are in memory at once */
#define RAW_HEADERS_MAX 100        /* of a webhook; more are not looked at */
#define SLOWEST_BYTES_S (32 << 10) /* uploads and downloads that are slower may be cut off */

struct conn { /* one TCP connection; conn.c */
    struct conn *prev, *next;
    int fd;
    bool is_trusted_proxy;
    struct ip ip;
    _Atomic int64_t deadline_us; /* 0 = none; passing it closes the connection */
};

struct
    headers_in { /* the request headers that we read, views into libmicrohttpd's memory (valid for the exchange) */
    struct str authorization, content_type, content_length, idempotency_key, if_match,
        if_none_match;
    struct str request_id, user_agent, forwarded_for, origin, request_method, accept_encoding,
        expect, cookie, csrf_token, team;
    int n_host, n_length, n_encoding;
    bool is_chunked;
};

enum exchange_state { X_NEW, X_IDENTIFIED, X_BODY, X_WAITING, X_READY, X_SENT };

struct exchange {
    struct ctx cx;
    struct server *srv;
    struct MHD_Connection *mhd;
    struct conn *conn;
    enum exchange_state state;
    enum err_code err;  /* what the answer will say */
    bool is_discarding; /* the answer is known; read the rest of the body and forget it */
    bool must_close;
    bool is_counted; /* a usage row is wanted */
    bool is_stored;  /* the usage row was committed with the write */
    bool has_idem, has_claim;
    bool is_met;       /* route->before has run */
    int64_t raw_bytes; /* of its body that count in srv->raw_bytes */
    bool is_http10;
    int64_t start_us;
    struct headers_in in;
    struct ip ip;     /* of the client, behind trusted proxies */
    struct str allow; /* for 405 and OPTIONS */
    struct req rq;
    struct reply rp;
    struct buf body;
    struct spool *upload;    /* ROUTE_UPLOAD: the body so far */
    struct identity_ask ask; /* person.c */
    bool names_slug;         /* a key came with the slug of a team: is it its own? */
    struct jwt_claims claims;
    struct limit_state limit;
    struct idem idem;
    struct caller idem_who; /* whose the kept answer is */
    uint64_t claim;
    struct usage_event event;
    struct unit unit;
};

struct route_stat {               /* for /metrics, relaxed atomics */
    _Atomic uint64_t by_class[6]; /* 1xx…5xx by first digit */
    _Atomic uint64_t le[16];
    _Atomic uint64_t sum_us;
};

struct tls;
struct slow;
struct server {
    const struct conf *conf;
    struct app *app;
    struct MHD_Daemon *mhd;
    struct tls *tls;
    struct slow *slow;
    struct cidrs trusted;
    struct arena arena; /* what lives as long as the server */
    struct str address;
    int listen_fd; /* until the acceptor has it */
    struct acceptor acceptor;
    atomic_bool is_stopping;
    atomic_bool is_closing; /* nothing is suspended any more */
    _Atomic int64_t in_flight;
    _Atomic int64_t suspended; /* of those: with the store */
    _Atomic int64_t connections;
    _Atomic int64_t raw_bytes; /* of bodies of webhooks in memory now */
    _Atomic uint64_t refused_timeouts;
    struct route_stat *stats; /* by route index, one more for "(unknown)" */
};

/* exchange.c: libmicrohttpd's callbacks */
void *exchange_begin(void *cls, const char *uri, struct MHD_Connection *mhd);
enum MHD_Result exchange_step(void *cls, struct MHD_Connection *mhd, const char *url,
                              const char *method, const char *version, const char *data,
                              size_t *size, void **state);
void exchange_end(void *cls, struct MHD_Connection *mhd, void **state,
                  enum MHD_RequestTerminationCode why);

/* To a thread of the store or the slow pool, and back. false: the server is closing, and the
 * connection must end without an answer. After a resume x may be gone. */
bool exchange_suspend(struct exchange *x);
void exchange_resume(struct exchange *x, enum exchange_state state);
/* A suspended exchange on a thread of the slow pool: runs the handler and resumes. */
void exchange_slow_run(struct exchange *x);

/* slow.c */
enum err_code slow_start(struct ctx *cx, int64_t threads, struct slow **out);
bool slow_submit(struct slow *p, struct exchange *x); /* false: the queue is full */
void slow_stop(struct slow *p); /* runs what is queued, ends the threads; NULL is fine */

/* conn.c */
enum err_code conns_start(struct ctx *cx, struct server *s); /* the deadline thread */
void conns_stop(struct server *s);
void conn_notify(void *cls, struct MHD_Connection *mhd, void **slot,
                 enum MHD_ConnectionNotificationCode what);
void conn_deadline(struct conn *c, int64_t in_s); /* 0 = none */

/* guard.c: everything before the handler, no I/O. Each returns what is wrong (recorded in x->cx). */
void guard_find(struct exchange *x); /* looks the route up; guard_route judges what was found */
enum err_code guard_headers(
    struct exchange *x); /* reads the headers; 400s of message framing set must_close */
enum err_code guard_route(struct exchange *x); /* route, path parameters; 404, 405 */
enum err_code guard_auth(struct exchange *x);  /* token, scope, allow-lists, limit */
enum err_code guard_input(struct exchange *x); /* query, body, Idempotency-Key */

/* person.c: who asks, when it is a signed-in user and not a key. */
bool person_is_meant(struct exchange *x); /* a session cookie or a JWT came with the headers */
enum err_code person_prove(struct exchange *x); /* signature, CSRF token; no I/O */
/* Reads who it is, or whether a key's team is named; x->err says. *is_known = false: the request is
 * suspended and comes back as X_IDENTIFIED. false: as exchange_suspend. */
bool person_resolve(struct exchange *x, bool *is_known);
void person_known(struct exchange *x); /* the role check; x->err says */

/* router.c */
void router_build(struct arena *a);
const struct route *router_find(struct str method, struct str path,
                                struct str params[ROUTE_PARAMS_MAX], struct str *allow,
                                struct arena *a);
int router_index(const struct route *r); /* NULL = the last index */
int router_count(void);
const struct route *router_at(int index);

/* reply.c */
enum MHD_Result reply_send(struct exchange *x); /* renders errors, adds the headers, queues */
int reply_status(const struct exchange *x,
                 enum err_code e); /* the status that e will be answered with */
const char *reply_code(const struct exchange *x, enum err_code e);
/* The headers of a route that ages (RFC 9745, RFC 8594): how many of `out` were filled. Values live in a. */
#define AGEING_HEADERS 3
int reply_ageing(const struct route *r, struct arena *a, struct reply_header out[AGEING_HEADERS]);

/* cors.c: adds the CORS headers to the response; true when the request is a preflight (answered 204). */
bool cors_is_preflight(const struct exchange *x);
void cors_headers(const struct exchange *x, struct MHD_Response *r);

/* gzip.c: packs or unpacks the answer's body as the client asked. */
void gzip_apply(struct exchange *x);
bool gzip_varies(const struct exchange *x); /* the answer depends on Accept-Encoding */

/* metrics.c */
void metrics_note(struct server *s, const struct route *r, int status, int64_t took_us);
void metrics_print(struct buf *out); /* the server's part of /metrics */
void metrics_bind(struct server *s);

/* tls.c */
enum err_code tls_open(struct ctx *cx, struct str cert, struct str key, struct tls **out);
enum err_code tls_reload(struct ctx *cx, struct tls *t);
void tls_close(struct tls *t);
void tls_options(struct tls *t, struct MHD_OptionItem *items); /* fills one item */

#endif
