/* /v1/projects. */
#include "routes.h"

const struct route_table routes_projects = { NULL, 0 };
