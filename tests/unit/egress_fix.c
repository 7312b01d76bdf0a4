/* See egress_fix.h. */
#define _GNU_SOURCE /* memmem */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/crypt.h"
#include "egress_fix.h"

static void record(void *arg, const struct egress_record *r)
{
    struct egress_fix *f = arg;
    f->last = (struct last){ .class = r->class,
                             .status = r->status,
                             .redirects = r->redirects,
                             .is_success = r->is_success,
                             .sent = r->sent_bytes,
                             .got = r->got_bytes,
                             .n = f->last.n + 1 };
    snprintf(f->last.endpoint, sizeof f->last.endpoint, STR_FMT, STR_ARG(r->endpoint));
    snprintf(f->last.label, sizeof f->last.label, STR_FMT, STR_ARG(r->labels[1]));
}

static bool resolve(void *arg, const char *host, struct egress_ips *out)
{
    struct egress_fix *f = arg;
    int i = atomic_fetch_add(&f->lookups, 1), n = atomic_load(&f->n_ips);
    while (!strcmp(host, "stuck.example") && atomic_load(&f->is_stuck))
        poll(NULL, 0, 5);
    if (!n)
        return false;
    *out = f->ips[i < n ? i : n - 1];
    return true;
}

void eg_answers(struct egress_fix *f, const char *addresses)
{
    int n = atomic_load(&f->n_ips);
    struct egress_ips *ips = &f->ips[n];
    struct str rest = str_of(addresses);
    ips->n = 0;
    while (rest.p)
        assert_true(ip_parse(str_cut(&rest, ' '), &ips->v[ips->n++]));
    atomic_store(&f->n_ips, n + 1);
}

void eg_open(struct egress_fix *f, struct egress_conf conf)
{
    egress_close(f->eg);
    if (!conf.record)
        conf.record = record;
    conf.record_arg = f;
    conf.resolve = resolve;
    conf.resolve_arg = f;
    assert_int_equal(egress_open(&f->cx, &conf, &f->eg), ERR_NONE);
}

int egress_fix_setup(void **state)
{
    struct egress_fix *f = calloc(1, sizeof *f);
    crypt_init();
    ctx_init(&f->cx, (size_t)64 << 20);
    peer_start(&f->peer, "127.0.0.1");
    eg_open(f, (struct egress_conf){ .allow = STR("127.0.0.0/8"), .rest_ms = 100 });
    *state = f;
    return 0;
}

int egress_fix_teardown(void **state)
{
    struct egress_fix *f = *state;
    egress_close(f->eg);
    peer_stop(&f->peer);
    ctx_done(&f->cx);
    free(f);
    return 0;
}

struct str eg_url(struct egress_fix *f, const char *host, const char *path)
{
    return str_printf(&f->cx.arena, "http://%s:%d%s", host, f->peer.port, path);
}

/* The call as it is; every error is forgotten, the class tells. */
struct egress_answer eg_ask(struct egress_fix *f, const struct egress_ask *a)
{
    struct egress_answer out;
    enum err_code e = egress_call(&f->cx, f->eg, a, &out);
    assert_int_equal(e == ERR_NONE, out.class == EGRESS_OK);
    if (e)
        assert_true(str_eq(f->cx.err_text, out.error));
    ctx_clear(&f->cx);
    return out;
}

struct egress_answer eg_get_of(struct egress_fix *f, const char *host, const char *path)
{
    return eg_ask(f, &(struct egress_ask){
                         .method = "GET", .url = eg_url(f, host, path), .total_ms = 10000 });
}

struct egress_answer eg_get(struct egress_fix *f, const char *path)
{
    return eg_get_of(f, "127.0.0.1", path);
}

bool text_has(struct str text, const char *part)
{
    return text.n && memmem(text.p, text.n, part, strlen(part));
}

void many_done(void *arg, const struct egress_answer *a)
{
    struct many *m = arg;
    atomic_fetch_add(&m->n[a->class], 1);
    sem_post(&m->done);
}

void many_wait(struct many *m, int n)
{
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += WAIT_S;
    for (int i = 0; i < n; i++)
        assert_int_equal(sem_timedwait(&m->done, &end), 0);
}

void many_start(struct egress_fix *f, struct many *m, const char *path, int n)
{
    struct egress_ask a = { .method = "GET",
                            .url = eg_url(f, "127.0.0.1", path),
                            .total_ms = 20000 };
    for (int i = 0; i < n; i++)
        egress_start(f->eg, &a, many_done, m);
}
