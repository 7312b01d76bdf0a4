/* Calls against a real server on loopback: what is sent, what is judged, redirects. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <stdio.h>
#include <string.h>

#include "egress_fix.h"

/* ---- plain calls ---- */

static void test_a_call_sends_what_was_asked_and_brings_the_answer(void **state)
{
    struct egress_fix *f = *state;
    const struct egress_header headers[] = { { STR("X-One"), STR("1"), false },
                                             { STR("X-Empty"), STR(""), false },
                                             { STR("Content-Type"), STR("text/x"), false } };
    struct egress_answer a =
        eg_ask(f, &(struct egress_ask){ .method = "PATCH",
                                        .url = eg_url(f, "127.0.0.1", "/echo?k=v#x"),
                                        .headers = headers,
                                        .n_headers = 3,
                                        .body = STR("the body"),
                                        .labels = { [1] = STR("label") } });
    assert_int_equal(a.class, EGRESS_OK);
    assert_int_equal(a.status, 200);
    assert_true(text_has(a.body, "PATCH /echo?k=v HTTP/1.1\r\n"));
    assert_true(text_has(a.body, "X-One: 1\r\n") && text_has(a.body, "X-Empty:"));
    assert_true(text_has(a.body, "Content-Type: text/x\r\n") &&
                text_has(a.body, "Content-Length: 8\r\n"));
    assert_true(text_has(a.body, "\r\n\r\nthe body"));
    assert_true(text_has(a.body, "User-Agent: tessera/"));
    assert_false(text_has(a.body, "Expect") || text_has(a.body, "Accept-Encoding"));
    assert_true(str_eq(egress_answer_header(&a, STR("x-peer")), STR("yes")));
    assert_null(egress_answer_header(&a, STR("x-other")).p);
    assert_true(f->last.is_success && f->last.sent == 8 && f->last.got == (int64_t)a.body.n);
    assert_string_equal(f->last.label, "label");
    assert_true(strstr(f->last.endpoint, "/echo?k=***") != NULL);
}

static void test_a_status_is_an_answer(void **state)
{
    struct egress_fix *f = *state;
    static const int statuses[] = { 204, 304, 400, 404, 410, 429, 500, 503 };
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        char path[32];
        snprintf(path, sizeof path, "/status/%d", statuses[i]);
        struct egress_answer a = eg_get(f, path);
        assert_int_equal(a.class, EGRESS_OK);
        assert_int_equal(a.status, statuses[i]);
        assert_int_equal(f->last.is_success, statuses[i] == 204);
    }
    struct egress_answer a = eg_get(f, "/status/429");
    assert_true(str_eq(egress_answer_header(&a, STR("Retry-After")), STR("7")));
}

static void test_a_connection_is_used_again(void **state)
{
    struct egress_fix *f = *state;
    for (int i = 0; i < 20; i++)
        assert_int_equal(eg_get(f, "/ok").class, EGRESS_OK);
    assert_int_equal(atomic_load(&f->peer.connections), 1);
    assert_int_equal(atomic_load(&f->peer.requests), 20);
}

static void test_a_post_without_a_body_tells_its_length(void **state)
{
    struct egress_fix *f = *state;
    struct egress_answer a =
        eg_ask(f, &(struct egress_ask){ .method = "POST", .url = eg_url(f, "127.0.0.1", "/echo") });
    assert_true(text_has(a.body, "POST /echo") && text_has(a.body, "Content-Length: 0\r\n"));
    a = eg_ask(f,
               &(struct egress_ask){ .method = "DELETE", .url = eg_url(f, "127.0.0.1", "/echo") });
    assert_true(text_has(a.body, "DELETE /echo") && !text_has(a.body, "Content-Length"));
}

/* ---- what is judged ---- */

