/* Packing of texts that are kept for as long as the server runs. */
#ifndef TESSERA_HTTP_GZIP_H
#define TESSERA_HTTP_GZIP_H

#include "../base/str.h"

/* The text as a gzip file (RFC 1952), as small as zlib makes it: what reply.encoding = "gzip" wants.
 * Lives in a; STR_NONE when there is no memory. Any thread. */
struct str gzip_text(struct arena *a, struct str text);

#endif
