/* Any request to a webhook of every kind: nobody gets in without the secret, a request that is signed
 * holds whatever its other headers and its body are, and verdicts are whole.
 *
 * Input: one byte for the kind, one of flags, the query up to a line end, header lines up to an empty
 * one, then the body. */
#include <stddef.h>
#include <stdint.h>

#include "base/crypt.h"
#include "connect/hook_key.h"
#include "connect/hook_verify.h"

#define HEADERS_MAX 16
#define NOW_MS INT64_C(1790000000000)
#define NOW_S "1790000000"

enum { FLAG_SIGNED = 1, FLAG_AWAITING = 2, FLAG_HEAD = 4, FLAG_HINTS = 8 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct request {
    struct hook_ask ask;
    struct hook_header headers[HEADERS_MAX + 2];
};

static const struct str secret = { "0123456789abcdef0123456789ABCDEF", 32 };

static bool is_mac(const struct hook_scheme *s)
{
    return s->proof == HOOK_PROOF_MAC && !s->is_secret_base64;
}

/* What the signed headers are called is left out of the fuzzed ones. */
static bool is_own(const struct hook_scheme *s, struct str name)
{
    for (size_t i = 0; i < HOOK_NAMES_MAX; i++)
        if ((s->signature[i] && str_eq_nocase(name, str_of(s->signature[i]))) ||
            (s->time.header[i] && str_eq_nocase(name, str_of(s->time.header[i]))))
            return true;
    return false;
}

static void read_request(struct str in, struct request *r, unsigned flags)
{
    r->ask.query = str_cut(&in, '\n');
    while (in.p && r->ask.n_headers < HEADERS_MAX) {
        struct str line = str_cut(&in, '\n');
        struct str name = str_cut(&line, ':');
        if (!name.n)
            break;
        if (!(flags & FLAG_SIGNED) || !is_own(r->ask.scheme, name))
            r->headers[r->ask.n_headers++] = (struct hook_header){ name, str_trim(line) };
    }
    r->ask.headers = r->headers;
    r->ask.body = in.p ? in : STR("");
}

static void put_signature(struct arena *a, struct request *r)
{
    const struct hook_scheme *s = r->ask.scheme;
    unsigned char mac[HOOK_MAC_MAX];
    struct str pieces[] = { s->time.header[0] ? STR("v0:" NOW_S ":") : STR(""), r->ask.body,
                            str_eq(str_of(s->text), STR("{body}{url}")) ? r->ask.url : STR("") };
    size_t n = hook_mac(s->hash, secret, pieces, 3, mac);
    struct str text = s->form == HOOK_FORM_BASE64 ? hook_base64(a, mac, n) : hex_of(a, mac, n);
    r->headers[r->ask.n_headers++] = (struct hook_header){
        str_of(s->signature[0]),
        str_printf(a, "%s" STR_FMT, s->prefix ? s->prefix : "", STR_ARG(text)),
    };
    if (s->time.header[0])
        r->headers[r->ask.n_headers++] =
            (struct hook_header){ str_of(s->time.header[0]), STR(NOW_S) };
}

static void check(const struct request *r, const struct hook_verdict *v, unsigned flags)
{
    bool is_signed = (flags & FLAG_SIGNED) && is_mac(r->ask.scheme);
    BUG_IF(v->is_valid != (v->fault == HOOK_FINE));
    BUG_IF(v->is_valid == (v->reason.n > 0));
    BUG_IF(v->is_valid != (v->reply.status != 0));
    BUG_IF(!is_signed && v->is_valid && !v->handshake);
    BUG_IF(is_signed && !v->is_valid && v->fault == HOOK_MISMATCH);
    BUG_IF(v->new_secret.p && (!v->handshake || !(flags & FLAG_AWAITING)));
    BUG_IF(v->event_type.n > HOOK_TYPE_MAX || v->event_key.n > HOOK_KEY_MAX);
    BUG_IF(v->event_key.p && !str_is_single_line(v->event_key));
    BUG_IF(v->event_type.p && !str_is_single_line(v->event_type));
    for (size_t i = 0; i < v->reply.header_value.n; i++)
        BUG_IF(v->reply.header_value.p[i] <= ' ' || v->reply.header_value.p[i] >= 0x7F);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct request r = { .ask = { .secrets = &secret, .n_secrets = 1, .now_ms = NOW_MS } };
    struct hook_key key;
    struct ctx cx;
    size_t n;
    if (size < 2)
        return 0;
    const struct hook_scheme *rows = hook_schemes(&n);
    unsigned flags = data[1];
    ctx_init(&cx, CTX_CAP_DEFAULT);
    r.ask.scheme = &rows[data[0] % n];
    read_request((struct str){ (const char *)data + 2, size - 2 }, &r, flags);
    r.ask.is_awaiting = flags & FLAG_AWAITING;
    r.ask.wants_hints = flags & FLAG_HINTS;
    r.ask.method = flags & FLAG_HEAD ? STR("HEAD") : STR("POST");
    r.ask.url = STR("https://hooks.example.test/in");
    if ((flags & FLAG_SIGNED) && is_mac(r.ask.scheme))
        put_signature(&cx.arena, &r);
    struct hook_verdict v = hook_verify(&cx, &r.ask);
    check(&r, &v, flags);
    BUG_IF(cx.err);
    if (hook_key_read(r.ask.body, &key))
        BUG_IF(key.n == 0 || key.n > sizeof key.bytes);
    ctx_done(&cx);
    return 0;
}
