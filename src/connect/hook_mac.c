/* Signatures of webhooks, the mathematics: see hook_mac.h.
 *
 * The pieces of a HMAC are fed one after the other, so that a large body is not copied. ed25519 needs
 * the whole text at once (it reads it twice) and joins the pieces for as long as it works. */
#include "hook_mac.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <string.h>

#include "../base/crypt.h"
#include "../base/err.h"

#define BASE64_MAX 4096 /* characters: secrets and signatures are short */

static const struct {
    const char *name;
    size_t size;
} hashes[] = {
    [HOOK_SHA256] = { "SHA256", 32 },
    [HOOK_SHA1] = { "SHA1", 20 },
    [HOOK_SHA512] = { "SHA512", 64 },
};

static EVP_MAC *hmac;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void load(void)
{
    hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    BUG_IF(!hmac);
}

size_t hook_mac_size(enum hook_hash hash)
{
    return hashes[hash].size;
}

size_t hook_mac(enum hook_hash hash, struct str key, const struct str *pieces, size_t n,
                unsigned char out[HOOK_MAC_MAX])
{
    char name[16];
    size_t name_n = strlen(hashes[hash].name), len = 0;
    pthread_once(&once, load);
    EVP_MAC_CTX *mac = EVP_MAC_CTX_new(hmac);
    memcpy(name, hashes[hash].name, name_n + 1);
    const OSSL_PARAM params[] = {
        OSSL_PARAM_utf8_string(OSSL_MAC_PARAM_DIGEST, name, name_n),
        OSSL_PARAM_END,
    };
    BUG_IF(!mac ||
           EVP_MAC_init(mac, (const unsigned char *)(key.n ? key.p : ""), key.n, params) != 1);
    for (size_t i = 0; i < n; i++)
        BUG_IF(pieces[i].n &&
               EVP_MAC_update(mac, (const unsigned char *)pieces[i].p, pieces[i].n) != 1);
    BUG_IF(EVP_MAC_final(mac, out, &len, HOOK_MAC_MAX) != 1 || len != hashes[hash].size);
    EVP_MAC_CTX_free(mac);
    return len;
}

/* ---- ed25519 ---- */

/* One text of all the pieces; to be freed with OPENSSL_free. */
static unsigned char *join(const struct str *pieces, size_t n, size_t *len)
{
    *len = 0;
    for (size_t i = 0; i < n; i++)
        *len += pieces[i].n;
    unsigned char *text = OPENSSL_malloc(*len + 1), *at = text;
    BUG_IF(!text);
    for (size_t i = 0; i < n; i++) {
        if (pieces[i].n)
            memcpy(at, pieces[i].p, pieces[i].n);
        at += pieces[i].n;
    }
    return text;
}

void hook_ed_public(const unsigned char seed[HOOK_ED_KEY], unsigned char out[HOOK_ED_KEY])
{
    size_t n = HOOK_ED_KEY;
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, HOOK_ED_KEY);
    BUG_IF(!key || EVP_PKEY_get_raw_public_key(key, out, &n) != 1 || n != HOOK_ED_KEY);
    EVP_PKEY_free(key);
}

void hook_ed_sign(const unsigned char seed[HOOK_ED_KEY], const struct str *pieces, size_t n,
                  unsigned char out[HOOK_ED_SIGNATURE])
{
    size_t text_n, out_n = HOOK_ED_SIGNATURE;
    unsigned char *text = join(pieces, n, &text_n);
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, HOOK_ED_KEY);
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    BUG_IF(!key || !md || EVP_DigestSignInit(md, NULL, NULL, NULL, key) != 1 ||
           EVP_DigestSign(md, out, &out_n, text, text_n) != 1 || out_n != HOOK_ED_SIGNATURE);
    EVP_MD_CTX_free(md);
    EVP_PKEY_free(key);
    OPENSSL_free(text);
}

bool hook_ed_holds(const unsigned char public_key[HOOK_ED_KEY], const struct str *pieces, size_t n,
                   const unsigned char signature[HOOK_ED_SIGNATURE])
{
    size_t text_n;
    unsigned char *text = join(pieces, n, &text_n);
    EVP_PKEY *key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, public_key, HOOK_ED_KEY);
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    BUG_IF(!md);
    bool holds = key && EVP_DigestVerifyInit(md, NULL, NULL, NULL, key) == 1 &&
                 EVP_DigestVerify(md, signature, HOOK_ED_SIGNATURE, text, text_n) == 1;
    EVP_MD_CTX_free(md);
    EVP_PKEY_free(key);
    OPENSSL_free(text);
    return holds;
}

/* ---- text ---- */

struct str hook_base64(struct arena *a, const unsigned char *p, size_t n)
{
    size_t len = (n + 2) / 3 * 4;
    struct str bare = base64url_of(a, p, n);
    char *text = arena_alloc(a, len);
    for (size_t i = 0; i < len; i++) {
        char c = i < bare.n ? bare.p[i] : '=';
        text[i] = c;
        if (c == '-')
            text[i] = '+';
        else if (c == '_')
            text[i] = '/';
    }
    return (struct str){ text, len };
}

bool hook_base64_read(struct str text, unsigned char *out, size_t cap, size_t *n)
{
    char bare[BASE64_MAX];
    size_t len = text.n;
    if (len > sizeof bare)
        return false;
    if (len && len % 4 == 0)
        for (int i = 0; i < 2 && text.p[len - 1] == '='; i++)
            len--;
    for (size_t i = 0; i < len; i++) {
        char c = text.p[i];
        bare[i] = c;
        if (c == '+')
            bare[i] = '-';
        else if (c == '/')
            bare[i] = '_';
    }
    bool is_read = base64url_parse((struct str){ bare, len }, out, cap, n);
    OPENSSL_cleanse(bare, len);
    return is_read;
}

bool hook_is_same(struct str a, struct str b)
{
    unsigned char hash_a[SHA256_LEN], hash_b[SHA256_LEN];
    crypt_sha256(a, hash_a);
    crypt_sha256(b, hash_b);
    return crypt_equal(hash_a, hash_b, sizeof hash_a);
}
