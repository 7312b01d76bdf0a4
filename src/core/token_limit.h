/* What bounds the use of a token: addresses, endpoints, requests an hour; and wrong tokens an
 * address and minute.
 *
 * The lists are parsed once, when a token is made (to refuse bad ones) and when the directory loads
 * it. */
#ifndef TESSERA_CORE_TOKEN_LIMIT_H
#define TESSERA_CORE_TOKEN_LIMIT_H

#include <stdatomic.h>

#include "../base/clock.h"
#include "../base/net.h"

#define MINUTE_MS ((int64_t)60 * 1000)
#define ENDPOINT_TEXT_MAX 300 /* bytes of one pattern */

struct endpoint {
    struct str method; /* STR_NONE = any */
    struct str path;   /* without the final * */
    bool is_prefix;
};
struct endpoints {
    const struct endpoint *v;
    size_t n;
};

/* JSON array text to a parsed list in `a`; cx is used up by the parser (its memory and, cleared
 * again, its error). False when it is not an array of 1 to `max` strings (*bad = STR_NONE) or when
 * the item *bad is wrong. Any thread. */
bool allowed_ips_parse(struct ctx *cx, struct arena *a, struct str json, struct cidrs *out,
                       struct str *bad);
bool allowed_endpoints_parse(struct ctx *cx, struct arena *a, struct str json,
                             struct endpoints *out, struct str *bad);
/* Does a pattern cover the method and either of both paths (the route's pattern, the path as
 * sent)? */
bool allowed_endpoints_match(struct endpoints list, struct str method, struct str route,
                             struct str path);

/* Requests of one token in one hour, in one word: hour number << 32 | count. Any thread,
 * lock-free. */
struct hour_count {
    atomic_ullong word;
};
/* Take one; false (and nothing taken) when `limit` are gone. *used = the count after it. */
bool hour_take(struct hour_count *h, int64_t now_ms, int64_t limit, int64_t *used);
int64_t hour_used(struct hour_count *h, int64_t now_ms);
/* At least `count` were taken in that hour. */
void hour_settle(struct hour_count *h, int64_t hour_ms, int64_t count);
/* Whole seconds until the next hour (or minute) begins, at least 1. */
int64_t seconds_left(int64_t now_ms, int64_t window_ms);

/* Wrong tokens by address (IPv6: by /64) in the running minute: a table of fixed size; when it is
 * crowded, the address with the fewest wrong tokens is forgotten. Any thread. */
struct wrong_tokens;
struct wrong_tokens *wrong_open(void);
void wrong_close(struct wrong_tokens *w); /* NULL is fine */
/* Count one; true when this address has now had more than per_minute of them. */
bool wrong_note(struct wrong_tokens *w, const struct ip *ip, int64_t now_ms, int64_t per_minute);
/* The same by who asked instead of by address; not both in one table. */
bool wrong_note_id(struct wrong_tokens *w, struct str id, int64_t now_ms, int64_t per_minute);

#endif
