/* The mappings of a sync: see sync_mappings_check. No state; any thread. */
#include "../base/json.h"
#include "sync.h"

/* What two mappings have in common that both write, or NULL. */
static const char *both_write(struct str direction, const struct sync_mapping *a,
                              const struct sync_mapping *b)
{
    bool is_push = str_eq(direction, STR("push")), is_pull = str_eq(direction, STR("pull"));
    bool go_out = is_push || (!is_pull && a->is_bidirectional && b->is_bidirectional);
    if (!is_push && str_eq(a->local_field, b->local_field))
        return "local_field";
    return go_out && str_eq(a->remote_field, b->remote_field) ? "remote_field" : NULL;
}

/* Each against those before it. At most SYNC_MAPPINGS_MAX, so that all pairs are few. */
static void check_pairs(struct ctx *cx, struct str direction, const struct sync_mapping *v,
                        size_t n)
{
    for (size_t i = 1; i < n; i++) {
        const char *name = NULL;
        size_t k = 0;
        for (; !name && k < i; k++)
            name = both_write(direction, &v[k], &v[i]);
        if (name)
            ctx_fail_field(cx, ERR_INVALID_FIELD,
                           str_printf(&cx->arena, "field_mappings[%zu].%s", i, name),
                           "field_mappings[%zu].%s is what field_mappings[%zu] writes already", i,
                           name, k - 1);
    }
}

enum err_code sync_mappings_check(struct ctx *cx, struct str direction, struct str text,
                                  struct str *out)
{
    json_t *list = json_read(cx, text);
    size_t n = json_array_size(list);
    struct sync_mapping *v = ARENA_ARRAY(&cx->arena, struct sync_mapping, n);
    struct buf b;
    buf_init(&b, &cx->arena, SYNC_MAPPINGS_BYTES);
    buf_char(&b, '[');
    for (size_t i = 0; i < n; i++) {
        enum err_code e = rec_decode(cx, &rec_sync_mapping, json_array_get(list, i),
                                     REC_REFUSE_UNKNOWN, STR("field_mappings"), &v[i]);
        if (e)
            return e;
        if (i)
            buf_char(&b, ',');
        rec_encode(&b, &rec_sync_mapping, &v[i]);
    }
    buf_char(&b, ']');
    if (b.over)
        return ctx_fail_field(cx, ERR_INVALID_FIELD, STR("field_mappings"),
                              "field_mappings must have at most %zu bytes of JSON",
                              SYNC_MAPPINGS_BYTES);
    check_pairs(cx, direction, v, n);
    if (!cx->err)
        *out = buf_view(&b);
    return cx->err;
}
