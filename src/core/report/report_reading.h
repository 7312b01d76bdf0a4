/* What the files that read definitions share; see report_def.h for the form. A reading records every
 * problem in its ctx and goes on, so that all are named. */
#ifndef TESSERA_CORE_REPORT_REPORT_READING_H
#define TESSERA_CORE_REPORT_REPORT_READING_H

#include "report_def.h"

#define LIST_TEXT_MAX ((size_t)256 << 10)

struct reading {
    struct ctx *cx;
    const char *prefix; /* of every path; may be "" */
    int64_t now_ms;
    struct report_def *d;
    size_t n_args; /* values of filters so far */
};

/* "definition.filters[2].field", "definition.filters[2]" (member NULL), "definition.limit". */
struct str reading_path(const struct reading *r, const char *list, size_t i, const char *member);
struct str reading_path_of(const struct reading *r, const char *member);
/* INVALID_FIELD: the sentence is the path and `what`. */
enum err_code reading_wrong(const struct reading *r, struct str where, const char *what);
/* The index of a word that a field table has judged. */
int reading_word(const char *const *words, struct str word);
/* A field of the source with one of these flags (0: any), or NULL with the problem recorded. */
const struct report_field *reading_field(const struct reading *r, struct str name, struct str where,
                                         unsigned flags, const char *what);
/* False when the text is no time; see report_when_parse. */
bool reading_when(struct str text, struct report_when *out);
/* Each object of an array by its table; `in` is its struct. All are shown again into *text. */
void reading_list(struct reading *r, const json_t *list, const char *name, const struct rec *rec,
                  void (*each)(struct reading *r, size_t i, json_t *item, void *in),
                  struct str *text);
void reading_filters(struct reading *r, const json_t *list, struct str *text);

#endif
