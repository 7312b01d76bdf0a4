/* Facts about handshakes and about the hints: what a sender may learn or set before its signature is
 * known, and which mistakes of a person are found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

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

static struct hook_ask ask_of(const char *kind)
{
    struct hook_ask ask = { .scheme = hook_scheme_find(str_of(kind)) };
    assert_non_null(ask.scheme);
    return ask;
}

static void assert_text(struct str got, const char *want)
{
    assert_int_equal(got.n, strlen(want));
    assert_memory_equal(got.p, want, got.n);
}

/* ---- handshakes ---- */

static void test_asana_brings_a_secret_that_is_echoed_and_kept(void **state)
{
    struct hook_header h = { STR("x-hook-secret"), STR("b537207f20cbfa02357cf448134da559") };
    struct hook_ask ask = ask_of("asana");
    (void)state;
    ask.headers = &h;
    ask.n_headers = 1;
    ask.is_awaiting = true;
    struct hook_verdict v = hook_verify(&world, &ask);
    assert_true(v.is_valid);
    assert_string_equal(v.handshake, "X-Hook-Secret");
    assert_text(v.new_secret, "b537207f20cbfa02357cf448134da559");
    assert_string_equal(v.reply.header_name, "X-Hook-Secret");
    assert_text(v.reply.header_value, "b537207f20cbfa02357cf448134da559");
    assert_int_equal(v.reply.status, 200);
    assert_null(v.event_key.p);
}

/* Or a stranger could put a secret of their own in the place of the right one. */
static void test_a_secret_that_nobody_awaits_is_refused(void **state)
{
    struct hook_header h = { STR("X-Hook-Secret"), STR("the-secret-of-a-stranger") };
    struct str kept = STR("the-right-secret");
    struct hook_ask ask = ask_of("asana");
    (void)state;
    ask.headers = &h;
    ask.n_headers = 1;
    assert_reason(&ask, HOOK_NO_SECRET, "there is no secret");
    ask.secrets = &kept;
    ask.n_secrets = 1;
    assert_reason(&ask, HOOK_UNEXPECTED, "brings a new secret in X-Hook-Secret");
    ask = ask_of("notion");
    ask.body = STR("{\"verification_token\":\"secret_of_a_stranger\"}");
    assert_reason(&ask, HOOK_NO_SECRET, "there is no secret");
    ask.secrets = &kept;
    ask.n_secrets = 1;
    assert_reason(&ask, HOOK_MISSING, "header X-Notion-Signature is missing");
}

static void test_a_secret_that_cannot_be_echoed_safely_is_refused(void **state)
{
    static const char *const bad[] = { "short", "with a blank", "with\ttab-in-it",
                                       "caf\xC3\xA9-caf", "bad-\xFF-utf8" };
    struct hook_header h = { STR("X-Hook-Secret"), STR_NONE };
    struct hook_ask ask = ask_of("asana");
    (void)state;
    ask.headers = &h;
    ask.n_headers = 1;
    ask.is_awaiting = true;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        h.value = str_of(bad[i]);
        assert_false(hook_holds(&ask));
    }
}

/* Only the body is signed: whoever adds a header must not turn an event into something else. */
static void test_a_header_makes_no_handshake_of_a_signed_event(void **state)
{
    struct hook_vector v = *named("asana");
    (void)state;
    v.headers[v.ask.n_headers++] = (struct hook_header){ STR("X-Hook-Secret"), STR("a stranger") };
    v.ask.headers = v.headers;
    struct hook_verdict got = hook_verify(&world, &v.ask);
    assert_true(got.is_valid && !got.handshake && !got.reply.header_name && !got.new_secret.p);
    assert_text(got.event_type, "task.changed");
}

static void test_notion_brings_its_token_once(void **state)
{
    struct hook_ask ask = named("notion")->ask;
    (void)state;
    ask.n_secrets = 0;
    ask.is_awaiting = true;
    struct hook_verdict v = hook_verify(&world, &ask);
    assert_true(v.is_valid);
    assert_text(v.new_secret, "secret_tMrlL1qK5vuQAh1b6cZGhFChZTSYJlce98V0pYn7yBl");
    v = hook_verify(&world, &named("notion")->ask); /* signed with the token we know */
    assert_true(v.is_valid);
    assert_string_equal(v.handshake, "verification_token");
    assert_null(v.new_secret.p);
}

static void test_an_awaited_secret_does_not_let_events_in(void **state)
{
    struct hook_ask ask = named("notion event")->ask;
    (void)state;
    ask.n_secrets = 0;
    ask.is_awaiting = true;
    assert_reason(&ask, HOOK_NO_SECRET, "there is no secret");
}

static void test_slack_is_answered_only_when_its_challenge_is_signed(void **state)
{
    struct hook_ask ask = named("slack challenge")->ask;
    (void)state;
    ask.n_headers = 0;
    assert_reason(&ask, HOOK_MISSING, "header X-Slack-Signature is missing");
    struct hook_verdict v = hook_verify(&world, &named("slack challenge")->ask);
    assert_string_equal(v.reply.content_type, "text/plain; charset=utf-8");
}

