/* /v1/agents. */
#include "routes.h"

const struct route_table routes_agents = { NULL, 0 };
