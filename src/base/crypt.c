/* Hashes, random bytes, ids and their text forms.
 *
 * OpenSSL 3 looks an algorithm up each time it is asked for one by name; so the algorithms are
 * fetched once and each thread keeps its own working contexts, made on first use and freed when the
 * thread ends. Ids take their random half from a small per-thread pool, since one call of the
 * generator costs more than the rest of an id. Any thread. */
#include "crypt.h"

#include <argon2.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "arena.h"
#include "clock.h"
#include "err.h"

#define POOL_BYTES 512
#define LABEL_MAX 128
#define KEY_BASE64 44 /* digits of 32 bytes, with the padding */

/* Argon2id: 19 MiB, two passes, one lane (the OWASP password storage advice). */
#define ARGON_PASSES 2
#define ARGON_KIB 19456
#define ARGON_LANES 1
#define ARGON_SALT 16
#define ARGON_HASH 32
#define PHC_MAX 256

struct local { /* one per thread */
    EVP_MD_CTX *md;
    EVP_MAC_CTX *mac;
    size_t left; /* unused bytes at the end of pool */
    unsigned char pool[POOL_BYTES];
};

static EVP_MD *sha256;
static EVP_MAC *hmac;
static pthread_key_t local_key;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static _Thread_local struct local *mine;
static void (*_Atomic source)(void *out, size_t n);
static _Atomic uint64_t last_id; /* ms << 12 | counter of the newest id */

static void local_drop(void *p)
{
    struct local *l = p;

    EVP_MD_CTX_free(l->md);
    EVP_MAC_CTX_free(l->mac);
    OPENSSL_cleanse(l, sizeof(*l));
    free(l);
    mine = NULL;
}

/* A forked child must not hand out the random bytes its parent hands out. */
static void after_fork(void)
{
    if (mine)
        mine->left = 0;
}

static void load(void)
{
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    BUG_IF(!sha256 || !hmac);
    BUG_IF(pthread_key_create(&local_key, local_drop) != 0);
    BUG_IF(pthread_atfork(NULL, NULL, after_fork) != 0);
}

static struct local *local_make(void)
{
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, sizeof(digest) - 1),
        OSSL_PARAM_END,
    };
    struct local *l;

    pthread_once(&once, load);
    l = calloc(1, sizeof(*l));
    BUG_IF(!l);
    l->md = EVP_MD_CTX_new();
    l->mac = EVP_MAC_CTX_new(hmac);
    BUG_IF(!l->md || !l->mac || EVP_MAC_CTX_set_params(l->mac, params) != 1);
    BUG_IF(pthread_setspecific(local_key, l) != 0);
    mine = l;
    return l;
}

static inline struct local *local_get(void)
{
    return mine ? mine : local_make();
}

void crypt_init(void)
{
    pthread_once(&once, load);
}

void crypt_sha256(struct str in, unsigned char out[SHA256_LEN])
{
    EVP_MD_CTX *md = local_get()->md;

    BUG_IF(EVP_DigestInit_ex2(md, sha256, NULL) != 1 || EVP_DigestUpdate(md, in.p, in.n) != 1 ||
           EVP_DigestFinal_ex(md, out, NULL) != 1);
}

void crypt_hmac256(struct str key, struct str in, unsigned char out[SHA256_LEN])
{
    EVP_MAC_CTX *mac = local_get()->mac;
    /* A NULL key would mean "the key of the last call". */
    const unsigned char *k = (const unsigned char *)(key.n ? key.p : "");
    size_t len;

    BUG_IF(EVP_MAC_init(mac, k, key.n, NULL) != 1 ||
           EVP_MAC_update(mac, (const unsigned char *)in.p, in.n) != 1 ||
           EVP_MAC_final(mac, out, &len, SHA256_LEN) != 1);
}

