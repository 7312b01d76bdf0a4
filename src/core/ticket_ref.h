/* What a ticket may refer to: project, agent, contact. Each must be one of the team that is in use;
 * else INVALID_FIELD that names the field. Inside a unit of work. */
#ifndef TESSERA_CORE_TICKET_REF_H
#define TESSERA_CORE_TICKET_REF_H

#include "../store/store.h"
#include "caller.h"

struct ticket_new;
/* Looks at those that are given and are not what `now` (may be NULL) refers to already. */
struct ticket;
enum err_code ticket_refs_check(struct ctx *cx, struct db *db, const struct caller *who,
                                const struct ticket_new *in, const struct ticket *now);

#endif
