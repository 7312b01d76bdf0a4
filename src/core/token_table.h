/* A hash table that is read without a lock while one writer adds to it.
 *
 * Keys are 8 bytes of a SHA-256, values pointers to the token directory's entries. Open addressing,
 * at most half full; slots are filled and never emptied. A key may stand there more than once with
 * different entries: the reader looks at each. Private to token_dir.c, which also sees to the room:
 * a table that is outgrown stays linked as `older` until no reader can walk it any more. */
#ifndef TESSERA_CORE_TOKEN_TABLE_H
#define TESSERA_CORE_TOKEN_TABLE_H

#include <stdatomic.h>

#include "../base/crypt.h"
#include "../base/str.h"

struct entry;

struct slot {
    uint64_t tag; /* written before the entry is published */
    struct entry *_Atomic entry;
};
struct table {
    struct table *older;
    size_t mask, n;
    struct slot slots[];
};

struct table *table_new(size_t n_slots); /* a power of two */
void table_free(struct table *t);        /* with all older ones; NULL is fine */
/* Add (tag, entry) unless it is there; the table has room. Writer only. */
void table_put(struct table *t, uint64_t tag, struct entry *en);

uint64_t tag_of(const unsigned char hash[SHA256_LEN]);
uint64_t tag_of_id(struct str id);

#endif
