/* One event, one line, one write(2).
 *
 * A line is built in 8 KiB on the stack: no arena, no lock, no allocation, so that it can be called
 * from anywhere but a signal handler. A value longer than VALUE_MAX is cut and ends in "..."; pairs
 * that do not fit any more are left out and `cut` says so. A line that cannot be written is lost:
 * logging never blocks or fails its caller for more than the write itself. Any thread. */
#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "ctx.h"

#define LINE_MAX_BYTES 8192
#define TAIL_BYTES 32 /* kept free for the cut mark and the end of the line */
#define VALUE_MAX 1024

static const char *const level_names[] = { "debug", "info", "warn", "error" };

static atomic_int min_level = LOG_INFO;
static atomic_bool is_json;

void log_setup(enum log_level min, bool json)
{
    atomic_store(&min_level, (int)min);
    atomic_store(&is_json, json);
}

void log_set_level(enum log_level min)
{
    atomic_store(&min_level, (int)min);
}

bool log_level_parse(struct str s, enum log_level *out)
{
    for (size_t i = 0; i < sizeof(level_names) / sizeof(*level_names); i++) {
        if (str_eq(s, str_of(level_names[i]))) {
            *out = (enum log_level)i;
            return true;
        }
    }
    return false;
}

/* How many bytes at p[0..n) form one piece that must be escaped; *code is what to print. In text
 * that is UTF-8 these are the control characters (also U+0080–U+009F), else every byte over 0x7e as
 * well. */
static size_t escape_len(const unsigned char *p, size_t n, bool is_utf8, unsigned *code)
{
    *code = p[0];
    if (p[0] < 0x20 || p[0] == 0x7F || p[0] == '"' || p[0] == '\\')
        return 1;
    if (p[0] < 0x80)
        return 0;
    if (!is_utf8)
        return 1;
    if (p[0] == 0xC2 && n > 1 && p[1] < 0xA0) {
        *code = p[1];
        return 2;
    }
    return 0;
}

static void put_escape(struct buf *b, unsigned code)
{
    static const char digits[] = "0123456789abcdef";

    buf_char(b, '\\');
    switch (code) {
    case '"':
    case '\\': buf_char(b, (char)code); break;
    case '\n': buf_char(b, 'n'); break;
    case '\r': buf_char(b, 'r'); break;
    case '\t': buf_char(b, 't'); break;
    default:
        buf_lit(b, "u00");
        buf_char(b, digits[code >> 4 & 15]);
        buf_char(b, digits[code & 15]);
    }
}

static void put_quoted(struct buf *b, struct str s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    bool is_utf8;
    size_t from = 0;
    bool is_cut = s.n > VALUE_MAX;

    if (is_cut) {
        s.n = VALUE_MAX;
        while (s.n && (p[s.n] & 0xC0) == 0x80)
            s.n--;
    }
    is_utf8 = str_is_utf8(s);
    buf_char(b, '"');
    for (size_t i = 0; i < s.n;) {
        unsigned code;
        size_t n = escape_len(p + i, s.n - i, is_utf8, &code);

        if (n) {
            buf_add(b, p + from, i - from);
            put_escape(b, code);
            from = i + n;
        }
        i += n ? n : 1;
    }
    buf_str(b, str_sub(s, from, s.n));
    buf_lit(b, is_cut ? "...\"" : "\"");
}

static bool is_plain(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];

        if (c <= ' ' || c > '~' || c == '"' || c == '=' || c == '\\')
            return false;
    }
    return s.n > 0 && s.n <= VALUE_MAX;
}

static void put_key(struct buf *b, const char *key, bool json)
{
    if (json) {
        buf_lit(b, ",\"");
        buf_lit(b, key);
        buf_lit(b, "\":");
    } else {
        buf_char(b, ' ');
        buf_lit(b, key);
        buf_char(b, '=');
    }
}

static void put_pair(struct buf *b, const struct log_kv *kv, bool json)
{
    put_key(b, kv->key, json);
    switch (kv->kind) {
    case LOG_KV_INT: buf_i64(b, kv->i); break;
    case LOG_KV_SECRET: buf_lit(b, json ? "\"***\"" : "***"); break;
    case LOG_KV_STR:
        if (json && !kv->s.p)
            buf_lit(b, "null");
        else if (!json && !kv->s.p)
            buf_char(b, '-');
        else if (!json && is_plain(kv->s))
            buf_str(b, kv->s);
        else
            put_quoted(b, kv->s);
        break;
    }
}

static void put_head(struct buf *b, enum log_level level, const char *event, bool json)
{
    if (json)
        buf_lit(b, "{\"ts\":\"");
    time_print_ms(b, clock_ms());
    buf_lit(b, json ? "\",\"level\":\"" : " ");
    buf_lit(b, level_names[level]);
    buf_lit(b, json ? "\",\"event\":\"" : " ");
    buf_lit(b, event);
    if (json)
        buf_char(b, '"');
}

static void send_line(struct str line)
{
    while (line.n) {
        ssize_t n = write(STDERR_FILENO, line.p, line.n);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        line = str_sub(line, (size_t)n, line.n);
    }
}

void log_line(struct ctx *cx, enum log_level level, const char *event, const struct log_kv *kv,
              int n)
{
    char room[LINE_MAX_BYTES];
    struct buf b = { .p = room,
                     .cap = sizeof(room) - TAIL_BYTES,
                     .max = sizeof(room) - TAIL_BYTES };
    bool json = atomic_load_explicit(&is_json, memory_order_relaxed);
    int saved_errno = errno;
    bool is_cut = false;

    if ((int)level < atomic_load_explicit(&min_level, memory_order_relaxed))
        return;
    put_head(&b, level, event, json);
    if (cx && cx->request_id.p) {
        struct log_kv id = KVS("request_id", cx->request_id);

        put_pair(&b, &id, json);
    }
    for (int i = 0; i < n; i++) {
        size_t before = b.n;

        put_pair(&b, &kv[i], json);
        if (b.over) { /* a pair is there whole or not at all */
            b.n = before;
            b.over = false;
            is_cut = true;
        }
    }
    b.cap = b.max = sizeof(room);
    if (is_cut) {
        struct log_kv mark = KVI("cut", 1);

        put_pair(&b, &mark, json);
    }
    buf_lit(&b, json ? "}\n" : "\n");
    send_line(buf_view(&b));
    errno = saved_errno;
}

void note(struct ctx *cx, const char *fmt, ...)
{
    char text[VALUE_MAX];
    va_list ap;

    if (LOG_DEBUG < atomic_load_explicit(&min_level, memory_order_relaxed))
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    log_debug(cx, "note", KVC("text", text));
}
