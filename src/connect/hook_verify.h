/* The judgement of a webhook that came: is it from who it says, what happened, what is answered.
 *
 * Pure: the caller brings the raw bytes, the secrets and the time, and does what the verdict says:
 * store the event under its key, answer a handshake, keep a secret that a handshake brought. Nothing
 * of an event is believed before its signature holds, the JSON of the body included. Any thread. */
#ifndef TESSERA_CONNECT_HOOK_VERIFY_H
#define TESSERA_CONNECT_HOOK_VERIFY_H

#include "hook_proof.h"
#include "hook_scheme.h"

struct hook_reply {
    int status;               /* of a good request; 0 when it is refused */
    const char *content_type; /* NULL without a body */
    struct str body;
    const char *header_name; /* one more header; NULL for none */
    struct str header_value; /* visible ASCII */
};

struct hook_verdict {
    bool is_valid;
    enum hook_fault fault;
    struct str reason;     /* why not, a sentence without secrets; STR_NONE when valid */
    struct str event_type; /* STR_NONE when not valid or not said */
    /* Of the event, the same when it is delivered again: for the ledger of what was seen. STR_NONE
     * when the sender gives none: then every delivery counts as an event of its own. */
    struct str event_key;
    const char *handshake; /* its name when this was one and no event; else NULL */
    struct str new_secret; /* what a handshake brought, to be kept; else STR_NONE */
    size_t which;          /* the secret that held, counted from 0 */
    struct hook_reply reply;
};

/* Judge a request. Never fails: what cannot be read is refused. The verdict lives in cx (and
 * in the constant tables); cx has no error before and none after. */
struct hook_verdict hook_verify(struct ctx *cx, const struct hook_ask *ask);

#endif
