/* Facts about hook_sign.c, hook_key.c and hook_mac.c: published vectors, text forms, and that our own
 * verifier takes what we sign. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <string.h>

#include "base/crypt.h"
#include "connect/hook_key.h"
#include "connect/hook_sign.h"
#include "connect/hook_verify.h"

/* From the tests of the Standard Webhooks libraries and of the Svix server. */
#define ID "msg_p5jXN8AQM9LWM0D4loKWxJek"
#define BODY "{\"test\": 2432232314}"
#define AT INT64_C(1614265330)
#define SHARED "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#define SHARED_SIGNATURE "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
#define PRIVATE                                                                                    \
    "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
#define FOREIGN_HALF /* the public half belongs to another seed */                                 \
    "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6KvA=="
#define SEED "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbc="
#define PUBLIC "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
#define PRIVATE_SIGNATURE                                                                          \
    "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="

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

static void assert_text(struct str got, const char *want)
{
    assert_int_equal(got.n, strlen(want));
    assert_memory_equal(got.p, want, got.n);
}

static const struct hook_message message = { { ID, sizeof ID - 1 }, AT, { BODY, sizeof BODY - 1 } };

static struct hook_signed sign(struct ctx *cx, const struct str *secrets, size_t n)
{
    struct hook_signed out;
    assert_int_equal(hook_sign(cx, &message, secrets, n, &out), ERR_NONE);
    return out;
}

/* ---- signing ---- */

static void test_the_published_signatures_come_out(void **state)
{
    struct str shared = STR(SHARED), private = STR(PRIVATE), seed = STR(SEED);
    struct hook_signed s = sign(*state, &shared, 1);
    assert_text(s.id, ID);
    assert_text(s.timestamp, "1614265330");
    assert_text(s.signature, SHARED_SIGNATURE);
    assert_text(sign(*state, &private, 1).signature, PRIVATE_SIGNATURE);
    assert_text(sign(*state, &seed, 1).signature, PRIVATE_SIGNATURE);
}

static void test_each_live_secret_signs_once_in_order(void **state)
{
    const struct str secrets[] = { STR(PRIVATE), STR(SHARED) };
    assert_text(sign(*state, secrets, 2).signature, PRIVATE_SIGNATURE " " SHARED_SIGNATURE);
}

static bool receiver_takes(struct ctx *cx, const struct hook_signed *s, struct str secret)
{
    const struct hook_header headers[] = { { STR("webhook-id"), s->id },
                                           { STR("webhook-timestamp"), s->timestamp },
                                           { STR("webhook-signature"), s->signature } };
    struct hook_ask ask = { .scheme = hook_scheme_find(STR("standard")),
                            .secrets = &secret,
                            .n_secrets = 1,
                            .headers = headers,
                            .n_headers = 3,
                            .body = message.body,
                            .now_ms = AT * 1000 };
    return hook_verify(cx, &ask).is_valid;
}

static void test_receivers_with_any_of_the_keys_take_it(void **state)
{
    struct ctx *cx = *state;
    struct hook_key_text old = hook_key_make(&cx->arena, HOOK_KEY_SHARED);
    struct hook_key_text new = hook_key_make(&cx->arena, HOOK_KEY_SHARED);
    struct hook_key_text pair = hook_key_make(&cx->arena, HOOK_KEY_PRIVATE);
    const struct str secrets[] = { old.secret, new.secret, pair.secret };
    struct hook_signed s = sign(cx, secrets, 3);
    assert_true(receiver_takes(cx, &s, old.secret));
    assert_true(receiver_takes(cx, &s, new.secret));
    assert_true(receiver_takes(cx, &s, pair.public_text));
    assert_false(receiver_takes(cx, &s, hook_key_make(&cx->arena, HOOK_KEY_SHARED).secret));
    assert_false(receiver_takes(cx, &s, hook_key_make(&cx->arena, HOOK_KEY_PRIVATE).public_text));
}

