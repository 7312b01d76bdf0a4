/* Teams: what keeps one customer's data apart from another's. Owner of table team.
 *
 * A deleted team keeps its row, because audit and usage logs name it; it has no members and no keys
 * any more, so nobody reaches it. */
#ifndef TESSERA_CORE_PEOPLE_TEAM_H
#define TESSERA_CORE_PEOPLE_TEAM_H

#include "../../store/store.h"
#include "../caller.h"
#include "../cursor.h"
#include "../listing.h"

#define TEAM_NAME_MAX 200
#define TEAM_SLUG_MIN 2 /* a–z, 0–9 and hyphens inside */
#define TEAM_SLUG_MAX 40
#define TEAMS_OF_USER_MAX 100

struct team {
    struct rec_bits bits;
    struct str id, slug, name;
    struct str role; /* of the user who asks; STR_NONE for keys and the command line */
    int64_t version, created_ms, updated_ms;
};
extern const struct rec rec_team;

struct team_new {
    struct rec_bits bits;
    struct str name, slug;
};
extern const struct rec rec_team_new;
extern const struct rec rec_team_patch;

struct versions;
/* A page of the teams of the user, or the key's own. Sets the unit's scope to the system's. */
enum err_code team_list(struct ctx *cx, struct db *db, const struct caller *who,
                        const struct list_query *in, struct cursor_key key, struct page *out);
/* Every team, for the command line. */
enum err_code team_list_all(struct ctx *cx, struct db *db, struct list *out);
/* Without a slug one is made from the name. The user owner_id, unless it is STR_NONE, becomes its
 * owner. INVALID_FIELD names slug; UNIQUE when it is taken; CONFLICT when the user is in
 * TEAMS_OF_USER_MAX teams. Leaves the unit's scope at the new team. */
enum err_code team_create(struct ctx *cx, struct db *db, const struct caller *who,
                          const struct team_new *in, struct str owner_id, struct team *out);
/* For the command line: the active user of this e-mail address, any letter case; NOT_FOUND. Sets the
 * unit's scope to the system's. */
enum err_code team_user_by_email(struct ctx *cx, struct db *db, struct str email, struct str *id);
/* The caller's own team; any other id is NOT_FOUND. */
enum err_code team_get(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                       struct team *out);
/* Merge patch. PRECONDITION_FAILED, CONFLICT, UNIQUE. */
enum err_code team_update(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                          const struct team_new *patch, const struct versions *allowed,
                          struct team *out);
/* CONFLICT for the default team and while the team has tickets, keys, contacts or agents. */
enum err_code team_delete(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                          const struct versions *allowed);

#endif
