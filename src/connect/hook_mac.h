/* What signatures of webhooks are made of: HMAC over several pieces, ed25519, base64, comparing.
 * OpenSSL underneath; the algorithms are fetched once. Any thread. */
#ifndef TESSERA_CONNECT_HOOK_MAC_H
#define TESSERA_CONNECT_HOOK_MAC_H

#include "../base/arena.h"
#include "../base/str.h"

#define HOOK_MAC_MAX 64
#define HOOK_ED_KEY 32       /* bytes of a seed, and of a public key (RFC 8032) */
#define HOOK_ED_SIGNATURE 64 /* bytes */

enum hook_hash { HOOK_SHA256, HOOK_SHA1, HOOK_SHA512 };

/* HMAC of the n pieces one after the other; returns the bytes written to out (20, 32 or 64). */
size_t hook_mac(enum hook_hash hash, struct str key, const struct str *pieces, size_t n,
                unsigned char out[HOOK_MAC_MAX]);
/* How many bytes hook_mac gives. */
size_t hook_mac_size(enum hook_hash hash);

/* The public key of a seed. */
void hook_ed_public(const unsigned char seed[HOOK_ED_KEY], unsigned char out[HOOK_ED_KEY]);
void hook_ed_sign(const unsigned char seed[HOOK_ED_KEY], const struct str *pieces, size_t n,
                  unsigned char out[HOOK_ED_SIGNATURE]);
/* False for a wrong signature and for bytes that are no public key. */
bool hook_ed_holds(const unsigned char public_key[HOOK_ED_KEY], const struct str *pieces, size_t n,
                   const unsigned char signature[HOOK_ED_SIGNATURE]);

/* RFC 4648 §4, padded. Lives in a. */
struct str hook_base64(struct arena *a, const unsigned char *p, size_t n);
/* Both alphabets, padded or not; no white space, no stray bits. False when it is none of these or
 * longer than cap. */
bool hook_base64_read(struct str text, unsigned char *out, size_t cap, size_t *n);
/* Whether two texts are the same; takes as long whatever they hold and tells no length. */
bool hook_is_same(struct str a, struct str b);

#endif