void crypt_derive(struct str key, const char *label, unsigned char out[SHA256_LEN])
{
    static const char no_salt[SHA256_LEN];
    unsigned char prk[SHA256_LEN];
    char info[LABEL_MAX + 1];
    size_t n = strlen(label);

    BUG_IF(n > LABEL_MAX);
    memcpy(info, label, n);
    info[n] = 1; /* the number of the first and only block */
    crypt_hmac256((struct str){ no_salt, sizeof(no_salt) }, key, prk);
    crypt_hmac256((struct str){ (const char *)prk, sizeof(prk) }, (struct str){ info, n + 1 }, out);
    OPENSSL_cleanse(prk, sizeof(prk));
}

void crypt_random(void *out, size_t n)
{
    void (*fn)(void *, size_t) = atomic_load_explicit(&source, memory_order_relaxed);

    if (fn) {
        fn(out, n);
        return;
    }
    BUG_IF(n > INT_MAX || RAND_bytes(out, (int)n) != 1);
}

void crypt_random_source(void (*fn)(void *out, size_t n))
{
    atomic_store_explicit(&source, fn, memory_order_relaxed);
}

/* A few bytes for an id, from the pool of the thread (or straight from a source that tests
 * installed). */
static void random_few(void *out, size_t n)
{
    struct local *l;

    if (atomic_load_explicit(&source, memory_order_relaxed)) {
        crypt_random(out, n);
        return;
    }
    l = local_get();
    if (l->left < n) {
        crypt_random(l->pool, POOL_BYTES);
        l->left = POOL_BYTES;
    }
    memcpy(out, l->pool + (POOL_BYTES - l->left), n);
    l->left -= n;
}

bool crypt_equal(const void *a, const void *b, size_t n)
{
    return n == 0 || CRYPTO_memcmp(a, b, n) == 0;
}

static char *put_hex(char *at, const unsigned char *p, size_t n)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < n; i++) {
        *at++ = digits[p[i] >> 4];
        *at++ = digits[p[i] & 15];
    }
    return at;
}

struct str hex_of(struct arena *a, const unsigned char *p, size_t n)
{
    char *text = arena_alloc(a, 2 * n);

    put_hex(text, p, n);
    return (struct str){ text, 2 * n };
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool hex_parse(struct str s, unsigned char *out, size_t n)
{
    if (s.n / 2 != n || s.n % 2)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (hex_digit(s.p[i]) < 0)
            return false;
    }
    for (size_t i = 0; i < n; i++)
        out[i] = (unsigned char)(16 * hex_digit(s.p[2 * i]) + hex_digit(s.p[2 * i + 1]));
    return true;
}

struct str base64url_of(struct arena *a, const unsigned char *p, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    size_t len = n / 3 * 4 + (n % 3 ? n % 3 + 1 : 0);
    char *text = arena_alloc(a, len);
    unsigned acc = 0;
    int bits = 0;
    size_t at = 0;

    for (size_t i = 0; i < n; i++) {
        acc = (acc << 8 | p[i]) & 0xFFFF;
        for (bits += 8; bits >= 6; bits -= 6)
            text[at++] = digits[acc >> (bits - 6) & 63];
    }
    if (bits)
        text[at++] = digits[acc << (6 - bits) & 63];
    return (struct str){ text, at };
}

static int base64url_digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

bool base64url_parse(struct str s, unsigned char *out, size_t cap, size_t *out_n)
{
    size_t n = s.n / 4 * 3 + (s.n % 4 ? s.n % 4 - 1 : 0);
    unsigned acc = 0;
    int bits = 0;
    size_t at = 0;

    if (s.n % 4 == 1 || n > cap)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        int digit = base64url_digit(s.p[i]);

        if (digit < 0)
            return false;
        acc = (acc << 6 | (unsigned)digit) & 0xFFFF;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            out[at++] = (unsigned char)(acc >> bits);
        }
    }
    if (acc & ((1U << bits) - 1)) /* bits that no byte holds must be zero */
        return false;
    *out_n = at;
    return true;
}

