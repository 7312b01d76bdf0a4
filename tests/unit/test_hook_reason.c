/* Facts about the reasons of hook_proof.c and hook_hint.c: a request that is refused is told why, so
 * that the one who set it up can mend it. */
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

static struct hook_vector *named(const char *name)
{
    return hook_vector(all, n_all, name);
}

static struct hook_header *header_of(struct hook_vector *v, const char *name)
{
    for (size_t i = 0; i < v->ask.n_headers; i++)
        if (str_eq_nocase(v->headers[i].name, str_of(name)))
            return &v->headers[i];
    return NULL;
}

static void test_a_signature_given_twice_is_refused(void **state)
{
    struct hook_vector v = *named("github");
    (void)state;
    v.headers[v.ask.n_headers++] = v.headers[0];
    v.ask.headers = v.headers;
    assert_reason(&v.ask, HOOK_MALFORMED, "header X-Hub-Signature-256 is given 2 times");
}

static struct hook_ask with_header(struct hook_header *h, const char *vector, const char *name,
                                   const char *value)
{
    struct hook_ask ask = named(vector)->ask;
    *h = (struct hook_header){ str_of(name), str_of(value) };
    ask.headers = h;
    ask.n_headers = 1;
    return ask;
}

static void test_reasons_name_what_is_wrong(void **state)
{
    static const struct {
        const char *vector, *header, *value;
        enum hook_fault fault;
        const char *reason;
    } rows[] = {
        { "github", "X-Hub-Signature", "sha1=00", HOOK_MISSING, "X-Hub-Signature alone is not" },
        { "github", "X-Hub-Signature-256", "sha1=00", HOOK_MALFORMED,
          "does not begin with \"sha256=\"" },
        { "github", "X-Hub-Signature-256", " ", HOOK_MALFORMED, "is empty" },
        { "github", "x-hub-signature-256", "sha256=00", HOOK_MALFORMED,
          "of 2 characters; 64 of hex are expected" },
        { "trello", "X-Trello-Webhook", "AAAA", HOOK_MALFORMED, "28 of base64 are expected" },
        { "slack", "X-Slack-Signature", "v0=00", HOOK_MISSING,
          "header X-Slack-Request-Timestamp is missing" },
        { "standard v1", "svix-signature", "v1,AA", HOOK_MISSING,
          "header svix-timestamp is missing" },
        { "hmac hex", "X-Other", "1", HOOK_MISSING,
          "header X-Signature is missing (and so is X-Signature-256, X-Hub-Signature-256, "
          "X-Webhook-Signature)" },
        { "basic", "Authorization", "Bearer x", HOOK_MALFORMED, "does not begin with \"Basic \"" },
        { "basic", "Authorization", "Basic ???", HOOK_MALFORMED, "holds no base64" },
        { "basic", "Authorization", "Basic YTpi", HOOK_MISMATCH, "the user or the password" },
        { "bearer", "Authorization", "Bearer", HOOK_MISMATCH, "the token does not match" },
        { "teams outgoing webhook", "Authorization", "HMAC AA", HOOK_MALFORMED, "44 of base64" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct hook_header h;
        struct hook_ask ask = with_header(&h, rows[i].vector, rows[i].header, rows[i].value);
        assert_reason(&ask, rows[i].fault, rows[i].reason);
    }
}

static void test_standard_signatures_of_no_known_version_are_refused(void **state)
{
    struct hook_vector v = *named("standard v1");
    struct hook_header *h = header_of(&v, "webhook-signature");
    (void)state;
    v.ask.headers = v.headers;
    h->value = STR("v2,AAAA v1");
    assert_reason(&v.ask, HOOK_MALFORMED, "no signature of the versions v1 and v1a");
    char many[33 * 5 + 1] = "";
    for (size_t i = 0; i < 33; i++)
        memcpy(many + 5 * i, "v1,A ", 6);
    h->value = str_of(many);
    assert_reason(&v.ask, HOOK_MALFORMED, "33 signatures; 32 are allowed");
}

static void test_a_damaged_standard_secret_is_told(void **state)
{
    struct hook_vector v = *named("standard v1");
    (void)state;
    v.secret = STR("whsec_not base64");
    v.ask.secrets = &v.secret;
    assert_reason(&v.ask, HOOK_NO_SECRET, "secret 1 is damaged");
}

static void test_a_full_stop_in_the_id_is_refused(void **state)
{
    struct hook_vector v = *named("standard v1");
    (void)state;
    v.ask.headers = v.headers;
    header_of(&v, "webhook-id")->value = STR("msg.1");
    assert_reason(&v.ask, HOOK_MALFORMED, "header webhook-id has a full stop");
}

static void test_trello_needs_its_callback_url(void **state)
{
    struct hook_ask ask = named("trello")->ask;
    (void)state;
    ask.url = STR_NONE;
    assert_reason(&ask, HOOK_NO_SECRET, "the callback URL is not known");
}

static void test_teams_needs_the_state_in_every_item(void **state)
{
    static const struct {
        const char *body, *reason;
        enum hook_fault fault;
    } rows[] = {
        { "{\"value\":[{\"clientState\":\"client-state-4711\"},{\"clientState\":\"x\"}]}",
          "the clientState of notification 2 does not match", HOOK_MISMATCH },
        { "{\"value\":[{\"clientState\":\"client-state-4711\"},{}]}",
          "notification 2 has no clientState", HOOK_MISSING },
        { "{\"value\":[]}", "no list value", HOOK_MISSING },
        { "{}", "no list value", HOOK_MISSING },
        { "[1]", "no list value", HOOK_MISSING },
        { "x", "clientState cannot be read: the body is not", HOOK_MALFORMED },
        { "{\"value\":[", "clientState cannot be read: ", HOOK_MALFORMED },
    };
    struct hook_ask ask = named("teams notification")->ask;
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ask.body = str_of(rows[i].body);
        assert_reason(&ask, rows[i].fault, rows[i].reason);
    }
}

