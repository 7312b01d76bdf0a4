/* Examples of events, made from the field tables: what a test sends, what GET /v1/event-types and
 * the documents show. Any thread; no state. */
#ifndef TESSERA_CONNECT_WEBHOOK_EVENT_EXAMPLE_H
#define TESSERA_CONNECT_WEBHOOK_EVENT_EXAMPLE_H

#include "../../core/event.h"

/* What an event of this type could hold: ready for event_emit_to. Lives in cx. */
void event_example(struct ctx *cx, enum event_type type, struct event_new *out);

struct event_type_shown {
    struct rec_bits bits;
    struct str type, noun, doc, example;
};
extern const struct rec rec_event_type;
/* All types in the table's order, each with the body of a full delivery: a list of struct
 * event_type_shown. */
void event_types_show(struct ctx *cx, struct str team_id, struct list *out);

#endif
