/* Who asks: the authenticated side of a unit of work. Every core function that touches tenant data
 * takes one, and every statement it runs names caller->team_id.
 *
 * What a caller may do is a mask over one table of actions. The first 17 are the scopes that API
 * keys carry; the rest is administration, which a key does only with admin:full. Each row also
 * names the least role that may do it (viewer < agent < admin < owner), so the same table answers
 * for keys and for people, and OpenAPI and docs/roles.md are printed from it. */
#ifndef TESSERA_CORE_CALLER_H
#define TESSERA_CORE_CALLER_H

#include <stdbool.h>
#include <stdint.h>

#include "../base/str.h"

enum role { ROLE_NONE, ROLE_VIEWER, ROLE_AGENT, ROLE_ADMIN, ROLE_OWNER };

/* name, wire form, least role, sentence. Order is the bit number: append only. */
/* clang-format off */
#define SCOPE_TABLE(X)                                                                          \
    X(REPORTS_READ,       "reports:read",       VIEWER, "Read report definitions and results")  \
    X(REPORTS_WRITE,      "reports:write",      AGENT,  "Create and change report definitions") \
    X(REPORTS_EXECUTE,    "reports:execute",    VIEWER, "Run reports")                          \
    X(REPORTS_EXPORT,     "reports:export",     AGENT,  "Export report results")                \
    X(REPORTS_SCHEDULE,   "reports:schedule",   AGENT,  "Schedule reports")                     \
    X(CONTACTS_READ,      "contacts:read",      VIEWER, "Read contacts")                        \
    X(CONTACTS_WRITE,     "contacts:write",     AGENT,  "Create and change contacts")           \
    X(TICKETS_READ,       "tickets:read",       VIEWER, "Read tickets and their comments")      \
    X(TICKETS_WRITE,      "tickets:write",      AGENT,  "Create, change and delete tickets")    \
    X(TICKETS_COMMENT,    "tickets:comment",    AGENT,  "Comment on tickets")                   \
    X(TICKETS_RESOLVE,    "tickets:resolve",    AGENT,  "Resolve and close tickets")            \
    X(AGENTS_READ,        "agents:read",        VIEWER, "Read agents")                          \
    X(AGENTS_WRITE,       "agents:write",       ADMIN,  "Create and change agents")             \
    X(WEBHOOKS_MANAGE,    "webhooks:manage",    ADMIN,  "Manage webhooks")                      \
    X(INTEGRATIONS_READ,  "integrations:read",  ADMIN,  "Read integrations, verify API keys")   \
    X(INTEGRATIONS_WRITE, "integrations:write", ADMIN,  "Create and change integrations")       \
    X(ADMIN_FULL,         "admin:full",         OWNER,  "Everything, administration included")
#define ADMIN_TABLE(X)                                                                          \
    X(PROJECTS_READ,      "projects:read",      VIEWER, "Read the projects of the team")        \
    X(USERS_READ,         "users:read",         VIEWER, "Read who is in the team")              \
    X(TEAM_READ,          "team:read",          VIEWER, "Read the team's own data")             \
    X(PROJECTS_MANAGE,    "projects:manage",    ADMIN,  "Create, change and delete projects")   \
    X(USERS_MANAGE,       "users:manage",       ADMIN,  "Invite, change and remove users")      \
    X(KEYS_MANAGE,        "keys:manage",        ADMIN,  "Create, change and delete API keys")   \
    X(USAGE_READ,         "usage:read",         ADMIN,  "Read and export usage analytics")      \
    X(TEAM_MANAGE,        "team:manage",        ADMIN,  "Change the team's name and settings")  \
    X(TEAM_OWN,           "team:own",           OWNER,  "Delete the team, name other owners")   \
    X(AUDIT_READ,         "audit:read",         OWNER,  "Read and export the audit log")        \
    X(JOBS_READ,          "jobs:read",          AGENT,  "See the jobs one has asked for")       \
    X(JOBS_MANAGE,        "jobs:manage",        ADMIN,  "See, retry, cancel and pause all jobs")
#define ACTION_TABLE(X) SCOPE_TABLE(X) ADMIN_TABLE(X)
/* clang-format on */

enum scope_bit {
#define SCOPE_ENUM(name, wire, role, doc) SCOPE_BIT_##name,
    SCOPE_TABLE(SCOPE_ENUM) SCOPE_BITS, /* what a key may carry ends here */
    SCOPE_BITS_LAST = SCOPE_BITS - 1,
    ADMIN_TABLE(SCOPE_ENUM)
#undef SCOPE_ENUM
        ACTION_BITS
};
#define SCOPE(name) (UINT64_C(1) << SCOPE_BIT_##name)
/* What a token gets when nobody says otherwise: all of the ticket API. */
#define SCOPES_DEFAULT                                                                             \
    (SCOPE(TICKETS_READ) | SCOPE(TICKETS_WRITE) | SCOPE(TICKETS_COMMENT) | SCOPE(TICKETS_RESOLVE))

struct action_row {
    const char *wire;
    enum role least;
    const char *doc;
};
extern const struct action_row action_rows[]; /* by bit number, ACTION_BITS of them */

struct arena;
extern const char *const scope_words[]; /* the 17 wire forms in bit order, NULL-terminated */
extern const char *const role_words[];  /* "viewer", "agent", "admin", "owner", NULL */
/* One wire word, or "tickets:*" (every scope of that noun; admin:full is never part of a wildcard).
 * 0 = unknown. Words of ADMIN_TABLE are unknown here: no key carries them. */
uint64_t scope_parse(struct str word);
/* JSON array text <-> mask; unknown words in stored text are skipped. scopes_json prints the words
 * of ADMIN_TABLE too. */
uint64_t scopes_of_json(struct str json);
struct str scopes_json(struct arena *a, uint64_t mask);
/* admin:full grants everything. */
static inline bool scope_granted(uint64_t have, uint64_t need)
{
    return (have & need) == need || (have & SCOPE(ADMIN_FULL));
}

/* "owner" → ROLE_OWNER; ROLE_NONE when unknown. */
enum role role_of(struct str word);
struct str role_word(enum role r);
/* All that the role may do. Only an owner's mask holds admin:full. */
uint64_t role_actions(enum role r);
/* The least role that may do all of `need`. */
enum role role_least(uint64_t need);

struct caller {
    struct str team_id;
    struct str token_id;   /* STR_NONE: not an API key */
    struct str token_name; /* "" or STR_NONE: not an API key */
    struct str user_id;    /* STR_NONE: not a signed-in user */
    struct str user_name, user_email;
    struct str session_id; /* STR_NONE: not by a session (a JWT, a key) */
    enum role role;        /* of the user in the team */
    uint64_t scopes;       /* a key's scopes, a user's role_actions() */
    bool is_server;        /* nobody asked: the server by itself */
    bool is_own_only;      /* the document's API: a key sees its own tickets, whatever its scopes */
    struct str ip;         /* text of the client's address, "" when unknown */
    struct str agent;      /* User-Agent or "" */
};

struct db;
/* The token whose tickets alone are visible, or "" when the caller sees all of its team: signed-in
 * users, the command line, and keys with admin:full. Never NULL. */
struct str caller_sees(const struct caller *who);
/* Sets the row-level scope of the unit to this caller (team, and caller_sees()). */
void caller_scope(struct db *db, const struct caller *who);
/* Who is meant, as one id: the key's or the user's; "" for the command line. */
struct str caller_subject(const struct caller *who);
/* "key", "user", "cli" or "server"; and the name to show. */
const char *caller_kind(const struct caller *who);
struct str caller_name(const struct caller *who);

#endif
