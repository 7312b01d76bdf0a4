/* Files without a name: see spool.h. */
#define _GNU_SOURCE /* O_TMPFILE */
#include "spool.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"

#define SPOOL_BUFFER ((size_t)64 << 10)

struct spool {
    int fd;
    bool is_bad;
    int64_t size; /* with what still is in the buffer */
    size_t n;     /* bytes in the buffer */
    EVP_MD_CTX *sha;
    unsigned char digest[32];
    char buffer[SPOOL_BUFFER];
};

static int file_without_name(const char *dir, struct ctx *cx)
{
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT))
        return fd;
    struct str path = str_printf(&cx->arena, "%s/.tessera-XXXXXX", dir);
    char *name = str_cstr(&cx->arena, path);
    fd = mkostemp(name, O_CLOEXEC);
    if (fd >= 0)
        unlink(name);
    return fd;
}

static enum err_code open_failed(struct ctx *cx, struct str where)
{
    log_error(NULL, "spool.open_failed", KVS("where", where), KVC("why", strerror(errno)));
    return ctx_fail_plain(cx, ERR_UNAVAILABLE);
}

static struct spool *spool_of(int fd)
{
    struct spool *s = calloc(1, sizeof *s);
    BUG_IF(!s);
    s->fd = fd;
    s->sha = EVP_MD_CTX_new();
    BUG_IF(!s->sha || !EVP_DigestInit_ex(s->sha, EVP_sha256(), NULL));
    return s;
}

enum err_code spool_open(struct ctx *cx, struct str dir, struct spool **out)
{
    int fd = file_without_name(str_cstr(&cx->arena, dir), cx);
    if (fd < 0)
        return open_failed(cx, dir);
    *out = spool_of(fd);
    return ERR_NONE;
}

enum err_code spool_create(struct ctx *cx, struct str path, struct spool **out)
{
    int fd =
        open(str_cstr(&cx->arena, path), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return open_failed(cx, path);
    *out = spool_of(fd);
    return ERR_NONE;
}

enum err_code spool_adopt(struct ctx *cx, int fd, struct spool **out)
{
    struct stat st;
    if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
        close(fd);
        return ctx_fail_plain(cx, ERR_UNAVAILABLE);
    }
    struct spool *s = calloc(1, sizeof *s);
    BUG_IF(!s);
    s->fd = fd;
    s->size = st.st_size;
    *out = s;
    return ERR_NONE;
}

static void flush_buffer(struct spool *s)
{
    size_t done = 0;
    while (!s->is_bad && done < s->n) {
        ssize_t n = write(s->fd, s->buffer + done, s->n - done);
        if (n < 0 && errno != EINTR) {
            log_error(NULL, "spool.write_failed", KVC("why", strerror(errno)));
            s->is_bad = true;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    s->n = 0;
}

bool spool_add(struct spool *s, const void *p, size_t n)
{
    const char *from = p;
    EVP_DigestUpdate(s->sha, p, n);
    s->size += (int64_t)n;
    while (n && !s->is_bad) {
        size_t some = SPOOL_BUFFER - s->n < n ? SPOOL_BUFFER - s->n : n;
        memcpy(s->buffer + s->n, from, some);
        s->n += some;
        from += some;
        n -= some;
        if (s->n == SPOOL_BUFFER)
            flush_buffer(s);
    }
    return !s->is_bad;
}

bool spool_str(struct spool *s, struct str text)
{
    return spool_add(s, text.p, text.n);
}

enum err_code spool_done(struct ctx *cx, struct spool *s)
{
    flush_buffer(s);
    EVP_DigestFinal_ex(s->sha, s->digest, NULL);
    return s->is_bad ? ctx_fail_plain(cx, ERR_UNAVAILABLE) : ERR_NONE;
}

int64_t spool_size(const struct spool *s)
{
    return s->size;
}

int spool_fd(const struct spool *s)
{
    return s->fd;
}

void spool_sha256(const struct spool *s, unsigned char out[32])
{
    memcpy(out, s->digest, 32);
}

int spool_take(struct spool *s)
{
    int fd = s->fd;
    s->fd = -1;
    spool_close(s);
    return fd;
}

void spool_close(struct spool *s)
{
    if (!s)
        return;
    if (s->fd >= 0)
        close(s->fd);
    EVP_MD_CTX_free(s->sha);
    free(s);
}
