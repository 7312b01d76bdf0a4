/* Content coding of answers: gzip when the client asks for it and the body is worth it; embedded
 * files are stored packed and unpacked for the few clients that do not ask. zlib underneath; memory
 * of the exchange. */
#include "gzip.h"
#include "exchange.h"

#include <string.h>
#include <zlib.h>

#define WORTH_IT 1400 /* bytes: below about one network packet nothing is gained */
#define LEVEL 1 /* JSON shrinks to a fifth already; the next levels cost more than they save */
#define GZIP_WINDOW (15 + 16)
#define UNPACKED_MAX ((size_t)8 << 20)

/* "gzip" or "*" among the codings, and not with q=0 (RFC 9110 §12.5.3). */
static bool gzip_is_accepted(struct str accept)
{
    while (accept.p && accept.n) {
        struct str params = str_cut(&accept, ',');
        struct str coding = str_trim(str_cut(&params, ';'));
        if (!str_eq_nocase(coding, STR("gzip")) && !str_eq(coding, STR("*")))
            continue;
        struct str q = str_trim(params);
        return !(str_eq_nocase(q, STR("q=0")) || str_starts(q, STR("q=0.0")));
    }
    return false;
}

static bool pack(struct arena *a, int level, struct str in, struct buf *out)
{
    z_stream z = { 0 };
    if (deflateInit2(&z, level, Z_DEFLATED, GZIP_WINDOW, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return false;
    size_t max = deflateBound(&z, in.n);
    char *p = arena_alloc(a, max);
    z.next_in = (Bytef *)(uintptr_t)in.p;
    z.avail_in = (uInt)in.n;
    z.next_out = (Bytef *)p;
    z.avail_out = (uInt)max;
    int rc = deflate(&z, Z_FINISH);
    *out = (struct buf){ .arena = a, .p = p, .n = z.total_out, .cap = max, .max = max };
    deflateEnd(&z);
    return rc == Z_STREAM_END;
}

struct str gzip_text(struct arena *a, struct str text)
{
    struct buf out;
    return pack(a, Z_BEST_COMPRESSION, text, &out) ? buf_view(&out) : STR_NONE;
}

static bool unpack(struct exchange *x, struct str in, struct buf *out)
{
    unsigned char size[4];
    memcpy(size, in.p + in.n - 4, sizeof size); /* RFC 1952 §2.3.1: ISIZE ends the file */
    size_t n = size[0] | (size_t)size[1] << 8 | (size_t)size[2] << 16 | (size_t)size[3] << 24;
    z_stream z = { 0 };
    if (n > UNPACKED_MAX || inflateInit2(&z, GZIP_WINDOW) != Z_OK)
        return false;
    char *p = arena_alloc(&x->cx.arena, n);
    z.next_in = (Bytef *)(uintptr_t)in.p;
    z.avail_in = (uInt)in.n;
    z.next_out = (Bytef *)p;
    z.avail_out = (uInt)n;
    int rc = inflate(&z, Z_FINISH);
    *out = (struct buf){ .arena = &x->cx.arena, .p = p, .n = z.total_out, .cap = n, .max = n };
    inflateEnd(&z);
    return rc == Z_STREAM_END;
}

void gzip_apply(struct exchange *x)
{
    struct reply *rp = &x->rp;
    struct str body = rp->file.p ? rp->file : buf_view(&rp->body);
    bool is_accepted = gzip_is_accepted(x->in.accept_encoding), is_packed = rp->encoding != NULL;
    struct buf out;
    if (is_packed == is_accepted || body.n < (is_packed ? 1 : WORTH_IT))
        return;
    if (is_packed ? !unpack(x, body, &out) : !pack(&x->cx.arena, LEVEL, body, &out))
        return;
    rp->body = out;
    rp->file = STR_NONE;
    rp->encoding = is_packed ? NULL : "gzip";
}

bool gzip_varies(const struct exchange *x)
{
    return x->rp.encoding || x->rp.file.p || x->rp.body.n >= WORTH_IT;
}
