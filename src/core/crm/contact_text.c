/* Texts of contacts: see contact_text.h. Plain ASCII, which is most of it, does not go through
 * ICU. */
#include "contact_text.h"

#include <string.h>
#include <unicode/uchar.h>
#include <unicode/unorm2.h>
#include <unicode/ustring.h>
#include <unicode/utf16.h>
#include <unicode/utf8.h>

#include "../../base/json.h"

#define TEXT_MAX (1 << 16) /* bytes; longer texts are not folded */
#define MARK_FIRST 0x300   /* combining diacritical marks */
#define MARK_LAST 0x36f

/* ---- folding ---- */

static bool is_ascii(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] >= 0x80)
            return false;
    return true;
}

static struct str ascii_lower(struct ctx *cx, struct str s)
{
    char *p = str_cstr(&cx->arena, s);
    for (size_t i = 0; i < s.n; i++)
        if (p[i] >= 'A' && p[i] <= 'Z')
            p[i] = (char)(p[i] + ('a' - 'A'));
    return (struct str){ p, s.n };
}

struct wide { /* UTF-16 */
    UChar *p;
    int32_t n;
};

/* A second turn when the first guess of the size was too small. */
static bool normalize(struct ctx *cx, const UNormalizer2 *how, struct wide *w)
{
    int32_t cap = w->n + 16;
    for (int turn = 0; how && turn < 2; turn++) {
        UErrorCode why = U_ZERO_ERROR;
        UChar *to = arena_alloc(&cx->arena, (size_t)cap * sizeof *to);
        int32_t n = unorm2_normalize(how, w->p, w->n, to, cap, &why);
        if (U_SUCCESS(why)) {
            *w = (struct wide){ to, n };
            return true;
        }
        if (why != U_BUFFER_OVERFLOW_ERROR)
            return false;
        cap = n;
    }
    return false;
}

static void drop_marks(struct wide *w)
{
    int32_t n = 0;
    for (int32_t i = 0; i < w->n; i++)
        if (w->p[i] < MARK_FIRST || w->p[i] > MARK_LAST)
            w->p[n++] = w->p[i];
    w->n = n;
}

/* ICU's tables are part of the library: what fails here is input that is no text. */
static struct str fold(struct ctx *cx, struct str s, bool is_plain)
{
    UErrorCode why = U_ZERO_ERROR;
    struct wide w = { .n = 0 };
    if (is_ascii(s))
        return ascii_lower(cx, s);
    if (s.n > TEXT_MAX)
        return s;
    w.p = arena_alloc(&cx->arena, s.n * sizeof *w.p); /* never more units than bytes */
    u_strFromUTF8(w.p, (int32_t)s.n, &w.n, s.p, (int32_t)s.n, &why);
    if (U_FAILURE(why) || !normalize(cx, unorm2_getNFKCCasefoldInstance(&why), &w))
        return s;
    if (is_plain && normalize(cx, unorm2_getNFDInstance(&why), &w))
        drop_marks(&w);
    char *text = arena_alloc(&cx->arena, (size_t)w.n * 3 + 1);
    int32_t n = 0;
    u_strToUTF8(text, w.n * 3 + 1, &n, w.p, w.n, &why);
    return U_SUCCESS(why) ? (struct str){ text, (size_t)n } : s;
}

struct str text_fold(struct ctx *cx, struct str s)
{
    return fold(cx, s, false);
}

struct str text_plain(struct ctx *cx, struct str s)
{
    return fold(cx, s, true);
}

/* ---- words ---- */

static bool is_word_char(UChar32 c)
{
    return u_isalnum(c) || (U_MASK(u_charType(c)) & U_GC_M_MASK);
}

static void add_word(struct keys *k, struct str word)
{
    size_t n = word.n;
    if (n > WORD_MAX)
        for (n = WORD_MAX; n > 0 && ((unsigned char)word.p[n] & 0xC0) == 0x80;)
            n--;
    if (n)
        keys_add(k, str_sub(word, 0, n));
}

