/* See http_peer.h. */
#define _GNU_SOURCE /* memmem */
#include "http_peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUEST_MAX 65536

struct talk {
    struct peer *p;
    int fd;
    char text[REQUEST_MAX + 1];
    size_t n, head;
    size_t left; /* of a body that is not kept: still to come */
};

static void must(bool is_fine)
{
    if (!is_fine)
        abort();
}

/* False when the other side has gone or the test ends. */
static bool can(struct talk *t, short what)
{
    while (!atomic_load(&t->p->stop)) {
        struct pollfd pfd = { .fd = t->fd, .events = what };
        int n = poll(&pfd, 1, 20);
        if (n > 0)
            return (pfd.revents & what) != 0;
    }
    return false;
}

static bool put(struct talk *t, const char *text, size_t n)
{
    while (n) {
        ssize_t some = can(t, POLLOUT) ? send(t->fd, text, n, MSG_NOSIGNAL | MSG_DONTWAIT) : -1;
        if (some <= 0)
            return false;
        text += some;
        n -= (size_t)some;
    }
    return true;
}

static bool puts_all(struct talk *t, const char *text)
{
    return put(t, text, strlen(text));
}

static bool answer(struct talk *t, int status, const char *more, const char *body, size_t n)
{
    char head[8192];
    bool is_bare = status == 204 || status == 304; /* these have no body */
    snprintf(head, sizeof head, "HTTP/1.1 %d Word\r\nContent-Length: %zu\r\n%s\r\n", status,
             is_bare ? 0 : n, more);
    return puts_all(t, head) && (is_bare || put(t, body, n));
}

static bool path_is(const char *path, const char *want)
{
    return !strncmp(path, want, strlen(want));
}

/* A whole request into t->text, of /count only the start; false at the end of the connection. */
static bool read_request(struct talk *t)
{
    size_t want = 0;
    t->n = t->head = t->left = 0;
    while (!t->head || t->n < t->head + want) {
        ssize_t some = t->n < REQUEST_MAX && can(t, POLLIN)
                           ? recv(t->fd, t->text + t->n, REQUEST_MAX - t->n, MSG_DONTWAIT)
                           : -1;
        if (some <= 0)
            return false;
        t->n += (size_t)some;
        t->text[t->n] = '\0';
        if (t->text[0] == 0x16) { /* a TLS greeting: this is no TLS server */
            puts_all(t, "HTTP/1.1 400 No\r\n\r\n");
            return false;
        }
        char *end = t->head ? NULL : strstr(t->text, "\r\n\r\n");
        if (end) {
            t->head = (size_t)(end - t->text) + 4;
            const char *length = strcasestr(t->text, "\r\nContent-Length: ");
            want = length && length < end ? (size_t)strtol(length + 18, NULL, 10) : 0;
            if (path_is(strchr(t->text, ' ') + 1, "/count")) {
                t->left = t->head + want - t->n;
                return true;
            }
        }
    }
    return true;
}

static void wait_gone(struct talk *t)
{
    char c;
    while (can(t, POLLIN) && recv(t->fd, &c, 1, MSG_DONTWAIT) > 0)
        continue;
}

static void without_end(struct talk *t, const char *head, const char *piece, int pause_ms)
{
    if (!puts_all(t, head))
        return;
    while (puts_all(t, piece))
        poll(NULL, 0, pause_ms);
}

unsigned char peer_byte(size_t i)
{
    return (unsigned char)(i * 31 + (i >> 8) * 7 + (i >> 16));
}

static size_t good_bytes(const char *p, size_t n, size_t at)
{
    size_t good = 0;
    for (size_t i = 0; i < n; i++)
        good += (unsigned char)p[i] == peer_byte(at + i);
    return good;
}

static bool count_body(struct talk *t)
{
    char block[65536], text[32];
    size_t at = t->n - t->head, good = good_bytes(t->text + t->head, at, 0);
    while (t->left) {
        ssize_t some = can(t, POLLIN) ? recv(t->fd, block, sizeof block, MSG_DONTWAIT) : -1;
        if (some <= 0 || (size_t)some > t->left)
            return false;
        good += good_bytes(block, (size_t)some, at);
        at += (size_t)some;
        t->left -= (size_t)some;
    }
    snprintf(text, sizeof text, "%zu", good);
    return answer(t, 200, "", text, strlen(text));
}

