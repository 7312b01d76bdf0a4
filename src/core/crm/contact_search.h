/* Search of contacts by words: every word of q begins a word of the contact; newest first.
 *
 * The work of a page is bounded whatever is asked: when the bound is reached before the page is
 * full, the page is short (perhaps empty) and next_cursor goes on from there. Nothing is left out
 * over all pages. How, and what was measured: docs/decisions/0013-contact-search.md. */
#ifndef TESSERA_CORE_CRM_CONTACT_SEARCH_H
#define TESSERA_CORE_CRM_CONTACT_SEARCH_H

#include "contact.h"

/* q is given; sort is not looked at. INVALID_PARAMETER names cursor. */
enum err_code contact_search(struct ctx *cx, struct db *db, const struct caller *who,
                             const struct contact_query *in, struct cursor_key key,
                             struct page *out);

#endif
