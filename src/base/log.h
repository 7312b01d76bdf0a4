/* One event, one line on stderr: `ts level event key=value …`, or JSON with log_format=json.
 *
 * Keys, not prose. error = someone must act; warn = we coped; info = state changed; debug =
 * anything. Lines are written with one write(2), at most 8 KiB, control characters escaped. Any
 * thread. */
#ifndef TESSERA_BASE_LOG_H
#define TESSERA_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "str.h"

struct ctx;

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

struct log_kv {
    const char *key;
    enum { LOG_KV_INT, LOG_KV_STR, LOG_KV_SECRET } kind;
    int64_t i;
    struct str s;
};

static inline struct log_kv log_kv_int(const char *k, int64_t v)
{
    return (struct log_kv){ .key = k, .kind = LOG_KV_INT, .i = v };
}
static inline struct log_kv log_kv_str(const char *k, struct str v)
{
    return (struct log_kv){ .key = k, .kind = LOG_KV_STR, .s = v };
}
#define KVI(key, num) log_kv_int((key), (num))
#define KVS(key, str_view) log_kv_str((key), (str_view))
#define KVC(key, cstr) log_kv_str((key), str_of(cstr))

void log_setup(enum log_level min, bool json);
bool log_level_parse(struct str s, enum log_level *out);
void log_set_level(enum log_level min); /* SIGHUP; any thread */
/* cx may be NULL; its request id is added. */
void log_line(struct ctx *cx, enum log_level level, const char *event, const struct log_kv *kv,
              int n);
#define LOG_KVS(...)                                                                               \
    (const struct log_kv[]){ __VA_ARGS__ },                                                        \
        (int)(sizeof((const struct log_kv[]){ __VA_ARGS__ }) / sizeof(struct log_kv))
#define log_debug(cx, event, ...) log_line((cx), LOG_DEBUG, (event), LOG_KVS(__VA_ARGS__))
#define log_info(cx, event, ...) log_line((cx), LOG_INFO, (event), LOG_KVS(__VA_ARGS__))
#define log_warn(cx, event, ...) log_line((cx), LOG_WARN, (event), LOG_KVS(__VA_ARGS__))
#define log_error(cx, event, ...) log_line((cx), LOG_ERROR, (event), LOG_KVS(__VA_ARGS__))

/* Text for us, not for the client: a debug line with the ctx's request id. */
void note(struct ctx *cx, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
