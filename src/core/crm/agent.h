/* Agents: those who handle tickets: members of the team, or bots. Owner of tables agent, agent_team,
 * agent_skill. All run inside a unit of work in the caller's scope. Changes are audited. */
#ifndef TESSERA_CORE_CRM_AGENT_H
#define TESSERA_CORE_CRM_AGENT_H

#include "../../store/store.h"
#include "../caller.h"
#include "../cursor.h"
#include "../listing.h"

#define AGENT_NAME_MAX 200 /* characters */
#define AGENT_WORDS_MAX 50 /* support groups; skills */
#define AGENT_OPEN_MAX 100000

struct agent {
    struct rec_bits bits;
    struct str id, kind, user_id, name, email, teams, skills, availability, status, metadata;
    int64_t max_open, version, created_ms, updated_ms;
};
extern const struct rec rec_agent;

struct agent_new {
    struct rec_bits bits;
    struct str kind, user_id, name, email, teams, skills, availability, status, metadata;
    int64_t max_open;
};
extern const struct rec rec_agent_new;
extern const struct rec rec_agent_patch;        /* without kind and user_id */
extern const struct rec rec_agent_availability; /* {"availability"} */

struct agent_query {
    struct rec_bits bits;
    struct str q, kind, availability, status, team, skill, cursor;
    int64_t limit;
};
extern const struct rec rec_agent_query;

struct versions;
/* MISSING_FIELD and INVALID_FIELD name user_id, email, teams, skills; UNIQUE when the user is an
 * agent already. */
enum err_code agent_create(struct ctx *cx, struct db *db, const struct caller *who,
                           const struct agent_new *in, struct agent *out);
/* NOT_FOUND; INVALID_PARAMETER when id is no UUID. */
enum err_code agent_get(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                        struct agent *out);
/* Merge patch. PRECONDITION_FAILED; CONFLICT when another request changed it meanwhile. */
enum err_code agent_update(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                           const struct agent_new *patch, const struct versions *allowed,
                           struct agent *out);
/* By the agent's own user, or with agents:write: else INSUFFICIENT_ROLE or INSUFFICIENT_SCOPE. */
enum err_code agent_set_availability(struct ctx *cx, struct db *db, const struct caller *who,
                                     struct str id, const struct agent_new *in, struct agent *out);
/* CONFLICT while tickets that are neither resolved nor closed are assigned to it. */
enum err_code agent_delete(struct ctx *cx, struct db *db, const struct caller *who, struct str id,
                           const struct versions *allowed);
/* In the order they were made. */
enum err_code agent_list(struct ctx *cx, struct db *db, const struct caller *who,
                         const struct agent_query *in, struct cursor_key key, struct page *out);
/* For those who refer to an agent: INVALID_FIELD naming `field` when the team has no such active
 * agent. */
enum err_code agent_must_exist(struct ctx *cx, struct db *db, struct str team_id,
                               struct str agent_id, const char *field);

#endif
