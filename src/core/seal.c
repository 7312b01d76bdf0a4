/* Secrets at rest: see seal.h. The master key is written once by seal_setup and only read
 * afterwards; the keys of the columns are derived at each use, which costs a few microseconds. */
#include "seal.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

#include "../base/log.h"

#define NONCE_LEN 12
#define TAG_LEN 16
#define KEY_ID_LEN 4
#define PREFIX "v1."
#define LABEL_MAX 100
#define OVERHEAD (NONCE_LEN + TAG_LEN)

static bool is_ready;
static unsigned char master[SHA256_LEN];
static char key_id[2 * KEY_ID_LEN + 1];
static EVP_CIPHER *aes;

void seal_setup(struct str master_key)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char id[SHA256_LEN];
    is_ready = master_key.n > 0;
    if (!is_ready)
        return;
    crypt_derive(master_key, "tessera sealed secrets", master);
    crypt_derive(master_key, "tessera sealed secrets: key id", id);
    for (size_t i = 0; i < KEY_ID_LEN; i++) {
        key_id[2 * i] = digits[id[i] >> 4];
        key_id[2 * i + 1] = digits[id[i] & 15];
    }
    if (!aes)
        aes = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    BUG_IF(!aes);
}

bool seal_is_ready(void)
{
    return is_ready;
}

enum err_code seal_must_be_ready(struct ctx *cx)
{
    return is_ready ? ERR_NONE
                    : fail(cx, NOT_CONFIGURED,
                           "The server keeps no secrets without the setting "
                           "master_key");
}

static struct str master_view(void)
{
    return (struct str){ (const char *)master, sizeof master };
}

static void column_key(struct ctx *cx, const struct seal_place *at, unsigned char key[SHA256_LEN])
{
    struct str label = str_printf(&cx->arena, "seal %s.%s", at->table, at->column);
    BUG_IF(label.n > LABEL_MAX);
    crypt_derive(master_view(), label.p, key);
}

static struct str place_text(struct ctx *cx, const struct seal_place *at)
{
    return str_printf(&cx->arena, "%s|%s|" STR_FMT "|" STR_FMT, at->table, at->column,
                      STR_ARG(at->team_id), STR_ARG(at->row_id));
}

static bool begin(EVP_CIPHER_CTX *c, bool is_sealing, const unsigned char *key,
                  const unsigned char *nonce)
{
    return EVP_CipherInit_ex2(c, aes, key, nonce, is_sealing, NULL) == 1;
}

static bool feed_place(EVP_CIPHER_CTX *c, struct str place)
{
    int n;
    return EVP_CipherUpdate(c, NULL, &n, (const unsigned char *)place.p, (int)place.n) == 1;
}

enum err_code seal(struct ctx *cx, const struct seal_place *at, struct str plain, struct str *text)
{
    enum err_code e = seal_must_be_ready(cx);
    if (e)
        return e;
    unsigned char key[SHA256_LEN];
    unsigned char *raw = arena_alloc(&cx->arena, plain.n + OVERHEAD);
    unsigned char *body = raw + NONCE_LEN;
    struct str place = place_text(cx, at);
    int n = 0, tail = 0;
    BUG_IF(plain.n > SEAL_PLAIN_MAX);
    column_key(cx, at, key);
    crypt_random(raw, NONCE_LEN);
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    BUG_IF(!c);
    bool is_fine =
        begin(c, true, key, raw) && feed_place(c, place) &&
        EVP_CipherUpdate(c, body, &n, (const unsigned char *)plain.p, (int)plain.n) == 1 &&
        EVP_CipherFinal_ex(c, body + n, &tail) == 1 &&
        EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, TAG_LEN, body + plain.n) == 1;
    EVP_CIPHER_CTX_free(c);
    OPENSSL_cleanse(key, sizeof key);
    BUG_IF(!is_fine || (size_t)(n + tail) != plain.n);
    *text = str_printf(&cx->arena, PREFIX "%s." STR_FMT, key_id,
                       STR_ARG(base64url_of(&cx->arena, raw, plain.n + OVERHEAD)));
    return ERR_NONE;
}

static enum err_code damaged(struct ctx *cx, const struct seal_place *at)
{
    log_error(cx, "seal.damaged", KVC("table", at->table), KVC("column", at->column),
              KVS("row", at->row_id));
    return ctx_fail_plain(cx, ERR_INTERNAL);
}

/* v1.<id>.<rest>: *rest; NOT_CONFIGURED for another master key's text. */
static enum err_code cut_text(struct ctx *cx, const struct seal_place *at, struct str text,
                              struct str *rest)
{
    *rest = text;
    struct str version = str_cut(rest, '.'), id = str_cut(rest, '.');
    if (!str_eq(version, STR("v1")) || id.n != 2 * (size_t)KEY_ID_LEN ||
        rest->n > 2 * SEAL_PLAIN_MAX)
        return damaged(cx, at);
    if (str_eq(id, str_of(key_id)))
        return ERR_NONE;
    log_error(cx, "seal.other_master_key", KVC("table", at->table), KVC("column", at->column),
              KVS("row", at->row_id), KVS("sealed_under", id), KVC("master_key_id", key_id));
    return fail(cx, NOT_CONFIGURED,
                "A stored secret was sealed under another master_key than the server has now");
}

enum err_code unseal(struct ctx *cx, const struct seal_place *at, struct str text,
                     struct str *plain)
{
    struct str rest;
    enum err_code e = seal_must_be_ready(cx);
    if (!e)
        e = cut_text(cx, at, text, &rest);
    if (e)
        return e;
    unsigned char key[SHA256_LEN];
    unsigned char *raw = arena_alloc(&cx->arena, rest.n + 1);
    unsigned char *out = arena_alloc(&cx->arena, rest.n + 1);
    struct str place = place_text(cx, at);
    size_t len;
    int n = 0, tail = 0;
    if (!base64url_parse(rest, raw, rest.n, &len) || len < OVERHEAD)
        return damaged(cx, at);
    size_t body = len - OVERHEAD;
    column_key(cx, at, key);
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    BUG_IF(!c);
    bool is_fine =
        begin(c, false, key, raw) && feed_place(c, place) &&
        EVP_CipherUpdate(c, out, &n, raw + NONCE_LEN, (int)body) == 1 &&
        EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, TAG_LEN, raw + NONCE_LEN + body) == 1 &&
        EVP_CipherFinal_ex(c, out + n, &tail) == 1;
    EVP_CIPHER_CTX_free(c);
    OPENSSL_cleanse(key, sizeof key);
    if (!is_fine)
        return damaged(cx, at);
    *plain = (struct str){ (const char *)out, body };
    return ERR_NONE;
}

enum err_code seal_mac(struct ctx *cx, const char *purpose, struct str text,
                       unsigned char out[SHA256_LEN])
{
    unsigned char key[SHA256_LEN];
    enum err_code e = seal_must_be_ready(cx);
    if (e)
        return e;
    BUG_IF(strlen(purpose) > LABEL_MAX);
    crypt_derive(master_view(), purpose, key);
    crypt_hmac256((struct str){ (const char *)key, sizeof key }, text, out);
    OPENSSL_cleanse(key, sizeof key);
    return ERR_NONE;
}
