/* Reading the text form: see vault_text.h. */
#include "vault_text.h"

#include "vault.h"

/* base64url digits of so many bytes. */
#define DIGITS(bytes) (((bytes)*4 + 2) / 3)
#define OVERHEAD ((size_t)VAULT_NONCE_LEN + VAULT_TAG_LEN)

static bool is_lower_hex(struct str s, size_t n)
{
    for (size_t i = 0; i < s.n; i++)
        if (!(s.p[i] >= '0' && s.p[i] <= '9') && !(s.p[i] >= 'a' && s.p[i] <= 'f'))
            return false;
    return s.n == n;
}

static bool is_base64url(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!is_letter && !(c >= '0' && c <= '9') && c != '-' && c != '_')
            return false;
    }
    return s.n >= DIGITS(OVERHEAD) && s.n <= DIGITS(VAULT_PLAIN_MAX + OVERHEAD);
}

bool vault_text_parse(struct str text, struct vault_text *out)
{
    struct str rest = text;
    struct str version = str_cut(&rest, '.'), id = str_cut(&rest, '.');
    bool is_v1 = str_eq(version, STR("v1")) && is_lower_hex(id, VAULT_V1_ID_TEXT);
    bool is_v2 = str_eq(version, STR("v2")) && is_lower_hex(id, VAULT_ID_TEXT);
    if ((!is_v1 && !is_v2) || !is_base64url(rest))
        return false;
    *out = (struct vault_text){ is_v1 ? VAULT_V1 : VAULT_V2, id, rest };
    return true;
}
