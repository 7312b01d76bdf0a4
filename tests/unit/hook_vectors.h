/* The signed requests of tests/data/hook_vectors.json, for tests of the verifier. */
#ifndef TESTS_HOOK_VECTORS_H
#define TESTS_HOOK_VECTORS_H

#include "connect/hook_verify.h"

#define VECTORS_MAX 64
#define VECTOR_HEADERS_MAX 8

struct hook_vector {
    struct hook_ask ask; /* points into this struct and into the ctx */
    struct str secret;
    struct hook_header headers[VECTOR_HEADERS_MAX];
    struct str name, event_type, event_key, handshake, reply_body; /* STR_NONE for null */
    bool covers_body, has_more;
};

/* Read all vectors into cx; fails the test when they cannot be read. */
size_t hook_vectors_load(struct ctx *cx, struct hook_vector *out);
/* The vector of that name; fails the test when there is none. */
struct hook_vector *hook_vector(struct hook_vector *all, size_t n, const char *name);
/* Whether a request holds. Checks that the verdict is whole and that nothing is left recorded. */
bool hook_holds(const struct hook_ask *ask);
/* It is refused with that fault and a sentence that has `part` in it. */
void assert_reason(const struct hook_ask *ask, enum hook_fault fault, const char *part);

#endif
