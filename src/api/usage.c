/* /v1/usage: analytics. */
#include "routes.h"

const struct route_table routes_usage = { NULL, 0 };
