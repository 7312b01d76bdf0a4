/* A file without a name for what is too large for memory: exports on their way out, uploads on
 * their way in.
 *
 * Made in a folder with O_TMPFILE (or created and unlinked at once where the file system has none),
 * so that nothing is left behind when the process dies. Writing is buffered and counts bytes and
 * their SHA-256. Owner: whoever opened it, until handed over; one thread at a time. */
#ifndef TESSERA_BASE_SPOOL_H
#define TESSERA_BASE_SPOOL_H

#include "ctx.h"

struct spool;

/* UNAVAILABLE when the folder cannot take a file. */
enum err_code spool_open(struct ctx *cx, struct str dir, struct spool **out);
/* A new file of that name, which must not be there: it stays when the spool is closed. */
enum err_code spool_create(struct ctx *cx, struct str path, struct spool **out);
/* A file that is open for reading becomes a finished spool of its whole size; the descriptor is the
 * spool's from now on, on failure too. Its SHA-256 is not known. */
enum err_code spool_adopt(struct ctx *cx, int fd, struct spool **out);
/* Append. False when the disk is full or failed: then every later call fails too. */
bool spool_add(struct spool *s, const void *p, size_t n);
bool spool_str(struct spool *s, struct str text);
/* Flush and finish: UNAVAILABLE when any write failed. Afterwards the file is read, not written. */
enum err_code spool_done(struct ctx *cx, struct spool *s);
int64_t spool_size(const struct spool *s);
int spool_fd(const struct spool *s); /* stays the spool's; read it with pread */
/* SHA-256 of everything, after spool_done. */
void spool_sha256(const struct spool *s, unsigned char out[32]);
/* Takes the file over: the caller closes the descriptor, the spool is freed. */
int spool_take(struct spool *s);
void spool_close(struct spool *s); /* NULL is fine */

#endif
