/* From method and path to a route row.
 *
 * The index is an array of all rows with their patterns cut into segments; a look-up passes over
 * the rows with another number of segments and compares the rest. Built once before the threads
 * start, read-only afterwards. Literal segments are compared as sent (no decoding), parameters are
 * percent-decoded and must then be valid UTF-8 without NUL or '/'. */
#include "exchange.h"

#include <string.h>

#define SEGMENTS_MAX 12

struct pattern {
    const struct route *route;
    int n;
    struct str segments[SEGMENTS_MAX];
};

static struct pattern *patterns;
static int n_patterns;

static int path_split(struct str path, struct str segments[SEGMENTS_MAX])
{
    int n = 0;
    struct str rest = path.n ? str_sub(path, 1, path.n - 1) : path;
    while (rest.p) {
        if (n == SEGMENTS_MAX)
            return -1;
        segments[n++] = str_cut(&rest, '/');
    }
    return n;
}

void router_build(struct arena *a)
{
    n_patterns = 0;
    for (const struct route_table *const *t = route_tables; *t; t++)
        n_patterns += (int)(*t)->n;
    patterns = ARENA_ARRAY(a, struct pattern, (size_t)n_patterns);
    int k = 0;
    for (const struct route_table *const *t = route_tables; *t; t++)
        for (size_t i = 0; i < (*t)->n; i++) {
            struct pattern *p = &patterns[k++];
            p->route = &(*t)->rows[i];
            p->n = path_split(str_of((*t)->rows[i].path), p->segments);
            BUG_IF(p->n < 1);
        }
}

int router_count(void)
{
    return n_patterns;
}

const struct route *router_at(int index)
{
    return index < n_patterns ? patterns[index].route : NULL;
}

int router_index(const struct route *r)
{
    for (int i = 0; r && i < n_patterns; i++)
        if (patterns[i].route == r)
            return i;
    return n_patterns;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes %XX; false for a bad escape or a value no parameter may have. */
static bool param_decode(struct arena *a, struct str in, struct str *out)
{
    if (!memchr(in.p, '%', in.n)) {
        *out = in;
        return in.n > 0 && str_is_utf8(in);
    }
    char *p = arena_alloc(a, in.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < in.n; i++) {
        int c = (unsigned char)in.p[i];
        if (c == '%') {
            int hi = i + 2 < in.n ? hex_digit(in.p[i + 1]) : -1;
            int lo = i + 2 < in.n ? hex_digit(in.p[i + 2]) : -1;
            if (hi < 0 || lo < 0)
                return false;
            c = hi * 16 + lo;
            i += 2;
        }
        if (c == 0 || c == '/')
            return false;
        p[n++] = (char)c;
    }
    p[n] = 0;
    *out = (struct str){ p, n };
    return n > 0 && str_is_utf8(*out);
}

static bool pattern_match(const struct pattern *p, const struct str *segments, struct str *params,
                          struct arena *a)
{
    int n_params = 0;
    for (int i = 0; i < p->n; i++) {
        if (p->segments[i].n && p->segments[i].p[0] == '{') {
            BUG_IF(n_params == ROUTE_PARAMS_MAX);
            if (!param_decode(a, segments[i], &params[n_params++]))
                return false;
        } else if (!str_eq(p->segments[i], segments[i])) {
            return false;
        }
    }
    return true;
}

const struct route *router_find(struct str method, struct str path,
                                struct str params[ROUTE_PARAMS_MAX], struct str *allow,
                                struct arena *a)
{
    struct str segments[SEGMENTS_MAX];
    if (!path.n || path.p[0] != '/')
        return NULL;
    if (str_eq(path, STR(V0_MOUNT "/")) || str_eq(path, STR("/docs/")))
        path.n--;
    int n = path_split(path, segments);
    bool is_head = str_eq(method, STR("HEAD"));
    struct buf list;
    buf_init(&list, a, 256);
    for (int i = 0; i < n_patterns; i++) {
        const struct pattern *p = &patterns[i];
        if (p->n != n || !pattern_match(p, segments, params, a))
            continue;
        if (str_eq(method, str_of(p->route->method)) ||
            (is_head && !strcmp(p->route->method, "GET")))
            return p->route;
        if (list.n)
            buf_lit(&list, ", ");
        buf_lit(&list, p->route->method);
        if (!strcmp(p->route->method, "GET"))
            buf_lit(&list, ", HEAD");
    }
    if (list.n)
        buf_lit(&list, ", OPTIONS");
    *allow = buf_view(&list);
    return NULL;
}
