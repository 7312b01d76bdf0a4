/* Preloaded into the server by test_alloc_steps.py: lets one allocation of the process fail, in which
 * library ever it is asked for. The file named by ALLOC_FAIL is mapped and holds two numbers that the
 * test reads and writes while the server runs: how many allocations until the one that fails (0: none
 * fails), and how many there were. Any thread. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t nmemb, size_t size);
void *__libc_realloc(void *ptr, size_t size);

struct control {
    atomic_long left, seen;
};
static struct control *_Atomic control;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("ALLOC_FAIL");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *p = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (p != MAP_FAILED)
        atomic_store(&control, (struct control *)p);
}

static bool fails(void)
{
    struct control *c = atomic_load(&control);
    if (!c)
        return false;
    atomic_fetch_add(&c->seen, 1);
    if (atomic_load(&c->left) <= 0 || atomic_fetch_sub(&c->left, 1) != 1)
        return false;
    errno = ENOMEM;
    return true;
}

void *malloc(size_t size)
{
    return fails() ? NULL : __libc_malloc(size);
}

void *calloc(size_t nmemb, size_t size)
{
    return fails() ? NULL : __libc_calloc(nmemb, size);
}

void *realloc(void *ptr, size_t size)
{
    return fails() ? NULL : __libc_realloc(ptr, size);
}
