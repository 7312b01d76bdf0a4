/* Named limits of an API key: see token_window.h. Numbers: requests <= 10^9 and windows <= 2.6 *
 * 10^9 ms, so their product fits an int64. */
#include "token_window.h"

#include "../base/json.h"

/* ---- rules ---- */

static bool name_is_fine(struct str s)
{
    if (!s.n || s.n > WINDOW_NAME_MAX)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-'))
            return false;
    }
    return true;
}

static bool name_is_taken(const struct window_rules *rules, struct str name)
{
    for (size_t i = 0; i < rules->n; i++)
        if (str_eq(rules->v[i].name, name))
            return true;
    return false;
}

static bool take_number(const json_t *item, const char *member, int64_t min, int64_t max,
                        int64_t *out)
{
    const json_t *v = json_object_get(item, member);
    if (!json_is_integer(v) || json_integer_value(v) < min || json_integer_value(v) > max)
        return false;
    *out = json_integer_value(v);
    return true;
}

static bool take_rule(struct ctx *cx, const json_t *item, struct window_rules *to,
                      struct window_bad *bad)
{
    const json_t *name = json_object_get(item, "name");
    struct window_rule r = { .name = { json_string_value(name), json_string_length(name) } };
    bad->index = to->n;
    bad->member = "name";
    bad->why = "must be 1 to 32 of a-z, 0-9, _ and -";
    if (!name_is_fine(r.name))
        return false;
    bad->why = "must not be \"hour\": that is rate_limit";
    if (str_eq(r.name, STR("hour")))
        return false;
    bad->why = "must be different in each limit";
    if (name_is_taken(to, r.name))
        return false;
    bad->member = "requests";
    bad->why = "must be a whole number between 1 and 1000000000";
    if (!take_number(item, "requests", 1, WINDOW_REQUESTS_MAX, &r.requests))
        return false;
    bad->member = "window";
    bad->why = "must be a whole number of milliseconds between 1000 and 2592000000 (30 days)";
    if (!take_number(item, "window", WINDOW_MS_MIN, WINDOW_MS_MAX, &r.window_ms))
        return false;
    bad->member = NULL;
    bad->why = "a limit has name, requests and window, and nothing else";
    if (json_object_size(item) != 3)
        return false;
    r.name = str_dup(&cx->arena, r.name);
    to->v[to->n++] = r;
    return true;
}

bool window_rules_parse(struct ctx *cx, struct str json, struct window_rules *out,
                        struct window_bad *bad)
{
    struct window_rules rules = { .n = 0 };
    json_t *list = json.p ? json_read(cx, json) : NULL, *item;
    size_t i;

    ctx_clear(cx);
    *bad = (struct window_bad){ .why = "must be an array of at most 8 limits" };
    if (json.p && (!json_is_array(list) || json_array_size(list) > WINDOW_RULES_MAX))
        return false;
    json_array_foreach(list, i, item)
        if (!take_rule(cx, item, &rules, bad))
            return false;
    *out = rules;
    return true;
}

struct str window_rules_json(struct ctx *cx, const struct window_rules *rules)
{
    struct buf b;
    buf_init(&b, &cx->arena, 2048);
    buf_char(&b, '[');
    for (size_t i = 0; i < rules->n; i++) {
        const struct window_rule *r = &rules->v[i];
        buf_printf(&b, "%s{\"name\":\"" STR_FMT "\",\"requests\":%lld,\"window\":%lld}",
                   i ? "," : "", STR_ARG(r->name), (long long)r->requests, (long long)r->window_ms);
    }
    buf_char(&b, ']');
    return buf_view(&b);
}

/* ---- cells ---- */

/* Since the running cell began; 0 for a thread whose clock is a moment behind another's. */
static int64_t elapsed_ms(const struct window *w, int64_t window_ms, int64_t now_ms)
{
    int64_t ms = now_ms - w->index * window_ms;
    return ms < 0 ? 0 : ms;
}

void window_move(struct window *w, int64_t window_ms, int64_t now_ms)
{
    int64_t index = now_ms / window_ms;
    if (index == w->index || index + 1 == w->index)
        return;
    *w = (struct window){ .index = index, .before = index == w->index + 1 ? w->running : 0 };
}

void window_settle(struct window *w, int64_t index, int64_t running, int64_t before)
{
    if (index > w->index)
        *w = (struct window){ .index = index, .before = index == w->index + 1 ? w->running : 0 };
    if (index == w->index) {
        w->running = running > w->running ? running : w->running;
        w->before = before > w->before ? before : w->before;
    } else if (index + 1 == w->index) {
        w->before = running > w->before ? running : w->before;
    }
}

int64_t window_used(const struct window *w, int64_t window_ms, int64_t now_ms)
{
    int64_t left = window_ms - elapsed_ms(w, window_ms, now_ms);
    return w->running + (w->before * left + window_ms - 1) / window_ms;
}

/* The elapsed time at which `before` weighs no more than `room`, room >= 0. */
static int64_t weighs_at(int64_t before, int64_t room, int64_t window_ms)
{
    return before <= room ? 0 : window_ms - room * window_ms / before;
}

int64_t window_wait_ms(const struct window *w, int64_t window_ms, int64_t requests, int64_t now_ms)
{
    int64_t elapsed = elapsed_ms(w, window_ms, now_ms), room = requests - 1 - w->running;
    if (room < 0) /* only after the running cell, which is then the one before */
        return window_ms - elapsed + weighs_at(w->running, requests - 1, window_ms);
    int64_t at = weighs_at(w->before, room, window_ms);
    return at > elapsed ? at - elapsed : 0;
}

int64_t window_left_ms(const struct window *w, int64_t window_ms, int64_t now_ms)
{
    return window_ms - elapsed_ms(w, window_ms, now_ms);
}