static bool send_bytes(struct talk *t, size_t n)
{
    char block[65536];
    snprintf(block, sizeof block, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", n);
    bool is_fine = puts_all(t, block);
    for (size_t at = 0; is_fine && at < n;) {
        size_t some = n - at < sizeof block ? n - at : sizeof block;
        for (size_t i = 0; i < some; i++)
            block[i] = (char)peer_byte(at + i);
        is_fine = put(t, block, some);
        at += some;
    }
    return is_fine;
}

static bool redirect(struct talk *t, int status, const char *to)
{
    char more[4096];
    snprintf(more, sizeof more, "Location: %.*s\r\n", (int)strcspn(to, " "), to);
    return answer(t, status, more, "moved", 5);
}

/* Does the connection go on? */
static bool behave(struct talk *t, const char *path)
{
    char block[16384];
    if (path_is(path, "/echo"))
        return answer(t, 200, "X-Peer: yes\r\n", t->text, t->n);
    if (path_is(path, "/status/"))
        return answer(t, (int)strtol(path + 8, NULL, 10), "Retry-After: 7\r\n", "status", 6);
    if (path_is(path, "/to/"))
        return redirect(t, 302, path + 4);
    if (path_is(path, "/keep/"))
        return redirect(t, 307, path + 6);
    if (path_is(path, "/count"))
        return count_body(t);
    if (path_is(path, "/bytes/"))
        return send_bytes(t, (size_t)strtol(path + 7, NULL, 10));
    if (path_is(path, "/loop"))
        return redirect(t, 302, "/loop");
    if (path_is(path, "/hang"))
        wait_gone(t);
    else if (path_is(path, "/drip"))
        without_end(t, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", ".", 5);
    else if (path_is(path, "/huge")) {
        memset(block, 'x', sizeof block - 1);
        without_end(t, "HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\n", block, 0);
    } else if (path_is(path, "/endless"))
        without_end(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                    "10\r\n0123456789abcdef\r\n", 0);
    else if (path_is(path, "/heads"))
        without_end(t, "HTTP/1.1 200 OK\r\n", "X-Line: 0123456789012345678901234567890\r\n", 0);
    else if (path_is(path, "/early"))
        puts_all(t, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort");
    else if (!path_is(path, "/shut") && !(path_is(path, "/fail") && atomic_load(&t->p->fails)))
        return answer(t, 200, "", "hello", 5);
    return false;
}

static void *talk_main(void *arg)
{
    struct talk *t = arg;
    bool goes_on = true;
    while (goes_on && read_request(t)) {
        int now = atomic_fetch_add(&t->p->now, 1) + 1, most = atomic_load(&t->p->most);
        while (now > most && !atomic_compare_exchange_weak(&t->p->most, &most, now))
            continue;
        atomic_fetch_add(&t->p->requests, 1);
        goes_on = behave(t, strchr(t->text, ' ') + 1);
        atomic_fetch_sub(&t->p->now, 1);
    }
    close(t->fd);
    free(t);
    return NULL;
}

static void *peer_main(void *arg)
{
    struct peer *p = arg;
    while (!atomic_load(&p->stop)) {
        struct pollfd pfd = { .fd = p->fd, .events = POLLIN };
        int fd = poll(&pfd, 1, 20) > 0 ? accept(p->fd, NULL, NULL) : -1;
        if (fd < 0)
            continue;
        if (p->n_threads == PEER_CONNECTIONS_MAX) {
            close(fd);
            continue;
        }
        struct talk *t = calloc(1, sizeof *t);
        must(t != NULL);
        t->p = p;
        t->fd = fd;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int)); /* head, then body */
        atomic_fetch_add(&p->connections, 1);
        must(!pthread_create(&p->threads[p->n_threads++], NULL, talk_main, t));
    }
    return NULL;
}

void peer_start(struct peer *p, const char *address)
{
    bool is_six = strchr(address, ':') != NULL;
    struct sockaddr_in in = { .sin_family = AF_INET };
    struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };
    union {
        struct sockaddr_in in;
        struct sockaddr_in6 in6; /* its port stands at the same place */
    } got = { .in6.sin6_port = 0 };
    socklen_t len = sizeof got;
    memset(p, 0, sizeof *p);
    inet_pton(AF_INET, address, &in.sin_addr);
    inet_pton(AF_INET6, address, &in6.sin6_addr);
    p->fd = socket(is_six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(p->fd >= 0);
    must(!(is_six ? bind(p->fd, (void *)&in6, sizeof in6) : bind(p->fd, (void *)&in, sizeof in)));
    must(!listen(p->fd, 128));
    must(!getsockname(p->fd, (void *)&got, &len));
    p->port = ntohs(got.in.sin_port);
    must(!pthread_create(&p->thread, NULL, peer_main, p));
}

void peer_stop(struct peer *p)
{
    atomic_store(&p->stop, 1);
    pthread_join(p->thread, NULL);
    for (int i = 0; i < p->n_threads; i++)
        pthread_join(p->threads[i], NULL);
    close(p->fd);
}
