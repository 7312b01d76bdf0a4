/* The route tables of the resources, one extern each; routes.c puts them in order. */
#ifndef TESSERA_API_ROUTES_H
#define TESSERA_API_ROUTES_H

#include "route.h"

extern const struct route_table routes_meta;
extern const struct route_table routes_tickets_v0;
extern const struct route_table routes_tickets;
extern const struct route_table routes_comments;

#endif
