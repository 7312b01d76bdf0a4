/* Field tables: a resource is described once, and the table serves decoding, validation, encoding,
 * row → struct, query parameters, OpenAPI schemas and log redaction.
 *
 * A record is a plain struct whose first member is `struct rec_bits`; every other member is 8-byte
 * aligned (struct str or int64_t) and the struct is at most 512 bytes, so that a member's presence
 * bit is its offset / 8. Several tables may describe the same struct (create body, patch body,
 * reply). */
#ifndef TESSERA_BASE_REC_H
#define TESSERA_BASE_REC_H

#include <jansson.h>
#include <stddef.h>

#include "ctx.h"

enum field_type {
    F_STR,    /* struct str; min/max count characters (code points) */
    F_UUID,   /* struct str */
    F_ENUM,   /* struct str: one of words */
    F_INT,    /* int64_t; min/max are the range when max != 0 */
    F_BOOL,   /* int64_t 0/1 */
    F_TIME,   /* int64_t ms; JSON: RFC 3339 with milliseconds */
    F_TIME_S, /* int64_t ms; JSON: RFC 3339 in whole seconds (the document's form) */
    F_OBJECT, /* struct str: JSON text of an object, any content; max = bytes of text */
    F_STRS,  /* struct str: JSON text of an array of strings; words limit them; max = their count */
    F_ENUMS, /* query only: comma separated words; struct str keeps the raw text, checked */
    F_REC,   /* struct str: JSON text of an object described by `of` (checked when read) */
    F_RECS,  /* struct str: JSON text of an array of such objects; min/max = their count */
    F_JSON,  /* struct str: JSON text of any value; as input: any value, max = bytes of text */
};

enum field_flag {
    F_REQUIRED = 1,     /* must be given and not null; a blank F_STR counts as missing */
    F_SECRET = 2,       /* never printed, never logged */
    F_READ_ONLY = 4,    /* refused by name in bodies that refuse unknown fields */
    F_NULLABLE = 8,     /* null clears (patch) / may be null in replies */
    F_OMIT_NULL = 16,   /* left out of the reply when null */
    F_SINGLE_LINE = 32, /* F_STR: control characters refused */
};

struct rec;
struct field {
    const char *name;
    enum field_type type;
    unsigned offset;
    unsigned flags;
    int64_t min, max;
    const char *const *words; /* NULL-terminated */
    const char *doc;          /* one sentence for OpenAPI */
    const char *example;      /* JSON text or NULL */
    const struct rec *of; /* F_REC, F_RECS: the objects inside (their own nesting: F_REC, F_RECS) */
};

struct rec_bits {
    uint64_t has; /* bit offset/8: a value is present */
    uint64_t nul; /* bit offset/8: explicitly null in the input */
};

struct rec {
    const char *name; /* schema name in OpenAPI: "Ticket" */
    size_t size;
    const struct field *fields;
    size_t n;
    const char *doc;
};

#define REC(rec_name, type, table, doc_text)                                                       \
    {                                                                                              \
        .name = (rec_name), .size = sizeof(type), .fields = (table),                               \
        .n = sizeof(table) / sizeof *(table), .doc = (doc_text)                                    \
    }
#define REC_HAS(obj, member) rec_bit(&(obj)->bits.has, offsetof(__typeof__(*(obj)), member))
#define REC_IS_NULL(obj, member) rec_bit(&(obj)->bits.nul, offsetof(__typeof__(*(obj)), member))
#define REC_SET(obj, member)                                                                       \
    ((obj)->bits.has |= UINT64_C(1) << (offsetof(__typeof__(*(obj)), member) / 8))
static inline bool rec_bit(const uint64_t *bits, size_t offset)
{
    return (*bits >> (offset / 8)) & 1;
}

enum rec_mode {
    REC_IGNORE_UNKNOWN = 0, /* the document's API */
    REC_REFUSE_UNKNOWN = 1, /* /v1: unknown and read-only fields are named */
    REC_PATCH = 2, /* JSON merge patch: nothing is required, null clears F_NULLABLE fields */
};

/* Decode and validate an object by its table into *out (zeroed first). All problems are recorded
 * (ctx_fail_field) with `prefix` before the names (may be STR_NONE); returns the first one's code.
 * null for a non-required field counts as absent (has stays 0, nul is set). */
enum err_code rec_decode(struct ctx *cx, const struct rec *r, json_t *obj, unsigned mode,
                         struct str prefix, void *out);
struct rec_param { /* one decoded query parameter */
    struct str name, value;
};
/* The same for query parameters; unknown and repeated ones are INVALID_PARAMETER with their
 * name. */
enum err_code rec_decode_query(struct ctx *cx, const struct rec *r, const struct rec_param *params,
                               size_t n, void *out);
/* Append the object as JSON, fields in table order, F_SECRET left out, missing values as null. */
void rec_encode(struct buf *b, const struct rec *r, const void *obj);
/* Put a text or number that came from a column into the member (sets its bit). */
void rec_put_text(const struct field *f, void *obj, struct str s);
void rec_put_int(const struct field *f, void *obj, int64_t v);
bool field_is_int(const struct field *f);                           /* the member is an int64_t */
const struct field *rec_find(const struct rec *r, struct str name); /* NULL when absent */
/* Append the JSON Schema (draft 2020-12) of the record: as a reply (every field required, null
 * allowed where F_NULLABLE) or as a request body. */
void rec_schema_reply(struct buf *b, const struct rec *r);
void rec_schema_body(struct buf *b, const struct rec *r, unsigned mode);
/* Append the JSON Schema of one field (for query parameters). */
void field_schema(struct buf *b, const struct field *f, bool is_reply);

#endif
