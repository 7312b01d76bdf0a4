/* /v1/attachments. */
#include "routes.h"

const struct route_table routes_attachments = { NULL, 0 };
