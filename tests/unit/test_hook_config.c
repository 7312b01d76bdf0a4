/* Facts about hook_config.c: a configured sender is verified as it says, and what would let a forged
 * request in is refused when it is configured. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <string.h>

#include "base/crypt.h"
#include "connect/hook_config.h"
#include "connect/hook_verify.h"

#define NOW_S INT64_C(1790000000)
#define BODY "{\"event\":{\"type\":\"paid\",\"id\":\"e-7\"}}"

static const char FULL[] =
    "{\"signature_header\":\"X-Acme-Signature\",\"prefix\":\"s=\",\"algorithm\":\"sha512\","
    "\"encoding\":\"base64\",\"secret_encoding\":\"base64\",\"signed\":\"{id}:{time}:{body}\","
    "\"time_header\":\"X-Acme-Time\",\"window_s\":60,\"id_header\":\"X-Acme-Id\","
    "\"type_path\":\"event.type\",\"key_path\":\"event.id\",\"ack_status\":204}";

static int setup(void **state)
{
    static struct ctx cx;
    crypt_init();
    ctx_init(&cx, CTX_CAP_DEFAULT);
    *state = &cx;
    return 0;
}

static int teardown(void **state)
{
    ctx_done(*state);
    return 0;
}

static struct hook_scheme scheme(struct ctx *cx, const char *json)
{
    struct hook_scheme s;
    assert_int_equal(hook_config_parse(cx, str_of(json), &s), ERR_NONE);
    return s;
}

static void assert_text(struct str got, const char *want)
{
    assert_int_equal(got.n, strlen(want));
    assert_memory_equal(got.p, want, got.n);
}

static void test_an_empty_configuration_is_the_row_hmac(void **state)
{
    struct hook_scheme s = scheme(*state, "{}");
    const struct hook_scheme *row = hook_scheme_find(STR("hmac"));
    assert_memory_equal(&s, row, sizeof s);
}

struct request {
    struct hook_ask ask;
    struct str secret;
    struct hook_header headers[3];
};

/* Signed as FULL says; the secret is base64 of "0123456789abcdef". */
static void make_full(struct ctx *cx, const struct hook_scheme *s, struct request *r)
{
    const struct str pieces[] = { STR("id-1"), STR(":"), STR("1790000000"), STR(":"), STR(BODY) };
    unsigned char mac[HOOK_MAC_MAX];
    size_t n = hook_mac(HOOK_SHA512, STR("0123456789abcdef"), pieces, 5, mac);
    *r = (struct request){
        .ask = { .scheme = s, .n_secrets = 1, .n_headers = 3, .body = STR(BODY) },
        .secret = STR("MDEyMzQ1Njc4OWFiY2RlZg=="),
        .headers = { { STR("x-acme-signature"),
                       str_printf(&cx->arena, "s=" STR_FMT,
                                  STR_ARG(hook_base64(&cx->arena, mac, n))) },
                     { STR("X-Acme-Time"), STR("1790000000") },
                     { STR("X-Acme-Id"), STR("id-1") } },
    };
    r->ask.now_ms = NOW_S * 1000;
    r->ask.secrets = &r->secret;
    r->ask.headers = r->headers;
}

static void test_a_sender_is_verified_as_it_is_described(void **state)
{
    struct ctx *cx = *state;
    struct hook_scheme s = scheme(cx, FULL);
    struct request r;
    make_full(cx, &s, &r);
    struct hook_verdict v = hook_verify(cx, &r.ask);
    assert_true(v.is_valid);
    assert_text(v.event_type, "paid");
    assert_text(v.event_key, "e-7");
    assert_int_equal(v.reply.status, 204);
}

static void test_each_part_of_the_description_counts(void **state)
{
    struct ctx *cx = *state;
    struct hook_scheme s = scheme(cx, FULL);
    struct request good, r;
    make_full(cx, &s, &good);
    for (int i = 0; i < 8; i++) {
        make_full(cx, &s, &r);
        switch (i) {
        case 0: r.ask.now_ms += 61000; break;
        case 1: r.ask.now_ms -= 61000; break;
        case 2: r.headers[1].value = STR("1790000001"); break;
        case 3: r.headers[2].value = STR("id-2"); break;
        case 4: r.headers[0].value = str_sub(r.headers[0].value, 2, 200); break;
        case 5: r.headers[0].name = STR("X-Signature"); break;
        case 6: r.secret = STR("0123456789abcdef"); break;
        case 7: r.ask.n_headers = 2; break;
        }
        assert_false(hook_verify(cx, &r.ask).is_valid);
    }
    assert_true(hook_verify(cx, &good.ask).is_valid);
}

