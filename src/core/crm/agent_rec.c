/* The field tables of agents. Data only. */
#include "agent.h"
#include "contact_text.h"
#include "metadata.h"
#include "tag.h"

static const char *const kinds[] = { "user", "bot", NULL };
static const char *const availabilities[] = { "available", "busy", "away", "offline", NULL };
static const char *const statuses[] = { "active", "inactive", NULL };

#define AT(member) offsetof(struct agent, member)
static const struct field agent_fields[] = {
    { "id", F_UUID, AT(id), 0, 0, 0, NULL, "Agent identifier", NULL },
    { "kind", F_ENUM, AT(kind), 0, 0, 0, kinds, "A person of the team, or a bot", NULL },
    { "user_id", F_UUID, AT(user_id), F_NULLABLE, 0, 0, NULL, "The user; null for a bot", NULL },
    { "name", F_STR, AT(name), 0, 0, 0, NULL, "Name to show", "\"Ada\"" },
    { "email", F_STR, AT(email), F_NULLABLE, 0, 0, NULL, "E-mail address", NULL },
    { "teams", F_STRS, AT(teams), 0, 0, 0, NULL, "Support groups", "[\"Billing\"]" },
    { "skills", F_STRS, AT(skills), 0, 0, 0, NULL, "Skills", "[\"French\"]" },
    { "availability", F_ENUM, AT(availability), 0, 0, 0, availabilities, "Availability now", NULL },
    { "status", F_ENUM, AT(status), 0, 0, 0, statuses, "An inactive agent gets no new tickets",
      NULL },
    { "max_open", F_INT, AT(max_open), F_NULLABLE, 0, 0, NULL,
      "Open tickets that it should have at most; null = not said", "10" },
    { "metadata", F_OBJECT, AT(metadata), 0, 0, 0, NULL, "Custom metadata", NULL },
    { "version", F_INT, AT(version), 0, 0, 0, NULL,
      "Grows by one with each change; the ETag is made from it", "1" },
    { "created_at", F_TIME, AT(created_ms), 0, 0, 0, NULL, "When it was created", NULL },
    { "updated_at", F_TIME, AT(updated_ms), 0, 0, 0, NULL, "When it last changed", NULL },
};
const struct rec rec_agent = REC("Agent", struct agent, agent_fields, "One who handles tickets.");

#define IN(member) offsetof(struct agent_new, member)
#define IN_REST                                                                                    \
    { "name", F_STR,          IN(name), F_REQUIRED | F_SINGLE_LINE, 1, AGENT_NAME_MAX,             \
      NULL,   "Name to show", "\"Ada\"" },                                                         \
        { "email", F_STR, IN(email), F_NULLABLE, 0, EMAIL_MAX, NULL, "E-mail address", NULL },     \
        { "teams",                                                                                 \
          F_STRS,                                                                                  \
          IN(teams),                                                                               \
          F_NULLABLE,                                                                              \
          0,                                                                                       \
          AGENT_WORDS_MAX,                                                                         \
          NULL,                                                                                    \
          "Support groups, 1 to 64 characters each; repeats (letter case ignored) are dropped",    \
          "[\"Billing\"]" },                                                                       \
        { "skills",                                                                                \
          F_STRS,                                                                                  \
          IN(skills),                                                                              \
          F_NULLABLE,                                                                              \
          0,                                                                                       \
          AGENT_WORDS_MAX,                                                                         \
          NULL,                                                                                    \
          "Skills, 1 to 64 characters each; repeats (letter case ignored) are dropped",            \
          "[\"French\"]" },                                                                        \
        { "availability",                                                                          \
          F_ENUM,                                                                                  \
          IN(availability),                                                                        \
          0,                                                                                       \
          0,                                                                                       \
          0,                                                                                       \
          availabilities,                                                                          \
          "Availability now (default offline)",                                                    \
          NULL },                                                                                  \
        { "status", F_ENUM, IN(status), 0,                                                         \
          0,        0,      statuses,   "An inactive agent gets no new tickets (default active)",  \
          NULL },                                                                                  \
        { "max_open", F_INT,          IN(max_open), F_NULLABLE,                                    \
          1,          AGENT_OPEN_MAX, NULL,         "Open tickets that it should have at most",    \
          "10" },                                                                                  \
    {                                                                                              \
        "metadata", F_OBJECT, IN(metadata), F_NULLABLE, 0, METADATA_MAX, NULL, "Custom metadata",  \
            NULL                                                                                   \
    }

static const struct field new_fields[] = {
    { "kind", F_ENUM, IN(kind), F_REQUIRED, 0, 0, kinds, "A person of the team, or a bot", NULL },
    { "user_id", F_UUID, IN(user_id), F_NULLABLE, 0, 0, NULL,
      "The user, a member of the team; required for a person, not for a bot", NULL },
    IN_REST,
};
const struct rec rec_agent_new =
    REC("AgentNew", struct agent_new, new_fields, "An agent to create.");
static const struct field patch_fields[] = { IN_REST };
const struct rec rec_agent_patch = REC("AgentPatch", struct agent_new, patch_fields,
                                       "Changes to an agent (JSON merge patch: null clears).");

static const struct field availability_fields[] = {
    { "availability", F_ENUM, IN(availability), F_REQUIRED, 0, 0, availabilities,
      "Availability from now on", "\"away\"" },
};
const struct rec rec_agent_availability =
    REC("AgentAvailability", struct agent_new, availability_fields, "An availability to set.");

#define Q(member) offsetof(struct agent_query, member)
static const struct field query_fields[] = {
    { "q", F_STR, Q(q), 0, 1, 200, NULL,
      "Text that name or e-mail address contains, letter case ignored", NULL },
    { "kind", F_ENUMS, Q(kind), 0, 0, 2, kinds, "Only these kinds (comma separated)", NULL },
    { "availability", F_ENUMS, Q(availability), 0, 0, 4, availabilities,
      "Only with these availabilities (comma separated)", NULL },
    { "status", F_ENUMS, Q(status), 0, 0, 2, statuses, "Only these statuses (comma separated)",
      NULL },
    { "team", F_STR, Q(team), 0, 1, TAG_MAX, NULL,
      "Only of this support group, letter case ignored", NULL },
    { "skill", F_STR, Q(skill), 0, 1, TAG_MAX, NULL, "Only with this skill, letter case ignored",
      NULL },
    LISTING_QUERY_ROWS(struct agent_query),
};
const struct rec rec_agent_query =
    REC("AgentQuery", struct agent_query, query_fields, "Filters of the agent list.");