void words_add(struct ctx *cx, struct str text, struct keys *k)
{
    struct str s = text_plain(cx, text);
    int32_t i = 0, begin = 0, n = (int32_t)s.n;
    if (s.n > TEXT_MAX)
        return;
    while (i < n) {
        int32_t at = i;
        UChar32 c;
        U8_NEXT(s.p, i, n, c);
        if (c >= 0 && is_word_char(c))
            continue;
        add_word(k, str_sub(s, (size_t)begin, (size_t)(at - begin)));
        begin = i;
    }
    add_word(k, str_sub(s, (size_t)begin, (size_t)(n - begin)));
}

/* ---- e-mail addresses ---- */

bool email_is_fine(struct str s)
{
    struct str domain;
    size_t at = 0;
    while (at < s.n && s.p[at] != '@')
        at++;
    domain = str_sub(s, at + 1, s.n);
    if (s.n > EMAIL_MAX || at == 0 || at > 64 || at >= s.n || !domain.n || domain.p[0] == '.' ||
        domain.p[domain.n - 1] == '.')
        return false;
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= ' ' || s.p[i] == 0x7f || strchr("<>(),;:\\\"", s.p[i]) ||
            (i > at && s.p[i] == '@'))
            return false;
    for (size_t i = 1; i < domain.n; i++)
        if (domain.p[i] == '.' && domain.p[i - 1] == '.')
            return false;
    return true;
}

/* ---- phone numbers ---- */

struct str phone_digits(struct ctx *cx, struct str s)
{
    char *digits = str_cstr(&cx->arena, s);
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] >= '0' && s.p[i] <= '9')
            digits[n++] = s.p[i];
        else if (!s.p[i] || !strchr(" +-()./", s.p[i]))
            return STR_NONE;
    }
    return n ? (struct str){ digits, n } : STR_NONE;
}

struct str phone_key(struct ctx *cx, struct str s)
{
    s = str_trim(s);
    bool has_plus = s.n && s.p[0] == '+';
    struct str digits = phone_digits(cx, s);
    for (size_t i = 1; i < s.n; i++)
        if (s.p[i] == '+')
            return STR_NONE;
    if (!digits.p || s.n > PHONE_MAX || digits.n < PHONE_DIGITS_MIN || digits.n > PHONE_DIGITS_MAX)
        return STR_NONE;
    return has_plus ? str_printf(&cx->arena, "+" STR_FMT, STR_ARG(digits)) : digits;
}

/* ---- lists ---- */

static struct str email_key(struct ctx *cx, struct str s)
{
    return email_is_fine(s) ? text_fold(cx, s) : STR_NONE;
}

struct list_kind {
    const char *field, *what;
    size_t item_max;
    struct str (*key)(struct ctx *cx, struct str s); /* STR_NONE: not one */
};

static enum err_code clean(struct ctx *cx, struct str json, const struct list_kind *kind,
                           struct keyed *out)
{
    struct buf b;
    size_t i;
    json_t *item, *items = json_read(cx, json);
    if (!items)
        return cx->err;
    out->keys.n = 0;
    buf_init(&b, &cx->arena, (json_array_size(items) + 1) * (kind->item_max * 6 + 4));
    buf_char(&b, '[');
    json_array_foreach(items, i, item) {
        struct str s = str_trim((struct str){ json_string_value(item), json_string_length(item) });
        struct str key = kind->key(cx, s);
        size_t had = out->keys.n;
        if (!key.p)
            return ctx_fail_field(cx, ERR_INVALID_FIELD, str_of(kind->field), "%s must be %s",
                                  kind->field, kind->what);
        if (!keys_add(&out->keys, key))
            return ctx_fail_field(cx, ERR_INVALID_FIELD, str_of(kind->field), "%s are more than %d",
                                  kind->field, KEYS_MAX);
        if (out->keys.n == had)
            continue;
        if (had)
            buf_char(&b, ',');
        json_write_str(&b, s);
    }
    buf_char(&b, ']');
    out->json = buf_view(&b);
    return ERR_NONE;
}

enum err_code emails_clean(struct ctx *cx, struct str json, struct keyed *out)
{
    static const struct list_kind kind = { "emails", "e-mail addresses", EMAIL_MAX, email_key };
    return clean(cx, json, &kind, out);
}

enum err_code phones_clean(struct ctx *cx, struct str json, struct keyed *out)
{
    static const struct list_kind kind = {
        "phones", "phone numbers of 3 to 20 digits; spaces and + - ( ) . / may stand between",
        PHONE_MAX, phone_key
    };
    return clean(cx, json, &kind, out);
}
