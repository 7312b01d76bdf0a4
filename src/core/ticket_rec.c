/* The field tables of tickets: /v1 and the document's forms over the same structs. Data only. */
#include "crm/tag.h"
#include "ticket.h"

static const char *const statuses[] = {
    "open", "in_progress", "waiting", "resolved", "closed", NULL
};
static const char *const priorities[] = { "low", "medium", "high", "urgent", NULL };
static const char *const sorts[] = { "created_at", "-created_at", "updated_at", "-updated_at",
                                     NULL };

#define AT(member) offsetof(struct ticket, member)
/* clang-format off */
#define ID_ROW { "id", F_UUID, AT(id), 0, 0, 0, NULL, "Ticket identifier", \
        "\"550e8400-e29b-41d4-a716-446655440000\"" }
#define TITLE_ROW { "title", F_STR, AT(title), 0, 0, 0, NULL, "Ticket title", \
        "\"Issue with API integration\"" }
#define DESCRIPTION_ROW { "description", F_STR, AT(description), F_NULLABLE, 0, 0, NULL, \
        "Detailed description", NULL }
#define STATUS_ROW { "status", F_ENUM, AT(status), 0, 0, 0, statuses, "Ticket status", NULL }
#define PRIORITY_ROW { "priority", F_ENUM, AT(priority), 0, 0, 0, priorities, "Priority level", \
        NULL }
#define CATEGORY_ROW { "category", F_STR, AT(category), F_NULLABLE, 0, 0, NULL, \
        "Ticket category", "\"Technical Support\"" }
#define METADATA_ROW { "metadata", F_OBJECT, AT(metadata), 0, 0, 0, NULL, "Custom metadata", \
        "{\"customer_id\":\"CUST-123\"}" }
/* clang-format on */

static const struct field ticket_fields[] = {
    ID_ROW,
    TITLE_ROW,
    DESCRIPTION_ROW,
    STATUS_ROW,
    PRIORITY_ROW,
    CATEGORY_ROW,
    METADATA_ROW,
    { "tags", F_STRS, AT(tags), 0, 0, 0, NULL, "Tags", "[\"billing\",\"vip\"]" },
    { "project_id", F_UUID, AT(project_id), F_NULLABLE, 0, 0, NULL, "The project it is in", NULL },
    { "assignee_id", F_UUID, AT(assignee_id), F_NULLABLE, 0, 0, NULL, "The agent who has it",
      NULL },
    { "contact_id", F_UUID, AT(contact_id), F_NULLABLE, 0, 0, NULL, "The contact it is about",
      NULL },
    { "token_id", F_UUID, AT(token_id), F_NULLABLE, 0, 0, NULL,
      "The API key that created the ticket; null: a user did", NULL },
    { "created_by_user", F_UUID, AT(created_by_user), F_NULLABLE, 0, 0, NULL,
      "The user who created the ticket; null: an API key did", NULL },
    { "integration_source", F_STR, AT(integration_source), 0, 0, 0, NULL,
      "Name of that key or user at that time", NULL },
    { "version", F_INT, AT(version), 0, 0, 0, NULL,
      "Grows by one with each change; the ETag is made from it", "1" },
    { "created_at", F_TIME, AT(created_ms), 0, 0, 0, NULL, "When the ticket was created", NULL },
    { "updated_at", F_TIME, AT(updated_ms), 0, 0, 0, NULL, "When the ticket last changed", NULL },
    { "resolved_at", F_TIME, AT(resolved_ms), F_NULLABLE, 0, 0, NULL,
      "When it became resolved or closed; null while it is neither", NULL },
};
const struct rec rec_ticket = REC("Ticket", struct ticket, ticket_fields, "A support ticket.");

static const struct field v0_fields[] = {
    ID_ROW,
    TITLE_ROW,
    DESCRIPTION_ROW,
    STATUS_ROW,
    PRIORITY_ROW,
    CATEGORY_ROW,
    METADATA_ROW,
    { "created_at", F_TIME_S, AT(created_ms), 0, 0, 0, NULL, "When the ticket was created",
      "\"2024-01-15T10:30:00Z\"" },
    { "updated_at", F_TIME_S, AT(updated_ms), 0, 0, 0, NULL, "When the ticket last changed",
      "\"2024-01-15T11:45:00Z\"" },
};
const struct rec rec_ticket_v0 =
    REC("IntegrationTicket", struct ticket, v0_fields, "A ticket as the ticket API shows it.");
const struct rec rec_ticket_v0_new = { "IntegrationTicketCreated", sizeof(struct ticket), v0_fields,
                                       sizeof v0_fields / sizeof *v0_fields - 1,
                                       "A ticket just created." };

static const struct field v0_status_fields[] = {
    ID_ROW,
    STATUS_ROW,
    { "updated_at", F_TIME_S, AT(updated_ms), 0, 0, 0, NULL, "When the status changed",
      "\"2024-01-15T14:20:00Z\"" },
};
const struct rec rec_ticket_v0_status = REC("IntegrationTicketStatus", struct ticket,
                                            v0_status_fields, "A ticket whose status was changed.");

#define IN(member) offsetof(struct ticket_new, member)
/* clang-format off */
#define IN_TITLE { "title", F_STR, IN(title), F_REQUIRED, 1, TICKET_TITLE_MAX, NULL, \
      "Ticket title", "\"Issue with API integration\"" }
