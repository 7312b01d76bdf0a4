/* Hashes, random bytes, ids, base64url, constant-time compare. OpenSSL 3 underneath; each EVP_MD is
 * fetched once. Any thread. */
#ifndef TESSERA_BASE_CRYPT_H
#define TESSERA_BASE_CRYPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "str.h"

struct arena;

#define SHA256_LEN 32
#define UUID_TEXT 36

void crypt_init(void); /* once, before threads */
void crypt_sha256(struct str in, unsigned char out[SHA256_LEN]);
void crypt_hmac256(struct str key, struct str in, unsigned char out[SHA256_LEN]);
/* HKDF-SHA256 (RFC 5869) of `key` with `label` as info, no salt: 32 bytes. */
void crypt_derive(struct str key, const char *label, unsigned char out[SHA256_LEN]);
/* Cryptographic random; a failing generator aborts. Seam: tests may install a fixed source. */
void crypt_random(void *out, size_t n);
void crypt_random_source(void (*fn)(void *out, size_t n)); /* NULL = the real one */
bool crypt_equal(const void *a, const void *b, size_t n);  /* constant time */

struct str hex_of(struct arena *a, const unsigned char *p, size_t n); /* lower case */
bool hex_parse(struct str s, unsigned char *out, size_t n);           /* exactly 2n digits */
struct str base64url_of(struct arena *a, const unsigned char *p,
                        size_t n); /* no padding, RFC 4648 §5 */
/* Strict: no padding, no white space, no stray bits. *out_n = decoded length; false when not valid
 * or longer than cap. */
bool base64url_parse(struct str s, unsigned char *out, size_t cap, size_t *out_n);
/* A key of 32 bytes as people write it: 64 hex digits, or base64 of either alphabet with its
 * padding, which tells a key from a path. False leaves *out unsaid. */
bool crypt_key_of(struct str s, unsigned char out[SHA256_LEN]);

/* UUIDv7 (RFC 9562 §5.7), lower case, strictly increasing within the process. */
struct str uuid7(struct arena *a);
/* The least of those that begin with this millisecond of the wall clock (0 to 2^48): a bound for
 * ids, which are not older than what they were made for. */
struct str uuid7_least(struct arena *a, int64_t ms);
/* 8-4-4-4-12 hex digits, any version, either case. */
bool uuid_is_valid(struct str s);

/* Argon2id in PHC string form with the library's random salt; verify is constant time. */
struct str password_hash(struct arena *a, struct str password);
bool password_verify(struct str phc, struct str password);

#endif
