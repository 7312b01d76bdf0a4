/* HTTP/2: calls share a connection, within the places of the host; what ends one stream ends no
 * other; a connection that ends is an answer that broke off, and the next call makes a new one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "egress_fix.h"

extern char **environ;

#define PLACES 16
#define REST_MS 50

struct h2 { /* h2_peer.py */
    pid_t pid;
    int in; /* closing it ends the peer */
    int port;
};
static struct h2 peer;

static int number(struct str s)
{
    int64_t n = 0;
    assert_true(str_to_i64(s, &n));
    return (int)n;
}

/* Its port and certificate; `egress` trusts it and finds it under every name. */
static int setup(void **state)
{
    char program[] = "/usr/bin/python3", script[] = "tests/unit/h2_peer.py";
    char *argv[] = { program, script, NULL };
    int to[2], from[2];
    char line[4096];
    posix_spawn_file_actions_t fa;
    egress_fix_setup(state);
    assert_int_equal(pipe(to) | pipe(from), 0);
    posix_spawn_file_actions_init(&fa);
    posix_spawn_file_actions_adddup2(&fa, to[0], 0);
    posix_spawn_file_actions_adddup2(&fa, from[1], 1);
    posix_spawn_file_actions_addclose(&fa, to[1]);
    assert_int_equal(posix_spawn(&peer.pid, argv[0], &fa, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&fa);
    close(to[0]);
    close(from[1]);
    peer.in = to[1];
    FILE *said = fdopen(from[0], "r");
    assert_non_null(fgets(line, sizeof line, said)); /* "PORT CERTIFICATE_FILE\n" */
    fclose(said);
    struct str cert = str_trim(str_of(line));
    peer.port = number(str_cut(&cert, ' '));
    struct egress_fix *f = *state;
    eg_open(f, (struct egress_conf){ .allow = STR("127.0.0.0/8"),
                                     .ca_file = cert,
                                     .rest_ms = REST_MS,
                                     .host_running_max = PLACES });
    eg_answers(f, "127.0.0.1");
    return 0;
}

static int teardown(void **state)
{
    int status = 0;
    egress_fix_teardown(state);
    close(peer.in);
    assert_int_equal(waitpid(peer.pid, &status, 0), peer.pid);
    assert_int_equal(status, 0);
    return 0;
}

static struct egress_ask to_peer(struct egress_fix *f, const char *path)
{
    struct egress_ask a = { .method = "GET", .total_ms = 20000 };
    a.url = str_printf(&f->cx.arena, "https://h2.example:%d%s", peer.port, path);
    return a;
}

static struct egress_answer get(struct egress_fix *f, const char *path)
{
    struct egress_ask a = to_peer(f, path);
    return eg_ask(f, &a);
}

static void begin(struct egress_fix *f, struct many *m, const char *path, int n)
{
    struct egress_ask a = to_peer(f, path);
    for (int i = 0; i < n; i++)
        egress_start(f->eg, &a, many_done, m);
}

static struct many *many_new(void)
{
    struct many *m = calloc(1, sizeof *m);
    sem_init(&m->done, 0, 0);
    return m;
}

/* Successes that give the host all its places. */
static void warm(struct egress_fix *f)
{
    for (int i = 0; i < PLACES; i++)
        assert_int_equal(get(f, "/ok").class, EGRESS_OK);
}

static void stats(struct egress_fix *f, int *connections, int *most)
{
    struct egress_answer a = get(f, "/stats");
    assert_int_equal(a.class, EGRESS_OK);
    struct str most_text = a.body, connections_text = str_cut(&most_text, ' ');
    str_cut(&connections_text, '=');
    str_cut(&most_text, '=');
    *connections = number(connections_text);
    *most = number(most_text);
}

static void test_a_host_that_speaks_http2_is_called_so(void **state)
{
    struct egress_fix *f = *state;
    struct egress_answer a = get(f, "/ok");

    assert_int_equal(a.status, 200);
    assert_true(str_starts(a.head, STR("HTTP/2 200")));
    assert_true(str_eq(egress_answer_header(&a, STR("X-Peer")), STR("yes")));
    assert_true(str_eq(a.body, STR("hello")));
}

static void test_calls_share_one_connection_within_the_places_of_the_host(void **state)
{
    struct egress_fix *f = *state;
    struct many *m = many_new();
    char path[32];
    int connections, most;
    warm(f);
    snprintf(path, sizeof path, "/hold/%d", PLACES);

    begin(f, m, path, 3 * PLACES);
    many_wait(m, 3 * PLACES);

    assert_int_equal(atomic_load(&m->n[EGRESS_OK]), 3 * PLACES);
    stats(f, &connections, &most);
    assert_int_equal(connections, 1);
    assert_int_equal(most, PLACES);
    free(m);
}

static void test_bodies_and_files_go_by_http2(void **state)
{
    struct egress_fix *f = *state;
    struct spool *s, *to;
    char block[4096] = "";
    struct egress_ask a = to_peer(f, "/count");
    a.method = "POST";
    a.body = STR("hello");
    assert_true(str_eq(eg_ask(f, &a).body, STR("5")));

    assert_int_equal(spool_open(&f->cx, STR("/tmp"), &s), ERR_NONE);
    assert_int_equal(spool_open(&f->cx, STR("/tmp"), &to), ERR_NONE);
    for (int i = 0; i < 512; i++)
        spool_add(s, block, sizeof block);
    assert_int_equal(spool_done(&f->cx, s), ERR_NONE);
    a = to_peer(f, "/count");
    a.method = "PUT";
    a.body_file = s;
    assert_true(str_eq(eg_ask(f, &a).body, STR("2097152")));
    a = to_peer(f, "/large");
    a.answer_file = to;
    a.answer_file_max = 60000;
    assert_int_equal(eg_ask(f, &a).class, EGRESS_OK);
    assert_int_equal(spool_size(to), 60000);
    spool_close(s);
    spool_close(to);
}

/* Every way to end a stream early, while others of the connection wait. */
static void test_the_end_of_a_stream_ends_no_other(void **state)
{
    struct egress_fix *f = *state;
    struct many *m = many_new();
    int connections, most;
    warm(f);
    begin(f, m, "/hold/4", 3);

    assert_int_equal(get(f, "/reset").class, EGRESS_BROKEN);
    warm(f); /* failures cost the host places */
    assert_int_equal(get(f, "/reset-late").class, EGRESS_BROKEN);
    warm(f);
    struct egress_ask ask = to_peer(f, "/half");
    ask.total_ms = 200;
    assert_int_equal(eg_ask(f, &ask).class, EGRESS_TIMEOUT);
    warm(f);
    ask = to_peer(f, "/large");
    ask.answer_max = 1000;
    assert_int_equal(eg_ask(f, &ask).class, EGRESS_TOO_LARGE);
    ask.is_cut = true;
    struct egress_answer a = eg_ask(f, &ask);
    assert_true(a.class == EGRESS_OK && a.is_cut && a.body.n == 1000);

    begin(f, m, "/hold/4", 1);
    many_wait(m, 4);
    assert_int_equal(atomic_load(&m->n[EGRESS_OK]), 4);
    stats(f, &connections, &most);
    assert_int_equal(connections, 1);
    free(m);
}

/* A refused stream was not looked at (RFC 9113 §8.7), so libcurl asks again by itself. */
static void test_a_refused_stream_is_asked_again(void **state)
{
    struct egress_fix *f = *state;
    struct egress_ask ask = to_peer(f, "/refuse");
    ask.method = "POST";
    ask.body = STR("x");

    assert_true(str_eq(eg_ask(f, &ask).body, STR("hello")));
}

/* What the end of a connection means for a call, and for the one after. */
static void ends(struct egress_fix *f, const char *path)
{
    int before, after, most;
    stats(f, &before, &most);
    assert_int_equal(get(f, path).class, EGRESS_BROKEN);
    stats(f, &after, &most);
    assert_true(after > before);
}

static void test_a_connection_that_ends_breaks_the_call_and_the_next_works(void **state)
{
    struct egress_fix *f = *state;
    ends(f, "/goaway");
    ends(f, "/goaway-late");
    ends(f, "/drop");
}

static void test_all_streams_of_a_lost_connection_end(void **state)
{
    struct egress_fix *f = *state;
    struct many *m = many_new();
    warm(f);
    begin(f, m, "/hold/99", 3);

    begin(f, m, "/drop", 1);

    many_wait(m, 4);
    assert_int_equal(atomic_load(&m->n[EGRESS_BROKEN]), 4);
    assert_int_equal(get(f, "/ok").class, EGRESS_OK);
    free(m);
}

#define H2(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        H2(test_a_host_that_speaks_http2_is_called_so),
        H2(test_calls_share_one_connection_within_the_places_of_the_host),
        H2(test_bodies_and_files_go_by_http2),
        H2(test_the_end_of_a_stream_ends_no_other),
        H2(test_a_refused_stream_is_asked_again),
        H2(test_a_connection_that_ends_breaks_the_call_and_the_next_works),
        H2(test_all_streams_of_a_lost_connection_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
