/* The second factor: see totp.h. */
#include "totp.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#include "../../base/clock.h"
#include "../../base/json.h"
#include "../vault/vault.h"
#include "user.h"

#define SECRET_TEXT (TOTP_SECRET_LEN * 8 / 5) /* base32 digits */
#define CODE_CHARS 10                         /* of a recovery code, 5 bits each */

static const char base32[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"; /* RFC 4648 §6 */
/* Recovery codes leave out what is easily misread: 0 and o, 1 and l. */
static const char code_digits[] = "23456789abcdefghijkmnpqrstuvwxyz";

static const struct field start_fields[] = {
    { "secret", F_STR, offsetof(struct totp_start, secret), 0, 0, 0, NULL,
      "The secret in base32, to be typed into an authenticator app", NULL },
    { "otpauth_url", F_STR, offsetof(struct totp_start, otpauth_url), 0, 0, 0, NULL,
      "The same as an address, to be shown as a QR code", NULL },
};
const struct rec rec_totp_start =
    REC("TotpStart", struct totp_start, start_fields, "A second factor that waits for its code.");
static const struct field codes_fields[] = {
    { "recovery_codes", F_STRS, offsetof(struct recovery_codes, recovery_codes), 0, 0, 0, NULL,
      "Codes that work once each in place of a code; shown only now", NULL },
};
const struct rec rec_recovery_codes =
    REC("RecoveryCodes", struct recovery_codes, codes_fields, "A new set of recovery codes.");

struct totp_row {
    struct rec_bits bits;
    struct str totp_secret;
    int64_t totp_step;
};
static const struct field row_fields[] = {
    { .name = "totp_secret", .type = F_STR, .offset = offsetof(struct totp_row, totp_secret) },
    { .name = "totp_step", .type = F_INT, .offset = offsetof(struct totp_row, totp_step) },
};
static const struct rec rec_row = REC("TotpRow", struct totp_row, row_fields, "A stored secret.");

/* ---- codes ---- */

void totp_code(struct str secret, int64_t step, char out[TOTP_DIGITS + 1])
{
    unsigned char counter[8], mac[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    for (int i = 0; i < 8; i++)
        counter[i] = (unsigned char)((uint64_t)step >> (56 - 8 * i));
    BUG_IF(!HMAC(EVP_sha1(), secret.p, (int)secret.n, counter, sizeof counter, mac, &n) || n != 20);
    int at = mac[19] & 15; /* dynamic truncation */
    uint32_t v = ((uint32_t)(mac[at] & 0x7f) << 24) | ((uint32_t)mac[at + 1] << 16) |
                 ((uint32_t)mac[at + 2] << 8) | mac[at + 3];
    for (int i = TOTP_DIGITS; i > 0; i--, v /= 10)
        out[i - 1] = (char)('0' + v % 10);
    out[TOTP_DIGITS] = 0;
}

/* The step whose code this is, one before and one after now taken too (RFC 6238 §5.2); 0 = none.
 * The newest first, so that a code is never remembered as older than it is. */
static int64_t matching_step(struct str secret, struct str code)
{
    int64_t now = clock_ms() / 1000 / TOTP_STEP_S, found = 0;
    char want[TOTP_DIGITS + 1];
    if (code.n != TOTP_DIGITS)
        return 0;
    for (int64_t step = now - 1; step <= now + 1; step++) {
        totp_code(secret, step, want);
        if (crypt_equal(want, code.p, TOTP_DIGITS))
            found = step;
    }
    return found;
}

static struct str base32_of(struct arena *a, const unsigned char *p, size_t n)
{
    char *out = arena_zalloc(a, n * 8 / 5 + 1);
    for (size_t i = 0; i < n * 8 / 5; i++) {
        size_t bit = i * 5, at = bit / 8;
        unsigned two = (unsigned)p[at] << 8 | (at + 1 < n ? p[at + 1] : 0);
        out[i] = base32[two >> (11 - bit % 8) & 31];
    }
    return str_of(out);
}

static struct vault_place secret_place(const char *table, const char *column, struct str user_id)
{
    return (struct vault_place){ table, column, STR_NONE, user_id };
}

/* ---- checking ---- */

/* NOT_FOUND (unrecorded) when the user has no second factor. */
static enum err_code read_secret(struct ctx *cx, struct db *db, struct str user_id, struct str *out)
{
    struct totp_row row;
    struct vault_place at = secret_place("app_user", "totp_secret", user_id);
    db_scope_system(db);
    enum err_code e = db_one(cx, db, &rec_row,
                             "SELECT totp_secret, 0 AS totp_step FROM app_user WHERE id = $1 AND "
                             "totp_secret IS NOT NULL",
                             ARGS(VT(user_id)), &row);
    return e ? e : vault_open(cx, db, &at, row.totp_secret, out);
}

enum err_code totp_check(struct ctx *cx, struct db *db, struct str user_id, struct str code,
                         bool *ok)
{
    struct str secret;
    struct rec_num done;
    enum err_code e = read_secret(cx, db, user_id, &secret);
    if (e == ERR_NOT_FOUND) {
        *ok = false;
        return ERR_NONE;
    }
    if (e)
        return e;
    int64_t step = matching_step(secret, code);
    if (!step) {
        *ok = false;
        return ERR_NONE;
    }
    e = db_one(cx, db, &rec_num,
               "UPDATE app_user SET totp_step = $2 WHERE id = $1 AND totp_secret IS NOT NULL AND "
               "COALESCE(totp_step, 0) < $2 RETURNING 1 AS n",
               ARGS(VT(user_id), VI(step)), &done);
    if (e && e != ERR_NOT_FOUND)
        return e;
    *ok = !e;
    return ERR_NONE;
}

enum err_code totp_is_on(struct ctx *cx, struct db *db, struct str user_id, bool *on)
{
    struct rec_num found;
    db_scope_system(db);
    enum err_code e = db_one(
        cx, db, &rec_num, "SELECT 1 AS n FROM app_user WHERE id = $1 AND totp_secret IS NOT NULL",
        ARGS(VT(user_id)), &found);
    if (e && e != ERR_NOT_FOUND)
        return e;
    *on = !e;
    return ERR_NONE;
}

/* ---- recovery codes ---- */

static enum err_code code_hash(struct ctx *cx, struct str user_id, const char *plain,
                               struct str *out)
{
    unsigned char mac[SHA256_LEN];
    struct str text = str_printf(&cx->arena, STR_FMT "|%s", STR_ARG(user_id), plain);
    enum err_code e = vault_mac(cx, VAULT_RECOVERY, text, mac);
    if (!e)
        *out = hex_of(&cx->arena, mac, sizeof mac);
    return e;
}

enum err_code recovery_use(struct ctx *cx, struct db *db, struct str user_id, struct str code,
                           bool *ok)
{
    char plain[CODE_CHARS + 1];
    size_t n = 0;
    struct str hash;
    struct rec_num gone;
    bool is_long = false;
    for (size_t i = 0; i < code.n && !is_long; i++) {
        char c = code.p[i];
        if (c == '-' || c == ' ')
            continue;
        is_long = n == CODE_CHARS;
        if (!is_long)
            plain[n++] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
    }
    plain[n] = 0;
    if (is_long || n != CODE_CHARS || memchr(plain, 0, n)) {
        *ok = false;
        return ERR_NONE;
    }
    enum err_code e = code_hash(cx, user_id, plain, &hash);
    if (e)
        return e;
    db_scope_system(db);
    e = db_one(cx, db, &rec_num,
               "DELETE FROM recovery_code WHERE user_id = $1 AND code_hash = $2 RETURNING 1 AS n",
               ARGS(VT(user_id), VT(hash)), &gone);
    if (e && e != ERR_NOT_FOUND)
        return e;
    *ok = !e;
    return ERR_NONE;
}

/* "xxxxx-xxxxx"; *plain without the hyphen. */
static void code_make(char shown[CODE_CHARS + 2], char plain[CODE_CHARS + 1])
{
    unsigned char raw[CODE_CHARS];
    crypt_random(raw, sizeof raw);
    for (size_t i = 0; i < CODE_CHARS; i++) {
        plain[i] = code_digits[raw[i] & 31];
        shown[i + (i >= CODE_CHARS / 2)] = plain[i];
    }
    shown[CODE_CHARS / 2] = '-';
    shown[CODE_CHARS + 1] = plain[CODE_CHARS] = 0;
}

static enum err_code codes_replace(struct ctx *cx, struct db *db, struct str user_id,
                                   struct recovery_codes *out)
{
    struct buf list;
    char shown[CODE_CHARS + 2], plain[CODE_CHARS + 1];
    struct str hash;
    enum err_code e =
        db_run(cx, db, "DELETE FROM recovery_code WHERE user_id = $1", ARGS(VT(user_id)));
    buf_init(&list, &cx->arena, 1024);
    for (int i = 0; i < RECOVERY_CODES && !e; i++) {
        code_make(shown, plain);
        buf_printf(&list, "%s\"%s\"", i ? "," : "[", shown);
        e = code_hash(cx, user_id, plain, &hash);
        if (!e)
            e = db_run(cx, db,
                       "INSERT INTO recovery_code (user_id, code_hash, created_ms) "
                       "VALUES ($1, $2, $3)",
                       ARGS(VT(user_id), VT(hash), VI(clock_ms())));
    }
    if (e)
        return e;
    buf_char(&list, ']');
    *out = (struct recovery_codes){ .recovery_codes = buf_view(&list) };
    REC_SET(out, recovery_codes);
    return ERR_NONE;
}

/* ---- enrolling ---- */

static enum err_code must_have_password(struct ctx *cx, struct db *db, struct str user_id)
{
    struct user u;
    enum err_code e = user_by_id(cx, db, user_id, &u);
    if (e == ERR_NOT_FOUND)
        return ctx_fail_plain(cx, ERR_INVALID_TOKEN);
    if (!e && !u.password_hash.n)
        e = fail(cx, CONFLICT, "The account has no password that a second factor would guard");
    return e;
}

static enum err_code audit_user(struct ctx *cx, struct db *db, const struct caller *who,
                                struct str user_id, const char *action)
{
    return user_audit(cx, db, who, &(struct user_event){ .action = action, .user_id = user_id });
}

static enum err_code must_be_off(struct ctx *cx, struct db *db, struct str user_id)
{
    bool on = false;
    enum err_code e = totp_is_on(cx, db, user_id, &on);
    if (e || !on)
        return e;
    return fail(cx, CONFLICT, "The second factor is on already; switch it off first");
}

static struct str account_url(struct ctx *cx, struct str email, struct str secret)
{
    struct buf b;
    buf_init(&b, &cx->arena, 4096);
    buf_lit(&b, "otpauth://totp/Tessera:");
    for (size_t i = 0; i < email.n; i++) {
        unsigned char c = (unsigned char)email.p[i];
        bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                        (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_' || c == '~';
        buf_printf(&b, is_plain ? "%c" : "%%%02X", c);
    }
    buf_printf(&b, "?secret=" STR_FMT "&issuer=Tessera&algorithm=SHA1&digits=%d&period=%d",
               STR_ARG(secret), TOTP_DIGITS, TOTP_STEP_S);
    return buf_view(&b);
}

enum err_code totp_begin(struct ctx *cx, struct db *db, const struct caller *who,
                         struct totp_start *out)
{
    unsigned char raw[TOTP_SECRET_LEN];
    struct vault_place at = secret_place("totp_pending", "secret", who->user_id);
    struct str text;
    enum err_code e = vault_must_be_ready(cx);
    if (!e)
        e = must_be_off(cx, db, who->user_id);
    if (!e)
        e = must_have_password(cx, db, who->user_id);
    if (e)
        return e;
    crypt_random(raw, sizeof raw);
    e = vault_seal(cx, db, &at, (struct str){ (const char *)raw, sizeof raw }, &text);
    if (!e)
        e = db_run(cx, db,
                   "INSERT INTO totp_pending (user_id, secret, created_ms) VALUES ($1, $2, $3) "
                   "ON CONFLICT (user_id) DO UPDATE SET secret = excluded.secret, "
                   "created_ms = excluded.created_ms",
                   ARGS(VT(who->user_id), VT(text), VI(clock_ms())));
    if (e)
        return e;
    *out = (struct totp_start){ .secret = base32_of(&cx->arena, raw, sizeof raw) };
    out->otpauth_url = account_url(cx, who->user_email, out->secret);
    REC_SET(out, secret);
    REC_SET(out, otpauth_url);
    return ERR_NONE;
}

static enum err_code read_pending(struct ctx *cx, struct db *db, struct str user_id,
                                  struct str *secret)
{
    struct rec_text row;
    struct vault_place at = secret_place("totp_pending", "secret", user_id);
    enum err_code e =
        db_one(cx, db, &rec_text,
               "SELECT secret AS s FROM totp_pending WHERE user_id = $1 AND created_ms > $2",
               ARGS(VT(user_id), VI(clock_ms() - TOTP_PENDING_MS)), &row);
    if (e == ERR_NOT_FOUND)
        return fail(cx, CONFLICT, "No second factor was begun in the last 30 minutes; begin again");
    return e ? e : vault_open(cx, db, &at, row.s, secret);
}

/* The code that confirms is used up by it: its step is stored with the secret. */
static enum err_code switch_on(struct ctx *cx, struct db *db, struct str user_id, struct str secret,
                               int64_t step)
{
    struct vault_place at = secret_place("app_user", "totp_secret", user_id);
    struct str text;
    struct rec_num done;
    enum err_code e = vault_seal(cx, db, &at, secret, &text);
    if (!e)
        e = db_one(cx, db, &rec_num,
                   "UPDATE app_user SET totp_secret = $2, totp_step = $3 WHERE id = $1 AND "
                   "totp_secret IS NULL RETURNING 1 AS n",
                   ARGS(VT(user_id), VT(text), VI(step)), &done);
    if (e == ERR_NOT_FOUND)
        return fail(cx, CONFLICT, "The second factor is on already; switch it off first");
    return e ? e : db_run(cx, db, "DELETE FROM totp_pending WHERE user_id = $1", ARGS(VT(user_id)));
}

enum err_code totp_confirm(struct ctx *cx, struct db *db, const struct caller *who, struct str code,
                           bool *ok, struct recovery_codes *out)
{
    struct str secret;
    enum err_code e = must_be_off(cx, db, who->user_id);
    if (!e)
        e = read_pending(cx, db, who->user_id, &secret);
    if (e)
        return e;
    int64_t step = matching_step(secret, code);
    if (!step) {
        *ok = false;
        return ERR_NONE;
    }
    e = switch_on(cx, db, who->user_id, secret, step);
    if (!e)
        e = codes_replace(cx, db, who->user_id, out);
    if (!e)
        e = audit_user(cx, db, who, who->user_id, "user.totp_enable");
    if (!e)
        *ok = true;
    return e;
}

enum err_code totp_disable(struct ctx *cx, struct db *db, const struct caller *who,
                           struct str user_id)
{
    struct rec_num done;
    db_scope_system(db);
    enum err_code e = db_one(cx, db, &rec_num,
                             "UPDATE app_user SET totp_secret = NULL, totp_step = 0 WHERE id = $1 "
                             "AND totp_secret IS NOT NULL RETURNING 1 AS n",
                             ARGS(VT(user_id)), &done);
    if (e == ERR_NOT_FOUND)
        return fail(cx, CONFLICT, "The second factor is not on");
    if (!e)
        e = db_run(cx, db, "DELETE FROM recovery_code WHERE user_id = $1", ARGS(VT(user_id)));
    return e ? e : audit_user(cx, db, who, user_id, "user.totp_disable");
}

enum err_code recovery_renew(struct ctx *cx, struct db *db, const struct caller *who,
                             struct str code, bool *ok, struct recovery_codes *out)
{
    bool on = false, is_right = false;
    enum err_code e = totp_is_on(cx, db, who->user_id, &on);
    if (!e && !on)
        return fail(cx, CONFLICT, "The second factor is not on");
    if (!e)
        e = totp_check(cx, db, who->user_id, code, &is_right);
    if (!e && is_right)
        e = codes_replace(cx, db, who->user_id, out);
    if (!e && is_right)
        e = audit_user(cx, db, who, who->user_id, "user.recovery_codes_renew");
    if (!e)
        *ok = is_right;
    return e;
}
