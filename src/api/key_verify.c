/* POST /v1/api-keys/verify. */
#include "routes.h"

const struct route_table routes_key_verify = { NULL, 0 };
