/* Opaque, signed list cursors: they survive inserts, and a changed one is refused.
 *
 * Text form: base64url(HMAC-SHA256 cut to 16 bytes || payload). The payload names the sort order
 * and filters' fingerprint and the last row's position, so a cursor used with other filters is
 * refused too. */
#ifndef TESSERA_CORE_CURSOR_H
#define TESSERA_CORE_CURSOR_H

#include "../base/ctx.h"

struct cursor_key {
    unsigned char b[32];
};
struct cursor {
    struct str kind;   /* list and sort order: "tickets:-created_at" */
    struct str filter; /* canonical text of the filters; only its hash travels */
    int64_t at;        /* position: sort value … */
    struct str id;     /* … and id of the last row (<= 64 bytes) */
};
struct str cursor_print(struct ctx *cx, const struct cursor_key *key, const struct cursor *c);
/* INVALID_PARAMETER "cursor …" when it is not ours, was changed, or belongs to another list or
 * filter. c->kind and c->filter are given, c->at and c->id are filled. */
enum err_code cursor_parse(struct ctx *cx, const struct cursor_key *key, struct str text,
                           struct cursor *c);

#endif
