/* Blobs in a folder, and attachments over them: what is kept, what is swept, what a crash leaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crypt.h"
#include "core/crm/attachment.h"
#include "core/crm/blob.h"
#include "core_store.h"

#define SHA_OF_X "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
#define DAYS_AHEAD (3 * DAY_MS)

struct place { /* beside the store of core_setup */
    struct fix *f;
    char dir[64];
    struct blobs *blobs;
};
static struct place here;

static int place_setup(void **state)
{
    core_setup(state);
    here.f = *state;
    snprintf(here.dir, sizeof here.dir, "/tmp/tessera-blob-XXXXXX");
    assert_non_null(mkdtemp(here.dir));
    struct blobs_conf conf = { .dir = str_of(here.dir), .tmp_dir = STR("/tmp") };
    assert_int_equal(blobs_open(&here.f->cx, &conf, &here.blobs), ERR_NONE);
    assert_non_null(here.blobs);
    return 0;
}

/* Removes the folder's tree (three levels) and counts its files. */
static int clear_dir(const char *path, int depth)
{
    DIR *d = opendir(path);
    int files = 0;
    for (struct dirent *one; d && (one = readdir(d));) {
        char below[512];
        if (one->d_name[0] == '.')
            continue;
        snprintf(below, sizeof below, "%s/%s", path, one->d_name);
        files += depth ? clear_dir(below, depth - 1) : !unlink(below);
    }
    if (d)
        closedir(d);
    rmdir(path);
    return files;
}

static int place_teardown(void **state)
{
    clock_shift_ms(0);
    clear_dir(here.dir, 2);
    return store_teardown(state);
}

static struct spool *spool_of(struct ctx *cx, const char *text)
{
    struct spool *s;
    assert_ok(spool_open(cx, STR("/tmp"), &s));
    assert_true(spool_str(s, str_of(text)));
    assert_ok(spool_done(cx, s));
    return s;
}

static struct blob_id x_id(const char *nonce)
{
    return (struct blob_id){ STR(TEAM), STR(SHA_OF_X), str_of(nonce) };
}

static bool exists(struct ctx *cx, const struct blob_id *id)
{
    struct spool *s;
    enum err_code e = blob_get(cx, here.blobs, id, 1, &s);
    if (e == ERR_NONE)
        spool_close(s);
    else
        assert_int_equal(e, ERR_NOT_FOUND);
    ctx_clear(cx);
    return e == ERR_NONE;
}

/* ---- the folder ---- */

