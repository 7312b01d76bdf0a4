/* Any bytes: json_read refuses with a sentence or gives a value that survives writing and
 * reading. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct str text = { (const char *)data, n };
    struct buf b;
    struct ctx cx;
    json_t *v;

    if (n > 1 << 16)
        return 0;
    ctx_init(&cx, CTX_CAP_DEFAULT);
    v = json_read(&cx, text);
    if (v) {
        json_t *again = json_read(&cx, json_text(&cx, v));
        BUG_IF(!again || !json_equal(v, again));
    } else {
        BUG_IF(cx.err != ERR_INVALID_JSON || !str_is_utf8(cx.err_text) || cx.err_text.n == 0);
        ctx_clear(&cx);
    }
    buf_init(&b, &cx.arena, 1 << 20);
    buf_char(&b, '[');
    json_write_str(&b, text);
    buf_char(&b, ']');
    BUG_IF(b.over || !str_is_utf8(buf_view(&b)));
    /* U+0000 is written but not read: that is the one text that may be refused. */
    BUG_IF(!json_read(&cx, buf_view(&b)) && !memchr(data, 0, n));
    ctx_done(&cx);
    return 0;
}
