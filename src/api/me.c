/* /v1/me: the signed-in user. */
#include "routes.h"

const struct route_table routes_me = { NULL, 0 };
