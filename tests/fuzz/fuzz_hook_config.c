/* Any text as the configuration of an hmac sender: what is taken leaves a scheme that the verifier can
 * work with, that covers the body, and that lets nobody in without the secret. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/crypt.h"
#include "connect/hook_config.h"
#include "connect/hook_verify.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(struct ctx *cx, const struct hook_scheme *s)
{
    static const struct str secret = { "c2VjcmV0LXNlY3JldA==", 20 };
    struct hook_header headers[] = {
        { str_of(s->signature[0]),
          str_printf(&cx->arena, "%s%064d", s->prefix ? s->prefix : "", 0) },
        { s->time.header[0] ? str_of(s->time.header[0]) : STR("x-none"), STR("1790000000") },
        { s->id[0] ? str_of(s->id[0]) : STR("x-none"), STR("id-1") },
    };
    struct hook_ask ask = { .scheme = s,
                            .secrets = &secret,
                            .n_secrets = 1,
                            .headers = headers,
                            .n_headers = 3,
                            .url = STR("https://h.test/"),
                            .body = STR("{\"id\":1}"),
                            .now_ms = INT64_C(1790000000000),
                            .wants_hints = true };
    struct hook_verdict v = hook_verify(cx, &ask);
    BUG_IF(v.is_valid || cx->err);
    BUG_IF(!strstr(s->text, "{body}"));
    BUG_IF(!strstr(s->text, "{time}") != !s->time.window_ms);
    BUG_IF(s->ack_status < 200 || s->ack_status > 204);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hook_scheme s;
    struct ctx cx;
    ctx_init(&cx, CTX_CAP_DEFAULT);
    enum err_code e = hook_config_parse(&cx, (struct str){ (const char *)data, size }, &s);
    BUG_IF(e != cx.err);
    if (!e)
        use(&cx, &s);
    ctx_done(&cx);
    return 0;
}