static void test_as_many_secrets_as_may_live_fit_into_the_header(void **state)
{
    struct ctx *cx = *state;
    struct str secrets[HOOK_SECRETS_MAX];
    for (size_t i = 0; i < HOOK_SECRETS_MAX; i++)
        secrets[i] = hook_key_make(&cx->arena, HOOK_KEY_PRIVATE).secret;
    struct hook_signed s = sign(cx, secrets, HOOK_SECRETS_MAX);
    assert_int_equal(s.signature.n, HOOK_SECRETS_MAX * 93 - 1);
}

static void test_ids_that_could_be_misread_are_refused(void **state)
{
    static const char *const bad[] = { "", "a.b", "a b", "a\nb", "caf\xC3\xA9" };
    struct ctx *cx = *state;
    struct str secret = STR(SHARED);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct hook_message m = { str_of(bad[i]), AT, STR("{}") };
        struct hook_signed out;
        assert_int_equal(hook_sign(cx, &m, &secret, 1, &out), ERR_INVALID_FIELD);
        ctx_clear(cx);
    }
}

static void test_secrets_that_cannot_sign_are_refused_and_never_shown(void **state)
{
    static const char *const bad[] = {
        "",     "plain",          "whsec_",        "whsec_%%%%",
        PUBLIC, "whsec_c2hvcnQ=", "whsk_c2hvcnQ=", FOREIGN_HALF,
    };
    struct ctx *cx = *state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct hook_signed out;
        struct str secret = str_of(bad[i]);
        assert_int_equal(hook_sign(cx, &message, &secret, 1, &out), ERR_INVALID_FIELD);
        assert_null(secret.n > 6 ? strstr(str_cstr(&cx->arena, cx->err_text), bad[i]) : NULL);
        ctx_clear(cx);
    }
    struct hook_signed out;
    assert_int_equal(hook_sign(cx, &message, NULL, 0, &out), ERR_INVALID_FIELD);
    ctx_clear(cx);
}

/* ---- keys ---- */

static void test_the_bounds_of_a_shared_secret_are_24_and_64_bytes(void **state)
{
    struct ctx *cx = *state;
    unsigned char raw[65] = { 0 };
    for (size_t n = 20; n <= sizeof raw; n++) {
        struct str text =
            str_printf(&cx->arena, "whsec_" STR_FMT, STR_ARG(hook_base64(&cx->arena, raw, n)));
        assert_int_equal(hook_key_check(cx, text) == ERR_NONE, n >= 24 && n <= 64);
        ctx_clear(cx);
    }
}

static void test_made_keys_are_whole_and_differ(void **state)
{
    struct ctx *cx = *state;
    struct hook_key_text a = hook_key_make(&cx->arena, HOOK_KEY_SHARED);
    struct hook_key_text b = hook_key_make(&cx->arena, HOOK_KEY_SHARED);
    assert_false(str_eq(a.secret, b.secret));
    assert_true(str_starts(a.secret, STR("whsec_")) && a.secret.n == 6 + 44 && !a.public_text.p);
    a = hook_key_make(&cx->arena, HOOK_KEY_PRIVATE);
    assert_int_equal(hook_key_check(cx, a.secret), ERR_NONE);
    assert_true(str_eq(hook_key_public(&cx->arena, a.secret), a.public_text));
}

static void test_the_public_key_follows_from_the_private_one(void **state)
{
    struct ctx *cx = *state;
    assert_text(hook_key_public(&cx->arena, STR(PRIVATE)), PUBLIC);
    assert_text(hook_key_public(&cx->arena, STR(SEED)), PUBLIC);
    assert_null(hook_key_public(&cx->arena, STR(SHARED)).p);
}

/* ---- the mathematics ---- */

