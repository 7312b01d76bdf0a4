/* Strict JSON on top of jansson: reading with clear errors, writing with exact numbers.
 *
 * Reading refuses bad UTF-8, lone surrogates, \u0000, duplicate keys, depth over JSON_DEPTH_MAX,
 * trailing text, numbers that do not fit (integers outside int64, reals outside double). Writing
 * prints reals in the shortest form that reads back the same and keeps them real (1.0 stays
 * 1.0). */
#ifndef TESSERA_BASE_JSON_H
#define TESSERA_BASE_JSON_H

#include <jansson.h>

#include "ctx.h"

#define JSON_DEPTH_MAX 64

/* Parse a whole text (object or array at the top). The value is released with cx. On failure
 * records INVALID_JSON with a sentence that says what and where (line and column) and returns
 * NULL. */
json_t *json_read(struct ctx *cx, struct str text);
/* Append a value, compact. Object keys keep their order. */
void json_write(struct buf *b, const json_t *v);
/* Append a quoted, escaped string; s must be UTF-8 (bad bytes become U+FFFD). */
void json_write_str(struct buf *b, struct str s);
/* Append a double in the shortest form that reads back the same. */
void json_write_real(struct buf *b, double v);
struct str json_text(struct ctx *cx, const json_t *v);
/* JSON merge patch (RFC 7396) of two objects, into target. Depth is bounded by what json_read lets
 * in. */
void json_merge(json_t *target, json_t *patch);

#endif
