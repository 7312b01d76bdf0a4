/* The judgement of a webhook: see hook_verify.h.
 *
 * Order: size, handshakes that need no signature, proof, handshakes that need one, the event. A
 * handshake that brings a secret is taken only while the caller awaits one: else anybody could put a
 * secret of their own in the place of the right one. */
#include "hook_verify.h"

#include "../base/crypt.h"
#include "hook_hint.h"

#define ECHO_MAX 4096 /* bytes of a challenge */
#define NEW_SECRET_MIN 8
#define NEW_SECRET_MAX 512

static void copy_finding(struct hook_verdict *v, const struct hook_finding *f)
{
    v->is_valid = f->fault == HOOK_FINE;
    v->fault = f->fault;
    v->reason = f->reason;
    v->which = f->which;
}

static void refuse(struct hook_verdict *v, struct ctx *cx, enum hook_fault fault, const char *text)
{
    struct hook_finding f = { 0 };
    hook_find(&f, cx, fault, "%s", text);
    copy_finding(v, &f);
}

/* ---- handshakes ---- */

static struct str shake_value(struct hook_reader *r)
{
    const struct hook_shake *shake = &r->ask->scheme->shake;
    if (!shake->name)
        return STR_NONE;
    if (shake->when_path) {
        const char *is = json_string_value(hook_path(hook_reader_json(r), shake->when_path));
        if (!str_eq(str_of(is), str_of(shake->when_is)))
            return STR_NONE;
    }
    return hook_pick_value(r, &shake->value);
}

static bool is_visible(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] >= 0x7F)
            return false;
    return true;
}

/* The value may go back in a header and be kept as a secret. */
static bool is_good_secret(struct str s)
{
    return s.n >= NEW_SECRET_MIN && s.n <= NEW_SECRET_MAX && is_visible(s);
}

static void answer_shake(struct hook_verdict *v, struct hook_reader *r, struct str value)
{
    const struct hook_shake *shake = &r->ask->scheme->shake;
    struct arena *a = &r->cx->arena;
    if (value.n > ECHO_MAX) {
        refuse(v, r->cx, HOOK_MALFORMED, "the value of the handshake is too long");
        return;
    }
    v->is_valid = true;
    v->fault = HOOK_FINE;
    v->handshake = shake->name;
    v->event_type = str_of(shake->name);
    v->reply.status = 200;
    if (shake->echo == HOOK_ECHO_TEXT) {
        v->reply.content_type = "text/plain; charset=utf-8";
        v->reply.body = str_dup(a, value);
    } else if (shake->echo == HOOK_ECHO_HEADER) {
        v->reply.header_name = shake->value.name;
        v->reply.header_value = str_dup(a, value);
    }
}

/* Handshakes that are not signed; true when this is one, whatever came of it. */
static bool unsigned_shake(struct hook_verdict *v, struct hook_reader *r)
{
    const struct hook_shake *shake = &r->ask->scheme->shake;
    bool brings_secret = shake->trust == HOOK_SHAKE_FIRST;
    struct str value = STR_NONE;
    if (shake->trust == HOOK_SHAKE_OPEN || (brings_secret && r->ask->is_awaiting))
        value = shake_value(r);
    if (!value.p)
        return false;
    if (brings_secret && !is_good_secret(value)) {
        refuse(v, r->cx, HOOK_MALFORMED, "the handshake brings no usable secret");
        return true;
    }
    answer_shake(v, r, value);
    if (brings_secret)
        v->new_secret = str_dup(&r->cx->arena, value);
    return true;
}

/* The value of a handshake in a request whose signature holds: only the body is signed, so a header
 * makes no handshake of an event. */
static struct str signed_shake(struct hook_reader *r)
{
    return r->ask->scheme->shake.value.from == HOOK_FROM_JSON ? shake_value(r) : STR_NONE;
}

/* ---- events ---- */

static struct str kept_key(struct ctx *cx, struct str key)
{
    unsigned char hash[SHA256_LEN];
    if (key.n <= HOOK_KEY_MAX)
        return str_dup(&cx->arena, key);
    crypt_sha256(key, hash);
    return str_printf(&cx->arena, "sha256:" STR_FMT,
                      STR_ARG(hex_of(&cx->arena, hash, sizeof hash)));
}

static void read_event(struct hook_verdict *v, struct hook_reader *r)
{
    const struct hook_scheme *s = r->ask->scheme;
    struct str type = hook_pick_first(r, s->type, HOOK_TYPES_MAX);
    struct str key = hook_pick_first(r, s->key, HOOK_KEYS_MAX);
    if (type.p && type.n <= HOOK_TYPE_MAX)
        v->event_type = str_dup(&r->cx->arena, type);
    if (key.p)
        v->event_key = kept_key(r->cx, key);
    v->reply.status = s->ack_status;
}

/* ---- the judgement ---- */

static const struct hook_scheme *scheme_of(const struct hook_ask *ask)
{
    const struct hook_scheme *s = ask->scheme;
    struct str value;
    if (s->beside && hook_header_find(ask, s->beside->signature[0], &value) &&
        str_starts(value, str_of(s->beside->prefix)))
        return s->beside;
    return s;
}

/* A secret must be there, and none may be empty: with an empty one anybody could sign. */
static bool check_secrets(struct hook_verdict *v, struct ctx *cx, const struct hook_ask *ask)
{
    if (ask->n_secrets == 0)
        refuse(v, cx, HOOK_NO_SECRET, "there is no secret to check it with");
    else if (ask->n_secrets > HOOK_SECRETS_MAX)
        refuse(v, cx, HOOK_NO_SECRET, "there are too many secrets to check it with");
    for (size_t i = 0; i < ask->n_secrets && !v->fault; i++)
        if (!ask->secrets[i].n)
            refuse(v, cx, HOOK_NO_SECRET, "a secret is empty");
    return !v->fault;
}

static void prove(struct hook_verdict *v, struct hook_reader *r)
{
    const struct hook_shake *shake = &r->ask->scheme->shake;
    struct hook_finding f = hook_prove(r);
    struct str offered;
    if (f.fault == HOOK_MISSING && shake->trust == HOOK_SHAKE_FIRST && shake->echo &&
        hook_header_find(r->ask, shake->value.name, &offered))
        hook_find(&f, r->cx, HOOK_UNEXPECTED,
                  "the request brings a new secret in %s, but none is awaited: a secret is kept "
                  "already",
                  shake->value.name);
    if (f.fault && r->ask->wants_hints)
        hook_hint(r, &f);
    copy_finding(v, &f);
}

struct hook_verdict hook_verify(struct ctx *cx, const struct hook_ask *ask)
{
    struct hook_verdict v = { 0 };
    struct hook_ask own = *ask;
    own.scheme = scheme_of(ask);
    if (!own.method.p)
        own.method = STR("POST");
    struct hook_reader r = { .cx = cx, .ask = &own, .form_json = own.scheme->form_json };
    if (own.body.n > HOOK_BODY_MAX) {
        refuse(&v, cx, HOOK_TOO_LARGE, "the body is larger than 25 MiB");
        return v;
    }
    if (unsigned_shake(&v, &r) || !check_secrets(&v, cx, &own))
        return v;
    prove(&v, &r);
    if (!v.is_valid)
        return v;
    struct str value = signed_shake(&r);
    if (value.p)
        answer_shake(&v, &r, value);
    else
        read_event(&v, &r);
    return v;
}
