/* Mails as text: headers that nothing can break out of, any script, line lengths. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours records an error */
#include <string.h>

#include "base/crypt.h"
#include "core/people/mail.h"

static struct ctx cx;

static int setup(void **state)
{
    (void)state;
    ctx_init(&cx, CTX_CAP_DEFAULT);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    ctx_done(&cx);
    return 0;
}

static const char *message(const char *subject, const char *text)
{
    struct mail mail = { STR("ann@example.com"), str_of(subject), str_of(text) };
    return str_cstr(&cx.arena, mail_message(&cx, STR("t@example.org"), &mail, 1700000000123));
}

static void test_the_headers_are_these(void **state)
{
    const char *m = message("Hello", "Body\n");
    (void)state;

    assert_ptr_equal(strstr(m, "Date: Tue, 14 Nov 2023 22:13:20 +0000\r\nMessage-ID: <"), m);
    assert_non_null(strstr(m, "@example.org>\r\nFrom: Tessera <t@example.org>\r\n"
                              "To: <ann@example.com>\r\nSubject: Hello\r\n"));
    assert_non_null(strstr(m, "\r\n\r\nQm9keQ0K\r\n")); /* "Body\r\n" */
}

static void test_a_subject_stays_in_its_line(void **state)
{
    const char *m = message("a\r\nBcc: evil@example.com\n\nx", "");
    (void)state;

    assert_null(strstr(m, "\nBcc"));
    assert_non_null(strstr(m, "Subject: a  Bcc: evil@example.com  x\r\n"));
}

static void test_other_scripts_are_encoded_words(void **state)
{
    (void)state;
    assert_non_null(strstr(message("J\xC3\xB6rg", ""), "Subject: =?UTF-8?B?SsO2cmc=?=\r\n"));
}

static void test_no_line_is_too_long(void **state)
{
    struct buf text;
    (void)state;
    buf_init(&text, &cx.arena, 65536);
    for (int i = 0; i < 300; i++)
        buf_lit(&text, "\xE6\xA0\xAA"); /* three bytes a character */
    const char *subject = str_cstr(&cx.arena, buf_view(&text));
    struct str rest = str_of(message(subject, subject));

    while (rest.p) {
        struct str line = str_cut(&rest, '\n');
        assert_true(line.n <= 79); /* with its CR */
        if (rest.p) {
            assert_true(line.n && line.p[line.n - 1] == '\r');
        }
    }
}

static void test_bytes_that_are_no_text_end_too(void **state)
{
    (void)state;
    assert_non_null(message("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80"
                            "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80"
                            "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80",
                            ""));
}

static void test_settings_are_judged(void **state)
{
    static const struct {
        const char *url, *from, *public_url;
        bool is_fine;
    } rows[] = {
        { "", "", "", true },
        { "smtp://127.0.0.1:25", "a@b", "http://x", true },
        { "smtps://mail.example.com:465", "a@b", "https://x", true },
        { "http://127.0.0.1", "a@b", "https://x", false },
        { "smtp://", "a@b", "https://x", false },
        { "smtp://user:pw@host", "a@b", "https://x", false },
        { "smtp://host", "", "https://x", false },
        { "smtp://host", "a", "https://x", false },
        { "smtp://host", "a@b", "", false },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct mail_conf conf = { .url = str_of(rows[i].url),
                                  .from = str_of(rows[i].from),
                                  .public_url = str_of(rows[i].public_url) };
        struct mailer *m = NULL;

        assert_int_equal(mailer_open(&cx, &conf, &m), rows[i].is_fine ? ERR_NONE : ERR_USAGE);
        assert_true(!m == !(rows[i].is_fine && *rows[i].url));
        mailer_close(m);
        ctx_clear(&cx);
    }
}

static enum err_code nothing(struct ctx *c, const struct mail_order *order, struct mail *out)
{
    (void)c, (void)order, (void)out;
    return ERR_NOT_FOUND;
}