/* RFC 2202 case 2 and RFC 4231 case 2, in one piece and in several. */
static void test_hmacs_of_the_rfcs_whole_and_in_pieces(void **state)
{
    static const struct {
        enum hook_hash hash;
        const char *want;
    } rows[] = {
        { HOOK_SHA1, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79" },
        { HOOK_SHA256, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843" },
        { HOOK_SHA512, "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
                       "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737" },
    };
    struct ctx *cx = *state;
    const struct str one[] = { STR("what do ya want for nothing?") };
    const struct str more[] = { STR("what do ya "), STR_NONE, STR("want for"), STR(""),
                                STR(" nothing?") };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        unsigned char mac[HOOK_MAC_MAX];
        size_t n = hook_mac(rows[i].hash, STR("Jefe"), one, 1, mac);
        assert_int_equal(n, hook_mac_size(rows[i].hash));
        assert_text(hex_of(&cx->arena, mac, n), rows[i].want);
        n = hook_mac(rows[i].hash, STR("Jefe"), more, 5, mac);
        assert_text(hex_of(&cx->arena, mac, n), rows[i].want);
    }
}

/* RFC 8032, 7.1, test 2. */
static void test_ed25519_of_the_rfc(void **state)
{
    struct ctx *cx = *state;
    unsigned char seed[HOOK_ED_KEY], public_key[HOOK_ED_KEY], signature[HOOK_ED_SIGNATURE];
    struct str text = { "\x72", 1 }, other = { "\x73", 1 };
    assert_true(hex_parse(STR("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"),
                          seed, 32));
    hook_ed_public(seed, public_key);
    assert_text(hex_of(&cx->arena, public_key, 32),
                "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
    hook_ed_sign(seed, &text, 1, signature);
    assert_text(hex_of(&cx->arena, signature, 64),
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
                "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00");
    assert_true(hook_ed_holds(public_key, &text, 1, signature));
    assert_false(hook_ed_holds(public_key, &other, 1, signature));
    memset(public_key, 0xFF, sizeof public_key); /* no point of the curve */
    assert_false(hook_ed_holds(public_key, &text, 1, signature));
}

static void test_base64_is_read_in_both_alphabets_and_strictly(void **state)
{
    struct ctx *cx = *state;
    unsigned char out[8];
    size_t n;
    assert_text(hook_base64(&cx->arena, (const unsigned char *)"\xFB\xFF\xFE\x01", 4), "+//+AQ==");
    assert_true(hook_base64_read(STR("+//+AQ=="), out, sizeof out, &n) && n == 4);
    assert_true(hook_base64_read(STR("-__-AQ"), out, sizeof out, &n) && n == 4);
    assert_memory_equal(out, "\xFB\xFF\xFE\x01", 4);
    assert_true(hook_base64_read(STR(""), out, sizeof out, &n) && n == 0);
    assert_false(hook_base64_read(STR("AQ="), out, sizeof out, &n));
    assert_false(hook_base64_read(STR("AR=="), out, sizeof out, &n)); /* a stray bit */
    assert_false(hook_base64_read(STR("A==="), out, sizeof out, &n));
    assert_false(hook_base64_read(STR("===="), out, sizeof out, &n));
    assert_false(hook_base64_read(STR("AQ== "), out, sizeof out, &n));
    assert_false(hook_base64_read(STR("AAAAAAAAAAAA"), out, sizeof out, &n)); /* nine bytes */
}

static void test_texts_are_the_same_or_not(void **state)
{
    (void)state;
    assert_true(hook_is_same(STR("abc"), STR("abc")));
    assert_true(hook_is_same(STR(""), STR_NONE));
    assert_false(hook_is_same(STR("abc"), STR("abd")));
    assert_false(hook_is_same(STR("abc"), STR("ab")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_published_signatures_come_out),
        cmocka_unit_test(test_each_live_secret_signs_once_in_order),
        cmocka_unit_test(test_receivers_with_any_of_the_keys_take_it),
        cmocka_unit_test(test_as_many_secrets_as_may_live_fit_into_the_header),
        cmocka_unit_test(test_ids_that_could_be_misread_are_refused),
        cmocka_unit_test(test_secrets_that_cannot_sign_are_refused_and_never_shown),
        cmocka_unit_test(test_the_bounds_of_a_shared_secret_are_24_and_64_bytes),
        cmocka_unit_test(test_made_keys_are_whole_and_differ),
        cmocka_unit_test(test_the_public_key_follows_from_the_private_one),
        cmocka_unit_test(test_hmacs_of_the_rfcs_whole_and_in_pieces),
        cmocka_unit_test(test_ed25519_of_the_rfc),
        cmocka_unit_test(test_base64_is_read_in_both_alphabets_and_strictly),
        cmocka_unit_test(test_texts_are_the_same_or_not),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
