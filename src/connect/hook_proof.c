/* The proofs of webhooks: see hook_proof.h.
 *
 * The signature is judged before the time, so that who looks for a fault learns which of the two it
 * is. Signatures are compared as text, in constant time: what differs from the form that the sender
 * writes is refused, even if it means the same bytes. All live secrets are tried. */
#include "hook_proof.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "../base/crypt.h"
#include "hook_key.h"
#include "hook_mac.h"
#include "hook_scheme.h"

#define REASON_MAX 600
#define SIGNATURES_MAX 32 /* in one webhook-signature */
#define SECRET_BYTES 1024
#define STATES_MAX 10000 /* items in one notification */

void hook_find(struct hook_finding *f, struct ctx *cx, enum hook_fault fault, const char *fmt, ...)
{
    char text[REASON_MAX];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    BUG_IF(n < 0);
    f->fault = fault;
    f->reason = str_dup(&cx->arena, str_of(text));
}

/* ---- headers and time ---- */

struct proof { /* of one request */
    struct hook_reader *r;
    const struct hook_scheme *scheme;
    struct hook_finding f;
    size_t name;          /* which of the names of the signature header it has */
    struct str signature; /* the header's value, then what stands behind the prefix */
    struct str time, id;  /* as they came */
};

static struct ctx *cx_of(const struct proof *p)
{
    return p->r->cx;
}

/* The value of a header that must be there once. */
static bool need_header(struct proof *p, const char *name, struct str *out)
{
    size_t n = hook_header_find(p->r->ask, name, out);
    if (n > 1)
        hook_find(&p->f, cx_of(p), HOOK_MALFORMED, "header %s is given %zu times", name, n);
    else if (n == 1 && !out->n)
        hook_find(&p->f, cx_of(p), HOOK_MALFORMED, "header %s is empty", name);
    else if (n == 0)
        hook_find(&p->f, cx_of(p), HOOK_MISSING, "header %s is missing", name);
    return !p->f.fault;
}

static bool missing_signature(struct proof *p)
{
    const struct hook_scheme *s = p->scheme;
    struct buf b;
    struct str value;
    buf_init(&b, &cx_of(p)->arena, REASON_MAX / 2);
    buf_printf(&b, "header %s is missing", s->signature[0]);
    for (size_t i = 1; i < HOOK_NAMES_MAX && s->signature[i]; i++)
        buf_printf(&b, i == 1 ? " (and so is %s" : ", %s", s->signature[i]);
    buf_lit(&b, s->signature[1] ? ")" : "");
    if (s->weak && hook_header_find(p->r->ask, s->weak, &value))
        buf_printf(&b, "; %s alone is not enough", s->weak);
    else
        buf_lit(&b, "; the sender signs only if a secret is set there");
    hook_find(&p->f, cx_of(p), HOOK_MISSING, STR_FMT, STR_ARG(buf_view(&b)));
    return false;
}

static bool find_signature(struct proof *p)
{
    const struct hook_scheme *s = p->scheme;
    struct str value;
    for (p->name = 0; p->name < HOOK_NAMES_MAX && s->signature[p->name]; p->name++) {
        if (!hook_header_find(p->r->ask, s->signature[p->name], &value))
            continue;
        p->f.header = s->signature[p->name];
        return need_header(p, p->f.header, &p->signature);
    }
    return missing_signature(p);
}

static bool cut_prefix(struct proof *p)
{
    struct str prefix = str_of(p->scheme->prefix);
    if (!prefix.n)
        return true;
    if (str_starts(p->signature, prefix)) {
        p->signature = str_sub(p->signature, prefix.n, p->signature.n);
        return true;
    }
    if (p->scheme->may_lack_prefix)
        return true;
    hook_find(&p->f, cx_of(p), HOOK_MALFORMED, "header %s does not begin with \"%s\"", p->f.header,
              p->scheme->prefix);
    return false;
}

