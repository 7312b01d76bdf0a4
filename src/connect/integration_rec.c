/* The field tables of integrations: see integration.h. */
#include "hook_config.h"
#include "integration.h"

static const char *const kinds[] = { "jira",   "github", "slack", "trello",   "asana",
                                     "linear", "notion", "teams", "standard", "hmac",
                                     "basic",  "bearer", NULL };

#define AT(member) offsetof(struct integration, member)
static const struct field integration_fields[] = {
    { "id", F_UUID, AT(id), 0, 0, 0, NULL, "Integration identifier", NULL },
    { "kind", F_ENUM, AT(kind), 0, 0, 0, kinds,
      "What it is joined to; says how webhooks are signed", "\"github\"" },
    { "name", F_STR, AT(name), 0, 0, 0, NULL, "Name", "\"Our repositories\"" },
    { "enabled", F_BOOL, AT(is_enabled), 0, 0, 0, NULL, "Whether webhooks are taken", "true" },
    { "hook_url", F_STR, AT(hook_url), 0, 0, 0, NULL,
      "Where the sender posts to; a path when the setting public_url is missing", NULL },
    { "callback_url", F_STR, AT(callback_url), F_NULLABLE, 0, 0, NULL,
      "The address as it is registered with the sender, when it is another than the server's own",
      NULL },
    { "event_types", F_STRS, AT(event_types), 0, 0, 0, NULL,
      "Which events are processed; none = all", "[\"issues.*\"]" },
    { "scheme", F_OBJECT, AT(scheme), F_NULLABLE, 0, 0, NULL,
      "How the sender signs, as it was given; kind hmac only", NULL },
    { "has_secret", F_BOOL, AT(has_secret), 0, 0, 0, NULL,
      "Whether it has a secret: without one every webhook is refused", "true" },
    { "await_until", F_TIME, AT(await_until_ms), F_NULLABLE, 0, 0, NULL,
      "Until when a handshake may bring a secret; null: none is awaited", NULL },
    { "handshake_at", F_TIME, AT(handshake_ms), F_NULLABLE, 0, 0, NULL,
      "When a handshake last brought a secret", NULL },
    { "verification_token", F_STR, AT(verification_token), F_NULLABLE, 0, 0, NULL,
      "What Notion's handshake brought and asks for; shown by GET of one integration to those who "
      "may change it, until an event is signed with it",
      NULL },
    { "version", F_INT, AT(version), 0, 0, 0, NULL,
      "Grows by one with each change; the ETag is made from it", "1" },
    { "created_at", F_TIME, AT(created_ms), 0, 0, 0, NULL, "When it was made", NULL },
    { "updated_at", F_TIME, AT(updated_ms), 0, 0, 0, NULL, "When it last changed", NULL },
};
const struct rec rec_integration =
    REC("Integration", struct integration, integration_fields, "Another system that is joined.");

#define IN(member) offsetof(struct integration_new, member)
#define CHANGEABLE                                                                                 \
    { "enabled", F_BOOL, IN(is_enabled), 0, 0, 0, NULL, "Whether webhooks are taken", "true" },    \
        { .name = "event_types",                                                                   \
          .type = F_STRS,                                                                          \
          .offset = IN(event_types),                                                               \
          .flags = F_NULLABLE,                                                                     \
          .max = INTEGRATION_TYPES_MAX,                                                            \
          .doc =                                                                                   \
              "Which events are processed: a type, or its beginning with .* behind; the others "   \
              "are stored and ignored. None = all",                                                \
          .example = "[\"issues.*\"]" },                                                           \
        { "callback_url",                                                                          \
          F_STR,                                                                                   \
          IN(callback_url),                                                                        \
          F_NULLABLE | F_SINGLE_LINE,                                                              \
          1,                                                                                       \
          INTEGRATION_URL_MAX,                                                                     \
          NULL,                                                                                    \
          "The address as it is registered with the sender, when it is another than hook_url: "    \
          "Trello signs it",                                                                       \
          NULL },                                                                                  \
    {                                                                                              \
        .name = "scheme", .type = F_REC, .offset = IN(scheme), .flags = F_NULLABLE,                \
        .doc = "How the sender signs; kind hmac only", .of = &rec_hook_config                      \
    }

static const struct field new_fields[] = {
    { "kind", F_ENUM, IN(kind), F_REQUIRED, 0, 0, kinds, "What it is joined to; stays",
      "\"github\"" },
    { "name", F_STR, IN(name), F_REQUIRED | F_SINGLE_LINE, 1, INTEGRATION_NAME_MAX, NULL, "Name",
      "\"Our repositories\"" },
    CHANGEABLE,
};
const struct rec rec_integration_new =
    REC("IntegrationNew", struct integration_new, new_fields, "An integration to create.");

static const struct field patch_fields[] = {
    { "name", F_STR, IN(name), F_REQUIRED | F_SINGLE_LINE, 1, INTEGRATION_NAME_MAX, NULL, "Name",
      "\"Our repositories\"" },
    CHANGEABLE,
};
const struct rec rec_integration_patch =
    REC("IntegrationPatch", struct integration_new, patch_fields,
        "Changes to an integration (JSON merge patch: null clears).");

static const struct field query_fields[] = {
    { "q", F_STR, offsetof(struct integration_query, q), 0, 1, 200, NULL,
      "Text that the name contains, letter case ignored", NULL },
    { "kind", F_ENUMS, offsetof(struct integration_query, kind), 0, 0, 12, kinds,
      "Only these kinds (comma separated)", NULL },
    { "enabled", F_BOOL, offsetof(struct integration_query, is_enabled), 0, 0, 0, NULL,
      "Only those that are enabled, or not", NULL },
    LISTING_QUERY_ROWS(struct integration_query),
};
const struct rec rec_integration_query = REC("IntegrationQuery", struct integration_query,
                                             query_fields, "Filters of the integration list.");

static const struct field await_fields[] = {
    { "seconds", F_INT, offsetof(struct integration_await, seconds), 0, 1, AWAIT_S_MAX, NULL,
      "How long (default 600)", "600" },
};
const struct rec rec_integration_await =
    REC("IntegrationAwait", struct integration_await, await_fields, "How long one is awaited.");
