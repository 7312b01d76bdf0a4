/* The token directory's hash table: see token_table.h. */
#include "token_table.h"

#include <stdlib.h>
#include <string.h>

#include "../base/err.h"

struct table *table_new(size_t n_slots)
{
    struct table *t = calloc(1, sizeof *t + n_slots * sizeof *t->slots);
    BUG_IF(!t);
    t->mask = n_slots - 1;
    return t;
}

void table_free(struct table *t)
{
    while (t) {
        struct table *older = t->older;
        free(t);
        t = older;
    }
}

uint64_t tag_of(const unsigned char hash[SHA256_LEN])
{
    uint64_t tag;
    memcpy(&tag, hash, sizeof tag);
    return tag;
}

uint64_t tag_of_id(struct str id)
{
    unsigned char hash[SHA256_LEN];
    crypt_sha256(id, hash);
    return tag_of(hash);
}

void table_put(struct table *t, uint64_t tag, struct entry *en)
{
    for (size_t i = tag & t->mask;; i = (i + 1) & t->mask) {
        struct slot *s = &t->slots[i];
        struct entry *old = atomic_load_explicit(&s->entry, memory_order_relaxed);
        if (old == en && s->tag == tag)
            return;
        if (old)
            continue;
        s->tag = tag;
        t->n++;
        atomic_store_explicit(&s->entry, en, memory_order_release);
        return;
    }
}
