/* Files embedded into the binary (the API page at /docs), gzip-compressed at build time by
 * scripts/embed.py. */
#ifndef TESSERA_API_ASSETS_H
#define TESSERA_API_ASSETS_H

#include <stddef.h>

struct asset {
    const char *name; /* "index.html" */
    const char *type; /* Content-Type */
    const char *etag; /* quoted */
    const unsigned char *gzip;
    size_t n;
};
extern const struct asset assets[]; /* name NULL ends it */

#endif
