/* Cursors from any bytes: what is accepted is exactly what we would print; both as text and as a
 * correctly signed payload. */
#include <stddef.h>
#include <stdint.h>

#include "base/crypt.h"
#include "core/cursor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct cursor_key key = { { 1, 2, 3 } };

static void check_text(struct ctx *cx, struct str text)
{
    struct cursor c = { .kind = STR("tickets:-created_at"), .filter = STR("f") };

    if (cursor_parse(cx, &key, text, &c)) {
        BUG_IF(cx->err != ERR_INVALID_PARAMETER || cx->n_fields != 1);
        return;
    }
    BUG_IF(!str_eq(cursor_print(cx, &key, &c), text));
}

/* The bytes as an id; ids are text from the database, so without NUL. */
static void check_id(struct ctx *cx, struct str id)
{
    id = str_cut(&id, '\0');
    struct cursor c = { .kind = STR("k"), .filter = STR_NONE, .at = -5, .id = str_sub(id, 0, 64) };
    struct cursor back = { .kind = STR("k"), .filter = STR_NONE };
    struct str text = cursor_print(cx, &key, &c);

    ctx_clear(cx);
    BUG_IF(cursor_parse(cx, &key, text, &back));
    BUG_IF(back.at != -5 || !str_eq(back.id, c.id));
}

static void check_signed(struct ctx *cx, struct str payload)
{
    unsigned char raw[16 + 200], sum[SHA256_LEN];
    struct cursor c = { .kind = STR("k"), .filter = STR_NONE };

    payload = str_sub(payload, 0, 200);
    crypt_hmac256((struct str){ (const char *)key.b, sizeof key.b }, payload, sum);
    for (size_t i = 0; i < 16; i++)
        raw[i] = sum[i];
    for (size_t i = 0; i < payload.n; i++)
        raw[16 + i] = (unsigned char)payload.p[i];
    ctx_clear(cx);
    (void)cursor_parse(cx, &key, base64url_of(&cx->arena, raw, 16 + payload.n), &c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str s = { (const char *)data, size };
    struct ctx cx;

    crypt_init();
    ctx_init(&cx, (size_t)16 << 20);
    check_text(&cx, s);
    check_id(&cx, s);
    check_signed(&cx, s);
    ctx_done(&cx);
    return 0;
}
