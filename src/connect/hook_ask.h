/* A request that came to a webhook, as it came, and how single values are read out of it.
 *
 * The body is the raw bytes: whoever parses and prints it anew breaks its signature. Where a value
 * stands is data (struct hook_pick), so that a provider is a row of a table and no code. */
#ifndef TESSERA_CONNECT_HOOK_ASK_H
#define TESSERA_CONNECT_HOOK_ASK_H

#include "../base/ctx.h"
#include "../base/json.h"

#define HOOK_BODY_MAX ((size_t)25 << 20) /* GitHub sends up to 25 MB */
#define HOOK_SECRETS_MAX 8               /* live at the same time, while they are rotated */
#define HOOK_TYPE_MAX 100                /* bytes of an event type */
#define HOOK_KEY_MAX 200                 /* bytes of an event key; longer ones are hashed */

struct hook_scheme;

struct hook_header {
    struct str name, value;
};

struct hook_ask {
    const struct hook_scheme *scheme;
    const struct str *secrets; /* each one is tried; at most HOOK_SECRETS_MAX */
    size_t n_secrets;
    const struct hook_header *headers; /* in the order they came; names in any case */
    size_t n_headers;
    struct str method; /* STR_NONE means POST */
    struct str query;  /* of this request, raw, without '?'; may be STR_NONE */
    struct str url;    /* the callback URL, byte for byte as it was given to the provider */
    struct str body;
    int64_t now_ms;
    bool is_awaiting; /* a handshake that brings a secret is expected now */
    bool wants_hints; /* a signature that fails is looked into: some twenty times the work */
};

enum hook_from {
    HOOK_FROM_NOTHING,
    HOOK_FROM_HEADER, /* name */
    HOOK_FROM_JSON,   /* name is a path: "event.type"; a number is an index */
    HOOK_FROM_FORM,   /* name is a field of a body in x-www-form-urlencoded */
    HOOK_FROM_QUERY,  /* name is a parameter of the query */
    HOOK_FROM_METHOD, /* name is the method; gives it back when the request has it */
    HOOK_FROM_BODY,   /* "sha256:" and the hash of the body */
};

struct hook_pick { /* where a value stands */
    enum hook_from from;
    const char *name;
    const char *and_name;  /* JSON: a second path, joined to the first by '.'; may be NULL */
    const char *items;     /* JSON: the paths are those of each item of this array; may be NULL */
    const char *when_none; /* JSON: the value for an array without items; may be NULL */
};

struct hook_reader { /* reads the JSON of a body once and only when a pick asks for it */
    struct ctx *cx;
    const struct hook_ask *ask;
    const char *form_json; /* a form's field that holds the JSON; may be NULL */
    bool is_read;
    json_t *json;       /* NULL when the body is not JSON; lives in cx */
    struct str problem; /* why not */
};

/* How many headers have that name; *out is the value of the first, trimmed (STR_NONE without one).
 * A view into the request. */
size_t hook_header_find(const struct hook_ask *ask, const char *name, struct str *out);
/* The body as JSON, NULL when it is not (r->problem says why). */
json_t *hook_reader_json(struct hook_reader *r);
/* The value at a path of a JSON value, NULL when there is none. */
json_t *hook_path(json_t *from, const char *path);
/* The value that a pick points to, STR_NONE when it is absent, empty, no text, or has control
 * characters. Array items that differ give "mixed". Lives in r->cx. */
struct str hook_pick_value(struct hook_reader *r, const struct hook_pick *pick);
/* The first of n picks that gives a value. */
struct str hook_pick_first(struct hook_reader *r, const struct hook_pick *picks, size_t n);

#endif
