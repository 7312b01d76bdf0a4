/* Signing by Standard Webhooks: see hook_sign.h. */
#include "hook_sign.h"

#include "hook_key.h"
#include "hook_mac.h"

#define SIGNATURES_MAX ((size_t)2048) /* bytes: HOOK_SECRETS_MAX of 92 */
#define PIECES 5

static enum err_code check_id(struct ctx *cx, struct str id)
{
    bool is_good = id.n > 0 && id.n <= HOOK_ID_MAX;
    for (size_t i = 0; i < id.n && is_good; i++)
        is_good = id.p[i] > ' ' && id.p[i] < 0x7F && id.p[i] != '.';
    return is_good ? ERR_NONE
                   : fail(cx, INVALID_FIELD,
                          "The id of a message has 1 to %d visible characters, no full stop",
                          HOOK_ID_MAX);
}

static void put_signature(struct buf *b, const struct hook_key *key, const struct str *pieces)
{
    unsigned char out[HOOK_MAC_MAX];
    size_t n = HOOK_ED_SIGNATURE;
    if (key->kind == HOOK_KEY_PRIVATE)
        hook_ed_sign(key->bytes, pieces, PIECES, out);
    else
        n = hook_mac(HOOK_SHA256, (struct str){ (const char *)key->bytes, key->n }, pieces, PIECES,
                     out);
    buf_lit(b, b->n ? " " : "");
    buf_lit(b, key->kind == HOOK_KEY_PRIVATE ? "v1a," : "v1,");
    buf_str(b, hook_base64(b->arena, out, n));
}

enum err_code hook_sign(struct ctx *cx, const struct hook_message *m, const struct str *secrets,
                        size_t n, struct hook_signed *out)
{
    struct hook_key key;
    struct buf b;
    enum err_code e = check_id(cx, m->id);
    if (!e && (n == 0 || n > HOOK_SECRETS_MAX || m->timestamp_s < 0))
        e = fail(cx, INVALID_FIELD, "A message needs a time and 1 to %d secrets", HOOK_SECRETS_MAX);
    if (e)
        return e;
    struct str at = str_printf(&cx->arena, "%lld", (long long)m->timestamp_s);
    const struct str pieces[PIECES] = { m->id, STR("."), at, STR("."), m->body };
    buf_init(&b, &cx->arena, SIGNATURES_MAX);
    for (size_t i = 0; i < n && !e; i++) {
        e = hook_key_check(cx, secrets[i]);
        if (!e && hook_key_read(secrets[i], &key))
            put_signature(&b, &key, pieces);
        hook_key_wipe(&key);
    }
    if (!e)
        *out = (struct hook_signed){ str_dup(&cx->arena, m->id), at, buf_view(&b) };
    return e;
}
