/* The brake on webhooks that do not hold: see brake.h.
 *
 * A slot is one word: 32 bits of the name, 16 of the minute, 16 of the count. So it is read and
 * written whole without a lock. */
#include "brake.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "../../base/crypt.h"
#include "../../base/err.h"

#define SLOTS 8192 /* a power of two */
#define TOLD_MAX 3 /* lines of the log for one name and minute */
#define COUNT_MAX 0xFFFF

struct brake {
    int64_t limit;
    uint64_t seed;
    _Atomic uint64_t slots[SLOTS];
};

struct brake *brake_open(int64_t limit)
{
    struct brake *b = calloc(1, sizeof *b);
    BUG_IF(!b);
    b->limit = limit < COUNT_MAX ? limit : COUNT_MAX;
    crypt_random(&b->seed, sizeof b->seed);
    return b;
}

void brake_close(struct brake *b)
{
    free(b);
}

static uint64_t mix(uint64_t h, struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        h = (h ^ (unsigned char)s.p[i]) * UINT64_C(1099511628211);
    return (h ^ (h >> 29)) * UINT64_C(0x9E3779B97F4A7C15);
}

struct place {
    _Atomic uint64_t *slot;
    uint64_t name; /* with the minute: the upper 48 bits of the word */
};

static struct place place_of(struct brake *b, struct str ip, struct str id, int64_t now_ms)
{
    uint64_t h = mix(mix(b->seed, ip), id);
    uint64_t minute = (uint64_t)(now_ms / 60000) & 0xFFFF;
    return (struct place){ &b->slots[h % SLOTS], (h >> 32) << 32 | minute << 16 };
}

static int64_t count_of(const struct place *p)
{
    uint64_t word = atomic_load_explicit(p->slot, memory_order_relaxed);
    return (word & ~UINT64_C(0xFFFF)) == p->name ? (int64_t)(word & COUNT_MAX) : 0;
}

bool brake_is_open(struct brake *b, struct str ip, struct str id, int64_t now_ms)
{
    struct place p = place_of(b, ip, id, now_ms);
    return !b->limit || count_of(&p) < b->limit;
}

bool brake_note(struct brake *b, struct str ip, struct str id, int64_t now_ms)
{
    struct place p = place_of(b, ip, id, now_ms);
    int64_t n = count_of(&p) + 1;
    atomic_store_explicit(p.slot, p.name | (uint64_t)(n < COUNT_MAX ? n : COUNT_MAX),
                          memory_order_relaxed);
    return n <= TOLD_MAX;
}
