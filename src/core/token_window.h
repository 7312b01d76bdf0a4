/* Named limits of an API key: so many requests in a sliding window of so many milliseconds.
 *
 * A window is counted in two cells, the running one and the one before; what stands in the older
 * cell weighs as much as the window still reaches into it: used = running + before * (1 - elapsed /
 * window), rounded up. So no running cell ever holds more than the limit, and over any stretch of
 * the window's length at most the limit passes when the requests of the older cell were even (at
 * worst, all of them at its end, up to twice the limit less what has elapsed). Two numbers a window
 * instead of a list of times.
 *
 * Rules come as JSON text: [{"name":"burst","requests":50,"window":10000}, …]. */
#ifndef TESSERA_CORE_TOKEN_WINDOW_H
#define TESSERA_CORE_TOKEN_WINDOW_H

#include "../base/ctx.h"

#define WINDOW_RULES_MAX 8
#define WINDOW_NAME_MAX 32
#define WINDOW_REQUESTS_MAX INT64_C(1000000000)
#define WINDOW_MS_MIN INT64_C(1000)
#define WINDOW_MS_MAX INT64_C(2592000000) /* 30 days */

struct window_rule {
    struct str name; /* [a-z0-9_-], not "hour": that is the hourly limit */
    int64_t requests, window_ms;
};
struct window_rules {
    struct window_rule v[WINDOW_RULES_MAX];
    size_t n;
};
struct window_bad {     /* what is wrong with a list */
    size_t index;       /* of the item */
    const char *member; /* "name", "requests", "window"; NULL = the list as a whole */
    const char *why;
};
/* JSON array text to rules whose names live in cx; STR_NONE is an empty list. False: *bad says
 * why. cx is used up by the parser (its memory and, cleared again, its error). */
bool window_rules_parse(struct ctx *cx, struct str json, struct window_rules *out,
                        struct window_bad *bad);
/* The stored form. Lives in cx. */
struct str window_rules_json(struct ctx *cx, const struct window_rules *rules);

/* The cells of one window. All functions: the owner's lock is held. */
struct window {
    int64_t index; /* number of the running cell since 1970 */
    int64_t running, before;
};
/* Move to the cell of now_ms. A clock that is set back by more than one cell begins anew. */
void window_move(struct window *w, int64_t window_ms, int64_t now_ms);
/* At least so many passed in the cell `index` and in the one before it. */
void window_settle(struct window *w, int64_t index, int64_t running, int64_t before);
/* Used at now_ms, after window_move. */
int64_t window_used(const struct window *w, int64_t window_ms, int64_t now_ms);
/* Milliseconds until one more request fits under `requests`, 0 = it does now; after window_move. */
int64_t window_wait_ms(const struct window *w, int64_t window_ms, int64_t requests, int64_t now_ms);
/* Until the running cell ends. */
int64_t window_left_ms(const struct window *w, int64_t window_ms, int64_t now_ms);

#endif
