/* Free metadata of a row: merging a patch into it. */
#ifndef TESSERA_CORE_CRM_METADATA_H
#define TESSERA_CORE_CRM_METADATA_H

#include "../../base/ctx.h"

#define METADATA_MAX 65536 /* bytes of JSON text */

/* JSON merge patch (RFC 7396) at every depth into *metadata. patch: STR_NONE changes nothing;
 * is_null empties. INVALID_FIELD names metadata when the result is larger than METADATA_MAX. */
enum err_code metadata_merge(struct ctx *cx, struct str patch, bool is_null, struct str *metadata);
/* Members of `more` that *metadata lacks are added. INVALID_FIELD names `field`. */
enum err_code metadata_fill(struct ctx *cx, struct str more, const char *field,
                            struct str *metadata);

#endif
