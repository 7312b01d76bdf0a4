/* Reminders of API keys that end: 7 days and 1 day before, to the owners and admins of the team by
 * mail and to its webhooks as api_key.expiring. Owner of table key_reminder.
 *
 * An hourly look finds keys that came into one of the two spans and, in one unit, notes them, writes
 * the event and adds a job of each owner and admin; the job sends one mail about all that waits for
 * that person. A row of key_reminder says what was told of which end of which key, so each is told
 * once however many nodes there are, and anew when the end is moved. Keys that live no longer than
 * the span are left out: who made them knows. A node that is killed between the mail server's yes
 * and its row sends that mail twice. */
#ifndef TESSERA_CORE_TOKEN_REMIND_H
#define TESSERA_CORE_TOKEN_REMIND_H

#include "job/job.h"

#define REMIND_PEOPLE_MAX 50 /* of one team */
#define REMIND_KEYS_MAX 200  /* in one mail */

struct mailer;
struct key_reminders {     /* what both kinds get */
    struct mailer *mailer; /* NULL: nothing is mailed, webhooks are told all the same */
    struct str public_url;
};
extern const struct job_kind key_remind_kind; /* api_key.remind, hourly */
extern const struct job_kind key_mail_kind;   /* api_key.mail: key = the user */

#endif
