/* Facts about hook_verify.c and hook_proof.c: every signed request holds, and any change of what is
 * signed, of the secret or of the time refuses it. The reasons: test_hook_reason.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <stdlib.h>
#include <string.h>

#include "base/crypt.h"
#include "hook_vectors.h"

static struct ctx world; /* holds the vectors */
static struct hook_vector all[VECTORS_MAX];
static size_t n_all;

static int setup(void **state)
{
    (void)state;
    crypt_init();
    ctx_init(&world, CTX_CAP_DEFAULT);
    n_all = hook_vectors_load(&world, all);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    ctx_done(&world);
    return 0;
}

static bool same(struct str a, struct str b)
{
    return !a.p == !b.p && str_eq(a, b);
}

static struct hook_vector *named(const char *name)
{
    return hook_vector(all, n_all, name);
}

static const char *signature_name(const struct hook_vector *v)
{
    static const char *const names[] = {
        "X-Hub-Signature-256", "X-Hub-Signature",  "X-Slack-Signature",  "X-Trello-Webhook",
        "X-Hook-Signature",    "Linear-Signature", "X-Notion-Signature", "webhook-signature",
        "svix-signature",      "X-Signature",      "X-Signature-256",    "X-Webhook-Signature",
        "Authorization",
    };
    struct str value;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (hook_header_find(&v->ask, names[i], &value))
            return names[i];
    return NULL;
}

static struct hook_header *header_of(struct hook_vector *v, const char *name)
{
    for (size_t i = 0; i < v->ask.n_headers; i++)
        if (str_eq_nocase(v->headers[i].name, str_of(name)))
            return &v->headers[i];
    return NULL;
}

/* A copy with each byte of *s changed in turn is refused. */
static void assert_every_byte_counts(struct hook_vector *v, struct str *s)
{
    struct str was = *s;
    char *copy = malloc(was.n);
    *s = (struct str){ copy, was.n };
    for (size_t i = 0; i < was.n; i++) {
        memcpy(copy, was.p, was.n);
        copy[i] ^= 1;
        if (hook_holds(&v->ask))
            print_error(STR_FMT ": byte %zu does not count\n", STR_ARG(v->name), i);
        assert_false(hook_holds(&v->ask));
    }
    free(copy);
    *s = was;
}

/* ---- vectors ---- */

static void test_every_vector_holds_and_tells_its_event(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_all; i++) {
        struct ctx cx;
        ctx_init(&cx, CTX_CAP_DEFAULT);
        struct hook_verdict v = hook_verify(&cx, &all[i].ask);
        if (!v.is_valid)
            print_error(STR_FMT ": " STR_FMT "\n", STR_ARG(all[i].name), STR_ARG(v.reason));
        assert_true(v.is_valid);
        assert_true(same(v.event_type, all[i].event_type));
        assert_true(same(v.event_key, all[i].event_key));
        assert_true(same(str_of(v.handshake), all[i].handshake));
        assert_true(same(v.reply.body, all[i].reply_body));
        assert_int_equal(v.reply.status,
                         str_starts(all[i].name, STR("teams ")) && !all[i].covers_body ? 202 : 200);
        ctx_done(&cx);
    }
}

static void test_any_changed_byte_of_the_body_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_all; i++) {
        struct str body = all[i].ask.body;
        if (!all[i].covers_body)
            continue;
        assert_every_byte_counts(&all[i], &all[i].ask.body);
        for (size_t n = 0; n < body.n; n++) {
            all[i].ask.body.n = n;
            assert_false(hook_holds(&all[i].ask));
        }
        all[i].ask.body = body;
    }
}

static void test_any_changed_byte_of_the_signature_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_all; i++) {
        const char *name = signature_name(&all[i]);
        if (!name || all[i].has_more)
            continue;
        struct str *value = &header_of(&all[i], name)->value, was = *value;
        assert_every_byte_counts(&all[i], value);
        for (size_t n = 0; n + 2 < was.n; n++) { /* the padding of base64 may be left out */
            value->n = n;
            assert_false(hook_holds(&all[i].ask));
        }
        *value = was;
    }
}

static void test_any_changed_byte_of_the_secret_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_all; i++)
        assert_every_byte_counts(&all[i], &all[i].secret);
}

static void test_signed_headers_and_the_callback_url_count(void **state)
{
    (void)state;
    assert_every_byte_counts(named("slack"),
                             &header_of(named("slack"), "X-Slack-Request-Timestamp")->value);
    assert_every_byte_counts(named("standard v1"),
                             &header_of(named("standard v1"), "webhook-id")->value);
    assert_every_byte_counts(named("standard v1a"),
                             &header_of(named("standard v1a"), "webhook-timestamp")->value);
    assert_every_byte_counts(named("trello"), &named("trello")->ask.url);
}

static void test_a_missing_signature_is_refused_by_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_all; i++) {
        const char *name = signature_name(&all[i]);
        if (!name)
            continue;
        struct str *header = &header_of(&all[i], name)->name, was = *header;
        *header = STR("X-Other");
        assert_reason(&all[i].ask, HOOK_MISSING,
                      str_eq(all[i].name, STR("teams outgoing webhook")) ? "holds a clientState"
                                                                         : " is missing");
        *header = was;
    }
    struct hook_vector v = *named("github");
    v.ask.n_headers = 0;
    assert_reason(&v.ask, HOOK_MISSING, "header X-Hub-Signature-256 is missing");
}

