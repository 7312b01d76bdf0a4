/* Bump allocation out of 8 KiB blocks.
 *
 * The newest block is filled from `at` to `end`; what is larger than a quarter of a block gets a
 * block of its own behind the newest one, so that the room left there is still used. Blocks of the
 * default size go to a bounded free list of the thread that ends the arena, whichever thread made
 * them: they are plain malloc memory. The list dies with its thread.
 *
 * Under AddressSanitizer nothing is pooled, each allocation is followed by a poisoned gap and
 * exactly the bytes asked for are readable, so that overflows inside a block are seen too. */
#include "arena.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_ASAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define ARENA_ASAN 1
#endif

#ifdef ARENA_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(p, n) ASAN_POISON_MEMORY_REGION((p), (n))
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION((p), (n))
#define GAP ((size_t)16)
#define POOL_MAX 0
#else
#define POISON(p, n) ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#define GAP ((size_t)0)
#define POOL_MAX 32 /* blocks kept per thread: 256 KiB */
#endif

#define ALIGN ((size_t)16)
#define BLOCK_ROOM (8192 - sizeof(struct arena_block))
#define OWN_BLOCK_AT (BLOCK_ROOM / 4)

struct arena_block {
    struct arena_block *next;
    size_t room;
    _Alignas(16) char data[];
};

struct arena_defer {
    struct arena_defer *next;
    void (*fn)(void *);
    void *obj;
};

struct pool {
    struct arena_block *first;
    unsigned n;
    bool has_exit_hook;
};

static _Thread_local struct pool pool;
static pthread_key_t pool_key;
static pthread_once_t pool_once = PTHREAD_ONCE_INIT;

static void pool_drop(void *unused)
{
    (void)unused;
    while (pool.first) {
        struct arena_block *b = pool.first;

        pool.first = b->next;
        free(b);
    }
    pool = (struct pool){ 0 };
}

static void pool_key_make(void)
{
    BUG_IF(pthread_key_create(&pool_key, pool_drop) != 0);
}

static struct arena_block *block_get(size_t room)
{
    struct arena_block *b = pool.first;

    if (room == BLOCK_ROOM && b) {
        pool.first = b->next;
        pool.n--;
        return b;
    }
    b = malloc(sizeof(*b) + room);
    BUG_IF(!b);
    b->room = room;
    POISON(b->data, room);
    return b;
}

static void block_put(struct arena_block *b)
{
    UNPOISON(b->data, b->room);
    if (b->room != BLOCK_ROOM || pool.n + 1 > POOL_MAX) {
        free(b);
        return;
    }
    if (!pool.has_exit_hook) {
        pthread_once(&pool_once, pool_key_make);
        pool.has_exit_hook = pthread_setspecific(pool_key, &pool) == 0;
    }
    b->next = pool.first;
    pool.first = b;
    pool.n++;
}

void arena_init(struct arena *a, size_t cap)
{
    *a = (struct arena){ .cap = cap };
}

static void run_defers(struct arena *a)
{
    while (a->defers) {
        struct arena_defer *d = a->defers;

        a->defers = d->next;
        d->fn(d->obj);
    }
}

void arena_done(struct arena *a)
{
    run_defers(a);
    while (a->block) {
        struct arena_block *b = a->block;

        a->block = b->next;
        block_put(b);
    }
    arena_init(a, a->cap);
}

void arena_reset(struct arena *a)
{
    struct arena_block *keep = NULL;
    struct arena_block *b, *next;

    run_defers(a);
    for (b = a->block; b; b = next) {
        next = b->next;
        if (!keep && b->room == BLOCK_ROOM)
            keep = b;
        else
            block_put(b);
    }
    arena_init(a, a->cap);
    if (!keep)
        return;
    POISON(keep->data, keep->room);
    keep->next = NULL;
    a->block = keep;
    a->at = keep->data;
    a->end = keep->data + keep->room;
}

/* The current block has no room for `need` bytes. */
static char *alloc_slow(struct arena *a, size_t need)
{
    struct arena_block *b;

    if (need > OWN_BLOCK_AT) {
        b = block_get(need);
        if (a->block) {
            b->next = a->block->next;
            a->block->next = b;
        } else {
            b->next = NULL;
            a->block = b; /* at == end: the next small one opens a block in front */
        }
        return b->data;
    }
    b = block_get(BLOCK_ROOM);
    b->next = a->block;
    a->block = b;
    a->at = b->data + need;
    a->end = b->data + b->room;
    return b->data;
}

static void past_cap(struct arena *a, size_t need)
{
    BUG_IF(need > 2 * a->cap || a->used + need > 2 * a->cap);
    a->over = true;
}

void *arena_alloc(struct arena *a, size_t n)
{
    size_t need = n ? (n + ALIGN - 1) & ~(ALIGN - 1) : ALIGN;
    char *p;

    BUG_IF(need < n);
    if (__builtin_expect(need > a->cap || a->used + need > a->cap, 0))
        past_cap(a, need);
    a->used += need;
    need += GAP;
    if (__builtin_expect(need <= (size_t)(a->end - a->at), 1)) {
        p = a->at;
        a->at += need;
    } else {
        p = alloc_slow(a, need);
    }
    UNPOISON(p, n);
    return p;
}

void *arena_zalloc(struct arena *a, size_t n)
{
    void *p = arena_alloc(a, n);

    if (n)
        memset(p, 0, n);
    return p;
}

void arena_defer(struct arena *a, void (*fn)(void *), void *obj)
{
    struct arena_defer *d = arena_alloc(a, sizeof(*d));

    *d = (struct arena_defer){ .next = a->defers, .fn = fn, .obj = obj };
    a->defers = d;
}
