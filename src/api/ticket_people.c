/* /v1/tickets/{ticket_id}/…: assignment, tags, watchers, activity. */
#include "routes.h"

const struct route_table routes_ticket_people = { NULL, 0 };
