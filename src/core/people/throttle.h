/* Brakes on guessing: failed sign-ins by account and address, in memory of this process.
 *
 * An attempt is counted before it is judged and taken back when it was right, so that many at once
 * get no further than one after another. Three counts bound it: the account from one address, the
 * address over all accounts (ten times as many), and the account over all addresses (ten times as
 * many). They would let strangers lock the owner out, so a browser that has signed in to the
 * account before (it holds a signed device cookie) has a count of its own instead of all three.
 *
 * Counts live 15 minutes from their first failure, in a table of fixed size; when it is crowded the
 * smallest count is forgotten. Names are kept as keyed hashes. Any thread. */
#ifndef TESSERA_CORE_PEOPLE_THROTTLE_H
#define TESSERA_CORE_PEOPLE_THROTTLE_H

#include "../../base/ctx.h"

#define THROTTLE_WINDOW_MS ((int64_t)15 * 60 * 1000)
#define THROTTLE_WIDE 10 /* times the limit: an address over all accounts, an account over all */
#define DEVICE_COOKIE "tessera_device"
#define DEVICE_DAYS 365

struct throttle;
/* limit: failures of an account from one address. Device cookies are signed with a key derived from `key`;
 * with an empty one they end with this process. */
struct throttle *throttle_open(struct str key, int64_t limit);
void throttle_close(struct throttle *t); /* NULL is fine */

struct attempt {
    struct str account; /* e-mail address as it is kept */
    struct str ip;      /* text; IPv6 counts by its /64 */
    struct str device;  /* the device cookie or STR_NONE */
};
/* Counts it. RATE_LIMITED with retry_after_s when a count is full (and then counts nothing). */
enum err_code throttle_enter(struct ctx *cx, struct throttle *t, const struct attempt *a);
/* It was right: the account starts at zero from this address or browser, the other counts lose this
 * attempt. */
void throttle_pass(struct throttle *t, const struct attempt *a);
/* It was not judged (a code is asked for first, the store is down): the counts lose it. */
void throttle_undo(struct throttle *t, const struct attempt *a);

/* A call that is bounded by address alone: `limit` of `what` (static text) in the window. */
enum err_code throttle_address(struct ctx *cx, struct throttle *t, const char *what, struct str ip,
                               int64_t limit);
/* The same by any text; false = full. */
bool throttle_text(struct throttle *t, const char *what, struct str text, int64_t limit);

/* The value of a device cookie for the account; lives in a. */
struct str throttle_device(struct throttle *t, struct arena *a, struct str account);

#endif
