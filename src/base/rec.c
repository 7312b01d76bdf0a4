/* Field tables: what reading, writing and schemas share: finding a field, setting a member.
 *
 * Reading is in rec_decode.c, writing in rec_encode.c, schemas in rec_schema.c. A member is reached
 * by memcpy at its offset, so that no aliasing rule is bent. No state; any thread. */
#include "rec.h"

#include <string.h>

static void mark(const struct field *f, void *obj, bool has)
{
    struct rec_bits *bits = obj;
    uint64_t bit = UINT64_C(1) << (f->offset / 8);

    bits->has = has ? bits->has | bit : bits->has & ~bit;
}

bool field_is_int(const struct field *f)
{
    switch (f->type) {
    case F_INT:
    case F_BOOL:
    case F_TIME:
    case F_TIME_S: return true;
    case F_STR:
    case F_UUID:
    case F_ENUM:
    case F_OBJECT:
    case F_STRS:
    case F_ENUMS:
    case F_REC:
    case F_RECS:
    case F_JSON: return false;
    }
    return false;
}

/* A column that is NULL (s.p == NULL) leaves the member absent. */
void rec_put_text(const struct field *f, void *obj, struct str s)
{
    BUG_IF(field_is_int(f));
    memcpy((char *)obj + f->offset, &s, sizeof s);
    mark(f, obj, s.p != NULL);
}

void rec_put_int(const struct field *f, void *obj, int64_t v)
{
    BUG_IF(!field_is_int(f));
    memcpy((char *)obj + f->offset, &v, sizeof v);
    mark(f, obj, true);
}

const struct field *rec_find(const struct rec *r, struct str name)
{
    if (name.n == 0)
        return NULL;
    for (size_t i = 0; i < r->n; i++) {
        const char *own = r->fields[i].name;
        if (own[0] == name.p[0] && strlen(own) == name.n && memcmp(own, name.p, name.n) == 0)
            return &r->fields[i];
    }
    return NULL;
}