/* The time and the id that stand in headers of their own. */
static bool find_companions(struct proof *p)
{
    const char *time = p->scheme->time.header[p->name], *id = p->scheme->id[p->name];
    if (time && !need_header(p, time, &p->time))
        return false;
    return !id || need_header(p, id, &p->id);
}

static bool is_near(struct proof *p, int64_t age_ms)
{
    int64_t window_ms = p->scheme->time.window_ms;
    if (age_ms > window_ms)
        hook_find(&p->f, cx_of(p), HOOK_STALE,
                  "the signature holds, but the timestamp is %lld s old; %lld s are allowed",
                  (long long)(age_ms / 1000), (long long)(window_ms / 1000));
    else if (-age_ms > window_ms)
        hook_find(&p->f, cx_of(p), HOOK_STALE,
                  "the signature holds, but the timestamp is %lld s in the future; %lld s are "
                  "allowed (is the clock of this machine right?)",
                  (long long)(-age_ms / 1000), (long long)(window_ms / 1000));
    return !p->f.fault;
}

/* Seconds are compared with seconds: the sender cut off the rest. */
static bool check_header_time(struct proof *p)
{
    int64_t at_s, now_s = p->r->ask->now_ms / 1000;
    if (!str_to_i64(p->time, &at_s) || at_s < 0 || at_s > INT64_MAX / 2000) {
        hook_find(&p->f, cx_of(p), HOOK_MALFORMED, "header %s is not a time in seconds since 1970",
                  p->scheme->time.header[p->name]);
        return false;
    }
    return is_near(p, (now_s - at_s) * 1000);
}

static bool check_body_time(struct proof *p)
{
    json_t *body = hook_reader_json(p->r);
    json_t *at = hook_path(body, p->scheme->time.path);
    int64_t at_ms = json_integer_value(at);
    if (!body)
        hook_find(&p->f, cx_of(p), HOOK_MALFORMED, "the time cannot be read: " STR_FMT,
                  STR_ARG(p->r->problem));
    else if (!json_is_integer(at) || at_ms < 0 || at_ms > INT64_MAX / 2)
        hook_find(&p->f, cx_of(p), HOOK_MALFORMED, "the body has no %s in milliseconds since 1970",
                  p->scheme->time.path);
    return !p->f.fault && is_near(p, p->r->ask->now_ms - at_ms);
}

static bool check_time(struct proof *p)
{
    if (!p->scheme->time.window_ms)
        return true;
    return p->scheme->time.path ? check_body_time(p) : check_header_time(p);
}

/* ---- what is signed ---- */

/* Cut the pattern into pieces, with the values of this request in the places of their names. */
static size_t signed_pieces(const struct proof *p, struct str pieces[HOOK_PIECES_MAX])
{
    const struct {
        struct str name, value;
    } marks[] = {
        { STR("{body}"), p->r->ask->body },
        { STR("{url}"), p->r->ask->url },
        { STR("{time}"), p->time },
        { STR("{id}"), p->id },
    };
    struct str rest = str_of(p->scheme->text);
    size_t n = 0;
    while (rest.n && n < HOOK_PIECES_MAX) {
        size_t m = 0, plain = 0;
        while (m < 4 && !str_starts(rest, marks[m].name))
            m++;
        if (m < 4) {
            pieces[n++] = marks[m].value;
            rest = str_sub(rest, marks[m].name.n, rest.n);
            continue;
        }
        do
            plain++;
        while (plain < rest.n && rest.p[plain] != '{');
        pieces[n++] = str_sub(rest, 0, plain);
        rest = str_sub(rest, plain, rest.n);
    }
    BUG_IF(rest.n);
    return n;
}

static bool needs_url(const struct hook_scheme *s)
{
    return s->text && strstr(s->text, "{url}");
}