static void test_a_prefix_that_is_configured_must_be_there(void **state)
{
    struct ctx *cx = *state;
    struct hook_scheme s = scheme(cx, "{\"prefix\":\"sha256=\"}");
    assert_false(s.may_lack_prefix);
    s = scheme(cx, "{\"signature_header\":\"X-Sig\"}");
    assert_string_equal(s.signature[0], "X-Sig");
    assert_null(s.signature[1]);
    assert_null(s.prefix);
}

static void test_what_cannot_be_right_is_refused_by_name(void **state)
{
    static const struct {
        const char *json, *part;
    } rows[] = {
        { "{\"signed\":\"{time}.x{id}\"}", "signed has no {body}" },
        { "{\"signed\":\"{body}.{secret}\"}", "signed knows {body}, {url}, {time} and {id}" },
        { "{\"signed\":\"{body}{\"}", "signed knows" },
        { "{\"signed\":\"{body}{body}{body}{body}{body}{body}\"}", "more than 5 marks" },
        { "{\"signed\":\"{time}{body}\"}", "time_header is needed" },
        { "{\"time_header\":\"X-Time\"}", "time_header proves nothing" },
        { "{\"signed\":\"{id}{body}\"}", "id_header is needed" },
        { "{\"id_header\":\"X-Id\"}", "id_header proves nothing" },
        { "{\"window_s\":10}", "window_s needs a time_header" },
        { "{\"window_s\":0}", "window_s" },
        { "{\"window_s\":86401}", "window_s" },
        { "{\"signature_header\":\"X Sig\"}", "signature_header is not the name of a header" },
        { "{\"type_header\":\"X:Y\"}", "type_header is not the name" },
        { "{\"algorithm\":\"md5\"}", "algorithm" },
        { "{\"encoding\":\"rot13\"}", "encoding" },
        { "{\"ack_status\":500}", "ack_status" },
        { "{\"secret\":\"x\"}", "secret" },
        { "[]", "not an object" },
        { "{", "" },
        { "", "" },
    };
    struct ctx *cx = *state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct hook_scheme s;
        assert_int_not_equal(hook_config_parse(cx, str_of(rows[i].json), &s), ERR_NONE);
        const char *text = str_cstr(&cx->arena, cx->err_text);
        if (!strstr(text, rows[i].part))
            assert_string_equal(text, rows[i].part);
        ctx_clear(cx);
    }
}

static void test_the_most_marks_there_may_be_are_signed(void **state)
{
    struct ctx *cx = *state;
    struct hook_scheme s = scheme(cx, "{\"signed\":\"a{body}b{body}c{body}d{body}e{body}f\"}");
    struct str text = STR("axbxcxdxexf"), secret = STR("k");
    unsigned char mac[HOOK_MAC_MAX];
    size_t n = hook_mac(HOOK_SHA256, secret, &text, 1, mac);
    struct hook_header h = { STR("X-Signature"), hex_of(&cx->arena, mac, n) };
    struct hook_ask ask = { .scheme = &s,
                            .secrets = &secret,
                            .n_secrets = 1,
                            .headers = &h,
                            .n_headers = 1,
                            .body = STR("x") };
    assert_true(hook_verify(cx, &ask).is_valid);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_empty_configuration_is_the_row_hmac),
        cmocka_unit_test(test_a_sender_is_verified_as_it_is_described),
        cmocka_unit_test(test_each_part_of_the_description_counts),
        cmocka_unit_test(test_a_prefix_that_is_configured_must_be_there),
        cmocka_unit_test(test_what_cannot_be_right_is_refused_by_name),
        cmocka_unit_test(test_the_most_marks_there_may_be_are_signed),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
