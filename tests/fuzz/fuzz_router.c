/* Any method and path (first line, rest): a match has sound parameters; no match without a method
 * has no Allow of nothing. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "http/exchange.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_match(const struct route *r, const struct str *params)
{
    size_t braces = 0;

    for (const char *c = r->path; *c; c++)
        braces += *c == '{';
    for (size_t i = 0; i < braces; i++)
        BUG_IF(!params[i].n || !str_is_utf8(params[i]) || memchr(params[i].p, '/', params[i].n) ||
               memchr(params[i].p, 0, params[i].n));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct arena routes;
    struct str path = { (const char *)data, size }, params[ROUTE_PARAMS_MAX] = { STR_NONE },
               allow = STR_NONE;
    struct arena a;

    if (!routes.cap) {
        arena_init(&routes, (size_t)1 << 20);
        router_build(&routes);
    }
    if (size && memchr(data, 0, size)) /* the server hands over C strings */
        return 0;
    arena_init(&a, (size_t)16 << 20);
    struct str method = str_cut(&path, '\n');
    const struct route *r = router_find(method, path, params, &allow, &a);
    if (r)
        check_match(r, params);
    else if (allow.n)
        BUG_IF(!strstr(str_cstr(&a, allow), ", OPTIONS"));
    arena_done(&a);
    return 0;
}
