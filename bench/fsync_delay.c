/* A slower disk: preload this library and every fsync() and fdatasync() of the process takes
 * BENCH_FSYNC_DELAY_US microseconds longer (0 or unset: no change).
 *
 * A disk without power-loss protection needs 0.5 to 5 ms for a flush; virtual machines often
 * answer at once. The real call runs first, then the wait, so errors and errno pass through.
 * Works in any dynamically linked program: SQLite, PostgreSQL, Node. Any thread. The timer slack
 * of Linux adds about 0.05 ms. Leaves out O_DSYNC, msync and sync_file_range.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define DELAY_MAX_US 1000000L

typedef int (*sync_fn)(int);

static sync_fn real_fsync;
static sync_fn real_fdatasync;
static long delay_us;

__attribute__((constructor)) static void init(void)
{
    const char *text = getenv("BENCH_FSYNC_DELAY_US");

    real_fsync = (sync_fn)dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = (sync_fn)dlsym(RTLD_NEXT, "fdatasync");
    delay_us = text ? strtol(text, NULL, 10) : 0;
    if (delay_us < 0)
        delay_us = 0;
    if (delay_us > DELAY_MAX_US)
        delay_us = DELAY_MAX_US;
}

static int sync_then_wait(sync_fn real, int fd)
{
    struct timespec left = { delay_us / 1000000L, delay_us % 1000000L * 1000L };
    int rc = real(fd);
    int saved = errno;

    while (delay_us > 0 && nanosleep(&left, &left) != 0 && errno == EINTR)
        continue;
    errno = saved;
    return rc;
}

int fsync(int fd)
{
    return sync_then_wait(real_fsync, fd);
}

int fdatasync(int fd)
{
    return sync_then_wait(real_fdatasync, fd);
}
