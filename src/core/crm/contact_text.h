/* The texts of contacts as they are compared: folded words, e-mail addresses, phone numbers.
 *
 * Folding is Unicode's NFKC case folding: Ä and ä, ﬁ and fi are the same. Words also lose their
 * accents: jose finds José. A word is a run of letters, digits and marks, cut at WORD_MAX bytes;
 * writing without spaces between words gives one word per run. Any thread. */
#ifndef TESSERA_CORE_CRM_CONTACT_TEXT_H
#define TESSERA_CORE_CRM_CONTACT_TEXT_H

#include "../../base/ctx.h"
#include "side.h"

#define CONTACT_EMAILS_MAX 20
#define CONTACT_PHONES_MAX 20
#define EMAIL_MAX 254 /* bytes, RFC 5321 */
#define PHONE_MAX 40  /* bytes as written */
#define PHONE_DIGITS_MIN 3
#define PHONE_DIGITS_MAX 20
#define WORD_MAX 64 /* bytes */

struct keyed { /* a list as it is shown, and its keys for finding */
    struct str json;
    struct keys keys;
};

/* Case folded; and without accents too. s must be valid UTF-8. */
struct str text_fold(struct ctx *cx, struct str s);
struct str text_plain(struct ctx *cx, struct str s);
/* Adds the words of the text; those that find no room are left out. */
void words_add(struct ctx *cx, struct str text, struct keys *k);
/* Trimmed, without repeats. INVALID_FIELD names emails, phones. */
enum err_code emails_clean(struct ctx *cx, struct str json, struct keyed *out);
enum err_code phones_clean(struct ctx *cx, struct str json, struct keyed *out);
/* Digits, with a plus before them when it was given; STR_NONE when it is no phone number. */
struct str phone_key(struct ctx *cx, struct str s);
/* Digits, when the text is made of digits and of what stands between them in phone numbers; else
 * STR_NONE. */
struct str phone_digits(struct ctx *cx, struct str s);
bool email_is_fine(struct str s);

#endif
