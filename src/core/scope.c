/* The scope table's words: parsing, printing. Stateless; any thread. */
#include "caller.h"

#include "../base/ctx.h"

const char *const scope_words[] = {
#define SCOPE_WORD(name, wire, doc) wire,
    SCOPE_TABLE(SCOPE_WORD)
#undef SCOPE_WORD
        NULL,
};

uint64_t scope_parse(struct str word)
{
    uint64_t mask = 0;
    bool is_wild = word.n > 2 && word.p[word.n - 1] == '*' && word.p[word.n - 2] == ':';
    struct str noun = str_sub(word, 0, word.n ? word.n - 1 : 0);
    for (int i = 0; i < SCOPE_BITS; i++) {
        struct str s = str_of(scope_words[i]);
        if (is_wild ? i != SCOPE_BIT_ADMIN_FULL && str_starts(s, noun) : str_eq(s, word))
            mask |= UINT64_C(1) << i;
    }
    return mask;
}

/* The stored form is our own printing: a flat array of words without escapes. */
uint64_t scopes_of_json(struct str json)
{
    uint64_t mask = 0;
    struct str rest = json;
    str_cut(&rest, '"');
    while (rest.p) {
        mask |= scope_parse(str_cut(&rest, '"'));
        str_cut(&rest, '"');
    }
    return mask;
}

struct str scopes_json(struct arena *a, uint64_t mask)
{
    struct buf b;
    buf_init(&b, a, 1024);
    buf_char(&b, '[');
    for (int i = 0; i < SCOPE_BITS; i++) {
        if (!(mask >> i & 1))
            continue;
        buf_lit(&b, b.n > 1 ? ",\"" : "\"");
        buf_lit(&b, scope_words[i]);
        buf_char(&b, '"');
    }
    buf_char(&b, ']');
    return buf_view(&b);
}
