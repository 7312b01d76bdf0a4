/* The caller behind a stored id: for what runs later with somebody's rights. */
#ifndef TESSERA_CORE_SUBJECT_H
#define TESSERA_CORE_SUBJECT_H

#include "../store/db.h"
#include "caller.h"

/* The key or member of the team as it is now, with its scopes or the actions of its role; no address,
 * no session. NOT_FOUND (not recorded): there is none, it is disabled, over or deleted, has left the
 * team, or the team is deleted. Texts in cx. In a unit of the system's scope. */
enum err_code subject_load(struct ctx *cx, struct db *db, struct str team_id, struct str id,
                           struct caller *out);
/* Does the e-mail address belong to an active member of the team? In any scope that sees the team. */
enum err_code subject_is_member(struct ctx *cx, struct db *db, struct str team_id, struct str email,
                                bool *out);

#endif
