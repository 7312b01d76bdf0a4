/* /v1/api-keys. */
#include "routes.h"

const struct route_table routes_keys = { NULL, 0 };
