/* Facts about crypt.c: published vectors, strict text forms, ordered unique ids, passwords. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/crypt.h"

#define IDS 20000
#define THREADS 4

static int setup(void **state)
{
    static struct arena a;

    crypt_init();
    arena_init(&a, (size_t)64 << 20);
    *state = &a;
    return 0;
}

static int teardown(void **state)
{
    arena_done(*state);
    return 0;
}

static void assert_str(struct str got, const char *want)
{
    assert_int_equal(got.n, strlen(want));
    assert_memory_equal(got.p, want, got.n);
}

static void assert_digest(struct arena *a, const unsigned char *got, const char *want)
{
    assert_str(hex_of(a, got, SHA256_LEN), want);
}

static void test_sha256_of_fips_180_examples(void **state)
{
    unsigned char d[SHA256_LEN];

    crypt_sha256(STR("abc"), d);
    assert_digest(*state, d, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    crypt_sha256(STR_NONE, d);
    assert_digest(*state, d, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    crypt_sha256(STR("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"), d);
    assert_digest(*state, d, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

static void test_hmac_of_rfc_4231(void **state)
{
    unsigned char d[SHA256_LEN], first[SHA256_LEN];
    char key[131];

    memset(key, 0x0b, 20);
    crypt_hmac256((struct str){ key, 20 }, STR("Hi There"), d);
    assert_digest(*state, d, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    crypt_hmac256(STR("Jefe"), STR("what do ya want for nothing?"), d);
    assert_digest(*state, d, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, sizeof(key));
    crypt_hmac256((struct str){ key, sizeof(key) },
                  STR("Test Using Larger Than Block-Size Key - Hash Key First"), d);
    assert_digest(*state, d, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    crypt_hmac256(STR_NONE, STR_NONE, d); /* not the key of the call before */
    assert_digest(*state, d, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
    crypt_hmac256(STR(""), STR_NONE, first);
    assert_memory_equal(d, first, sizeof(d));
}

/* RFC 5869 A.3 (no salt, no info), first block; a label gives another key. */
static void test_derive_is_hkdf(void **state)
{
    unsigned char d[SHA256_LEN], other[SHA256_LEN];
    char key[22];

    memset(key, 0x0b, sizeof(key));
    crypt_derive((struct str){ key, sizeof(key) }, "", d);
    assert_digest(*state, d, "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d");
    crypt_derive((struct str){ key, sizeof(key) }, "cursor", d);
    crypt_derive((struct str){ key, sizeof(key) }, "session", other);
    assert_false(crypt_equal(d, other, sizeof(d)));
}

static void test_hex_there_and_back(void **state)
{
    unsigned char out[4] = { 9, 9, 9, 9 };
    const unsigned char in[3] = { 0x00, 0xAB, 0xFF };

    assert_str(hex_of(*state, in, 3), "00abff");
    assert_str(hex_of(*state, in, 0), "");
    assert_true(hex_parse(STR("00aBfF"), out, 3));
    assert_memory_equal(out, "\x00\xAB\xFF\x09", 4);
    assert_false(hex_parse(STR("00aBf"), out, 3));
    assert_false(hex_parse(STR("00aBfFF"), out, 3));
    assert_false(hex_parse(STR("00aBfg"), out, 3));
    assert_false(hex_parse(STR("00aBf "), out, 3));
    assert_true(hex_parse(STR(""), out, 0));
}

static void test_base64url_of_rfc_4648(void **state)
{
    static const char *const rows[][2] = { { "", "" },
                                           { "f", "Zg" },
                                           { "fo", "Zm8" },
                                           { "foo", "Zm9v" },
                                           { "foob", "Zm9vYg" },
                                           { "fooba", "Zm9vYmE" },
                                           { "foobar", "Zm9vYmFy" },
                                           { "\xFB\xFF", "-_8" } };

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        unsigned char out[8];
        size_t n = 99;

        assert_str(base64url_of(*state, (const unsigned char *)rows[i][0], strlen(rows[i][0])),
                   rows[i][1]);
        assert_true(base64url_parse(str_of(rows[i][1]), out, strlen(rows[i][0]), &n));
        assert_str((struct str){ (char *)out, n }, rows[i][0]);
    }
}

