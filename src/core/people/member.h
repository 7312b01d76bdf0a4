/* Memberships: who is in a team, as what. Rows of team_member, whose owner is user.h.
 *
 * Nobody gives or takes a role above his own (keys with admin:full and the command line count as
 * owners), so owners alone make, change and remove owners; and a team keeps at least one active
 * owner. Changes of one team's members wait for each other (a lock on its row), so that two at once
 * cannot remove the last two owners. In a unit of work in the caller's scope. */
#ifndef TESSERA_CORE_PEOPLE_MEMBER_H
#define TESSERA_CORE_PEOPLE_MEMBER_H

#include "../listing.h"
#include "user.h"

struct member_query {
    struct rec_bits bits;
    struct str q, role, cursor;
    int64_t limit;
};
extern const struct rec rec_member_query;

struct member_new {
    struct rec_bits bits;
    struct str email, name, role;
};
extern const struct rec rec_member_body;
struct member_patch {
    struct rec_bits bits;
    struct str role;
};
extern const struct rec rec_member_patch;

/* In the order the users were made. */
enum err_code member_list(struct ctx *cx, struct db *db, const struct caller *who,
                          const struct member_query *in, struct cursor_key key, struct page *out);
/* NOT_FOUND for who is not in the team; INVALID_PARAMETER when id is no UUID. */
enum err_code member_get(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                         struct user *out);
/* An unknown address makes a user without a password and *token of an invitation (reset.h); a known
 * one is added, with STR_NONE. INVALID_FIELD, INSUFFICIENT_ROLE; UNIQUE when the user is in the
 * team; CONFLICT when the user is in too many. */
enum err_code member_add(struct ctx *cx, struct db *db, const struct caller *who,
                         const struct member_new *in, struct user *out, struct str *token);
/* INSUFFICIENT_ROLE; CONFLICT for the last owner. */
enum err_code member_set_role(struct ctx *cx, struct db *db, const struct caller *who,
                              struct str id, struct str role, struct user *out);
enum err_code member_remove(struct ctx *cx, struct db *db, const struct caller *who, struct str id);

/* For the command line. The team of this slug or id; NOT_FOUND. System scope. */
enum err_code member_team(struct ctx *cx, struct db *db, struct str slug, struct str *team_id);
/* Every user (role STR_NONE). System scope. */
enum err_code member_list_all(struct ctx *cx, struct db *db, struct list *out);

#endif
