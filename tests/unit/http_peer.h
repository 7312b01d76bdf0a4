/* A host to be called: an HTTP/1.1 server on a loopback port that behaves as the path says.
 *
 *   /ok            200, "hello"            /echo     200, the request as it came
 *   /status/NNN    that status             /to/URL   302 to URL     /keep/URL  307 to URL
 *   /loop          302 to itself           /hang     reads, never answers
 *   /drip          a byte now and then     /huge     Content-Length of 10 GB, then bytes
 *   /endless       chunks without an end   /early    ends before its Content-Length
 *   /shut          ends without an answer  /heads    header lines without an end
 *   /fail          as /shut while `fails` is set, else /ok
 *   /bytes/N       200, the first N bytes of peer_byte
 *   /count         200, how many bytes the body had that were those of peer_byte, e.g. "1000"
 *
 * One thread accepts, each connection has its own; peer_stop ends them all. */
#ifndef TESSERA_TESTS_HTTP_PEER_H
#define TESSERA_TESTS_HTTP_PEER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

#define PEER_CONNECTIONS_MAX 256

struct peer {
    int fd, port;
    pthread_t thread;
    pthread_t threads[PEER_CONNECTIONS_MAX];
    int n_threads; /* of the accepting thread */
    atomic_int stop, connections, requests, now, most, fails;
};

void peer_start(struct peer *p, const char *address); /* "127.0.0.1" or "::1" */
void peer_stop(struct peer *p);
unsigned char peer_byte(size_t i); /* what stands at place i of a long body */

#endif
