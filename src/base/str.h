/* Views of text (struct str) and growing text with a maximum (struct buf).
 *
 * A struct str does not own and need not end in NUL; p == NULL means "no value", n == 0 with p set
 * means the empty text. What the functions here return lives in the arena they are given. */
#ifndef TESSERA_BASE_STR_H
#define TESSERA_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;

struct str {
    const char *p;
    size_t n;
};

#define STR(literal) ((struct str){ "" literal, sizeof(literal) - 1 }) /* string literals only */
#define STR_NONE ((struct str){ NULL, 0 })
#define STR_FMT "%.*s"
#define STR_ARG(s) (int)(s).n, ((s).p ? (s).p : "")

struct str str_of(const char *cstr); /* NULL gives STR_NONE */
bool str_eq(struct str a, struct str b);
bool str_eq_nocase(struct str a, struct str b); /* ASCII only */
bool str_starts(struct str s, struct str prefix);
struct str str_sub(struct str s, size_t from, size_t len); /* clamped */
struct str str_trim(struct str s);                         /* ASCII white space */
/* Cut at the first `sep`: returns the part before, moves *rest behind it; *rest = STR_NONE when no
 * separator was left. */
struct str str_cut(struct str *rest, char sep);
/* A NUL-terminated copy. */
char *str_cstr(struct arena *a, struct str s);
struct str str_dup(struct arena *a, struct str s);
struct str str_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Decimal with optional minus; whole text must be the number and fit. False leaves *out alone. */
bool str_to_i64(struct str s, int64_t *out);
/* Valid UTF-8 (RFC 3629: no surrogates, no overlong forms, <= U+10FFFF). */
bool str_is_utf8(struct str s);
/* No control character (U+0000–U+001F, U+007F–U+009F); s must be valid UTF-8. */
bool str_is_single_line(struct str s);
/* Number of Unicode code points; s must be valid UTF-8. */
size_t str_chars(struct str s);

/* Growing text in an arena. Past `max` bytes it stops growing and `over` is set (sticky); nothing
 * is ever half-written by one call. */
struct buf {
    struct arena *arena;
    char *p;
    size_t n;
    size_t cap;
    size_t max;
    bool over;
};

void buf_init(struct buf *b, struct arena *a, size_t max); /* allocates on first use */
void buf_add(struct buf *b, const void *p, size_t n);
void buf_str(struct buf *b, struct str s);
void buf_lit(struct buf *b, const char *cstr);
void buf_char(struct buf *b, char c);
void buf_i64(struct buf *b, int64_t v);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_reset(struct buf *b); /* n = 0, keeps the storage, clears over */
struct str buf_view(const struct buf *b);

#endif