static void test_what_is_put_is_got(void **state)
{
    struct ctx *cx = &((struct fix *)*state)->cx;
    struct spool *in = spool_of(cx, "x"), *out;
    struct blob_id id = x_id("01");
    char got[2] = "";
    struct stat st;

    assert_ok(blob_put(cx, here.blobs, &id, in));
    assert_ok(blob_get(cx, here.blobs, &id, 1, &out));
    assert_int_equal(spool_size(out), 1);
    assert_int_equal(pread(spool_fd(out), got, 1, 0), 1);
    assert_string_equal(got, "x");
    struct str path = str_printf(&cx->arena, "%s/" TEAM "/2d/" SHA_OF_X "-01", here.dir);
    assert_int_equal(stat(path.p, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    spool_close(in);
    spool_close(out);
}

static void test_an_object_is_never_written_over(void **state)
{
    struct ctx *cx = &((struct fix *)*state)->cx;
    struct spool *in = spool_of(cx, "x");
    struct blob_id id = x_id("01");

    assert_ok(blob_put(cx, here.blobs, &id, in));
    assert_fails(blob_put(cx, here.blobs, &id, in), ERR_UNAVAILABLE);
    assert_true(exists(cx, &id));
    spool_close(in);
}

static void test_what_is_not_there_or_of_another_size_is_told(void **state)
{
    struct ctx *cx = &((struct fix *)*state)->cx;
    struct spool *in = spool_of(cx, "x"), *out = NULL;
    struct blob_id id = x_id("01"), other = x_id("02");

    assert_ok(blob_put(cx, here.blobs, &id, in));
    assert_fails(blob_get(cx, here.blobs, &other, 1, &out), ERR_NOT_FOUND);
    assert_fails(blob_get(cx, here.blobs, &id, 2, &out), ERR_UNAVAILABLE);
    assert_ok(blob_drop(cx, here.blobs, &other));
    assert_ok(blob_drop(cx, here.blobs, &id));
    assert_ok(blob_drop(cx, here.blobs, &id));
    assert_false(exists(cx, &id));
    spool_close(in);
}

static void test_a_folder_that_cannot_be_is_named(void **state)
{
    struct ctx *cx = &((struct fix *)*state)->cx;
    struct blobs_conf bad = { .dir = STR("/proc/none/at/all") }, none = { .dir = STR_NONE };
    struct blobs *b = here.blobs;

    assert_int_equal(blobs_open(cx, &bad, &b), ERR_USAGE);
    assert_true(str_starts(cx->err_text, STR("attachment_dir")));
    ctx_clear(cx);
    assert_ok(blobs_open(cx, &none, &b));
    assert_null(b);
}

/* ---- attachments ---- */

static enum err_code make_unit(struct ctx *cx, struct db *db, void *arg)
{
    *(struct ticket *)arg = ticket_made(cx, db, &alice, "with files");
    return ERR_NONE;
}

static struct ticket new_ticket(struct fix *f)
{
    struct ticket t;
    assert_int_equal(store_tx(&f->cx, f->s, make_unit, &t), ERR_NONE);
    return t;
}

static enum err_code add(struct fix *f, struct str ticket_id, const char *text,
                         struct attachment *out)
{
    struct attachment_query query = { .name = STR_NONE };
    struct spool *content = spool_of(&f->cx, text);
    struct attachment_add in = { .store = f->s,
                                 .blobs = here.blobs,
                                 .who = &alice,
                                 .ticket_id = ticket_id,
                                 .query = &query,
                                 .media_type = STR("text/plain"),
                                 .content = content };
    enum err_code e = attachment_add(&f->cx, &in, out);
    spool_close(content);
    return e;
}

static enum err_code delete_unit(struct ctx *cx, struct db *db, void *arg)
{
    caller_scope(db, &alice);
    return attachment_delete(cx, db, &alice, ((const struct attachment *)arg)->id);
}

static int64_t sweep(struct fix *f, int64_t ahead_ms)
{
    int64_t gone = -1;
    assert_int_equal(blobs_sweep(&f->cx, here.blobs, f->s, clock_ms() + ahead_ms, &gone), ERR_NONE);
    return gone;
}

static int64_t count(struct fix *f, const char *table)
{
    struct str sql = str_printf(&f->cx.arena, "SELECT count(*) AS n FROM %s", table);
    return number(f, sql.p);
}

static void test_an_upload_leaves_no_note(void **state)
{
    struct fix *f = *state;
    struct attachment a;

    assert_int_equal(add(f, new_ticket(f).id, "x", &a), ERR_NONE);
    assert_true(str_eq(a.sha256, STR(SHA_OF_X)));
    assert_int_equal(count(f, "blob"), 1);
    assert_int_equal(count(f, "blob_loose"), 0);
    assert_int_equal(sweep(f, DAYS_AHEAD), 0);
    assert_int_equal(clear_dir(here.dir, 2), 1);
}

static void test_the_last_attachment_takes_the_object_with_it(void **state)
{
    struct fix *f = *state;
    struct str ticket_id = new_ticket(f).id;
    struct attachment a, b;

    assert_int_equal(add(f, ticket_id, "x", &a), ERR_NONE);
    assert_int_equal(add(f, ticket_id, "x", &b), ERR_NONE);
    assert_int_equal(count(f, "blob"), 1);
    assert_int_equal(store_tx(&f->cx, f->s, delete_unit, &a), ERR_NONE);
    assert_int_equal(count(f, "blob"), 1);
    assert_int_equal(sweep(f, DAYS_AHEAD), 0);
    assert_int_equal(store_tx(&f->cx, f->s, delete_unit, &b), ERR_NONE);
    assert_int_equal(count(f, "blob"), 0);
    assert_int_equal(sweep(f, 0), 1);
    assert_int_equal(count(f, "blob_loose"), 0);
    assert_int_equal(clear_dir(here.dir, 2), 0);
}

/* The process died after the object was written and before the commit. */
static void test_what_a_crash_left_is_swept_after_an_hour(void **state)
{
    struct fix *f = *state;
    struct spool *in = spool_of(&f->cx, "x");
    struct blob_id id = x_id("01");
    struct str sql = str_printf(&f->cx.arena,
                                "INSERT INTO blob_loose (team_id, sha256, nonce, due_ms, is_taken) "
                                "VALUES ('" TEAM "', '" SHA_OF_X "', '01', %lld, 0)",
                                (long long)clock_ms() + BLOB_LOOSE_MS);

    assert_int_equal(exec(f, sql.p), ERR_NONE);
    assert_int_equal(blob_put(&f->cx, here.blobs, &id, in), ERR_NONE);
    assert_int_equal(sweep(f, BLOB_LOOSE_MS / 2), 0);
    assert_true(exists(&f->cx, &id));
    assert_int_equal(sweep(f, BLOB_LOOSE_MS * 2), 1);
    assert_false(exists(&f->cx, &id));
    assert_int_equal(count(f, "blob_loose"), 0);
    spool_close(in);
}

/* The sweep died between taking the note and removing the object: the next one does it. */
static void test_a_taken_note_is_taken_again(void **state)
{
    struct fix *f = *state;

    assert_int_equal(exec(f, "INSERT INTO blob_loose (team_id, sha256, nonce, due_ms, is_taken) "
                             "VALUES ('" TEAM "', '" SHA_OF_X "', '01', 1, 1)"),
                     ERR_NONE);
    assert_int_equal(sweep(f, 0), 1);
    assert_int_equal(count(f, "blob_loose"), 0);
}

/* An upload so slow that its note was taken meanwhile must not commit: its object goes. */
static void test_an_upload_whose_note_was_taken_fails(void **state)
{
    struct fix *f = *state;
    struct str ticket_id = new_ticket(f).id;
    struct attachment a;

    assert_int_equal(exec(f, "CREATE TRIGGER taken AFTER INSERT ON blob_loose BEGIN UPDATE "
                             "blob_loose SET is_taken = 1; END"),
                     ERR_NONE);
    assert_int_equal(add(f, ticket_id, "x", &a), ERR_UNAVAILABLE);
    ctx_clear(&f->cx);
    assert_int_equal(count(f, "attachment"), 0);
    assert_int_equal(count(f, "blob"), 0);
    assert_int_equal(count(f, "blob_loose"), 1);
    assert_int_equal(sweep(f, DAYS_AHEAD), 1);
    assert_int_equal(clear_dir(here.dir, 2), 0);
}

static void test_a_folder_that_fails_leaves_neither_row_nor_object(void **state)
{
    struct fix *f = *state;
    struct str ticket_id = new_ticket(f).id;
    struct attachment a;

    clear_dir(here.dir, 2);
    assert_int_equal(add(f, ticket_id, "x", &a), ERR_UNAVAILABLE);
    ctx_clear(&f->cx);
    assert_int_equal(count(f, "attachment"), 0);
    assert_int_equal(count(f, "blob"), 0);
    assert_int_equal(sweep(f, DAYS_AHEAD), 1);
}

/* ---- what may be attached, and as what it is sent ---- */

UNIT_TEST(test_media_types)
{
    static const struct {
        const char *header, *allowed, *want; /* want NULL: refused */
    } cases[] = {
        { NULL, NULL, "application/octet-stream" },
        { "Image/PNG; x=y", NULL, "image/png" },
        { "text/plain", "", "text/plain" },
        { "image/png", "image/*", "image/png" },
        { "image/png", "text/plain, IMAGE/png ", "image/png" },
        { "image/png", "image/jpeg", NULL },
        { "imagex/png", "image/*", NULL },
        { "text/html", "*", NULL },
        { "text", NULL, NULL },
        { "text/", NULL, NULL },
        { "te xt/plain", NULL, NULL },
        { "a/b/c", NULL, NULL },
        { "", NULL, NULL },
    };
    (void)db;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct str out = STR_NONE;
        enum err_code e =
            attachment_type(cx, str_of(cases[i].header), str_of(cases[i].allowed), &out);
        assert_int_equal(e, cases[i].want ? ERR_NONE : ERR_UNSUPPORTED_MEDIA);
        assert_true(str_eq(out, cases[i].want ? str_of(cases[i].want) : STR_NONE));
        ctx_clear(cx);
    }
    assert_string_equal(attachment_shown_type(cx, STR("image/svg+xml")),
                        "application/octet-stream");
    assert_string_equal(attachment_shown_type(cx, STR("text/html")), "application/octet-stream");
    assert_string_equal(attachment_shown_type(cx, STR("application/pdf")), "application/pdf");
}

#define TP(name) cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TP(test_what_is_put_is_got),
        TP(test_an_object_is_never_written_over),
        TP(test_what_is_not_there_or_of_another_size_is_told),
        TP(test_a_folder_that_cannot_be_is_named),
        TP(test_an_upload_leaves_no_note),
        TP(test_the_last_attachment_takes_the_object_with_it),
        TP(test_what_a_crash_left_is_swept_after_an_hour),
        TP(test_a_taken_note_is_taken_again),
        TP(test_an_upload_whose_note_was_taken_fails),
        TP(test_a_folder_that_fails_leaves_neither_row_nor_object),
        TC(test_media_types),
    };
    crypt_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
