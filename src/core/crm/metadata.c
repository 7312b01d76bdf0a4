/* Metadata: see metadata.h. */
#include "metadata.h"

#include "../../base/json.h"

static enum err_code put(struct ctx *cx, const json_t *v, const char *field, struct str *metadata)
{
    struct str text = json_text(cx, v);
    if (text.n > METADATA_MAX)
        return ctx_fail_field(cx, ERR_INVALID_FIELD, str_of(field),
                              "%s: metadata must be at most %d bytes", field, METADATA_MAX);
    *metadata = text;
    return ERR_NONE;
}

enum err_code metadata_merge(struct ctx *cx, struct str patch, bool is_null, struct str *metadata)
{
    if (is_null)
        *metadata = STR("{}");
    if (!patch.p)
        return ERR_NONE;
    json_t *target = json_read(cx, *metadata), *changes = json_read(cx, patch);
    if (!target || !changes)
        return cx->err;
    json_merge(target, changes);
    return put(cx, target, "metadata", metadata);
}

enum err_code metadata_fill(struct ctx *cx, struct str more, const char *field,
                            struct str *metadata)
{
    json_t *target = json_read(cx, *metadata), *source = json_read(cx, more), *item;
    const char *name;
    if (!target || !source)
        return cx->err;
    json_object_foreach(source, name, item)
        if (!json_object_get(target, name))
            json_object_set(target, name, item);
    return put(cx, target, field, metadata);
}