static void test_graph_gets_its_token_back_decoded(void **state)
{
    struct hook_ask ask = ask_of("teams");
    (void)state;
    ask.query = STR("a=b&validationToken=Validation%3a+%3Cb%3E%20100%25&c=d");
    struct hook_verdict v = hook_verify(&world, &ask);
    assert_true(v.is_valid);
    assert_text(v.reply.body, "Validation: <b> 100%");
    assert_string_equal(v.reply.content_type, "text/plain; charset=utf-8");
    assert_int_equal(v.reply.status, 200);
    ask.query = STR("validationToken=a%0d%0ab");
    assert_false(hook_holds(&ask));
    ask.query = STR("xvalidationToken=a");
    assert_false(hook_holds(&ask));
}

static void test_trello_may_ask_by_head(void **state)
{
    struct hook_ask ask = ask_of("trello");
    (void)state;
    ask.method = STR("HEAD");
    struct hook_verdict v = hook_verify(&world, &ask);
    assert_true(v.is_valid && v.reply.status == 200 && !v.reply.body.p);
    ask.method = STR("GET");
    assert_false(hook_holds(&ask));
    ask = ask_of("github");
    ask.method = STR("HEAD");
    assert_false(hook_holds(&ask));
}

/* ---- events ---- */

static struct hook_verdict signed_verdict(struct str body)
{
    static struct str secret = { "generic-secret", 14 };
    static struct hook_header h;
    unsigned char mac[HOOK_MAC_MAX];
    struct hook_ask ask = ask_of("hmac");
    size_t n = hook_mac(HOOK_SHA256, secret, &body, 1, mac);
    h = (struct hook_header){ STR("X-Signature"), hex_of(&world.arena, mac, n) };
    ask.secrets = &secret;
    ask.n_secrets = 1;
    ask.headers = &h;
    ask.n_headers = 1;
    ask.body = body;
    return hook_verify(&world, &ask);
}

static void test_a_number_is_a_key_too(void **state)
{
    (void)state;
    assert_text(signed_verdict(STR("{\"id\":9007199254740993}")).event_key, "9007199254740993");
}

static void test_keys_that_are_long_are_hashed_and_types_left_out(void **state)
{
    struct buf b;
    (void)state;
    buf_init(&b, &world.arena, 4096);
    buf_lit(&b, "{\"id\":\"");
    for (int i = 0; i < HOOK_KEY_MAX + 1; i++)
        buf_char(&b, 'k');
    buf_lit(&b, "\",\"type\":\"");
    for (int i = 0; i < HOOK_TYPE_MAX + 1; i++)
        buf_char(&b, 't');
    buf_lit(&b, "\"}");
    struct hook_verdict v = signed_verdict(buf_view(&b));
    assert_true(v.is_valid && str_starts(v.event_key, STR("sha256:")) && v.event_key.n == 71);
    assert_null(v.event_type.p);
}

static void test_values_that_are_no_line_of_text_are_none(void **state)
{
    static const char *const bodies[] = { "{\"id\":\"a\\nb\"}",
                                          "{\"id\":\"\"}",
                                          "{\"id\":null}",
                                          "{\"id\":{}}",
                                          "{\"id\":1.5}",
                                          "[]",
                                          "" };
    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        struct hook_verdict v = signed_verdict(str_of(bodies[i]));
        assert_true(v.is_valid);
        assert_null(v.event_key.p);
    }
}

static void test_deep_json_is_no_danger(void **state)
{
    struct buf b;
    (void)state;
    buf_init(&b, &world.arena, (size_t)1 << 20);
    for (int i = 0; i < 100000; i++)
        buf_lit(&b, "[");
    struct hook_verdict v = signed_verdict(buf_view(&b));
    assert_true(v.is_valid && !v.event_key.p);
}

/* ---- hints ---- */

static void assert_hint(struct hook_ask ask, const char *part)
{
    assert_reason(&ask, HOOK_MISMATCH, "check that the secret is");
    ask.wants_hints = true;
    assert_reason(&ask, HOOK_MISMATCH, part);
}

static struct hook_ask signed_for(struct hook_header *h, const char *key, const char *body)
{
    struct hook_ask ask = named("github")->ask;
    unsigned char mac[HOOK_MAC_MAX];
    struct str piece = str_of(body);
    size_t n = hook_mac(HOOK_SHA256, str_of(key), &piece, 1, mac);
    *h = (struct hook_header){ STR("X-Hub-Signature-256"),
                               str_printf(&world.arena, "sha256=" STR_FMT,
                                          STR_ARG(hex_of(&world.arena, mac, n))) };
    ask.headers = h;
    ask.n_headers = 1;
    return ask;
}