static void test_the_secret_of_another_vector_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_all; i++) {
        struct str was = all[i].secret;
        all[i].secret = STR("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
        assert_reason(&all[i].ask, HOOK_MISMATCH, "does not match; check that the secret is ");
        all[i].secret = was;
    }
}

/* ---- secrets ---- */

static void test_each_of_several_secrets_is_tried(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_all; i++) {
        struct hook_ask ask = all[i].ask;
        struct str secrets[HOOK_SECRETS_MAX];
        for (size_t at = 0; at < HOOK_SECRETS_MAX; at++) {
            struct ctx cx;
            for (size_t k = 0; k < HOOK_SECRETS_MAX; k++)
                secrets[k] = k == at ? all[i].secret : STR("another-secret");
            ask.secrets = secrets;
            ask.n_secrets = HOOK_SECRETS_MAX;
            ctx_init(&cx, CTX_CAP_DEFAULT);
            struct hook_verdict v = hook_verify(&cx, &ask);
            assert_true(v.is_valid);
            assert_int_equal(v.which, at);
            ctx_done(&cx);
        }
        secrets[HOOK_SECRETS_MAX - 1] = STR("wrong-too");
        if (all[i].covers_body)
            assert_reason(&ask, HOOK_MISMATCH, "matches none of the 8 secrets");
    }
}

static void test_without_a_secret_nothing_holds(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_all; i++) {
        struct hook_ask ask = all[i].ask;
        ask.n_secrets = 0;
        assert_reason(&ask, HOOK_NO_SECRET, "there is no secret");
    }
}

static void test_an_empty_secret_is_none_even_if_it_matches(void **state)
{
    struct hook_vector v = *named("github");
    unsigned char mac[HOOK_MAC_MAX];
    (void)state;
    size_t n = hook_mac(HOOK_SHA256, STR(""), &v.ask.body, 1, mac);
    struct hook_header h = { STR("X-Hub-Signature-256"),
                             str_printf(&world.arena, "sha256=" STR_FMT,
                                        STR_ARG(hex_of(&world.arena, mac, n))) };
    struct str secrets[] = { STR("good"), STR("") };
    v.ask.headers = &h;
    v.ask.n_headers = 1;
    v.ask.secrets = secrets;
    v.ask.n_secrets = 2;
    assert_reason(&v.ask, HOOK_NO_SECRET, "a secret is empty");
}

/* ---- time ---- */

static void assert_window(const char *name, int64_t at_ms, int64_t window_ms, int64_t step_ms)
{
    struct hook_ask ask = named(name)->ask;
    const int64_t good[] = { 0, window_ms, -window_ms };
    for (size_t i = 0; i < 3; i++) {
        ask.now_ms = at_ms + good[i];
        assert_true(hook_holds(&ask));
    }
    ask.now_ms = at_ms + window_ms + step_ms;
    assert_reason(&ask, HOOK_STALE, "s old");
    ask.now_ms = at_ms - window_ms - step_ms;
    assert_reason(&ask, HOOK_STALE, "s in the future");
}

static void test_windows_are_exact_on_both_sides(void **state)
{
    (void)state;
    assert_window("slack", INT64_C(1531420618000), 300000, 1000);
    assert_window("standard v1", INT64_C(1614265330000), 300000, 1000);
    assert_window("standard v1a", INT64_C(1614265330000), 300000, 1000);
    assert_window("linear", INT64_C(1790000000000), 60000, 1);
}

static void test_the_reason_says_how_old_it_is(void **state)
{
    struct hook_ask ask = named("slack")->ask;
    (void)state;
    ask.now_ms += 412000;
    assert_reason(&ask, HOOK_STALE, "the timestamp is 412 s old; 300 s are allowed");
}

static void test_kinds_without_a_time_hold_for_ever(void **state)
{
    struct hook_ask ask = named("github")->ask;
    (void)state;
    ask.now_ms = INT64_C(4102444800000);
    assert_true(hook_holds(&ask));
}

static void test_times_that_are_none_are_refused(void **state)
{
    static const char *const bad[] = {
        "x", "-1", "9223372036854775807", "-9223372036854775808", "1e9", "15314206180000000000000"
    };
    struct hook_vector *v = named("slack");
    struct hook_header *h = header_of(v, "X-Slack-Request-Timestamp");
    struct str was = h->value;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        h->value = str_of(bad[i]);
        assert_false(hook_holds(&v->ask)); /* what is signed has changed, too */
    }
    h->value = was;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_vector_holds_and_tells_its_event),
        cmocka_unit_test(test_any_changed_byte_of_the_body_is_refused),
        cmocka_unit_test(test_any_changed_byte_of_the_signature_is_refused),
        cmocka_unit_test(test_any_changed_byte_of_the_secret_is_refused),
        cmocka_unit_test(test_signed_headers_and_the_callback_url_count),
        cmocka_unit_test(test_a_missing_signature_is_refused_by_name),
        cmocka_unit_test(test_the_secret_of_another_vector_is_refused),
        cmocka_unit_test(test_each_of_several_secrets_is_tried),
        cmocka_unit_test(test_without_a_secret_nothing_holds),
        cmocka_unit_test(test_an_empty_secret_is_none_even_if_it_matches),
        cmocka_unit_test(test_windows_are_exact_on_both_sides),
        cmocka_unit_test(test_the_reason_says_how_old_it_is),
        cmocka_unit_test(test_kinds_without_a_time_hold_for_ever),
        cmocka_unit_test(test_times_that_are_none_are_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
