/* Whether a request holds what proves its sender: the signature (or the shared secret itself) and the
 * age, by the row of its kind. Pure: no clock, no I/O. Any thread. */
#ifndef TESSERA_CONNECT_HOOK_PROOF_H
#define TESSERA_CONNECT_HOOK_PROOF_H

#include "hook_ask.h"

enum hook_fault {                  /* why a request is refused */
                  HOOK_FINE,       /* it is not */
                  HOOK_NO_SECRET,  /* there is nothing to check it with */
                  HOOK_MISSING,    /* what proves the sender, or what belongs to it, is not there */
                  HOOK_MALFORMED,  /* it is there and cannot be read */
                  HOOK_MISMATCH,   /* it was made with another secret or for another text */
                  HOOK_STALE,      /* it holds, but the time is too far away */
                  HOOK_UNEXPECTED, /* a handshake that nobody awaits */
                  HOOK_TOO_LARGE,  /* the body is */
};

struct hook_finding {
    enum hook_fault fault;
    struct str reason;  /* a sentence for who runs this server; no secret; STR_NONE when fine */
    size_t which;       /* the secret that held, counted from 0 */
    const char *header; /* where the signature was, NULL without one */
};

/* Judge r->ask; it has a secret. What is returned lives in r->cx. */
struct hook_finding hook_prove(struct hook_reader *r);
/* Set why `f` is not fine. */
void hook_find(struct hook_finding *f, struct ctx *cx, enum hook_fault fault, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

#endif
