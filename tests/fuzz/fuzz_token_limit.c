/* Any text as a list of addresses or endpoints of a token: what is taken matches itself. */
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"
#include "core/token.h"
#include "core/token_limit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_ips(struct ctx *cx, struct str text)
{
    struct cidrs list = { NULL, 0 };
    struct str bad = STR_NONE;

    if (!allowed_ips_parse(cx, &cx->arena, text, &list, &bad))
        return;
    BUG_IF(bad.p || list.n == 0 || list.n > TOKEN_IPS_MAX);
    for (size_t i = 0; i < list.n; i++)
        BUG_IF(!cidrs_match(list, &list.v[i].ip));
}

static void check_endpoints(struct ctx *cx, struct str text)
{
    struct endpoints list = { NULL, 0 };
    struct str bad = STR_NONE;

    if (!allowed_endpoints_parse(cx, &cx->arena, text, &list, &bad))
        return;
    BUG_IF(bad.p || list.n == 0 || list.n > TOKEN_ENDPOINTS_MAX);
    for (size_t i = 0; i < list.n; i++) {
        struct endpoints one = { &list.v[i], 1 };
        struct str method = list.v[i].method.p ? list.v[i].method : STR("GET");

        BUG_IF(!list.v[i].path.n && !list.v[i].is_prefix);
        BUG_IF(!allowed_endpoints_match(one, method, list.v[i].path, STR("/")));
        BUG_IF(!allowed_endpoints_match(one, method, STR("/"), list.v[i].path));
        if (list.v[i].method.p)
            BUG_IF(allowed_endpoints_match(one, STR("HEAD"), list.v[i].path, list.v[i].path));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = { (const char *)data, size };
    struct ctx cx;

    ctx_init(&cx, CTX_CAP_DEFAULT);
    check_ips(&cx, text);
    check_endpoints(&cx, text);
    ctx_done(&cx);
    return 0;
}
