/* Mail, the message: see mail.h and RFC 5322, 2045, 2046, 2047, 2183, 2231. */
#include "mail.h"

#include <openssl/evp.h>

#include "../../base/clock.h"
#include "../../base/crypt.h"

#define WORD_BYTES 42      /* an encoded word: 68 characters, so that no line passes 78 */
#define FILE_NAME_BYTES 60 /* of a name; percent-encoded that stays in one line */
#define MESSAGE_MAX (2 * MAIL_TEXT_MAX + 8192)

static void put_base64(struct buf *b, const char *p, size_t n)
{
    unsigned char out[4 * (MAIL_LINE_BYTES / 3) + 1];
    int len = EVP_EncodeBlock(out, (const unsigned char *)p, (int)n);
    buf_add(b, out, (size_t)len);
}

void mail_encode(struct buf *b, struct str bytes)
{
    while (bytes.n) {
        size_t n = bytes.n < MAIL_LINE_BYTES ? bytes.n : MAIL_LINE_BYTES;
        put_base64(b, bytes.p, n);
        buf_lit(b, "\r\n");
        bytes = str_sub(bytes, n, bytes.n);
    }
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
    mail_encode(b, buf_view(&lines));
}

static void put_headers(struct ctx *cx, struct buf *b, struct str from, const struct mail *mail,
                        int64_t now_ms)
{
    struct str domain = from;
    str_cut(&domain, '@');
    put_date(cx, b, now_ms);
    buf_printf(b, "Message-ID: <" STR_FMT "@" STR_FMT ">\r\n", STR_ARG(uuid7(&cx->arena)),
               STR_ARG(domain));
    buf_printf(b, "From: Tessera <" STR_FMT ">\r\nTo: <" STR_FMT ">\r\n", STR_ARG(from),
               STR_ARG(mail->to));
    put_subject(cx, b, mail->subject);
    buf_lit(b, "Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n");
}

static void put_part(struct ctx *cx, struct buf *b, struct str text)
{
    buf_lit(b, "Content-Type: text/plain; charset=utf-8\r\n"
               "Content-Transfer-Encoding: base64\r\n\r\n");
    put_text(cx, b, text);
}

struct str mail_message(struct ctx *cx, struct str from, const struct mail *mail, int64_t now_ms)
{
    struct buf b;
    buf_init(&b, &cx->arena, MESSAGE_MAX);
    put_headers(cx, &b, from, mail, now_ms);
    put_part(cx, &b, mail->text);
    return buf_view(&b);
}

/* ---- with a file ---- */

static bool is_name_char(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-' ||
           c == '_' || c == '.';
}

static void put_name_part(struct buf *b, struct str part)
{
    for (size_t i = 0; i < part.n; i++)
        if (is_name_char(part.p[i]))
            buf_char(b, part.p[i]);
        else
            buf_printf(b, "%%%02X", (unsigned char)part.p[i]);
}

/* As it is, or by RFC 2231. A long one is cut and keeps its ending. */
static void put_file_name(struct buf *b, struct str name)
{
    size_t n = part_of(name, FILE_NAME_BYTES), dot = name.n;
    struct str ending = STR("");
    while (dot > n && name.p[dot - 1] != '.')
        dot--;
    if (dot > n && name.n - dot <= 5)
        ending = str_sub(name, dot - 1, name.n);
    buf_lit(b, "Content-Disposition: attachment;\r\n ");
    bool is_quotable = is_plain(name) && n == name.n;
    for (size_t i = 0; is_quotable && i < n; i++)
        is_quotable = name.p[i] != '"' && name.p[i] != '\\';
    if (is_quotable) {
        buf_printf(b, "filename=\"" STR_FMT "\"\r\n", STR_ARG(name));
        return;
    }
    buf_lit(b, "filename*=UTF-8''");
    put_name_part(b, str_sub(name, 0, n));
    put_name_part(b, ending);
    buf_lit(b, "\r\n");
}

struct mail_frame mail_frame(struct ctx *cx, struct str from, const struct mail *mail,
                             const struct mail_file *file, int64_t now_ms)
{
    /* No line of base64 can be the boundary: it begins with two hyphens. */
    struct str mark = str_printf(&cx->arena, "=_" STR_FMT, STR_ARG(uuid7(&cx->arena)));
    struct buf b;
    buf_init(&b, &cx->arena, MESSAGE_MAX);
    put_headers(cx, &b, from, mail, now_ms);
    buf_printf(&b, "Content-Type: multipart/mixed;\r\n boundary=\"" STR_FMT "\"\r\n\r\n",
               STR_ARG(mark));
    buf_printf(&b, "--" STR_FMT "\r\n", STR_ARG(mark));
    put_part(cx, &b, mail->text);
    buf_printf(&b, "\r\n--" STR_FMT "\r\nContent-Type: %s\r\n", STR_ARG(mark), file->media);
    put_file_name(&b, file->name);
    buf_lit(&b, "Content-Transfer-Encoding: base64\r\n\r\n");
    return (struct mail_frame){ buf_view(&b),
                                str_printf(&cx->arena, "\r\n--" STR_FMT "--\r\n", STR_ARG(mark)) };
}
