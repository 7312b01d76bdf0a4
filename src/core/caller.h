/* Who asks: the authenticated side of a unit of work. Every core function that touches tenant data
 * takes one, and every statement it runs names caller->team_id (and caller->token_id where a token
 * sees only its own). */
#ifndef TESSERA_CORE_CALLER_H
#define TESSERA_CORE_CALLER_H

#include <stdbool.h>
#include <stdint.h>

#include "../base/str.h"

/* name, wire form, sentence. Order is the bit number: append only. */
/* clang-format off */
#define SCOPE_TABLE(X)                                                                    \
    X(REPORTS_READ,       "reports:read",       "Read report definitions and results")     \
    X(REPORTS_WRITE,      "reports:write",      "Create and change report definitions")    \
    X(REPORTS_EXECUTE,    "reports:execute",    "Run reports")                             \
    X(REPORTS_EXPORT,     "reports:export",     "Export report results")                   \
    X(REPORTS_SCHEDULE,   "reports:schedule",   "Schedule reports")                        \
    X(CONTACTS_READ,      "contacts:read",      "Read contacts")                           \
    X(CONTACTS_WRITE,     "contacts:write",     "Create and change contacts")              \
    X(TICKETS_READ,       "tickets:read",       "Read tickets and their comments")         \
    X(TICKETS_WRITE,      "tickets:write",      "Create, change and delete tickets")       \
    X(TICKETS_COMMENT,    "tickets:comment",    "Comment on tickets")                      \
    X(TICKETS_RESOLVE,    "tickets:resolve",    "Resolve and close tickets")               \
    X(AGENTS_READ,        "agents:read",        "Read agents")                             \
    X(AGENTS_WRITE,       "agents:write",       "Create and change agents")                \
    X(WEBHOOKS_MANAGE,    "webhooks:manage",    "Manage webhooks")                         \
    X(INTEGRATIONS_READ,  "integrations:read",  "Read integrations")                       \
    X(INTEGRATIONS_WRITE, "integrations:write", "Create and change integrations")          \
    X(ADMIN_FULL,         "admin:full",         "Everything, administration included")
/* clang-format on */

enum scope_bit {
#define SCOPE_ENUM(name, wire, doc) SCOPE_BIT_##name,
    SCOPE_TABLE(SCOPE_ENUM)
#undef SCOPE_ENUM
        SCOPE_BITS
};
#define SCOPE(name) (UINT64_C(1) << SCOPE_BIT_##name)
/* What a token gets when nobody says otherwise: all of the ticket API. */
#define SCOPES_DEFAULT                                                                             \
    (SCOPE(TICKETS_READ) | SCOPE(TICKETS_WRITE) | SCOPE(TICKETS_COMMENT) | SCOPE(TICKETS_RESOLVE))

struct arena;
extern const char *const scope_words[]; /* wire forms in bit order, NULL-terminated */
/* One wire word, or "tickets:*" (every scope of that noun; admin:full is never part of a wildcard).
 * 0 = unknown. */
uint64_t scope_parse(struct str word);
/* JSON array text <-> mask; unknown words in stored text are skipped. */
uint64_t scopes_of_json(struct str json);
struct str scopes_json(struct arena *a, uint64_t mask);
/* admin:full grants everything. */
static inline bool scope_granted(uint64_t have, uint64_t need)
{
    return (have & need) == need || (have & SCOPE(ADMIN_FULL));
}

struct caller {
    struct str team_id;
    struct str token_id; /* STR_NONE: not a token (CLI, later a signed-in user) */
    struct str token_name;
    uint64_t scopes;
};

#endif
