/* Conditions on events: see webhook_filter.h. */
#include "webhook_filter.h"

#include <string.h>

#include "../../base/json.h"

const char *const webhook_op_words[] = { "eq",       "ne",     "in",      "not_in",
                                         "contains", "exists", "changed", NULL };

struct condition_in {
    struct rec_bits bits;
    struct str path, op, value;
};
#define IN(member) offsetof(struct condition_in, member)
static const struct field condition_fields[] = {
    { "path", F_STR, IN(path), F_REQUIRED | F_SINGLE_LINE, 1, WEBHOOK_PATH_MAX, NULL,
      "data.… or previous.…, its steps joined by full stops; a number is an item of an array",
      "\"data.priority\"" },
    { "op", F_ENUM, IN(op), F_REQUIRED, 0, 0, webhook_op_words,
      "eq, ne: the same scalar, an absent one being null; in, not_in: one of the array value; "
      "contains: a text with that text in it, or an array with that item; exists: there and not "
      "null; changed: previous has it (both: false for the contrary)",
      "\"in\"" },
    { "value", F_JSON, IN(value), F_OMIT_NULL, 0, 0, NULL,
      "A scalar; for in and not_in an array of 1 to 50; for exists and changed true, false or "
      "nothing",
      "[\"high\", \"urgent\"]" },
};
const struct rec rec_webhook_condition =
    REC("WebhookCondition", struct condition_in, condition_fields,
        "What must hold of an event for it to be sent.");

/* ---- reading ---- */

static struct str step_of(struct str *rest)
{
    return str_cut(rest, '.');
}

static bool path_is_fine(struct str path)
{
    int steps = 0;
    for (; path.p; steps++)
        if (!step_of(&path).n)
            return false;
    return steps >= 2 && steps <= WEBHOOK_STEPS_MAX;
}

static bool is_scalar(const json_t *v)
{
    if (json_is_string(v))
        return json_string_length(v) <= WEBHOOK_VALUE_MAX;
    return v && !json_is_array(v) && !json_is_object(v);
}

static bool is_list(const json_t *v)
{
    size_t n = json_array_size(v);
    bool is_fine = n >= 1 && n <= WEBHOOK_VALUES_MAX;
    for (size_t i = 0; i < n && is_fine; i++)
        is_fine = is_scalar(json_array_get(v, i));
    return is_fine;
}

/* NULL, or what the value must be. */
static const char *value_problem(enum webhook_op op, const json_t *v)
{
    switch (op) {
    case WHEN_IN:
    case WHEN_NOT_IN: return is_list(v) ? NULL : "must be an array of 1 to 50 scalars";
    case WHEN_EXISTS:
    case WHEN_CHANGED: return !v || json_is_boolean(v) ? NULL : "must be true or false";
    case WHEN_CONTAINS:
        return is_scalar(v) && !json_is_null(v) ? NULL : "must be a text, a number or a boolean";
    case WHEN_EQ:
    case WHEN_NE: return is_scalar(v) ? NULL : "must be a text, a number, a boolean or null";
    }
    return NULL;
}

static enum webhook_op op_of(struct str word)
{
    int i = 0;
    while (!str_eq(word, str_of(webhook_op_words[i])))
        i++; /* the field table let in no other word */
    return (enum webhook_op)i;
}

static void wrong(struct ctx *cx, struct str where, const char *member, const char *what)
{
    struct str name = str_printf(&cx->arena, STR_FMT ".%s", STR_ARG(where), member);
    ctx_fail_field(cx, ERR_INVALID_FIELD, name, STR_FMT " %s", STR_ARG(name), what);
}

static void read_condition(struct ctx *cx, json_t *item, size_t i, struct webhook_filter *out)
{
    struct condition_in in;
    struct webhook_condition *c = &out->v[i];
    struct str where = str_printf(&cx->arena, "filter[%zu]", i);
    if (rec_decode(cx, &rec_webhook_condition, item, REC_REFUSE_UNKNOWN, where, &in))
        return;
    c->path = in.path;
    c->op = op_of(in.op);
    c->value = json_object_get(item, "value");
    struct str first = step_of(&c->path);
    c->is_previous = str_eq(first, STR("previous"));
    if (!path_is_fine(in.path) || (!c->is_previous && !str_eq(first, STR("data"))))
        wrong(cx, where, "path", "must be data. or previous. and 1 to 9 steps behind it");
    const char *problem = value_problem(c->op, c->value);
    if (problem)
        wrong(cx, where, "value", problem);
}

enum err_code webhook_filter_parse(struct ctx *cx, struct str text, struct webhook_filter *out)
{
    *out = (struct webhook_filter){ .n = 0 };
    json_t *list = json_read(cx, text);
    if (!list)
        return cx->err;
    if (!json_is_array(list) || json_array_size(list) > WEBHOOK_CONDITIONS_MAX)
        return ctx_fail_field(cx, ERR_INVALID_FIELD, STR("filter"),
                              "filter must be an array of at most %d conditions",
                              WEBHOOK_CONDITIONS_MAX);
    for (size_t i = 0; i < json_array_size(list); i++)
        read_condition(cx, json_array_get(list, i), i, out);
    out->n = json_array_size(list);
    return cx->err;
}

/* ---- judging ---- */

static const json_t *at_path(const json_t *from, struct str rest)
{
    int64_t i;
    while (from && rest.p) {
        struct str step = step_of(&rest);
        if (json_is_object(from))
            from = json_object_getn(from, step.p, step.n);
        else if (json_is_array(from) && str_to_i64(step, &i) && i >= 0)
            from = json_array_get(from, (size_t)i);
        else
            return NULL;
    }
    return from;
}

/* A number is a number, 1 and 1.0 the same; NULL is null. */
static bool same(const json_t *a, const json_t *b)
{
    if (!a || !b)
        return (!a || json_is_null(a)) && (!b || json_is_null(b));
    if (json_is_real(a) || json_is_real(b))
        return json_is_number(a) && json_is_number(b) &&
               json_number_value(a) == json_number_value(b);
    return json_equal(a, b);
}

static bool is_one_of(const json_t *v, const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (same(v, json_array_get(list, i)))
            return true;
    return false;
}

static bool contains(const json_t *v, const json_t *part)
{
    if (json_is_array(v))
        return is_one_of(part, v);
    return json_is_string(v) && json_is_string(part) &&
           strstr(json_string_value(v), json_string_value(part));
}

static bool holds(const struct webhook_condition *c, const json_t *data, const json_t *previous)
{
    const json_t *v = at_path(c->is_previous ? previous : data, c->path);
    bool is_wanted = !json_is_false(c->value);
    switch (c->op) {
    case WHEN_EQ: return same(v, c->value);
    case WHEN_NE: return !same(v, c->value);
    case WHEN_IN: return is_one_of(v, c->value);
    case WHEN_NOT_IN: return !is_one_of(v, c->value);
    case WHEN_CONTAINS: return contains(v, c->value);
    case WHEN_EXISTS: return (v && !json_is_null(v)) == is_wanted;
    case WHEN_CHANGED: return (at_path(previous, c->path) != NULL) == is_wanted;
    }
    return false;
}

bool webhook_filter_holds(const struct webhook_filter *f, const json_t *data,
                          const json_t *previous)
{
    for (size_t i = 0; i < f->n; i++)
        if (!holds(&f->v[i], data, previous))
            return false;
    return true;
}
