/* What a new or changed integration token may hold. Needs no database; any thread. */
#include "../base/json.h"
#include "token.h"
#include "token_limit.h"
#include "token_window.h"

static enum err_code check_name(struct ctx *cx, struct str name)
{
    if (!str_trim(name).n)
        return ctx_fail_field(cx, ERR_MISSING_FIELD, STR("name"), "is required");
    if (!str_is_utf8(name) || str_chars(name) > TOKEN_NAME_MAX)
        return ctx_fail_field(cx, ERR_INVALID_FIELD, STR("name"), "must be at most %d characters",
                              TOKEN_NAME_MAX);
    for (size_t i = 0; i < name.n; i++)
        if ((unsigned char)name.p[i] < ' ' || name.p[i] == 0x7f)
            return ctx_fail_field(cx, ERR_INVALID_FIELD, STR("name"), "must be a single line");
    return ERR_NONE;
}

static enum err_code check_numbers(struct ctx *cx, const struct token_new *in, int64_t now_ms)
{
    if (REC_HAS(in, rate_limit) && (in->rate_limit < 1 || in->rate_limit > TOKEN_RATE_MAX))
        return ctx_fail_field(cx, ERR_INVALID_FIELD, STR("rate_limit"),
                              "must be between 1 and %lld", (long long)TOKEN_RATE_MAX);
    if (REC_HAS(in, expires_ms) && in->expires_ms <= now_ms)
        return ctx_fail_field(cx, ERR_INVALID_FIELD, STR("expires_at"),
                              "expires_at must be in the future");
    return ERR_NONE;
}

enum err_code token_read_scopes(struct ctx *cx, struct str json, struct str *out)
{
    struct str name = STR("scopes");
    uint64_t mask = json.p ? 0 : SCOPES_DEFAULT;
    json_t *list = json.p ? json_read(cx, json) : NULL, *item;
    size_t i;

    ctx_clear(cx);
    if (json.p && (!json_is_array(list) || !json_array_size(list)))
        return ctx_fail_field(cx, ERR_INVALID_FIELD, name,
                              "must be an array of at least one scope");
    json_array_foreach(list, i, item) {
        struct str word = { json_string_value(item), json_string_length(item) };
        uint64_t one = word.p ? scope_parse(word) : 0;
        if (!one)
            return ctx_fail_field(cx, ERR_INVALID_FIELD, name, "unknown scope \"" STR_FMT "\"",
                                  STR_ARG(str_sub(word, 0, 100)));
        mask |= one;
    }
    *out = scopes_json(&cx->arena, mask);
    return ERR_NONE;
}

enum err_code token_read_limits(struct ctx *cx, struct str json, struct str *out)
{
    struct window_rules rules;
    struct window_bad bad;
    if (window_rules_parse(cx, json, &rules, &bad)) {
        *out = window_rules_json(cx, &rules);
        return ERR_NONE;
    }
    struct str at = STR("limits");
    if (bad.member)
        at = str_printf(&cx->arena, "limits[%zu].%s", bad.index, bad.member);
    return ctx_fail_field(cx, ERR_INVALID_FIELD, at, STR_FMT " %s", STR_ARG(at), bad.why);
}

static enum err_code check_lists(struct ctx *cx, const struct token_new *in)
{
    struct cidrs ips;
    struct endpoints endpoints;
    struct str bad = STR_NONE, name = STR("allowed_ips");
    const char *what = "an address or network";
    bool ok = !in->allowed_ips.p || allowed_ips_parse(cx, &cx->arena, in->allowed_ips, &ips, &bad);
    if (ok) {
        name = STR("allowed_endpoints");
        what = "\"/path\" or \"METHOD /path\", with * only at the end";
        ok = !in->allowed_endpoints.p ||
             allowed_endpoints_parse(cx, &cx->arena, in->allowed_endpoints, &endpoints, &bad);
    }
    if (ok)
        return ERR_NONE;
    if (!bad.p)
        return ctx_fail_field(cx, ERR_INVALID_FIELD, name,
                              "must be an array of strings, not empty and not too long");
    return ctx_fail_field(cx, ERR_INVALID_FIELD, name, "\"" STR_FMT "\" is not %s",
                          STR_ARG(str_sub(bad, 0, 100)), what);
}

static enum err_code check_metadata(struct ctx *cx, struct str json)
{
    json_t *v = json.p ? json_read(cx, json) : NULL;
    ctx_clear(cx);
    if (!json.p || (json_is_object(v) && json.n <= TOKEN_METADATA_MAX))
        return ERR_NONE;
    return ctx_fail_field(cx, ERR_INVALID_FIELD, STR("metadata"),
                          "must be an object of at most %d bytes", TOKEN_METADATA_MAX);
}

enum err_code token_check(struct ctx *cx, const struct token_new *in, int64_t now_ms)
{
    enum err_code e = check_name(cx, in->name);
    if (!e)
        e = check_numbers(cx, in, now_ms);
    if (!e)
        e = check_lists(cx, in);
    return e ? e : check_metadata(cx, in->metadata);
}

enum err_code token_read_expiry(struct ctx *cx, struct token_new *in, int64_t now_ms)
{
    bool has_days = REC_HAS(in, expires_in_days);
    if (has_days && REC_HAS(in, expires_ms))
        return ctx_fail_field(cx, ERR_INVALID_FIELD, STR("expires_in_days"),
                              "give expires_in_days or expires_at, not both");
    if (REC_HAS(in, expires_ms) && in->expires_ms > now_ms + TOKEN_DAYS_MAX * DAY_MS)
        return ctx_fail_field(cx, ERR_INVALID_FIELD, STR("expires_at"),
                              "expires_at must be at most %d days ahead", TOKEN_DAYS_MAX);
    if (REC_HAS(in, expires_ms) && in->expires_ms <= now_ms)
        return ctx_fail_field(cx, ERR_INVALID_FIELD, STR("expires_at"),
                              "expires_at must be in the future");
    if (has_days) {
        in->expires_ms = now_ms + in->expires_in_days * DAY_MS;
        REC_SET(in, expires_ms);
    }
    return ERR_NONE;
}
