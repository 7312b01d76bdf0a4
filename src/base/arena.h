/* Memory with a place instead of a duty: everything allocated for one unit of work dies with it.
 *
 * An arena is used by one thread at a time. malloc failure aborts the process. Passing `cap` bytes
 * sets a sticky flag (arena_over) and further allocations still succeed up to 2 * cap, so that code
 * on its way to ctx_ok() needs no checks; past that they abort the process as a bug. Blocks of the
 * default size are kept in a small per-thread free list. */
#ifndef TESSERA_BASE_ARENA_H
#define TESSERA_BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>

struct arena_block;
struct arena_defer;

struct arena {
    struct arena_block *block; /* newest first */
    struct arena_defer *defers;
    char *at;
    char *end;
    size_t used; /* bytes handed out */
    size_t cap;
    bool over;
};

void arena_init(struct arena *a, size_t cap);
void arena_done(struct arena *a);  /* runs the deferred releases (newest first), frees all */
void arena_reset(struct arena *a); /* the same, but keeps one block for the next turn */
/* Zeroed? No. 16-byte aligned. n may be 0. */
void *arena_alloc(struct arena *a, size_t n);
void *arena_zalloc(struct arena *a, size_t n);
/* Call fn(obj) when the arena ends: for objects that a library allocated. */
void arena_defer(struct arena *a, void (*fn)(void *), void *obj);

#define ARENA_NEW(a, type) ((type *)arena_zalloc((a), sizeof(type)))
#define ARENA_ARRAY(a, type, n) ((type *)arena_zalloc((a), sizeof(type) * (n)))

#endif
