/* Routes and what a handler sees: the request, the reply, the application.
 *
 * A resource's file ends with its table of routes; routes.c lists the tables. A row says everything
 * about a call: who may (scope), what goes in and out (field tables), how it runs, how it is
 * documented. The server, the guard, OpenAPI and the tests read the same rows. */
#ifndef TESSERA_API_ROUTE_H
#define TESSERA_API_ROUTE_H

#include "../base/net.h"
#include "../base/spool.h"
#include "../connect/hook_ask.h"
#include "../core/caller.h"
#include "../core/cursor.h"
#include "../core/token_dir.h"
#include "../core/usage.h"
#include "../store/store.h"

#define ROUTE_PARAMS_MAX 4
#define REPLY_HEADERS_MAX 10
#define BODY_MAX ((size_t)1 << 20)

struct jwt;      /* core/people/jwt.h: the outside issuer's keys, or NULL */
struct throttle; /* core/people/throttle.h: failed sign-ins */
struct mailer;   /* core/people/mail.h: mails on their way, or NULL */
struct geo;      /* core/geo.h: countries of addresses, or NULL */
struct blobs;    /* core/crm/blob.h: the store of attachments */
struct exports;  /* core/report/export.h: files made in the background */
struct jobs;     /* core/job/job.h: work in the background */
/* base/egress.h: the only way out over HTTP; core/egress_log.h: its log; NULL in some tests. */
struct egress;
struct egress_log;
struct hook_desk; /* connect/in/receive.h: where webhooks are taken */
struct hook_work; /* connect/in/process.h: what is done with them */

struct app { /* what lives as long as the server; read-only after start */
    struct store *store;
    struct token_dir *tokens;
    struct usage *usage;
    struct cursor_key cursor_key;
    struct jwt *jwt;
    struct throttle *throttle;
    struct mailer *mailer;
    struct geo *geo;
    struct blobs *blobs;
    struct exports *exports;
    struct jobs *jobs;
    struct egress *egress;
    struct egress_log *egress_log;
    struct webhooks *webhooks;
    const struct hook_desk *hook_desk;
    const struct hook_work *hook_work;
    const struct conf *conf;          /* settings: api/settings.h */
    void (*metrics)(struct buf *out); /* the server's own part of /metrics */
    struct str openapi;               /* /openapi.json, packed with gzip */
    int64_t started_ms;
};

struct req {
    const struct app *app;
    const struct route *route;
    struct str method, path; /* as sent, path without query */
    struct str query_text;   /* as sent, without the question mark; STR_NONE when there is none */
    struct str params[ROUTE_PARAMS_MAX]; /* path parameters, decoded, in order */
    struct caller caller;
    const void *query;                  /* route->query's struct */
    const void *body;                   /* route->body's struct */
    json_t *json;                       /* the whole body when there is one */
    struct str if_match, if_none_match; /* raw header values or STR_NONE */
    struct str content_type;            /* raw header value or STR_NONE */
    struct str cookie;                  /* the whole Cookie header or STR_NONE */
    bool is_secure;                     /* TLS here, or public_url is https: cookies are Secure */
    struct spool *upload;               /* ROUTE_UPLOAD: the body, whole, read from its start */
    struct str raw;                     /* ROUTE_RAW: the body as it came */
    const struct hook_header *headers;  /* ROUTE_RAW: all of them, in their order, n_headers */
    size_t n_headers;
    void *found;      /* what route->before has found, for the handler */
    bool is_answered; /* route->before has filled the reply: there is nothing to write */
};

struct reply_header {
    const char *name; /* static */
    struct str value;
};
struct reply {
    int status;               /* preset to route->status */
    const char *content_type; /* preset to application/json */
    const char *encoding;     /* Content-Encoding of a ready-made body, or NULL */
    struct buf body;
    struct str file;     /* instead of body: static bytes that outlive the process's requests */
    struct spool *spool; /* instead of body: streamed from its file, closed when it is sent */
    struct reply_header headers[REPLY_HEADERS_MAX];
    int n_headers;
};
void reply_header(struct reply *r, const char *name, struct str value); /* value must live in cx */

