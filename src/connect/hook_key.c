/* Keys of Standard Webhooks: see hook_key.h. */
#include "hook_key.h"

#include <openssl/crypto.h>
#include <string.h>

#include "../base/crypt.h"

#define SHARED STR("whsec_")
#define PRIVATE STR("whsk_")
#define PUBLIC STR("whpk_")

static bool read_behind(struct str text, struct str prefix, struct hook_key *out)
{
    struct str rest = str_sub(text, prefix.n, text.n);
    return hook_base64_read(rest, out->bytes, sizeof out->bytes, &out->n) && out->n;
}

static bool read_plain(struct str text, struct hook_key *out)
{
    out->kind = HOOK_KEY_SHARED;
    if (read_behind(text, STR(""), out))
        return true;
    if (!text.n || text.n > sizeof out->bytes)
        return false;
    memcpy(out->bytes, text.p, text.n);
    out->n = text.n;
    return true;
}

/* The public half of a 64-byte form must belong to its seed, or signatures would give it away. */
static bool is_pair(const struct hook_key *key)
{
    unsigned char made[HOOK_ED_KEY];
    if (key->n == HOOK_ED_KEY)
        return true;
    hook_ed_public(key->bytes, made);
    return crypt_equal(made, key->bytes + HOOK_ED_KEY, HOOK_ED_KEY);
}

bool hook_key_read(struct str text, struct hook_key *out)
{
    *out = (struct hook_key){ .kind = HOOK_KEY_SHARED };
    if (str_starts(text, SHARED))
        return read_behind(text, SHARED, out);
    if (str_starts(text, PUBLIC)) {
        out->kind = HOOK_KEY_PUBLIC;
        return read_behind(text, PUBLIC, out) && out->n == HOOK_ED_KEY;
    }
    if (!str_starts(text, PRIVATE))
        return read_plain(text, out);
    out->kind = HOOK_KEY_PRIVATE;
    if (!read_behind(text, PRIVATE, out) || (out->n != HOOK_ED_KEY && out->n != 2 * HOOK_ED_KEY) ||
        !is_pair(out))
        return false;
    out->n = HOOK_ED_KEY;
    return true;
}

void hook_key_wipe(struct hook_key *key)
{
    OPENSSL_cleanse(key->bytes, sizeof key->bytes);
}

static struct str text_of(struct arena *a, struct str prefix, const unsigned char *p, size_t n)
{
    return str_printf(a, STR_FMT STR_FMT, STR_ARG(prefix), STR_ARG(hook_base64(a, p, n)));
}

struct hook_key_text hook_key_make(struct arena *a, enum hook_key_kind kind)
{
    struct hook_key_text made = { .public_text = STR_NONE };
    unsigned char pair[2 * HOOK_ED_KEY];
    crypt_random(pair, HOOK_SECRET_RANDOM);
    if (kind == HOOK_KEY_SHARED) {
        made.secret = text_of(a, SHARED, pair, HOOK_SECRET_RANDOM);
    } else {
        hook_ed_public(pair, pair + HOOK_ED_KEY);
        made.secret = text_of(a, PRIVATE, pair, sizeof pair);
        made.public_text = text_of(a, PUBLIC, pair + HOOK_ED_KEY, HOOK_ED_KEY);
    }
    OPENSSL_cleanse(pair, sizeof pair);
    return made;
}

enum err_code hook_key_check(struct ctx *cx, struct str text)
{
    struct hook_key key;
    bool is_shared = str_starts(text, SHARED), is_private = str_starts(text, PRIVATE);
    bool is_read = hook_key_read(text, &key);
    size_t n = key.n;
    hook_key_wipe(&key);
    if (!is_shared && !is_private)
        return fail(cx, INVALID_FIELD, "The secret must begin with whsec_ (or whsk_ for ed25519)");
    if (!is_read)
        return fail(cx, INVALID_FIELD, "The secret must be base64 behind its prefix%s",
                    is_private ? ", 32 or 64 bytes of an ed25519 key" : "");
    if (is_shared && (n < HOOK_SECRET_MIN || n > HOOK_SECRET_MAX))
        return fail(cx, INVALID_FIELD, "The secret has %zu bytes behind whsec_; it needs %d to %d",
                    n, HOOK_SECRET_MIN, HOOK_SECRET_MAX);
    return ERR_NONE;
}

struct str hook_key_public(struct arena *a, struct str secret)
{
    struct hook_key key;
    unsigned char made[HOOK_ED_KEY];
    struct str text = STR_NONE;
    if (hook_key_read(secret, &key) && key.kind == HOOK_KEY_PRIVATE) {
        hook_ed_public(key.bytes, made);
        text = text_of(a, PUBLIC, made, sizeof made);
    }
    hook_key_wipe(&key);
    return text;
}
