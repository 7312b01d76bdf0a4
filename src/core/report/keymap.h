/* A set of byte keys, numbered 0, 1, 2 … in the order they were put in. Lives in an arena; one
 * thread. */
#ifndef TESSERA_CORE_REPORT_KEYMAP_H
#define TESSERA_CORE_REPORT_KEYMAP_H

#include "../../base/arena.h"
#include "../../base/str.h"

struct keymap {
    struct arena *arena;
    struct {
        uint64_t hash;
        struct str key;
    } * entries;
    uint32_t *slots; /* number + 1, 0 = free; open addressing */
    size_t n, n_slots;
};

/* The number of the key; a new one is copied into the arena. */
size_t keymap_put(struct keymap *m, struct str key, bool *is_new);

#endif
