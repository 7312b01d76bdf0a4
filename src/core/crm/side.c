/* Side tables: see side.h. */
#include "side.h"

static const struct keys no_keys = { .n = 0 };

static bool has_key(const struct keys *k, struct str key)
{
    for (size_t i = 0; i < k->n; i++)
        if (str_eq(k->v[i], key))
            return true;
    return false;
}

bool keys_add(struct keys *k, struct str key)
{
    if (has_key(k, key))
        return true;
    if (k->n == KEYS_MAX)
        return false;
    k->v[k->n++] = key;
    return true;
}

static void minus(const struct keys *a, const struct keys *b, struct keys *out)
{
    out->n = 0;
    for (size_t i = 0; i < a->n; i++)
        if (!has_key(b, a->v[i]))
            out->v[out->n++] = a->v[i];
}

/* A batch that is not full repeats its last key. */
static enum err_code run_batch(struct ctx *cx, struct db *db, const struct side_change *c,
                               const char *sql, const struct keys *k, size_t from)
{
    struct val v[2 + SIDE_BATCH] = { VT(c->team_id), VT(c->id) };
    for (size_t i = 0; i < SIDE_BATCH; i++)
        v[2 + i] = VT(k->v[from + i < k->n ? from + i : k->n - 1]);
    return db_run(cx, db, sql, (struct args){ v, 2 + SIDE_BATCH });
}

enum err_code side_apply(struct ctx *cx, struct db *db, const struct side_change *c)
{
    const struct keys *old = c->old ? c->old : &no_keys, *now = c->now ? c->now : &no_keys;
    struct keys k;
    enum err_code e = ERR_NONE;
    size_t i;
    minus(old, now, &k);
    for (i = 0; !e && i < k.n; i += SIDE_BATCH)
        e = run_batch(cx, db, c, c->side->drop_batch, &k, i);
    minus(now, old, &k);
    for (i = 0; !e && i + SIDE_BATCH <= k.n; i += SIDE_BATCH)
        e = run_batch(cx, db, c, c->side->add_batch, &k, i);
    for (; !e && i < k.n; i++)
        e = db_run(cx, db, c->side->add, ARGS(VT(c->team_id), VT(c->id), VT(k.v[i])));
    return e;
}
