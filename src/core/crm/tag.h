/* Tags of tickets. Owner of table ticket_tag.
 *
 * A ticket's own row keeps its tags as they were written (tickets.tags, JSON, for showing); the
 * side table keeps them case folded (for finding). Both are written in one unit, and only when tags
 * are given. Folding is Unicode's, so ÄRGER and ärger are one tag. */
#ifndef TESSERA_CORE_CRM_TAG_H
#define TESSERA_CORE_CRM_TAG_H

#include "../../store/store.h"
#include "../caller.h"

#define TAGS_MAX 50
#define TAG_MAX 64 /* characters */

struct tags {
    struct str json; /* array as shown */
    size_t n;
    struct str folded[TAGS_MAX];
};

/* Trimmed, without the repeats (letter case ignored, the first spelling stays). INVALID_FIELD names
 * tags when one is blank, longer than TAG_MAX, or holds control characters. */
enum err_code tags_clean(struct ctx *cx, struct str json, struct tags *out);
/* The form that the side table holds. */
struct str tag_fold(struct ctx *cx, struct str tag);
/* Replaces the ticket's rows. */
enum err_code tags_put(struct ctx *cx, struct db *db, const struct caller *who,
                       struct str ticket_id, const struct tags *tags);

#endif
