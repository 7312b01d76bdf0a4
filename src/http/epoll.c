/* epoll_wait for the whole program, in place of libc's: the call after one that filled its array
 * does not block.
 *
 * libmicrohttpd (0.9.75 to 1.0.1, MHD_epoll in daemon.c) fetches 128 events at a time and, when it
 * got 128, fetches again before it serves the first of them, with the timeout it began with. When
 * those 128 were all there is, the second call sleeps until anything else happens, and 128 clients
 * wait for their answers meanwhile: with that many connections on one thread and each waiting for
 * its answer, until the idle timeout ends one of them. A caller may be told of no event at any
 * time, so others that use epoll see nothing of this but one call more.
 *
 * The dynamic linker takes the program's definition for the library's calls. Not under
 * ThreadSanitizer, which needs its own. Thread: any. */
#include <stddef.h>
#include <sys/epoll.h>

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define IS_LIBCS 1
#endif
#elif defined(__SANITIZE_THREAD__)
#define IS_LIBCS 1
#endif

#ifndef IS_LIBCS
static _Thread_local int full_fd = -1; /* whose last call filled its array */

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): libc's are reserved words */
__attribute__((visibility("default"))) int epoll_wait(int fd, struct epoll_event *events, int max,
                                                      int timeout)
{
    int n = epoll_pwait(fd, events, max, fd == full_fd ? 0 : timeout, NULL);
    full_fd = n == max ? fd : -1;
    return n;
}
#endif
