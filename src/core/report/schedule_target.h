/* Where a scheduled report goes: the targets of a schedule.
 *
 *     [{"type": "email", "address": "zoe@acme.example"}, {"type": "webhook", "webhook_id": "…"}]
 *
 * A webhook of the team gets the event report.finished, which it must have subscribed to. Addresses of active members of the team may be given by everyone who may schedule; others by those
 * who may change the team (admins, owners, keys with admin:full), and they are marked. So nobody
 * else can send the team's figures away, and who leaves the team gets no more of them. */
#ifndef TESSERA_CORE_REPORT_SCHEDULE_TARGET_H
#define TESSERA_CORE_REPORT_SCHEDULE_TARGET_H

#include "../../store/db.h"
#include "../caller.h"

#define TARGET_MAILS_MAX 20
#define TARGET_WEBHOOKS_MAX 5
#define TARGETS_MAX (TARGET_MAILS_MAX + TARGET_WEBHOOKS_MAX)

struct target {
    struct rec_bits bits;
    struct str type, address, webhook_id;
    int64_t is_outside;
};
extern const struct rec rec_target, rec_target_new;
struct targets {
    size_t n;
    struct target v[TARGETS_MAX];
};

/* A list as it is stored or sent (sound by its table). */
void targets_read(struct ctx *cx, struct str json, struct targets *out);
/* Addresses as they are stored in report_schedule.recipients or sent as such; outside until checked. */
void targets_of_mails(struct ctx *cx, struct str json, struct targets *out);
/* Addresses in the place of those that are there; they come first. */
void targets_put_mails(struct ctx *cx, struct str json, struct targets *t);
/* Judges every target with the rights of *who, puts it into the form that is stored, marks what is
 * outside. INVALID_FIELD and MISSING_FIELD name the places: `list` is "deliveries" or "recipients". */
enum err_code targets_check(struct ctx *cx, struct db *db, const struct caller *who,
                            const char *list, struct targets *t);
/* What it is: the address, the id. */
struct str target_name(const struct target *t);
/* Whether the webhook of the team is there, enabled, and gets report.finished; else *why says what it
 * lacks. In any scope that sees the team. */
enum err_code target_webhook_is_fine(struct ctx *cx, struct db *db, struct str team_id,
                                     struct str id, bool *out, const char **why);
struct str targets_json(struct ctx *cx, const struct targets *t);
struct str targets_mails_json(struct ctx *cx, const struct targets *t);

#endif
