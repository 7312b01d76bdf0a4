/* All route tables in the order of the API reference. To add a resource: its table in routes.h and
 * here. */
#include "routes.h"

const struct route_table *const route_tables[] = {
    &routes_tickets_v0, &routes_tickets, &routes_comments, &routes_meta, NULL,
};