static void test_base64url_is_strict(void **state)
{
    static const char *const bad[] = { "Z",   "Zh",  "Zm9",    "Zg==",  "Zm8=",
                                       "Z g", "+/8", "Zm9v\n", "Zm9vY", "\xC3\xA9" };
    unsigned char out[8];
    size_t n = 99;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        assert_false(base64url_parse(str_of(bad[i]), out, sizeof(out), &n));
        assert_int_equal(n, 99);
    }
    assert_false(base64url_parse(STR("Zm9v"), out, 2, &n));
}

static void test_base64url_of_random_bytes(void **state)
{
    unsigned char in[48], out[48];

    for (size_t len = 0; len <= sizeof(in); len++) {
        size_t n;

        crypt_random(in, len);
        assert_true(base64url_parse(base64url_of(*state, in, len), out, len, &n));
        assert_int_equal(n, len);
        assert_true(crypt_equal(in, out, n));
    }
}

static void test_uuid_form_and_time(void **state)
{
    int64_t before = clock_ms();
    struct str id = uuid7(*state);
    unsigned char head[6];
    char hex[12];
    int64_t ms = 0;

    assert_true(uuid_is_valid(id));
    assert_int_equal(id.p[14], '7');
    assert_non_null(strchr("89ab", id.p[19]));
    memcpy(hex, id.p, 8);
    memcpy(hex + 8, id.p + 9, 4);
    assert_true(hex_parse((struct str){ hex, 12 }, head, 6));
    for (int i = 0; i < 6; i++)
        ms = ms << 8 | head[i];
    assert_true(ms >= before && ms <= clock_ms() + 1000);
}

static void test_uuids_increase_even_when_the_clock_goes_back(void **state)
{
    struct str last = uuid7(*state);

    for (int i = 0; i < 30000; i++) { /* more than fit one millisecond */
        struct str id;

        if (i == 1000)
            clock_shift_ms(-HOUR_MS);
        id = uuid7(*state);
        assert_true(memcmp(last.p, id.p, UUID_TEXT) < 0);
        last = id;
    }
    clock_shift_ms(0);
}

struct maker {
    struct arena a;
    struct str id[IDS];
};

static void *make_ids(void *arg)
{
    struct maker *m = arg;

    for (int i = 0; i < IDS; i++)
        m->id[i] = uuid7(&m->a);
    return NULL;
}

static int by_text(const void *x, const void *y)
{
    return memcmp(((const struct str *)x)->p, ((const struct str *)y)->p, UUID_TEXT);
}

static void test_uuids_of_many_threads_differ(void **state)
{
    struct maker *m = calloc(THREADS, sizeof(*m));
    struct str *all = calloc((size_t)THREADS * IDS, sizeof(*all));
    pthread_t thread[THREADS];

    (void)state;
    assert_non_null(m);
    assert_non_null(all);
    for (int t = 0; t < THREADS; t++) {
        arena_init(&m[t].a, (size_t)16 << 20);
        assert_int_equal(pthread_create(&thread[t], NULL, make_ids, &m[t]), 0);
    }
    for (int t = 0; t < THREADS; t++) {
        assert_int_equal(pthread_join(thread[t], NULL), 0);
        memcpy(all + (ptrdiff_t)t * IDS, m[t].id, sizeof(m[t].id));
        for (int i = 1; i < IDS; i++)
            assert_true(by_text(&m[t].id[i - 1], &m[t].id[i]) < 0);
    }
    qsort(all, (size_t)THREADS * IDS, sizeof(*all), by_text);
    for (int i = 1; i < THREADS * IDS; i++)
        assert_true(memcmp(all[i - 1].p, all[i].p, 18) < 0); /* stamp and counter alone differ */
    for (int t = 0; t < THREADS; t++)
        arena_done(&m[t].a);
    free(all);
    free(m);
}

