/* Tokens are checked by several threads while the key set is read again: none is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rhonabwy.h>

#include "base/clock.h"
#include "base/crypt.h"
#include "core/people/jwt.h"

#define THREADS 4
#define ROUNDS 40

static struct jwt *opened;
static char *token, *unknown;
static atomic_int refused, taken;

static char *signed_by(jwk_t *key, const char *kid)
{
    char claims[200];
    jws_t *jws = NULL;
    int64_t exp = clock_ms() / 1000 + 600;

    snprintf(claims, sizeof claims, "{\"iss\":\"i\",\"aud\":\"a\",\"sub\":\"s\",\"exp\":%lld}",
             (long long)exp);
    assert_int_equal(r_jws_init(&jws), RHN_OK);
    r_jws_set_alg(jws, R_JWA_ALG_ES256);
    r_jws_set_header_str_value(jws, "kid", kid);
    r_jws_set_payload(jws, (const unsigned char *)claims, strlen(claims));
    char *text = r_jws_serialize(jws, key, 0);
    r_jws_free(jws);
    return text;
}

static void *check(void *arg)
{
    (void)arg;
    for (int i = 0; i < ROUNDS; i++) {
        struct jwt_claims c;
        struct ctx cx;
        ctx_init(&cx, CTX_CAP_DEFAULT);
        atomic_fetch_add(jwt_verify(&cx, opened, str_of(token), &c) ? &refused : &taken, 1);
        ctx_clear(&cx);
        if (!jwt_verify(&cx, opened, str_of(unknown), &c)) /* and makes the set be read again */
            atomic_fetch_add(&refused, 1000);
        ctx_done(&cx);
    }
    return NULL;
}

static void test_readers_and_the_refresh_share_the_keys(void **state)
{
    char path[] = "/tmp/test-thr-jwks-XXXXXX";
    jwk_t *key = NULL, *pub = NULL;
    struct ctx cx;
    pthread_t threads[THREADS];
    (void)state;
    crypt_init();
    ctx_init(&cx, CTX_CAP_DEFAULT);
    assert_int_equal(r_jwk_init(&key) | r_jwk_init(&pub), RHN_OK);
    assert_int_equal(r_jwk_generate_key_pair(key, pub, R_KEY_TYPE_EC, 256, "k1"), RHN_OK);
    token = signed_by(key, "k1");
    unknown = signed_by(key, "k2");
    char *jwk = r_jwk_export_to_json_str(pub, 0);
    FILE *f = fdopen(mkstemp(path), "w");
    fprintf(f, "{\"keys\":[%s]}", jwk);
    fclose(f);
    struct jwt_conf conf = { .issuer = STR("i"), .audience = STR("a"), .jwks = str_of(path) };
    assert_int_equal(jwt_open(&cx, &conf, &opened), ERR_NONE);
    assert_int_equal(jwt_start(&cx, opened), ERR_NONE);

    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, check, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);

    assert_int_equal(atomic_load(&refused), 0);
    assert_int_equal(atomic_load(&taken), THREADS * ROUNDS);
    jwt_close(opened);
    unlink(path);
    r_free(token);
    r_free(unknown);
    r_free(jwk);
    r_jwk_free(key);
    r_jwk_free(pub);
    ctx_done(&cx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_readers_and_the_refresh_share_the_keys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
