/* Keys to numbers: see keymap.h. At most half of the slots are taken. */
#include "keymap.h"

#include <string.h>
#include <xxhash.h>

#define SLOTS_MIN 1024

static size_t slot_of(const struct keymap *m, uint64_t hash, struct str key)
{
    size_t at = hash & (m->n_slots - 1);
    for (; m->slots[at]; at = (at + 1) & (m->n_slots - 1)) {
        size_t i = m->slots[at] - 1;
        if (m->entries[i].hash == hash && str_eq(m->entries[i].key, key))
            break;
    }
    return at;
}

static void grow(struct keymap *m)
{
    size_t n_slots = m->n_slots ? m->n_slots * 4 : SLOTS_MIN;
    void *entries = arena_alloc(m->arena, n_slots / 2 * sizeof *m->entries);
    if (m->n)
        memcpy(entries, m->entries, m->n * sizeof *m->entries);
    m->entries = entries;
    m->slots = arena_zalloc(m->arena, n_slots * sizeof *m->slots);
    m->n_slots = n_slots;
    for (size_t i = 0; i < m->n; i++)
        m->slots[slot_of(m, m->entries[i].hash, m->entries[i].key)] = (uint32_t)i + 1;
}

size_t keymap_put(struct keymap *m, struct str key, bool *is_new)
{
    uint64_t hash = XXH3_64bits(key.p, key.n);
    if (2 * (m->n + 1) > m->n_slots)
        grow(m);
    size_t at = slot_of(m, hash, key);
    *is_new = m->slots[at] == 0;
    if (*is_new) {
        m->entries[m->n].hash = hash;
        m->entries[m->n].key = str_dup(m->arena, key);
        m->slots[at] = (uint32_t)++m->n;
    }
    return m->slots[at] - 1;
}
