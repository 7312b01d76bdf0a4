/* Likely causes of a wrong signature, tried in turn: see hook_hint.h.
 *
 * Each row changes one thing of the request and says what it means when the signature then holds.
 * That it holds is as sure as the signature itself, so a hint is never a guess. */
#include "hook_hint.h"

#include <string.h>

#include "hook_mac.h"
#include "hook_scheme.h"

#define COPY_MAX ((size_t)512 << 10) /* bodies that are written anew; larger ones are not tried */
#define SECRET_MAX 1024

struct trial {
    struct ctx *cx;
    struct hook_ask ask; /* a copy to change */
    struct str secrets[HOOK_SECRETS_MAX];
    struct hook_scheme scheme;
};

/* ---- bodies ---- */

static bool drop_end(struct trial *t)
{
    struct str *b = &t->ask.body;
    size_t n = b->n;
    while (b->n && (b->p[b->n - 1] == '\n' || b->p[b->n - 1] == '\r'))
        b->n--;
    return b->n != n;
}

static bool add_end(struct trial *t)
{
    struct buf b;
    buf_init(&b, &t->cx->arena, COPY_MAX);
    buf_str(&b, t->ask.body);
    buf_char(&b, '\n');
    t->ask.body = buf_view(&b);
    return !b.over;
}

/* Every line end as LF, or as CR LF. */
static bool set_ends(struct trial *t, bool is_crlf)
{
    struct str in = t->ask.body;
    struct buf b;
    buf_init(&b, &t->cx->arena, COPY_MAX);
    for (size_t i = 0; i < in.n; i++) {
        bool is_pair = in.p[i] == '\r' && i + 1 < in.n && in.p[i + 1] == '\n';
        if (is_pair)
            i++;
        if (is_crlf && in.p[i] == '\n')
            buf_char(&b, '\r');
        buf_char(&b, in.p[i]);
    }
    t->ask.body = buf_view(&b);
    return !b.over && !str_eq(in, t->ask.body);
}

static bool ends_lf(struct trial *t)
{
    return set_ends(t, false);
}

static bool ends_crlf(struct trial *t)
{
    return set_ends(t, true);
}

static bool drop_bom(struct trial *t)
{
    if (!str_starts(t->ask.body, STR("\xEF\xBB\xBF")))
        return false;
    t->ask.body = str_sub(t->ask.body, 3, t->ask.body.n);
    return true;
}

static bool pack_json(struct trial *t)
{
    json_t *body = t->ask.body.n > COPY_MAX ? NULL : json_read(t->cx, t->ask.body);
    ctx_clear(t->cx);
    if (!body)
        return false;
    t->ask.body = json_text(t->cx, body);
    return true;
}

/* ---- secrets ---- */

static bool trim_secrets(struct trial *t)
{
    bool is_changed = false;
    for (size_t i = 0; i < t->ask.n_secrets; i++) {
        struct str s = str_trim(t->secrets[i]);
        is_changed |= s.n && s.n != t->secrets[i].n;
        if (s.n)
            t->secrets[i] = s;
    }
    return is_changed;
}

static bool decode_secrets(struct trial *t)
{
    bool is_changed = false;
    for (size_t i = 0; i < t->ask.n_secrets; i++) {
        unsigned char *out = arena_alloc(&t->cx->arena, SECRET_MAX);
        size_t n;
        struct str s = t->secrets[i];
        if (str_starts(s, STR("whsec_")))
            s = str_sub(s, 6, s.n);
        if (!hook_base64_read(s, out, SECRET_MAX, &n) || !n)
            continue;
        t->secrets[i] = (struct str){ (char *)out, n };
        is_changed = true;
    }
    return is_changed && t->scheme.proof == HOOK_PROOF_MAC;
}

static bool cut_secrets(struct trial *t)
{
    bool is_changed = false;
    for (size_t i = 0; i < t->ask.n_secrets; i++) {
        if (!str_starts(t->secrets[i], STR("whsec_")) || t->secrets[i].n == 6)
            continue;
        t->secrets[i] = str_sub(t->secrets[i], 6, t->secrets[i].n);
        is_changed = true;
    }
    return is_changed;
}

