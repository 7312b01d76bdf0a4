/* Any text as a cron expression: what is taken has values in every field, and its runs go on. */
#include <stddef.h>
#include <stdint.h>

#include "core/report/cron.h"

#define BEGIN_MS INT64_C(1774656000000) /* 2026-03-28, the day before a change of clocks */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = { (const char *)data, size }, why = STR_NONE;
    struct cron c;
    struct ctx cx;

    ctx_init(&cx, CTX_CAP_DEFAULT);
    if (cron_parse(&cx.arena, text, &c, &why)) {
        struct zone *z = zone_open(&cx, STR("Europe/Berlin"));
        int64_t first, second;

        BUG_IF(!c.minutes || !c.hours || !c.days || !c.months || !c.weekdays);
        BUG_IF(c.minutes >> 60 || c.hours >> 24 || c.days & 1 || c.months & 1 || c.months >> 13);
        BUG_IF(c.weekdays >> 7 || !z);
        first = cron_next(&c, z, BEGIN_MS);
        second = first ? cron_next(&c, z, first) : 0;
        BUG_IF(first && first <= BEGIN_MS);
        BUG_IF(second && second <= first);
    } else {
        BUG_IF(!why.n);
    }
    ctx_done(&cx);
    return 0;
}
