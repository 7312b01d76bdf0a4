/* Keys of Standard Webhooks and their texts: whsec_ (HMAC-SHA256, shared by both sides), whsk_
 * (ed25519, private, stays with the sender) and whpk_ (ed25519, public, for the receiver); behind the
 * prefix stands base64. Any thread. */
#ifndef TESSERA_CONNECT_HOOK_KEY_H
#define TESSERA_CONNECT_HOOK_KEY_H

#include "../base/ctx.h"
#include "hook_mac.h"

#define HOOK_KEY_BYTES 256    /* of a shared secret that is accepted */
#define HOOK_SECRET_MIN 24    /* bytes of a shared secret for what we send; the specification's */
#define HOOK_SECRET_MAX 64    /* bounds */
#define HOOK_SECRET_RANDOM 32 /* bytes of one made here */

enum hook_key_kind {
    HOOK_KEY_SHARED,  /* bytes: the secret, n of them */
    HOOK_KEY_PRIVATE, /* bytes: the seed */
    HOOK_KEY_PUBLIC,  /* bytes: the point */
};

struct hook_key {
    enum hook_key_kind kind;
    unsigned char bytes[HOOK_KEY_BYTES];
    size_t n;
};

struct hook_key_text {
    struct str secret;      /* whsec_… or whsk_…: to be kept secret */
    struct str public_text; /* whpk_…, STR_NONE for a shared secret */
};

/* A key from its text. Without a prefix the text is taken as base64 of a shared secret, or, when it
 * is not base64, as that secret itself. whsk_ holds 32 bytes (the seed) or 64 (seed and public
 * key). False when it is empty, too long or damaged. *out holds a secret: wipe it with
 * hook_key_wipe. */
bool hook_key_read(struct str text, struct hook_key *out);
void hook_key_wipe(struct hook_key *key);

/* A new key. The texts live in a. */
struct hook_key_text hook_key_make(struct arena *a, enum hook_key_kind kind);
/* Whether a text may sign what we send: whsec_ with 24 to 64 bytes or whsk_; INVALID_FIELD saying
 * what is wrong, never showing the text. */
enum err_code hook_key_check(struct ctx *cx, struct str text);
/* whpk_… of a whsk_…; STR_NONE for another text. Lives in a. */
struct str hook_key_public(struct arena *a, struct str secret);

#endif