static void denied(struct egress_fix *f, const char *url)
{
    struct egress_ask a = { .method = "POST", .url = str_of(url), .body = STR("x") };
    struct egress_answer out = eg_ask(f, &a);
    struct str sentence = out.error;
    if (out.class != EGRESS_DENIED && out.class != EGRESS_INVALID)
        print_error("%s: %s\n", url, egress_class_word(out.class));
    assert_true(out.class == EGRESS_DENIED || out.class == EGRESS_INVALID);
    assert_int_equal(egress_check_url(&f->cx, f->eg, a.url), ERR_INVALID_FIELD);
    assert_true(str_eq(f->cx.err_text, sentence)); /* the same at save, test and send */
    ctx_clear(&f->cx);
}

static void test_every_form_of_a_local_address_is_denied_alike(void **state)
{
    static const char *const forms[] = {
        "127.0.0.1",      "2130706433",         "0x7f000001",      "0177.1",
        "127.1",          "[::ffff:127.0.0.1]", "[::1]",           "0",
        "[::]",           "[64:ff9b::7f00:1]",  "[2002:7f00:1::]", "%31%32%37.0.0.1",
        "user@127.0.0.1", "rebound.example"
    };
    struct egress_fix *f = *state;
    eg_open(f, (struct egress_conf){ .rest_ms = 100 });
    eg_answers(f, "127.0.0.1");
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        struct str url = eg_url(f, forms[i], "/ok");
        denied(f, str_cstr(&f->cx.arena, url));
        assert_int_equal(egress_check_form(&f->cx, f->eg, url),
                         strstr(forms[i], "example") ? ERR_NONE : ERR_INVALID_FIELD);
        ctx_clear(&f->cx);
    }
    denied(f, "http://169.254.169.254/latest/meta-data/");
    denied(f, "http://8.8.8.8:25/");
    denied(f, "http://name.example:22/");
    denied(f, "gopher://8.8.8.8/");
    assert_int_equal(atomic_load(&f->peer.connections), 0);
}

static void test_what_was_judged_is_what_is_connected_to(void **state)
{
    struct egress_fix *f = *state;
    struct peer other;
    struct egress_answer a;
    eg_open(f, (struct egress_conf){ .allow = STR("127.0.0.1"), .rest_ms = 100 });
    eg_answers(f, "127.0.0.1"); /* first the good one, then what must not be called */
    eg_answers(f, "127.0.0.2");
    peer_start(&other, "127.0.0.2");
    struct str url = eg_url(f, "rebound.example", "/echo");

    assert_int_equal(egress_check_url(&f->cx, f->eg, url), ERR_NONE);
    a = eg_ask(f, &(struct egress_ask){ .method = "GET", .url = url });
    if (a.class == EGRESS_OK) { /* by the kept address: to the first, with the name */
        assert_true(text_has(a.body, "Host: rebound.example:"));
        assert_int_equal(atomic_load(&f->peer.connections), 1);
    }
    /* A host that is not known yet is resolved anew, and judged by what came now. */
    url = str_printf(&f->cx.arena, "http://rebound.example:%d/ok", other.port);
    a = eg_ask(f, &(struct egress_ask){ .method = "GET", .url = url });
    assert_int_equal(a.class, EGRESS_DENIED);
    assert_int_equal(atomic_load(&other.connections), 0);
    peer_stop(&other);
}

static void test_of_several_addresses_only_the_good_ones_are_tried(void **state)
{
    struct egress_fix *f = *state;
    eg_open(f, (struct egress_conf){ .allow = STR("127.0.0.1 127.0.0.3"), .rest_ms = 100 });
    eg_answers(f, "10.0.0.1 127.0.0.3 127.0.0.1"); /* denied; nobody there; the peer */
    struct egress_answer a = eg_get_of(f, "several.example", "/echo");
    assert_int_equal(a.class, EGRESS_OK);
    assert_true(text_has(a.body, "Host: several.example:"));
}

static void test_a_name_on_the_list_may_be_anywhere(void **state)
{
    struct egress_fix *f = *state;
    eg_open(f, (struct egress_conf){ .allow = STR("hooks.internal"), .rest_ms = 100 });
    eg_answers(f, "127.0.0.1");
    assert_int_equal(eg_get_of(f, "hooks.internal", "/ok").class, EGRESS_OK);
    assert_int_equal(eg_get_of(f, "HOOKS.internal.", "/ok").class, EGRESS_OK);
    assert_int_equal(eg_get_of(f, "x.hooks.internal", "/ok").class, EGRESS_DENIED);
}