static bool mismatch(struct proof *p)
{
    const struct hook_scheme *s = p->scheme;
    struct buf b;
    buf_init(&b, &cx_of(p)->arena, REASON_MAX / 2);
    if (p->r->ask->n_secrets > 1)
        buf_printf(&b, "the signature matches none of the %zu secrets", p->r->ask->n_secrets);
    else
        buf_lit(&b, "the signature does not match");
    buf_printf(&b, "; check that the secret is %s", s->secret);
    if (needs_url(s))
        buf_lit(&b, ", that the callback URL is byte for byte the one registered there");
    buf_lit(&b, " and that the body is the raw bytes as they came");
    hook_find(&p->f, cx_of(p), HOOK_MISMATCH, STR_FMT, STR_ARG(buf_view(&b)));
    return false;
}

/* ---- a HMAC in a header ---- */

/* A signature of any form as lower-case hex, so that one comparison serves all. */
static struct str as_hex(struct arena *a, struct str s, size_t size)
{
    unsigned char raw[HOOK_MAC_MAX];
    size_t n = size;
    bool is_read =
        s.n == 2 * size ? hex_parse(s, raw, size) : hook_base64_read(s, raw, sizeof raw, &n);
    return is_read && n == size ? hex_of(a, raw, n) : STR_NONE;
}

static bool is_length_right(struct proof *p, size_t size)
{
    bool is_hex = p->scheme->form == HOOK_FORM_HEX;
    size_t want = is_hex ? 2 * size : (size + 2) / 3 * 4;
    if (p->scheme->form == HOOK_FORM_ANY || p->signature.n == want)
        return true;
    hook_find(&p->f, cx_of(p), HOOK_MALFORMED,
              "header %s holds a signature of %zu characters; %zu of %s are expected", p->f.header,
              p->signature.n, want, is_hex ? "hex" : "base64");
    return false;
}

static bool mac_holds(struct proof *p, struct str key, const struct str *pieces, size_t n)
{
    struct arena *a = &cx_of(p)->arena;
    unsigned char mac[HOOK_MAC_MAX];
    size_t size = hook_mac(p->scheme->hash, key, pieces, n, mac);
    bool is_base64 = p->scheme->form == HOOK_FORM_BASE64;
    struct str want = is_base64 ? hook_base64(a, mac, size) : hex_of(a, mac, size);
    struct str got =
        p->scheme->form == HOOK_FORM_ANY ? as_hex(a, p->signature, size) : p->signature;
    return got.n == want.n && crypt_equal(got.p, want.p, want.n);
}

static bool try_secret(struct proof *p, struct str secret, const struct str *pieces, size_t n)
{
    unsigned char key[SECRET_BYTES];
    size_t key_n;
    if (!p->scheme->is_secret_base64)
        return mac_holds(p, secret, pieces, n);
    return hook_base64_read(secret, key, sizeof key, &key_n) && key_n &&
           mac_holds(p, (struct str){ (const char *)key, key_n }, pieces, n);
}

static bool prove_mac(struct proof *p)
{
    const struct hook_ask *ask = p->r->ask;
    struct str pieces[HOOK_PIECES_MAX];
    if (!find_signature(p) || !cut_prefix(p) || !find_companions(p) ||
        !is_length_right(p, hook_mac_size(p->scheme->hash)))
        return false;
    if (needs_url(p->scheme) && !ask->url.n) {
        hook_find(&p->f, cx_of(p), HOOK_NO_SECRET,
                  "the callback URL is not known, and %s signs it with the body", p->scheme->title);
        return false;
    }
    size_t n = signed_pieces(p, pieces);
    for (size_t i = 0; i < ask->n_secrets; i++) {
        p->f.which = i;
        if (try_secret(p, ask->secrets[i], pieces, n))
            return check_time(p);
    }
    return mismatch(p);
}

/* ---- Standard Webhooks ---- */

