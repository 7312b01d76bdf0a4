/* Bulk creation: {"<things>":[…]} of up to BULK_MAX objects, a result for each in its order. An
 * item's own problems are its own result; the good ones are stored all in one transaction; a failure
 * of the store ends the whole request. */
#ifndef TESSERA_API_BULK_H
#define TESSERA_API_BULK_H

#include "route.h"

#define BULK_MAX 1000

struct bulk {
    const char *things, *thing; /* "contacts", "contact" */
    const struct rec *in;       /* of an item */
    const struct rec *out;      /* of what is made from it; its id is at id_at */
    unsigned id_at;
    enum err_code (*create)(struct ctx *cx, struct db *db, const struct caller *who, const void *in,
                            void *out);
};
/* The handler's work. */
enum err_code bulk_run(struct ctx *cx, struct req *rq, struct db *db, struct reply *rp,
                       const struct bulk *bulk);

/* body_schema and reply_schema of the route; IN and OUT are the names of the field tables. */
#define BULK_BODY_SCHEMA(things, IN)                                                               \
    "{\"type\":\"object\",\"required\":[\"" things "\"],\"additionalProperties\":false,"           \
    "\"properties\":{\"" things "\":{\"type\":\"array\",\"minItems\":1,\"maxItems\":1000,"         \
    "\"items\":{\"$ref\":\"#/components/schemas/" IN "\"}}}}"
#define BULK_REPLY_SCHEMA(thing, OUT)                                                              \
    "{\"type\":\"object\",\"required\":[\"data\"],\"additionalProperties\":false,\"properties\":{" \
    "\"data\":{\"type\":\"array\",\"items\":{\"oneOf\":[{\"type\":\"object\",\"required\":["       \
    "\"status\",\"id\",\"" thing "\"],\"additionalProperties\":false,\"properties\":{"             \
    "\"status\":{\"const\":201},\"id\":{\"type\":\"string\",\"format\":\"uuid\"},\"" thing "\":{"  \
    "\"$ref\":\"#/components/schemas/" OUT "\"}}},{\"type\":\"object\",\"required\":["             \
    "\"status\",\"error\"],\"additionalProperties\":false,\"properties\":{\"status\":{"            \
    "\"type\":\"integer\",\"minimum\":400},\"error\":{\"$ref\":\"#/components/schemas/ItemError\"" \
    "}}}]}}}}"

#endif
