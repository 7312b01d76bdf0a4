/* Outside JWTs: see jwt.h.
 *
 * The refresh thread is the only one that fetches; it swaps the whole set under a lock that readers
 * hold while they check one signature. A set that cannot be read or has no usable key changes
 * nothing: the old keys stay. */
#include "jwt.h"

#include <curl/curl.h>
#include <pthread.h>
#include <rhonabwy.h>
#include <string.h>
#include <time.h>

#include "../../base/clock.h"
#include "../../base/crypt.h"
#include "../../base/json.h"
#include "../../base/log.h"
#include "jwks.h"

#define OWN_CAP ((size_t)64 << 10)
#define SECRET_MIN 32
#define TOKEN_MAX ((size_t)8 << 10)
#define SUBJECT_MAX 255
#define EMAIL_MAX 254
#define NAME_MAX_CHARS 200
#define REFRESH_US ((int64_t)300 * 1000000)
#define RETRY_US ((int64_t)10 * 1000000) /* after a failure, and between two wishes */

struct jwt {
    struct arena arena; /* of this */
    struct jwt_conf conf;
    struct egress *egress; /* to an address; NULL with a file or a secret */
    pthread_rwlock_t keys_lock;
    struct jwks *keys; /* under keys_lock; NULL until the first was read, and with a secret */
    pthread_mutex_t lock;
    pthread_cond_t wake; /* monotonic clock */
    bool is_wanted;      /* under lock: a token named a key that is not in the set */
    atomic_int stop;
    bool has_thread;
    pthread_t thread;
};

/* ---- the key set ---- */

static enum err_code refresh(struct ctx *cx, struct jwt *j)
{
    struct str text;
    struct jwks *set = NULL;
    enum err_code e = jwks_load(cx, j->egress, j->conf.jwks, &text);
    if (!e)
        e = jwks_parse(cx, text, &set);
    if (e)
        return e;
    pthread_rwlock_wrlock(&j->keys_lock);
    struct jwks *old = j->keys;
    j->keys = set;
    pthread_rwlock_unlock(&j->keys_lock);
    log_info(NULL, old ? "jwt.keys_again" : "jwt.keys_read", KVI("keys", (int64_t)jwks_count(set)));
    jwks_free(old);
    return ERR_NONE;
}

static bool refresh_logged(struct jwt *j)
{
    struct ctx cx;
    ctx_init(&cx, CTX_CAP_DEFAULT);
    cx.stop = &j->stop;
    enum err_code e = refresh(&cx, j);
    if (e && !atomic_load(&j->stop))
        log_warn(NULL, "jwt.keys_failed", KVS("source", j->conf.jwks), KVS("why", cx.err_text));
    ctx_done(&cx);
    return !e;
}

/* Until `until_us`, a wish that may be followed from `wish_us` on, or the end. */
static void wait_for_work(struct jwt *j, int64_t until_us, int64_t wish_us)
{
    pthread_mutex_lock(&j->lock);
    for (;;) {
        int64_t end = j->is_wanted && wish_us < until_us ? wish_us : until_us;
        if (atomic_load(&j->stop) || clock_mono_us() >= end)
            break;
        struct timespec at = { .tv_sec = (time_t)(end / 1000000),
                               .tv_nsec = (long)(end % 1000000) * 1000 };
        pthread_cond_timedwait(&j->wake, &j->lock, &at);
    }
    pthread_mutex_unlock(&j->lock);
}

/* Was there a wish? It is taken. */
static bool take_wish(struct jwt *j)
{
    pthread_mutex_lock(&j->lock);
    bool was = j->is_wanted;
    j->is_wanted = false;
    pthread_mutex_unlock(&j->lock);
    return was;
}

static void *refresh_thread(void *arg)
{
    struct jwt *j = arg;
    int64_t next_us = jwks_source_is_remote(j->conf.jwks) ? 0 : clock_mono_us() + REFRESH_US;
    int64_t wish_us = 0;
    for (;;) {
        wait_for_work(j, next_us, wish_us);
        if (atomic_load(&j->stop))
            return NULL;
        if (take_wish(j))
            wish_us = clock_mono_us() + RETRY_US;
        bool is_fine = refresh_logged(j);
        next_us = clock_mono_us() + (is_fine ? REFRESH_US : RETRY_US);
    }
}