#define IN_DESCRIPTION \
    { "description", F_STR, IN(description), F_NULLABLE, 0, TICKET_DESCRIPTION_MAX, NULL, \
      "Detailed description", NULL }
#define IN_PRIORITY { "priority", F_ENUM, IN(priority), 0, 0, 0, priorities, \
      "Priority level (default medium)", "\"high\"" }
#define IN_CATEGORY { "category", F_STR, IN(category), F_NULLABLE, 0, TICKET_CATEGORY_MAX, NULL, \
      "Ticket category", NULL }
#define IN_METADATA { "metadata", F_OBJECT, IN(metadata), F_NULLABLE, 0, TICKET_METADATA_MAX, \
      NULL, "Custom metadata", NULL }
#define IN_STATUS { "status", F_ENUM, IN(status), 0, 0, 0, statuses, \
      "Ticket status (default open)", "\"open\"" }
#define IN_TAGS { "tags", F_STRS, IN(tags), F_NULLABLE, 0, TAGS_MAX, NULL, \
      "Tags of 1 to 64 characters; repeats (letter case ignored) are dropped", "[\"billing\"]" }
#define IN_PROJECT { "project_id", F_UUID, IN(project_id), F_NULLABLE, 0, 0, NULL, \
      "The project it is in", NULL }
#define IN_ASSIGNEE { "assignee_id", F_UUID, IN(assignee_id), F_NULLABLE, 0, 0, NULL, \
      "The agent who has it", NULL }
#define IN_CONTACT { "contact_id", F_UUID, IN(contact_id), F_NULLABLE, 0, 0, NULL, \
      "The contact it is about", NULL }
/* clang-format on */

static const struct field new_fields[] = { IN_TITLE,    IN_DESCRIPTION, IN_STATUS, IN_PRIORITY,
                                           IN_CATEGORY, IN_METADATA,    IN_TAGS,   IN_PROJECT,
                                           IN_ASSIGNEE, IN_CONTACT };
const struct rec rec_ticket_new =
    REC("TicketNew", struct ticket_new, new_fields, "A ticket to create.");
const struct rec rec_ticket_patch = REC("TicketPatch", struct ticket_new, new_fields,
                                        "Changes to a ticket (JSON merge patch: null clears).");

static const struct field v0_in_fields[] = { IN_TITLE, IN_DESCRIPTION, IN_PRIORITY, IN_CATEGORY,
                                             IN_METADATA };
const struct rec rec_ticket_v0_in =
    REC("IntegrationTicketNew", struct ticket_new, v0_in_fields, "A ticket to create.");

static const struct field status_fields[] = {
    { "status", F_ENUM, IN(status), F_REQUIRED, 0, 0, statuses, "The new status", "\"resolved\"" },
};
const struct rec rec_ticket_status =
    REC("TicketStatus", struct ticket_new, status_fields, "A status to set.");

static const struct field assign_fields[] = { IN_ASSIGNEE };
const struct rec rec_ticket_assign = REC("TicketAssign", struct ticket_new, assign_fields,
                                         "Who has the ticket from now on; null: nobody.");

#define Q(member) offsetof(struct ticket_query, member)
static const struct field query_fields[] = {
    { "status", F_ENUMS, Q(status), 0, 0, 5, statuses, "Only these statuses (comma separated)",
      NULL },
    { "priority", F_ENUMS, Q(priority), 0, 0, 4, priorities,
      "Only these priorities (comma separated)", NULL },
    { "category", F_STR, Q(category), 0, 0, TICKET_CATEGORY_MAX, NULL, "Only this category", NULL },
    { "project_id", F_UUID, Q(project_id), 0, 0, 0, NULL, "Only this project", NULL },
    { "assignee_id", F_STR, Q(assignee_id), 0, 1, 36, NULL,
      "Only those of this agent; none = those of nobody", NULL },
    { "contact_id", F_UUID, Q(contact_id), 0, 0, 0, NULL, "Only about this contact", NULL },
    { "tag", F_STR, Q(tag), 0, 1, TAG_MAX, NULL, "Only with this tag, letter case ignored", NULL },
    { "created_after", F_TIME, Q(created_after), 0, 0, 0, NULL, "Created at or after this time",
      NULL },
    { "created_before", F_TIME, Q(created_before), 0, 0, 0, NULL, "Created before this time",
      NULL },
    { "updated_after", F_TIME, Q(updated_after), 0, 0, 0, NULL, "Changed at or after this time",
      NULL },
    { "updated_before", F_TIME, Q(updated_before), 0, 0, 0, NULL, "Changed before this time",
      NULL },
    { "q", F_STR, Q(q), 0, 1, 200, NULL,
      "Text that title or description contains, letter case ignored", NULL },
    { "sort", F_ENUM, Q(sort), 0, 0, 0, sorts,
      "Order; a leading minus is newest first (default -created_at)", NULL },
    { "limit", F_INT, Q(limit), 0, 1, 200, NULL, "Rows a page (default 50)", NULL },
    { "cursor", F_STR, Q(cursor), 0, 1, 512, NULL, "next_cursor of the page before", NULL },
    { "count", F_BOOL, Q(count), 0, 0, 0, NULL, "Add the total number of matches", NULL },
};
const struct rec rec_ticket_query =
    REC("TicketQuery", struct ticket_query, query_fields, "Filters of the ticket list.");