static void test_the_queue_has_an_end(void **state)
{
    struct mail_conf conf = { .url = STR("smtp://127.0.0.1:1"),
                              .from = STR("a@b"),
                              .public_url = STR("https://x") };
    struct mail_order order = { .write = nothing, .to = STR("c@d") };
    char large[MAIL_NOTE_MAX + 1] = { 0 };
    struct mailer *m;
    (void)state;
    assert_int_equal(mailer_open(&cx, &conf, &m), ERR_NONE); /* no thread takes any out */

    for (int i = 0; i < MAIL_QUEUE_MAX; i++)
        assert_true(mailer_post(m, &order));
    assert_false(mailer_post(m, &order));
    assert_false(mailer_post(NULL, &order));
    order.note = (struct str){ large, sizeof large };
    assert_false(mailer_post(m, &order));
    mailer_close(m);
}

#define TM(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* ---- with a file ---- */

static struct mail_frame frame_of(const char *name)
{
    const struct mail mail = { STR("ann@example.com"), STR("Hello"), STR("Body\n") };
    const struct mail_file file = { .name = str_of(name), .media = "text/csv" };
    return mail_frame(&cx, STR("t@example.org"), &mail, &file, 1700000000123);
}

static void test_a_file_stands_between_two_marks(void **state)
{
    struct mail_frame f = frame_of("Week 1.csv");
    const char *head = str_cstr(&cx.arena, f.head), *tail = str_cstr(&cx.arena, f.tail);
    const char *mark = strstr(head, "boundary=\"");
    (void)state;

    assert_non_null(mark);
    struct str rest = str_of(mark + 10), name = str_cut(&rest, '"');
    assert_non_null(
        strstr(head, str_printf(&cx.arena, "\r\n\r\n--" STR_FMT "\r\nContent-Type: text/plain",
                                STR_ARG(name))
                         .p));
    assert_non_null(strstr(head, "Content-Type: text/csv\r\nContent-Disposition: attachment;\r\n"
                                 " filename=\"Week 1.csv\"\r\n"
                                 "Content-Transfer-Encoding: base64\r\n\r\n"));
    assert_string_equal(tail, str_printf(&cx.arena, "\r\n--" STR_FMT "--\r\n", STR_ARG(name)).p);
}

static void test_a_file_name_stays_in_its_line_in_any_script(void **state)
{
    (void)state;
    assert_non_null(strstr(frame_of("a\"\r\nBcc: x\xC3\xBC.csv").head.p,
                           " filename*=UTF-8''a%22%0D%0ABcc%3A%20x%C3%BC.csv\r\nContent-T"));
}

static void test_a_long_file_name_keeps_its_ending(void **state)
{
    struct buf name;
    (void)state;
    buf_init(&name, &cx.arena, 4096);
    for (int i = 0; i < 100; i++)
        buf_lit(&name, "\xE6\xA0\xAA");
    buf_lit(&name, ".xlsx");
    struct str rest = frame_of(str_cstr(&cx.arena, buf_view(&name))).head;

    assert_non_null(strstr(rest.p, "%E6%A0%AA.xlsx\r\n"));
    while (rest.p)
        assert_true(str_cut(&rest, '\n').n <= 300);
}

static void test_pieces_of_a_file_make_the_same_base64_as_the_whole(void **state)
{
    char raw[5 * MAIL_LINE_BYTES + 7];
    struct buf whole, pieces;
    (void)state;
    for (size_t i = 0; i < sizeof raw; i++)
        raw[i] = (char)(i * 7);
    buf_init(&whole, &cx.arena, 4096);
    buf_init(&pieces, &cx.arena, 4096);

    mail_encode(&whole, (struct str){ raw, sizeof raw });
    for (size_t i = 0; i < sizeof raw; i += 2 * MAIL_LINE_BYTES)
        mail_encode(&pieces, str_sub((struct str){ raw, sizeof raw }, i, 2 * MAIL_LINE_BYTES));

    assert_true(str_eq(buf_view(&whole), buf_view(&pieces)));
    assert_int_equal(whole.n, 5 * 78 + 12 + 2);
}

int main(void)
{
    crypt_init();
    const struct CMUnitTest tests[] = {
        TM(test_the_headers_are_these),
        TM(test_a_subject_stays_in_its_line),
        TM(test_other_scripts_are_encoded_words),
        TM(test_no_line_is_too_long),
        TM(test_bytes_that_are_no_text_end_too),
        TM(test_settings_are_judged),
        TM(test_the_queue_has_an_end),
        TM(test_a_file_stands_between_two_marks),
        TM(test_a_file_name_stays_in_its_line_in_any_script),
        TM(test_a_long_file_name_keeps_its_ending),
        TM(test_pieces_of_a_file_make_the_same_base64_as_the_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
