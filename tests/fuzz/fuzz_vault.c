/* Sealed texts from any bytes: what is read is the text again, what a key is tried on does not
 * open, and an own text opens only as it was made. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "core/vault/vault_crypt.h"
#include "core/vault/vault_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const unsigned char key[VAULT_KEY_LEN] = { 1, 2, 3 };

static void check_parts(struct ctx *cx, struct str s, const struct vault_text *t)
{
    struct str again = str_printf(&cx->arena, "v%d." STR_FMT "." STR_FMT, (int)t->format + 1,
                                  STR_ARG(t->key_id), STR_ARG(t->body));

    BUG_IF(!str_eq(again, s));
    BUG_IF(t->key_id.n != (size_t)(t->format == VAULT_V1 ? VAULT_V1_ID_TEXT : VAULT_ID_TEXT));
}

static void check_body(struct ctx *cx, struct str body)
{
    struct vault_place at = { "app_user", "totp_secret", STR_NONE, STR("row") };
    struct vault_text v1 = { VAULT_V1, STR("00000000"), body };
    struct str plain = STR_NONE;

    BUG_IF(vault_gcm_open(&cx->arena, key, STR("place"), body, &plain));
    BUG_IF(plain.p);
    BUG_IF(!vault_v1_open(&cx->arena, &at, &v1, &plain));
}

/* A bit of an own text is flipped at a place that the input says. */
static void check_flip(struct ctx *cx, struct str plain, unsigned where)
{
    struct str body = vault_gcm_seal(&cx->arena, key, STR("place"), plain), got = STR_NONE;
    char *copy = str_cstr(&cx->arena, body);

    BUG_IF(!vault_gcm_open(&cx->arena, key, STR("place"), body, &got) || !str_eq(got, plain));
    BUG_IF(vault_gcm_open(&cx->arena, key, STR("other"), body, &got));
    copy[where % body.n] ^= 1;
    BUG_IF(vault_gcm_open(&cx->arena, key, STR("place"), (struct str){ copy, body.n }, &got));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str s = { (const char *)data, size };
    struct vault_text t = { .body = STR_NONE };
    struct ctx cx;

    crypt_init();
    ctx_init(&cx, CTX_CAP_DEFAULT);
    if (vault_text_parse(s, &t))
        check_parts(&cx, s, &t);
    else
        BUG_IF(t.body.p);
    check_body(&cx, t.body.p ? t.body : s);
    if (size && size < 4096)
        check_flip(&cx, s, data[0]);
    ctx_done(&cx);
    return 0;
}
