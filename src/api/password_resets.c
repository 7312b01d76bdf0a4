/* /v1/password-resets: reset links. */
#include "routes.h"

const struct route_table routes_password_resets = { NULL, 0 };
