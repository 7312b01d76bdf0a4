/* Blobs in a folder: <dir>/<team_id>/<aa>/<sha256>-<nonce>.
 *
 * Names are never used twice, so a file is written in place: half a file of a crash has a row in
 * blob_loose only and is swept. A file is durable when it, and each folder that got a new entry,
 * is synced. */
#include "blob_inner.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../base/log.h"

#define COPY_BYTES ((size_t)256 << 10)

static enum err_code failed(struct ctx *cx, const char *what)
{
    log_error(NULL, "blob.disk_failed", KVC("step", what), KVC("why", strerror(errno)));
    return ctx_fail_plain(cx, ERR_UNAVAILABLE);
}

static char *path_of(struct ctx *cx, const struct blobs *b, const struct blob_id *id)
{
    struct str name = blob_path(&cx->arena, id);
    return str_cstr(&cx->arena,
                    str_printf(&cx->arena, STR_FMT "/" STR_FMT, STR_ARG(b->dir), STR_ARG(name)));
}

static bool sync_dir(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool is_fine = fd >= 0 && !fsync(fd);
    if (fd >= 0)
        close(fd);
    return is_fine;
}

/* A folder and its entry in the one above. */
static bool make_dir(struct ctx *cx, struct str above, struct str path)
{
    if (!mkdir(str_cstr(&cx->arena, path), 0700))
        return sync_dir(str_cstr(&cx->arena, above));
    return errno == EEXIST;
}

static bool make_dirs(struct ctx *cx, const struct blobs *b, const struct blob_id *id,
                      struct str *folder)
{
    struct str team =
        str_printf(&cx->arena, STR_FMT "/" STR_FMT, STR_ARG(b->dir), STR_ARG(id->team_id));
    *folder = str_printf(&cx->arena, STR_FMT "/%.2s", STR_ARG(team), id->sha256.p);
    return make_dir(cx, b->dir, team) && make_dir(cx, team, *folder);
}

static bool write_all(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t some = write(fd, p, n);
        if (some < 0 && errno == EINTR)
            continue;
        if (some <= 0)
            return false;
        p += some;
        n -= (size_t)some;
    }
    return true;
}

static bool copy(struct ctx *cx, const struct spool *from, int fd)
{
    char *piece = arena_alloc(&cx->arena, COPY_BYTES);
    int64_t at = 0, size = spool_size(from);
    while (at < size) {
        ssize_t n = pread(spool_fd(from), piece, COPY_BYTES, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0 || !write_all(fd, piece, (size_t)n))
            return false;
        at += n;
    }
    return true;
}

static enum err_code disk_put(struct ctx *cx, const struct blobs *b, const struct blob_id *id,
                              const struct spool *content)
{
    const char *path = path_of(cx, b, id);
    struct str folder;
    if (!make_dirs(cx, b, id, &folder))
        return failed(cx, "mkdir");
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return failed(cx, "create");
    bool is_fine = copy(cx, content, fd) && !fsync(fd);
    is_fine = !close(fd) && is_fine;
    if (is_fine && sync_dir(str_cstr(&cx->arena, folder)))
        return ERR_NONE;
    enum err_code e = failed(cx, "write");
    unlink(path);
    return e;
}

static enum err_code disk_get(struct ctx *cx, const struct blobs *b, const struct blob_id *id,
                              int64_t size, struct spool **out)
{
    (void)size;
    int fd = open(path_of(cx, b, id), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0)
        return spool_adopt(cx, fd, out);
    if (errno != ENOENT)
        return failed(cx, "open");
    return fail(cx, NOT_FOUND, "The content of the attachment is gone");
}

static enum err_code disk_drop(struct ctx *cx, const struct blobs *b, const struct blob_id *id)
{
    if (!unlink(path_of(cx, b, id)) || errno == ENOENT)
        return ERR_NONE;
    return failed(cx, "unlink");
}

const struct blob_backend blob_disk = { disk_put, disk_get, disk_drop };
