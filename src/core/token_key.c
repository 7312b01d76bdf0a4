/* The secret of an API key: see token_key.h. */
#include "token_key.h"

#include <string.h>
#include <zlib.h>

#include "../base/arena.h"
#include "../base/err.h"

#define HEAD "stk_live_"
#define HEAD_LEN 9
#define RANDOM_LEN 30
#define SUMMED_LEN (HEAD_LEN + RANDOM_LEN)
#define SUM_LEN 6

static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/* Bytes of 248 and more are thrown away: 248 = 4 * 62, so every digit is as likely as any other. */
static void put_random(char *to, size_t n)
{
    unsigned char bytes[64];
    size_t at = sizeof bytes;
    while (n) {
        if (at == sizeof bytes) {
            crypt_random(bytes, sizeof bytes);
            at = 0;
        }
        unsigned char b = bytes[at++];
        if (b >= 248)
            continue;
        *to++ = digits[b % 62];
        n--;
    }
}

static void put_sum(const char *text, char to[SUM_LEN])
{
    unsigned long sum = crc32(0, (const unsigned char *)text, SUMMED_LEN);
    for (int i = SUM_LEN; i-- > 0; sum /= 62)
        to[i] = digits[sum % 62];
}

struct token_secret token_secret_mint(struct arena *a)
{
    unsigned char digest[SHA256_LEN];
    char *p = arena_zalloc(a, TOKEN_SECRET_LEN + 1);
    memcpy(p, HEAD, HEAD_LEN);
    put_random(p + HEAD_LEN, RANDOM_LEN);
    p[SUMMED_LEN] = '_';
    put_sum(p, p + SUMMED_LEN + 1);
    struct token_secret s = { .text = { p, TOKEN_SECRET_LEN } };
    BUG_IF(!token_secret_is_formed(s.text));
    crypt_sha256(s.text, digest);
    s.hash = hex_of(a, digest, sizeof digest);
    s.prefix = str_sub(s.text, 0, TOKEN_PREFIX_LEN);
    s.last4 = str_sub(s.text, TOKEN_SECRET_LEN - TOKEN_LAST_LEN, TOKEN_LAST_LEN);
    return s;
}

static bool is_digit62(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool is_new_form(struct str s)
{
    char sum[SUM_LEN];
    if (memcmp(s.p, HEAD, HEAD_LEN) != 0 || s.p[SUMMED_LEN] != '_')
        return false;
    for (size_t i = HEAD_LEN; i < SUMMED_LEN; i++)
        if (!is_digit62(s.p[i]))
            return false;
    put_sum(s.p, sum);
    return memcmp(sum, s.p + SUMMED_LEN + 1, SUM_LEN) == 0;
}

static bool is_plain_form(struct str s)
{
    if (memcmp(s.p, "stk_", 4) != 0)
        return false;
    for (size_t i = 4; i < s.n; i++)
        if (!is_digit62(s.p[i]) && s.p[i] != '-' && s.p[i] != '_')
            return false;
    return true;
}

bool token_secret_is_formed(struct str s)
{
    if (s.n == TOKEN_SECRET_LEN)
        return is_new_form(s);
    return s.n == TOKEN_PLAIN_LEN && is_plain_form(s);
}

struct str token_mask(struct arena *a, struct str prefix, struct str last4)
{
    return str_printf(a, STR_FMT "…" STR_FMT, STR_ARG(str_sub(prefix, 0, 4)), STR_ARG(last4));
}
