/* Mail, the message: see mail.h and RFC 5322, 2045, 2047. */
#include "mail.h"

#include <openssl/evp.h>

#include "../../base/clock.h"
#include "../../base/crypt.h"

#define LINE_BYTES 57 /* 76 characters of base64 */
#define WORD_BYTES 42 /* an encoded word: 68 characters, so that no line passes 78 */
#define MESSAGE_MAX (2 * MAIL_TEXT_MAX + 8192)

static void put_base64(struct buf *b, const char *p, size_t n)
{
    unsigned char out[4 * (LINE_BYTES / 3) + 1];
    int len = EVP_EncodeBlock(out, (const unsigned char *)p, (int)n);
    buf_add(b, out, (size_t)len);
}

/* ---- headers ---- */

static bool is_plain(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < ' ' || s.p[i] > '~')
            return false;
    return s.n <= 60;
}

/* The largest part of at most `max` bytes that ends between characters. */
static size_t part_of(struct str s, size_t max)
{
    size_t n = s.n < max ? s.n : max;
    while (n < s.n && n > 0 && ((unsigned char)s.p[n] & 0xC0) == 0x80)
        n--;
    return n;
}

/* As it is, or as encoded words on folded lines (RFC 2047); control characters become blanks. */
static void put_subject(struct ctx *cx, struct buf *b, struct str subject)
{
    subject.n = part_of(subject, MAIL_SUBJECT_MAX);
    char *p = str_cstr(&cx->arena, subject);
    for (size_t i = 0; i < subject.n; i++)
        if ((unsigned char)p[i] < ' ' || p[i] == 0x7f)
            p[i] = ' ';
    struct str rest = { p, subject.n };
    buf_lit(b, "Subject: ");
    if (is_plain(rest)) {
        buf_str(b, rest);
        rest.n = 0;
    }
    for (const char *sep = ""; rest.n; sep = "\r\n ") {
        size_t n = part_of(rest, WORD_BYTES);
        n = n ? n : rest.n < WORD_BYTES ? rest.n : WORD_BYTES; /* not UTF-8 at all */
        buf_printf(b, "%s=?UTF-8?B?", sep);
        put_base64(b, rest.p, n);
        buf_lit(b, "?=");
        rest = str_sub(rest, n, rest.n);
    }
    buf_lit(b, "\r\n");
}

static void put_date(struct ctx *cx, struct buf *b, int64_t now_ms)
{
    struct buf date;
    buf_init(&date, &cx->arena, 64);
    time_print_http(&date, now_ms);
    struct str s = buf_view(&date);
    s.n -= 3; /* GMT */
    buf_printf(b, "Date: " STR_FMT "+0000\r\n", STR_ARG(s));
}

/* ---- body ---- */

static void put_text(struct ctx *cx, struct buf *b, struct str text)
{
    struct buf lines;
    buf_init(&lines, &cx->arena, 2 * MAIL_TEXT_MAX);
    for (size_t i = 0; i < text.n && i < MAIL_TEXT_MAX; i++) {
        if (text.p[i] == '\n')
            buf_char(&lines, '\r');
        if (text.p[i] != '\r')
            buf_char(&lines, text.p[i]);
    }
    struct str rest = buf_view(&lines);
    while (rest.n) {
        size_t n = rest.n < LINE_BYTES ? rest.n : LINE_BYTES;
        put_base64(b, rest.p, n);
        buf_lit(b, "\r\n");
        rest = str_sub(rest, n, rest.n);
    }
}

struct str mail_message(struct ctx *cx, struct str from, const struct mail *mail, int64_t now_ms)
{
    struct str domain = from;
    struct buf b;
    str_cut(&domain, '@');
    buf_init(&b, &cx->arena, MESSAGE_MAX);
    put_date(cx, &b, now_ms);
    buf_printf(&b, "Message-ID: <" STR_FMT "@" STR_FMT ">\r\n", STR_ARG(uuid7(&cx->arena)),
               STR_ARG(domain));
    buf_printf(&b, "From: Tessera <" STR_FMT ">\r\nTo: <" STR_FMT ">\r\n", STR_ARG(from),
               STR_ARG(mail->to));
    put_subject(cx, &b, mail->subject);
    buf_lit(&b, "Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n"
                "Content-Type: text/plain; charset=utf-8\r\n"
                "Content-Transfer-Encoding: base64\r\n\r\n");
    put_text(cx, &b, mail->text);
    return buf_view(&b);
}
