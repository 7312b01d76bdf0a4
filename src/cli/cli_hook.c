/* `tessera hook verify`: a captured webhook request is judged as the server would judge it, and when
 * its signature does not hold, likely causes are tried out. Needs no database and no server.
 *
 * Exit status: 0 valid, 1 not valid, 2 a wrong command line (or a body that cannot be read). */
#include "cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/clock.h"
#include "../base/json.h"
#include "../connect/hook_config.h"
#include "../connect/hook_verify.h"

#define FIRST_MS ((int64_t)100000000000) /* times from here on are milliseconds: 1973 */

const struct option_row options_hook_verify[] = {
    { "secret", false, "the secret; may be given several times" },
    { "header", false, "'Name: value' of the request; may be given several times" },
    { "body", false, "file with the raw body; - is standard input; without it: empty" },
    { "url", false, "the callback URL as it was registered, with its query" },
    { "method", false, "of the request (default: POST)" },
    { "scheme", false, "JSON that says how an hmac sender signs" },
    { "now", false, "the time of arrival: RFC 3339 or seconds (default: now)" },
    { "json", true, "print JSON" },
    { 0 },
};

struct input { /* what the options give */
    struct hook_ask ask;
    struct hook_scheme scheme; /* of --scheme */
    struct str secrets[HOOK_SECRETS_MAX];
    struct hook_header headers[CLI_GIVEN_MAX];
};

static enum err_code unknown_kind(struct cli *c)
{
    struct buf b;
    size_t n;
    const struct hook_scheme *s = hook_schemes(&n);
    buf_init(&b, &c->cx->arena, 1024);
    for (size_t i = 0; i < n; i++)
        buf_printf(&b, "%s%s", i ? ", " : "", s[i].kind);
    return fail(c->cx, USAGE, "there is no kind " STR_FMT "; there are " STR_FMT,
                STR_ARG(c->words[0]), STR_ARG(buf_view(&b)));
}

/* ---- options ---- */

static enum err_code read_scheme(struct cli *c, struct input *in)
{
    struct str text = cli_option(c, cli_command(c), "scheme");
    in->ask.scheme = hook_scheme_find(c->words[0]);
    if (!in->ask.scheme)
        return unknown_kind(c);
    if (!text.p)
        return ERR_NONE;
    if (!str_eq(c->words[0], STR("hmac")))
        return fail(c->cx, USAGE, "--scheme is for the kind hmac");
    enum err_code e = hook_config_parse(c->cx, text, &in->scheme);
    in->ask.scheme = &in->scheme;
    return e ? ERR_USAGE : ERR_NONE;
}

static enum err_code read_secrets(struct cli *c, struct input *in)
{
    struct str value;
    for (int at = 0; cli_option_next(c, cli_command(c), "secret", &at, &value);) {
        if (!value.n)
            return fail(c->cx, USAGE, "--secret is empty");
        if (in->ask.n_secrets == HOOK_SECRETS_MAX)
            return fail(c->cx, USAGE, "--secret: at most %d of them", HOOK_SECRETS_MAX);
        in->secrets[in->ask.n_secrets++] = value;
    }
    in->ask.secrets = in->secrets;
    in->ask.is_awaiting = in->ask.n_secrets == 0;
    return ERR_NONE;
}

static enum err_code read_headers(struct cli *c, struct input *in)
{
    struct str rest;
    for (int at = 0; cli_option_next(c, cli_command(c), "header", &at, &rest);) {
        struct str name = str_trim(str_cut(&rest, ':'));
        if (!name.n || !rest.p)
            return fail(c->cx, USAGE, "--header is 'Name: value'");
        in->headers[in->ask.n_headers++] = (struct hook_header){ name, str_trim(rest) };
    }
    in->ask.headers = in->headers;
    return ERR_NONE;
}