bool crypt_key_of(struct str s, unsigned char out[SHA256_LEN])
{
    char url[KEY_BASE64];
    size_t n = 0;

    if (hex_parse(s, out, SHA256_LEN))
        return true;
    if (s.n != KEY_BASE64 || s.p[KEY_BASE64 - 1] != '=')
        return false;
    for (size_t i = 0; i < KEY_BASE64 - 1; i++)
        url[i] = s.p[i] == '+' ? '-' : s.p[i] == '/' ? '_' : s.p[i];
    return base64url_parse((struct str){ url, KEY_BASE64 - 1 }, out, SHA256_LEN, &n) &&
           n == SHA256_LEN;
}

/* The next time stamp with counter: the clock, or one more than the newest when the clock stands
 * still or went back. Past 4096 ids in a millisecond the stamp runs ahead a little. */
static uint64_t next_id(void)
{
    uint64_t now = (uint64_t)clock_ms() << 12;
    uint64_t last = atomic_load_explicit(&last_id, memory_order_relaxed);
    uint64_t next;

    do
        next = now > last ? now : last + 1;
    while (!atomic_compare_exchange_weak_explicit(&last_id, &last, next, memory_order_relaxed,
                                                  memory_order_relaxed));
    return next;
}

struct str uuid7(struct arena *a)
{
    char *text = arena_alloc(a, UUID_TEXT);
    unsigned char id[16];
    uint64_t stamp = next_id();
    char *at = text;

    for (int i = 0; i < 6; i++)
        id[i] = (unsigned char)(stamp >> (52 - 8 * i));
    id[6] = (unsigned char)(0x70 | (stamp >> 8 & 15));
    id[7] = (unsigned char)stamp;
    random_few(id + 8, 8);
    id[8] = (unsigned char)(0x80 | (id[8] & 0x3F));
    at = put_hex(at, id, 4);
    for (int i = 4; i < 10; i += 2) {
        *at++ = '-';
        at = put_hex(at, id + i, 2);
    }
    *at++ = '-';
    put_hex(at, id + 10, 6);
    return (struct str){ text, UUID_TEXT };
}

struct str uuid7_least(struct arena *a, int64_t ms)
{
    uint64_t stamp = ms < 0 ? 0 : (uint64_t)ms & ((UINT64_C(1) << 48) - 1);
    return str_printf(a, "%08x-%04x-7000-8000-000000000000", (unsigned)(stamp >> 16),
                      (unsigned)(stamp & 0xFFFF));
}

bool uuid_is_valid(struct str s)
{
    if (s.n != UUID_TEXT)
        return false;
    for (size_t i = 0; i < UUID_TEXT; i++) {
        bool is_dash = i == 8 || i == 13 || i == 18 || i == 23;

        if (is_dash ? s.p[i] != '-' : hex_digit(s.p[i]) < 0)
            return false;
    }
    return true;
}

struct str password_hash(struct arena *a, struct str password)
{
    unsigned char salt[ARGON_SALT];
    char phc[PHC_MAX];
    int rc;

    crypt_random(salt, sizeof(salt));
    rc = argon2id_hash_encoded(ARGON_PASSES, ARGON_KIB, ARGON_LANES, password.n ? password.p : "",
                               password.n, salt, sizeof(salt), ARGON_HASH, phc, sizeof(phc));
    BUG_IF(rc != ARGON2_OK);
    return str_dup(a, str_of(phc));
}

bool password_verify(struct str phc, struct str password)
{
    char text[PHC_MAX];

    if (phc.n == 0 || phc.n >= sizeof(text) || memchr(phc.p, 0, phc.n))
        return false;
    memcpy(text, phc.p, phc.n);
    text[phc.n] = '\0';
    return argon2id_verify(text, password.n ? password.p : "", password.n) == ARGON2_OK;
}