static bool version_holds(struct proof *p, const struct hook_key *key, struct str one,
                          const struct str *pieces, size_t n)
{
    unsigned char want[HOOK_MAC_MAX], got[HOOK_MAC_MAX], point[HOOK_ED_KEY];
    struct str version = str_cut(&one, ',');
    struct arena *a = &cx_of(p)->arena;
    size_t got_n;
    if (key->kind == HOOK_KEY_SHARED) {
        if (!str_eq(version, STR("v1")))
            return false;
        size_t size = hook_mac(HOOK_SHA256, (struct str){ (const char *)key->bytes, key->n },
                               pieces, n, want);
        struct str text = hook_base64(a, want, size);
        return one.n == text.n && crypt_equal(one.p, text.p, text.n);
    }
    if (!str_eq(version, STR("v1a")) || !hook_base64_read(one, got, sizeof got, &got_n) ||
        got_n != HOOK_ED_SIGNATURE || !str_eq(hook_base64(a, got, got_n), one))
        return false;
    memcpy(point, key->bytes, sizeof point);
    if (key->kind == HOOK_KEY_PRIVATE)
        hook_ed_public(key->bytes, point);
    return hook_ed_holds(point, pieces, n, got);
}

static bool any_holds(struct proof *p, const struct hook_key *key, const struct str *pieces,
                      size_t n)
{
    struct str rest = p->signature;
    while (rest.p) {
        struct str one = str_cut(&rest, ' ');
        if (one.n && version_holds(p, key, one, pieces, n))
            return true;
    }
    return false;
}

/* A secret without a prefix may be base64, as the libraries take it, or the key itself, as some
 * senders do. */
static bool try_standard(struct proof *p, struct str secret, const struct str *pieces, size_t n)
{
    struct hook_key key;
    bool is_plain = !str_starts(secret, STR("whsec_")) && !str_starts(secret, STR("whsk_")) &&
                    !str_starts(secret, STR("whpk_"));
    bool holds = hook_key_read(secret, &key) && any_holds(p, &key, pieces, n);
    if (!holds && is_plain && secret.n <= sizeof key.bytes) {
        key.kind = HOOK_KEY_SHARED;
        key.n = secret.n;
        memcpy(key.bytes, secret.p, secret.n);
        holds = any_holds(p, &key, pieces, n);
    }
    hook_key_wipe(&key);
    return holds;
}

/* How many signatures there are of each version, and whether that can hold for these secrets. */
static bool check_versions(struct proof *p)
{
    size_t n_all = 0, n_known = 0;
    for (struct str rest = p->signature; rest.p;) {
        struct str one = str_cut(&rest, ' ');
        n_all += one.n > 0;
        n_known += str_starts(one, STR("v1,")) || str_starts(one, STR("v1a,"));
    }
    if (n_all > SIGNATURES_MAX)
        hook_find(&p->f, cx_of(p), HOOK_MALFORMED, "header %s holds %zu signatures; %d are allowed",
                  p->f.header, n_all, SIGNATURES_MAX);
    else if (!n_known)
        hook_find(&p->f, cx_of(p), HOOK_MALFORMED,
                  "header %s holds no signature of the versions v1 and v1a", p->f.header);
    else if (memchr(p->id.p, '.', p->id.n))
        hook_find(&p->f, cx_of(p), HOOK_MALFORMED, "header %s has a full stop",
                  p->scheme->id[p->name]);
    return !p->f.fault;
}

static bool check_keys(struct proof *p)
{
    struct hook_key key;
    for (size_t i = 0; i < p->r->ask->n_secrets && !p->f.fault; i++) {
        if (!hook_key_read(p->r->ask->secrets[i], &key))
            hook_find(&p->f, cx_of(p), HOOK_NO_SECRET,
                      "secret %zu is damaged: behind whsec_ or whpk_ only base64 may stand", i + 1);
        hook_key_wipe(&key);
    }
    return !p->f.fault;
}

static bool prove_standard(struct proof *p)
{
    struct str pieces[HOOK_PIECES_MAX];
    if (!find_signature(p) || !find_companions(p) || !check_versions(p))
        return false;
    size_t n = signed_pieces(p, pieces);
    for (size_t i = 0; i < p->r->ask->n_secrets; i++) {
        p->f.which = i;
        if (try_standard(p, p->r->ask->secrets[i], pieces, n))
            return check_time(p);
    }
    return check_keys(p) && mismatch(p);
}