/* ---- the callback URL, the algorithm ---- */

static bool signs_url(const struct trial *t)
{
    return t->scheme.text && strstr(t->scheme.text, "{url}");
}

static bool add_slash(struct trial *t)
{
    t->ask.url = str_printf(&t->cx->arena, STR_FMT "/", STR_ARG(t->ask.url));
    return signs_url(t);
}

static bool drop_slash(struct trial *t)
{
    struct str *u = &t->ask.url;
    if (!signs_url(t) || u->n < 2 || u->p[u->n - 1] != '/')
        return false;
    u->n--;
    return true;
}

static bool drop_query(struct trial *t)
{
    struct str rest = t->ask.url;
    t->ask.url = str_cut(&rest, '?');
    return signs_url(t) && rest.p && t->ask.url.n;
}

static bool use_https(struct trial *t)
{
    struct str http = STR("http://");
    if (!signs_url(t) || !str_starts(t->ask.url, http))
        return false;
    struct str rest = str_sub(t->ask.url, http.n, t->ask.url.n);
    t->ask.url = str_printf(&t->cx->arena, "https://" STR_FMT, STR_ARG(rest));
    return true;
}

static bool sign_body_only(struct trial *t)
{
    if (t->scheme.proof != HOOK_PROOF_MAC || str_eq(str_of(t->scheme.text), STR("{body}")))
        return false;
    t->scheme.text = "{body}";
    return true;
}

/* ---- the trials ---- */

static const struct {
    bool (*change)(struct trial *t); /* false when there is nothing to change */
    const char *means;
} trials[] = {
    { drop_end, "it matches the body without its last line break: something (an editor, a shell) "
                "added one; keep the raw bytes" },
    { add_end, "it matches the body with a line break at its end: the last byte was lost; keep the "
               "raw bytes" },
    { ends_lf, "it matches the body with line ends LF: something turned them into CR LF; keep the "
               "raw bytes" },
    { ends_crlf, "it matches the body with line ends CR LF: something turned them into LF; keep "
                 "the raw bytes" },
    { drop_bom, "it matches the body without the byte order mark at its head; keep the raw bytes" },
    { pack_json, "it matches the JSON written without white space: something parsed the body and "
                 "printed it anew; keep the raw bytes" },
    { trim_secrets, "it matches the secret without the white space around it; set it again without "
                    "that" },
    { decode_secrets, "it matches the bytes that the secret stands for in base64: the sender "
                      "decodes it first" },
    { cut_secrets, "it matches the secret without its prefix whsec_: the sender signs with the "
                   "text behind it" },
    { add_slash, "it matches the callback URL with a slash at its end, so it is registered with "
                 "one" },
    { drop_slash, "it matches the callback URL without the slash at its end, so it is registered "
                  "without one" },
    { drop_query, "it matches the callback URL without its query, so it is registered without "
                  "one" },
    { use_https, "it matches the callback URL with https://, so it is registered with that" },
    { sign_body_only, "it matches the body alone: the sender does not sign what else belongs to "
                      "it; another kind may be the right one" },
};

static bool try_out(struct hook_reader *r, bool (*change)(struct trial *t))
{
    struct trial t = { .cx = r->cx, .ask = *r->ask, .scheme = *r->ask->scheme };
    for (size_t i = 0; i < t.ask.n_secrets; i++)
        t.secrets[i] = r->ask->secrets[i];
    t.ask.secrets = t.secrets;
    t.ask.scheme = &t.scheme;
    if (!change(&t))
        return false;
    struct hook_reader changed = { .cx = r->cx, .ask = &t.ask, .form_json = r->form_json };
    enum hook_fault fault = hook_prove(&changed).fault;
    return fault == HOOK_FINE || fault == HOOK_STALE;
}

void hook_hint(struct hook_reader *r, struct hook_finding *f)
{
    if (f->fault != HOOK_MISMATCH)
        return;
    for (size_t i = 0; i < sizeof trials / sizeof *trials; i++) {
        if (!try_out(r, trials[i].change))
            continue;
        hook_find(f, r->cx, HOOK_MISMATCH, "the signature does not match, but %s", trials[i].means);
        return;
    }
}