static void test_hints_find_what_happened_to_the_body(void **state)
{
    static const struct {
        const char *sent, *seen, *hint;
    } rows[] = {
        { "{\"a\": 1}", "{\"a\": 1}\n", "without its last line break" },
        { "{\"a\": 1}\n", "{\"a\": 1}", "with a line break at its end" },
        { "a\nb\nc", "a\r\nb\r\nc", "with line ends LF" },
        { "a\r\nb\r\nc", "a\nb\nc", "with line ends CR LF" },
        { "{\"a\":1}", "\xEF\xBB\xBF{\"a\":1}", "byte order mark" },
        { "{\"a\":1,\"b\":[2]}", "{\n  \"a\": 1,\n  \"b\": [ 2 ]\n}", "without white space" },
    };
    struct str secret = STR("s3cret");
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct hook_header h;
        struct hook_ask ask = signed_for(&h, "s3cret", rows[i].sent);
        ask.secrets = &secret;
        ask.body = str_of(rows[i].seen);
        assert_hint(ask, rows[i].hint);
    }
}

static void test_hints_find_what_is_wrong_with_the_secret(void **state)
{
    static const struct {
        const char *key, *secret, *hint;
    } rows[] = {
        { "s3cret", " s3cret\n", "without the white space around it" },
        { "s3cret", "czNjcmV0", "stands for in base64" },
        { "s3cret", "whsec_czNjcmV0", "stands for in base64" },
        { "czNjcmV0", "whsec_czNjcmV0", "without its prefix whsec_" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct hook_header h;
        struct str secret = str_of(rows[i].secret);
        struct hook_ask ask = signed_for(&h, rows[i].key, "body");
        ask.secrets = &secret;
        ask.body = STR("body");
        assert_hint(ask, rows[i].hint);
    }
}

static void test_hints_find_what_is_wrong_with_the_callback_url(void **state)
{
    static const struct {
        const char *registered, *given, *hint;
    } rows[] = {
        { "https://h.test/a/", "https://h.test/a", "with a slash at its end" },
        { "https://h.test/a", "https://h.test/a/", "without the slash at its end" },
        { "https://h.test/a", "https://h.test/a?b=c", "without its query" },
        { "https://h.test/a", "http://h.test/a", "with https://" },
    };
    struct str secret = STR("s3cret");
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct hook_ask ask = ask_of("trello");
        const struct str pieces[] = { STR("body"), str_of(rows[i].registered) };
        unsigned char mac[HOOK_MAC_MAX];
        size_t n = hook_mac(HOOK_SHA1, secret, pieces, 2, mac);
        struct hook_header h = { STR("X-Trello-Webhook"), hook_base64(&world.arena, mac, n) };
        ask.headers = &h;
        ask.n_headers = 1;
        ask.secrets = &secret;
        ask.n_secrets = 1;
        ask.body = STR("body");
        ask.url = str_of(rows[i].given);
        assert_hint(ask, rows[i].hint);
    }
}

static void test_without_a_cause_the_reason_stays(void **state)
{
    struct hook_ask ask = named("github")->ask;
    struct str wrong = STR("wrong");
    (void)state;
    ask.secrets = &wrong;
    ask.wants_hints = true;
    assert_reason(&ask, HOOK_MISMATCH, "does not match; check that the secret is the one set");
}

static void test_a_hint_does_not_let_anything_in(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_all; i++) {
        struct hook_ask ask = all[i].ask;
        if (!all[i].covers_body)
            continue;
        ask.wants_hints = true;
        ask.body = str_printf(&world.arena, STR_FMT "\n", STR_ARG(ask.body));
        assert_reason(&ask, HOOK_MISMATCH, "without its last line break");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_asana_brings_a_secret_that_is_echoed_and_kept),
        cmocka_unit_test(test_a_secret_that_nobody_awaits_is_refused),
        cmocka_unit_test(test_a_secret_that_cannot_be_echoed_safely_is_refused),
        cmocka_unit_test(test_a_header_makes_no_handshake_of_a_signed_event),
        cmocka_unit_test(test_notion_brings_its_token_once),
        cmocka_unit_test(test_an_awaited_secret_does_not_let_events_in),
        cmocka_unit_test(test_slack_is_answered_only_when_its_challenge_is_signed),
        cmocka_unit_test(test_graph_gets_its_token_back_decoded),
        cmocka_unit_test(test_trello_may_ask_by_head),
        cmocka_unit_test(test_a_number_is_a_key_too),
        cmocka_unit_test(test_keys_that_are_long_are_hashed_and_types_left_out),
        cmocka_unit_test(test_values_that_are_no_line_of_text_are_none),
        cmocka_unit_test(test_deep_json_is_no_danger),
        cmocka_unit_test(test_hints_find_what_happened_to_the_body),
        cmocka_unit_test(test_hints_find_what_is_wrong_with_the_secret),
        cmocka_unit_test(test_hints_find_what_is_wrong_with_the_callback_url),
        cmocka_unit_test(test_without_a_cause_the_reason_stays),
        cmocka_unit_test(test_a_hint_does_not_let_anything_in),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
