/* How each kind of sender proves that a webhook is its own: one table.
 *
 * A row says which headers there are, what is signed and how it is written, how old it may be, where
 * the type and the key of the event stand, and how the sender makes sure of the address (its
 * handshake). The verifier (hook_verify.h), the documents and the tests read these rows. All kinds
 * try every live secret, so that any of them can be rotated.
 *
 * To add a kind: a row in hook_scheme.c, vectors in tests/data/hook_vectors.json, a line in
 * docs/webhooks-verify.md. */
#ifndef TESSERA_CONNECT_HOOK_SCHEME_H
#define TESSERA_CONNECT_HOOK_SCHEME_H

#include "hook_ask.h"
#include "hook_mac.h"

#define HOOK_NAMES_MAX 4 /* other names of the same header */
#define HOOK_TYPES_MAX 3
#define HOOK_KEYS_MAX 4
#define HOOK_PIECES_MAX 12 /* of a signed text: its marks and what is between them */

enum hook_proof {
    HOOK_PROOF_MAC,      /* a HMAC in a header */
    HOOK_PROOF_STANDARD, /* Standard Webhooks: a list of versioned signatures */
    HOOK_PROOF_STATE,    /* Microsoft Graph: each item of the body repeats the secret */
    HOOK_PROOF_BASIC,    /* Authorization: Basic, the secret is user:password */
    HOOK_PROOF_BEARER,   /* Authorization: Bearer, the secret is the token */
};

enum hook_form { /* how the signature is written */
                 HOOK_FORM_HEX,
                 HOOK_FORM_BASE64,
                 HOOK_FORM_ANY, /* either of them, hex also in upper case */
};

enum hook_trust {
    HOOK_SHAKE_OPEN,   /* answered always: it tells nothing and changes nothing */
    HOOK_SHAKE_FIRST,  /* only while one is awaited: its value becomes the secret */
    HOOK_SHAKE_SIGNED, /* only when its signature holds */
};

enum hook_echo {
    HOOK_ECHO_NOTHING,
    HOOK_ECHO_TEXT,   /* the value as text/plain */
    HOOK_ECHO_HEADER, /* the value in the header it came in */
};

struct hook_shake {   /* how a sender makes sure that the address wants its webhooks */
    const char *name; /* NULL: there is none */
    struct hook_pick value;
    const char *when_path, *when_is; /* only if the JSON of the body says so; may be NULL */
    enum hook_trust trust;
    enum hook_echo echo;
};

struct hook_time {
    const char *header[HOOK_NAMES_MAX]; /* seconds since 1970; by the name of the signature */
    const char *path;                   /* or in the JSON of the body, milliseconds */
    int64_t window_ms;                  /* how far it may be from now; 0: there is no time */
};

struct hook_scheme {
    const char *kind;   /* "github" */
    const char *title;  /* "GitHub" */
    const char *secret; /* what the secret is, to end "check that the secret is …" */
    enum hook_proof proof;
    const char *signature[HOOK_NAMES_MAX]; /* the header and its other names; the first is used */
    const char *weak;                      /* a header that proves less and is not enough */
    const char *prefix;                    /* before the signature; NULL for none */
    bool may_lack_prefix;
    enum hook_hash hash;
    enum hook_form form;
    bool is_secret_base64; /* the key is what the secret decodes to */
    const char *text;      /* what is signed: {body} {url} {time} {id} and what is between them */
    struct hook_time time;
    const char *id[HOOK_NAMES_MAX]; /* header of the id, by the name of the signature */
    const char *form_json;          /* field of a form that holds the JSON */
    struct hook_pick type[HOOK_TYPES_MAX], key[HOOK_KEYS_MAX]; /* the first that is there counts */
    struct hook_shake shake;
    int ack_status;                   /* of the answer to a good request */
    const struct hook_scheme *beside; /* used when its signature header begins with its prefix */
};

/* The row of a kind, NULL when there is none. Lives for ever. Any thread. */
const struct hook_scheme *hook_scheme_find(struct str kind);
/* All rows in the order of the documents; *n counts them. */
const struct hook_scheme *hook_schemes(size_t *n);

#endif
