/* /v1/sessions: sign-in and sessions. */
#include "routes.h"

const struct route_table routes_sessions = { NULL, 0 };
