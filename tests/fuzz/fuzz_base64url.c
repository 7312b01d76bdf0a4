/* base64url and hex from any bytes: the text form is unique, so what decodes encodes to itself. */
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/crypt.h"
#include "base/err.h"

#define OUT_MAX 1024

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str s = { (const char *)data, size };
    unsigned char out[OUT_MAX];
    struct arena a;
    struct str text;
    size_t n;

    arena_init(&a, (size_t)16 << 20);
    if (base64url_parse(s, out, sizeof(out), &n))
        BUG_IF(!str_eq(base64url_of(&a, out, n), s));
    text = base64url_of(&a, data, size);
    if (size <= sizeof(out)) {
        BUG_IF(!base64url_parse(text, out, size, &n) || n != size || !crypt_equal(out, data, n));
        BUG_IF(size > 0 && base64url_parse(text, out, size - 1, &n));
    }
    if (size / 2 <= sizeof(out) && hex_parse(s, out, size / 2))
        BUG_IF(!str_eq_nocase(hex_of(&a, out, size / 2), s));
    uuid_is_valid(s);
    arena_done(&a);
    return 0;
}