static void test_the_operators_own_addresses_open_nothing_for_others(void **state)
{
    struct egress_fix *f = *state;
    eg_open(f, (struct egress_conf){ .rest_ms = 100 });
    eg_answers(f, "127.0.0.1");
    struct egress_ask a = { .method = "GET",
                            .url = eg_url(f, "idp.example", "/ok"),
                            .is_operators = true };
    assert_int_equal(eg_ask(f, &a).class, EGRESS_OK);
    a.is_operators = false; /* its connection is open, its address known */
    assert_int_equal(eg_ask(f, &a).class, EGRESS_DENIED);
    assert_int_equal(atomic_load(&f->peer.requests), 1);
}

static void test_headers_with_line_ends_send_nothing(void **state)
{
    struct egress_fix *f = *state;
    const struct egress_header bad = { STR("X-A"), STR("b\r\nX-C: d"), false };
    struct egress_answer a = eg_ask(f, &(struct egress_ask){ .method = "GET",
                                                             .url = eg_url(f, "127.0.0.1", "/ok"),
                                                             .headers = &bad,
                                                             .n_headers = 1 });
    assert_int_equal(a.class, EGRESS_INVALID);
    char *value = arena_alloc(&f->cx.arena, 8000);
    memset(value, 'x', 8000);
    struct egress_header many[5]; /* each is fine, together they are not */
    for (int i = 0; i < 5; i++)
        many[i] = (struct egress_header){ STR("X-A"), { value, 8000 }, false };
    struct egress_ask all = { .method = "GET", .headers = many, .n_headers = 5 };
    all.url = eg_url(f, "127.0.0.1", "/ok");
    assert_int_equal(eg_ask(f, &all).class, EGRESS_INVALID);
    assert_int_equal(atomic_load(&f->peer.requests), 0);
    all.n_headers = 4;
    assert_int_equal(eg_ask(f, &all).class, EGRESS_OK);
}

static void test_names_that_do_not_resolve(void **state)
{
    struct egress_fix *f = *state;
    assert_int_equal(eg_get_of(f, "nowhere.example", "/ok").class, EGRESS_DNS);
    assert_int_equal(egress_check_url(&f->cx, f->eg, eg_url(f, "nowhere.example", "/")),
                     ERR_UNAVAILABLE);
    ctx_clear(&f->cx);
}

/* ---- redirects ---- */

static struct egress_answer follow(struct egress_fix *f, const struct egress_ask *more,
                                   struct str path)
{
    struct egress_ask a = *more;
    a.method = a.method ? a.method : "GET";
    a.url = eg_url(f, "127.0.0.1", path.p);
    a.redirects = a.redirects ? a.redirects : 5;
    return eg_ask(f, &a);
}

static struct str to(struct egress_fix *f, const char *how, const char *host, const char *path)
{
    return str_printf(&f->cx.arena, "%shttp://%s:%d%s", how, host, f->peer.port, path);
}

static void test_redirects_are_answers_unless_they_are_asked_for(void **state)
{
    struct egress_fix *f = *state;
    struct egress_answer a = eg_get(f, "/to/http://127.0.0.1/");
    assert_int_equal(a.class, EGRESS_OK);
    assert_int_equal(a.status, 302);
    assert_int_equal(atomic_load(&f->peer.requests), 1);
}

static void test_a_redirect_is_judged_like_the_first_address(void **state)
{
    struct egress_fix *f = *state;
    struct egress_ask plain = { .method = "GET" }, trusted = { .is_operators = true };
    eg_answers(f, "10.0.0.1");
    assert_int_equal(follow(f, &plain, STR("/to/http://169.254.169.254/latest")).class,
                     EGRESS_DENIED);
    assert_int_equal(follow(f, &plain, STR("/to/http://inside.example/")).class, EGRESS_DENIED);
    assert_int_equal(follow(f, &plain, STR("/to/http://8.8.8.8:25/")).class, EGRESS_DENIED);
    assert_int_equal(follow(f, &plain, STR("/to/file:///etc/passwd")).class, EGRESS_REDIRECT);
    assert_int_equal(follow(f, &plain, STR("/to/http://u:p@127.0.0.1/")).class, EGRESS_REDIRECT);
    assert_int_equal(follow(f, &trusted, STR("/to/http://10.0.0.1/")).class, EGRESS_DENIED);
}