static void wish(struct jwt *j)
{
    pthread_mutex_lock(&j->lock);
    j->is_wanted = true;
    pthread_cond_signal(&j->wake);
    pthread_mutex_unlock(&j->lock);
}

/* ---- opening and closing ---- */

static enum err_code conf_check(struct ctx *cx, const struct jwt_conf *c)
{
    if (!c->audience.n)
        return fail(cx, USAGE, "jwt_audience is needed with jwt_issuer");
    if (c->secret.n && c->jwks.n)
        return fail(cx, USAGE, "jwt_secret and jwt_jwks exclude each other: HS256 or a key set");
    if (!c->secret.n && !c->jwks.n)
        return fail(cx, USAGE, "jwt_issuer needs jwt_secret or jwt_jwks");
    if (c->secret.n && c->secret.n < SECRET_MIN)
        return fail(cx, USAGE, "jwt_secret must have at least %d bytes", SECRET_MIN);
    if (str_starts(str_trim(c->secret), STR("-----BEGIN")))
        return fail(cx, USAGE, "jwt_secret is a PEM key; public keys belong into jwt_jwks");
    return c->jwks.n ? jwks_source_check(cx, c->jwks) : ERR_NONE;
}

enum err_code jwt_open(struct ctx *cx, const struct jwt_conf *conf, struct jwt **out)
{
    pthread_condattr_t attr;
    if (!conf->issuer.n) {
        if (conf->audience.n || conf->secret.n || conf->jwks.n)
            return fail(cx, USAGE, "jwt_issuer is needed with jwt_audience, jwt_secret, jwt_jwks");
        *out = NULL;
        return ERR_NONE;
    }
    enum err_code e = conf_check(cx, conf);
    if (e)
        return e;
    struct arena own;
    arena_init(&own, OWN_CAP);
    struct jwt *j = ARENA_NEW(&own, struct jwt);
    j->arena = own;
    BUG_IF(curl_global_init(CURL_GLOBAL_DEFAULT) || r_global_init() != RHN_OK);
    j->conf = *conf;
    BUG_IF(pthread_rwlock_init(&j->keys_lock, NULL) || pthread_mutex_init(&j->lock, NULL) ||
           pthread_condattr_init(&attr) || pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) ||
           pthread_cond_init(&j->wake, &attr));
    pthread_condattr_destroy(&attr);
    *out = j;
    return ERR_NONE;
}

void jwt_use_egress(struct jwt *j, struct egress *eg)
{
    if (j)
        j->egress = eg;
}

enum err_code jwt_start(struct ctx *cx, struct jwt *j)
{
    enum err_code e = ERR_NONE;
    if (!j || !j->conf.jwks.n)
        return e;
    if (!jwks_source_is_remote(j->conf.jwks))
        e = refresh(cx, j);
    if (e) {
        struct str why = cx->err_text;
        ctx_clear(cx);
        return fail(cx, USAGE, "jwt_jwks: " STR_FMT, STR_ARG(why));
    }
    if (pthread_create(&j->thread, NULL, refresh_thread, j))
        return fail(cx, UNAVAILABLE, "no thread for the key set");
    j->has_thread = true;
    return ERR_NONE;
}

void jwt_close(struct jwt *j)
{
    if (!j)
        return;
    atomic_store(&j->stop, 1);
    pthread_mutex_lock(&j->lock);
    pthread_cond_signal(&j->wake);
    pthread_mutex_unlock(&j->lock);
    if (j->has_thread)
        pthread_join(j->thread, NULL);
    jwks_free(j->keys);
    pthread_cond_destroy(&j->wake);
    pthread_mutex_destroy(&j->lock);
    pthread_rwlock_destroy(&j->keys_lock);
    r_global_close();
    curl_global_cleanup();
    struct arena own = j->arena;
    arena_done(&own);
}

/* ---- one token ---- */

static bool is_base64url(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
              c == '-' || c == '_'))
            return false;
    }
    return s.n > 0;
}

struct parts {
    struct str header, payload, signature;
};

