/* Why a signature does not match: what people get wrong is tried out, one thing at a time, and the
 * thing that makes the signature hold is told. For those who hold the secret; a server that answers
 * strangers does not ask for it (it is many times the work of a check). */
#ifndef TESSERA_CONNECT_HOOK_HINT_H
#define TESSERA_CONNECT_HOOK_HINT_H

#include "hook_proof.h"

/* Make the reason of a HOOK_MISMATCH more exact when the cause is found; else leave *f alone. */
void hook_hint(struct hook_reader *r, struct hook_finding *f);

#endif
