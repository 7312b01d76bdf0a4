/* Any text as conditions of a webhook, judged against an event that has members of every kind. */
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"
#include "connect/webhook/webhook_filter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char EVENT[] =
    "{\"a\":{\"b\":[1,\"x\",null,{\"c\":true}]},\"status\":\"open\",\"n\":2.5}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = { (const char *)data, size };
    struct webhook_filter f;
    struct ctx cx;

    ctx_init(&cx, (size_t)64 << 20);
    json_t *event = json_read(&cx, str_of(EVENT));
    if (webhook_filter_parse(&cx, text, &f)) {
        BUG_IF(!cx.err);
    } else {
        BUG_IF(f.n > WEBHOOK_CONDITIONS_MAX);
        for (size_t i = 0; i < f.n; i++)
            BUG_IF(!f.v[i].path.n);
        BUG_IF(!f.n && !webhook_filter_holds(&f, event, NULL));
        webhook_filter_holds(&f, event, event);
    }
    ctx_done(&cx);
    return 0;
}
