/* List cursors: see cursor.h. Payload before signing: "<kind>|<first 16 hex digits of
 * SHA-256(filter)>|<at>|<id>". */
#include "cursor.h"

#include <string.h>

#include "../base/crypt.h"

#define SIGN_LEN 16
#define RAW_MAX 256

static struct str payload_head(struct arena *a, const struct cursor *c)
{
    unsigned char sum[SHA256_LEN];
    crypt_sha256(c->filter.p ? c->filter : STR(""), sum);
    struct str hex = hex_of(a, sum, 8);
    return str_printf(a, STR_FMT "|" STR_FMT "|", STR_ARG(c->kind), STR_ARG(hex));
}

static void cursor_sign(const struct cursor_key *key, struct str payload,
                        unsigned char out[SHA256_LEN])
{
    crypt_hmac256((struct str){ (const char *)key->b, sizeof key->b }, payload, out);
}

struct str cursor_print(struct ctx *cx, const struct cursor_key *key, const struct cursor *c)
{
    struct arena *a = &cx->arena;
    struct str head = payload_head(a, c);
    struct str payload =
        str_printf(a, STR_FMT "%lld|" STR_FMT, STR_ARG(head), (long long)c->at, STR_ARG(c->id));
    unsigned char sign[SHA256_LEN], raw[RAW_MAX];
    BUG_IF(payload.n + SIGN_LEN > sizeof raw);
    cursor_sign(key, payload, sign);
    memcpy(raw, sign, SIGN_LEN);
    memcpy(raw + SIGN_LEN, payload.p, payload.n);
    return base64url_of(a, raw, SIGN_LEN + payload.n);
}

enum err_code cursor_parse(struct ctx *cx, const struct cursor_key *key, struct str text,
                           struct cursor *c)
{
    unsigned char raw[RAW_MAX], sign[SHA256_LEN];
    size_t n = 0;
    struct str field = STR("cursor");
    if (!base64url_parse(text, raw, sizeof raw, &n) || n <= SIGN_LEN)
        return ctx_fail_field(cx, ERR_INVALID_PARAMETER, field, "cursor is not one of ours");
    struct str payload =
        str_dup(&cx->arena, (struct str){ (const char *)raw + SIGN_LEN, n - SIGN_LEN });
    cursor_sign(key, payload, sign);
    if (!crypt_equal(sign, raw, SIGN_LEN))
        return ctx_fail_field(cx, ERR_INVALID_PARAMETER, field, "cursor is not one of ours");
    struct str head = payload_head(&cx->arena, c);
    if (!str_starts(payload, head))
        return ctx_fail_field(cx, ERR_INVALID_PARAMETER, field,
                              "cursor belongs to another list, sort order or filter");
    struct str rest = str_sub(payload, head.n, payload.n - head.n);
    struct str at = str_cut(&rest, '|');
    if (!str_to_i64(at, &c->at))
        return ctx_fail_field(cx, ERR_INVALID_PARAMETER, field, "cursor is not one of ours");
    c->id = rest.p ? rest : STR("");
    return ERR_NONE;
}
