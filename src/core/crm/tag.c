/* Tags: see tag.h. */
#include "tag.h"

#include "../../base/json.h"
#include "contact_text.h"

struct str tag_fold(struct ctx *cx, struct str tag)
{
    return text_fold(cx, tag);
}

static bool has_control(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f)
            return true;
    return false;
}

static enum err_code check(struct ctx *cx, struct str tag)
{
    if (!tag.n || str_chars(tag) > TAG_MAX)
        return ctx_fail_field(cx, ERR_INVALID_FIELD, STR("tags"),
                              "tags must have 1 to %d characters each", TAG_MAX);
    if (has_control(tag))
        return ctx_fail_field(cx, ERR_INVALID_FIELD, STR("tags"),
                              "tags must not contain control characters");
    return ERR_NONE;
}

static bool is_known(const struct tags *t, struct str folded)
{
    for (size_t i = 0; i < t->n; i++)
        if (str_eq(t->folded[i], folded))
            return true;
    return false;
}

enum err_code tags_clean(struct ctx *cx, struct str json, struct tags *out)
{
    struct tags t = { .n = 0 };
    struct buf b;
    size_t i;
    json_t *item, *items = json_read(cx, json);
    if (!items)
        return cx->err;
    buf_init(&b, &cx->arena, (size_t)TAGS_MAX * (TAG_MAX * 6 + 4));
    buf_char(&b, '[');
    json_array_foreach(items, i, item) {
        struct str tag =
            str_trim((struct str){ json_string_value(item), json_string_length(item) });
        enum err_code e = check(cx, tag);
        if (e)
            return e;
        struct str folded = tag_fold(cx, tag);
        if (t.n == TAGS_MAX || is_known(&t, folded))
            continue;
        if (t.n)
            buf_char(&b, ',');
        json_write_str(&b, tag);
        t.folded[t.n++] = folded;
    }
    buf_char(&b, ']');
    t.json = buf_view(&b);
    *out = t;
    return ERR_NONE;
}

enum err_code tags_put(struct ctx *cx, struct db *db, const struct caller *who,
                       struct str ticket_id, const struct tags *tags)
{
    enum err_code e = db_run(cx, db, "DELETE FROM ticket_tag WHERE team_id = $1 AND ticket_id = $2",
                             ARGS(VT(who->team_id), VT(ticket_id)));
    for (size_t i = 0; !e && i < tags->n; i++)
        e = db_run(cx, db, "INSERT INTO ticket_tag (team_id, tag, ticket_id) VALUES ($1, $2, $3)",
                   ARGS(VT(who->team_id), VT(tags->folded[i]), VT(ticket_id)));
    return e;
}
