/* Fault injection with a countdown, for tests: TESSERA_FAULT=kind:N[:mode] fails the Nth time (from
 * 1) that a point of this kind is passed; mode `once` (default), `on` (from the Nth on) or `kill`
 * (SIGKILL ourselves there). In a process without the variable a point costs one load. Any
 * thread. */
#ifndef TESSERA_BASE_FAULT_H
#define TESSERA_BASE_FAULT_H

#include <stdbool.h>

enum fault_kind {
    FAULT_DB,        /* a statement */
    FAULT_COMMIT,    /* before COMMIT */
    FAULT_COMMITTED, /* after COMMIT, before anyone is told (kill is the useful mode) */
    FAULT_SEND,      /* before a reply is queued */
    FAULT_EGRESS,    /* before an outbound call is sent */
    FAULT_ANSWER,    /* its answer was received, and is lost */
    FAULT_KINDS
};

void fault_setup(const char *spec); /* the variable's text; NULL = none. Once, before threads; tests
                                       may call again. */
void fault_arm(enum fault_kind kind, long n);
bool fault_fired(void);               /* since the last arm */
bool fault_hit(enum fault_kind kind); /* true: behave as if this step failed */

#endif
