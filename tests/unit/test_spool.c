/* Files without a name: what is in them, their size and hash, what is left behind, a full disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/crypt.h"
#include "base/spool.h"

struct fix {
    struct ctx cx;
    char dir[64];
};

static int setup(void **state)
{
    static struct fix f;
    ctx_init(&f.cx, CTX_CAP_DEFAULT);
    memcpy(f.dir, "/tmp/tessera-spool-XXXXXX", sizeof "/tmp/tessera-spool-XXXXXX");
    assert_non_null(mkdtemp(f.dir));
    crypt_init();
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fix *f = *state;
    assert_int_equal(rmdir(f->dir), 0); /* fails when something was left behind */
    ctx_done(&f->cx);
    return 0;
}

static struct spool *opened(struct fix *f)
{
    struct spool *s = NULL;
    assert_int_equal(spool_open(&f->cx, str_of(f->dir), &s), ERR_NONE);
    assert_non_null(s);
    return s;
}

static void assert_holds(struct spool *s, const char *want, size_t n)
{
    unsigned char sum[SHA256_LEN], own[SHA256_LEN];
    char *got = malloc(n + 1);
    assert_non_null(got);
    assert_int_equal(spool_size(s), n);
    assert_int_equal(pread(spool_fd(s), got, n + 1, 0), n);
    assert_memory_equal(got, want, n);
    free(got);
    crypt_sha256((struct str){ want, n }, sum);
    spool_sha256(s, own);
    assert_memory_equal(sum, own, sizeof sum);
}

static int names_in(const char *dir)
{
    DIR *d = opendir(dir);
    int n = 0;
    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n - 2; /* . and .. */
}

static void test_what_goes_in_comes_out(void **state)
{
    struct spool *s = opened(*state);
    assert_true(spool_str(s, STR("hello ")));
    assert_true(spool_add(s, "world\0!", 7));
    assert_int_equal(spool_size(s), 13);
    assert_int_equal(spool_done(&((struct fix *)*state)->cx, s), ERR_NONE);
    assert_holds(s, "hello world\0!", 13);
    spool_close(s);
}

static void test_an_empty_one_has_the_hash_of_nothing(void **state)
{
    struct spool *s = opened(*state);
    assert_true(spool_str(s, STR_NONE));
    assert_true(spool_str(s, STR("")));
    assert_int_equal(spool_done(&((struct fix *)*state)->cx, s), ERR_NONE);
    assert_holds(s, "", 0);
    spool_close(s);
}

/* The buffer's size and its neighbours, in pieces that do and do not divide it. */
static void test_sizes_around_the_buffer(void **state)
{
    static const size_t sizes[] = { 1, 65535, 65536, 65537, 131072, 300001 };
    static const size_t pieces[] = { 1, 4096, 65536, 70000, 400000 };
    char *data = malloc(400000);
    assert_non_null(data);
    for (size_t i = 0; i < 400000; i++)
        data[i] = (char)(i * 31 + i / 251);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (size_t k = 0; k < sizeof pieces / sizeof *pieces; k++) {
            struct spool *s = opened(*state);
            for (size_t at = 0; at < sizes[i]; at += pieces[k]) {
                size_t left = sizes[i] - at;
                assert_true(spool_add(s, data + at, left < pieces[k] ? left : pieces[k]));
            }
            assert_int_equal(spool_done(&((struct fix *)*state)->cx, s), ERR_NONE);
            assert_holds(s, data, sizes[i]);
            spool_close(s);
        }
    free(data);
}

static void test_nothing_is_in_the_folder_at_any_time(void **state)
{
    struct fix *f = *state;
    struct spool *s = opened(f);
    assert_int_equal(names_in(f->dir), 0);
    spool_str(s, STR("x"));
    assert_int_equal(spool_done(&f->cx, s), ERR_NONE);
    assert_int_equal(names_in(f->dir), 0);
    spool_close(s);
}

static void test_a_taken_file_outlives_its_spool(void **state)
{
    struct fix *f = *state;
    struct spool *s = opened(f);
    char got[4] = "";
    spool_str(s, STR("abc"));
    assert_int_equal(spool_done(&f->cx, s), ERR_NONE);
    int fd = spool_take(s);
    assert_int_equal(pread(fd, got, sizeof got, 0), 3);
    assert_memory_equal(got, "abc", 3);
    assert_int_equal(close(fd), 0);
    spool_close(NULL);
}

static void test_a_folder_that_is_not_there_is_unavailable(void **state)
{
    struct fix *f = *state;
    struct spool *s = NULL;
    assert_int_equal(spool_open(&f->cx, STR("/nowhere/at/all"), &s), ERR_UNAVAILABLE);
    assert_null(s);
    assert_int_equal(f->cx.err, ERR_UNAVAILABLE);
}

/* A file system of 64 KiB; only root can make one. */
static void test_a_full_disk_fails_and_stays_failed(void **state)
{
    struct fix *f = *state;
    char piece[4096] = { 0 };
    bool was_fine = true;
    if (geteuid() != 0 || mount("tmpfs", f->dir, "tmpfs", 0, "size=64k") != 0)
        skip();
    struct spool *s = opened(f);
    for (int i = 0; i < 256 && was_fine; i++)
        was_fine = spool_add(s, piece, sizeof piece);
    bool is_fine_again = spool_str(s, STR("x"));
    enum err_code e = spool_done(&f->cx, s);
    spool_close(s);
    assert_int_equal(umount(f->dir), 0);
    assert_false(was_fine);
    assert_false(is_fine_again);
    assert_int_equal(e, ERR_UNAVAILABLE);
}

/* Less than a buffer: only the flush at the end meets the disk. */
static void test_a_full_disk_is_told_at_the_end_at_the_latest(void **state)
{
    struct fix *f = *state;
    char piece[60000] = { 0 };
    if (geteuid() != 0 || mount("tmpfs", f->dir, "tmpfs", 0, "size=16k") != 0)
        skip();
    struct spool *s = opened(f);
    bool is_fine = spool_add(s, piece, sizeof piece);
    enum err_code e = spool_done(&f->cx, s);
    spool_close(s);
    assert_int_equal(umount(f->dir), 0);
    assert_true(is_fine);
    assert_int_equal(e, ERR_UNAVAILABLE);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_what_goes_in_comes_out),
        T(test_an_empty_one_has_the_hash_of_nothing),
        T(test_sizes_around_the_buffer),
        T(test_nothing_is_in_the_folder_at_any_time),
        T(test_a_taken_file_outlives_its_spool),
        T(test_a_folder_that_is_not_there_is_unavailable),
        T(test_a_full_disk_fails_and_stays_failed),
        T(test_a_full_disk_is_told_at_the_end_at_the_latest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