static enum err_code read_now(struct cli *c, int64_t *now_ms)
{
    struct str text = cli_option(c, cli_command(c), "now");
    int64_t n;
    *now_ms = clock_ms();
    if (!text.p || time_parse(text, now_ms))
        return ERR_NONE;
    if (!str_to_i64(text, &n) || n < 0 || n > FIRST_MS * 1000)
        return fail(c->cx, USAGE,
                    "--now is a time like 2026-01-15T10:30:00Z, or seconds since 1970");
    *now_ms = n < FIRST_MS ? n * 1000 : n;
    return ERR_NONE;
}

static enum err_code cannot_read(struct cli *c, struct str path)
{
    return fail(c->cx, USAGE, "--body: cannot read " STR_FMT ": %s", STR_ARG(path),
                strerror(errno));
}

/* One byte more than may be, so that too much is seen as such. */
static enum err_code read_body(struct cli *c, struct str *out)
{
    struct str path = cli_option(c, cli_command(c), "body");
    bool is_stdin = str_eq(path, STR("-"));
    *out = STR("");
    if (!path.p)
        return ERR_NONE;
    FILE *f = is_stdin ? stdin : fopen(str_cstr(&c->cx->arena, path), "rb");
    if (!f)
        return cannot_read(c, path);
    char *text = malloc(HOOK_BODY_MAX + 1);
    BUG_IF(!text);
    arena_defer(&c->cx->arena, free, text);
    *out = (struct str){ text, fread(text, 1, HOOK_BODY_MAX + 1, f) };
    enum err_code e = ferror(f) ? cannot_read(c, path) : ERR_NONE;
    if (!is_stdin)
        fclose(f);
    return e;
}

static enum err_code read_input(struct cli *c, struct input *in)
{
    enum err_code e = read_scheme(c, in);
    struct str rest = cli_option(c, cli_command(c), "url");
    in->ask.url = rest;
    str_cut(&rest, '?');
    in->ask.query = rest;
    in->ask.method = cli_option(c, cli_command(c), "method");
    in->ask.wants_hints = true;
    if (!e)
        e = read_secrets(c, in);
    if (!e)
        e = read_headers(c, in);
    if (!e)
        e = read_now(c, &in->ask.now_ms);
    return e ? e : read_body(c, &in->ask.body);
}

/* ---- output ---- */

static void put_text(struct buf *b, const char *key, struct str s)
{
    buf_printf(b, ",\"%s\":", key);
    if (s.p)
        json_write_str(b, s);
    else
        buf_lit(b, "null");
}

static void print_json(struct cli *c, const struct hook_verdict *v)
{
    struct buf b;
    buf_init(&b, &c->cx->arena, 65536);
    buf_printf(&b, "{\"valid\":%s", v->is_valid ? "true" : "false");
    put_text(&b, "reason", v->reason);
    put_text(&b, "event_type", v->event_type);
    put_text(&b, "event_key", v->event_key);
    put_text(&b, "handshake", str_of(v->handshake));
    buf_lit(&b, "}\n");
    cli_print(&b);
}

static void print_lines(const struct input *in, const struct hook_verdict *v)
{
    if (!v->is_valid) {
        puts("not valid");
        return;
    }
    puts("valid");
    if (v->handshake)
        printf("handshake   %s\n", v->handshake);
    else if (in->ask.n_secrets > 1)
        printf("secret      %zu of %zu\n", v->which + 1, in->ask.n_secrets);
    if (!v->handshake && v->event_type.p)
        printf("event type  " STR_FMT "\n", STR_ARG(v->event_type));
    if (v->event_key.p)
        printf("event key   " STR_FMT "\n", STR_ARG(v->event_key));
}

enum err_code cmd_hook_verify(struct cli *c)
{
    struct input *in = ARENA_NEW(&c->cx->arena, struct input);
    enum err_code e = read_input(c, in);
    if (e)
        return e;
    struct hook_verdict v = hook_verify(c->cx, &in->ask);
    if (c->as_json)
        print_json(c, &v);
    else
        print_lines(in, &v);
    return v.is_valid ? ERR_NONE
                      : fail(c->cx, BAD_REQUEST, "not valid: " STR_FMT, STR_ARG(v.reason));
}