static bool split(struct str token, struct parts *out)
{
    struct str rest = token;
    out->header = str_cut(&rest, '.');
    out->payload = rest.p ? str_cut(&rest, '.') : STR_NONE;
    out->signature = rest;
    return is_base64url(out->header) && is_base64url(out->payload) && is_base64url(out->signature);
}

bool jwt_is_like(struct str token)
{
    struct parts p;
    return str_starts(token, STR("eyJ")) && split(token, &p);
}

static json_t *read_part(struct ctx *cx, struct str part)
{
    unsigned char *raw = arena_alloc(&cx->arena, part.n);
    size_t n;
    if (!base64url_parse(part, raw, part.n, &n))
        return NULL;
    json_t *v = json_read(cx, (struct str){ (const char *)raw, n });
    if (!v)
        ctx_clear(cx);
    return json_is_object(v) ? v : NULL;
}

static struct str text_of(json_t *obj, const char *name)
{
    json_t *v = json_object_get(obj, name);
    return json_is_string(v) ? (struct str){ json_string_value(v), json_string_length(v) }
                             : STR_NONE;
}

static enum err_code check_header(struct ctx *cx, json_t *header)
{
    struct str typ = text_of(header, "typ");
    /* "zip" belongs to encrypted tokens; librhonabwy would unpack it before it looks at the signature,
     * which costs a hundred times as much as the signature. */
    if (json_object_get(header, "crit") || json_object_get(header, "zip"))
        return fail(cx, INVALID_TOKEN, "The token asks for extensions that are not known here");
    if (json_object_get(header, "typ") && !str_eq_nocase(typ, STR("JWT")) &&
        !str_eq_nocase(typ, STR("at+jwt")) && !str_eq_nocase(typ, STR("application/at+jwt")))
        return fail(cx, INVALID_TOKEN, "The token is not of a kind that signs in (typ)");
    return ERR_NONE;
}

static enum err_code check_secret(struct ctx *cx, const struct jwt *j, struct str alg,
                                  struct str token, struct str signature)
{
    unsigned char want[SHA256_LEN], got[SHA256_LEN];
    size_t n = 0;
    if (!str_eq(alg, STR("HS256")))
        return fail(cx, INVALID_TOKEN,
                    "The token's algorithm is not accepted here: HS256 alone is");
    crypt_hmac256(j->conf.secret, str_sub(token, 0, token.n - signature.n - 1), want);
    if (!base64url_parse(signature, got, sizeof got, &n) || n != sizeof got ||
        !crypt_equal(want, got, sizeof got))
        return fail(cx, INVALID_TOKEN, "The token's signature is wrong");
    return ERR_NONE;
}

static enum err_code check_keys(struct ctx *cx, struct jwt *j, json_t *header, struct str token)
{
    struct str alg = text_of(header, "alg"), kid = text_of(header, "kid");
    bool is_rsa = str_eq(alg, STR("RS256"));
    enum jwk_kind kind = is_rsa ? JWK_RSA : JWK_EC;
    if (!is_rsa && !str_eq(alg, STR("ES256")))
        return fail(cx, INVALID_TOKEN,
                    "The token's algorithm is not accepted here: RS256 and ES256 alone are");
    if (json_object_get(header, "kid") && !kid.p)
        return fail(cx, INVALID_TOKEN, "The token is malformed (kid)");
    pthread_rwlock_rdlock(&j->keys_lock);
    bool is_there = j->keys != NULL, is_known = is_there && jwks_knows(j->keys, kind, kid);
    bool is_right = is_known && jwks_verify(j->keys, kind, kid, token);
    pthread_rwlock_unlock(&j->keys_lock);
    if (!is_there)
        return fail(cx, UNAVAILABLE, "The issuer's keys could not be read yet; try again");
    if (!is_known) {
        wish(j);
        return fail(cx, INVALID_TOKEN, "The token is signed by a key that is not known (yet)");
    }
    return is_right ? ERR_NONE : fail(cx, INVALID_TOKEN, "The token's signature is wrong");
}

static bool has_audience(json_t *claims, struct str audience)
{
    json_t *aud = json_object_get(claims, "aud"), *one;
    size_t i;
    if (json_is_string(aud))
        return str_eq(text_of(claims, "aud"), audience);
    json_array_foreach(aud, i, one)
        if (json_is_string(one) &&
            str_eq((struct str){ json_string_value(one), json_string_length(one) }, audience))
            return true;
    return false;
}

