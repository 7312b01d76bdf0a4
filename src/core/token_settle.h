/* Limits that outlive the process and are shared by nodes.
 *
 * Each server counts what it grants in memory (token_dir.h). The usage log holds what all of them
 * have granted, a second late at most; a pass reads it for the running cell and the one before of
 * each window, the hour included, and lifts the counts in memory to it. So nothing is forgotten
 * over a restart, and nodes on one PostgreSQL learn of each other every SETTLE_MS; until then each
 * counts for itself, and a limit can be passed by what the others grant in that time. (Leases of
 * quota would be exact, but cost a write for each chunk and strand what a node does not use.) When
 * the database is away, the counts in memory decide.
 *
 * Windows that are no multiple of a minute are counted by each process alone. A limit that is given
 * to a key counts what the key has done already. On SQLite there are no other nodes: there, passes
 * after the first are made only when a key has got a new window. */
#ifndef TESSERA_CORE_TOKEN_SETTLE_H
#define TESSERA_CORE_TOKEN_SETTLE_H

#include "token_dir.h"
#include "usage.h"

#define SETTLE_MS 2000
#define SETTLE_REST 20 /* a pass that took long is followed by a rest of so many times its length */

struct token_settle;

/* The first pass, at start; token_settle_start goes on in a thread. Order of ends: the requests,
 * token_settle_close, token_dir_close. */
enum err_code token_settle_open(struct ctx *cx, struct token_dir *d, struct usage *u,
                                bool has_nodes, struct token_settle **out);
enum err_code token_settle_start(struct ctx *cx, struct token_settle *s);
void token_settle_close(struct token_settle *s); /* ends the thread; NULL is fine */

#endif
