/* All route tables in the order of the API reference. To add a resource: its table in routes.h and
 * here. */
#include "routes.h"

const struct route_table *const route_tables[] = {
    &routes_tickets_v0,  &routes_tickets,      &routes_comments,   &routes_ticket_people,
    &routes_attachments, &routes_contacts,     &routes_agents,     &routes_reports,
    &routes_exports,     &routes_jobs,         &routes_webhooks,   &routes_webhook_deliveries,
    &routes_events,      &routes_keys,         &routes_key_verify, &routes_usage,
    &routes_sessions,    &routes_me,           &routes_totp,       &routes_password_resets,
    &routes_users,       &routes_teams,        &routes_projects,   &routes_audit,
    &routes_requests,    &routes_integrations, &routes_hooks,      &routes_webhook_logs,
    &routes_syncs,       &routes_meta,         &routes_schedules,  NULL,
};
