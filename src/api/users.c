/* /v1/users: who is in the team. */
#include "routes.h"

const struct route_table routes_users = { NULL, 0 };