static enum err_code check_times(struct ctx *cx, const struct jwt *j, json_t *claims)
{
    json_t *exp = json_object_get(claims, "exp"), *nbf = json_object_get(claims, "nbf");
    json_t *iat = json_object_get(claims, "iat");
    double now = (double)clock_ms() / 1000, skew = (double)j->conf.skew_s;
    if (!json_is_number(exp))
        return fail(cx, INVALID_TOKEN, "The token does not say when it expires (exp)");
    if (now >= json_number_value(exp) + skew)
        return fail(cx, INVALID_TOKEN, "The token has expired");
    if ((nbf && !json_is_number(nbf)) || (iat && !json_is_number(iat)))
        return fail(cx, INVALID_TOKEN, "The token is malformed (nbf, iat)");
    if (nbf && json_number_value(nbf) > now + skew)
        return fail(cx, INVALID_TOKEN, "The token is not valid yet (nbf)");
    if (iat && json_number_value(iat) > now + skew)
        return fail(cx, INVALID_TOKEN, "The token was issued in the future (iat)");
    return ERR_NONE;
}

/* A name to show: the standard claim, or where Supabase has it; control characters end it. */
static struct str name_of(json_t *claims)
{
    json_t *meta = json_object_get(claims, "user_metadata");
    struct str s = text_of(claims, "name");
    if (!s.n)
        s = text_of(meta, "full_name");
    if (!s.n)
        s = text_of(meta, "name");
    s = str_trim(s);
    size_t n = 0, chars = 0;
    for (; n < s.n && (unsigned char)s.p[n] >= ' ' && s.p[n] != 0x7f; n++)
        if (((unsigned char)s.p[n] & 0xc0) != 0x80 && ++chars > NAME_MAX_CHARS)
            break;
    return n ? (struct str){ s.p, n } : STR_NONE;
}

static bool is_address(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= ' ' || s.p[i] == 0x7f)
            return false;
    return s.n <= EMAIL_MAX && s.n >= 3 && memchr(s.p + 1, '@', s.n - 2);
}

static enum err_code read_claims(struct ctx *cx, const struct jwt *j, json_t *claims,
                                 struct jwt_claims *out)
{
    struct str subject = text_of(claims, "sub"), email = text_of(claims, "email");
    if (!str_eq(text_of(claims, "iss"), j->conf.issuer))
        return fail(cx, INVALID_TOKEN, "The token is of another issuer (iss)");
    if (!has_audience(claims, j->conf.audience))
        return fail(cx, INVALID_TOKEN, "The token is meant for somebody else (aud)");
    enum err_code e = check_times(cx, j, claims);
    if (e)
        return e;
    if (!subject.n || subject.n > SUBJECT_MAX)
        return fail(cx, INVALID_TOKEN, "The token names no user (sub)");
    *out = (struct jwt_claims){ .issuer = j->conf.issuer,
                                .subject = subject,
                                .name = name_of(claims) };
    if (is_address(email)) {
        out->email = email;
        out->email_is_verified =
            j->conf.trusts_email || json_is_true(json_object_get(claims, "email_verified"));
    }
    return ERR_NONE;
}

enum err_code jwt_verify(struct ctx *cx, struct jwt *j, struct str token, struct jwt_claims *out)
{
    struct parts p;
    if (token.n > TOKEN_MAX)
        return fail(cx, INVALID_TOKEN, "The token is longer than %zu bytes", TOKEN_MAX);
    json_t *header = split(token, &p) ? read_part(cx, p.header) : NULL;
    if (!header)
        return fail(cx, INVALID_TOKEN, "The token is malformed");
    enum err_code e = check_header(cx, header);
    if (!e && j->conf.secret.n)
        e = check_secret(cx, j, text_of(header, "alg"), token, p.signature);
    else if (!e)
        e = check_keys(cx, j, header, token);
    if (e)
        return e;
    json_t *claims = read_part(cx, p.payload);
    if (!claims)
        return fail(cx, INVALID_TOKEN, "The token is malformed");
    return read_claims(cx, j, claims, out);
}