static void test_a_forked_child_draws_other_random_bytes(void **state)
{
    char child[UUID_TEXT];
    int fd[2], status;
    struct str id;
    pid_t pid;

    uuid7(*state); /* the pool is filled */
    assert_int_equal(pipe(fd), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        id = uuid7(*state);
        _exit(write(fd[1], id.p, UUID_TEXT) != UUID_TEXT);
    }
    id = uuid7(*state);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(read(fd[0], child, UUID_TEXT), UUID_TEXT);
    close(fd[0]);
    close(fd[1]);
    assert_memory_not_equal(child + 20, id.p + 20, UUID_TEXT - 20);
}

static void test_uuid_check_takes_the_text_form_only(void **state)
{
    (void)state;
    assert_true(uuid_is_valid(STR("550e8400-e29b-41d4-a716-446655440000")));
    assert_true(uuid_is_valid(STR("550E8400-E29B-41D4-A716-446655440000")));
    assert_false(uuid_is_valid(STR("550e8400-e29b-41d4-a716-44665544000")));
    assert_false(uuid_is_valid(STR("550e8400-e29b-41d4-a716-4466554400000")));
    assert_false(uuid_is_valid(STR("550e8400xe29b-41d4-a716-446655440000")));
    assert_false(uuid_is_valid(STR("550e8400-e29b-41d4-a716-44665544000g")));
    assert_false(uuid_is_valid(STR("550e8400-e29b-41d4-a716--44665544000")));
    assert_false(uuid_is_valid(STR_NONE));
}

static void sevens(void *out, size_t n)
{
    memset(out, 0x77, n);
}

static void test_dice_can_be_fixed(void **state)
{
    unsigned char out[4];

    crypt_random_source(sevens);
    crypt_random(out, sizeof(out));
    assert_memory_equal(out, "wwww", 4);
    assert_memory_equal(uuid7(*state).p + 19, "b777-777777777777", 17);
    crypt_random_source(NULL);
    assert_memory_not_equal(uuid7(*state).p + 19, "b777-777777777777", 17);
}

static void test_passwords(void **state)
{
    struct str one = password_hash(*state, STR("correct horse"));
    struct str two = password_hash(*state, STR("correct horse"));

    assert_true(str_starts(one, STR("$argon2id$v=19$m=19456,t=2,p=1$")));
    assert_false(str_eq(one, two)); /* salted */
    assert_true(password_verify(one, STR("correct horse")));
    assert_false(password_verify(one, STR("correct horsf")));
    assert_false(password_verify(one, STR_NONE));
    assert_false(password_verify(STR("$argon2id$nonsense"), STR("correct horse")));
    assert_false(password_verify(STR_NONE, STR("correct horse")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sha256_of_fips_180_examples),
        cmocka_unit_test(test_hmac_of_rfc_4231),
        cmocka_unit_test(test_derive_is_hkdf),
        cmocka_unit_test(test_hex_there_and_back),
        cmocka_unit_test(test_base64url_of_rfc_4648),
        cmocka_unit_test(test_base64url_is_strict),
        cmocka_unit_test(test_base64url_of_random_bytes),
        cmocka_unit_test(test_uuid_form_and_time),
        cmocka_unit_test(test_uuids_increase_even_when_the_clock_goes_back),
        cmocka_unit_test(test_uuids_of_many_threads_differ),
        cmocka_unit_test(test_a_forked_child_draws_other_random_bytes),
        cmocka_unit_test(test_uuid_check_takes_the_text_form_only),
        cmocka_unit_test(test_dice_can_be_fixed),
        cmocka_unit_test(test_passwords),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