enum route_run {
    RUN_NOW,   /* on the event thread, no database (db is NULL) */
    RUN_READ,  /* a read of the store */
    RUN_WRITE, /* a unit of the group commit */
    RUN_SLOW,  /* a thread of the slow pool: may block; db is NULL, units by store_read, store_tx
                  (each calls caller_scope first); its answer is not kept for Idempotency-Key */
};
enum route_flag {
    ROUTE_V0 = 1, /* the document's error form and leniency (unknown fields, any content type) */
    ROUTE_PUBLIC = 2,       /* no token, no usage row, not in the rate limit */
    ROUTE_ARRAY_BODY = 4,   /* req->json is used directly; no body table */
    ROUTE_IF_MATCH = 8,     /* documents If-Match / 412 */
    ROUTE_ETAG = 16,        /* documents ETag / 304 */
    ROUTE_NOT_OWNER = 32,   /* v0: documents 401 for tickets of another token */
    ROUTE_USER = 64,        /* signed-in users only: an API key is 403 user_required */
    ROUTE_TEAMLESS = 128,   /* acts on the user, not on a team: Tessera-Team is not needed */
    ROUTE_LIST = 256,       /* answers {"data":[reply…],"next_cursor"}: api/page.h */
    ROUTE_UPLOAD = 512,     /* the body is any bytes, streamed to req->upload; RUN_SLOW */
    ROUTE_NO_IDEM = 1024,   /* POST whose answer is not kept (it holds a secret) */
    ROUTE_CONFLICT = 2048,  /* documents 409 already_exists, conflict, not_configured */
    ROUTE_THROTTLED = 4096, /* public, documents 429 */
    ROUTE_SIGN_IN = 8192,   /* documents 401 invalid_credentials, totp_required */
    ROUTE_RAW = 16384,      /* the body is any bytes up to hook_body_max_kb, to rq->raw; documents
                               401 invalid_signature */
};

struct route {
    const char *method;
    const char *path; /* "/v1/tickets/{id}" */
    uint64_t scope;   /* mask needed; 0 = any valid token */
    unsigned flags;
    enum route_run run;
    int status; /* of success */
    const struct rec *query;
    const struct rec *body;
    unsigned body_mode;      /* enum rec_mode */
    const struct rec *reply; /* NULL: no body, or reply_schema */
    const char *wrap;        /* member that holds the reply object ("ticket"), NULL = bare */
    const char *media; /* content types of the answer, comma separated; NULL = application/json */
    const char *reply_schema; /* JSON Schema text when a field table cannot say it; may use $ref of
                                 reply's name */
    enum err_code (*handler)(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp);
    /* RUN_WRITE only, may be NULL: a read before the write, in a unit of its own without a scope, so
     * that what is refused never queues for the writer. Sets rq->found or rq->is_answered, and
     * rq->caller.team_id for the scope of the write. */
    enum err_code (*before)(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp);
    const int *also;         /* other statuses of success, ends with 0; NULL = none */
    const char *body_schema; /* ROUTE_ARRAY_BODY: JSON Schema text of the body */
    const char *id;          /* operationId */
    const char *tag;
    const char *summary;
    const char *doc;
    int64_t deprecated_s, sunset_s; /* unix seconds; 0 = not */
    const char *successor;          /* link of the replacement, with deprecated_s */
};

/* Is its answer kept for Idempotency-Key? POSTs that write in one unit and hold no secret. */
static inline bool route_keeps_answer(const struct route *r)
{
    return !__builtin_strcmp(r->method, "POST") && r->run != RUN_SLOW &&
           !(r->flags & (ROUTE_NO_IDEM | ROUTE_PUBLIC));
}

struct route_table {
    const struct route *rows;
    size_t n;
};
extern const struct route_table *const route_tables[]; /* NULL ends it; routes.c */

#define V0_MOUNT "/functions/v1/integration-tickets"

#endif
