/* Times and durations from any bytes: what parses prints to a text of the same instant. */
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str s = { (const char *)data, size };
    char room[64];
    struct buf b = { .p = room, .cap = sizeof(room), .max = sizeof(room) };
    int64_t ms, again;

    if (time_parse(s, &ms)) {
        time_print_ms(&b, ms);
        BUG_IF(b.n != 24 || !time_parse(buf_view(&b), &again) || again != ms);
        buf_reset(&b);
        time_print_http(&b, ms);
        BUG_IF(b.n != 29);
    }
    if (duration_parse(s, &ms))
        BUG_IF(ms <= 0);
    return 0;
}