/* ---- the secret itself ---- */

static bool is_a_secret(struct proof *p, struct str given)
{
    bool is_known = false;
    for (size_t i = 0; i < p->r->ask->n_secrets; i++) {
        if (!hook_is_same(given, p->r->ask->secrets[i]))
            continue;
        is_known = true;
        p->f.which = i;
    }
    return is_known;
}

static bool prove_state(struct proof *p)
{
    json_t *items = hook_path(hook_reader_json(p->r), "value"), *item;
    size_t i;
    if (!p->r->json)
        hook_find(&p->f, cx_of(p), HOOK_MALFORMED, "clientState cannot be read: " STR_FMT,
                  STR_ARG(p->r->problem));
    else if (!json_is_array(items) || json_array_size(items) == 0)
        hook_find(&p->f, cx_of(p), HOOK_MISSING,
                  "the body has no list value of notifications, so nothing holds a clientState");
    else if (json_array_size(items) > STATES_MAX)
        hook_find(&p->f, cx_of(p), HOOK_MALFORMED, "the body holds more than %d notifications",
                  STATES_MAX);
    if (p->f.fault)
        return false;
    json_array_foreach(items, i, item) {
        json_t *state = json_object_get(item, "clientState");
        if (!json_is_string(state))
            hook_find(&p->f, cx_of(p), HOOK_MISSING, "notification %zu has no clientState", i + 1);
        else if (!is_a_secret(p,
                              (struct str){ json_string_value(state), json_string_length(state) }))
            hook_find(&p->f, cx_of(p), HOOK_MISMATCH,
                      "the clientState of notification %zu does not match; check that the secret "
                      "is %s",
                      i + 1, p->scheme->secret);
        if (p->f.fault)
            return false;
    }
    return true;
}

static bool prove_authorization(struct proof *p, const char *word)
{
    unsigned char plain[SECRET_BYTES];
    struct str value;
    size_t n;
    bool is_basic = p->scheme->proof == HOOK_PROOF_BASIC;
    if (!need_header(p, p->scheme->signature[0], &value))
        return false;
    p->f.header = p->scheme->signature[0];
    struct str given = str_cut(&value, ' ');
    if (!str_eq_nocase(given, str_of(word))) {
        hook_find(&p->f, cx_of(p), HOOK_MALFORMED, "header %s does not begin with \"%s \"",
                  p->f.header, word);
        return false;
    }
    given = str_trim(value);
    if (is_basic && !hook_base64_read(given, plain, sizeof plain, &n)) {
        hook_find(&p->f, cx_of(p), HOOK_MALFORMED, "header %s holds no base64 behind \"%s \"",
                  p->f.header, word);
        return false;
    }
    if (is_basic)
        given = (struct str){ (const char *)plain, n };
    if (!is_a_secret(p, given))
        hook_find(&p->f, cx_of(p), HOOK_MISMATCH,
                  "the %s does not match; check that the secret is %s",
                  is_basic ? "user or the password" : "token", p->scheme->secret);
    return !p->f.fault;
}

struct hook_finding hook_prove(struct hook_reader *r)
{
    struct proof p = { .r = r, .scheme = r->ask->scheme };
    BUG_IF(r->ask->n_secrets == 0);
    switch (p.scheme->proof) {
    case HOOK_PROOF_MAC: prove_mac(&p); break;
    case HOOK_PROOF_STANDARD: prove_standard(&p); break;
    case HOOK_PROOF_STATE: prove_state(&p); break;
    case HOOK_PROOF_BASIC: prove_authorization(&p, "Basic"); break;
    case HOOK_PROOF_BEARER: prove_authorization(&p, "Bearer"); break;
    }
    return p.f;
}
