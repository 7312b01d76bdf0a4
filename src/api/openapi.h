/* OpenAPI 3.1, generated from the route and field tables: what /openapi.json, `tessera openapi` and
 * the tests use. */
#ifndef TESSERA_API_OPENAPI_H
#define TESSERA_API_OPENAPI_H

#include "route.h"

#define OPENAPI_MAX ((size_t)4 << 20)

/* Append the document, indented by two spaces (stable: equal tables give equal bytes). The memory
 * is cx's. */
enum err_code openapi_print(struct ctx *cx, struct buf *out);
/* docs/errors.md */
void errors_markdown(struct buf *out);

#endif
