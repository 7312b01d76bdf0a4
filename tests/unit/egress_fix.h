/* What the tests of egress share: an egress over a peer on loopback, a resolver that says what the
 * test wants, the record of the last call. */
#ifndef TESSERA_TESTS_EGRESS_FIX_H
#define TESSERA_TESTS_EGRESS_FIX_H

#include <semaphore.h>

#include "base/egress.h"
#include "http_peer.h"

#define ANSWERS_MAX 8
#define WAIT_S 30

struct last { /* of the records, copied on the egress thread; read when the call has ended */
    char endpoint[512], label[32];
    enum egress_class class;
    int status, redirects;
    bool is_success;
    int64_t sent, got;
    int n;
};
struct egress_fix {
    struct ctx cx;
    struct egress *eg;
    struct peer peer;
    struct last last;
    struct egress_ips ips[ANSWERS_MAX]; /* what the resolver says, in turn; the last one stays */
    atomic_int n_ips, lookups;
    atomic_int stop, is_stuck; /* is_stuck: the resolver hangs for stuck.example */
};

int egress_fix_setup(void **state); /* loopback is allowed, a failing host rests 100 ms */
int egress_fix_teardown(void **state);
void eg_open(struct egress_fix *f,
             struct egress_conf conf); /* with the fix's record and resolver */
/* What the resolver says next: addresses with a blank between them. */
void eg_answers(struct egress_fix *f, const char *addresses);
struct str eg_url(struct egress_fix *f, const char *host, const char *path); /* the peer's URL */
/* The call as it is; every error is forgotten, the class tells. */
struct egress_answer eg_ask(struct egress_fix *f, const struct egress_ask *a);
struct egress_answer eg_get_of(struct egress_fix *f, const char *host, const char *path);
struct egress_answer eg_get(struct egress_fix *f, const char *path);
bool text_has(struct str text, const char *part);

struct many { /* calls that nobody waits for one by one */
    sem_t done;
    atomic_int n[EGRESS_CLASSES];
};
void many_start(struct egress_fix *f, struct many *m, const char *path, int n);
void many_done(void *arg, const struct egress_answer *a);
void many_wait(struct many *m, int n); /* for n of them to end */

#define T(name) cmocka_unit_test_setup_teardown(name, egress_fix_setup, egress_fix_teardown)

#endif
