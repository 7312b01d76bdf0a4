/* /v1/me/totp: the second factor. */
#include "routes.h"

const struct route_table routes_totp = { NULL, 0 };
