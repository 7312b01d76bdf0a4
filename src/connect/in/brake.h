/* The brake on webhooks that do not hold: how many one address may send to one integration in a
 * minute before they are turned away without a look.
 *
 * Counts are in memory, in a table of fixed size; two names that meet in a slot displace each other,
 * which lets a few more through. A delivery that holds touches nothing. Any thread. */
#ifndef TESSERA_CONNECT_IN_BRAKE_H
#define TESSERA_CONNECT_IN_BRAKE_H

#include <stdbool.h>
#include <stdint.h>

#include "../../base/str.h"

struct brake;
/* limit: a minute; 0 = none. */
struct brake *brake_open(int64_t limit);
void brake_close(struct brake *b); /* NULL is fine */

/* Whether the address may go on: false when it has been refused too often there. */
bool brake_is_open(struct brake *b, struct str ip, struct str id, int64_t now_ms);
/* One more was refused; true for the first few of a minute: worth a line in the log. */
bool brake_note(struct brake *b, struct str ip, struct str id, int64_t now_ms);

#endif
