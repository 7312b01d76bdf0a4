/* Conditions on an event that a webhook sets: all must hold, or it is not sent there.
 *
 *     [{"path": "data.priority", "op": "in", "value": ["high", "urgent"]},
 *      {"path": "data.status", "op": "changed"}]
 *
 * A path begins with data or previous; its steps are names of members, or numbers of items. The
 * words of eq, ne, in and contains mean what they mean in reports. Any thread; no state. */
#ifndef TESSERA_CONNECT_WEBHOOK_WEBHOOK_FILTER_H
#define TESSERA_CONNECT_WEBHOOK_WEBHOOK_FILTER_H

#include "../../base/rec.h"

#define WEBHOOK_CONDITIONS_MAX 16
#define WEBHOOK_PATH_MAX 200   /* characters */
#define WEBHOOK_STEPS_MAX 10   /* of a path, with its first */
#define WEBHOOK_VALUES_MAX 50  /* of in and not_in */
#define WEBHOOK_VALUE_MAX 2000 /* bytes of a text to compare with */

enum webhook_op {
    WHEN_EQ,       /* the same scalar; what is absent is null */
    WHEN_NE,       /* not eq */
    WHEN_IN,       /* eq to one of value */
    WHEN_NOT_IN,   /* not in */
    WHEN_CONTAINS, /* a text that has this text in it; an array with such an item */
    WHEN_EXISTS,   /* is there and not null; value false: is not */
    WHEN_CHANGED,  /* previous has it; value false: has not */
};
extern const char *const webhook_op_words[]; /* by enum webhook_op, NULL-terminated */

struct webhook_condition {
    struct str path; /* behind its first step */
    bool is_previous;
    enum webhook_op op;
    const json_t *value; /* NULL: none was given */
};
struct webhook_filter {
    struct webhook_condition v[WEBHOOK_CONDITIONS_MAX];
    size_t n;
};
extern const struct rec rec_webhook_condition; /* one, as it is sent and stored */

/* INVALID_JSON; INVALID_FIELD or MISSING_FIELD, naming "filter[2].path". What *out holds lives in
 * cx. */
enum err_code webhook_filter_parse(struct ctx *cx, struct str text, struct webhook_filter *out);
/* previous may be NULL. */
bool webhook_filter_holds(const struct webhook_filter *f, const json_t *data,
                          const json_t *previous);

#endif
