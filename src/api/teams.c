/* /v1/teams. */
#include "routes.h"

const struct route_table routes_teams = { NULL, 0 };
