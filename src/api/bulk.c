/* Bulk creation: see bulk.h. */
#include "bulk.h"

#include "../base/json.h"

#define NAME_SHOWN_MAX 100

static void put_error(struct ctx *cx, struct reply *rp)
{
    const struct err_info *info = err_info(cx->err);
    buf_printf(&rp->body, "{\"status\":%d,\"error\":{\"code\":\"%s\",\"message\":", info->status,
               info->code);
    json_write_str(&rp->body, cx->err_text.p ? cx->err_text : str_of(info->text));
    buf_lit(&rp->body, ",\"errors\":[");
    for (size_t i = 0; i < cx->n_fields; i++) {
        buf_lit(&rp->body, i ? ",{\"field\":" : "{\"field\":");
        json_write_str(&rp->body, cx->fields[i].field);
        buf_printf(&rp->body, ",\"code\":\"%s\",\"message\":", err_info(cx->fields[i].code)->code);
        json_write_str(&rp->body, cx->fields[i].text);
        buf_char(&rp->body, '}');
    }
    buf_lit(&rp->body, "]}}");
}

static void put_made(struct reply *rp, const struct bulk *bulk, const void *made)
{
    struct str id = *(const struct str *)(const void *)((const char *)made + bulk->id_at);
    buf_printf(&rp->body, "{\"status\":201,\"id\":\"" STR_FMT "\",\"%s\":", STR_ARG(id),
               bulk->thing);
    rec_encode(&rp->body, bulk->out, made);
    buf_char(&rp->body, '}');
}

struct room { /* for the structs of one item, used again by the next */
    void *in, *out;
};

static enum err_code run_item(struct ctx *cx, struct req *rq, struct db *db,
                              const struct bulk *bulk, json_t *item, struct room room)
{
    enum err_code e = json_is_object(item)
                          ? rec_decode(cx, bulk->in, item, REC_REFUSE_UNKNOWN, STR_NONE, room.in)
                          : fail(cx, INVALID_FIELD, "A %s must be a JSON object", bulk->thing);
    return e ? e : bulk->create(cx, db, &rq->caller, room.in, room.out);
}

static enum err_code items_of(struct ctx *cx, const struct req *rq, const struct bulk *bulk,
                              json_t **items)
{
    const char *name;
    json_t *value;
    *items = json_object_get(rq->json, bulk->things);
    if (!json_is_object(rq->json))
        return fail(cx, INVALID_FIELD, "The body must be a JSON object");
    json_object_foreach(rq->json, name, value)
        if (value != *items)
            ctx_fail_field(cx, ERR_INVALID_FIELD, str_sub(str_of(name), 0, NAME_SHOWN_MAX),
                           "unknown field \"%.*s\"", NAME_SHOWN_MAX, name);
    if (!*items)
        ctx_fail_field(cx, ERR_MISSING_FIELD, str_of(bulk->things), "%s is required", bulk->things);
    else if (!json_is_array(*items) || !json_array_size(*items) ||
             json_array_size(*items) > BULK_MAX)
        ctx_fail_field(cx, ERR_INVALID_FIELD, str_of(bulk->things),
                       "%s must be an array of 1 to %d items", bulk->things, BULK_MAX);
    return cx->err;
}

enum err_code bulk_run(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp,
                       const struct bulk *bulk)
{
    json_t *items, *item;
    size_t i;
    struct room room = { arena_alloc(&cx->arena, bulk->in->size),
                         arena_alloc(&cx->arena, bulk->out->size) };
    enum err_code e = items_of(cx, rq, bulk, &items);
    if (e)
        return e;
    buf_lit(&rp->body, "{\"data\":[");
    json_array_foreach(items, i, item) {
        if (!ctx_ok(cx)) /* a thousand items with a hundred problems each do not fit */
            return cx->err;
        if (i)
            buf_char(&rp->body, ',');
        e = run_item(cx, rq, db, bulk, item, room);
        if (e && err_info(e)->status >= 500)
            return e;
        if (e)
            put_error(cx, rp);
        else
            put_made(rp, bulk, room.out);
        ctx_clear(cx);
    }
    buf_lit(&rp->body, "]}");
    return ERR_NONE;
}