static void test_a_body_that_is_too_large_is_refused_unread(void **state)
{
    struct hook_ask ask = named("github")->ask;
    (void)state;
    ask.body.n = HOOK_BODY_MAX + 1;
    assert_reason(&ask, HOOK_TOO_LARGE, "larger than 25 MiB");
}

/* A body that a sender signed but that our strict reader refuses still counts. */
static void test_a_signed_body_that_is_no_json_holds_without_a_type(void **state)
{
    struct hook_vector v = *named("hmac hex");
    struct ctx cx;
    unsigned char mac[HOOK_MAC_MAX];
    (void)state;
    v.ask.body = STR("{\"type\":\"a\",\"type\":\"b\"}");
    size_t n = hook_mac(HOOK_SHA256, v.secret, &v.ask.body, 1, mac);
    v.headers[0].value = hex_of(&world.arena, mac, n);
    v.ask.headers = v.headers;
    ctx_init(&cx, CTX_CAP_DEFAULT);
    struct hook_verdict got = hook_verify(&cx, &v.ask);
    assert_true(got.is_valid && !got.event_type.p && !got.event_key.p);
    assert_int_equal(cx.err, ERR_NONE);
    ctx_done(&cx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_signature_given_twice_is_refused),
        cmocka_unit_test(test_reasons_name_what_is_wrong),
        cmocka_unit_test(test_standard_signatures_of_no_known_version_are_refused),
        cmocka_unit_test(test_a_damaged_standard_secret_is_told),
        cmocka_unit_test(test_a_full_stop_in_the_id_is_refused),
        cmocka_unit_test(test_trello_needs_its_callback_url),
        cmocka_unit_test(test_teams_needs_the_state_in_every_item),
        cmocka_unit_test(test_a_body_that_is_too_large_is_refused_unread),
        cmocka_unit_test(test_a_signed_body_that_is_no_json_holds_without_a_type),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
