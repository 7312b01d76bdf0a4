/* Countries of addresses, from a MaxMind database file (.mmdb, country or city).
 *
 * The file is mapped, a look-up takes about a microsecond. geo_reload opens it again (a new month's
 * file under the same name) while others look up; when that fails the old one stays. */
#ifndef TESSERA_CORE_GEO_H
#define TESSERA_CORE_GEO_H

#include "../base/ctx.h"

struct geo;

/* INVALID_FIELD with a sentence that names the setting when the file cannot be read or holds no
 * countries. An empty path gives NULL, which all others take. */
enum err_code geo_open(struct ctx *cx, struct str path, struct geo **out);
enum err_code geo_reload(struct ctx *cx, struct geo *g); /* one thread at a time */
void geo_close(struct geo *g);
/* The ISO 3166-1 alpha-2 code of an address in text form, or "". Any thread. */
void geo_country(struct geo *g, struct str ip, char out[4]);

#endif
