/* /v1/contacts. */
#include "routes.h"

const struct route_table routes_contacts = { NULL, 0 };
