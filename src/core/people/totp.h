/* The second factor: time-based codes (RFC 6238: SHA-1, 6 digits, 30 s) and recovery codes.
 * Owner of tables totp_pending and recovery_code and of app_user's columns totp_secret and
 * totp_step.
 *
 * Enrolling has two steps: totp_begin makes a secret that waits in totp_pending, totp_confirm takes
 * a code of it and only then switches the factor on. Secrets are sealed (core/vault/vault.h), recovery
 * codes are kept as keyed hashes and work once each. A code's step is remembered, so that neither
 * it nor an older one is taken again. Every function here sets the unit's scope to the system's;
 * the caller sets its own again. */
#ifndef TESSERA_CORE_PEOPLE_TOTP_H
#define TESSERA_CORE_PEOPLE_TOTP_H

#include "../../store/store.h"
#include "../caller.h"

#define TOTP_STEP_S 30
#define TOTP_DIGITS 6
#define TOTP_SECRET_LEN 20
#define TOTP_PENDING_MS ((int64_t)30 * 60 * 1000) /* a begun enrolment waits this long */
#define RECOVERY_CODES 10

/* The code of one step (RFC 4226 §5.3) as TOTP_DIGITS digits and a NUL. */
void totp_code(struct str secret, int64_t step, char out[TOTP_DIGITS + 1]);

/* For signing in; the first and the last need a write unit. *ok is false when the user has no
 * second factor or the code is wrong, used or not six digits. NOT_CONFIGURED when the secret cannot
 * be opened with this master key. */
enum err_code totp_check(struct ctx *cx, struct db *db, struct str user_id, struct str code,
                         bool *ok);
enum err_code totp_is_on(struct ctx *cx, struct db *db, struct str user_id, bool *on);
/* One of the recovery codes, in any case, with or without its hyphen; it is gone afterwards. */
enum err_code recovery_use(struct ctx *cx, struct db *db, struct str user_id, struct str code,
                           bool *ok);

struct totp_start {
    struct rec_bits bits;
    struct str secret;      /* base32 */
    struct str otpauth_url; /* for the QR code */
};
extern const struct rec rec_totp_start;
struct recovery_codes {
    struct rec_bits bits;
    struct str recovery_codes; /* JSON array of strings, shown once */
};
extern const struct rec rec_recovery_codes;

/* What follows is for the signed-in user `who`, in a write unit. */
/* NOT_CONFIGURED without a master key; CONFLICT when it is on already or the account has no password
 * (its sign-in is the outside issuer's, and so is its second factor). A second call replaces the
 * secret of the first. */
enum err_code totp_begin(struct ctx *cx, struct db *db, const struct caller *who,
                         struct totp_start *out);
/* *ok false: the code is wrong (nothing changed). CONFLICT: on already, or nothing was begun. */
enum err_code totp_confirm(struct ctx *cx, struct db *db, const struct caller *who, struct str code,
                           bool *ok, struct recovery_codes *out);
/* Off, with its recovery codes: the user's own, or by the command line for who lost both. CONFLICT
 * when it is not on. */
enum err_code totp_disable(struct ctx *cx, struct db *db, const struct caller *who,
                           struct str user_id);
/* A new set of recovery codes; the old ones end. `code` as in totp_check. CONFLICT when off. */
enum err_code recovery_renew(struct ctx *cx, struct db *db, const struct caller *who,
                             struct str code, bool *ok, struct recovery_codes *out);

#endif
