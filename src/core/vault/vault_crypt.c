/* AES-256-GCM and the master keys: see vault_crypt.h. Any thread; the masters are written by
 * vault_start and vault_stop only. */
#include "vault_crypt.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <string.h>

#define OVERHEAD ((size_t)VAULT_NONCE_LEN + VAULT_TAG_LEN)
#define LABEL_MAX 100

struct vault_masters vault_masters;

static EVP_CIPHER *aes;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void load(void)
{
    aes = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    BUG_IF(!aes);
}

void vault_dek_forget(struct vault_dek *dek)
{
    OPENSSL_cleanse(dek, sizeof *dek);
}

/* ---- AES-256-GCM ---- */

static EVP_CIPHER_CTX *begin(bool is_sealing, const unsigned char *key, const unsigned char *nonce,
                             struct str aad)
{
    int n;
    pthread_once(&once, load);
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    BUG_IF(!c);
    BUG_IF(EVP_CipherInit_ex2(c, aes, key, nonce, is_sealing, NULL) != 1 ||
           EVP_CipherUpdate(c, NULL, &n, (const unsigned char *)aad.p, (int)aad.n) != 1);
    return c;
}

struct str vault_gcm_seal(struct arena *a, const unsigned char key[VAULT_KEY_LEN], struct str aad,
                          struct str plain)
{
    unsigned char *raw = arena_alloc(a, plain.n + OVERHEAD);
    unsigned char *body = raw + VAULT_NONCE_LEN;
    int n = 0, tail = 0;
    BUG_IF(plain.n > VAULT_PLAIN_MAX);
    crypt_random(raw, VAULT_NONCE_LEN);
    EVP_CIPHER_CTX *c = begin(true, key, raw, aad);
    bool is_fine =
        EVP_CipherUpdate(c, body, &n, (const unsigned char *)plain.p, (int)plain.n) == 1 &&
        EVP_CipherFinal_ex(c, body + n, &tail) == 1 &&
        EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, VAULT_TAG_LEN, body + plain.n) == 1;
    EVP_CIPHER_CTX_free(c);
    BUG_IF(!is_fine || (size_t)(n + tail) != plain.n);
    return base64url_of(a, raw, plain.n + OVERHEAD);
}

bool vault_gcm_open(struct arena *a, const unsigned char key[VAULT_KEY_LEN], struct str aad,
                    struct str body, struct str *plain)
{
    unsigned char *raw = arena_alloc(a, body.n + 1), *out = arena_alloc(a, body.n + 1);
    size_t len;
    int n = 0, tail = 0;
    if (!base64url_parse(body, raw, body.n, &len) || len < OVERHEAD ||
        len > VAULT_PLAIN_MAX + OVERHEAD)
        return false;
    size_t inner = len - OVERHEAD;
    unsigned char *text = raw + VAULT_NONCE_LEN;
    EVP_CIPHER_CTX *c = begin(false, key, raw, aad);
    bool is_fine =
        EVP_CipherUpdate(c, out, &n, text, (int)inner) == 1 &&
        EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, VAULT_TAG_LEN, text + inner) == 1 &&
        EVP_CipherFinal_ex(c, out + n, &tail) == 1;
    EVP_CIPHER_CTX_free(c);
    if (is_fine)
        *plain = (struct str){ (const char *)out, inner };
    return is_fine;
}

struct str vault_place_text(struct arena *a, const struct vault_place *at)
{
    return str_printf(a, "%s|%s|" STR_FMT "|" STR_FMT, at->table, at->column, STR_ARG(at->team_id),
                      STR_ARG(at->row_id));
}

/* ---- master keys ---- */

static void derive_id(struct str text, const char *label, char *id, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char raw[SHA256_LEN];
    crypt_derive(text, label, raw);
    for (size_t i = 0; i < n; i++)
        id[i] = digits[i % 2 ? raw[i / 2] & 15 : raw[i / 2] >> 4];
    id[n] = '\0';
}

void vault_master_derive(struct str text, struct vault_master *out)
{
    *out = (struct vault_master){ .is_set = text.n > 0 };
    if (!out->is_set)
        return;
    crypt_derive(text, "tessera vault: key of keys", out->kek);
    derive_id(text, "tessera vault: key id", out->id, VAULT_ID_TEXT);
    /* These labels are in texts and hashes that exist: they stay as they are. */
    crypt_derive(text, "tessera sealed secrets", out->v1_root);
    derive_id(text, "tessera sealed secrets: key id", out->v1_id, VAULT_V1_ID_TEXT);
    crypt_derive(text, "tessera audit chain", out->audit);
}

const struct vault_master *vault_master_of(struct str id)
{
    const struct vault_masters *m = &vault_masters;
    if (m->now.is_set && str_eq(id, str_of(m->now.id)))
        return &m->now;
    return m->before.is_set && str_eq(id, str_of(m->before.id)) ? &m->before : NULL;
}

/* ---- texts from before the vault ---- */

static const struct vault_master *v1_master_of(struct str id)
{
    const struct vault_masters *m = &vault_masters;
    if (m->now.is_set && str_eq(id, str_of(m->now.v1_id)))
        return &m->now;
    return m->before.is_set && str_eq(id, str_of(m->before.v1_id)) ? &m->before : NULL;
}

const char *vault_v1_open(struct arena *a, const struct vault_place *at,
                          const struct vault_text *text, struct str *plain)
{
    const struct vault_master *m = v1_master_of(text->key_id);
    unsigned char key[SHA256_LEN];
    if (!m)
        return "other_master_key";
    struct str label = str_printf(a, "seal %s.%s", at->table, at->column);
    BUG_IF(label.n > LABEL_MAX);
    crypt_derive((struct str){ (const char *)m->v1_root, sizeof m->v1_root }, label.p, key);
    bool is_fine = vault_gcm_open(a, key, vault_place_text(a, at), text->body, plain);
    OPENSSL_cleanse(key, sizeof key);
    return is_fine ? NULL : "damaged";
}
