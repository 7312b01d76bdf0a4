/* Mail: reset links and invitations, reports, reminders; by libcurl to one configured server.
 *
 * Two ways. Requests only put an order into a short queue (mailer_post), since sending takes seconds
 * and must not show in the time of an answer; one thread writes the mail of each and sends it, once.
 * What fails is logged and not tried again: the user asks again. What waits at the stop is dropped.
 * Jobs send by themselves (mailer_send): their queue tries again.
 *
 * Mails are plain text in UTF-8, with one file where there is one. Recipients must have passed
 * user_check_email; line ends in other texts cannot leave their header. */
#ifndef TESSERA_CORE_PEOPLE_MAIL_H
#define TESSERA_CORE_PEOPLE_MAIL_H

#include "../../base/spool.h"

#define MAIL_QUEUE_MAX 256
#define MAIL_TO_MAX 254
#define MAIL_NOTE_MAX 1024
#define MAIL_TEXT_MAX ((size_t)16 << 10)
#define MAIL_SUBJECT_MAX 400 /* bytes; the rest is left out */

struct mail {
    struct str to, subject, text; /* text: lines end in \n */
};
struct mail_file {       /* what is attached */
    struct spool *spool; /* finished; stays the caller's */
    struct str name;     /* any text; with its ending */
    const char *media;   /* "text/csv" */
};
/* The whole message as it is sent: headers and body, CRLF. Lives in cx. */
struct str mail_message(struct ctx *cx, struct str from, const struct mail *mail, int64_t now_ms);
/* What is sent before and after the file, which goes between them in base64 (mail_encode). */
struct mail_frame {
    struct str head, tail;
};
struct mail_frame mail_frame(struct ctx *cx, struct str from, const struct mail *mail,
                             const struct mail_file *file, int64_t now_ms);
/* Appends base64 in lines of 76 characters. Pieces of a file must be multiples of MAIL_LINE_BYTES but
 * the last. */
#define MAIL_LINE_BYTES 57
void mail_encode(struct buf *b, struct str bytes);

struct mail_conf {   /* the texts must outlive the mailer */
    struct str url;  /* smtp://host:port or smtps://host:port; n == 0: nothing is mailed */
    struct str from; /* address */
    struct str user, password;
    struct str public_url; /* where links lead; needed with url */
};
struct mailer;
/* USAGE names the setting. *out = NULL without a url. */
enum err_code mailer_open(struct ctx *cx, const struct mail_conf *conf, struct mailer **out);
void mailer_start(struct mailer *m); /* its thread; NULL is fine */
void mailer_close(struct mailer *m); /* ends it, a mail on its way included; NULL is fine */

/* Sends now, with a file or NULL. NOT_CONFIGURED: m is NULL. BAD_REQUEST: the mail server refused for
 * good (5xx). UNAVAILABLE: anything else, also the stop or deadline of cx. On a thread that may
 * block, outside a unit of work. */
enum err_code mailer_send(struct ctx *cx, const struct mailer *m, const struct mail *mail,
                          const struct mail_file *file);

struct mail_order {
    /* On the mailer's thread: fills *out (texts in cx). NOT_FOUND: there is nothing to send. */
    enum err_code (*write)(struct ctx *cx, const struct mail_order *order, struct mail *out);
    const void *arg; /* outlives the mailer */
    struct str to;   /* copied; at most MAIL_TO_MAX bytes */
    struct str note; /* copied; at most MAIL_NOTE_MAX bytes */
};
/* False when there is no mailer, the queue is full or a text is too long. Any thread, at once. */
bool mailer_post(struct mailer *m, const struct mail_order *order);

#endif
