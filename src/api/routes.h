/* The route tables of the resources, one extern each; routes.c puts them in order. */
#ifndef TESSERA_API_ROUTES_H
#define TESSERA_API_ROUTES_H

#include "route.h"

extern const struct route_table routes_meta;
extern const struct route_table routes_tickets_v0;
extern const struct route_table routes_tickets;
extern const struct route_table routes_comments;
extern const struct route_table routes_sessions;
extern const struct route_table routes_me;
extern const struct route_table routes_users;
extern const struct route_table routes_password_resets;
extern const struct route_table routes_totp;
extern const struct route_table routes_teams;
extern const struct route_table routes_projects;
extern const struct route_table routes_keys;
extern const struct route_table routes_key_verify;
extern const struct route_table routes_usage;
extern const struct route_table routes_contacts;
extern const struct route_table routes_agents;
extern const struct route_table routes_ticket_people;
extern const struct route_table routes_reports;
extern const struct route_table routes_schedules;
extern const struct route_table routes_exports;
extern const struct route_table routes_jobs;
extern const struct route_table routes_webhooks;
extern const struct route_table routes_webhook_deliveries;
extern const struct route_table routes_events;
extern const struct route_table routes_attachments;
extern const struct route_table routes_audit;
extern const struct route_table routes_requests;
extern const struct route_table routes_integrations;
extern const struct route_table routes_hooks;
extern const struct route_table routes_webhook_logs;
extern const struct route_table routes_syncs;

#endif