static void test_redirects_are_followed_up_to_their_number(void **state)
{
    struct egress_fix *f = *state;
    struct egress_ask two = { .redirects = 2 };
    struct egress_answer a = follow(f, &two, to(f, "/to/", "127.0.0.1", "/to//echo"));
    assert_int_equal(a.class, EGRESS_OK);
    assert_int_equal(f->last.redirects, 2);
    assert_int_equal(follow(f, &two, STR("/loop")).class, EGRESS_REDIRECT);
    assert_int_equal(f->last.redirects, 3);
    assert_int_equal(atomic_load(&f->peer.requests), 6);
}

static void test_credentials_stay_with_their_host(void **state)
{
    struct egress_fix *f = *state;
    const struct egress_header h[] = { { STR("Authorization"), STR("Bearer s3cret1"), false },
                                       { STR("cookie"), STR("s3cret2"), false },
                                       { STR("X-Api-Key"), STR("s3cret3"), true },
                                       { STR("X-Plain"), STR("plain"), false } };
    struct egress_ask with = { .headers = h, .n_headers = 4 };
    eg_answers(f, "127.0.0.1");
    struct egress_answer a = follow(f, &with, STR("/to//echo"));
    assert_true(text_has(a.body, "s3cret1") && text_has(a.body, "s3cret2") &&
                text_has(a.body, "s3cret3"));
    a = follow(f, &with, to(f, "/to/", "elsewhere.example", "/echo"));
    assert_int_equal(a.class, EGRESS_OK);
    assert_true(text_has(a.body, "X-Plain: plain") && !text_has(a.body, "s3cret"));
    /* Nor does the way back bring them again. */
    struct str back = to(f, "/to/", "127.0.0.1", "/echo");
    a = follow(f, &with, to(f, "/to/", "elsewhere.example", str_cstr(&f->cx.arena, back)));
    assert_int_equal(a.class, EGRESS_OK);
    assert_false(text_has(a.body, "s3cret"));
}

static void test_methods_and_bodies_over_redirects(void **state)
{
    struct egress_fix *f = *state;
    struct egress_ask post = { .method = "POST", .body = STR("payload") };
    eg_answers(f, "127.0.0.1");
    struct egress_answer a = follow(f, &post, STR("/to//echo"));
    assert_true(text_has(a.body, "GET /echo") && !text_has(a.body, "payload"));
    a = follow(f, &post, STR("/keep//echo"));
    assert_true(text_has(a.body, "POST /echo") && text_has(a.body, "payload"));
    a = follow(f, &post, to(f, "/keep/", "elsewhere.example", "/echo"));
    assert_int_equal(a.class, EGRESS_REDIRECT); /* the body goes to no other host */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_a_call_sends_what_was_asked_and_brings_the_answer),
        T(test_a_status_is_an_answer),
        T(test_a_connection_is_used_again),
        T(test_a_post_without_a_body_tells_its_length),
        T(test_every_form_of_a_local_address_is_denied_alike),
        T(test_what_was_judged_is_what_is_connected_to),
        T(test_of_several_addresses_only_the_good_ones_are_tried),
        T(test_a_name_on_the_list_may_be_anywhere),
        T(test_the_operators_own_addresses_open_nothing_for_others),
        T(test_headers_with_line_ends_send_nothing),
        T(test_names_that_do_not_resolve),
        T(test_redirects_are_answers_unless_they_are_asked_for),
        T(test_a_redirect_is_judged_like_the_first_address),
        T(test_redirects_are_followed_up_to_their_number),
        T(test_credentials_stay_with_their_host),
        T(test_methods_and_bodies_over_redirects),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
