/* Scope words and stored scope lists from any bytes: known words only, admin:full never by a
 * wildcard, printing is stable. */
#include <stddef.h>
#include <stdint.h>

#include "base/ctx.h"
#include "core/caller.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str s = { (const char *)data, size };
    uint64_t all = (UINT64_C(1) << SCOPE_BITS) - 1;
    struct arena a;

    arena_init(&a, (size_t)1 << 20);
    uint64_t word = scope_parse(s), list = scopes_of_json(s);
    BUG_IF((word | list) & ~all);
    BUG_IF((word & SCOPE(ADMIN_FULL)) && !str_eq(s, STR("admin:full")));
    BUG_IF(word && (word & (word - 1)) && s.p[s.n - 1] != '*');
    BUG_IF(scopes_of_json(scopes_json(&a, list)) != list);
    arena_done(&a);
    return 0;
}
